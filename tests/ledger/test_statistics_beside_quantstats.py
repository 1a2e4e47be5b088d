"""The ledger's statistics beside quantstats', on random series of daily values; and what holds for any series."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.ledger.statistics import Curve, Statistics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the oracle's imports warn of their own
    import pandas as pd
    import quantstats.stats as qs

pytestmark = pytest.mark.oracle

CAPITAL = 100_000_000


def followed(values: list[int], capital: int = CAPITAL) -> Statistics:
    """Mark a curve once a day with values in paise."""
    curve = Curve()
    curve.flow(capital)
    for day, value in enumerate(values):
        curve.mark(day + 1, value)
        curve.end_day(past=False)
    return curve.statistics(len(values), day_is_over=False, past=False)


def random_values(seed: int, days: int = 250) -> list[int]:
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0005, 0.012, days)
    return [int(value) for value in CAPITAL * np.cumprod(1 + returns)]


@pytest.mark.parametrize("seed", range(12))
def test_every_ratio_is_the_one_that_quantstats_computes(seed: int) -> None:
    values = random_values(seed)
    found = followed(values)
    index = pd.bdate_range("2026-01-01", periods=len(values))
    returns = pd.Series(np.diff([CAPITAL, *values]) / np.array([CAPITAL, *values[:-1]]), index=index)
    prices = pd.Series([CAPITAL, *values], index=pd.bdate_range("2025-12-31", periods=len(values) + 1))
    drawdowns = prices / prices.cummax() - 1
    expected = {
        "total_return": float(qs.comp(returns)),
        "volatility": float(qs.volatility(returns, periods=252)),
        "sharpe": float(qs.sharpe(returns, periods=252)),
        "sortino": float(qs.sortino(returns, periods=252)),
        "worst_drawdown": -float(qs.max_drawdown(prices)),
        "drawdown": -float(drawdowns.iloc[-1]),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-12), name
    # quantstats counts years by the calendar; here they are counted by sessions.
    assert found.annual_return == pytest.approx((1 + expected["total_return"]) ** (252 / len(values)) - 1, rel=1e-9)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40), st.integers(1, 10**12))
def test_drawdowns_are_fractions_and_the_worst_is_never_less_than_the_last(values: list[int], capital: int) -> None:
    found = followed(values, capital)
    assert 0 <= found.drawdown <= found.worst_drawdown <= 1
    assert 0 <= found.drawdown_paise <= found.worst_drawdown_paise
    assert found.profit_paise == values[-1] - capital == found.equity_paise - capital
    for name, value in found.to_json().items():
        assert value is None or not isinstance(value, float) or math.isfinite(value), name


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(-(10**8), 10**9)), min_size=1, max_size=30),
)
def test_capital_that_comes_and_goes_is_neither_profit_nor_return(steps: list[tuple[int, int]]) -> None:
    """Each step: what the equity grows to by trading, then what the operator adds or takes."""
    plain, fed = Curve(), Curve()
    plain.flow(10**9)
    fed.flow(10**9)
    profit, equity = 0, 10**9
    for number, (gain, added) in enumerate(steps):
        profit += gain - equity // 2
        grown = equity - equity // 2 + gain
        fed.mark(number + 1, grown)
        share = grown / equity
        plain.mark(number + 1, round(plain.equity * share))
        flow = max(added, 1 - grown)
        fed.flow(flow)
        equity = grown + flow
    assert fed.profit == profit
    assert fed.index == pytest.approx(plain.index, rel=1e-4)


def test_what_is_not_defined_is_none() -> None:
    found = followed([CAPITAL])
    assert (found.volatility, found.sharpe, found.sortino, found.win_rate, found.profit_factor) == (None,) * 5
    flat = followed([CAPITAL] * 10)
    assert (flat.volatility, flat.sharpe, flat.sortino, flat.calmar) == (0.0, None, None, None)
