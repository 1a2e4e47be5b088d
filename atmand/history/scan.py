"""Reading the bar store: lazily, the months and instruments that are asked for, and nothing else.

Research loads its bars here (`--data store`), `atmand data list` and `check` look at everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atmand.errors import DamagedError
from atmand.history.actions import Action, load_actions, renames
from atmand.history.bars import BAR, Bars, HistoryError, instant_ns
from atmand.history.rows import bare_key, key_of
from atmand.history.store import ROWS, Store
from atmand.market.sessions import session_date

__all__ = ["listing", "load_store", "scan"]

_COLUMNS: Final = ("start_ns", "open", "high", "low", "close", "volume")
_DAY_NS: Final = 86_400_000_000_000
_FOREVER: Final = date(9999, 12, 31)


def scan(
    store: Store,
    *,
    exchange: str | None = None,
    bar: str | None = None,
    keys: Collection[str] | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> pl.LazyFrame:
    """Return the rows of a store lazily (ROWS, and `bar`): months out of range and instruments not asked for are not
    read. `start_ns` is included, `end_ns` is not."""
    first = None if start_ns is None else _month(start_ns)
    last = None if end_ns is None else _month(end_ns - 1)
    exchanges = None if keys is None else {key.partition(":")[0] for key in keys}
    frames = [
        pl.scan_parquet(part.path, hive_partitioning=False).select(*ROWS.keys(), bar=pl.lit(part.bar))
        for part in store.partitions(exchange, bar)
        if (first is None or part.month >= first)
        and (last is None or part.month <= last)
        and (exchanges is None or part.exchange in exchanges)
    ]
    frame = pl.concat(frames) if frames else pl.LazyFrame(schema={**ROWS, "bar": pl.String})
    if keys is not None:
        frame = frame.filter(pl.col("key").is_in(list(keys)))
    if start_ns is not None:
        frame = frame.filter(pl.col("start_ns") >= start_ns)
    if end_ns is not None:
        frame = frame.filter(pl.col("start_ns") < end_ns)
    return frame


def collected(frame: pl.LazyFrame, store: Store) -> pl.DataFrame:
    """Read a lazy frame of a store; DamagedError where a file of it cannot be read."""
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        where = next((part.path for part in store.partitions() if not _is_whole(part.path)), store.directory)
        raise DamagedError(str(where), reason, "delete that file and import its month again") from None


def _is_whole(path: Path) -> bool:
    try:
        pl.read_parquet(path, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError):
        return False
    return True


def listing(store: Store) -> list[dict[str, Any]]:
    """Say what a store holds: a row for each instrument and length of bars, with days in India and bytes on disk.

    An instrument's bytes are its share of the files that it lies in, by its rows.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for part in store.partitions():
        size = part.path.stat().st_size
        found = collected(
            pl.scan_parquet(part.path, hive_partitioning=False)
            .group_by("key")
            .agg(rows=pl.len(), first=pl.col("start_ns").min(), last=pl.col("start_ns").max()),
            store,
        )
        total = int(found["rows"].sum())
        for key, count, first, last in found.sort("key").iter_rows():
            row = rows.setdefault(
                (key, part.bar),
                {"instrument": key, "bar": part.bar, "first": first, "last": last, "rows": 0, "bytes": 0},
            )
            row["first"], row["last"] = min(row["first"], first), max(row["last"], last)
            row["rows"] += count
            row["bytes"] += round(size * count / total)
    for row in rows.values():
        row["from"], row["to"] = (session_date(row.pop(name)).isoformat() for name in ("first", "last"))
    return [rows[name] for name in sorted(rows)]


def load_store(
    directory: Path,
    symbols: Collection[str] | None = None,
    start: int | date | None = None,
    end: int | date | None = None,
    *,
    bar: str = "1m",
) -> Bars:
    """Load bars of a store as `load_bars` loads a file: all of NSE's shares and indices, or the given names.

    Bars of a former symbol stand before those of the new one. Raw prices; the actions of the instruments come along.
    """
    store = Store(directory)
    actions = load_actions(directory)
    newest = renames(actions, date.min, _FOREVER)
    wanted = None if symbols is None else {newest.get(key, key) for key in map(key_of, symbols)}
    former = {key for key, to in newest.items() if wanted is None or to in wanted}
    first, last = (
        (None if start is None else instant_ns(start, days=0)),
        (None if end is None else instant_ns(end, days=1)),
    )
    keys = None if wanted is None else wanted | former
    frame = scan(store, exchange=None if wanted else "NSE", bar=bar, keys=keys, start_ns=first, end_ns=last)
    if wanted is None:
        frame = frame.filter(pl.col("key").str.contains("^NSE:(EQ|INDEX):"))
    found = collected(frame.filter(pl.col("price_scale") == 100).select("key", *_COLUMNS), store)
    if not found.height:
        raise HistoryError(str(directory), _nothing(symbols, bar, start, end), "see what is there: atmand data list")
    parts = found.partition_by("key", as_dict=True, include_key=False)
    series: dict[str, NDArray[np.void]] = {}
    for key in sorted({newest.get(str(name), str(name)) for (name,) in parts}):
        names = [name for (name,) in parts if newest.get(str(name), str(name)) == key]
        series[bare_key(key)] = _rows(pl.concat([parts[name,] for name in names]).sort("start_ns"))
    used = [_renamed(action, newest) for action in actions if action.new != action.old]
    kept = tuple(action for action in used if _lies_within(action, series.get(bare_key(action.instrument))))
    return Bars(f"{directory}:{bar}", tuple(series), series, _notes(kept), kept)


def _rows(frame: pl.DataFrame) -> NDArray[np.void]:
    rows = np.empty(frame.height, BAR)
    for name in _COLUMNS:
        rows[name] = frame[name].to_numpy()
    if len(rows) > 1 and (np.diff(rows["start_ns"]) == 0).any():  # a former symbol that traded on beside the new one
        rows = rows[np.unique(rows["start_ns"], return_index=True)[1]]
    rows.flags.writeable = False
    return rows


def _lies_within(action: Action, rows: NDArray[np.void] | None) -> bool:
    """Say whether an action takes effect between an instrument's bars."""
    return rows is not None and int(rows["start_ns"][0]) < action.ex_ns <= int(rows["start_ns"][-1])


def _renamed(action: Action, newest: Mapping[str, str]) -> Action:
    name = newest.get(action.instrument, action.instrument)
    return Action(name, action.ex_date, action.new, action.old)


def _notes(actions: Sequence[Action]) -> tuple[str, ...]:
    return tuple(f"{one.instrument}: {one.new} for {one.old} from {one.ex_date} on is applied" for one in actions)


def _nothing(symbols: Collection[str] | None, bar: str, start: Any, end: Any) -> str:
    of = "" if symbols is None else f" of {', '.join(sorted(symbols)[:5])}"
    span = "".join(f" {word} {value}" for word, value in (("from", start), ("to", end)) if value is not None)
    return f"no {bar} bars{of}{span}"


def _month(time_ns: int) -> str:
    return session_date(time_ns).strftime("%Y-%m")
