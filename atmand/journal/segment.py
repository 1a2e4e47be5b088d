"""The bytes of a journal segment: a file header, then records, each with its checksum.

Pure: the writer encodes with it, every reader scans with it, and both are tested with bytes alone. All integers are
little-endian. A file's magic, format number and checksum keep their places in every format, so that an older program
can say that a file is newer than itself; of a kind that it does not know, it still reads the record.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Final

import numpy as np
from xxhash import xxh3_64, xxh3_64_intdigest

from atmand.core.records import HEADER, Record
from atmand.errors import AtmandError, DamagedError

__all__ = [
    "FILE_HEADER_BYTES",
    "FORMAT",
    "MAX_BODY",
    "RECORD_HEADER_BYTES",
    "Ending",
    "JournalError",
    "Scan",
    "SegmentFlag",
    "SegmentHeader",
    "decode_file_header",
    "encode",
    "encode_file_header",
    "next_whole",
]

MAGIC: Final = b"ATMANDJ\n"
FORMAT: Final = 1

MAX_BODY: Final = 1 << 28
"""Most bytes of a record's body: a header that claims more is damage, not a reason to read on."""

_FILE: Final = struct.Struct("<8sHHIqqq")
_SUM: Final = struct.Struct("<Q")
_REST: Final = struct.Struct("<qqIHHHHIQ")
_RECORD: Final = struct.Struct("<QqqIHHHHIQ")

FILE_HEADER_BYTES: Final = _FILE.size + _SUM.size
RECORD_HEADER_BYTES: Final = _RECORD.size
assert HEADER.itemsize == RECORD_HEADER_BYTES == _REST.size + _SUM.size


class JournalError(AtmandError):
    """The journal refused: a newer format, no space left, or a writer that failed."""


class SegmentFlag(IntFlag):
    """Bits of a segment's `flags`: why sequences may be missing in it."""

    THINNED = 1
    """Retention took the market frames out."""
    REPAIRED = 2
    """It was damaged, and the whole records were saved out of it."""


_NO_FLAGS: Final = SegmentFlag(0)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The head of a segment file."""

    first_sequence: int
    created_ns: int
    """Time of its first record, ns UTC."""
    last_sequence: int = -1
    """The last sequence that belongs to it, recorded or taken out; -1 while the segment is being written."""
    flags: SegmentFlag = _NO_FLAGS

    @property
    def holed(self) -> bool:
        """Whether sequences may be missing."""
        return bool(self.flags)


def encode_file_header(header: SegmentHeader) -> bytes:
    """Return the first `FILE_HEADER_BYTES` of a segment file."""
    fields = _FILE.pack(MAGIC, FORMAT, header.flags, 0, header.first_sequence, header.last_sequence, header.created_ns)
    return fields + _SUM.pack(xxh3_64_intdigest(fields))


def decode_file_header(buffer: bytes, where: str) -> SegmentHeader:
    """Read a segment's head; DamagedError where it is not one, JournalError where a newer program wrote it."""
    if len(buffer) < FILE_HEADER_BYTES:
        raise DamagedError(where, f"{len(buffer)} bytes, shorter than a segment's header")
    magic, file_format, flags, _, first, last, created = _FILE.unpack_from(buffer)
    if magic != MAGIC:
        raise DamagedError(f"{where}: offset 0", "not a segment of a journal")
    if _SUM.unpack_from(buffer, _FILE.size)[0] != xxh3_64_intdigest(buffer[: _FILE.size]):
        raise DamagedError(f"{where}: offset 0", "the segment's header has a wrong checksum")
    if file_format > FORMAT:
        raise JournalError(
            where, f"format {file_format}, this program reads up to {FORMAT}", "read it with the version that wrote it"
        )
    return SegmentHeader(first, created, last, SegmentFlag(flags))


def encode(record: Record) -> bytes:
    """Return a record's header of 48 bytes; the body follows it as it is (and is not copied here)."""
    kind, sequence, time_ns, body, rows, version, source, connection = record
    rest = _REST.pack(sequence, time_ns, len(body), kind, version, source, connection, rows, 0)
    digest = xxh3_64(rest)
    digest.update(body)
    return _SUM.pack(digest.intdigest()) + rest


class Ending(Enum):
    """How a scan ended."""

    CLEAN = "clean"
    """The last byte belongs to a whole record."""
    TORN = "torn"
    """The buffer ends within a record."""
    DAMAGED = "damaged"
    """A record of full length is not what was written, or is not the one that was due."""


class Scan:
    """The whole records of a buffer, in order; once exhausted it says where and how they ended.

    `next_sequence` is the sequence that is due first. With `holed`, sequences only have to increase. Records of kinds
    that are not in `kinds` are checked like the others, and neither copied nor yielded.
    """

    def __init__(
        self, buffer: bytes, next_sequence: int, *, holed: bool = False, kinds: Container[int] | None = None
    ) -> None:
        self.buffer = buffer
        self.next_sequence = next_sequence
        self.start = 0
        """Offset of the record yielded last."""
        self.position = 0
        """Offset past the last whole record."""
        self.ending = Ending.CLEAN
        self.reason = ""
        self.missing = 0
        """When torn: how many bytes are known to be missing."""
        self._holed = holed
        self._kinds = kinds

    def __iter__(self) -> Iterator[Record]:
        buffer, kinds, holed = self.buffer, self._kinds, self._holed
        view, size = memoryview(buffer), len(buffer)
        while True:
            position = self.position
            body = position + RECORD_HEADER_BYTES
            if body > size:
                self._end(Ending.TORN if position < size else Ending.CLEAN, missing=body - size)
                return
            checksum, sequence, time_ns, length, kind, version, source, connection, rows, _ = _RECORD.unpack_from(
                buffer, position
            )
            stop = body + length
            if length > MAX_BODY:
                self._end(Ending.DAMAGED, f"a record of {length} bytes")
                return
            if stop > size:
                self._end(Ending.TORN, missing=stop - size)
                return
            if xxh3_64_intdigest(view[position + 8 : stop]) != checksum:
                self._end(Ending.DAMAGED, "a record's checksum is wrong")
                return
            due = self.next_sequence
            if sequence != due and (sequence < due or not holed):
                self._end(Ending.DAMAGED, f"record {sequence} where {due} was due")
                return
            self.start, self.position, self.next_sequence = position, stop, sequence + 1
            if kinds is None or kind in kinds:
                yield Record(kind, sequence, time_ns, buffer[body:stop], rows, version, source, connection)

    def _end(self, ending: Ending, reason: str = "", *, missing: int = 0) -> None:
        self.ending, self.reason, self.missing = ending, reason, missing


def next_whole(buffer: bytes, position: int, *, after: int, up_to: int | None = None) -> int | None:
    """Return the offset of the first whole record at or past `position` whose sequence is in `after + 1 .. up_to`.

    It tells damage within a file from a torn tail: past a tail that a crash tore there is no whole record. Without
    `up_to`, the sequences that could fit in the buffer are looked for.
    """
    size = len(buffer)
    if up_to is None:
        up_to = after + 1 + (size - position) // RECORD_HEADER_BYTES
    for offset in _candidates(buffer, position, after, up_to):
        checksum, _, _, length, _, _, _, _, _, _ = _RECORD.unpack_from(buffer, offset)
        stop = offset + RECORD_HEADER_BYTES + length
        if stop <= size and xxh3_64_intdigest(memoryview(buffer)[offset + 8 : stop]) == checksum:
            return offset
    return None


def _candidates(buffer: bytes, position: int, after: int, up_to: int) -> list[int]:
    """Offsets, in order, where a header would carry a sequence in range (bodies have any length: no alignment)."""
    found: list[int] = []
    for shift in range(8):
        start = position + shift + 8  # of the sequence within a header
        count = (len(buffer) - start) // 8
        if count <= 0:
            continue
        values = np.frombuffer(buffer, "<i8", count, start)
        hits = np.flatnonzero((values > after) & (values <= up_to))
        found.extend(int(hit) * 8 + position + shift for hit in hits)
    last = len(buffer) - RECORD_HEADER_BYTES
    return sorted(offset for offset in found if offset <= last)
