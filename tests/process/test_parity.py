"""Bars sent as frames through socket, decoder and core decide exactly what the loop inside numba decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from books_check import audit, records
from numpy.typing import NDArray
from running_daemon import Start, write_configuration, write_strategy

from atmand.core.opening import BookLimits
from atmand.core.records import Kind, head_and_rows
from atmand.core.words import Purpose, Reason
from atmand.history.bars import load_bars
from atmand.ledger.trades import decision_digest
from atmand.opening import deployments_of
from atmand.research.backtest import Backtest, Result, run_backtest
from atmand.settings import load

pytestmark = pytest.mark.process

COSTS = date(2026, 7, 6)
LIMITS = {
    "order_value_rupees": 10**9,
    "position_value_rupees": 10**9,
    "daily_loss_rupees": 10**9,
    "open_positions": 1000,
    "orders_a_day": 100_000,
}


def _walk(path: Path, symbols: Sequence[str], second_opening: str = "09:15") -> None:
    """Write two days of 120 minutes: wide bars, so that stop and target often lie within one, and missing minutes."""
    rng = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    for number, symbol in enumerate(symbols):
        close = 100_000 + 40_000 * number
        for opens in ("2016-08-16T09:15", f"2016-08-17T{second_opening}"):
            opening = datetime.fromisoformat(f"{opens}:00+05:30")
            for minute in range(120):
                if number == 1 and 0 < minute < 119 and rng.random() < 0.15:
                    continue
                opened = close + int(rng.integers(-6, 7)) * 5
                close = max(20_000, opened + int(rng.normal(0, 30)) * 5)
                high = max(opened, close) + int(rng.integers(0, 40)) * 5
                low = min(opened, close) - int(rng.integers(0, 40)) * 5
                prices = {"open": opened / 100, "high": high / 100, "low": low / 100, "close": close / 100}
                volume = int(rng.integers(0, 9_000))
                rows.append({"symbol": symbol, "ts": opening + timedelta(minutes=minute), **prices, "volume": volume})
    pl.DataFrame(rows).with_columns(pl.col("ts").dt.convert_time_zone("Asia/Kolkata")).write_parquet(path)


def _configuration(folder: Path, symbols: Sequence[str], clocks: Mapping[str, str], **params: Any) -> Path:
    universe = [f"NSE:{symbol}" for symbol in symbols]
    names = ("rsi_macd", "ema_trend")
    strategies = {name: write_strategy(folder / "strategies", name, universe, **clocks) for name in names}
    tables = {
        "market": {"costs_as_of": str(COSTS), "grace_ms": 1500, "latency_ms": [40, 9_000], "protection_bps": 60},
        "simulator": {"seed": 11},
        "limits": LIMITS,
        "journal": {"min_free_bytes": 0},
    }
    return write_configuration(folder, strategies, tables, **params)


def _driven(start: Start, folder: Path, configuration: Path, bars: Path) -> NDArray[Any]:
    """Let the daemon trade the whole file and return its audit."""
    state = folder / "state"
    daemon = start("--config", configuration, "--state", state, "--bars", bars, "--speed", "86400")
    assert daemon.ended() == 0, daemon.errors
    assert daemon.named("market_ended") and daemon.named("stopped")
    return audit(state)


def _tested(configuration: Path, bars: Path, symbols: Sequence[str]) -> Result:
    settings = load(configuration)
    deployments = deployments_of(settings)
    market = settings.market
    limits = [
        BookLimits(100_000_000, 10**11, 10**11, 10**11, open_positions=1000, orders_a_day=100_000) for _ in deployments
    ]
    terms = {
        "seed": settings.simulator.seed,
        "grace_ns": market.grace_ns,
        "latency_ns": market.latency_ns,
        "protection_bps": market.protection_bps,
        "entry_wait_ns": market.entry_wait_ns,
        "stale_ns": market.stale_after_ns,
    }
    return run_backtest(Backtest(deployments, load_bars(bars, symbols), limits, COSTS, terms))


def _exit_reasons(rows: NDArray[Any]) -> set[Reason]:
    fills = rows[(rows["kind"] == Kind.AUDIT_FILL) & (rows["state"] != Purpose.ENTRY)]
    return {Reason(int(reason)) for reason in fills["reason"]}


def _assert_same(live: NDArray[Any], tested: Result) -> None:
    fills = live[live["kind"] == Kind.AUDIT_FILL]
    assert len(tested.trades) >= 15
    assert int(fills["costs"].sum()) == sum(trade.costs_paise for trade in tested.trades)
    assert decision_digest(live) == tested.digest


def test_generated_bars_with_stop_and_target_in_one_decide_the_same_live_and_back_tested(
    start: Start, tmp_path: Path
) -> None:
    symbols = ("AAA", "BBB", "CCC")
    _walk(tmp_path / "bars.parquet", symbols)
    clocks = {"entry_from": "09:20", "entry_to": "10:50", "square_off": "11:00"}
    narrow = {"stop_atr": 0.5, "target_atr": 0.5}
    trend = {"slow": 15, "fast": 5, "filter": 20, "stop_atr": 0.5}
    configuration = _configuration(tmp_path, symbols, clocks, rsi_macd=narrow, ema_trend=trend)
    live = _driven(start, tmp_path, configuration, tmp_path / "bars.parquet")
    _assert_same(live, _tested(configuration, tmp_path / "bars.parquet", symbols))
    assert _exit_reasons(live) >= {Reason.STOP, Reason.TARGET}
    assert set(live["book"][live["kind"] == Kind.AUDIT_FILL].tolist()) == {0, 1}
    days = [int(head_and_rows(record)[0]["date"][0]) for record in records(tmp_path / "state", Kind.SESSION)]
    assert days == [20160816, 20160817]


def test_a_market_that_closes_on_open_positions_carries_them_as_the_back_test_does(
    start: Start, tmp_path: Path
) -> None:
    symbols = ("AAA", "BBB", "CCC")
    _walk(tmp_path / "bars.parquet", symbols, "13:30")
    configuration = _configuration(tmp_path, symbols, {}, rsi_macd={"stop_atr": 6.0, "target_atr": 12.0})
    live = _driven(start, tmp_path, configuration, tmp_path / "bars.parquet")
    orders = live[live["kind"] == Kind.AUDIT_INTENT]
    assert Reason.SQUARE_OFF in orders["reason"].tolist()
    assert decision_digest(live) == _tested(configuration, tmp_path / "bars.parquet", symbols).digest


def test_two_days_of_real_bars_decide_the_same_live_and_back_tested(
    start: Start, tmp_path: Path, data_directory: Path
) -> None:
    source = pl.read_parquet(data_directory / "bars" / "nse_eq_1m_2016-08.parquet")
    days = sorted(source["ts"].dt.date().unique())[:2]
    cut = source.filter(pl.col("ts").dt.date().is_in(days))
    cut.write_parquet(tmp_path / "bars.parquet")
    symbols = sorted(cut["symbol"].unique())
    configuration = _configuration(tmp_path, symbols, {})
    live = _driven(start, tmp_path, configuration, tmp_path / "bars.parquet")
    _assert_same(live, _tested(configuration, tmp_path / "bars.parquet", symbols))
    assert _exit_reasons(live) >= {Reason.STOP, Reason.TARGET, Reason.RULE}
