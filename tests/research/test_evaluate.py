"""`atmand eval`: other bars and instruments from the same file, through the step that a strategy has."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atmand.lang.source import StrategyError
from atmand.market.sessions import ns
from atmand.research.evaluate import command

MINUTE = 60_000_000_000
N = 30


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """Write a file of two instruments whose closes count up from 100 and from 200."""
    starts = ns(date(2026, 7, 6), "09:15") + np.arange(N) * MINUTE
    frames = []
    for symbol, base in (("AAA", 100.0), ("BBB", 200.0)):
        close = base + np.arange(N)
        prices = {"open": close, "high": close + 1, "low": close - 1, "close": close}
        columns = {"symbol": [symbol] * N, "ts": starts, **prices, "volume": np.full(N, 10)}
        frames.append(pl.DataFrame(columns).with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC"))))
    path = tmp_path / "bars.parquet"
    pl.concat(frames).write_parquet(path)
    return path


def values(expression: str, data: Path, bar_ns: int | None = None) -> list[float | bool | None]:
    return [row["value"] for row in command(expression, data=data, instrument="NSE:AAA", params={}, bar_ns=bar_ns)]


def test_other_bars_and_instruments_come_from_the_same_file(bars: Path) -> None:
    assert values("close('NSE:BBB') - close", bars) == [100.0] * N
    assert values("close(on='5m')", bars) == [None] * 4 + [104.0 + i // 5 * 5 for i in range(N - 4)]
    assert values("close('NSE:BBB', on='15m')[1]", bars) == [None] * 29 + [214.0]


def test_bars_are_joined_and_the_day_is_known(bars: Path) -> None:
    assert values("day_high", bars, 10 * MINUTE) == [110.0, 120.0, 130.0]
    assert values("minutes_since_open", bars, 10 * MINUTE) == [10.0, 20.0, 30.0]
    assert values("close > day_open", bars, 10 * MINUTE) == [True, True, True]


def test_an_expression_alone_has_no_position(bars: Path) -> None:
    with pytest.raises(StrategyError, match="an expression alone has no position"):
        values("profit > 1", bars)
