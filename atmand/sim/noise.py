"""Numbers that look random and are a pure function of where they stand: any of them can be had alone, in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mixed", "uniform"]


def mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64 of each value (Vigna, public domain)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def uniform(key: NDArray[np.uint64], place: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each (key, place), the two broadcast against each other."""
    drawn: NDArray[np.float64] = (mixed(key ^ mixed(place)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn
