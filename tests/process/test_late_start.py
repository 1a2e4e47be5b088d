"""A daemon that starts in the middle of a day stands where one stands that has run since the opening."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from books_check import folded, records, verified
from running_daemon import FAST, Start

from atmand.core.engine import Engine
from atmand.core.records import Kind
from atmand.market.sessions import ns, session_date

pytestmark = pytest.mark.process

DAY = "2026-07-06"
BAR = ["start_ns", "open", "high", "low", "close", "volume"]


def _ran(start: Start, configuration: Path, state: Path, began: str, until: str) -> None:
    daemon = start(
        "--config", configuration, "--state", state, *FAST, ATMAND_SIMULATOR__START=f"{DAY}T{began}:00+05:30"
    )
    daemon.wait_until(until)
    assert daemon.stop() == 0


def _bars(engine: Engine, from_ns: int) -> list[list[tuple[int, ...]]]:
    """Return each series' closed bars that began at or after a time, oldest first."""
    ring, found = engine.table("ring"), []
    for series in engine.table("series"):
        count, size, at = (int(series[name]) for name in ("count", "ring_size", "ring_at"))
        kept = ring[at + np.arange(max(0, count - size), count) % size]
        rows = kept[kept["start_ns"] >= from_ns][BAR]
        found.append([tuple(row) for row in rows.tolist()])
    return found


@pytest.mark.parametrize("began", ["11:30", "11:32"])
def test_a_late_start_has_the_bars_and_indicators_of_a_whole_day(
    start: Start, configuration: Path, tmp_path: Path, began: str
) -> None:
    """11:32 falls into a bar of five minutes, whose beginning only the broker's unfinished candle tells."""
    whole, late = tmp_path / "whole", tmp_path / "late"
    _ran(start, configuration, whole, "09:15", "12:30")
    _ran(start, configuration, late, began, "12:30")
    until_ns = min(records(state, Kind.FRAME)[-1].time_ns for state in (whole, late))
    began_ns = ns(session_date(until_ns), began)
    ours, theirs = (folded(state, until_ns=until_ns) for state in (late, whole))

    assert _bars(ours, began_ns) == _bars(theirs, began_ns)
    assert all(len(rows) >= 11 for rows in _bars(ours, began_ns))
    assert _bars(ours, 0) == _bars(theirs, 0)
    pairs, others = ours.table("pairs"), theirs.table("pairs")
    assert pairs["ready"].tolist() == others["ready"].tolist() == [1] * len(pairs)
    _assert_same_indicators(ours, theirs)
    verified(late)


def _assert_same_indicators(ours: Engine, theirs: Engine) -> None:
    """Compare every pair's indicator state: numbers to 1e-9 of their size."""
    for index, (book, _) in enumerate(ours.layout.pairs):
        plan = ours.layout.manifest.structures[ours.layout.manifest.books[book].structure]
        slabs = []
        for engine in (ours, theirs):
            at = int(engine.table("pairs")["slab_at"][index])
            slabs.append(engine.layout.arena[at : at + plan.state_bytes].view(np.float64))
        np.testing.assert_allclose(slabs[0], slabs[1], rtol=1e-9, atol=1e-9)
