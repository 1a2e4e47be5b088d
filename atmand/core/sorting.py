"""Rows put in order in the arena, in place: a heap sort, which needs no memory beside the rows.

Nothing here is stable by itself: keys are whole, so that no two rows are equal and every driver sorts alike.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.jit import kernel, record_at, routine

__all__ = ["KEYED", "KEYED_BYTES", "sort_rows"]

KEYED: Final = np.dtype([("first", "f8"), ("second", "i8"), ("third", "i8"), ("row", "i8")])
"""Three keys, never NaN, the smallest first; `row` is what they are of."""
KEYED_BYTES: Final = KEYED.itemsize


@routine
def sort_rows(t, at, n):  # type: ignore[no-untyped-def]
    """Sort the `n` KEYED rows that begin at an offset of the arena; rows in order already are only looked at."""
    place = np.int64(1)
    while place < n and not _comes_before(t, at, place, place - 1):
        place += 1
    if place >= n:
        return
    for start in range(n // 2 - 1, -1, -1):
        _sift(t, at, start, n)
    for last in range(n - 1, 0, -1):
        _swap(t, at, 0, last)
        _sift(t, at, 0, last)


@kernel
def _row(t, at, place):  # type: ignore[no-untyped-def]
    return record_at(t, at + place * KEYED_BYTES, KEYED)


@kernel
def _comes_before(t, at, one, other):  # type: ignore[no-untyped-def]
    left, right = _row(t, at, one), _row(t, at, other)
    if left.first != right.first:
        return left.first < right.first
    if left.second != right.second:
        return left.second < right.second
    return left.third < right.third


@kernel
def _swap(t, at, one, other):  # type: ignore[no-untyped-def]
    left, right = _row(t, at, one), _row(t, at, other)
    first, second, third, row = left.first, left.second, left.third, left.row
    left.first, left.second, left.third, left.row = right.first, right.second, right.third, right.row
    right.first, right.second, right.third, right.row = first, second, third, row


@routine
def _sift(t, at, root, n):  # type: ignore[no-untyped-def]
    """Let a row sink below what comes after it, in the heap of the first `n` rows."""
    child = 2 * root + 1
    while child < n:
        if child + 1 < n and _comes_before(t, at, child, child + 1):
            child += 1
        if not _comes_before(t, at, root, child):
            return
        _swap(t, at, root, child)
        root, child = child, 2 * child + 1
