"""A market drawn out of a file: what is refused, once and with the right code, and whose costs an old day is told."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from running_daemon import FAST, Start

from atmand.errors import ExitCode

pytestmark = pytest.mark.process


@pytest.fixture
def old_bars(tmp_path: Path) -> Path:
    """A morning of 2016, before the tables of costs begin; prices go up and down every quarter of an hour."""
    opening = datetime.fromisoformat("2016-08-16T09:15:00+05:30")
    rows = []
    for symbol in ("RELIANCE", "TCS"):
        for minute in range(180):
            close = 1000.0 + abs(minute % 30 - 15) + (minute % 3) / 2
            bar = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 90_000}
            rows.append({"symbol": symbol, "ts": opening + timedelta(minutes=minute), **bar})
    path = tmp_path / "old.parquet"
    pl.DataFrame(rows).with_columns(pl.col("ts").dt.convert_time_zone("Asia/Kolkata")).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("symbol,ts,open\nTCS,2026-07-03T09:15:00+05:30,1\n", "no column high, low, close, volume"),
        ("", "bad.csv"),
        ("symbol,ts,open,high,low,close,volume\nTCS,2026-07-03T09:15:00,1,1,1,1,1\n", "ts has no time zone"),
    ],
    ids=["columns", "empty", "zone"],
)
def test_a_bad_file_of_bars_is_one_line_with_the_childs_own_code(
    start: Start, configuration: Path, tmp_path: Path, text: str, told: str
) -> None:
    bars = tmp_path / "bad.csv"
    bars.write_text(text)
    daemon = start("--config", configuration, "--state", tmp_path / "state", "--bars", bars)
    assert daemon.ended() == ExitCode.REFUSED
    assert told in daemon.errors and daemon.errors.count("\n") == 1, daemon.errors


def test_bars_older_than_the_costs_are_refused_before_they_wait_for_the_compiler(
    start: Start, configuration: Path, tmp_path: Path, old_bars: Path
) -> None:
    daemon = start("--config", configuration, "--state", tmp_path / "state", "--bars", old_bars)
    assert daemon.ended() == ExitCode.REFUSED
    assert re.match(
        r"costs of 2016-08-16: the cost table \(exchange charges of NSE, EQ_INTRADAY, its newest row is of [\d-]{10}\) "
        r"begins on 2024-10-01; ",
        daemon.errors,
    )
    assert "--costs-as-of DATE" in daemon.errors and daemon.errors.count("\n") == 1
    assert not daemon.named("session_opened")


def test_money_of_an_old_day_is_told_with_the_day_of_its_costs(
    start: Start, configuration: Path, tmp_path: Path, old_bars: Path
) -> None:
    words = ("--config", configuration, "--state", tmp_path / "state", "--bars", old_bars, *FAST)
    daemon = start(*words, "--costs-as-of", "2026-07-06")
    for event in ("session_opened", "order_filled", "trade_closed", "books_marked"):
        assert daemon.wait_for(event)["costs_as_of"] == "2026-07-06"
    daemon.wait_for("market_ended")
    assert daemon.ended() == 0
    assert daemon.errors == ""
