"""Cross-section: where an instrument stands among those of its strategy whose bar of the same time has closed."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.jit import kernel, record_at, routine
from atmand.core.layout import header_of, pair_at

__all__ = ["CROSS", "cross_rank", "cross_zscore"]

CROSS: Final = np.dtype([("start_ns", "i8"), ("value", "f8")], align=True)
"""What a pair put up for comparison, and the start of the bar that it is of."""


@kernel
def _is_peer(t, index, other, offset):  # type: ignore[no-untyped-def]
    """Say whether another pair of the same strategy put up a number on the same bar."""
    pair, peer = pair_at(t, index), pair_at(t, other)
    if peer.book != pair.book or peer.structure != pair.structure:
        return False
    mine = record_at(t, pair.slab_at + offset, CROSS)
    its = record_at(t, peer.slab_at + offset, CROSS)
    return its.start_ns == mine.start_ns and not math.isnan(its.value)


@routine
def cross_rank(t, index, offset):  # type: ignore[no-untyped-def]
    """Place among the peers, 0 for the lowest to 1 for the highest; equals share the mean of their places."""
    x = record_at(t, pair_at(t, index).slab_at + offset, CROSS).value
    below, same, n = 0, 0, 0
    for other in range(header_of(t).pairs_n):
        if _is_peer(t, index, other, offset):
            its = record_at(t, pair_at(t, other).slab_at + offset, CROSS).value
            n += 1
            below += 1 if its < x else 0
            same += 1 if its == x else 0
    if n < 2 or math.isnan(x):
        return math.nan
    return (below + 0.5 * (same - 1)) / (n - 1)


@routine
def cross_zscore(t, index, offset):  # type: ignore[no-untyped-def]
    """Distance from the peers' mean in their standard deviations; 0 where all are equal."""
    x = record_at(t, pair_at(t, index).slab_at + offset, CROSS).value
    n, total = 0, 0.0
    for other in range(header_of(t).pairs_n):
        if _is_peer(t, index, other, offset):
            n += 1
            total += record_at(t, pair_at(t, other).slab_at + offset, CROSS).value
    if n < 2 or math.isnan(x):
        return math.nan
    mean = total / n
    squares = 0.0
    for other in range(header_of(t).pairs_n):
        if _is_peer(t, index, other, offset):
            apart = record_at(t, pair_at(t, other).slab_at + offset, CROSS).value - mean
            squares += apart * apart
    deviation = math.sqrt(squares / n)
    return (x - mean) / deviation if deviation > 0.0 else 0.0
