"""Corporate actions: a split or bonus overnight, taken into bars, positions and stops before the day's first tick.

Plain Python, because it happens between sessions; what it writes is a pure function of the record and the state.
"""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray

from atmand.core.layout import ARENA
from atmand.core.records import Record, head_and_rows
from atmand.core.state import Layout, table

__all__ = ["adjust"]

_PRICES: Final = ("open", "high", "low", "close")
_LEVELS: Final = ("stop_price", "target_price", "best_price")
_DISTANCES: Final = ("stop_distance", "target_distance", "trail_distance", "trail_after", "breakeven")
_UNITS: Final = ("quantity", "holding", "entry_quantity", "exit_quantity")


def adjust(layout: Layout, record: Record) -> None:
    """Apply a CORPORATE_ACTION record: `new` units stand for `old` ones from `ex_ns` on.

    Bars before it, and everything that a position keeps in prices, are divided by the ratio; units are multiplied, a
    fraction of a unit is dropped. What positions have cost stays, so that nothing is won or lost by it.
    """
    head, rows = head_and_rows(record)
    for row in rows:
        instrument, new, old = int(row["instrument"]), int(row["new"]), int(row["old"])
        known = 0 <= instrument < len(layout.keys)
        if known and new > 0 and old > 0:
            _adjust_market(layout, instrument, new, old, int(head["ex_ns"][0]))
            _adjust_positions(layout, instrument, new, old)
    layout.arena[: ARENA.itemsize].view(ARENA)["refold"] = 1


def _adjust_market(layout: Layout, instrument: int, new: int, old: int, ex_ns: int) -> None:
    instruments, pairs = table(layout.arena, "instruments"), table(layout.arena, "pairs")
    instruments["last_price"][instrument] = _divided(instruments["last_price"][instrument], new, old)
    instruments["quoted"][instrument] = instruments["calm"][instrument] = 0
    for row in table(layout.arena, "series"):
        if row["instrument"] != instrument:
            continue
        ring = table(layout.arena, "ring")[int(row["ring_at"]) : int(row["ring_at"] + row["ring_size"])]
        _adjust_bars(ring, new, old, ex_ns)
    pairs["folded"][(pairs["instrument"] == instrument) & (pairs["series"] >= 0)] = 0


def _adjust_bars(bars: NDArray[Any], new: int, old: int, ex_ns: int) -> None:
    before = (bars["start_ns"] > 0) & (bars["start_ns"] < ex_ns)
    for name in _PRICES:
        bars[name][before] = _divided(bars[name][before], new, old)
    bars["volume"][before] = bars["volume"][before] * new // old


def _adjust_positions(layout: Layout, instrument: int, new: int, old: int) -> None:
    pairs = table(layout.arena, "pairs")
    tick = int(table(layout.arena, "instruments")["tick"][instrument])
    for index in range(len(pairs)):
        pair = pairs[index]
        if pair["instrument"] != instrument or pair["quantity"] == 0:
            continue
        sign = 1 if pair["quantity"] > 0 else -1
        for name in _UNITS:
            pair[name] = (abs(int(pair[name])) * new // old) * (sign if name == "quantity" else 1)
        for name in _LEVELS:
            pair[name] = _divided(int(pair[name]), new, old) // tick * tick
        for name in _DISTANCES:
            pair[name] = _divided(int(pair[name]), new, old) if pair[name] > 0 else pair[name]


def _divided(price: Any, new: int, old: int) -> Any:
    """Divide prices by a ratio, to the nearest unit, halves up."""
    return (2 * price * old + new) // (2 * new)
