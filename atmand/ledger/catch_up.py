"""What a journal tells the ledger: openings, parameter numbers and audit rows, in the order of their records.

The ledger's thread reads it at the start, and after memory had to be given up; `why` reads it for a trade's story.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
from numpy.typing import NDArray

from atmand.core.manifest import Manifest
from atmand.core.records import AUDIT_KINDS, Kind, Record, Source, head_and_rows
from atmand.journal.reader import Session, read, sessions
from atmand.journal.sidecars import Sidecars
from atmand.ledger.fold import Opening
from atmand.ledger.past import Past, load_past
from atmand.ledger.trades import in_other_units

__all__ = ["Event", "Names", "Params", "events", "last_sequence", "session_of"]

_KINDS: Final = frozenset(
    {Kind.SESSION, Kind.INSTRUMENTS, Kind.CORPORATE_ACTION, Kind.PROGRAM, Kind.PARAMS, *AUDIT_KINDS}
)


@dataclass(frozen=True, slots=True)
class Params:
    """Parameter values that were put in force."""

    seq: int
    """Of the document that they are from; 0 where no document was."""
    values: tuple[tuple[int, int, float], ...] = ()
    """(book, slot, value), where the reader wants them."""


@dataclass(frozen=True, slots=True)
class Names:
    """The opening in force at the place from which reading goes on: it was folded before."""

    opening: Opening


Event: TypeAlias = tuple[int, Opening | Names | Params | NDArray[Any]]
"""A record's sequence, and what it tells."""


def last_sequence(journal: Path) -> int:
    """Return the last sequence that is written; 0 in a journal without records."""
    known = sessions(journal)
    return known[-1].last_sequence if known else 0


def session_of(journal: Path, sequence: int) -> Session | None:
    """Return the session that holds a sequence; None where no session does."""
    return next((each for each in sessions(journal) if each.first_sequence <= sequence <= each.last_sequence), None)


def events(journal: Path, after: int = 0, until: int | None = None) -> Iterator[Event]:
    """Yield what the records past `after`, up to `until` (itself included), tell.

    Where something before goes on, a `Names` comes first. Raises DamagedError where the journal cannot be read.
    """
    start = session_of(journal, after) if after else None
    reader = _Reader(journal)
    going_on: Opening | None = None
    for record in read(journal, start.first_sequence if start else after + 1, until, _KINDS):
        for event in reader.take(record):
            if record.sequence <= after:
                going_on = event if isinstance(event, Opening) else going_on
                continue
            if going_on is not None:
                yield after, Names(going_on)
                going_on = None
            yield record.sequence, event
    if going_on is not None:
        yield after, Names(going_on)


@dataclass
class _Reader:
    """Turns records into events; remembers what a PROGRAM needs of the records before it."""

    journal: Path
    day: int = 0
    close_ns: int = 0
    keys: tuple[str, ...] = ()
    opening: bool = False
    past: Past | None = None
    past_day: int = -1
    opened: Opening | None = None
    sidecars: Sidecars = field(init=False)

    def __post_init__(self) -> None:
        self.sidecars = Sidecars(self.journal)

    def take(self, record: Record) -> Iterator[Opening | Params | NDArray[Any]]:
        head, rows = head_and_rows(record)
        if record.kind == Kind.SESSION:
            self.day, self.opening = int(head["date"][0]), True
            self.close_ns = int(rows["close_ns"].max()) if len(rows) else 0
        elif record.kind == Kind.INSTRUMENTS:
            self.keys = tuple(str(key, "ascii") for key in rows["key"])
        elif record.kind == Kind.PROGRAM:
            self.opened = self._program(head)
            yield self.opened
        elif record.kind == Kind.CORPORATE_ACTION:
            yield from self._corporate_action(rows)
        elif record.kind == Kind.PARAMS:
            yield Params(int(head["document_seq"][0]), tuple(rows.tolist()))
        elif record.source == Source.PAST:
            yield from self._of_past(rows)
        else:
            yield rows

    def _program(self, head: NDArray[Any]) -> Opening:
        """A session's first program begins with the books that it names; a later one goes on with those at hand."""
        manifest = Manifest.from_json(self.sidecars.get(head["manifest"][0].tobytes()))
        if not self.opening:
            return Opening(manifest, self.keys, self.day, self.close_ns)
        self.opening = False
        carried = None
        if head["books"].any():
            carried = orjson.loads(self.sidecars.get(head["books"][0].tobytes()))
        return Opening.of_books(manifest, self.keys, carried, day=self.day, close_ns=self.close_ns)

    def _corporate_action(self, rows: NDArray[Any]) -> Iterator[Opening]:
        """What a session begins with, it begins with again in the new units."""
        if self.opened is None or self.opened.open_trades is None:
            return
        ratios = {self.keys[int(row["instrument"])]: (int(row["new"]), int(row["old"])) for row in rows}
        trades = {
            (book, key): in_other_units(trade, *ratios.get(key, (1, 1)))
            for (book, key), trade in self.opened.open_trades.items()
        }
        self.opened = replace(self.opened, open_trades=trades)
        yield self.opened

    def _of_past(self, rows: NDArray[Any]) -> Iterator[Opening | NDArray[Any]]:
        if self.past is None:
            self.past = load_past(self.journal)
        if self.past is None:
            return  # rows that nobody can name any more
        for index, part in self.past.parts(rows):
            if index != self.past_day:
                self.past_day = index
                yield self.past.opening(index)
            yield part
