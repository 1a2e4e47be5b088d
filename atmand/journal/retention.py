"""Keeping the journal small: aged segments lose their market frames, and only those.

The daemon calls it after a session, and a person with the journal's lock held. Orders, trades, parameters and the
audit of decisions stay; deleting years of them is a decision that no program takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from atmand.core.records import Kind, Record
from atmand.journal.catalog import SegmentFile, Summary, list_segments
from atmand.journal.reader import sessions
from atmand.journal.seal import thin
from atmand.journal.settings import JournalSettings
from atmand.journal.snapshots import newest
from atmand.journal.stream import summarise

__all__ = ["Pruned", "prune"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run of the retention did."""

    thinned: tuple[int, ...]
    """First sequences of the segments that lost their frames."""
    freed_bytes: int
    kept_bytes: int
    """Size of all segments on disk now."""
    over_bytes: int
    """How much of that is past the limit and could not be taken out; 0 where the limit is met."""


def prune(directory: Path, settings: JournalSettings, snapshots: Path | None = None) -> Pruned:
    """Take the frames out of sealed segments that are older than `keep_sessions`, then of the oldest while over bytes.

    `snapshots` is where those of the books lie, by default beside the journal in its state directory.
    Never touches the newest segment, one that is not sealed, or one with a record past the newest whole snapshot of
    the books: a recovery may need its frames. Each segment is replaced at once by its thinned form, so that a crash
    loses nothing. The size is that of the segments, without sidecars and snapshots.
    Raises DamagedError where a segment cannot be read, OSError where the disk refuses.
    """
    before = _size(directory)
    candidates = _thinnable(directory, directory.parent / "snapshots" if snapshots is None else snapshots)
    boundary = _first_kept(directory, settings.keep_sessions)
    thinned: list[int] = []
    size = before
    for file, summary in candidates:
        if summary.last_sequence >= boundary and size <= settings.keep_bytes:
            break
        size -= _thin(file)
        thinned.append(file.first_sequence)
    size = _size(directory)
    over = max(0, size - settings.keep_bytes)
    if thinned or over:
        log.info("journal_pruned", segments=len(thinned), freed_bytes=before - size, bytes=size, over_bytes=over)
    return Pruned(tuple(thinned), before - size, size, over)


def _thinnable(directory: Path, snapshots: Path) -> list[tuple[SegmentFile, Summary]]:
    """Sealed segments with frames in them that end at or before the newest snapshot, oldest first.

    The newest segment is none of them, sealed or not: its last record's time is where the next start goes on.
    """
    snapshot = newest(snapshots)
    if snapshot is None:
        return []
    sealed = [(file, summarise(file)) for file in list_segments(directory)[:-1] if file.compressed]
    return [
        (file, summary)
        for file, summary in sealed
        if summary.last_sequence <= snapshot.sequence and summary.kinds[Kind.FRAME]
    ]


def _first_kept(directory: Path, keep_sessions: int) -> int:
    """The first sequence of the sessions that are kept whole; 0 where all are."""
    listed = sessions(directory)
    return listed[-keep_sessions].first_sequence if len(listed) > keep_sessions else 0


def _thin(file: SegmentFile) -> int:
    """Take the frames out of a segment; return how many bytes that freed on disk."""
    before = file.path.stat().st_size
    thin(file, _is_kept)
    return before - file.path.stat().st_size


def _is_kept(record: Record) -> bool:
    return record.kind != Kind.FRAME


def _size(directory: Path) -> int:
    total = 0
    for file in list_segments(directory):
        try:
            total += file.path.stat().st_size
        except FileNotFoundError:  # sealed since the listing
            total += file.sealed_path.stat().st_size
    return total
