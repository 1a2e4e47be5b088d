"""What a journal says, read in the test's own process: the books it folds to, and the decisions in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from running_daemon import verb

from atmand.core.engine import Engine
from atmand.core.records import AUDIT, AUDIT_KINDS, Kind, Record, head_and_rows
from atmand.journal import snapshots
from atmand.journal.reader import read, sessions
from atmand.wiring import JOURNAL, SNAPSHOTS, ProgramStore, engine_on


def audit(state: Path) -> NDArray[Any]:
    """Return all audit rows of a state directory's journal."""
    rows = [head_and_rows(record)[1] for record in read(state / JOURNAL, kinds=AUDIT_KINDS)]
    return np.concatenate(rows) if rows else np.zeros(0, AUDIT)


def records(state: Path, kind: Kind) -> list[Record]:
    return list(read(state / JOURNAL, kinds={kind}))


def last_sequence(state: Path) -> int:
    return sessions(state / JOURNAL)[-1].last_sequence


def folded(state: Path, *, until_ns: int | None = None, until_sequence: int | None = None) -> Engine:
    """Fold the newest session of a state directory's journal, up to a core time or a sequence."""
    journal = state / JOURNAL
    engine = engine_on(ProgramStore(journal))
    for record in read(journal, sessions(journal)[-1].first_sequence, until_sequence):
        if until_ns is not None and record.time_ns > until_ns:
            break
        engine.apply(record)
    return engine


def assert_snapshot_is_the_fold(state: Path) -> None:
    """The newest books that the daemon kept are those that its journal folds to, up to the same record."""
    kept = snapshots.newest(state / SNAPSHOTS)
    assert kept is not None
    assert folded(state, until_sequence=kept.sequence).books() == kept.document


def verified(state: Path, *words: str, **environment: str) -> dict[str, object]:
    """Replay the newest day in a process of its own and return what it says."""
    done = verb("replay", "--state", state, "--verify", "--json", *words, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    assert answer["identical"] is True
    assert answer["other_code"] is False
    return answer
