"""Back-tests: the same inputs give the same orders, in compiled and in interpreted code, and money adds up."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atmand.core.opening import BookLimits
from atmand.errors import AtmandError
from atmand.history.bars import BAR, Bars
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.market.sessions import ns
from atmand.research.backtest import Backtest, Result, run_backtest
from atmand.research.evaluate import command as evaluate

CAPITAL = 100_000_000
DAYS = (date(2026, 7, 6), date(2026, 7, 7))
STRATEGY = """name = "probe"
universe = ["NSE:AAA", "NSE:BBB"]
[session]
square_off = "10:40"
[entry]
long = "crosses_above(ema(3), ema(8))"
short = "crosses_below(ema(3), ema(8))"
[exit]
long = "rsi(5) > 80"
short = "rsi(5) < 20"
[stop]
loss = "1.5 * atr(5)"
target = "2 * atr(5)"
[size]
value = 50000
"""


def made_bars(minutes: int = 90) -> Bars:
    """Make two shares' random bars of two mornings."""
    rng = np.random.default_rng(5)
    series = {}
    for symbol, base in (("AAA", 50_000), ("BBB", 120_000)):
        rows = np.zeros(minutes * len(DAYS), BAR)
        rows["start_ns"] = np.concatenate([ns(day, "09:15") + np.arange(minutes) * 60 * 10**9 for day in DAYS])
        close = base + np.cumsum(rng.integers(-40, 41, len(rows))) * 5
        rows["close"], rows["open"] = close, np.concatenate([[base], close[:-1]])
        rows["high"] = np.maximum(rows["open"], rows["close"]) + rng.integers(0, 30, len(rows)) * 5
        rows["low"] = np.minimum(rows["open"], rows["close"]) - rng.integers(0, 30, len(rows)) * 5
        rows["volume"] = rng.integers(2_000, 90_000, len(rows))
        series[symbol] = rows
    return Bars("made", tuple(series), series)


def result(minutes: int = 90) -> Result:
    file = parse_strategy(STRATEGY, "probe.toml")
    return run_backtest(Backtest([Deployment(file)], made_bars(minutes), [BookLimits(CAPITAL)]))


def test_a_back_test_trades_and_repeats_itself() -> None:
    first, second = result(), result()
    assert first.digest == second.digest
    assert len(first.trades) > 10
    assert {trade.exit_reason for trade in first.trades} >= {"stop", "target"}
    assert first.sessions == 2 and first.bars == 360


def test_equity_ends_at_the_capital_and_the_trades_results() -> None:
    done = result()
    assert done.equity[-1][1] == CAPITAL + sum(trade.net_paise for trade in done.trades)
    assert all(trade.costs_paise > 0 for trade in done.trades)


def test_nothing_is_held_past_the_square_off() -> None:
    assert all(trade.exit_ns < ns(day, "10:42") for trade in result().trades for day in DAYS[-1:])


def test_interpreted_code_makes_the_same_orders() -> None:
    script = "from tests.research.test_backtest import result; print(result(60).digest)"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert told.stdout.strip() == result(60).digest


def test_a_strategy_without_any_of_the_datas_shares_is_refused() -> None:
    file = parse_strategy(STRATEGY.replace("AAA", "CCC").replace("BBB", "DDD"), "probe.toml")
    with pytest.raises(AtmandError, match="none of its instruments"):
        run_backtest(Backtest([Deployment(file)], made_bars(), [BookLimits(CAPITAL)]))


def test_a_selector_is_refused_where_only_bars_are_known() -> None:
    file = parse_strategy(STRATEGY.replace("AAA", "AAA").replace('"NSE:AAA"', '"INDEX:NIFTY 50"'), "probe.toml")
    with pytest.raises(AtmandError, match="INDEX:NIFTY 50 means other instruments from day to day"):
        run_backtest(Backtest([Deployment(file)], made_bars(), [BookLimits(CAPITAL)]))


def test_bars_before_the_cost_tables_need_a_date_of_costs() -> None:
    bars = made_bars()
    old = {symbol: rows.copy() for symbol, rows in bars.series.items()}
    for rows in old.values():
        rows["start_ns"] -= ns(DAYS[0], "00:00") - ns(date(2016, 8, 16), "00:00")
    file = parse_strategy(STRATEGY, "probe.toml")
    plan = Backtest([Deployment(file)], Bars("old", bars.symbols, old), [BookLimits(CAPITAL)])
    with pytest.raises(AtmandError, match="costs_as_of"):
        run_backtest(plan)
    plan.costs_as_of = DAYS[0]
    assert run_backtest(plan).costs_note == "costs as of 2026-07-06"


def test_longer_bars_in_the_file_are_refused() -> None:
    bars = made_bars()
    thinned = {symbol: rows[::5].copy() for symbol, rows in bars.series.items()}
    file = parse_strategy(STRATEGY, "probe.toml")
    with pytest.raises(AtmandError, match="one-minute bars"):
        run_backtest(Backtest([Deployment(file)], Bars("thin", bars.symbols, thinned), [BookLimits(CAPITAL)]))


def file_of(path: Path, rows: NDArray[Any]) -> Path:
    lines = ["symbol,ts,open,high,low,close,volume"]
    for row in rows:
        stamp = np.datetime64(int(row["start_ns"]), "ns").astype("datetime64[s]")
        prices = ",".join(f"{int(row[name]) / 100:.2f}" for name in ("open", "high", "low", "close"))
        lines.append(f"AAA,{stamp}+00:00,{prices},{int(row['volume'])}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_eval_joins_bars_and_tells_missing_values(tmp_path: Path) -> None:
    rows = made_bars().series["AAA"][:20]
    path = file_of(tmp_path / "bars.csv", rows)
    values = [row["value"] for row in evaluate("sma(n)", data=path, instrument="AAA", params={"n": 4.0})]
    closes = rows["close"] / 100
    assert values[:3] == [None] * 3
    assert values[3:] == pytest.approx([closes[at - 3 : at + 1].mean() for at in range(3, 20)])
    joined = list(evaluate("close > open", data=path, instrument=None, params={}, bar_ns=300 * 10**9))
    assert [row["value"] for row in joined] == [
        bool(rows["close"][at + 4] > rows["open"][at]) for at in range(0, 20, 5)
    ]


@pytest.mark.parametrize(
    ("expression", "params", "said"),
    [
        ("", {}, "expression:1:1: there is none; write one"),
        (" \n ", {}, "expression:1:1: there is none; write one"),
        ("close < low", {"low": 30.0}, "--set low: cannot name a parameter; use lower case"),
        ("close < X", {"X": 30.0}, "--set X: cannot name a parameter"),
        ("close < levl", {"level": 30.0}, "expression:1:9: unknown name 'levl'; did you mean level?"),
        ("close < 1" + " or close < 1" * 400, {}, "longer than 4096 characters"),
        ("close < \udcff", {}, "EXPR: not UTF-8"),
    ],
)
def test_an_expression_that_eval_cannot_take_is_refused_like_a_file(
    expression: str, params: dict[str, float], said: str, tmp_path: Path
) -> None:
    path = file_of(tmp_path / "bars.csv", made_bars().series["AAA"][:3])
    with pytest.raises(AtmandError) as refused:
        list(evaluate(expression, data=path, instrument=None, params=params))
    assert said in str(refused.value)
