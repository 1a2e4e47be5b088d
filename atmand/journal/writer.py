"""The one writer of a journal: the daemon appends on its loop, a thread writes, syncs and rotates.

Appending costs microseconds and no system call. Three watermarks follow each other: appended (has a sequence),
`written` (the operating system has it: a crash of the process loses nothing), `durable` (a crash of the machine
loses nothing either). What depends on a record waits for one of the last two.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from atmand.clocks import monotonic_ns
from atmand.core.records import Kind, Record, version_of
from atmand.journal.bell import Bell
from atmand.journal.files import DirectoryLock
from atmand.journal.opening import Opened, open_directory
from atmand.journal.sealer import Rotation, Sealer
from atmand.journal.segment import MAX_BODY, RECORD_HEADER_BYTES, JournalError, SegmentHeader, encode
from atmand.journal.settings import JournalSettings
from atmand.journal.tail import MOST_RECORDS, Encoded, LostTailError, Tail
from atmand.journal.waiters import Waiter, settle

__all__ = ["Health", "JournalWriter"]

log = structlog.get_logger()

_LINGER_NS: Final = 2_000_000_000
"""For so long after the last record the thread looks by itself whether there are more: while a market is open, a
record then wakes nobody up, and the loop pays for no system call and shares Python's lock no oftener than it must."""
_SHORTEST_S: Final = 0.001
_FRAME: Final = int(Kind.FRAME)


@dataclass(frozen=True, slots=True)
class Health:
    """How the writer is."""

    failed: str
    """Why nothing is written now; empty when all is well."""
    final: bool
    """Whether only a restart helps."""
    appended: int
    written: int
    durable: int
    waiting_bytes: int
    """Appended and not yet written."""


class JournalWriter:
    """A journal opened to append; one for each directory, on one thread (the loop's).

    `opened` says what was found. While the disk refuses (full, or an error of a write), records stay in memory up to
    a limit, `health` says why, waiting for them raises, and writing goes on by itself when the disk takes them again.
    """

    def __init__(self, directory: Path, settings: JournalSettings | None = None, *, repair: bool = False) -> None:
        """Lock and open a directory. Raises UnsafeError where another process has it, DamagedError (see `Opened`)."""
        self.directory = directory
        self._settings = settings or JournalSettings()
        self._flush_bytes, self._limit = self._settings.flush_bytes, self._settings.memory_bytes
        self._frame_limit = self._limit // 2
        self._lock = DirectoryLock(directory)
        self._tail = Tail(directory)
        try:
            opening = open_directory(directory, repair=repair)
            if opening.tail is not None:
                self._tail.resume(*opening.tail)
        except BaseException:
            self._lock.release()
            raise
        self.opened: Opened = opening.opened
        self.written = self.durable = self._appended = self.opened.last_sequence
        self._lock_of_waiters = threading.Lock()
        self._bell = Bell()
        # One end of `_pending` is the loop's, the other the thread's; each of the two sums has one writer: no lock.
        self._pending: deque[Record | Rotation] = deque()
        self._backlog: deque[Encoded | Rotation] = deque()
        self._taken_bytes = self._done_bytes = self._seen_bytes = 0
        self._waiters: list[Waiter] = []
        self._urgent = self._asleep = self._stopping = self._closed = False
        self._busy_ns = monotonic_ns()
        self._pause_s = self._longest_s = self._settings.flush_ms / 1_000
        self._failed, self._final = "", False
        self._tried_ns = monotonic_ns()
        self._sealer = Sealer(opening.unsealed)
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    # The loop's side.

    def append(
        self,
        kind: int,
        time_ns: int,
        body: bytes,
        rows: int = 0,
        *,
        version: int | None = None,
        source: int = 0,
        connection: int = 0,
    ) -> int:
        """Give a record its sequence and put it in line to be written; return the sequence.

        `version` is that of the body's dtypes, the newest where none is given. See `put`.
        """
        version = version_of(Kind(kind)) if version is None else version
        return self.put(int(kind), time_ns, body, rows, version, source, connection).sequence

    def put(
        self, kind: int, time_ns: int, body: bytes, rows: int, version: int, source: int, connection: int
    ) -> Record:
        """Give a record its sequence and put it in line to be written; the body is kept, not copied.

        Raises JournalError where the memory that may wait for a refusing disk is used up; market frames are refused
        from half of it, so that everything else still has room.
        """
        size = RECORD_HEADER_BYTES + len(body)
        waiting = self._taken_bytes - self._done_bytes + size
        if self._closed or size > MAX_BODY or waiting > (self._frame_limit if kind == _FRAME else self._limit):
            raise self._refusal(size)
        sequence = self._appended + 1
        record = Record(kind, sequence, time_ns, body, rows, version, source, connection)
        self._pending.append(record)
        self._taken_bytes += size
        self._appended = sequence
        if self._asleep:
            self._asleep = False
            self._bell.ring()
        elif waiting >= self._flush_bytes and not self._urgent:
            self._hurry()
        return record

    async def synced(self, sequence: int) -> None:
        """Wait until a record is durable; JournalError where the disk refuses (the record may be written later)."""
        if sequence > self.durable:
            await self._wait_for(sequence, durable=True)

    async def written_to(self, sequence: int) -> None:
        """Wait until a record is past the written watermark; JournalError where the disk refuses."""
        if sequence > self.written:
            await self._wait_for(sequence, durable=False)

    def rotate(self) -> Future[None]:
        """End the segment after what has been appended so far: the end of a session.

        The future is done when that segment is compressed, or cancelled where it could not be (see the log)
        or the journal was closed before.
        """
        rotation = Rotation()
        self._pending.append(rotation)
        self._hurry()
        return rotation

    @property
    def appended(self) -> int:
        """The last sequence given out."""
        return self._appended

    def health(self) -> Health:
        """Say how the writer is; costs no system call."""
        return Health(self._failed, self._final, self._appended, self.written, self.durable, self._waiting_bytes)

    @property
    def _waiting_bytes(self) -> int:
        return self._taken_bytes - self._done_bytes

    def free_bytes(self) -> int:
        """Return the space on the journal's disk that this process may use."""
        disk = os.statvfs(self.directory)
        return disk.f_bavail * disk.f_frsize

    def low_on_space(self) -> bool:
        """Whether less is free than the settings want before a new position is opened."""
        return self.free_bytes() < self._settings.min_free_bytes

    def close(self) -> None:
        """Write and sync what waits, stop the threads, unlock; JournalError where records could not be written.

        Blocks for as long as the disk takes; a segment that is being compressed is finished, others wait for the
        next opening.
        """
        if self._closed:
            return
        self._closed = self._stopping = True
        self._sealer.stop()
        self._hurry()
        self._thread.join()
        self._sealer.close()
        for entry in (*self._backlog, *self._pending):
            if isinstance(entry, Future):
                entry.cancel()
        self._tail.close()
        self._lock.release()
        if self.durable < self._appended:
            lost = self._appended - self.durable
            raise JournalError(str(self.directory), f"{lost} records are not durable: {self._failed}")

    async def aclose(self) -> None:
        """Close without blocking the loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self.close()

    def _refusal(self, size: int) -> JournalError:
        if self._closed:
            return JournalError(str(self.directory), "the journal is closed")
        if size > MAX_BODY:
            return JournalError(str(self.directory), f"a record of {size} bytes, at most {MAX_BODY} are allowed")
        why = self._failed or "the disk is too slow"
        return JournalError(str(self.directory), f"{self._waiting_bytes} bytes wait to be written: {why}")

    async def _wait_for(self, sequence: int, *, durable: bool) -> None:
        if sequence > self._appended:
            raise ValueError(f"record {sequence} was not appended yet, the last one is {self._appended}")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock_of_waiters:
            if self._failed or self._closed:
                raise JournalError(str(self.directory), self._failed or "the journal is closed")
            waiter = Waiter(sequence, durable, future)
            if sequence <= self._reached(waiter):  # while we took the lock
                return
            self._waiters.append(waiter)
        if durable:
            self._hurry()
        await future

    def _hurry(self) -> None:
        self._urgent = True
        self._bell.ring()

    # The thread's side.

    def _work(self) -> None:
        try:
            while not self._round():
                pass
        except Exception as error:  # a defect here must reach those who wait, and health
            log.exception("journal_thread_died")
            self._fail(f"{type(error).__name__}: {error}", final=True)
            self._announce()

    def _round(self) -> bool:
        """Write what waits, sync if it is wanted or due; return whether that was the last time."""
        stopping, sync_to = self._take()
        if not self._final:
            try:
                self._drain()
                if self._sync_is_due(stopping, sync_to):
                    self._sync()
                self._recover()
            except LostTailError as error:
                self._fail(str(error.strerror), final=True)
            except OSError as error:
                self._tried_ns = monotonic_ns()
                self._fail(f"write: {error.strerror}", final=False)
        self._announce()
        return stopping

    def _take(self) -> tuple[bool, int]:
        """Wait for work, and a little for more of it; return whether to stop, and the sequence to sync to."""
        while not self._urgent:
            self._bell.wait(lambda: self._urgent, self._pause_s)
            if self._pending or self._is_due():
                break
            self._pause_s = self._longest_s
            if not self._urgent and (self._failed or monotonic_ns() - self._busy_ns > _LINGER_NS):
                self._sleep()
        self._urgent = False  # before looking: what is wanted from here on is for the next round
        stopping = self._stopping
        with self._lock_of_waiters:
            sync_to = max((waiter.sequence for waiter in self._waiters if waiter.durable), default=0)
        self._set_pace()
        for _ in range(len(self._pending)):
            entry = self._pending.popleft()
            self._backlog.append(entry if isinstance(entry, Future) else (entry, encode(entry)))
        return stopping, sync_to

    def _set_pace(self) -> None:
        """Come back before the buffer is full at the rate of late, so that the loop does not have to ring."""
        now_ns, taken = monotonic_ns(), self._taken_bytes
        if self._pending:
            rate = (taken - self._seen_bytes) / max(now_ns - self._busy_ns, 1) * 1e9
            self._pause_s = min(self._longest_s, max(_SHORTEST_S, self._flush_bytes / 2 / max(rate, 1.0)))
            self._busy_ns, self._seen_bytes = now_ns, taken

    def _is_due(self) -> bool:
        """Whether what is written wants to be synced, or what the disk refused wants to be tried again."""
        left = self._backlog or self.written > self.durable
        return bool(left) and not self._final and monotonic_ns() - self._tried_ns >= self._settings.sync_ms * 1_000_000

    def _sleep(self) -> None:
        """Wait for the next record, however long it takes, or until something that is left is due."""
        left = self._backlog or self.written > self.durable
        self._asleep = True  # before looking: what is appended from here on rings
        self._bell.wait(lambda: self._pending or self._urgent, self._settings.sync_ms / 1_000 if left else None)
        self._asleep = False

    def _drain(self) -> None:
        while self._backlog:
            entry = self._backlog[0]
            if isinstance(entry, Future):
                self._roll(entry)
                self._backlog.popleft()
                continue
            chunk = self._chunk()
            if not self._tail.is_open:
                first = chunk[0][0]
                self._tail.create(SegmentHeader(first.sequence, first.time_ns))
            whole, error = self._tail.put(chunk)
            self._wrote(chunk[:whole])
            if error is not None:
                raise error
            if self._tail.offset >= self._settings.segment_bytes:
                self._roll()

    def _chunk(self) -> list[Encoded]:
        """The next records for one `writev`, at most to where the segment is full."""
        chunk: list[Encoded] = []
        offset = self._tail.offset
        for encoded in islice(self._backlog, MOST_RECORDS):
            if isinstance(encoded, Future) or (chunk and offset >= self._settings.segment_bytes):
                break
            chunk.append(encoded)
            offset += RECORD_HEADER_BYTES + len(encoded[0].body)
        return chunk

    def _wrote(self, records: list[Encoded]) -> None:
        if not records:
            return
        for _ in records:
            self._backlog.popleft()
        self.written = records[-1][0].sequence
        self._done_bytes += sum(RECORD_HEADER_BYTES + len(record.body) for record, _ in records)

    def _roll(self, rotation: Rotation | None = None) -> None:
        file = self._tail.finish()
        self.durable = self.written
        self._sealer.take(file, rotation)

    def _sync_is_due(self, stopping: bool, sync_to: int) -> bool:
        if self.durable == self.written:
            return False
        elapsed = monotonic_ns() - self._tried_ns
        return stopping or sync_to > self.durable or elapsed >= self._settings.sync_ms * 1_000_000

    def _sync(self) -> None:
        self._tried_ns = monotonic_ns()
        self._tail.sync()
        self.durable = self.written

    def _fail(self, reason: str, *, final: bool) -> None:
        if reason != self._failed:
            log.error("journal_failed", path=str(self.directory), reason=reason, final=final, written=self.written)
        with self._lock_of_waiters:
            self._failed, self._final = reason, final

    def _recover(self) -> None:
        if self._failed:
            log.info("journal_recovered", path=str(self.directory), written=self.written)
            with self._lock_of_waiters:
                self._failed = ""

    def _announce(self) -> None:
        """Wake those whose record got where they wanted it; while the disk refuses, all the others with an error."""
        with self._lock_of_waiters:
            if not self._waiters:
                return
            done = [waiter for waiter in self._waiters if waiter.sequence <= self._reached(waiter)]
            left = [waiter for waiter in self._waiters if waiter.sequence > self._reached(waiter)]
            failed, self._waiters = (left, []) if self._failed else ([], left)
        for waiter in done:
            settle(waiter.future, None)
        for waiter in failed:
            settle(waiter.future, JournalError(str(self.directory), self._failed))

    def _reached(self, waiter: Waiter) -> int:
        return self.durable if waiter.durable else self.written
