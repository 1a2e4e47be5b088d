"""The ledger's writer: the daemon tells it on the loop what happened, one thread folds, counts and stores.

Telling costs microseconds. What is told waits in memory until the journal has written it, so that the database is never
ahead of the journal; then the thread folds it, stores it and swaps in a new `Snapshot`. A database that is locked,
full or damaged costs trading nothing: rows wait, past a limit they are dropped and read from the journal again.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog
from numpy.typing import NDArray

from atmand.clocks import monotonic_ns
from atmand.errors import AtmandError
from atmand.ledger.catch_up import Event, Params
from atmand.ledger.fold import Opening
from atmand.ledger.keeper import Health, LedgerKeeper, Snapshot
from atmand.ledger.sqlite import open_ledger
from atmand.ledger.store import LedgerDamagedError, SqlStore, StoreBusyError

__all__ = ["LedgerWriter"]

log = structlog.get_logger()

_BATCH_ROWS: Final = 1_000
"""Audit rows folded before the next transaction."""
_UNSAVED_ROWS: Final = 20_000
"""Rows of the ledger that may wait for a refusing database before folding stops."""
_BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class LedgerWriter:
    """One thread that keeps a ledger. `latest` is the newest snapshot: read it in one go, it never changes.

    What is recorded up to `until` is caught up from the journal as soon as `flush` says that it is written; everything
    told has later sequences. `memory_rows` is how many audit rows may wait.
    """

    def __init__(
        self,
        path: Path,
        journal: Path,
        *,
        until: int,
        memory_rows: int = 200_000,
        opener: Callable[[Path], SqlStore] = open_ledger,
    ) -> None:
        self.latest = Snapshot()
        self._path = path
        self._keeper = LedgerKeeper(path, journal, opener=opener)
        self._memory_rows = memory_rows
        self._cond = threading.Condition(threading.Lock())
        self._queue: deque[Event] = deque()
        self._waiting = 0
        self._told = self._floor = self._target = until
        self._behind = True
        self._overflowed, self._dropped = False, 0
        self._written = 0
        self._stopping = False
        self._failed, self._final = "", False
        self._failures, self._retry_ns = 0, 0
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    # The loop's side.

    def begin(self, opening: Opening, sequence: int) -> None:
        """Tell that a session or a program begins; `sequence` is the newest record's."""
        self._tell((sequence, opening), 0)

    def params(self, seq: int, sequence: int) -> None:
        """Tell that a parameter document is in force from a record on."""
        self._tell((sequence, Params(seq)), 0)

    def hear(self, rows: NDArray[Any], sequence: int) -> None:
        """Take the audit rows of one record; `sequence` is that of the last record that holds them."""
        if len(rows):
            self._tell((sequence, rows.copy()), len(rows))

    def flush(self, written: int) -> None:
        """Let everything be stored whose records the journal has written."""
        with self._cond:
            self._written = written
            if self._is_ready():
                self._cond.notify()

    def health(self) -> Health:
        """Say how the ledger is; costs no system call."""
        return replace(self.latest.health, failed=self._failed, final=self._final, waiting=self._rows_waiting())

    def close(self, timeout: float = 5.0) -> bool:
        """Store what is written and stop; False where that did not end in time: the next start catches up."""
        with self._cond:
            self._stopping = True
            self._cond.notify()
        self._thread.join(timeout)
        done = not self._thread.is_alive()
        if not done or self._queue or self._behind or self._keeper.unsaved:
            log.warning("ledger_left_behind", path=str(self._path), rows=self._rows_waiting())
        return done

    async def aclose(self, timeout: float = 5.0) -> bool:
        """Close without blocking the loop."""
        return await asyncio.to_thread(self.close, timeout)

    def _tell(self, event: Event, rows: int) -> None:
        with self._cond:
            sequence = event[0]
            if sequence <= self._floor or self._final:
                return  # the journal told it already, or nobody listens any more
            self._told = sequence
            if self._waiting + rows > self._memory_rows:
                self._overflowed = True
            if self._overflowed:
                self._drop(rows)
                return
            self._queue.append(event)
            self._waiting += rows

    def _drop(self, rows: int) -> None:
        """Give memory up; the thread reads what was in it from the journal when the database takes rows."""
        first = not self._dropped
        self._dropped += rows + self._waiting
        self._queue.clear()
        self._waiting = 0
        if first:
            self._cond.notify()

    def _rows_waiting(self) -> int:
        return 0 if self._final else self._waiting + self._dropped + self._keeper.unsaved

    # The thread's side.

    def _work(self) -> None:
        try:
            while True:
                stopping = self._wait()
                progressed = self._round()
                if self._final or (stopping and not progressed):
                    break
        except Exception as error:  # a defect here must be seen in health; trading goes on
            log.exception("ledger_thread_died")
            self._fail(f"{type(error).__name__}: {error}", final=True)
        finally:
            self._keeper.close()

    def _wait(self) -> bool:
        """Wait until there is something to do, or to try again; return whether to stop."""
        with self._cond:
            if self._failed:
                pause_s = max(0.0, (self._retry_ns - monotonic_ns()) / 1e9)
                self._cond.wait_for(lambda: self._stopping, pause_s)
            else:
                self._cond.wait_for(lambda: self._stopping or self._is_ready())
            return self._stopping

    def _is_ready(self) -> bool:
        if not self._keeper.is_open:
            return True
        if self._behind:
            return self._written >= self._target
        return self._overflowed or (bool(self._queue) and self._queue[0][0] <= self._written)

    def _round(self) -> bool:
        """Open, catch up, fold and store, as far as it goes; return whether anything was done."""
        try:
            progressed = self._open() | self._catch_up() | self._fold()
            self._recover()
        except LedgerDamagedError as error:
            self._target, self._behind = max(self._target, self._keeper.sequence), True
            self._keeper.start_over(error)
            progressed = True
        except StoreBusyError as error:
            self._fail(error.what, final=False)
            progressed = False
        except AtmandError as error:  # a newer schema, a journal that cannot be read
            log.error("ledger_refused", error=str(error))
            self._fail(str(error), final=True)
            progressed = False
        self._publish(progressed)
        return progressed

    def _open(self) -> bool:
        if self._keeper.is_open:
            return False
        self._keeper.open()
        return True

    def _catch_up(self) -> bool:
        """Read from the journal what was not told, or had to be dropped."""
        if not self._behind or self._written < self._target:
            return False
        self._keeper.catch_up(self._target)
        self._behind = False
        return True

    def _fold(self) -> bool:
        """Fold what was told and is written, then store it."""
        if self._behind:
            return False
        batch = self._take() if self._keeper.unsaved < _UNSAVED_ROWS else []
        for event in batch:
            self._keeper.take(event)
        if batch or self._keeper.unsaved:
            self._keeper.save()
        return self._end_overflow() or bool(batch)

    def _take(self) -> list[Event]:
        batch: list[Event] = []
        rows = 0
        with self._cond:
            while self._queue and self._queue[0][0] <= self._written:
                if rows >= _BATCH_ROWS and self._queue[0][0] != batch[-1][0]:
                    break
                batch.append(self._queue.popleft())
                rows += _size(batch[-1])
            self._waiting -= rows
        return batch

    def _end_overflow(self) -> bool:
        """The database takes rows again: what was dropped is read from the journal, up to what was told."""
        with self._cond:
            if not self._overflowed:
                return False
            self._overflowed, dropped, self._dropped = False, self._dropped, 0
            self._target = self._floor = self._told
            self._behind = True
        log.warning("ledger_rows_dropped", rows=dropped, sequence=self._target)
        return True

    def _fail(self, reason: str, *, final: bool) -> None:
        if reason != self._failed and not final:
            log.warning("ledger_refuses", path=str(self._path), reason=reason)
        pause_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        with self._cond:
            self._failed, self._final = reason, final
            self._retry_ns = monotonic_ns() + int(pause_s * 1e9)
            if final:
                self._queue.clear()
                self._waiting = 0
        self._publish(False)

    def _recover(self) -> None:
        if self._failed:
            log.info("ledger_recovered", path=str(self._path), sequence=self._keeper.sequence)
            with self._cond:
                self._failed, self._failures = "", 0

    def _publish(self, progressed: bool) -> None:
        health = Health(self._failed, self._final, self._rows_waiting(), self._keeper.last_key, not self._behind)
        self.latest = self._keeper.snapshot(health) if progressed else replace(self.latest, health=health)


def _size(event: Event) -> int:
    return 0 if isinstance(event[1], Opening | Params) else len(event[1])  # type: ignore[arg-type]
