"""Sealed segments: closed ones compressed, thinned by retention, or saved out of damage.

Each is a whole new file that takes its place by a rename; its summary follows, and a crash in between costs a recount.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import structlog
import zstandard

from atmand.core.records import Record
from atmand.errors import DamagedError
from atmand.journal.catalog import SegmentFile, Summary, load_summary, save_summary
from atmand.journal.files import replacing, sync_directory
from atmand.journal.segment import (
    FILE_HEADER_BYTES,
    Ending,
    Scan,
    SegmentFlag,
    SegmentHeader,
    decode_file_header,
    encode_file_header,
    next_whole,
)
from atmand.journal.stream import SegmentStream, damage, read_bytes

__all__ = ["Saved", "salvage", "seal", "thin"]

log = structlog.get_logger()

LEVEL: Final = 3
"""zstd level: 170 to 200 MB/s of market frames; higher ones gain little."""

_Piece = tuple[Record, bytes]


def seal(file: SegmentFile) -> Summary:
    """Compress a closed raw segment and remove the raw file; return what is in it.

    Raises DamagedError (and leaves the raw file alone) where it does not end with a whole record, OSError where there
    is no space.
    """
    with SegmentStream(file) as stream:
        records = ((record, stream.raw()) for record in stream)
        summary = _count(file, _checked(stream, records))
    with SegmentStream(file) as stream:
        header = replace(stream.header, last_sequence=summary.last_sequence)
        _write(file, header, (stream.raw() for _ in stream))
    return _finish(file, header, summary)


def thin(file: SegmentFile, keep: Callable[[Record], bool]) -> Summary:
    """Rewrite a sealed segment with only the records that `keep` wants; its sequence range stays as it was.

    Raises DamagedError (and changes nothing) where the segment cannot be read to its end.
    """
    with SegmentStream(file) as stream:
        header = replace(stream.header, flags=stream.header.flags | SegmentFlag.THINNED)
        summary = Summary.empty(file.first_sequence)
        records = ((record, stream.raw()) for record in stream)
        kept = (piece for piece in _checked(stream, records) if keep(piece[0]))
        _write(file, header, _counted(kept, summary))
    return _finish(file, header, summary)


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved out of a damaged segment."""

    path: Path
    kept: Path
    """The damaged file."""
    records: int
    missing: int
    """Records that could not be saved; of a segment whose frames were taken out before, at most so many."""
    lost: tuple[tuple[int, int], ...]
    """Their first and last sequences, run by run; none where frames that were taken out before look the same."""


def salvage(file: SegmentFile, last_sequence: int | None = None) -> Saved:
    """Save the whole records out of a damaged segment; return what was saved and what is missing.

    The damaged file is kept beside it with the ending `.damaged`. `last_sequence` is where the segment must have
    ended, if that is known from the next one.
    """
    data = read_bytes(file)
    header = _header_of(file, data)
    stored = load_summary(file)
    bound = header.last_sequence if stored is None else stored.last_sequence
    bound = bound if last_sequence is None else last_sequence
    pieces = list(_whole_records(data, header, bound if bound >= 0 else None))
    summary = _count(file, pieces)
    last = max(bound, summary.last_sequence)
    header = replace(header, flags=header.flags | SegmentFlag.REPAIRED, last_sequence=last)
    thinned = bool(header.flags & SegmentFlag.THINNED)
    whole = stored.records if thinned and stored is not None else last - header.first_sequence + 1
    missing = max(0, whole - summary.records)
    edges = [header.first_sequence - 1, *(record.sequence for record, _ in pieces), last + 1]
    lost = () if thinned else tuple((a + 1, b - 1) for a, b in pairwise(edges) if b - a > 1)
    kept = file.path.with_name(file.path.name + ".damaged")
    kept.unlink(missing_ok=True)
    kept.hardlink_to(file.path)
    _write(file, header, (raw for _, raw in pieces))
    log.warning("journal_repaired", path=str(file.path), kept=str(kept), records=summary.records, missing=missing)
    _finish(file, header, summary)
    return Saved(file.sealed_path, kept, summary.records, missing, lost)


def _checked(stream: SegmentStream, pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    """Pass the pieces on; DamagedError at their end if that is not the segment's."""
    yield from pieces
    if stream.ending is not Ending.CLEAN:
        raise damage(stream.path, stream.position, stream.reason or "it ends within a record")


def _counted(pieces: Iterable[_Piece], summary: Summary) -> Iterator[bytes]:
    for record, raw in pieces:
        summary.add(record)
        yield raw


def _count(file: SegmentFile, pieces: Iterable[_Piece]) -> Summary:
    summary = Summary.empty(file.first_sequence)
    for _ in _counted(pieces, summary):
        pass
    return summary


def _write(file: SegmentFile, header: SegmentHeader, raws: Iterable[bytes]) -> None:
    packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    with replacing(file.sealed_path) as out, packer.stream_writer(out, closefd=False) as packed:
        packed.write(encode_file_header(header))
        for raw in raws:
            packed.write(raw)


def _finish(file: SegmentFile, header: SegmentHeader, summary: Summary) -> Summary:
    summary.last_sequence, summary.flags = header.last_sequence, int(header.flags)
    save_summary(file, summary)
    raw = file.sealed_path.with_suffix("")
    if raw.exists():
        raw.unlink()
        sync_directory(raw.parent)
    return summary


def _header_of(file: SegmentFile, data: bytes) -> SegmentHeader:
    """The file's header, or where that is damaged one made from the file's name."""
    try:
        header = decode_file_header(data, str(file.path))
    except DamagedError:
        return SegmentHeader(file.first_sequence, 0)
    return header if header.first_sequence == file.first_sequence else SegmentHeader(file.first_sequence, 0)


def _whole_records(data: bytes, header: SegmentHeader, up_to: int | None) -> Iterator[_Piece]:
    position: int | None = min(FILE_HEADER_BYTES, len(data))
    due = header.first_sequence
    while position is not None:
        scan = Scan(data[position:], due, holed=True)
        for record in scan:
            yield record, scan.buffer[scan.start : scan.position]
        due = scan.next_sequence
        position = next_whole(data, position + scan.position, after=due - 1, up_to=up_to)
