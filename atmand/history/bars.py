"""Reads a file of bars (`--data`) into checked integer arrays, and lines several instruments up on one time axis.

Back-test, sweep, the expression evaluator and the simulator's drawn-out markets read their bars here. polars is
imported inside the functions that need it, so that the daemon does not carry it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.errors import AtmandError
from atmand.history.columns import in_units, instants
from atmand.market.sessions import ns

if TYPE_CHECKING:
    import polars as pl

    from atmand.history.actions import Action

__all__ = ["BAR", "COLUMNS", "Bars", "HistoryError", "aligned", "instant_ns", "load_bars"]

COLUMNS: Final = ("symbol", "ts", "open", "high", "low", "close", "volume")

BAR: Final = np.dtype(
    [
        ("start_ns", "i8"),  # UTC
        ("open", "i8"),  # paise, as are all prices here
        ("high", "i8"),
        ("low", "i8"),
        ("close", "i8"),
        ("volume", "i8"),
    ]
)

_PRICES: Final = ("open", "high", "low", "close")
_HIGHEST_RUPEES: Final = 1e11
_TS_REMEDY: Final = "write the START of the bar with its zone, such as 2026-07-06 09:15:00+05:30"
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryError(AtmandError):
    """A file of bars cannot be read, or a row of it cannot be true."""


@dataclass(frozen=True, eq=False)
class Bars:
    """Checked bars of one file.

    `series` holds for each of `symbols` a read-only BAR array, strictly ascending by start. `notes` are sentences for
    the reader of a result about what was put right.
    """

    source: str
    symbols: tuple[str, ...]
    series: Mapping[str, NDArray[np.void]]
    notes: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    """Splits and bonuses of the instruments, by date; the prices are those of their day."""

    def actions_of(self, symbol: str) -> list[Action]:
        """Return the actions of one of the symbols."""
        return [action for action in self.actions if action.instrument in (symbol, f"NSE:EQ:{symbol}")]

    @cached_property
    def bar_ns(self) -> int:
        """The spacing of the bars: the most common difference of two starts, the smaller one of a tie."""
        steps = np.concatenate([np.diff(rows["start_ns"]) for rows in self.series.values()])
        if not len(steps):
            raise HistoryError(self.source, "one bar a symbol does not tell the bars' length", "give more bars")
        lengths, counts = np.unique(steps, return_counts=True)
        return int(lengths[counts.argmax()])


def load_bars(
    path: str | Path,
    symbols: Collection[str] | None = None,
    start: int | date | None = None,
    end: int | date | None = None,
) -> Bars:
    """Read bars from a Parquet or CSV file with the columns `symbol, ts, open, high, low, close, volume`.

    `ts` is the start of the bar, with a time zone. `start` and `end` choose bars by their start: an int is nanoseconds
    UTC, a datetime an instant, a date a whole day in India; a day `end` is included, an instant `end` is not. Prices
    become paise, half up from the shortest decimal that the file's number stands for. Rows out of order are sorted,
    with a note.

    A directory is a bar store (`DIR:15m` names another length than a minute's); of it, `symbols` are names too, and
    those that it lacks are left out.

    HistoryError names the file, the row (the first one below the header is 1), the value and the remedy. Rows that
    `symbols` leaves out are not looked at; of the others, no more than `ts` if they lie outside `start` and `end`.
    """
    source = Path(path)
    if (found := _store_at(source)) is not None:
        from atmand.history.scan import load_store

        return load_store(found[0], symbols, start, end, bar=found[1])
    frame = _read(source)
    frame = _of_symbols(frame, source, symbols)
    frame = _timed(frame, source)
    frame = _between(frame, source, start, end)
    rows = _checked(frame, source)
    return _by_symbol(frame, rows, source)


def aligned(bars: Bars) -> tuple[NDArray[np.int64], NDArray[np.void], NDArray[np.bool_]]:
    """Line the symbols up: times `[n]` of any bar, BAR rows `[n, symbols]`, and a mask `[n, symbols]` of bars present.

    Columns are in the order of `bars.symbols`. An absent bar is zero but for its `start_ns`.
    """
    times = np.unique(np.concatenate([rows["start_ns"] for rows in bars.series.values()]))
    grid = np.zeros((len(times), len(bars.symbols)), BAR)
    grid["start_ns"] = times[:, None]
    present = np.zeros(grid.shape, np.bool_)
    for column, symbol in enumerate(bars.symbols):
        rows = bars.series[symbol]
        at = np.searchsorted(times, rows["start_ns"])
        grid[at, column] = rows
        present[at, column] = True
    return times, grid, present


def instant_ns(bound: int | date, *, days: int) -> int:
    """Return the nanoseconds of a bound: an int is one, a datetime an instant, a date the midnight `days` later."""
    if isinstance(bound, datetime):
        if bound.tzinfo is None:
            raise HistoryError(
                f"bars from or to {bound}", "has no time zone", "give an instant with its zone, or a day"
            )
        return (bound - _EPOCH) // timedelta(microseconds=1) * 1000
    return ns(bound + timedelta(days=days), "00:00") if isinstance(bound, date) else bound


def _store_at(source: Path) -> tuple[Path, str] | None:
    """Return the store that a path means and the length of its bars; None where it means a file."""
    if source.is_dir():
        return source, "1m"
    directory, colon, bar = str(source).rpartition(":")
    return (Path(directory), bar) if colon and Path(directory).is_dir() else None


def _read(source: Path) -> pl.DataFrame:
    import polars as pl

    kind = source.suffix.lower()
    if kind not in (".parquet", ".pq", ".csv"):
        raise HistoryError(str(source), f"{kind or 'no ending'} is not a kind of bars", "give a .parquet or .csv file")
    try:
        frame = pl.read_csv(source, infer_schema=False) if kind == ".csv" else pl.read_parquet(source)
    except FileNotFoundError:
        raise HistoryError(str(source), "no such file", "give the path of a Parquet or CSV file of bars") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().splitlines()[0]
        raise HistoryError(str(source), f"cannot be read: {reason}", "write the file again") from error
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise HistoryError(
            str(source), f"no column {', '.join(missing)}; it has {', '.join(frame.columns)}", "rename its columns"
        )
    if not frame.height:
        raise HistoryError(str(source), "no bars in it", "give a file with bars")
    return frame.select(COLUMNS).with_row_index("row", offset=1)


def _of_symbols(frame: pl.DataFrame, source: Path, symbols: Collection[str] | None) -> pl.DataFrame:
    import polars as pl

    frame = frame.with_columns(pl.col("symbol").cast(pl.String))
    _refuse(frame, source, "symbol", frame["symbol"].is_null().to_numpy(), "is empty", "name the bar's symbol")
    if symbols is None:
        return frame
    known = frame["symbol"].unique().to_list()
    if not symbols:
        raise HistoryError(str(source), "no symbol was asked for", f"choose among its symbols, such as {known[0]}")
    for symbol in symbols:
        if symbol not in known:
            nearest = difflib.get_close_matches(symbol, known, n=1, cutoff=0.0)[0]
            raise HistoryError(str(source), f"no bars of {symbol!r}", f"the nearest symbol in it is {nearest}")
    return frame.filter(pl.col("symbol").is_in(list(symbols)))


def _timed(frame: pl.DataFrame, source: Path) -> pl.DataFrame:
    """Replace `ts` by nanoseconds UTC in `start_ns`, keeping `ts` for messages."""
    import polars as pl

    kind = frame.schema["ts"]
    _refuse(frame, source, "ts", frame["ts"].is_null().to_numpy(), "is empty", _TS_REMEDY)
    if isinstance(kind, pl.String):
        moments = _parsed(frame, source)
    elif isinstance(kind, pl.Datetime):
        if kind.time_zone is None:
            _refuse(frame, source, "ts", np.ones(frame.height, np.bool_), "has no time zone", _TS_REMEDY)
        moments = frame["ts"].dt.convert_time_zone("UTC")
    else:
        raise HistoryError(str(source), f"column ts holds {kind}, not times", _TS_REMEDY)
    strange = ((moments < _EPOCH) | (moments > _LATEST)).to_numpy()
    _refuse(frame, source, "ts", strange, "is before 1970 or after 2200", _TS_REMEDY)
    return frame.with_columns(moments.dt.timestamp("ns").alias("start_ns"))


def _parsed(frame: pl.DataFrame, source: Path) -> pl.Series:
    import polars as pl

    moments = instants(frame["ts"])
    _refuse(frame, source, "ts", moments.is_null().to_numpy(), "is not a time with a time zone", _TS_REMEDY)
    assert isinstance(moments.dtype, pl.Datetime)
    return moments


def _between(frame: pl.DataFrame, source: Path, start: int | date | None, end: int | date | None) -> pl.DataFrame:
    import polars as pl

    first, last = frame["start_ns"].min(), frame["start_ns"].max()
    if start is not None:
        frame = frame.filter(pl.col("start_ns") >= instant_ns(start, days=0))
    if end is not None:
        frame = frame.filter(pl.col("start_ns") < instant_ns(end, days=1))
    if not frame.height:
        span = " to ".join(str(np.datetime64(int(str(edge)), "ns").astype("M8[s]")) + "Z" for edge in (first, last))
        raise HistoryError(str(source), f"no bars from {start} to {end}", f"its bars start {span}")
    return frame


def _checked(frame: pl.DataFrame, source: Path) -> NDArray[np.void]:
    """Return the frame's rows as BAR, in the frame's order, or refuse the first row that cannot be true."""
    rows = np.empty(frame.height, BAR)
    rows["start_ns"] = frame["start_ns"].to_numpy()
    for column in _PRICES:
        rows[column] = _paise(frame, source, column)
    rows["volume"] = _volume(frame, source)
    _refuse(frame, source, "high", rows["high"] < rows["low"], "is below the low", "correct the row")
    for column in ("open", "close"):
        outside = (rows[column] > rows["high"]) | (rows[column] < rows["low"])
        _refuse(frame, source, column, outside, "is outside low to high", "correct the row")
    return rows


def _paise(frame: pl.DataFrame, source: Path, column: str) -> NDArray[np.int64]:
    rupees = _numbers(frame, source, column)
    _refuse(frame, source, column, ~np.isfinite(rupees), "is not a finite number", "correct the row")
    _refuse(frame, source, column, rupees < 0, "is negative", "correct the row")
    _refuse(frame, source, column, rupees > _HIGHEST_RUPEES, "is no price in rupees", "correct the row")
    paise = in_units(rupees, 100)
    _refuse(frame, source, column, paise == 0, "is below one paisa", "leave bars without a price out")
    return paise


def _volume(frame: pl.DataFrame, source: Path) -> NDArray[np.int64]:
    import polars as pl

    remedy = "write whole units, 0 for an index"
    counts = frame["volume"].cast(pl.Int64, strict=False) if frame.schema["volume"].is_integer() else None
    if counts is not None and not counts.null_count():
        whole: NDArray[Any] = counts.to_numpy()
    else:
        whole = _numbers(frame, source, "volume")
        strange = ~np.isfinite(whole) | (whole != np.floor(whole)) | (np.abs(whole) > 2.0**53)
        _refuse(frame, source, "volume", strange, "is not a whole number of units", remedy)
    _refuse(frame, source, "volume", whole < 0, "is negative", remedy)
    return whole.astype(np.int64)


def _numbers(frame: pl.DataFrame, source: Path, column: str) -> NDArray[np.float64]:
    import polars as pl

    if not (frame.schema[column].is_numeric() or frame.schema[column] == pl.String):
        raise HistoryError(str(source), f"column {column} holds {frame.schema[column]}, not numbers", "write numbers")
    values = frame[column]
    text = values.str.strip_chars() if values.dtype == pl.String else values
    numbers = text.cast(pl.Float64, strict=False)
    _refuse(frame, source, column, numbers.is_null().to_numpy(), "is not a number", "correct the row")
    return numbers.to_numpy()


def _by_symbol(frame: pl.DataFrame, rows: NDArray[np.void], source: Path) -> Bars:
    symbols = tuple(frame["symbol"].unique(maintain_order=True).to_list())
    order = {symbol: at for at, symbol in enumerate(symbols)}
    codes = frame["symbol"].replace_strict(order).to_numpy()
    places = np.argsort(codes, kind="stable")
    series, notes = {}, []
    for symbol, at in zip(symbols, np.split(places, np.flatnonzero(np.diff(codes[places])) + 1), strict=True):
        own, steps = rows[at], np.diff(rows["start_ns"][at])
        if (steps < 0).any():
            sorting = np.argsort(own["start_ns"], kind="stable")
            own, at = own[sorting], at[sorting]
            steps = np.diff(own["start_ns"])
            notes.append(f"{source}: the bars of {symbol} were out of order and have been sorted")
        repeated = np.zeros(len(rows), np.bool_)
        repeated[at[1:]] = steps == 0
        _refuse(frame, source, "ts", repeated, f"is there twice for {symbol}", "leave one of the two bars out")
        own.flags.writeable = False
        series[symbol] = own
    return Bars(str(source), symbols, series, tuple(notes))


def _refuse(frame: pl.DataFrame, source: Path, column: str, bad: NDArray[np.bool_], what: str, remedy: str) -> None:
    """Raise for the first bad row of the frame, if there is one."""
    if not bad.any():
        return
    at = int(bad.argmax())
    row, symbol, value = frame["row"][at], frame["symbol"][at], frame[column][at]
    raise HistoryError(f"{source}: row {row} ({symbol})", f"{column} {'' if value is None else value} {what}", remedy)
