"""Rows of bars as importers hand them on: one frame in integers, and a list of the rows that cannot be true.

A reader names the columns of its format; `checked` turns them into numbers and looks at every row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atmand.history.bars import HistoryError
from atmand.history.columns import in_units, numbers

__all__ = [
    "DAY_NS",
    "MINUTE_NS",
    "BadRow",
    "Parsed",
    "bar_name",
    "bar_ns_of",
    "bare_key",
    "checked",
    "column_named",
    "key_of",
    "scale_of",
    "spacing",
]

MINUTE_NS: Final = 60_000_000_000
DAY_NS: Final = 86_400_000_000_000
_PRICES: Final = ("open", "high", "low", "close")
_HIGHEST: Final = 1e11
_SCALES: Final = {"CDS": 10_000_000, "BCD": 10_000, "NCO": 10_000}
"""Units a rupee of the segments that are quoted finer than paise. Source: kite.trade/docs/connect/v3/websocket."""
_INDEX: Final = re.compile(r"NIFTY( .*)?|NIFTY[A-Z0-9]* .*|INDIA VIX|SENSEX( \d+)?|BANKEX")
_KEY: Final = r"^[A-Z0-9]{2,8}:[A-Z]{2,8}:[^:/\s][^/]*$"
_BAR: Final = re.compile(r"(\d+)(m|d)")


class BadRow(NamedTuple):
    """A row that was left out: its place in the file, from 1, and why."""

    file: str
    line: int
    what: str


@dataclass
class Parsed:
    """What one file holds: `frame` has key, start_ns, prices in units, volume, oi, price_scale and the row's line."""

    frame: pl.DataFrame
    bar_ns: int
    bad: list[BadRow] = field(default_factory=list)
    untraded: int = 0
    """Rows of instruments that did not trade that day; they make no bar."""


def bar_name(bar_ns: int) -> str:
    """Name a bar's length: `1m`, `15m`, `1d`; HistoryError where it is not of whole minutes."""
    if bar_ns == DAY_NS:
        return "1d"
    if bar_ns <= 0 or bar_ns % MINUTE_NS:
        raise HistoryError(f"bars of {bar_ns / 1e9:g} s", "are not of whole minutes", "join them into longer ones")
    return f"{bar_ns // MINUTE_NS}m"


def bar_ns_of(name: str) -> int:
    """Return the length that a bar's name stands for."""
    found = _BAR.fullmatch(name)
    if found is None or not int(found[1]):
        raise HistoryError(f"bar {name!r}", "is no length of a bar", "write 1m, 5m, 60m or 1d")
    return int(found[1]) * (MINUTE_NS if found[2] == "m" else DAY_NS)


def key_of(name: str) -> str:
    """Return the durable key of a name as files write it: `INFY`, `NSE:INFY` or a whole key.

    A bare name is NSE's; one that is an index's is an index. A file does not say which, and the indices are few.
    """
    parts = name.strip().split(":")
    if len(parts) >= 3:
        return ":".join(parts)
    exchange, symbol = parts if len(parts) == 2 else ("NSE", parts[0])
    return f"{exchange}:{'INDEX' if _INDEX.fullmatch(symbol) else 'EQ'}:{symbol}"


def bare_key(key: str) -> str:
    """Return the name by which research knows an instrument: NSE's shares and indices are called by their symbol."""
    exchange, segment, symbol = key.split(":", 2)
    return symbol if exchange == "NSE" and segment in ("EQ", "INDEX") else key


def scale_of(key: str) -> int:
    """Return the price units a rupee of an instrument."""
    return _SCALES.get(key.partition(":")[0], 100)


def checked(source: Path, frame: pl.DataFrame, bar_ns: int, *, bad: list[BadRow] | None = None) -> Parsed:
    """Turn a reader's frame (key, start_ns, ohlc, volume, perhaps oi, line; text or numbers) into rows that are true.

    A null key or start is a bad row as well: the reader could not make one of what the file says.
    """
    faults = _Faults(frame.height)
    faults.add(frame["key"].is_null().to_numpy(), "no symbol")
    faults.add(~frame["key"].str.contains(_KEY).fill_null(True).to_numpy(), "the symbol cannot be one")
    faults.add(frame["start_ns"].is_null().to_numpy(), "the time is none, or names no zone")
    keys = frame["key"].unique().drop_nulls().to_list()
    scales = {key: scale_of(key) for key in keys}
    scale = frame["key"].replace_strict(scales, default=100, return_dtype=pl.Int32)
    columns: dict[str, NDArray[np.int64]] = {}
    for name in _PRICES:
        columns[name] = _price(frame[name], name, scale.to_numpy(), set(scales.values()), faults)
    columns["volume"] = _count(frame["volume"], "volume", faults)
    faults.add(columns["high"] < columns["low"], "the high is below the low")
    for name in ("open", "close"):
        outside = (columns[name] > columns["high"]) | (columns[name] < columns["low"])
        faults.add(outside, f"the {name} is outside low to high")
    out = frame.select("key", pl.col("start_ns").cast(pl.Int64), pl.col("line").cast(pl.Int64)).with_columns(
        **{name: pl.Series(values) for name, values in columns.items()},
        oi=_open_interest(frame, faults),
        price_scale=scale,
    )
    good = pl.Series(faults.reason == 0)
    found = list(bad or [])
    for at in np.flatnonzero(faults.reason):
        found.append(BadRow(str(source), int(frame["line"][int(at)]), faults.words[faults.reason[at] - 1]))
    found.sort(key=lambda row: row.line)
    return Parsed(out.filter(good), bar_ns, found)


class _Faults:
    """The first fault of each row, by its number from 1."""

    def __init__(self, rows: int) -> None:
        self.reason: NDArray[np.int64] = np.zeros(rows, np.int64)
        self.words: list[str] = []

    def add(self, bad: Any, what: str) -> None:
        self.words.append(what)
        self.reason[np.asarray(bad, np.bool_) & (self.reason == 0)] = len(self.words)


def _price(
    column: pl.Series, name: str, scale: NDArray[np.int32], scales: set[int], faults: _Faults
) -> NDArray[np.int64]:
    rupees = numbers(column).astype(np.float64)
    strange = ~np.isfinite(rupees) | (np.abs(rupees) > _HIGHEST)
    faults.add(strange, f"the {name} is no price")
    faults.add(~strange & (rupees < 0), f"the {name} is negative")
    usable = np.where(strange | (rupees < 0), 0.0, rupees)
    if len(scales) <= 1:
        units = in_units(usable, scales.pop() if scales else 100)
    else:
        units = np.zeros(len(usable), np.int64)
        for each in scales:
            units[scale == each] = in_units(usable[scale == each], each)
    faults.add(~strange & (units == 0), f"the {name} is zero")
    return units


def _count(column: pl.Series, name: str, faults: _Faults) -> NDArray[np.int64]:
    if column.dtype.is_integer() and not column.null_count():
        counts: NDArray[np.int64] = column.cast(pl.Int64).to_numpy()
    else:
        found = numbers(column)
        strange = ~np.isfinite(found) | (found != np.floor(found)) | (np.abs(found) > 2.0**53)
        faults.add(strange, f"the {name} is no whole number")
        counts = np.where(strange, 0, found).astype(np.int64)
    faults.add(counts < 0, f"the {name} is negative")
    return counts


def _open_interest(frame: pl.DataFrame, faults: _Faults) -> pl.Series:
    """Return the open interest; null where the file does not tell it."""
    if "oi" not in frame.columns:
        return pl.Series("oi", [None] * frame.height, pl.Int64)
    if frame["oi"].dtype.is_integer():
        return frame["oi"].cast(pl.Int64)
    said = frame["oi"].is_not_null()
    if isinstance(frame["oi"].dtype, pl.String):
        said &= frame["oi"].str.strip_chars() != ""
    counts = numbers(frame["oi"])
    strange = ~np.isfinite(counts) | (counts != np.floor(counts)) | (counts < 0)
    faults.add(strange & said.to_numpy(), "the open interest is no whole number")
    whole = pl.Series("oi", np.where(strange, 0, counts).astype(np.int64))
    return pl.select(oi=pl.when(said).then(whole).otherwise(None)).to_series()


def spacing(frame: pl.DataFrame) -> int:
    """Return the most common step between two bars, the smaller one of a tie; 0 where there is none."""
    steps = (
        frame.select("key", pl.col("start_ns").cast(pl.Int64))
        .drop_nulls()
        .sort("key", "start_ns")
        .select(step=pl.col("start_ns").diff().over("key"))
        .filter(pl.col("step") > 0)["step"]
        .value_counts()
        .sort(["count", "step"], descending=[True, False])
    )
    return int(steps["step"][0]) if steps.height else 0


def column_named(columns: Mapping[str, str], *names: str) -> str | None:
    """Return a file's own name of the first column that it has; `columns` are its names by their lower case."""
    return next((columns[name] for name in names if name in columns), None)
