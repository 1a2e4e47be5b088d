"""Figures of performance: equal to quantstats' on random series, and the laws that they obey."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.ledger.statistics import Curve, Statistics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the oracle's own imports
    import pandas as pd
    from quantstats import stats as oracle

CAPITAL = 10**9


def curve_of(values: list[int], capital: int = CAPITAL) -> Curve:
    """Fold one mark a day."""
    curve = Curve()
    curve.flow(capital)
    for day, value in enumerate(values):
        curve.mark(day + 1, value)
        curve.end_day(past=False)
    return curve


def figures(curve: Curve) -> Statistics:
    return curve.statistics(20260706, day_is_over=False, past=False)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("seed", range(12))
def test_figures_of_daily_returns_are_those_of_quantstats(seed: int) -> None:
    random = np.random.default_rng(seed)
    daily = random.normal(0.0005 * (seed - 5), 0.004 * (seed + 1), 40 + 30 * seed)
    values = [int(value) for value in CAPITAL * np.cumprod(1 + daily)]
    returns = pd.Series(
        np.diff([CAPITAL, *values]) / [CAPITAL, *values[:-1]], pd.date_range("2025-01-01", periods=len(values))
    )
    ours = figures(curve_of(values))
    expected = {
        "volatility": oracle.volatility(returns, prepare_returns=False),
        "sharpe": oracle.sharpe(returns),
        "sortino": oracle.sortino(returns),
        "annual_return": oracle.cagr(returns),
        "total_return": oracle.comp(returns),
        "worst_drawdown": -oracle.max_drawdown(returns),
        "calmar": oracle.calmar(returns, prepare_returns=False),
        "drawdown": -oracle.to_drawdown_series(returns).iloc[-1],
    }
    for name, value in expected.items():
        assert getattr(ours, name) == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(5))
def test_figures_of_trades_are_those_of_quantstats(seed: int) -> None:
    results = np.random.default_rng(seed).integers(-90_000, 100_000, 60)
    series = pd.Series(results[results != 0].astype(float))
    curve = Curve()
    for value in series:
        curve.trade(int(value), past=False)
    ours = figures(curve)
    assert ours.win_rate == pytest.approx(oracle.win_rate(series, prepare_returns=False))
    assert ours.profit_factor == pytest.approx(oracle.profit_factor(series, prepare_returns=False))
    assert ours.average_win_paise == pytest.approx(oracle.avg_win(series, prepare_returns=False))
    assert ours.average_loss_paise == pytest.approx(oracle.avg_loss(series, prepare_returns=False))


MOVES = st.lists(st.tuples(st.integers(-3 * 10**8, 3 * 10**8), st.integers(-(10**9), 10**9)), max_size=40)


@given(MOVES)
@settings(max_examples=200, deadline=None)
def test_drawdown_is_a_fraction_profit_excludes_flows_and_nothing_is_nan(moves: list[tuple[int, int]]) -> None:
    curve, profit, worst = Curve(), 0, 0
    curve.flow(CAPITAL)
    equity = CAPITAL
    for place, (gain, flow) in enumerate(moves):
        if place % 3 == 0:
            curve.flow(flow)
            equity += flow
        equity, profit = equity + gain, profit + gain
        curve.mark(place + 1, equity)
        shown = figures(curve)
        assert 0 <= shown.drawdown <= shown.worst_drawdown <= 1
        assert 0 <= shown.drawdown_paise <= shown.worst_drawdown_paise
        assert worst <= shown.worst_drawdown
        worst = shown.worst_drawdown
        if place % 4 == 3:
            curve.end_day(past=False)
    assert curve.profit == profit and curve.equity == equity
    json.dumps(figures(curve).to_json(), allow_nan=False)


@given(st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=30), st.integers(0, 29), st.integers(10**6, 10**12))
@settings(deadline=None)
def test_capital_added_or_taken_away_changes_no_return(daily: list[float], at: int, added: int) -> None:
    plain, fed = Curve(), Curve()
    for curve in (plain, fed):
        curve.flow(10**12)
    for day, change in enumerate(daily):
        if day == at:
            fed.flow(added)
        for curve in (plain, fed):
            curve.mark(day + 1, int(curve.equity * (1 + change)))
            curve.end_day(past=False)
    assert figures(fed).total_return == pytest.approx(figures(plain).total_return, abs=1e-9)
    assert figures(fed).worst_drawdown == pytest.approx(figures(plain).worst_drawdown, abs=1e-9)


def test_what_is_not_defined_is_none() -> None:
    fresh = figures(Curve())
    one = figures(curve_of([CAPITAL + 5]))
    for shown in (fresh, one):
        assert shown.sharpe is shown.sortino is shown.volatility is shown.calmar is shown.annual_return is None
        assert shown.win_rate is shown.profit_factor is shown.average_win_paise is shown.average_loss_paise is None
    assert figures(curve_of([CAPITAL] * 5)).sharpe is None


def test_a_day_that_is_over_counts_before_the_next_one_begins() -> None:
    open_day, over = curve_of([CAPITAL + 10**7]), curve_of([CAPITAL + 10**7])
    for curve in (open_day, over):
        curve.mark(9, CAPITAL)
    shown = over.statistics(20260707, day_is_over=True, past=True)
    assert (shown.days, shown.past_days, figures(open_day).days) == (2, 1, 1)
    over.end_day(past=True)
    assert figures(over).volatility == shown.volatility


def test_a_curve_is_the_same_after_it_was_written_and_read() -> None:
    import orjson

    curve = curve_of([CAPITAL + 3, CAPITAL - 10**7, CAPITAL + 10**8])
    assert Curve.from_json(orjson.loads(orjson.dumps(curve))) == curve
