"""Indicators: streaming steps with TA-Lib's semantics, O(1) a bar, on records of fixed size.

A family of them is one file: its kernels, then `ROWS`, which describe them. To add one, write its step and a row into
the file where it belongs; the language, its checks, the warm-up and the docs follow from the row. Each step is compared
with TA-Lib, or with a plain definition where TA-Lib has none.

What TA-Lib leaves open is settled for all of them. A step whose input is missing on a bar (NaN, infinite) leaves its
state as it is and returns NaN: the next whole bar goes on from the one before. A look-back is constant as long as a
state lives; when it changes, the state is set to nothing and the kept bars are folded again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from atmand.core.indicators import (
    bands,
    cycle,
    directional,
    momentum,
    overlap,
    pattern,
    price,
    session,
    statistics,
    volatility,
    volume,
)
from atmand.core.indicators.registry import Indicator, lookback

__all__ = ["FAMILIES", "INDICATORS", "Indicator", "lookback"]

FAMILIES: Final = (
    overlap, bands, momentum, directional, volume, volatility, statistics, price, cycle, session, pattern,
)  # fmt: skip
"""The families, in the order of the docs."""

INDICATORS: Final[dict[str, Indicator]] = {
    row.name: replace(row, module=family.__name__, group=row.group or family.__name__.rpartition(".")[2])
    for family in FAMILIES
    for row in family.ROWS
}
