"""`atmand replay`: a recorded day folded again in this process, and compared with what was decided then."""

from __future__ import annotations

import sys
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atmand.core.records import head_and_rows
from atmand.core.state import day_of
from atmand.errors import UsageError
from atmand.journal.reader import read
from atmand.journal.replay import find_session, replay, session_code
from atmand.ledger.trades import decision_digest
from atmand.market.sessions import ns
from atmand.start import kernel_digest
from atmand.wiring import JOURNAL, ProgramStore, engine_on

__all__ = ["command"]


def command(
    state: Path, *, day: date | None = None, verify: bool = False, start: time | None = None, end: time | None = None
) -> dict[str, Any]:
    """Replay a day of a state directory's journal; `start` and `end` are times of day in India.

    With `verify` the result has `identical` and, where it is false, the first `difference`.
    """
    journal = state / JOURNAL
    if not journal.is_dir():
        raise UsageError(str(journal), "no journal is there", "name a daemon's state directory with --state DIR")
    session = find_session(journal, day)
    recorded = session.day or 0
    opening = next(read(journal, session.first_sequence, session.first_sequence))
    market_day = day_of(recorded)
    other_code = session_code(journal, session) != kernel_digest()
    if other_code:
        print(f"{market_day}: recorded by other code; differences are to be expected", file=sys.stderr)
    engine = engine_on(ProgramStore(journal))
    rows: list[NDArray[Any]] = []
    result = replay(
        read(journal, session.first_sequence, session.last_sequence),
        engine,
        until_ns=None if end is None else ns(market_day, end.isoformat()),
        compare_from_ns=None if start is None else ns(market_day, start.isoformat()),
        on_outputs=lambda outputs: rows.append(outputs.copy()),
    )
    answer: dict[str, Any] = {
        "day": market_day.isoformat(),
        "costs_as_of": day_of(int(head_and_rows(opening)[0]["costs_date"][0])).isoformat(),
        "records": result.records,
        "audit_rows": result.audit_rows,
        "counts": result.counts,
        "other_code": other_code,
    }
    if rows:
        answer["digest"] = decision_digest(np.concatenate(rows))
    if verify:
        answer |= {"compared": result.compared, "identical": result.identical}
        if result.difference is not None:
            answer["difference"] = result.difference
    return answer
