"""Cross-section: where an instrument stands among those of its strategy whose bar of the same time has closed.

All put their numbers up before the first of them asks, so the one that asks first reckons for all.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.jit import kernel, record_at, routine
from atmand.core.layout import book_at, comparison_at, header_of, pair_at
from atmand.core.sorting import sort_rows

__all__ = ["CROSS", "cross_rank", "cross_zscore"]

CROSS: Final = np.dtype(
    [("start_ns", "i8"), ("value", "f8"), ("known", "i8"), ("rank", "f8"), ("zscore", "f8")], align=True
)
"""What a pair put up for comparison, the start of the bar that it is of, and how it stands.

`known` says which of the two answers were reckoned since it was put up, by the bits below.
"""
_RANK: Final = np.int64(1)
_ZSCORE: Final = np.int64(2)


@routine
def cross_rank(t, index, offset):  # type: ignore[no-untyped-def]
    """Place among the peers, 0 for the lowest to 1 for the highest; equals share the mean of their places."""
    mine = _cross_at(t, index, offset)
    if math.isnan(mine.value):
        return math.nan
    if mine.known & _RANK == 0:
        _rank_all(t, index, offset)
    return mine.rank


@routine
def cross_zscore(t, index, offset):  # type: ignore[no-untyped-def]
    """Distance from the peers' mean in their standard deviations; 0 where all are equal."""
    mine = _cross_at(t, index, offset)
    if math.isnan(mine.value):
        return math.nan
    if mine.known & _ZSCORE == 0:
        _score_all(t, index, offset)
    return mine.zscore


@kernel
def _cross_at(t, index, offset):  # type: ignore[no-untyped-def]
    return record_at(t, pair_at(t, index).slab_at + offset, CROSS)


@kernel
def _next_peer(t, index, other, offset):  # type: ignore[no-untyped-def]
    """Return the first pair from `other` on, in the order of its book, that put up a number on a pair's bar; or -1."""
    structure, start_ns = pair_at(t, index).structure, _cross_at(t, index, offset).start_ns
    while other >= 0:
        if pair_at(t, other).structure == structure:
            its = _cross_at(t, other, offset)
            if its.start_ns == start_ns and not math.isnan(its.value):
                return other
        other = pair_at(t, other).next_in_book
    return other


@routine
def _rank_all(t, index, offset):  # type: ignore[no-untyped-def]
    """Sort what the peers put up, and give each its place."""
    n = np.int64(0)
    other = _next_peer(t, index, book_at(t, pair_at(t, index).book).first_pair, offset)
    while other >= 0:
        row = comparison_at(t, n)
        row.first = _cross_at(t, other, offset).value
        row.second = row.row = other
        row.third = 0
        n += 1
        other = _next_peer(t, index, pair_at(t, other).next_in_book, offset)
    sort_rows(t, header_of(t).comparisons_at, n)
    below = np.int64(0)
    while below < n:
        value, beyond = comparison_at(t, below).first, below + 1
        while beyond < n and comparison_at(t, beyond).first == value:
            beyond += 1
        rank = (below + 0.5 * (beyond - below - 1)) / (n - 1) if n > 1 else math.nan
        for place in range(below, beyond):
            its = _cross_at(t, comparison_at(t, place).row, offset)
            its.rank = rank
            its.known |= _RANK
        below = beyond


@routine
def _score_all(t, index, offset):  # type: ignore[no-untyped-def]
    """Reckon mean and deviation of what the peers put up, and give each its distance."""
    first = _next_peer(t, index, book_at(t, pair_at(t, index).book).first_pair, offset)
    n, total, other = np.int64(0), 0.0, first
    while other >= 0:
        n += 1
        total += _cross_at(t, other, offset).value
        other = _next_peer(t, index, pair_at(t, other).next_in_book, offset)
    mean = total / n
    squares, other = 0.0, first
    while other >= 0:
        apart = _cross_at(t, other, offset).value - mean
        squares += apart * apart
        other = _next_peer(t, index, pair_at(t, other).next_in_book, offset)
    deviation, other = math.sqrt(squares / n), first
    while other >= 0:
        its = _cross_at(t, other, offset)
        if n < 2:
            its.zscore = math.nan
        else:
            its.zscore = (its.value - mean) / deviation if deviation > 0.0 else 0.0
        its.known |= _ZSCORE
        other = _next_peer(t, index, pair_at(t, other).next_in_book, offset)
