"""Columns: values from outside that a bar does not hold, one for each instrument, and until when they are good.

The fixed ones are registered here; behind them come the program's external signals, in the manifest's order. FORECAST
and SENTIMENT rows name a fixed column by its number, SIGNAL rows a signal by its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from atmand.core.jit import kernel, routine, rows_at
from atmand.core.layout import column_at, header_of
from atmand.core.records import COLUMN_HEAD, COLUMN_ROW

__all__ = ["COLUMNS", "FIXED_COLUMNS", "Column", "column_age", "column_value", "on_columns"]

_HEAD_BYTES: Final = COLUMN_HEAD.itemsize


@dataclass(frozen=True)
class Column:
    """A fixed column: its name in the language, the unit of its values, and what they are."""

    name: str
    unit: str
    summary: str


COLUMNS: Final = (
    Column("atman.mean", "ratio", "expected return over the forecast's horizon"),
    Column("atman.sd", "ratio", "standard deviation of that return"),
    Column("atman.up", "ratio", "probability that the price rises, 0 to 1"),
    Column("atman.down", "ratio", "probability that the price falls, 0 to 1"),
    Column("atman.low", "ratio", "return that is undercut in one of ten cases"),
    Column("atman.high", "ratio", "return that is exceeded in one of ten cases"),
    Column("atman.regime", "number", "regime that the model sees, 0 to 3"),
    Column("sentiment", "number", "decayed sentiment of what was read, -1 to 1"),
    Column("sentiment_count", "number", "texts that it was read from"),
    Column("sentiment_age", "number", "seconds since the newest of them, when it was scored"),
    Column("delta", "ratio", "change of an option's price with its underlying's"),
    Column("gamma", "number", "change of the delta with the underlying's price"),
    Column("theta", "price", "change of an option's price in a day"),
    Column("vega", "price", "change of an option's price with a point of volatility"),
    Column("iv", "percent", "implied volatility, percent a year"),
)
"""Numbers are places in this table and never change; new columns are added at the end."""

FIXED_COLUMNS: Final = len(COLUMNS)


@kernel
def column_value(t, instrument, column):  # type: ignore[no-untyped-def]
    """A column's value for an instrument; missing while there is none, and once it is too old."""
    row = column_at(t, instrument * header_of(t).columns_each + column)
    if row.as_of_ns == 0 or 0 < row.valid_until_ns <= header_of(t).time_ns:
        return math.nan
    return row.value


@kernel
def column_age(t, instrument, column):  # type: ignore[no-untyped-def]
    """Seconds since a column's value was of, be it too old or not; missing while there is none."""
    row = column_at(t, instrument * header_of(t).columns_each + column)
    if row.as_of_ns == 0:
        return math.nan
    return (header_of(t).time_ns - row.as_of_ns) / 1e9


@kernel
def _take(t, instrument, column, row, as_of_ns):  # type: ignore[no-untyped-def]
    target = column_at(t, instrument * header_of(t).columns_each + column)
    if as_of_ns < target.as_of_ns:
        return
    target.value = row.value
    target.as_of_ns = as_of_ns
    target.valid_until_ns = row.valid_until_ns


@routine
def on_columns(t, body, n, first):  # type: ignore[no-untyped-def]
    """Take a record's values in; `first` is the column that its numbers count from. An older value changes nothing."""
    as_of_ns = rows_at(body, 0, 1, COLUMN_HEAD)[0].as_of_ns
    rows = rows_at(body, _HEAD_BYTES, n, COLUMN_ROW)
    h = header_of(t)
    for i in range(n):
        row = rows[i]
        column = first + row.column
        if row.column < 0 or column >= h.columns_each or row.instrument >= h.instruments_n:
            continue
        if row.instrument >= 0:
            _take(t, row.instrument, column, row, as_of_ns)
        else:
            for instrument in range(h.instruments_n):
                _take(t, np.int64(instrument), column, row, as_of_ns)
