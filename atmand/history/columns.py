"""Columns of a file into numbers: exact prices in integers, moments and days, and which rows are not what they say.

Every reader of bars goes through here, so that a rupee is the same number whatever file it came from.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

__all__ = ["days", "in_units", "instants", "numbers"]

_DAY_FORMATS: Final = ("%Y-%m-%d", "%d-%b-%Y", "%Y%m%d", "%d-%b-%y")


def in_units(rupees: NDArray[np.float64], scale: int) -> NDArray[np.int64]:
    """Return prices as integers of `scale` a rupee, half up from the shortest decimal that a float stands for."""
    exact = rupees * scale
    units = np.floor(exact + 0.5).astype(np.int64)
    # The product may fall on the wrong side of a half: there, and only there, the decimal decides.
    doubtful = np.flatnonzero(np.abs(exact - np.floor(exact) - 0.5) <= 1e-6 + exact * 1e-15)
    for at in doubtful:
        units[at] = int((Decimal(repr(float(rupees[at]))) * scale).to_integral_value(ROUND_HALF_UP))
    return units


def instants(text: pl.Series) -> pl.Series:
    """Read times that name their zone as UTC; null where one does not, or is no time."""
    text = text.str.strip_chars()
    plain = (
        text.str.replace("T", " ", literal=True)
        .str.replace("Z$", "+00:00")
        .str.replace(r"\s*([+-]\d\d):?(\d\d)$", "$1:$2")
        .str.replace(r"^(\S+ \d\d:\d\d)([+-])", "$1:00$2")
    )
    return plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)


def days(column: pl.Series) -> pl.Series:
    """Read days of the calendar, such as 2026-07-06, 06-Jul-2026 or 20260706; null where a value is none."""
    import polars as pl

    if isinstance(column.dtype, pl.Date):
        return column
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.date()
    text = column.cast(pl.String).str.strip_chars().str.replace(r"[T ]00:00:00(\.0+)?$", "")
    found = text.str.to_date(_DAY_FORMATS[0], strict=False)
    for written in _DAY_FORMATS[1:]:
        if found.null_count() == 0:
            break
        found = found.fill_null(text.str.to_date(written, strict=False))
    return found


def numbers(column: pl.Series) -> NDArray[np.float64]:
    """Read numbers; NaN where a value is none."""
    import polars as pl

    values: Any = column.str.strip_chars() if isinstance(column.dtype, pl.String) else column
    found: NDArray[np.float64] = values.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    return found
