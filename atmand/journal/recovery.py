"""Recovery: from the journal's newest session to an engine at its head, ready to go on.

Where the code that recorded is the code that runs, the session is simply folded again, decisions included. A past is
never decided again by other code, or where a repair left records out: the books come from the newest snapshot and the
fills recorded after it, and a new opening carries them on; its bars come from the broker's history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from atmand.core.books import apply_fills, without_orders
from atmand.core.engine import Engine
from atmand.core.manifest import Manifest
from atmand.core.records import AUDIT, AUDIT_KINDS, Kind, Record, head_and_rows
from atmand.journal import snapshots
from atmand.journal.catalog import list_segments
from atmand.journal.reader import Session, read, sessions
from atmand.journal.replay import session_code
from atmand.journal.segment import SegmentFlag
from atmand.journal.sidecars import Sidecars
from atmand.journal.stream import summarise

__all__ = ["Recovered", "recover"]

log = structlog.get_logger()

_NAMING: Final = (Kind.PROGRAM, Kind.INSTRUMENTS, Kind.AUDIT_FILL, Kind.AUDIT)


OnApplied = Callable[[Record, NDArray[Any]], None]


@dataclass(frozen=True)
class Recovered:
    """Where recovery ended: the session folded again, or (other code) the books that a new opening carries on."""

    session: Session
    records: int
    missing_audit: NDArray[Any] | None = None
    """Rows of the last cause that a crash kept out of the journal; None where nothing was folded."""
    books: dict[str, Any] | None = None

    @property
    def decided_again(self) -> bool:
        return self.missing_audit is not None


def recover(
    directory: Path, snapshot_directory: Path, engine: Engine, on_applied: OnApplied | None = None, *, code: bytes
) -> Recovered | None:
    """Bring a fresh engine to the head of the newest session; None where there is none.

    `code` is the digest of the running code. `on_applied` sees every record that is folded, with what it put out.
    DamagedError where the journal cannot be read.
    """
    # What stands before the first SESSION (a simulated past) is nothing to go on with.
    known = [session for session in sessions(directory) if session.day is not None]
    if not known:
        return None
    session = known[-1]
    if _was_repaired(directory, session):
        log.warning("recovering_repaired", session=session.day, sequence=session.last_sequence)
    elif session_code(directory, session) == code:
        return _fold(directory, session, engine, on_applied)
    else:
        log.warning("recovering_other_code", session=session.day, sequence=session.last_sequence)
    return _carry_books(directory, snapshot_directory, session)


def _was_repaired(directory: Path, session: Session) -> bool:
    """Say whether records of a session are missing."""
    return any(
        summary.flags & SegmentFlag.REPAIRED
        for summary in (summarise(file) for file in list_segments(directory) if file.compressed)
        if summary.last_sequence >= session.first_sequence
    )


def _fold(directory: Path, session: Session, engine: Engine, on_applied: OnApplied | None) -> Recovered:
    """Fold with decisions on; keep the last cause's outputs that the journal lacks."""
    last: list[NDArray[Any]] = []
    recorded = 0
    count = 0
    for record in read(directory, session.first_sequence):
        count += 1
        if record.kind in AUDIT_KINDS:
            recorded += record.rows
            continue
        outputs = engine.apply(record)
        last, recorded = [outputs.copy()], 0
        if on_applied is not None:
            on_applied(record, outputs)
    rows = last[0][recorded:] if last else np.zeros(0, AUDIT)
    return Recovered(session, count, missing_audit=rows)


def _carry_books(directory: Path, snapshot_directory: Path, session: Session) -> Recovered:
    """Take the books from the newest snapshot and the fills recorded after it; the session itself is not folded."""
    snapshot = snapshots.newest(snapshot_directory)
    if snapshot is None:
        log.warning("recovering_without_books", session=session.day)
        return Recovered(session, 0, books=None)
    books = without_orders(snapshot.document)
    manifest: Manifest | None = None
    keys: list[str] = []
    count = 0
    sidecars = Sidecars(directory)
    for record in read(directory, session.first_sequence, kinds=_NAMING):
        head, rows = head_and_rows(record)
        if record.kind == Kind.PROGRAM:
            manifest = Manifest.from_json(sidecars.get(head["manifest"][0].tobytes()))
        elif record.kind == Kind.INSTRUMENTS:
            keys = [str(key, "ascii") for key in rows["key"]]
        elif record.sequence > snapshot.sequence and manifest is not None:
            fills = rows[rows["kind"] == Kind.AUDIT_FILL]
            apply_fills(books, manifest, keys, fills)
            count += len(fills)
    return Recovered(session, count, books=books)
