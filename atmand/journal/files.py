"""Durable file operations of the journal: whole files that replace others at once, and the lock of a directory.

A file that is not append-only is written beside its place, synced, renamed, and its directory synced, so that after
a crash there is the old one or the new one and never a part.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from atmand.errors import UnsafeError

__all__ = ["DirectoryLock", "remove_leftovers", "replace_file", "replacing", "sync_directory", "temporary"]

_count: Final = itertools.count()


def sync_directory(directory: Path) -> None:
    """Make creations, renames and removals in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def temporary(path: Path) -> Path:
    """Return a name beside `path` that no other writer uses; it carries our pid."""
    return path.with_name(f".{path.name}.{os.getpid()}.{next(_count)}.tmp")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends without an error."""
    draft = temporary(path)
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Write a whole file durably."""
    with replacing(path) as file:
        file.write(data)


def remove_leftovers(directory: Path) -> int:
    """Remove unfinished files of processes that are gone; return how many there were."""
    removed = 0
    for path in directory.glob(".*.tmp"):
        pid = path.name.split(".")[-3]
        if not pid.isdigit() or int(pid) == os.getpid() or not Path("/proc", pid).exists():
            path.unlink(missing_ok=True)
            removed += 1
    return removed


class DirectoryLock:
    """The one writer of a directory: an exclusive lock on its `lock` file, which names the holder's pid.

    The kernel lets go of it when the process dies, however it dies.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock, making the directory where it is missing; UnsafeError where another process has it."""
        directory.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise UnsafeError(
                str(directory), f"in use by process {holder}", "stop that one first, or use another state directory"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the directory."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
