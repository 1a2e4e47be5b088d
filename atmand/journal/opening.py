"""Opening a journal to write on: the torn tail is cut, damage is refused or repaired, the next sequence is found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from atmand.errors import DamagedError
from atmand.journal.catalog import SegmentFile, Summary, list_segments, load_summary
from atmand.journal.files import remove_leftovers, sync_directory
from atmand.journal.reader import check_start
from atmand.journal.seal import Saved, salvage
from atmand.journal.segment import Ending, next_whole
from atmand.journal.stream import SegmentStream, damage, is_bare, read_bytes, summarise

__all__ = ["Opened", "Opening", "open_directory"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found in a journal when it was opened to write."""

    last_sequence: int
    """0 in a new journal: the first record is 1."""
    last_time_ns: int
    """Core time of the last record, ns UTC."""
    cut_bytes: int
    """Length of the torn tail that was cut off."""
    missing: int = 0
    """Sequences that a repair could not save."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What the writer goes on with."""

    opened: Opened
    tail: tuple[SegmentFile, int] | None
    """The raw segment to append to, and the offset after its last whole record."""
    unsealed: list[SegmentFile]
    """Closed segments that a stop left uncompressed or without their summary."""
    saved: list[Saved]
    """What a repair saved."""


@dataclass(frozen=True, slots=True)
class _Last:
    file: SegmentFile | None
    offset: int
    sequence: int
    time_ns: int
    cut_bytes: int


def open_directory(directory: Path, *, repair: bool = False) -> Opening:
    """Bring a directory (locked by the caller) into a state to append to.

    Raises DamagedError, naming file and offset, where a whole record follows one that is not, or where segments are
    missing; with `repair` the whole records are kept instead and the gaps marked. The raw segments are read whole,
    of the sealed ones the summaries (with `repair` all of them).
    """
    for place in (directory, directory / "sidecars"):
        remove_leftovers(place)
    files = _without_doubles(directory)
    saved = _repair(files) if repair else []
    files = list_segments(directory)
    last = _open_last(files[-1]) if files else _Last(None, 0, 0, 0, 0)
    closed = files[:-1] if files and (last.file is not None or not files[-1].compressed) else files
    if last.cut_bytes:
        log.warning("journal_tail_cut", path=str(files[-1].path), bytes=last.cut_bytes, last_sequence=last.sequence)
    _check_chain(closed, files[-1] if len(closed) < len(files) else None)
    if closed and last.file is None:
        summary = summarise(closed[-1])
        last = _Last(None, 0, summary.last_sequence, summary.last_ns, last.cut_bytes)
    elif closed and last.sequence < files[-1].first_sequence:
        last = _Last(last.file, last.offset, last.sequence, summarise(closed[-1]).last_ns, last.cut_bytes)
    unsealed = [file for file in closed if not file.compressed or load_summary(file) is None]
    opened = Opened(last.sequence, last.time_ns, last.cut_bytes, sum(segment.missing for segment in saved))
    return Opening(opened, None if last.file is None else (last.file, last.offset), unsealed, saved)


def _without_doubles(directory: Path) -> list[SegmentFile]:
    """Remove raw segments whose compressed form is whole beside them (it only gets its name when it is)."""
    files = list_segments(directory)
    for file in files:
        raw = file.sealed_path.with_suffix("")
        if file.compressed and raw.exists():
            raw.unlink()
            sync_directory(directory)
    return files


def _open_last(file: SegmentFile) -> _Last:
    """Find the end of the newest segment; a raw one is cut at its last whole record."""
    if file.compressed:
        summary = summarise(file)
        return _Last(None, 0, summary.last_sequence, summary.last_ns, 0)
    size = file.path.stat().st_size
    if is_bare(file):
        file.path.unlink()
        sync_directory(file.path.parent)
        return _Last(None, 0, file.first_sequence - 1, 0, size)
    time_ns = 0
    with SegmentStream(file) as stream:
        for record in stream:
            time_ns = record.time_ns
        offset, sequence = stream.position, stream.next_sequence - 1
    if stream.ending is not Ending.CLEAN:
        _refuse_damage_within(file, stream)
        _cut(file, offset)
    return _Last(file, offset, sequence, time_ns, size - offset)


def _refuse_damage_within(file: SegmentFile, stream: SegmentStream) -> None:
    rest = next_whole(read_bytes(file), stream.position, after=stream.next_sequence - 1)
    if rest is not None:
        reason = stream.reason or "a record's length is wrong"
        raise damage(file.path, stream.position, f"{reason}, and whole records follow at offset {rest}")


def _cut(file: SegmentFile, offset: int) -> None:
    fd = os.open(file.path, os.O_WRONLY)
    try:
        os.ftruncate(fd, offset)
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_chain(closed: list[SegmentFile], tail: SegmentFile | None) -> None:
    """Check that each segment starts where the one before ends, as far as that is known without decompressing."""
    for file, following in zip(closed, [*closed[1:], tail], strict=False):
        summary = load_summary(file) if file.compressed else _whole(file)
        if summary is not None and following is not None:
            check_start(following, summary.last_sequence + 1)


def _whole(file: SegmentFile) -> Summary:
    """Read a closed raw segment to its end."""
    with SegmentStream(file) as stream:
        summary = Summary.empty(file.first_sequence)
        for record in stream:
            summary.add(record)
    if stream.ending is not Ending.CLEAN:
        raise damage(file.path, stream.position, stream.reason or "it ends within a record")
    return summary


def _repair(files: list[SegmentFile]) -> list[Saved]:
    """Read every segment and save the whole records of those that are damaged or end too early."""
    saved = []
    for index, file in enumerate(files):
        last = files[index + 1].first_sequence - 1 if index + 1 < len(files) else None
        if _needs_repair(file, last):
            saved.append(salvage(file, last))
    return saved


def _needs_repair(file: SegmentFile, last: int | None) -> bool:
    if last is None and is_bare(file):
        return False
    try:
        with SegmentStream(file) as stream:
            for _ in stream:
                pass
    except DamagedError:
        return True
    end = stream.header.last_sequence if stream.header.last_sequence >= 0 else stream.next_sequence - 1
    if last is not None or file.compressed:
        return stream.ending is not Ending.CLEAN or (last is not None and end != last)
    torn = stream.ending is not Ending.CLEAN
    return torn and next_whole(read_bytes(file), stream.position, after=stream.next_sequence - 1) is not None
