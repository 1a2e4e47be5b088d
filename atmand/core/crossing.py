"""Crossings of two series: each keeps the pair of values of the bar before."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.jit import kernel

__all__ = ["CROSSING", "crosses_above", "crosses_below"]

CROSSING: Final = np.dtype([("seen", "i8"), ("left", "f8"), ("right", "f8")], align=True)


@kernel
def crosses_above(s, left, right):  # type: ignore[no-untyped-def]
    """Say whether `left` rose above `right` on this bar, having been at or below it on the bar before."""
    if math.isnan(left) or math.isnan(right):
        return False
    crossed = s.seen != 0 and s.left <= s.right and left > right
    s.seen = 1
    s.left = left
    s.right = right
    return crossed


@kernel
def crosses_below(s, left, right):  # type: ignore[no-untyped-def]
    """Say whether `left` fell below `right` on this bar, having been at or above it on the bar before."""
    if math.isnan(left) or math.isnan(right):
        return False
    crossed = s.seen != 0 and s.left >= s.right and left < right
    s.seen = 1
    s.left = left
    s.right = right
    return crossed
