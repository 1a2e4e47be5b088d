"""Recorded days for the ledger's tests: the core's market, with every record journaled as the daemon does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson
from core_market import DAY, SECOND, Book, Market, share, walk
from numpy.typing import NDArray
from sqlalchemy import select

from atmand.core.opening import BookLimits, Draft, params_draft
from atmand.core.records import Record
from atmand.journal import JournalSettings, JournalWriter, Sidecars
from atmand.ledger import schema
from atmand.ledger.fold import LedgerFold, Opening
from atmand.ledger.sqlite import open_ledger
from atmand.sequencer import audit_drafts

CAPITAL: Final = 1_000_000_00
LIMITS: Final = BookLimits(CAPITAL)
BOOKS: Final = (
    Book("quick", "swift", "one", limits=LIMITS, instruments=(0, 1)),
    Book("quick", "calm", "one", {"level": 40.0}, limits=LIMITS),
    Book("quick", "other", "two", {"period": 5.0}, limits=LIMITS, instruments=(1,)),
)
DAYS: Final = (DAY, date(2026, 7, 7), date(2026, 7, 8))

Listener = Callable[[NDArray[Any], int], None]


class Recorder(Market):
    """A market whose records, audit rows, programs and books go into a journal; listeners hear what the daemon tells.

    Call `close` at the end. `begun` and `put_in_force` stand for what the daemon tells the ledger besides rows.
    """

    def __init__(
        self,
        journal: Path,
        books: Sequence[Book] = BOOKS,
        *,
        hear: Listener = lambda rows, sequence: None,
        begun: Callable[[Opening, int], None] = lambda opening, sequence: None,
        put_in_force: Callable[[int, int], None] = lambda seq, sequence: None,
    ) -> None:
        self.writer = JournalWriter(journal, JournalSettings(flush_ms=1, sync_ms=20, segment_bytes=1 << 20))
        self.journal, self._sidecars = journal, Sidecars(journal)
        self._hear, self._begun, self._put_in_force = hear, begun, put_in_force
        super().__init__(books, (share(0), share(1)))

    def put(self, draft: Draft, at: float, *, source: int = 0) -> NDArray[Any]:
        time_ns = max(self.engine.time_ns + 1, self.open_ns + round(at * SECOND))
        sequence = self.writer.append(draft.kind, time_ns, draft.body, draft.rows, source=source, version=draft.version)
        rows = self.engine.apply(
            Record(draft.kind, sequence, time_ns, draft.body, draft.rows, draft.version, source)
        ).copy()
        for audit in audit_drafts(rows) if len(rows) else ():
            self.writer.append(audit.kind, time_ns, audit.body, audit.rows)
        self.rows.append(rows)
        if len(rows):
            self._hear(rows, self.writer.appended)
        return rows

    def install(
        self, books: Sequence[Book], at: float, *, copies: Sequence[int] | None = None, books_sha: bytes = bytes(32)
    ) -> None:
        super().install(books, at, copies=copies, books_sha=books_sha)
        layout = self.engine.layout
        self._sidecars.put(layout.manifest.to_json())
        self._begun(self.opening(), self.writer.appended)

    def opening(self) -> Opening:
        """Describe the engine's layout as the daemon does."""
        layout, header = self.engine.layout, self.engine.header
        return Opening.of_tables(
            layout.manifest,
            layout.keys,
            self.engine.table("pairs"),
            day=int(header["date"]),
            close_ns=int(header["session_close_ns"]),
        )

    def carry_books(self) -> bytes:
        document = self.engine.books()
        sha = self._sidecars.put(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
        self.carried[sha] = document
        return sha

    def document(self, at: float, seq: int, book: int, **values: float) -> None:
        """Put a parameter document in force that changes some values of a book."""
        cells = [list(self.values(place)) for place in range(len(self.books_of_test))]
        names = self.engine.layout.manifest.structures[self.engine.layout.manifest.books[book].structure].params
        cells[book] = [values.get(name, cells[book][slot]) for slot, name in enumerate(names)]
        self.put(params_draft(cells, seq=seq), at)
        self._put_in_force(seq, self.writer.appended)

    def trade_minutes(self, seed: int, first: int, n: int) -> None:
        """Trade both shares for `n` minutes from minute `first` on."""
        paths = [walk(seed + place, n, start=100_000 + 50_000 * place) for place in range(2)]
        for minute in range(n):
            self.tick((first + minute) * 60 + 30, paths[0][minute], quantity=400)
            self.tick((first + minute) * 60 + 31, paths[1][minute], place=1, quantity=400)
            self.timer((first + minute + 1) * 60 + 1)

    def end_day(self) -> None:
        """Let the day's last bars close past its last window."""
        self.timer((self.engine.header["session_close_ns"] - self.open_ns) / SECOND + 2)

    def close(self) -> int:
        """Write everything out; return the last sequence."""
        self.writer.close()
        return self.writer.appended


def record_days(recorder: Recorder, *, days: int = 3, minutes: int = 45) -> None:
    """Record days with parameters put in force, a flow of capital, and a program swapped."""
    for number, day in enumerate(DAYS[:days]):
        if number:
            recorder.open_session(day, books_sha=recorder.carry_books())
        recorder.trade_minutes(10 * number + 1, 0, minutes // 2)
        if number == 1:
            pairs = [(book, each) for book, plan in enumerate(BOOKS) for each in plan.instruments]
            recorder.install(BOOKS, (minutes // 2) * 60 + 5, copies=list(range(len(pairs))))
        recorder.document((minutes // 2) * 60 + 6, number + 1, 0, level=45.0 + number)
        recorder.trade_minutes(10 * number + 5, minutes // 2 + 1, minutes - minutes // 2)
        recorder.end_day()


def dump(path: Path) -> dict[str, list[Any]]:
    """Return every row of a ledger, the fold's memory decoded."""
    store = open_ledger(path)
    try:
        with store.engine.connect() as connection:
            found = {
                table.name: sorted(tuple(row) for row in connection.execute(select(table)))
                for table in (schema.trades, schema.marks, schema.days, schema.meta)
            }
    finally:
        store.close()
    found["meta"] = [(name, json.loads(value)) for name, value in found["meta"]]
    found["meta"] = [(name, json.loads(value) if name == "fold" else value) for name, value in found["meta"]]
    return found


def folded(recorder: Recorder) -> LedgerFold:
    """Fold everything that a recorder of one session put out."""
    fold = LedgerFold()
    fold.begin(recorder.opening())
    for rows in recorder.rows:
        fold.fold(rows)
    return fold
