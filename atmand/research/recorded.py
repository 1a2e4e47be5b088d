"""A recorded day folded again with a probe: the journal's records, cut down to one strategy's book.

Nothing is written, and nothing past what the daemon has written is read, so that it may run beside a live daemon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

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
)
from atmand.errors import AtmandError
from atmand.journal.reader import Session, read
from atmand.journal.replay import find_session
from atmand.journal.sidecars import Sidecars
from atmand.lang.program import Deployment
from atmand.lang.strategy import StrategyFile
from atmand.ledger.trades import book_name, open_in_document
from atmand.research.probe import STRATEGY, ClauseLog, Driven, Probe, joined, probe_of
from atmand.research.why_not import Asked

__all__ = ["asked_of_day"]


def asked_of_day(
    journal: Path, file: StrategyFile, name: str, day: date | None, decoders: Mapping[int, Decoder]
) -> tuple[Asked, Session]:
    """Fold a recorded day, the newest by default, for a strategy; return what can be asked about it.

    AtmandError where the day did not run this strategy, or ran another text of its file.
    """
    session = find_session(journal, day)
    fold = _DayFold(journal, file, name, decoders)
    for record in read(journal, session.first_sequence, session.last_sequence):
        fold.take(record)
    return fold.asked(session), session


class _DayFold:
    """One day's fold: the strategy's records go on under the numbers of the probe's program."""

    def __init__(self, journal: Path, file: StrategyFile, name: str, decoders: Mapping[int, Decoder]) -> None:
        self._file, self._name = file, name
        self._sidecars = Sidecars(journal)
        self._programs: dict[bytes, Program] = {}
        self._engine = Engine(decoders, self._programs.__getitem__, self._books)
        self._probe: Probe | None = None
        self._log: ClauseLog | None = None
        self._book = -1
        self._keys: tuple[str, ...] = ()
        self._known: tuple[str, ...] = ()
        self._held: dict[str, int] = {}
        self._rows: list[NDArray[Any]] = []
        self._bars = -1
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
        self._engine.apply(ours)
        if self._log is not None and self._engine.ready and int(self._engine.header["bars"]) != self._bars:
            self._bars = int(self._engine.header["bars"])
            self._log.take(self._engine)

    def asked(self, session: Session) -> Asked:
        if self._probe is None or self._log is None:
            known = ", ".join(self._known) or "none"
            raise AtmandError(f"strategy {self._name}", f"did not run on {session.day}", f"that day ran {known}")
        if self._seen and not self._frames:
            raise AtmandError(
                f"{session.day}", "its market data are not kept any more", "ask about a newer day, or give --data BARS"
            )
        self._log.take(self._engine)
        driven = Driven(joined(self._rows), self._log.rows(), self._keys)
        return Asked(self._probe, driven, held=self._held)

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
        elif record.kind == Kind.COMMAND:
            head = head_and_rows(record)[0].copy()
            if int(head["book"][0]) not in (-1, self._book):
                return None
            head["book"] = np.minimum(head["book"], STRATEGY)
            return record._replace(body=head.tobytes())
        return record

    def _program(self, record: Record) -> Record | None:
        head, pairs = head_and_rows(record)
        manifest = Manifest.from_json(self._sidecars.get(head["manifest"][0].tobytes()))
        self._known = tuple(plan.strategy for plan in manifest.books)
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
        if plan.sha256 != self._file.sha256:
            raise AtmandError(
                self._file.source.name,
                f"is not the file that {plan.strategy} ran with then (sha256 {plan.sha256[:12]}...)",
                "name the file as it was then; its rules are not in the journal",
            )
        if self._probe is None:
            self._probe = probe_of(Deployment(self._file, plan.account, name=plan.strategy))
            self._log = ClauseLog(self._probe)
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
        body = head.tobytes() + np.concatenate(parts).tobytes()  # in the version that it was recorded in
        return record._replace(body=body, rows=len(books) * len(own))

    def _books(self, sha: bytes) -> dict[str, Any]:
        document: dict[str, Any] = orjson.loads(self._sidecars.get(sha))
        return document


def _record(record: Record, draft: Draft) -> Record:
    return record._replace(body=draft.body, rows=draft.rows, version=draft.version)
