"""Recovery: from the journal's newest session to an engine at its head, ready to go on.

Where the code that recorded is the code that runs, the session is simply folded again, decisions included, which
proves the audit on the way. Other code never decides a past again: market state is folded with decisions off, books
come from the newest snapshot, and the recorded fills after it are applied to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from atmand.core.books import apply_fills
from atmand.core.engine import Engine
from atmand.core.records import AUDIT_KINDS, Kind, head_and_rows
from atmand.journal import snapshots
from atmand.journal.reader import Session, read, sessions
from atmand.journal.replay import replay, session_code

__all__ = ["Recovered", "recover"]

log = structlog.get_logger()


@dataclass(frozen=True)
class Recovered:
    """Where recovery ended. `missing_audit` are rows of the last cause that a crash kept out of the journal."""

    session: Session
    records: int
    decided_again: bool
    missing_audit: NDArray[Any]


def recover(directory: Path, snapshot_directory: Path, engine: Engine, *, code: bytes) -> Recovered | None:
    """Bring a fresh engine to the head of the newest session; None where there is none.

    `code` is the digest of the running code. DamagedError where the journal cannot be read.
    """
    known = sessions(directory)
    if not known:
        return None
    session = known[-1]
    if session_code(directory, session) == code:
        return _fold(directory, session, engine)
    log.warning("recovering_other_code", session=session.day, sequence=session.last_sequence)
    return _rebuild(directory, snapshot_directory, session, engine)


def _fold(directory: Path, session: Session, engine: Engine) -> Recovered:
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
    rows = last[0][recorded:] if last else np.zeros(0)
    return Recovered(session, count, decided_again=True, missing_audit=rows)


def _rebuild(directory: Path, snapshot_directory: Path, session: Session, engine: Engine) -> Recovered:
    """Fold market state with decisions off; take the books from the snapshot and the recorded fills after it."""
    engine.decide(False)
    market = (record for record in read(directory, session.first_sequence) if record.kind not in AUDIT_KINDS)
    result = replay(market, engine)
    snapshot = snapshots.newest(snapshot_directory)
    since = session.first_sequence
    if snapshot is not None and engine.ready:
        engine.load_books(snapshot.document)
        since = max(since, snapshot.sequence + 1)
    if engine.ready:
        for record in read(directory, since, kinds=[Kind.AUDIT_FILL]):
            apply_fills(engine.layout, head_and_rows(record)[1])
    engine.decide(True)
    return Recovered(session, result.records, decided_again=False, missing_audit=np.zeros(0))
