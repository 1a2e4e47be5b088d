"""A daemon without strategies: it records what it is told to, and its child leaves the day's bars in the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_daemon import Start, verb, write_configuration

from atmand.history.scan import listing
from atmand.history.store import Store

pytestmark = pytest.mark.process


def test_a_recorder_keeps_the_bars_of_a_session_that_has_ended(start: Start, tmp_path: Path) -> None:
    tables = {
        "record": {"universe": ["NSE:INFY", "NSE:NIFTY 50", "NSE:EQ:TATA*"]},
        "history": {"keep_bars": True},
        "simulator": {"start": "2026-07-06T15:26:00+05:30", "historical_per_second": 1000},
        "api": {"port": 0},
    }
    state = tmp_path / "state"
    daemon = start("--config", write_configuration(tmp_path, {}, tables), "--state", state, "--speed", "60")
    opened = daemon.wait_for("session_opened")
    assert (opened["books"], opened["instruments"] >= 4) == (0, True)
    kept = daemon.wait_for("bars_kept")
    assert (kept["sessions"], kept["instruments"]) == (1, opened["instruments"])
    assert daemon.stop() == 0
    rows = {row["instrument"]: row["rows"] for row in listing(Store(state / "history"))}
    assert len(rows) == opened["instruments"]
    assert all(count >= 370 for count in rows.values())  # the broker's candles fill what was before the start
    assert verb("data", "check", state / "history").returncode in (0, 1)
