"""Crossings of two series: each keeps the pair of values of the bar before."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.jit import kernel

__all__ = ["CROSSING", "crossing"]

CROSSING: Final = np.dtype([("seen", "i8"), ("left", "f8"), ("right", "f8")], align=True)


@kernel
def crossing(s, left, right):  # type: ignore[no-untyped-def]
    """Say how `left` went through `right` on this bar: 1 above, having been at or below it on the bar before, -1 below.

    0 is neither; a missing number is no bar. One state serves both directions.
    """
    if math.isnan(left) or math.isnan(right):
        return np.int64(0)
    way = np.int64(0)
    if s.seen != 0:
        if s.left <= s.right and left > right:
            way = np.int64(1)
        elif s.left >= s.right and left < right:
            way = np.int64(-1)
    s.seen = 1
    s.left = left
    s.right = right
    return way
