"""A recorded day folded again with a probe: the journal's records, cut down to one strategy's book.

Nothing is written, and nothing past what the daemon has written is read, so that it may run beside a live daemon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from atmand.core.engine import Decoder, Engine
from atmand.core.manifest import BookPlan, Manifest, Program
from atmand.core.opening import Draft, program_draft
from atmand.core.records import (
    AUDIT_KINDS,
    Kind,
    Record,
    head_and_rows,
    version_of,
)
from atmand.errors import AtmandError
from atmand.journal.reader import Session, read
from atmand.journal.sidecars import Sidecars
from atmand.lang.program import Deployment
from atmand.lang.strategy import StrategyFile
from atmand.ledger.trades import book_name, open_in_document
from atmand.research.probe import STRATEGY, ClauseLog, Driven, Probe, joined, probe_of
from atmand.research.why_not import Asked, is_named, unknown_instrument

__all__ = ["OnDay", "asked_of_day", "programs_of", "records_of", "renewed"]


_EVERY: Final = 512
"""Records between two words about how far a day is."""

_FOLDS_AGAIN: Final = frozenset(
    {Kind.SESSION, Kind.PROGRAM, Kind.PARAMS, Kind.HISTORY, Kind.GAP, Kind.CORPORATE_ACTION}
)
"""What may fold bars again with other values or in another arena: what was logged before is taken before."""


class OnDay(Protocol):
    """What a long fold reports to."""

    def __call__(self, done: int, whole: int) -> None: ...

    def stage(self, what: str) -> None: ...


def asked_of_day(
    journal: Path,
    session: Session,
    files: Sequence[StrategyFile],
    name: str,
    decoders: Mapping[int, Decoder],
    *,
    instrument: str | None = None,
    progress: OnDay | None = None,
) -> Asked:
    """Fold a recorded day for a strategy; return what can be asked about it.

    `files` are texts that it may have traded by. AtmandError where the day did not run this strategy, or ran none of
    them, or where it does not trade the instrument: before anything is compiled or folded.
    """
    file = _chosen(journal, session, files, name, instrument)
    fold = _DayFold(journal, file, name, decoders, progress)
    for record in records_of(journal, session, progress):
        fold.take(record)
    return fold.asked(session)


def records_of(journal: Path, session: Session, progress: OnDay | None) -> Iterator[Record]:
    """Yield a day's records, and tell how far they are."""
    first, last = session.first_sequence, session.last_sequence
    for record in read(journal, first, last):
        yield record
        if progress is not None and not record.sequence % _EVERY:
            progress(record.sequence - first, last - first + 1)


def programs_of(journal: Path, session: Session) -> Iterator[tuple[Manifest, list[tuple[int, str]]]]:
    """Yield what the programs of a day say of themselves, each with its books' instruments; bodies are not folded."""
    sidecars, keys = Sidecars(journal), tuple[str, ...]()
    for record in read(journal, session.first_sequence, session.last_sequence, {Kind.INSTRUMENTS, Kind.PROGRAM}):
        head, rows = head_and_rows(record)
        if record.kind == Kind.INSTRUMENTS:
            keys = tuple(str(key, "ascii") for key in rows["key"])
        else:
            manifest = Manifest.from_json(sidecars.get(head["manifest"][0].tobytes()))
            yield manifest, [(int(row["book"]), keys[int(row["instrument"])]) for row in rows]


def _chosen(
    journal: Path, session: Session, files: Sequence[StrategyFile], name: str, instrument: str | None
) -> StrategyFile:
    """Return the text that the day ran, or refuse what no program of the day knows; the first that does is enough."""
    ran: tuple[str, ...] = ()
    traded: list[str] = []
    chosen: StrategyFile | None = None
    for manifest, pairs in programs_of(journal, session):
        ran = tuple(plan.strategy for plan in manifest.books)
        for book, plan in enumerate(manifest.books):
            if plan.strategy == name:
                chosen = _same(plan, files)
                traded = [key for at, key in pairs if at == book]
        if chosen is not None and (instrument is None or any(is_named(key, instrument) for key in traded)):
            return chosen
    if chosen is None:
        raise AtmandError(
            f"strategy {name}", f"did not run on {session.day}", f"that day ran {', '.join(ran) or 'none'}"
        )
    raise unknown_instrument(instrument, name, traded)


def _same(plan: BookPlan, files: Sequence[StrategyFile]) -> StrategyFile:
    """Return the file that a book of the day ran by."""
    for file in files:
        if file.sha256 == plan.sha256:
            return file
    raise AtmandError(
        files[0].source.name,
        f"is not the file that {plan.strategy} ran with then (sha256 {plan.sha256[:12]}...)",
        "name the file as it was then; its rules are not in the journal",
    )


class _DayFold:
    """One day's fold: the strategy's records go on under the numbers of the probe's program."""

    def __init__(
        self,
        journal: Path,
        file: StrategyFile,
        name: str,
        decoders: Mapping[int, Decoder],
        progress: OnDay | None,
    ) -> None:
        self._file, self._name, self._progress = file, name, progress
        self._sidecars = Sidecars(journal)
        self._programs: dict[bytes, Program] = {}
        self._engine = Engine(decoders, self._programs.__getitem__, self._books)
        self._probe: Probe | None = None
        self._log: ClauseLog | None = None
        self._book = -1
        self._keys: tuple[str, ...] = ()
        self._signals: tuple[str, ...] = ()
        """The external signals of the day's program, whose places SIGNAL rows name."""
        self._held: dict[str, int] = {}
        self._rows: list[NDArray[Any]] = []
        self._frames = self._seen = 0

    def take(self, record: Record) -> None:
        if record.kind in AUDIT_KINDS:
            rows = head_and_rows(record)[1]
            self._rows.append(rows[rows["book"] == self._book])
            return
        self._seen += record.kind in (Kind.FRAME, Kind.TIMER)
        self._frames += record.kind == Kind.FRAME
        ours = self._translated(record)
        if ours is None:
            return
        if record.kind not in _FOLDS_AGAIN:
            self._engine.apply(ours)
            return
        self._take_log()
        self._engine.apply(ours)
        self._take_log()

    def asked(self, session: Session) -> Asked:
        assert self._probe is not None and self._log is not None, "a program of the day has the strategy"
        if self._seen and not self._frames:
            raise AtmandError(
                f"{session.day}", "its market data are not kept any more", "ask about a newer day, or give --data BARS"
            )
        self._take_log()
        driven = Driven(joined(self._rows), self._log.rows(), self._keys)
        return Asked(self._probe, driven, held=self._held)

    def _take_log(self) -> None:
        """Take what was logged: a day has fewer minutes than the log has rows."""
        if self._log is not None and self._engine.ready:
            self._log.take(self._engine)

    def _translated(self, record: Record) -> Record | None:
        """Return a record as the probe's program takes it; None where it is another book's."""
        if record.kind == Kind.INSTRUMENTS:
            self._keys = tuple(str(key, "ascii") for key in head_and_rows(record)[1]["key"])
        elif record.kind == Kind.PROGRAM:
            return self._program(record)
        elif self._book < 0 and record.kind != Kind.SESSION:
            return None
        elif record.kind == Kind.LIMITS:
            return self._rebooked(record, (STRATEGY,))
        elif record.kind == Kind.PARAMS:
            return self._rebooked(record, (STRATEGY, STRATEGY + 1))
        elif record.kind == Kind.SIGNAL:
            return self._signalled(record)
        elif record.kind == Kind.COMMAND:
            head = head_and_rows(record)[0].copy()
            if int(head["book"][0]) not in (-1, self._book):
                return None
            head["book"] = np.minimum(head["book"], STRATEGY)
            return renewed(record, head, head[:0])
        return record

    def _program(self, record: Record) -> Record | None:
        head, pairs = head_and_rows(record)
        manifest = Manifest.from_json(self._sidecars.get(head["manifest"][0].tobytes()))
        self._signals = manifest.signals
        self._book = next((place for place, plan in enumerate(manifest.books) if plan.strategy == self._name), -1)
        if self._book < 0:
            return None
        plan = manifest.books[self._book]
        if head["books"].any():
            opened = open_in_document(self._books(head["books"][0].tobytes()))
            self._held = {
                key: trade.held * trade.side for (book, key), trade in opened.items() if book == book_name(plan)
            }
        probe = self._probe_of(plan)
        own = [int(pair["instrument"]) for pair in pairs if int(pair["book"]) == self._book]
        draft = program_draft(
            probe.program.source,
            probe.program.manifest,
            [*((STRATEGY, place) for place in own), *((STRATEGY + 1, place) for place in own)],
            books=head["books"][0].tobytes(),
        )
        self._programs[hashlib.sha256(probe.program.manifest.to_json()).digest()] = probe.program
        return _record(record, draft)

    def _probe_of(self, plan: BookPlan) -> Probe:
        """Make the probe once; a later program of the day gives it other values, not another text."""
        _same(plan, [self._file])
        if self._probe is None:
            if self._progress is not None:
                self._progress.stage("compiling the clauses")
            self._probe = probe_of(Deployment(self._file, plan.account, name=plan.strategy))
            self._log = ClauseLog(self._probe)
            if self._progress is not None:
                self._progress.stage("folding the day")
        manifest = self._probe.program.manifest
        books = tuple(replace(book, values=plan.values) for book in manifest.books)
        return replace(self._probe, program=replace(self._probe.program, manifest=replace(manifest, books=books)))

    def _rebooked(self, record: Record, books: tuple[int, ...]) -> Record:
        head, rows = head_and_rows(record)
        own = rows[rows["book"] == self._book]
        parts = []
        for book in books:
            part = own.copy()
            part["book"] = book
            parts.append(part)
        return renewed(record, head, np.concatenate(parts))

    def _signalled(self, record: Record) -> Record | None:
        """Return a record's signals under the numbers that they have in the probe's program; None without any."""
        assert self._probe is not None
        head, rows = head_and_rows(record)
        own = self._probe.program.manifest.signals
        names = [self._signals[place] if 0 <= place < len(self._signals) else "" for place in rows["column"].tolist()]
        kept = np.array([name in own for name in names], np.bool_)
        if not kept.any():
            return None
        mine = rows[kept].copy()
        mine["column"] = [own.index(name) for name in names if name in own]
        return renewed(record, head, mine)

    def _books(self, sha: bytes) -> dict[str, Any]:
        document: dict[str, Any] = orjson.loads(self._sidecars.get(sha))
        return document


def renewed(record: Record, head: NDArray[Any], rows: NDArray[Any]) -> Record:
    """Return a record with another body: in the newest version, as its head and rows were given."""
    body = head.tobytes() + rows.tobytes()
    return record._replace(body=body, rows=len(rows), version=version_of(Kind(record.kind)))


def _record(record: Record, draft: Draft) -> Record:
    return record._replace(body=draft.body, rows=draft.rows, version=draft.version)
