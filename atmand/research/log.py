"""The research log: every run of research, appended to one file of JSON lines, each line chained to the one before.

How often data were looked at decides what a good result is worth, so the log counts: `lineage` finds a strategy's
earlier runs on the same data, `trials_of` adds up what they tried. Lines are never changed; a line that was cut short
by a crash was never acknowledged and makes room for the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from atmand.errors import AtmandError, DamagedError
from atmand.history.bars import Bars
from atmand.ledger.trades import market_time
from atmand.research.selection import Trials

__all__ = ["DataRange", "Entry", "ResearchLog", "bars_digest", "data_range", "lineage", "trials_of"]

Entry: TypeAlias = Mapping[str, Any]
"""One line: `id, time, verb, strategy, ..., before, sha256`."""

_FIRST: Final = "0" * 64
_STRUCTURE: Final = {"verb", "strategy", "structures", "data"}


@dataclass(frozen=True)
class DataRange:
    """What a run looked at: which instruments, and from when to when (ns UTC, both ends included)."""

    source: str
    sha256: str
    first_ns: int
    last_ns: int
    instruments: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "sha256": self.sha256,
            "first": market_time(self.first_ns),
            "last": market_time(self.last_ns),
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "instruments": list(self.instruments),
        }


def data_range(bars: Bars, columns: Iterable[int]) -> DataRange:
    """Return what a run over these columns of the bars looks at."""
    symbols = [bars.symbols[column] for column in sorted(set(columns))]
    series = [bars.series[symbol] for symbol in symbols]
    return DataRange(
        source=bars.source,
        sha256=bars_digest(bars, symbols),
        first_ns=min(int(rows["start_ns"][0]) for rows in series),
        last_ns=max(int(rows["start_ns"][-1]) for rows in series),
        instruments=tuple(symbols),
    )


def bars_digest(bars: Bars, symbols: Sequence[str]) -> str:
    """Return the sha256 of the bars of some symbols, wherever they came from."""
    digest = hashlib.sha256()
    for symbol in sorted(symbols):
        digest.update(f"{symbol}\0{len(bars.series[symbol])}\0".encode())
        digest.update(bars.series[symbol].tobytes())
    return digest.hexdigest()


class ResearchLog:
    """The log of one state directory; many processes may append to it."""

    def __init__(self, state: Path) -> None:
        self.path = state / "research" / "log.jsonl"

    def append(self, entry: Mapping[str, Any], now: datetime | None = None) -> Entry:
        """Append a run; return it with its number, its time and its hash once it is on the disk."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                return self._append(file.fileno(), entry, now or datetime.now(UTC))
        except OSError as error:
            remedy = "every run is recorded: name a state directory that can be written, --state DIR"
            raise AtmandError(str(self.path), error.strerror or str(error), remedy) from None

    def entries(self) -> list[Entry]:
        """Return all runs, oldest first; DamagedError where the chain is broken."""
        try:
            whole, _ = _whole_lines(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AtmandError(str(self.path), error.strerror or str(error), "let it be read") from None
        return list(_chained(whole, self.path))

    def find(self, number: int) -> Entry:
        """Return one run by its number."""
        entries = self.entries()
        if not 1 <= number <= len(entries):
            known = f"known are 1 to {len(entries)}" if entries else "no run is recorded yet"
            raise AtmandError(f"run {number}", "not in the research log", known)
        return entries[number - 1]

    def _append(self, descriptor: int, entry: Mapping[str, Any], now: datetime) -> Entry:
        size = os.fstat(descriptor).st_size
        lines, length = _whole_lines(os.pread(descriptor, size, 0))
        if length < size:
            os.ftruncate(descriptor, length)
        before: dict[str, Any] = orjson.loads(lines[-1]) if lines else {"id": 0, "sha256": _FIRST}
        body = {
            "id": before["id"] + 1,
            "time": now.astimezone(UTC).isoformat(timespec="seconds"),
            **entry,
            "before": before["sha256"],
        }
        # Through JSON once, so that what is returned is what will be read.
        line: dict[str, Any] = orjson.loads(_plain(body))
        line["sha256"] = hashlib.sha256(_plain(line)).hexdigest()
        text = _plain(line) + b"\n"
        if os.write(descriptor, text) < len(text):
            raise OSError(28, "the disk is full")
        os.fdatasync(descriptor)
        return line


def lineage(entries: Iterable[Entry], strategy: str, structures: Sequence[str], data: DataRange) -> list[Entry]:
    """Return the runs that a result is one of: of this strategy, by name or by structure, on some of the same data.

    A strategy whose rules were changed keeps its name, and one that was renamed its structure: neither starts anew.
    """
    return [
        entry
        for entry in entries
        if entry.keys() >= _STRUCTURE
        and (entry["strategy"] == strategy or set(entry["structures"]) & set(structures))
        and entry["data"]["first_ns"] <= data.last_ns
        and entry["data"]["last_ns"] >= data.first_ns
        and set(entry["data"]["instruments"]) & set(data.instruments)
    ]


def trials_of(entries: Iterable[Entry]) -> Trials:
    """Add up what runs tried; the same run again (`key`) is no new trial."""
    seen: dict[str, Trials] = {}
    for entry in entries:
        if "trials" in entry:
            seen.setdefault(entry["key"], Trials.from_json(entry["trials"]))
    return sum(seen.values(), Trials())


def _whole_lines(raw: bytes) -> tuple[list[bytes], int]:
    """Return the lines that end, and where the last of them does."""
    length = raw.rfind(b"\n") + 1
    return raw[:length].splitlines(), length


def _chained(lines: Iterable[bytes], path: Path) -> Iterator[Entry]:
    before = _FIRST
    for number, line in enumerate(lines, 1):
        try:
            entry: dict[str, Any] = orjson.loads(line)
            told = entry.pop("sha256")
            sound = told == hashlib.sha256(_plain(entry)).hexdigest() and entry["before"] == before
            sound = sound and entry["id"] == number
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            sound, told, entry = False, "", {}
        if not sound:
            remedy = "the lines before it are whole; move the file away to begin a new log"
            raise DamagedError(f"{path}:{number}", "this line was changed, or one before it is missing", remedy)
        before = told
        yield {**entry, "sha256": told}


def _plain(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
