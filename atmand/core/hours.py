"""When a book may enter, and by when it has to be flat: the strategy's own times, and the broker's for its product.

Called when an arena is laid out and when a batch lays its sessions out, so that every driver has the same hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from numpy.typing import NDArray

from atmand.core.bars import IST_NS
from atmand.core.manifest import BookPlan, Manifest
from atmand.market.products import square_off_minutes, square_off_segment
from atmand.market.sessions import WITH_DERIVATIVES

__all__ = ["book_hours", "flat_by", "flat_times"]

_DAY_NS: Final = 86_400_000_000_000
_MINUTE_NS: Final = 60_000_000_000


def book_hours(plan: BookPlan, open_ns: int, close_ns: int, flat_ns: int = 0) -> tuple[int, int, int]:
    """Return when a book may enter from and to, and is squared off (0: never), in a session of these hours.

    `flat_ns` is when positions under MIS are given up at the latest, 0 where there is no such time.
    """
    midnight_ns = (open_ns + IST_NS) // _DAY_NS * _DAY_NS - IST_NS
    own_ns = midnight_ns + plan.square_off_ns if plan.square_off_ns else 0
    if plan.product == "MIS" and flat_ns:
        own_ns = min(own_ns, flat_ns) if own_ns else flat_ns
    return (
        midnight_ns + plan.entry_from_ns if plan.entry_from_ns else 0,
        midnight_ns + plan.entry_to_ns if plan.entry_to_ns else close_ns,
        own_ns,
    )


def flat_by(day: date, closes: Mapping[int, int], traded: Iterable[tuple[str, int]]) -> int:
    """Return by when MIS positions are given up in instruments of these (segment, group of windows), 0 for none.

    `closes` is when the last window of each group ends; the first of the instruments' times holds for all.
    """
    last = max(closes.values())
    times = [
        closes.get(group, last)
        - _MINUTE_NS * square_off_minutes(day, square_off_segment(segment, has_auction=group == WITH_DERIVATIVES))
        for segment, group in traded
    ]
    return min(times, default=0)


def flat_times(
    day: date,
    windows: NDArray[Any],
    instruments: NDArray[Any],
    manifest: Manifest,
    pairs: Iterable[tuple[int, int]],
) -> list[int]:
    """Return by when each book is flat if its product is MIS; of an underlying only the legs' contracts are traded.

    `windows` and `instruments` are rows of the session's records, `pairs` are (book, instrument).
    """
    closes = {int(group): int(windows["close_ns"][windows["group"] == group].max()) for group in windows["group"]}
    kinds = [(str(key, "ascii").split(":")[1], int(group)) for key, group in instruments[["key", "group"]].tolist()]
    traded: list[set[tuple[str, int]]] = [set() for _ in manifest.books]
    for book, instrument in pairs:
        if not manifest.books[book].legs or kinds[instrument][0] != "EQ":
            traded[book].add(kinds[instrument])
    return [flat_by(day, closes, of_book) for of_book in traded]
