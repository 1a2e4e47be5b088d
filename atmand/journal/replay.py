"""Replay: a recorded session folded again, and its audit compared row by row with what was recorded.

Decoders and programs are passed in, so that this room knows neither wire formats nor the language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atmand.core.engine import Engine
from atmand.core.opening import yyyymmdd
from atmand.core.records import AUDIT, AUDIT_KINDS, Kind, Record, head_and_rows
from atmand.journal.reader import Session, read, sessions
from atmand.journal.segment import JournalError

__all__ = ["Replayed", "find_session", "replay", "session_code"]


@dataclass
class Replayed:
    """What a replay found. `difference` is the first one, in words."""

    records: int = 0
    audit_rows: int = 0
    compared: int = 0
    difference: str | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, kind: Kind, number: int) -> None:
        """Count records, or rows of audit, of a kind."""
        name = kind.name.lower()
        self.counts[name] = self.counts.get(name, 0) + number

    @property
    def identical(self) -> bool:
        return self.difference is None


def find_session(directory: Path, day: date | None) -> Session:
    """Return a day's session in a journal, or the newest; JournalError names the days that are there."""
    known = [session for session in sessions(directory) if session.day is not None]
    wanted = None if day is None else yyyymmdd(day)
    for session in reversed(known):
        if wanted is None or session.day == wanted:
            return session
    days = ", ".join(sorted({str(session.day) for session in known})) or "none"
    raise JournalError(str(directory), f"no session of {day or 'any day'}", f"recorded are {days}")


def session_code(directory: Path, session: Session) -> bytes:
    """Return the digest of the code that recorded a session."""
    for record in read(directory, session.first_sequence, session.first_sequence):
        head, _ = head_and_rows(record)
        return bytes(head["code"][0].tobytes())
    raise JournalError(str(directory), f"record {session.first_sequence} is not there", "restore the segment")


def replay(
    records: Iterable[Record],
    engine: Engine,
    *,
    until_ns: int | None = None,
    compare_from_ns: int | None = None,
    on_outputs: Callable[[NDArray[Any]], None] | None = None,
) -> Replayed:
    """Fold a session's records, from its SESSION on, and compare the audit from `compare_from_ns` to `until_ns`.

    A cause whose audit was cut off by a crash right behind it was audited again at the restart, so a cause's rows are
    compared when the next cause comes, however many records they lie in.
    """
    result = Replayed()
    derived: list[NDArray[Any]] = []
    recorded: list[NDArray[Any]] = []
    for record in records:
        if until_ns is not None and record.time_ns > until_ns:
            break
        result.records += 1
        if record.kind in AUDIT_KINDS:
            rows = head_and_rows(record)[1]
            recorded.append(rows)
            for kind, count in zip(*np.unique(rows["kind"], return_counts=True), strict=True):
                result.count(Kind(int(kind)), int(count))
            continue
        result.count(Kind(record.kind), 1)
        _settle(result, derived, recorded)
        outputs = engine.apply(record)
        if len(outputs) and on_outputs is not None:
            on_outputs(outputs)
        result.audit_rows += len(outputs)
        if len(outputs) and (compare_from_ns is None or record.time_ns >= compare_from_ns):
            derived.append(outputs.copy())
        if compare_from_ns is not None and record.time_ns < compare_from_ns:
            recorded.clear()
    if recorded or not derived:
        _settle(result, derived, recorded)
    return result


def _settle(result: Replayed, derived: list[NDArray[Any]], recorded: list[NDArray[Any]]) -> None:
    """Compare one cause's derived rows with its recorded ones, and forget both."""
    ours = np.concatenate(derived) if derived else np.zeros(0, AUDIT)
    theirs = np.concatenate(recorded) if recorded else np.zeros(0, AUDIT)
    derived.clear()
    recorded.clear()
    if result.difference is None:
        result.difference = next(_differences(ours, theirs), None)
    result.compared += len(theirs)


def _differences(ours: NDArray[Any], theirs: NDArray[Any]) -> Iterator[str]:
    for index in range(max(len(ours), len(theirs))):
        if index >= len(theirs):
            yield f"cause {int(ours['cause'][index])}, row {index}: derived {_words(ours[index])}, recorded nothing"
        elif index >= len(ours):
            yield f"cause {int(theirs['cause'][index])}, row {index}: recorded {_words(theirs[index])}, derived nothing"
        elif ours[index] != theirs[index]:
            names = [name for name in AUDIT.names or () if ours[name][index] != theirs[name][index]]
            yield (
                f"cause {int(theirs['cause'][index])}, row {index}, {', '.join(names)}: "
                f"recorded {_words(theirs[index])}, derived {_words(ours[index])}"
            )


def _words(row: Any) -> str:
    kind = Kind(int(row["kind"])).name.lower().removeprefix("audit_")
    return f"{kind} of order {int(row['order'])} {int(row['quantity'])}@{int(row['price'])}"
