"""The one door into journal and core: every record gets its sequence and core time here, is appended, then applied.

The daemon's tasks call `put` on the loop; timers that are due are stamped before any later record, and what the core
puts out is journaled as audit right behind its cause.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.engine import Engine
from atmand.core.opening import Draft
from atmand.core.records import EMPTY, Kind, Record, body_of
from atmand.journal.writer import JournalWriter

__all__ = ["Sequencer", "audit_drafts"]

_TIMER: Final = Draft(Kind.TIMER, body_of(Kind.TIMER), 0)
_AUDIT_HEAD: Final = np.zeros(1, EMPTY)


def audit_drafts(outputs: NDArray[Any]) -> list[Draft]:
    """Cut audit rows into records: each run of one kind is one record."""
    kinds = outputs["kind"]
    edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(outputs)]
    return [
        Draft(kind := Kind(int(kinds[first])), body_of(kind, _AUDIT_HEAD, outputs[first:last]), last - first)
        for first, last in pairwise(edges)
    ]


class Sequencer:
    """Appends records to the journal and folds them, in one order; it never waits."""

    def __init__(self, engine: Engine, writer: JournalWriter, on_outputs: Callable[[NDArray[Any]], None]) -> None:
        self._engine = engine
        self._writer = writer
        self._on_outputs = on_outputs
        self.time_ns = writer.opened.last_time_ns

    def put(self, draft: Draft, time_ns: int, *, source: int = 0, connection: int = 0) -> int:
        """Append and apply one record received at `time_ns`; return its sequence."""
        self.advance(time_ns)
        return self._append(draft, time_ns, source, connection)

    def frame(self, body: bytes, time_ns: int, *, source: int, connection: int) -> int:
        """Append and apply market data as it came."""
        self.advance(time_ns)
        return self._append(Draft(Kind.FRAME, body, 0), time_ns, source, connection)

    def advance(self, time_ns: int) -> None:
        """Stamp the timers that are due up to `time_ns`, each at the first grid point at or past its due time."""
        engine = self._engine
        while engine.next_due_ns <= time_ns:
            grid_ns = engine.grid_ns
            due_ns = max(-(-engine.next_due_ns // grid_ns) * grid_ns, self.time_ns + 1)
            if due_ns > time_ns:
                return
            self._append(_TIMER, due_ns, 0, 0)

    def _append(self, draft: Draft, time_ns: int, source: int, connection: int) -> int:
        self.time_ns = max(self.time_ns + 1, time_ns)
        sequence = self._writer.append(
            draft.kind,
            self.time_ns,
            draft.body,
            draft.rows,
            version=draft.version,
            source=source,
            connection=connection,
        )
        record = Record(draft.kind, sequence, self.time_ns, draft.body, draft.rows, draft.version, source, connection)
        outputs = self._engine.apply(record)
        if len(outputs):
            for audit in audit_drafts(outputs):
                self._writer.append(audit.kind, self.time_ns, audit.body, audit.rows)
            self._on_outputs(outputs)
        return sequence
