"""The compiled batch loop decides what the record-driven fold decides, over 94,000 one-minute bars of a year.

With ATMAND_EXHAUSTIVE=1: it is compiling twenty strategies that takes its time. They run side by side in one program,
each in an account of its own; the worked strategies that the loop serves are among them.
"""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atmand.core.opening import BookLimits
from atmand.core.records import Kind
from atmand.history.bars import BAR, Bars, aligned
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import load_strategy, parse_strategy
from atmand.market.sessions import ns
from atmand.research.backtest import instruments_of
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of, session_windows
from atmand.research.batch import Batch, is_batchable

WORKED = Path(__file__).parents[2] / "configs" / "strategies"
SESSIONS, MINUTES = 251, 375
SHIPPED = ("rsi_macd", "opening_range")
EXITS = "[size]\nvalue = 80000\n[stop]\nloss = '0.5%'\ntarget = '0.8%'\n"
TRAIL = "[size]\nrisk = 900\nadd = 0.5\nreduce = 0.4\n[stop]\nloss = '2 * atr(14)'\ntrail = 2\nbreakeven = 1.5\n"
PLAIN = "[size]\npercent = 8\n[stop]\nbars = 20\n[trade]\nmax_trades_a_day = 5\ncooldown = 3\n"
LIMIT = "[size]\nquantity = 40\n[stop]\nloss = 3\n[trade]\norder = 'limit'\nlimit = 'close'\nwait = 90\n"
RULES: tuple[tuple[str, str, str, str], ...] = (
    ("crosses_above(ema(9), ema(21))", "crosses_below(ema(9), ema(21))", "close < ema(21)", TRAIL),
    ("close > bbands(20, 2).upper", "close < bbands(20, 2).lower", "close < bbands(20, 2).middle", EXITS),
    ("stoch(14, 3, 3).k < 20", "stoch(14, 3, 3).k > 80", "stoch(14, 3, 3).k > 50", PLAIN),
    ("crosses_above(close, vwap())", "crosses_below(close, vwap())", "minutes_to_close < 20", LIMIT),
    ("close > highest(high, 30)[1]", "close < lowest(low, 30)[1]", "close < lowest(low, 10)[1]", TRAIL),
    ("rolling_zscore(20) < -2", "rolling_zscore(20) > 2", "rolling_zscore(20) > 0", EXITS),
    ("supertrend(10, 3).direction > 0", "supertrend(10, 3).direction < 0", "bars_held > 40", PLAIN),
    ("cci(20) < -150", "cci(20) > 150", "profit_r > 1.5", TRAIL),
    (
        "adx(14) > 30 and plus_di(14) > minus_di(14)",
        "adx(14) > 30 and plus_di(14) < minus_di(14)",
        "adx(14) < 20",
        EXITS,
    ),
    ("mfi(14) < 20", "mfi(14) > 80", "mfi(14) > 50", PLAIN),
    ("close > kama(20) and rising(close, 3)", "close < kama(20) and falling(close, 3)", "close < kama(20)", LIMIT),
    ("gap < -0.2 and close > day_open", "gap > 0.2 and close < day_open", "close > prev_day.close", EXITS),
    ("obv() > sma(obv(), 20)", "obv() < sma(obv(), 20)", "obv() < sma(obv(), 50)", PLAIN),
    ("count(close > open, 8) >= 7", "count(close < open, 8) >= 7", "bars_since(close > open) > 2", TRAIL),
    ("close > opening_range(15).high", "close < opening_range(15).low", "trades_today > 2", EXITS),
    ("willr(14) < -90 and minute % 5 == 0", "willr(14) > -10 and minute % 5 == 0", "willr(14) > -40", LIMIT),
    ("linearreg_slope(20) > 0.05", "linearreg_slope(20) < -0.05", "linearreg_slope(20) < 0", PLAIN),
    ("sar(0.02, 0.2) < close", "sar(0.02, 0.2) > close", "sar(0.02, 0.2) > close", TRAIL),
)
FORM = """
name = "drawn_{number}"
universe = ["NSE:AAA"]
[session]
square_off = "15:15"
entry_to = "15:00"
[entry]
long = "{long}"
short = "{short}"
{added}
[exit]
long = "{left}"
{taken}
{rest}
"""


def deployments() -> list[Deployment]:
    files = [load_strategy(WORKED / f"{name}.toml") for name in SHIPPED]
    for number, (long, short, left, rest) in enumerate(RULES):
        parts = rest is TRAIL
        added = 'add_long = "close > close[1]"' if parts else ""
        taken = 'reduce_short = "close > close[1]"' if parts else ""
        text = FORM.format(number=number, long=long, short=short, left=left, rest=rest, added=added, taken=taken)
        files.append(parse_strategy(text, f"drawn_{number}.toml"))
    return [Deployment(file, account=file.strategy.name) for file in files]


def a_year() -> Bars:
    """Draw one share's 251 whole sessions of 375 minutes."""
    rng = np.random.default_rng(11)
    days, day = [], date(2025, 4, 1)
    while len(days) < SESSIONS:
        hours = session_windows(day)
        if day.weekday() < 5 and sum(window.close_ns - window.open_ns for window in hours) == MINUTES * 60 * 10**9:
            days.append(day)
        day += timedelta(days=1)
    rows = np.zeros(SESSIONS * MINUTES, BAR)
    rows["start_ns"] = np.concatenate([ns(day, "09:15") + np.arange(MINUTES) * 60 * 10**9 for day in days])
    away = np.cumsum(rng.normal(0, 12, len(rows)))
    rows["close"] = 100_000 + np.rint(away - away * np.linspace(0, 1, len(rows))).astype(np.int64) * 5
    rows["open"] = np.concatenate([[100_000], rows["close"][:-1]]) + rng.integers(-4, 5, len(rows)) * 5
    rows["high"] = np.maximum(rows["open"], rows["close"]) + rng.integers(0, 25, len(rows)) * 5
    rows["low"] = np.minimum(rows["open"], rows["close"]) - rng.integers(0, 25, len(rows)) * 5
    rows["volume"] = rng.integers(500, 60_000, len(rows))
    return Bars("made", ("AAA",), {"AAA": rows})


@pytest.mark.skipif(os.environ.get("ATMAND_EXHAUSTIVE") != "1", reason="ATMAND_EXHAUSTIVE=1 compiles twenty strategies")
def test_a_year_of_minutes_is_decided_alike_by_both_drivers() -> None:
    traders = deployments()
    program = build(generate(traders))
    assert is_batchable(program.manifest)
    times, grid, present = aligned(a_year())
    instruments = instruments_of(["AAA"])
    pairs = [(book, 0) for book in range(len(traders))]
    market = DrivenMarket([(instruments[0], 0)], pairs, [BookLimits(2_000_000_00)] * len(traders))
    marks: list[NDArray[Any]] = []
    driver = BarDriver(program, market, lambda rows: marks.append(rows[rows["kind"] == Kind.AUDIT_MARK]), 1 << 12)
    for day, places in days_of(times):
        driver.open(day)
        driver.run(grid[places], present[places])
    run = Batch(program, market, times, grid, present).run()

    assert len(run.equity_paise) == SESSIONS * MINUTES > 94_000
    trades = np.bincount(run.trades["book"], minlength=len(traders))
    assert trades.min() > 50, trades
    assert run.result["orders"][0] == driver.engine.header["orders_made"]
    assert int(run.result["fingerprint"][0]) == int(driver.engine.header["fingerprint"])
    equity = np.concatenate(marks)["value"].reshape(-1, len(traders)).sum(axis=1)
    np.testing.assert_array_equal(run.equity_paise, equity)
