"""The records of one segment file, raw or compressed, in bounded memory; readers, retention and repair use it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

import zstandard

from atmand.core.records import Record
from atmand.errors import AtmandError, DamagedError
from atmand.journal.catalog import SegmentFile, Summary, load_summary
from atmand.journal.segment import (
    FILE_HEADER_BYTES,
    Ending,
    Scan,
    SegmentHeader,
    decode_file_header,
)

__all__ = ["SegmentStream", "damage", "is_bare", "read_bytes", "summarise"]

CHUNK: Final = 512 * 1024
COMPRESSED_CHUNK: Final = 128 * 1024


class SegmentStream:
    """An iterator over a segment's records; afterwards `ending`, `position` and `next_sequence` say how it ended.

    A segment that was sealed between the listing and the opening is opened in its new form. Raises DamagedError on a
    damaged file header; damage further on ends the iteration, and `ending` says so.
    """

    def __init__(self, file: SegmentFile, kinds: Container[int] | None = None) -> None:
        self._source = _Source(file)
        self.path = self._source.path
        self._kinds = kinds
        self._base = FILE_HEADER_BYTES
        self.ending = Ending.CLEAN
        self.reason = ""
        try:
            first = self._source.read(CHUNK)
            if self._source.broken and len(first) < FILE_HEADER_BYTES:
                raise damage(self.path, 0, self._source.broken)
            self.header: SegmentHeader = decode_file_header(first, str(self.path))
            if self.header.first_sequence != file.first_sequence:
                raise DamagedError(str(self.path), f"starts at {self.header.first_sequence}, unlike its name")
        except AtmandError:
            self.close()
            raise
        self._rest = first[FILE_HEADER_BYTES:]
        self._scan = self._scan_of(b"", self.header.first_sequence)

    @property
    def position(self) -> int:
        """Offset in the uncompressed segment past the last whole record."""
        return self._base + self._scan.position

    @property
    def next_sequence(self) -> int:
        """The sequence due after the last record read."""
        return self._scan.next_sequence

    @property
    def compressed(self) -> bool:
        return self._source.compressed

    def raw(self) -> bytes:
        """Return header and body of the record yielded last, as they are on disk."""
        return self._scan.buffer[self._scan.start : self._scan.position]

    def __iter__(self) -> Iterator[Record]:
        rest, self._rest = self._rest, b""
        while True:
            more = self._source.read(max(CHUNK, self._scan.missing))
            self._base += self._scan.position
            self._scan = scan = self._scan_of(rest + more if rest else more, self._scan.next_sequence)
            yield from scan
            if scan.ending is Ending.DAMAGED or not more:
                break
            rest = scan.buffer[scan.position :]
        self.ending, self.reason = scan.ending, scan.reason
        if self._source.broken:
            self.ending, self.reason = Ending.DAMAGED, self._source.broken

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scan_of(self, buffer: bytes, next_sequence: int) -> Scan:
        return Scan(buffer, next_sequence, holed=self.header.holed, kinds=self._kinds)


class _Source:
    """The uncompressed bytes of a segment file; `broken` says why they ended before their end."""

    def __init__(self, file: SegmentFile) -> None:
        self.path, self.compressed = file.path, file.compressed
        self.broken = ""
        self._file = self._open(file)
        self._plain = zstandard.ZstdDecompressor().decompressobj() if self.compressed else None

    def _open(self, file: SegmentFile) -> BinaryIO:
        try:
            return file.path.open("rb", buffering=0)
        except FileNotFoundError:
            self.path, self.compressed = file.sealed_path, True
            return file.sealed_path.open("rb", buffering=0)

    def read(self, size: int) -> bytes:
        """Return the next bytes, about `size` of them (compressed ones come in whole blocks); none at the end."""
        if self._plain is None:
            return self._file.read(size)
        parts, got = [], 0
        while got < size and (part := self._decompressed()) is not None:
            parts.append(part)
            got += len(part)
        return b"".join(parts)

    def _decompressed(self) -> bytes | None:
        assert self._plain is not None
        if self._plain.eof and self._plain.unused_data:
            self.broken = "bytes follow the end of the compressed file"
        if self.broken or self._plain.eof:
            return None
        packed = self._file.read(COMPRESSED_CHUNK)
        if not packed:
            self.broken = "the compressed file ends too early"
            return None
        try:
            return self._plain.decompress(packed)
        except zstandard.ZstdError as error:
            self.broken = f"the compressed file is damaged ({error})"
            return None

    def close(self) -> None:
        self._file.close()


def read_bytes(file: SegmentFile) -> bytes:
    """Return all uncompressed bytes of a segment that can be had, its header among them."""
    source = _Source(file)
    try:
        parts = []
        while part := source.read(CHUNK):
            parts.append(part)
        return b"".join(parts)
    finally:
        source.close()


def damage(path: Path, position: int, reason: str) -> DamagedError:
    """Return the error for a segment that cannot be read past an offset (of its uncompressed bytes)."""
    return DamagedError(
        f"{path}: offset {position}",
        reason,
        "restore the file from a backup, or keep what is whole with `atmand journal repair --state DIR`",
    )


def is_bare(file: SegmentFile) -> bool:
    """Whether a raw segment ends within its header: a crash cut it, there is nothing in it."""
    try:
        return not file.compressed and file.path.stat().st_size < FILE_HEADER_BYTES
    except FileNotFoundError:  # sealed since the listing
        return False


def summarise(file: SegmentFile) -> Summary:
    """Return the stored summary of a segment, or count its records; a torn tail of a raw one is not counted.

    Raises DamagedError where a sealed segment is damaged.
    """
    stored = load_summary(file)
    if stored is not None:
        return stored
    if is_bare(file):
        return Summary.empty(file.first_sequence)
    with SegmentStream(file) as stream:
        summary = Summary.empty(file.first_sequence)
        for record in stream:
            summary.add(record)
        if stream.compressed and stream.ending is not Ending.CLEAN:
            raise damage(stream.path, stream.position, stream.reason or "it ends within a record")
        summary.flags = int(stream.header.flags)
        if stream.header.last_sequence >= 0:
            summary.last_sequence = stream.header.last_sequence
        return summary
