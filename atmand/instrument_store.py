"""The instruments of each day, one file a day in the state directory; what changed between two days.

The daemon saves what a day's dump held; a dump that is damaged or has lost instruments is refused, and the newest file
stays in use.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from atmand.errors import DamagedError
from atmand.market.catalogue import COLUMNS, Catalogue
from atmand.market.instruments import Instrument, InstrumentError

__all__ = ["FOLDER", "Difference", "InstrumentStore", "check_complete", "difference"]

FOLDER: Final = "instruments"
"""The store's folder in the state directory."""

_SCHEMA: Final = 1
_CHANGES: Final = ("lot", "tick", "token")
_OLDEST: Final = timedelta(days=7)
"""A file stands in for a refused dump for so long: over a long weekend, not over a month."""


class InstrumentStore:
    """The files of one state directory, `YYYY-MM-DD.npz` each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def days(self) -> list[date]:
        """Return the days that are kept, oldest first."""
        found = []
        for path in self._folder.glob("*.npz"):
            try:
                found.append(date.fromisoformat(path.stem))
            except ValueError:
                continue  # a file that is being written, or somebody else's
        return sorted(found)

    def load(self, day: date) -> Catalogue:
        """Read a day's file; DamagedError where it is not one."""
        path = self._path(day)
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                schema, rows, sha256 = int(file["schema"]), file["rows"], file["sha256"].tobytes()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DamagedError(
                str(path), f"cannot be read: {error}", "remove it; the next day writes another"
            ) from None
        if schema != _SCHEMA or rows.dtype.names != tuple(name for name, _ in COLUMNS):
            raise DamagedError(str(path), "written by another version", "remove it; the next day writes another")
        return Catalogue(rows, sha256)

    def newest(self, day: date) -> tuple[date, Catalogue] | None:
        """Return the newest day up to `day` whose file can be read and is not too old to trade by."""
        for found in reversed(self.days()):
            if day - _OLDEST <= found <= day:
                try:
                    return found, self.load(found)
                except DamagedError:
                    continue
        return None

    def ended(self, keys: Collection[str], day: date) -> list[Instrument]:
        """Return contracts that had ended before a day, as they were listed last; what no file has is left out.

        Their feed tokens are the broker's to give away again, so that these have others, below zero.
        """
        wanted = {key for key in keys if _ends(key) < day}
        found: list[Instrument] = []
        for kept in reversed([each for each in self.days() if each < day]):
            if not wanted:
                break
            try:
                catalogue = self.load(kept)
            except DamagedError:
                continue
            here = [key for key in sorted(wanted) if catalogue.row_of_key(key) >= 0]
            found += catalogue.instruments(catalogue.row_of_key(key) for key in here)
            wanted -= set(here)
        return [replace(one, token=-1 - place) for place, one in enumerate(found)]

    def save(self, day: date, catalogue: Catalogue, *, keep: int) -> None:
        """Write a day's file whole, and remove the oldest beyond `keep`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(day)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            sha256 = np.frombuffer(catalogue.sha256, np.uint8)
            np.savez(file, schema=np.int64(_SCHEMA), rows=catalogue.rows, sha256=sha256)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        for old in self.days()[:-keep]:
            self._path(old).unlink(missing_ok=True)

    def _path(self, day: date) -> Path:
        return self._folder / f"{day}.npz"


def _ends(key: str) -> date:
    """Return the day on which the contract of a durable key ends; what has none never does."""
    parts = key.split(":")
    try:
        return date.fromisoformat(parts[3]) if len(parts) > 3 else date.max
    except ValueError:
        return date.max


@dataclass(frozen=True)
class Difference:
    """What another day's instruments have that these have not, by durable key."""

    added: list[str]
    removed: list[str]
    expired: int
    changed: list[tuple[str, str, int, int]]
    """(key, column, before, after) of lots, ticks and tokens."""

    def count(self, column: str) -> int:
        return sum(name == column for _, name, _, _ in self.changed)

    def of(self, keys: Collection[str]) -> list[str]:
        """Say in words what changed of some instruments."""
        wanted = set(keys)
        gone = [f"{key} is gone" for key in self.removed if key in wanted]
        return gone + [f"{key}: {name} {was} to {now}" for key, name, was, now in self.changed if key in wanted]


def difference(before: Catalogue, after: Catalogue, day: date) -> Difference:
    """Compare two days; what expired before `day` is counted and not listed as removed."""
    old, new = _places(before), _places(after)
    added = [key.decode() for key in new if key not in old]
    gone = np.array([place for key, place in old.items() if key not in new], np.int64)
    expiry = before.rows["expiry"][gone]
    expired = (expiry > 0) & (expiry < day.toordinal())
    removed = [key.decode() for key in before.rows["key"][gone[~expired]].tolist()]
    both = [key for key in old if key in new]
    here = np.array([old[key] for key in both], np.int64)
    there = np.array([new[key] for key in both], np.int64)
    changed: list[tuple[str, str, int, int]] = []
    for name in _CHANGES:
        was, now = before.rows[name][here], after.rows[name][there]
        changed += [(both[at].decode(), name, int(was[at]), int(now[at])) for at in np.flatnonzero(was != now)]
    return Difference(added, removed, int(expired.sum()), changed)


def check_complete(before: Catalogue, after: Catalogue, day: date, *, most_lost_percent: float) -> None:
    """Refuse a dump in which too much of an exchange is missing; contracts that have expired are not missed."""
    new = _places(after)
    expiry = before.rows["expiry"]
    living = (expiry == 0) | (expiry >= day.toordinal())
    lost = np.array([key not in new for key in before.rows["key"].tolist()], bool) & living
    for exchange in np.unique(before.rows["exchange"]).tolist():
        here = before.rows["exchange"] == exchange
        missing, had = int((lost & here).sum()), int((living & here).sum())
        if had and missing * 100 > had * most_lost_percent:
            what = f"{missing} of {had} instruments of {exchange.decode()} are missing"
            remedy = "fetch it again; if they are gone indeed, raise [instruments] most_lost_percent"
            raise InstrumentError("instrument dump", what, remedy)


def _places(catalogue: Catalogue) -> dict[Any, int]:
    return dict(zip(catalogue.rows["key"].tolist(), range(len(catalogue)), strict=True))
