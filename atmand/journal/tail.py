"""The segment file that is being written. Only the writer's thread touches it.

A write either ends with a whole record or is cut back to one, so that a full disk never leaves half a record.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from atmand.core.records import Record
from atmand.journal.catalog import SegmentFile, segment_path
from atmand.journal.files import sync_directory, temporary
from atmand.journal.segment import FILE_HEADER_BYTES, RECORD_HEADER_BYTES, SegmentHeader, encode_file_header

__all__ = ["MOST_RECORDS", "Encoded", "LostTailError", "Tail"]

Encoded = tuple[Record, bytes]
"""A record and its header's bytes."""

MOST_RECORDS: Final = os.sysconf("SC_IOV_MAX") // 2
"""Records that one `writev` takes: two buffers each."""


class LostTailError(OSError):
    """What the file holds is no longer known: trying again proves nothing, only opening it anew does.

    After a failed sync the kernel may have dropped the data and call the next sync a success (Rebello et al., "Can
    Applications Recover from fsync Failures?", USENIX ATC 2020).
    """


class Tail:
    """An open segment: append-only, with the offset of its last whole record."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1
        self._file: SegmentFile | None = None
        self.offset = 0

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def resume(self, file: SegmentFile, offset: int) -> None:
        """Go on after the last whole record of an existing segment, which is made durable first."""
        self._fd = os.open(file.path, os.O_WRONLY | os.O_APPEND)
        self._file, self.offset = file, offset
        self.sync()

    def create(self, header: SegmentHeader) -> None:
        """Start a segment; the file appears under its name with its header whole and durable."""
        path = segment_path(self._directory, header.first_sequence)
        draft = temporary(path)
        fd = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            data = encode_file_header(header)
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
            draft.rename(path)
            sync_directory(self._directory)
        except BaseException:
            os.close(fd)
            draft.unlink(missing_ok=True)
            raise
        self._fd, self.offset = fd, FILE_HEADER_BYTES
        self._file = SegmentFile(header.first_sequence, path, compressed=False)

    def put(self, records: Sequence[Encoded]) -> tuple[int, OSError | None]:
        """Write records (at most `MOST_RECORDS`); return how many are whole in the file, and the error if not all.

        Raises LostTailError where a half record could not be cut off.
        """
        buffers = [buffer for record, header in records for buffer in (header, record.body) if buffer]
        try:
            self._write_all(buffers)
        except OSError as error:
            try:
                return self._cut_back(records), error
            except OSError as second:
                raise LostTailError(second.errno, f"cut: {second.strerror}") from error
        self.offset += sum(map(len, buffers))
        return len(records), None

    def sync(self) -> None:
        """Make all that is written durable; LostTailError where the disk could not."""
        if not self.is_open:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise LostTailError(error.errno, f"sync: {error.strerror}") from error

    def finish(self) -> SegmentFile | None:
        """Sync and close the segment; return it, or None where none was open."""
        self.sync()
        file = self._file
        self.close()
        return file

    def close(self) -> None:
        """Close the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._file, self.offset = -1, None, 0

    def _write_all(self, buffers: list[bytes]) -> None:
        left: list[bytes | memoryview] = list(buffers)
        while left:
            written = os.writev(self._fd, left)
            if written == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            done = 0
            while done < len(left) and written >= len(left[done]):
                written -= len(left[done])
                done += 1
            del left[:done]
            if written:
                left[0] = memoryview(left[0])[written:]

    def _cut_back(self, records: Sequence[Encoded]) -> int:
        """Cut the file at the last whole record; return how many of the records are in it."""
        size, whole = os.fstat(self._fd).st_size, 0
        for record, _ in records:
            stop = self.offset + RECORD_HEADER_BYTES + len(record.body)
            if stop > size:
                break
            self.offset = stop
            whole += 1
        if size != self.offset:
            os.ftruncate(self._fd, self.offset)
        return whole
