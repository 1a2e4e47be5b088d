"""The parameter store of one machine: a folder with `current.json`, `history/` and the daemon's answer, `ack.json`.

Every file is replaced whole and synced. Writers take turns by a lock; readers need none.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from atmand.journal.files import replace_file
from atmand.params.document import MAX_BYTES, Document, DocumentError, parse_document, read_document
from atmand.params.store import Ack, ConflictError

__all__ = ["FileStore", "Stamp"]

_NAME: Final = re.compile(r"(\d{20})\.json")
_POLL_S: Final = 1.0
_LOCK_S: Final = 5.0
_LOOK_S: Final = 0.02

Stamp = tuple[int, int, int] | None
"""What tells one content of a file from the next: (mtime_ns, size, inode)."""


class FileStore:
    """A store in a folder, which is made by the first who publishes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "current.json"
        self._history = directory / "history"
        self._ack = directory / "ack.json"

    def stamp(self) -> Stamp:
        """Return what changes whenever the current document's file does; one system call."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def current(self) -> Document | None:
        return read_document(self.path)

    def base(self) -> Document | None:
        """Return what a change begins from: the current document, or the newest copy where that cannot be read."""
        try:
            return self.current()
        except DocumentError:
            return self._newest()

    def propose(self, document: Document, expected_seq: int) -> Document:
        with self._locked():
            now = self.base()
            seq = 0 if now is None else now.seq
            if seq != expected_seq:
                raise ConflictError(
                    str(self.path), f"document {seq} is current, and not {expected_seq}", "look at it and try again"
                )
            return self._publish(document, now)

    def adopt(self, document: Document) -> Document:
        with self._locked():
            now = self.current()
            if now is None or now.sha256 != document.sha256:
                raise ConflictError(str(self.path), "was written again meanwhile", "it will be read again")
            newest = self._newest()
            if newest is not None and newest.sha256 == document.sha256:
                return document
            if document.created and document.seq == _seq(newest) + 1 and document.parent == _sha(newest):
                self._keep(document)  # published, and its writer died before the copy was made
                return document
            return self._publish(document, newest)

    def history(self) -> list[Document]:
        found = []
        for seq in self._numbers():
            with contextlib.suppress(DocumentError):
                document = read_document(self._copy(seq))
                if document is not None:
                    found.append(document)
        return found

    def version(self, seq: int) -> Document:
        """Return one document of the history, 0 being the empty one before all; DocumentError names what is there."""
        if seq == 0:
            return Document()
        document = read_document(self._copy(seq))
        if document is None:
            numbers = self._numbers()
            known = f"{numbers[-1]} to {numbers[0]}" if numbers else "none"
            raise DocumentError(f"document {seq}", "not in the history", f"there are {known}")
        return document

    def activate(self, seq: int, *, author: str) -> Document:
        old = self.version(seq)
        now = self.base()
        again = old.model_copy(update={"author": author, "trial": None, "note": f"roll-back to {seq}"})
        return self.propose(again, _seq(now))

    def acknowledge(self, ack: Ack) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        replace_file(self._ack, orjson.dumps(asdict(ack), option=orjson.OPT_SORT_KEYS))

    def ack(self) -> Ack | None:
        try:
            return Ack(**orjson.loads(self._ack.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    async def watch(self) -> AsyncIterator[Document | DocumentError | None]:
        known = self.stamp()
        while True:
            await asyncio.sleep(_POLL_S)
            stamp = self.stamp()
            if stamp == known:
                continue
            known = stamp
            try:
                yield await asyncio.to_thread(self.current)
            except DocumentError as error:
                yield error

    def _publish(self, document: Document, before: Document | None) -> Document:
        """Number a document and make it current, then keep its copy; the lock is held."""
        if before is not None and before.seq not in self._numbers():
            self._keep(before)  # its writer died before the copy was made
        published = document.model_copy(
            update={
                "seq": max(_seq(before), *self._numbers(), 0) + 1,
                "created": datetime.now(UTC).replace(microsecond=0),
                "parent": _sha(before),
            }
        )
        content = published.canonical()
        if len(content) > MAX_BYTES:
            raise DocumentError(str(self.path), f"{len(content)} bytes", f"at most {MAX_BYTES} are taken")
        parse_document(content, str(self.path))
        replace_file(self.path, content)
        self._keep(published)
        return published

    def _keep(self, document: Document) -> None:
        self._history.mkdir(exist_ok=True)
        replace_file(self._copy(document.seq), document.canonical())

    def _copy(self, seq: int) -> Path:
        return self._history / f"{seq:020d}.json"

    def _numbers(self) -> list[int]:
        """Return the numbers in the history, the newest first."""
        try:
            names = os.listdir(self._history)
        except OSError:
            return []
        return sorted((int(match[1]) for match in map(_NAME.fullmatch, names) if match), reverse=True)

    def _newest(self) -> Document | None:
        numbers = self._numbers()
        return read_document(self._copy(numbers[0])) if numbers else None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one writer in at a time; the kernel frees the lock of one that dies."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DocumentError(
                str(self.directory), error.strerror or "cannot be written", "make it writable, or name another state"
            ) from None
        try:
            self._take(fd)
            yield
        finally:
            os.close(fd)

    def _take(self, fd: int) -> None:
        """Wait for the lock, and not for ever: whoever holds it may be stopped."""
        end = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    what = f"another process has held its lock for {_LOCK_S:.0f} s"
                    raise DocumentError(str(self.directory), what, "end that process, or wait for it") from None
                time.sleep(_LOOK_S)
            else:
                return


def _seq(document: Document | None) -> int:
    return 0 if document is None else document.seq


def _sha(document: Document | None) -> str | None:
    return None if document is None else document.sha256
