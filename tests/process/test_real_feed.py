"""The broker's path: a stand-alone exchange on the broker's wire, a token file, and the machine's clock."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from books_check import audit, folded, records, verified
from running_daemon import UNIVERSE, Start, atmand, write_configuration, write_strategy

from atmand.core.records import BarFlag, FeedState, GapReason, Kind, head_and_rows

pytestmark = pytest.mark.process

SPEED = 20
CUT_S = 90
_NS = 10**9


def _configuration(folder: Path, ready: dict[str, Any]) -> Path:
    (folder / "token").write_text(ready["access_token"] + "\n")
    strategies = {"rsi_macd": write_strategy(folder / "strategies", "rsi_macd", UNIVERSE)}
    strategies["ema_trend"] = write_strategy(folder / "strategies", "ema_trend", UNIVERSE[1:])
    kite = {
        "api_key": ready["api_key"],
        "access_token_file": str(folder / "token"),
        "ws_url": f"ws://127.0.0.1:{ready['port']}",
        "rest_url": f"http://127.0.0.1:{ready['port']}",
        "backoff_start_s": 0.1,
        "backoff_cap_s": 0.3,
        "historical_per_s": 3,
    }
    tables = {"feed": {"kind": "kite"}, "feed.kite": kite, "journal": {"min_free_bytes": 0}}
    return write_configuration(folder, strategies, tables)


async def test_paper_trading_on_the_brokers_wire_outlives_a_cut(start: Start, tmp_path: Path) -> None:
    exchange = start(
        command=atmand("sim", "--seed", "7", "--speed", str(SPEED), "--start", "2026-07-06T10:00:00+05:30")
    )
    ready = exchange.wait_for("sim_ready")
    state, configuration = tmp_path / "state", _configuration(tmp_path, ready)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"http://127.0.0.1:{ready['port']}/control", headers={"Authorization": f"Bearer {ready['control_token']}"}
        ) as control,
    ):
        anchor = await control.receive_json(timeout=20)
        clock = (str(anchor["market_time_ns"]), str(time.monotonic_ns()), str(SPEED))
        program = [sys.executable, str(Path(__file__).with_name("clocked.py")), *clock]
        daemon = start(command=[*program, "run", "--config", str(configuration), "--state", str(state)])
        assert daemon.wait_for("ready")["market"] == "kite"
        daemon.wait_for("feed_subscribed")
        daemon.wait_for("history_folded")
        await control.send_str(json.dumps({"type": "cut", "market_seconds": CUT_S}))
        seen = daemon.count()
        daemon.wait_for("feed_lost", after=seen)
        daemon.wait_for("market_data_gap", after=seen)
        # Three requests a second at twenty times the speed: a minute and more of the market goes by meanwhile.
        daemon.wait_for("history_folded", after=seen)
        assert daemon.stop() == 0
    assert exchange.stop() == 0

    states = [int(head_and_rows(record)[0]["state"][0]) for record in records(state, Kind.FEED_STATE)]
    assert states.count(FeedState.SUBSCRIBED) == 2
    lost = records(state, Kind.GAP)[0]
    gap = head_and_rows(lost)[0][0]
    assert gap["reason"] == GapReason.DISCONNECTED
    assert gap["to_ns"] - gap["from_ns"] >= (CUT_S - 1) * _NS
    assert sum(record.sequence > lost.sequence for record in records(state, Kind.HISTORY)) == len(UNIVERSE)
    _assert_bars_complete_and_no_entry_on_a_partial_one(state, int(gap["from_ns"]), int(gap["to_ns"]))
    verified(state)


def _assert_bars_complete_and_no_entry_on_a_partial_one(state: Path, from_ns: int, to_ns: int) -> None:
    """What was over when history was asked for is whole; the minute in which ticks came back may stay partial."""
    engine, rows = folded(state), audit(state)
    entered = rows[(rows["kind"] == Kind.AUDIT_DECISION) & (rows["state"] == 1)]
    ring, minute_ns = engine.table("ring"), 60 * _NS
    for series in engine.table("series"):
        if series["period_ns"] != minute_ns:
            continue
        count, size, at = (int(series[name]) for name in ("count", "ring_size", "ring_at"))
        bars = ring[at + np.arange(max(0, count - size), count) % size]
        recent = bars[bars["start_ns"] > from_ns - 5 * minute_ns]
        assert (np.diff(recent["start_ns"]) == minute_ns).all(), "a bar is missing"
        ends = recent["start_ns"] + minute_ns
        missed = recent[(ends > from_ns) & (ends <= to_ns)]
        assert len(missed) >= 1
        assert (missed["marks"] == BarFlag.HISTORY).all()
        partial = recent[(recent["marks"] & BarFlag.PARTIAL) != 0]
        assert all(start_ns < to_ns < start_ns + minute_ns for start_ns in partial["start_ns"].tolist())
        decided = entered["time_ns"][entered["instrument"] == series["instrument"]]
        assert not ((decided > from_ns) & (decided < to_ns)).any()
        for end_ns in partial["start_ns"] + minute_ns:
            assert not ((decided >= end_ns) & (decided < end_ns + 3 * _NS)).any()
