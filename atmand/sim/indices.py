"""Index values out of what the members trade at, in integers, so that every machine agrees."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.sim.universe import COMPANIES, INDICES

__all__ = ["COMPUTED", "index_values"]

COMPUTED: Final = sum(bool(index.members) for index in INDICES)
"""Indices that are made of members; the volatility index, the last one, is made of options."""

_WEIGHT_BITS: Final = 20


def index_values(last: NDArray[np.integer], became: tuple[Fraction, ...]) -> NDArray[np.int64]:
    """Return the indices in paise, (S, COMPUTED), from the prices of all listed shares, (S, shares).

    `became` says how many shares one share of each company's base price has become since by splits and bonuses.
    """
    values = np.empty((len(last), COMPUTED), np.int64)
    for at, (columns, weights) in enumerate(_weights(became)):
        total = np.zeros(len(last), np.int64)
        for column, weight in zip(columns, weights, strict=True):
            total += last[:, column].astype(np.int64) * weight
        values[:, at] = ((total >> _WEIGHT_BITS) + 2) // 5 * 5
    return values


@lru_cache(maxsize=8)
def _weights(became: tuple[Fraction, ...]) -> list[tuple[list[int], list[int]]]:
    """Return for each index its members' columns and weights."""
    found = []
    for index in INDICES[:COMPUTED]:
        offset = 0 if index.exchange == "NSE" else len(COMPANIES)
        share = (index.rupees << _WEIGHT_BITS) // len(index.members)
        weights = [int(share // COMPANIES[member].rupees * became[member]) for member in index.members]
        found.append(([offset + member for member in index.members], weights))
    return found
