"""The ledger kept: fold and database together, always at one place in the journal. It has no thread of its own.

`LedgerWriter` runs it in a thread; tests and `rebuild` run it as it is. Whatever stops it, opening it again goes on
from what the database holds, and ends with the same rows and figures as a run without a stop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from atmand.journal.reader import read
from atmand.ledger.catch_up import Event, Names, Params, events, last_sequence
from atmand.ledger.fold import Folded, LedgerFold, Opening
from atmand.ledger.sqlite import open_ledger, set_aside
from atmand.ledger.statistics import Curve, Statistics
from atmand.ledger.store import LedgerDamagedError, Point, Position, SqlStore, TradeFilter
from atmand.ledger.trades import Trade

__all__ = ["LEDGER", "Health", "LedgerKeeper", "Snapshot", "rebuild"]

log = structlog.get_logger()

LEDGER: Final = "ledger.db"
"""Name of the ledger's file in a state directory."""

_NEWEST_TRADES: Final = 200
_POINTS: Final = 512
_SAVE_EVERY: Final = 5_000
"""Rows after which catching up stores what it has."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the ledger is. Trading never waits for it."""

    failed: str = ""
    """Why nothing is stored now; empty when all is well."""
    final: bool = False
    """Whether only a restart helps."""
    waiting: int = 0
    """Audit rows and rows of the ledger that are not stored yet."""
    last_key: tuple[int, int] = (0, 0)
    """(cause, index) of the newest stored audit row."""
    caught_up: bool = False
    """Whether everything recorded before the start is in."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The ledger as it was after a batch: immutable, so that the loop reads it without a lock."""

    sequence: int = 0
    """Of the last journal record that is in it."""
    day: int = 0
    parameter_seq: int = 0
    statistics: dict[str, Statistics] = field(default_factory=dict)
    """By name: `strategy@account` a book, `@account` an account, the empty name everything."""
    trades: tuple[Trade, ...] = ()
    """Closed trades, the newest first; older ones are in the database."""
    equity: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    """Evenly thinned curves, by name as above."""
    health: Health = Health()


class _Thinned:
    """A curve of at most `_POINTS` points over any time: when it is full, every second one goes."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._points = list(points)
        self._stride = 1
        self._skipped = 0
        self._last: Point | None = None

    def add(self, point: Point) -> None:
        if self._last is not None and point.time_ns <= self._last.time_ns:
            return
        self._last = point
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self._points.append(point)
        if len(self._points) >= _POINTS:
            self._points = self._points[1::2]
            self._stride *= 2

    def points(self) -> tuple[Point, ...]:
        last = self._last
        if last is None or (self._points and self._points[-1] is last):
            return tuple(self._points)
        return (*self._points, last)


class LedgerKeeper:
    """Folds events and stores what comes of them. Errors of the database are raised; the fold stays as it is."""

    def __init__(self, path: Path, journal: Path, *, opener: Callable[[Path], SqlStore] = open_ledger) -> None:
        self.path, self.journal = path, journal
        self._opener = opener
        self._store: SqlStore | None = None
        self._reset()

    def _reset(self) -> None:
        self.fold = LedgerFold()
        self.sequence = 0
        """Of the last journal record that was folded."""
        self._stored = (0, 0)
        self._rows = Folded()
        self._first = (0, 0)
        self._newest: deque[Trade] = deque(maxlen=_NEWEST_TRADES)
        self._curves: dict[str, _Thinned] = {}

    @property
    def is_open(self) -> bool:
        return self._store is not None

    @property
    def unsaved(self) -> int:
        """Rows that wait for the database."""
        return len(self._rows) + self.fold.waiting

    @property
    def last_key(self) -> tuple[int, int]:
        """The newest stored audit row's key."""
        return self._stored

    def open(self) -> None:
        """Open the database and take its memory up; a damaged one is set aside, another journal's is emptied.

        LedgerNewerError for a newer schema, StoreBusyError where it cannot be opened now: call again.
        """
        try:
            store = self._opener(self.path)
        except LedgerDamagedError as error:
            self._set_aside(error)
            store = self._opener(self.path)
        try:
            position = store.position()
            if position is not None and not self._take_up(store, position):
                store.clear()
        except BaseException:
            store.close()
            raise
        self._store = store

    def catch_up(self, until: int) -> None:
        """Fold and store what the journal has past `sequence`, up to `until`, which must be written."""
        began, first, rows = time.monotonic(), self.sequence, 0
        for event in events(self.journal, self.sequence, until):
            if self.unsaved >= _SAVE_EVERY and event[0] > self.sequence:  # never within a record
                self.save()
            self.take(event)
            rows += len(event[1]) if not isinstance(event[1], Opening | Names | Params) else 0
        self.sequence = max(self.sequence, until)
        self.save()
        if rows:
            seconds = round(time.monotonic() - began, 2)
            log.info("ledger_caught_up", after=first, sequence=self.sequence, rows=rows, seconds=seconds)

    def take(self, event: Event) -> None:
        """Fold one event; events come in order, each once."""
        sequence, what = event
        if isinstance(what, Names):
            self.fold.name(what.opening)
        elif isinstance(what, Opening):
            self.fold.begin(what)
        elif isinstance(what, Params):
            self.fold.params(what.seq)
        else:
            self.fold.fold(what)
            self._note()
        self.sequence = max(self.sequence, sequence)

    def save(self) -> None:
        """Store what waits, and how far it reaches, in one transaction; on an error it goes on waiting."""
        assert self._store is not None
        self._gather()
        position = Position(self.sequence, self.fold.last_key, self._journal_now(), self.fold.state().decode())
        self._store.write(self._rows, position)
        self._rows, self._stored = Folded(), self.fold.last_key

    def start_over(self, error: LedgerDamagedError) -> None:
        """Set a database that turned out damaged aside; everything is to be caught up from the journal."""
        self.close()
        self._set_aside(error)
        self._reset()

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def snapshot(self, health: Health) -> Snapshot:
        """Return everything that may be asked for, as it stands."""
        return Snapshot(
            sequence=self.sequence,
            day=self.fold.day,
            parameter_seq=self.fold.parameter_seq,
            statistics=self.fold.statistics(),
            trades=tuple(self._newest),
            equity={name: curve.points() for name, curve in self._curves.items()},
            health=health,
        )

    # Inside.

    def _take_up(self, store: SqlStore, position: Position) -> bool:
        """Go on from a stored position; False where it is of another journal or of another version's fold."""
        if self._journal_now() != position.journal or last_sequence(self.journal) < position.sequence:
            log.warning("ledger_of_another_journal", path=str(self.path), sequence=position.sequence)
            return False
        fold = LedgerFold()
        if not fold.restore(position.fold):
            return False
        self._reset()
        self.fold, self.sequence, self._stored = fold, position.sequence, position.last_key
        self._newest.extend(store.trades(TradeFilter(limit=_NEWEST_TRADES)))
        for name, _ in fold.curves():
            strategy, _, account = name.partition("@")
            self._curves[name] = _Thinned(
                store.equity(strategy=strategy or None, account=account or None, points=_POINTS // 2)
            )
        return True

    def _journal_now(self) -> tuple[int, int]:
        """Return sequence and time of the journal's first record: another journal's differ."""
        if self._first == (0, 0):
            first = next(read(self.journal), None)
            self._first = (0, 0) if first is None else (first.sequence, first.time_ns)
        return self._first

    def _gather(self) -> None:
        fresh = self.fold.take_rows()
        self._rows.trades += fresh.trades
        self._rows.marks += fresh.marks
        self._rows.days |= fresh.days

    def _note(self) -> None:
        """Keep what snapshots show of the rows that were just folded."""
        before = len(self._rows.trades)
        self._gather()
        self._newest.extendleft(self._rows.trades[before:])
        for name, curve in self.fold.curves():
            if curve.time_ns:
                self._curves.setdefault(name, _Thinned()).add(_point(curve, past=self.fold.past))

    def _set_aside(self, error: LedgerDamagedError) -> None:
        kept = set_aside(self.path)
        log.error("ledger_damaged", path=str(self.path), kept=str(kept), reason=error.what)


def rebuild(path: Path, journal: Path) -> LedgerKeeper:
    """Build a ledger from its journal as far as that is written; return it closed."""
    keeper = LedgerKeeper(path, journal)
    keeper.open()
    try:
        keeper.catch_up(last_sequence(journal))
    finally:
        keeper.close()
    return keeper


def _point(curve: Curve, *, past: bool) -> Point:
    return Point(curve.time_ns, curve.equity, curve.capital, past)
