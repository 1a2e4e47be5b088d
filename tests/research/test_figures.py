"""Figures of a run: on curves that can be counted by hand, and beside a library of others."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs

from atmand.history.bars import BAR, Bars
from atmand.ledger.trades import Trade
from atmand.market.costs import Executed, contract_note
from atmand.market.sessions import ns
from atmand.research.figures import Curve, buy_and_hold, cash, curve_of, figures_of

CAPITAL = 1_000_000
DAYS = (date(2026, 7, 3), date(2026, 7, 6), date(2026, 7, 7), date(2026, 7, 8))
MINUTE = 60 * 10**9


def made_curve(*sessions: list[int]) -> Curve:
    """Make a curve out of equity at bar closes, a list a session."""
    marks = [
        (ns(day, "09:16") + at * MINUTE, value)
        for day, values in zip(DAYS, sessions, strict=False)
        for at, value in enumerate(values)
    ]
    times, equity = np.array(marks, np.int64).T
    return curve_of(times, equity, CAPITAL)


def made_trade(day: date, entry: int, exit_: int, net: int) -> Trade:
    return Trade(
        trade_id="1-0", strategy="probe", account="a", product="MIS", instrument="NSE:EQ:AAA", side="BUY", quantity=1,
        entry_ns=ns(day, "09:16") + entry * MINUTE, entry_value=500_000, exit_ns=ns(day, "09:16") + exit_ * MINUTE,
        exit_value=500_000 + net + 10, costs_paise=10, exit_reason="rule", structure_id="s", strategy_sha256="x",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sessions", "worst", "paise", "length", "longest"),
    [
        ([[1_000_000, 1_010_000], [1_020_000, 1_030_000]], 0, 0, 0, 0),
        ([[1_000_000, 1_100_000], [990_000, 1_100_000]], 0.1, 110_000, 2, 2),
        ([[1_100_000, 1_045_000], [1_099_000, 1_060_000], [1_100_000, 880_000]], 0.2, 220_000, 1, 3),
        ([[900_000, 950_000], [950_000, 990_000], [999_000, 999_000]], 0.1, 100_000, 3, 3),
    ],
)
def test_a_drawdown_is_counted_from_its_peak_to_its_recovery(
    sessions: list[list[int]], worst: float, paise: int, length: int, longest: int
) -> None:
    found = figures_of(made_curve(*sessions))
    assert found.worst_drawdown == pytest.approx(worst)
    assert found.worst_drawdown_paise == paise
    assert (found.worst_drawdown_sessions, found.longest_drawdown_sessions) == (length, longest)


def test_figures_of_trades_are_those_counted_by_hand() -> None:
    curve = made_curve([1_000_000] * 10, [1_000_000] * 10)
    trades = [made_trade(DAYS[0], 2, 5, 300), made_trade(DAYS[0], 4, 6, -100), made_trade(DAYS[1], 8, 9, 0)]
    found = figures_of(curve, trades)
    assert found.exposure == pytest.approx(5 / 20)  # bars 2 to 5 of the first day, bar 8 of the second
    assert found.turnover == pytest.approx(sum(t.entry_value + t.exit_value for t in trades) / 2 / 1e6 * 126)
    assert (found.win_rate, found.profit_factor) == (pytest.approx(1 / 3), 3)
    assert found.average_trade_paise == pytest.approx(200 / 3)
    assert found.costs_share == pytest.approx(30 / 230)


@pytest.mark.oracle
def test_ratios_are_those_of_quantstats() -> None:
    rng = np.random.default_rng(2)
    equity = np.rint(CAPITAL * np.cumprod(1 + rng.normal(0.001, 0.01, 260))).astype(np.int64)
    times = np.array([ns(date(2025, 1, 1), "15:30") + day * 86_400 * 10**9 for day in range(260)], np.int64)
    curve = curve_of(times, equity, CAPITAL)
    found = figures_of(curve)
    series = pd.Series(curve.returns, index=pd.to_datetime(times))
    assert found.sharpe == pytest.approx(qs.sharpe(series, periods=252))
    assert found.sortino == pytest.approx(qs.sortino(series, periods=252))
    assert found.volatility == pytest.approx(qs.volatility(series, periods=252))
    assert found.worst_drawdown == pytest.approx(-qs.max_drawdown(series))
    assert found.annual_return == pytest.approx(qs.cagr(series, periods=252))
    assert found.calmar == pytest.approx(qs.calmar(series, periods=252))


def made_bars(closes: dict[str, list[int]]) -> Bars:
    series = {}
    for symbol, values in closes.items():
        rows = np.zeros(len(values), BAR)
        rows["start_ns"] = ns(DAYS[0], "09:15") + np.arange(len(values)) * MINUTE
        rows["open"] = rows["high"] = rows["low"] = rows["close"] = values
        series[symbol] = rows
    return Bars("made", tuple(series), series)


def test_buy_and_hold_pays_for_coming_in_and_for_going_out() -> None:
    bars = made_bars({"AAA": [10_000, 10_500, 11_000], "BBB": [7_000, 7_000], "CCC": [1, 1]})
    curve = buy_and_hold(bars, (0, 1), CAPITAL)

    def charged(side: int, value: int) -> int:
        note = contract_note([Executed(side, value)], day=DAYS[0], exchange="NSE", segment="EQ_DELIVERY")
        return int(note["total"] * 100)

    # 49 of the first and 71 of the second: one more and its costs would not fit into half of the capital.
    assert 50 * 10_000 + charged(1, 50 * 10_000) > CAPITAL // 2 > 49 * 10_000 + charged(1, 49 * 10_000)
    paid = charged(1, 490_000) + charged(1, 497_000)
    left = charged(-1, 49 * 11_000) + charged(-1, 497_000)
    assert curve.equity.tolist() == [CAPITAL - paid, CAPITAL - paid + 24_500, CAPITAL - paid + 49_000 - left]


def test_cash_grows_by_the_calendar() -> None:
    times = np.array([ns(date(2025, 7, 7), "15:30"), ns(date(2026, 7, 6), "15:30")], np.int64)
    year = curve_of(times, np.zeros(2, np.int64), CAPITAL)
    assert cash(year, 5.0).equity.tolist() == [CAPITAL + 134, CAPITAL + 50_000]
