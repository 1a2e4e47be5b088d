"""Reads bars from files of bars (CSV and Parquet) and from the broker's history (Kite's JSON).

A file of bars names its symbols, or is one instrument's that the caller names. Daily bars may carry a plain date.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from atmand.history.bars import HistoryError
from atmand.history.columns import days, instants
from atmand.history.rows import DAY_NS, BadRow, Parsed, checked, column_named, key_of, spacing
from atmand.history.tables import text_table

__all__ = ["Hints", "midnight_ns", "read_bars_csv", "read_bars_parquet", "read_kite"]

_TIMES: Final = ("ts", "timestamp", "datetime", "time", "date")
_NEEDED: Final = ("open", "high", "low", "close", "volume")
_IST_NS: Final = 19_800_000_000_000
_STEM: Final = re.compile(r"(NSE|BSE|NFO|BFO|MCX|CDS|BCD|NCO)[_-](.+?)([_-](minute|\d+minute|day))?", re.IGNORECASE)
_FIRST_NS: Final = 0
_LAST_NS: Final = 7_258_118_400_000_000_000  # 2200
_SERIES: Final = frozenset({"", "EQ"})


@dataclass(frozen=True)
class Hints:
    """What a file does not say and the caller knows: whose bars they are, and how long."""

    instrument: str | None = None
    bar_ns: int | None = None


def read_bars_csv(source: Path, content: bytes, hints: Hints) -> Parsed:
    """Read a CSV file of bars."""
    frame, bad = text_table(source, content)
    return _bars(source, frame, hints, bad)


def read_bars_parquet(source: Path, content: bytes, hints: Hints) -> Parsed:
    """Read a Parquet file of bars; a row's line is its number, from 1."""
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise HistoryError(
            str(source), f"cannot be read: {str(error).splitlines()[0]}", "write the file again"
        ) from None
    return _bars(source, frame.with_row_index("line", offset=1), hints, [])


def read_kite(source: Path, content: bytes, hints: Hints) -> Parsed:
    """Read an answer of Kite's history call, which does not say whose it is: the caller does, or the file's name.

    Names such as `NSE_INFY.json` or `NSE_INFY_minute.json` tell it. A bad row is named by its candle's number.
    """
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise HistoryError(str(source), f"is no JSON: {error}", "save the answer of the history call") from None
    if isinstance(answer, dict):
        answer = answer.get("data", answer)
    candles = answer.get("candles") if isinstance(answer, dict) else answer
    if not isinstance(candles, list):
        raise HistoryError(str(source), "no candles in it", "save the answer of the history call")
    bad = [
        BadRow(str(source), at, "is no candle")
        for at, one in enumerate(candles, 1)
        if not (isinstance(one, list) and 6 <= len(one) <= 7 and isinstance(one[0], str))
    ]
    strange = {row.line for row in bad}
    kept = [(at, one) for at, one in enumerate(candles, 1) if at not in strange]
    names = ("ts", *_NEEDED)
    columns: dict[str, Any] = {name: [str(one[place]) for _, one in kept] for place, name in enumerate(names)}
    if any(len(one) > 6 for _, one in kept):
        columns["oi"] = [str(one[6]) if len(one) > 6 else "" for _, one in kept]
    frame = pl.DataFrame({**columns, "line": [at for at, _ in kept]}, schema_overrides={"ts": pl.String})
    return _bars(source, frame, Hints(hints.instrument or _of_name(source), hints.bar_ns), bad)


def _of_name(source: Path) -> str | None:
    found = _STEM.fullmatch(source.name.removesuffix(".gz").removesuffix(".zip").removesuffix(".json"))
    return None if found is None else f"{found[1].upper()}:{found[2]}"


def _bars(source: Path, frame: pl.DataFrame, hints: Hints, bad: list[BadRow]) -> Parsed:
    named = {name.lower(): name for name in frame.columns}
    missing = [name for name in _NEEDED if name not in named]
    time = column_named(named, *_TIMES)
    if missing or time is None:
        what = ", ".join(missing) or f"time ({' or '.join(_TIMES)})"
        raise HistoryError(str(source), f"no column {what}; it has {', '.join(frame.columns)}", "rename its columns")
    if not frame.height:
        raise HistoryError(str(source), "no bars in it", "give a file with bars")
    starts, daily = _starts(source, frame[time])
    columns = [frame[named[name]].alias(name) for name in _NEEDED]
    oi = column_named(named, "oi", "open_interest")
    if oi is not None:
        columns.append(frame[oi].alias("oi"))
    table = pl.DataFrame([_keys(source, frame, named, hints), starts, *columns, frame["line"]])
    bar_ns = hints.bar_ns or (DAY_NS if daily else spacing(table))
    if not bar_ns:
        raise HistoryError(str(source), "one bar an instrument does not tell the bars' length", "say it with --bar")
    if bar_ns == DAY_NS:
        table = table.with_columns(start_ns=(pl.col("start_ns") + _IST_NS) // DAY_NS * DAY_NS - _IST_NS)
    return checked(source, table, bar_ns, bad=bad)


def _keys(source: Path, frame: pl.DataFrame, named: dict[str, str], hints: Hints) -> pl.Series:
    """Name the instrument of each row by its durable key."""
    symbol = column_named(named, "symbol", "tradingsymbol", "key", "instrument")
    if hints.instrument is not None:
        key = key_of(hints.instrument)
        if symbol is None or frame[symbol].n_unique() == 1:
            return pl.Series("key", [key] * frame.height, pl.String)
        raise HistoryError(str(source), "several instruments in it", "leave --instrument out: the file names them")
    if symbol is None:
        raise HistoryError(str(source), "does not say whose bars they are", "say it with --instrument NSE:INFY")
    names = frame[symbol].cast(pl.String).str.strip_chars()
    exchange, series = column_named(named, "exchange"), column_named(named, "series")
    if series is not None:
        kind = frame[series].cast(pl.String).str.strip_chars().fill_null("")
        names = names + pl.select(pl.when(kind.is_in(_SERIES)).then(pl.lit("")).otherwise("-" + kind)).to_series()
    if exchange is not None:
        names = frame[exchange].cast(pl.String).str.strip_chars() + ":" + names
    keys = {name: key_of(name) for name in names.unique().drop_nulls().to_list() if name}
    return names.replace_strict(keys, default=None, return_dtype=pl.String).alias("key")


def _starts(source: Path, column: pl.Series) -> tuple[pl.Series, bool]:
    """Return each bar's start in nanoseconds UTC, null where it has none, and whether the file holds days.

    A day's bar starts at its midnight in India, as the broker's daily candles do.
    """
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        return _within(column.dt.convert_time_zone("UTC").dt.timestamp("ns")), False
    if isinstance(column.dtype, pl.String):
        moments = instants(column)
        if moments.null_count() < column.len():
            starts = moments.dt.timestamp("ns")
            midnights = ((starts + _IST_NS) % DAY_NS == 0).all()
            return _within(starts), bool(midnights)
    elif isinstance(column.dtype, pl.Datetime):
        if (column.dt.date().cast(column.dtype) != column).any():
            raise HistoryError(str(source), "its times name no zone", "write them as 2026-07-06 09:15:00+05:30")
    elif not (isinstance(column.dtype, pl.Date) or column.dtype.is_integer()):
        raise HistoryError(str(source), f"column {column.name} holds {column.dtype}, not times", "write times or days")
    return _within(midnight_ns(days(column))), True


def midnight_ns(column: pl.Series) -> pl.Series:
    """Return the start of days in India, in nanoseconds UTC."""
    return column.cast(pl.Int64) * DAY_NS - _IST_NS


def _within(starts: pl.Series) -> pl.Series:
    known = (starts >= _FIRST_NS) & (starts < _LAST_NS)
    return pl.select(start_ns=pl.when(known).then(starts).otherwise(None)).to_series()
