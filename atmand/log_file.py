"""A file of log lines that is cut by size: `atmand.jsonl` is the newest, `atmand.jsonl.1` the one before it, and so on.

Only the log's own thread writes it. A disk that refuses costs lines and nothing else; it is said once on standard
error, since there is no better place left.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Final

__all__ = ["LogFile", "older"]

_MODE: Final = 0o600
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class LogFile:
    """An open file of lines; `reopen` and `close` may come from another thread than `write`."""

    def __init__(self, path: Path, *, limit_bytes: int, old_files: int) -> None:
        self.path = path
        self._limit_bytes = limit_bytes
        self._old_files = old_files
        self._fd = -1
        self._bytes = 0
        self._torn = False
        self._said = False
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Append a line, into a new file where the old one is full; one that the disk refuses is lost."""
        data = line.encode("utf-8", "replace")
        with self._lock:
            try:
                self._ready_for(len(data))
                self._append(data)
            except OSError as error:
                self._complain(error)

    def reopen(self) -> None:
        """Take the file's name anew with the next line: what it named may have been moved away."""
        with self._lock:
            self._close()
            self._said = False

    close = reopen

    def _ready_for(self, size: int) -> None:
        if self._fd < 0:
            self._open()
        if self._bytes and self._bytes + size > self._limit_bytes:
            self._close()
            try:
                self._shift()
            finally:
                self._open()

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, _FLAGS, _MODE)
        with contextlib.suppress(OSError):
            os.fchmod(fd, _MODE)  # one that others could read may be there already, and may be another user's
        size = os.fstat(fd).st_size
        self._fd, self._bytes = fd, size
        self._torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"

    def _shift(self) -> None:
        """Rename each file to the next number; the oldest one goes."""
        if not self._old_files:
            self.path.unlink()
            return
        for number in range(self._old_files - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                _numbered(self.path, number).replace(_numbered(self.path, number + 1))
        self.path.replace(_numbered(self.path, 1))

    def _append(self, data: bytes) -> None:
        """Write a whole line, or remember that a part of one stands there: the next line begins on its own."""
        if self._torn:
            data = b"\n" + data
        written = os.write(self._fd, data)
        self._bytes += written
        self._torn = written < len(data)
        if self._torn:
            raise OSError(0, "no space left for a whole line")

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _complain(self, error: OSError) -> None:
        if not self._said:
            self._said = True
            reason = (error.strerror or str(error)).lower()
            print(f"{self.path}: {reason}; lines of the log are lost until it takes them again", file=sys.stderr)


def older(path: Path) -> list[Path]:
    """Return the files that were `path` before, the oldest first."""
    found: list[Path] = []
    while (next_one := _numbered(path, len(found) + 1)).exists():
        found.append(next_one)
    return found[::-1]


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
