"""The bar store: Parquet files by exchange, length of a bar and month, each sorted by instrument and time.

Importers and the daemon's child write it, under a lock and a whole file at a time; research reads it (`scan.py`). The
prices in it are as they came, in integers; nothing is ever adjusted in place.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from atmand.errors import DamagedError
from atmand.history.bars import HistoryError
from atmand.history.rows import bar_name

__all__ = ["ROWS", "SCHEMA", "Merged", "Partition", "Store", "digest_of", "is_store", "replace_file"]

SCHEMA: Final = 1
"""Of the layout and the columns; a newer one is refused, an older one would be read and written as the newest."""

ROWS: Final = {
    "key": pl.String,
    "start_ns": pl.Int64,  # UTC; a day's bar starts at its midnight in India
    "open": pl.Int64,  # in price_scale units a rupee, as are all prices
    "high": pl.Int64,
    "low": pl.Int64,
    "close": pl.Int64,
    "volume": pl.Int64,  # units, not lots
    "oi": pl.Int64,  # open interest at the bar's end; null where the source does not tell it
    "price_scale": pl.Int32,
    "origin": pl.Int32,  # the number of its source in sources.jsonl
}
"""The columns of a partition."""

_MARK: Final = "store.json"
_SOURCES: Final = "sources.jsonl"
_FILE: Final = "bars.parquet"
_VALUES: Final = ("open", "high", "low", "close", "volume", "oi", "price_scale")
_IST_NS: Final = 19_800_000_000_000
_GROUP_ROWS: Final = 1 << 16
"""Rows of a row group: its statistics let a reader of one instrument skip the others."""


@dataclass(frozen=True)
class Merged:
    """What rows did to a store: new ones, ones that replaced others, and ones that were there already."""

    added: int = 0
    replaced: int = 0
    same: int = 0
    repeated: int = 0
    """Rows that came twice at once; the last of them counts."""

    def __add__(self, other: Merged) -> Merged:
        return Merged(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, order=True)
class Partition:
    """One file of a store."""

    exchange: str
    bar: str
    month: str
    path: Path


def is_store(directory: Path) -> bool:
    """Say whether a directory is a store of bars."""
    return (directory / _MARK).is_file()


class Store:
    """A store of bars in a directory; made where there is none if it is opened with `create`."""

    def __init__(self, directory: Path, *, create: bool = False) -> None:
        self.directory = directory
        mark = directory / _MARK
        if not mark.is_file():
            if not create:
                raise HistoryError(str(directory), "no store of bars is there", "import some: atmand data import FILE")
            if directory.is_dir() and any(directory.iterdir()) and not (directory / "actions.toml").is_file():
                raise HistoryError(str(directory), "holds something else", "name an empty or a new directory")
            directory.mkdir(parents=True, exist_ok=True)
            replace_file(mark, orjson.dumps({"schema": SCHEMA, "what": "bars of atmand"}))
        self._check(mark)

    def partitions(self, exchange: str | None = None, bar: str | None = None) -> list[Partition]:
        """List the store's files, sorted."""
        pattern = f"exchange={exchange or '*'}/bar={bar or '*'}/month=*/{_FILE}"
        found = []
        for path in self.directory.glob(pattern):
            named = [part.partition("=")[2] for part in path.relative_to(self.directory).parts[:3]]
            found.append(Partition(named[0], named[1], named[2], path))
        return sorted(found)

    def source(self, *, name: str, kind: str, sha256: str, rows: int, moment: datetime | None = None) -> int:
        """Return the number under which a source is known, after noting it; the same content keeps its number."""
        with self.locked():
            known = self.sources()
            for entry in known:
                if entry["sha256"] == sha256 and entry["format"] == kind:
                    return int(entry["id"])
            number = len(known) + 1
            at = (moment or datetime.now(UTC)).isoformat(timespec="seconds")
            entry = {"id": number, "file": name, "format": kind, "sha256": sha256, "rows": rows, "imported": at}
            lines = b"".join(orjson.dumps(one) + b"\n" for one in [*known, entry])
            replace_file(self.directory / _SOURCES, lines)
            return number

    def sources(self) -> list[dict[str, Any]]:
        """List where rows came from, in the order of their numbers."""
        path = self.directory / _SOURCES
        try:
            return [orjson.loads(line) for line in path.read_bytes().splitlines()]
        except FileNotFoundError:
            return []
        except orjson.JSONDecodeError:
            raise DamagedError(str(path), "a line is no JSON", "put the file back from a backup") from None

    def merge(self, frame: pl.DataFrame, bar_ns: int, *, fill_only: bool = False) -> Merged:
        """Merge rows (ROWS, in any order) of one length of bars; every partition is replaced whole or not at all.

        A row replaces one of the same instrument and start, or, with `fill_only`, leaves it as it is. Merging the same
        rows again changes nothing, not even a file.
        """
        bar = bar_name(bar_ns)
        frame = frame.select(pl.col(name).cast(kind) for name, kind in ROWS.items())
        unique = frame.unique(["key", "start_ns"], keep="last", maintain_order=True)
        done = Merged(repeated=frame.height - unique.height)
        parts = unique.with_columns(
            exchange=pl.col("key").str.split(":").list.first(),
            month=pl.from_epoch(pl.col("start_ns") + _IST_NS, "ns").dt.strftime("%Y-%m"),
        ).partition_by(["exchange", "month"], as_dict=True, include_key=False)
        with self.locked():
            for (exchange, month), rows in sorted(parts.items()):
                path = self.directory / f"exchange={exchange}" / f"bar={bar}" / f"month={month}" / _FILE
                done += self._merge_partition(path, rows, fill_only=fill_only)
        return done

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock; whoever comes second waits."""
        with open(self.directory / ".lock", "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _merge_partition(self, path: Path, rows: pl.DataFrame, *, fill_only: bool) -> Merged:
        if not path.is_file():
            _write(path, rows)
            return Merged(added=rows.height)
        old = _read(path)
        both = rows.join(old, on=["key", "start_ns"], how="left", suffix="_old", maintain_order="left")
        there = both["origin_old"].is_not_null()
        differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in _VALUES)
        changed = there & both.select(differs).to_series() & (not fill_only)
        done = Merged(int((~there).sum()), int(changed.sum()), int((there & ~changed).sum()))
        if not done.added and not done.replaced:
            return done
        fresh = rows.filter(~there | changed)
        kept = old.join(fresh, on=["key", "start_ns"], how="anti")
        _write(path, pl.concat([kept, fresh]))
        return done

    def _check(self, mark: Path) -> None:
        try:
            schema = orjson.loads(mark.read_bytes())["schema"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise DamagedError(str(mark), "does not say which schema it is", f'write {{"schema": {SCHEMA}}}') from None
        if schema != SCHEMA:
            raise HistoryError(
                str(self.directory), f"schema {schema}; this atmand knows {SCHEMA}", "install a newer one"
            )


def digest_of(content: bytes) -> str:
    """Return the name of a content in the list of sources."""
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, hive_partitioning=False).select(list(ROWS))
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(str(path), f"cannot be read: {reason}", "delete it and import its month again") from None


def _write(path: Path, rows: pl.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{_FILE}.part")
    try:
        rows.sort("key", "start_ns").write_parquet(part, compression="zstd", row_group_size=_GROUP_ROWS)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise HistoryError(str(path), error.strerror or str(error), "make room, or name another directory") from None
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Put a whole file in the place of another, durably."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
