"""The trading side without its daemon: what happens to frames that find no room."""

from __future__ import annotations

from pathlib import Path

from atmand.core.records import GapReason, Kind, head_and_rows
from atmand.journal import read
from atmand.settings import builtin, load
from atmand.trading import Trading
from atmand.wiring import JOURNAL

_HALF = 8 << 20
"""Half of the memory that waits for a disk holds frames."""


def test_an_overloads_gap_is_recorded_once_and_asks_for_history(tmp_path: Path) -> None:
    overrides = {"instance": {"state": tmp_path}, "journal": {"memory_bytes": 2 * _HALF}}
    trading = Trading(load(builtin("demo.toml"), overrides))
    asked: list[int] = []
    trading.on_overload_gap = lambda: asked.append(trading.writer.appended)
    trading.frame(b"first", 1_000, 0)
    trading.frame(bytes(_HALF), 2_000, 0)
    assert asked == []
    trading.frame(b"next", 4_000, 0)
    trading.frame(b"last", 5_000, 0)
    trading.writer.close()
    gaps = [record for record in read(tmp_path / JOURNAL) if record.kind == Kind.GAP]
    heads = [head_and_rows(record)[0] for record in gaps]
    told = [tuple(int(head[name][0]) for name in ("from_ns", "to_ns", "reason", "frames")) for head in heads]
    assert told == [(2_000, 4_000, GapReason.OVERLOAD, 1)]
    assert asked == [gap.sequence for gap in gaps]
