"""Reading a journal, also while it is written: records in order over all segments, and the sessions in it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from atmand.core.records import Record
from atmand.journal.catalog import SegmentFile, Span, list_segments
from atmand.journal.segment import Ending, next_whole
from atmand.journal.stream import SegmentStream, damage, is_bare, read_bytes, summarise

__all__ = ["Session", "check_end", "check_start", "read", "sessions"]


@dataclass(frozen=True, slots=True)
class Session:
    """The records from one day's first SESSION record to the next day's."""

    day: int | None
    """yyyymmdd, India; None for records before the first SESSION that is kept."""
    first_sequence: int
    last_sequence: int
    first_ns: int
    last_ns: int
    records: int
    """Those that are kept: without the frames that retention took out."""
    bytes: int
    """Of these records, uncompressed."""
    segments: int
    """Files that hold some of them."""


def read(
    directory: Path,
    first_sequence: int = 0,
    last_sequence: int | None = None,
    kinds: Container[int] | None = None,
) -> Iterator[Record]:
    """Yield the records of a range of sequences (both ends included), in order, as far as they are written.

    A pruned beginning and frames taken out by retention are no error. Raises DamagedError, naming file and offset (of
    the uncompressed bytes), at a wrong checksum or a missing sequence; the torn end of the newest segment ends the
    reading. Holds about one chunk of a segment in memory.
    """
    files = list_segments(directory)
    due: int | None = None
    for index, file in enumerate(files):
        is_last = index + 1 == len(files)
        if not is_last and files[index + 1].first_sequence <= first_sequence:
            continue
        if last_sequence is not None and file.first_sequence > last_sequence:
            return
        check_start(file, due)
        if is_last and is_bare(file):
            return
        with SegmentStream(file, kinds) as stream:
            for record in stream:
                if last_sequence is not None and record.sequence > last_sequence:
                    return
                if record.sequence >= first_sequence:
                    yield record
            due = check_end(stream, file, is_last=is_last)


def sessions(directory: Path) -> list[Session]:
    """List the days in a journal, oldest first; of closed segments only the summaries are read."""
    found: list[Session] = []
    for file in list_segments(directory):
        for span in summarise(file).spans:
            if found and (span.date is None or span.date == found[-1].day):
                found[-1] = _joined(found[-1], span)
            else:
                found.append(
                    Session(
                        span.date,
                        span.first_sequence,
                        span.last_sequence,
                        span.first_ns,
                        span.last_ns,
                        span.records,
                        span.bytes,
                        1,
                    )
                )
    return found


def _joined(session: Session, span: Span) -> Session:
    return replace(
        session,
        last_sequence=span.last_sequence,
        last_ns=span.last_ns,
        records=session.records + span.records,
        bytes=session.bytes + span.bytes,
        segments=session.segments + 1,
    )


def check_start(file: SegmentFile, due: int | None) -> None:
    """Raise DamagedError where a segment does not start with the sequence that is due after the one before it."""
    if due is not None and file.first_sequence != due:
        raise damage(file.path, 0, f"the journal goes on with {file.first_sequence} where {due} was due")


def check_end(stream: SegmentStream, file: SegmentFile, *, is_last: bool) -> int:
    """Return the sequence due after a stream that was read to its end.

    Raises DamagedError unless the segment ended well, or is the newest one and merely torn.
    """
    due = stream.header.last_sequence + 1 if stream.header.last_sequence >= 0 else stream.next_sequence
    if stream.ending is Ending.CLEAN:
        return due
    reason = stream.reason or "it ends within a record"
    if stream.compressed or not is_last:
        raise damage(stream.path, stream.position, reason)
    rest = next_whole(read_bytes(file), stream.position, after=stream.next_sequence - 1)
    # Where the writer went on while we read, the file now has whole records right there: no damage.
    if rest is not None and rest != stream.position:
        raise damage(stream.path, stream.position, f"{reason}, and whole records follow at offset {rest}")
    return due
