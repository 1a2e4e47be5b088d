"""The rings of closed bars, read back as HISTORY: how a new session begins with the bars that the last one made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.opening import Draft
from atmand.core.records import HISTORY_HEAD, HISTORY_ROW, BarFlag, Kind, body_of
from atmand.core.state import Layout, table

__all__ = ["history_draft", "ring_bars", "ring_drafts"]

_COLUMNS: Final = ("start_ns", "open", "high", "low", "close", "volume")


def ring_bars(layout: Layout, series: int) -> NDArray[Any]:
    """Return a series' closed bars, oldest first: a copy."""
    row = table(layout.arena, "series")[series]
    count, size = int(row["count"]), int(row["ring_size"])
    places = int(row["ring_at"]) + np.arange(max(0, count - size), count) % size
    bars: NDArray[Any] = table(layout.arena, "ring")[places]
    return bars


def ring_drafts(layout: Layout, keys: Sequence[str]) -> list[Draft]:
    """Write every ring as HISTORY records for a session whose instruments have these keys, one record a period.

    Longer periods come last: what shorter bars add up to at the old end of their ring is not a whole longer bar.
    """
    places = {key: index for index, key in enumerate(keys)}
    periods: dict[int, list[NDArray[Any]]] = {}
    for index, series in enumerate(table(layout.arena, "series")):
        instrument = places.get(layout.keys[int(series["instrument"])])
        bars = ring_bars(layout, index)
        bars = bars[bars["marks"] & BarFlag.PARTIAL == 0]
        if instrument is None or not len(bars):
            continue
        rows = np.zeros(len(bars), HISTORY_ROW)
        for name in _COLUMNS:
            rows[name] = bars[name]
        rows["instrument"] = instrument
        periods.setdefault(int(series["period_ns"]), []).append(rows)
    return [history_draft(np.concatenate(periods[period]), period) for period in sorted(periods)]


def history_draft(rows: NDArray[Any], bar_ns: int, to_ns: int | None = None) -> Draft:
    """Write a HISTORY record of candles that are sorted by instrument and time, asked for up to `to_ns`."""
    head = np.zeros(1, HISTORY_HEAD)
    head["bar_ns"] = bar_ns
    if len(rows):
        head["from_ns"] = rows["start_ns"].min()
        head["to_ns"] = rows["start_ns"].max() + bar_ns if to_ns is None else to_ns
    return Draft(Kind.HISTORY, body_of(Kind.HISTORY, head, rows), len(rows))
