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
from atmand.core.records import EMPTY, Kind, body_of, version_of
from atmand.journal.writer import JournalWriter

__all__ = ["Sequencer", "audit_drafts"]

# Plain numbers: a member of an enumeration costs many times as much where a record is packed.
_FRAME: Final = int(Kind.FRAME)
_TIMER: Final = int(Kind.TIMER)
_AUDIT: Final = int(Kind.AUDIT)
_TIMER_BODY: Final = body_of(Kind.TIMER)
_AUDIT_HEAD: Final = bytes(EMPTY.itemsize)
_ROWS_A_RECORD: Final = 512
_AUDIT_VERSION: Final = version_of(Kind.AUDIT)


def audit_drafts(outputs: NDArray[Any]) -> list[Draft]:
    """Cut audit rows into records between two causes: one, or as many as some hundred rows have."""
    causes = np.flatnonzero(np.diff(outputs["cause"])) + 1
    cuts = causes[np.flatnonzero(np.diff(causes // _ROWS_A_RECORD, prepend=0))]
    edges = [0, *cuts.tolist(), len(outputs)]
    return [
        Draft(Kind.AUDIT, _AUDIT_HEAD + outputs[first:last].tobytes(), last - first, _AUDIT_VERSION)
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
        return self._append(int(draft.kind), time_ns, draft.body, draft.rows, draft.version, source, connection)

    def frame(self, body: bytes, time_ns: int, *, source: int, connection: int) -> int:
        """Append and apply market data as it came."""
        if self._engine.next_due_ns <= time_ns:
            self.advance(time_ns)
        return self._append(_FRAME, time_ns, body, 0, 1, source, connection)

    def advance(self, time_ns: int) -> None:
        """Stamp the timers that are due up to `time_ns`, each at the first grid point at or past its due time."""
        engine = self._engine
        while engine.next_due_ns <= time_ns:
            grid_ns = engine.grid_ns
            due_ns = max(-(-engine.next_due_ns // grid_ns) * grid_ns, self.time_ns + 1)
            if due_ns > time_ns:
                return
            self._append(_TIMER, due_ns, _TIMER_BODY, 0, 1, 0, 0)

    def _append(
        self, kind: int, time_ns: int, body: bytes, rows: int, version: int, source: int, connection: int
    ) -> int:
        self.time_ns = time_ns = max(self.time_ns + 1, time_ns)
        record = self._writer.put(kind, time_ns, body, rows, version, source, connection)
        outputs = self._engine.apply(record)
        if len(outputs):
            audit = _AUDIT_HEAD + outputs.tobytes()
            self._writer.put(_AUDIT, time_ns, audit, len(outputs), _AUDIT_VERSION, 0, 0)
            self._on_outputs(outputs)
        return record.sequence
