"""What the ledger costs: on the loop for each bar close, and in its thread for folding, statistics and the database.

Prints JSON lines; writes the section `ledger` of docs/performance.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from atmand.start import prepare_compiler

prepare_compiler(None)

from _market import OPEN_NS, SECOND_NS, Tape, journaled, program  # noqa: E402
from _report import Report, micros, percentiles, table  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from atmand.core.records import Kind  # noqa: E402
from atmand.ledger.fold import LedgerFold, Opening  # noqa: E402
from atmand.ledger.schema import SCHEMA  # noqa: E402
from atmand.ledger.sqlite import open_ledger  # noqa: E402
from atmand.ledger.store import Position  # noqa: E402
from atmand.ledger.writer import LedgerWriter  # noqa: E402

_INSTRUMENTS: Final = 100
_MINUTES: Final = 375
_EVERY_S: Final = 5
_DEFINITION: Final = """The audit of a session of 375 minutes, 100 instruments traded by the shipped `rsi_macd`, one
record after the other. *Told on the loop* is what the daemon's loop pays for the audit of one record
(`LedgerWriter.hear`). *Folded* is trades, marks and statistics of the record in the ledger's thread; *stored* is one
transaction for the rows of one bar close, to SQLite on disk with WAL. Microseconds; a bar close is a record that
marks the books."""


def main() -> None:
    report = Report("ledger", f"The ledger's cost (schema {SCHEMA})")
    with tempfile.TemporaryDirectory() as folder:
        opening, batches = _session(Path(folder) / "journal")
        closes = [rows for rows in batches if (rows["kind"] == Kind.AUDIT_MARK).any()]
        writer = LedgerWriter(Path(folder) / "told.db", Path(folder) / "journal", until=0)
        told = [_timed(writer.hear, rows, number + 1) for number, rows in enumerate(closes)]
        writer.close(0.1)
        folded, stored = _kept(Path(folder) / "stored.db", opening, closes)
    rows = []
    for what, samples in (("told on the loop", told), ("folded, thread", folded), ("stored, thread", stored)):
        p50, p99 = percentiles(samples, 50, 99)
        report.figure("bar close", what, p50, "us", p99=p99, samples=len(samples))
        rows.append([what, micros(p50), micros(p99)])
    mean = sum(map(len, closes)) / len(closes)
    note = f"{len(closes)} bar closes, {mean:.1f} audit rows each."
    report.write(_DEFINITION, table(["a bar close", "p50", "p99"], rows), note)


def _session(journal: Path) -> tuple[Opening, list[NDArray[Any]]]:
    """Trade a session; return its opening and the audit of every record."""
    batches: list[NDArray[Any]] = []
    tape = Tape(_INSTRUMENTS)
    with journaled(program(), _INSTRUMENTS, journal) as fold:
        count = fold.sequencer._on_outputs

        def hear(outputs: NDArray[Any]) -> None:
            batches.append(outputs.copy())
            count(outputs)

        fold.sequencer._on_outputs = hear
        layout = fold.engine.layout
        opening = Opening(layout.manifest, layout.keys, 20260706, int(fold.engine.header["session_close_ns"]), {})
        for at_s in range(1, _MINUTES * 60, _EVERY_S):
            fold.settle()
            time_ns = OPEN_NS + at_s * SECOND_NS
            fold.advance(time_ns)
            fold.frame(tape.frame(at_s), time_ns)
    return opening, batches


def _kept(path: Path, opening: Opening, closes: list[NDArray[Any]]) -> tuple[list[int], list[int]]:
    store, fold = open_ledger(path), LedgerFold()
    fold.begin(opening)
    folded, stored = [], []
    for number, rows in enumerate(closes):
        folded.append(_timed(fold.fold, rows))
        position = Position(number + 1, fold.last_key, (1, 1), fold.state().decode())
        stored.append(_timed(store.write, fold.take_rows(), position))
    store.close()
    return folded, stored


def _timed(work: Any, *arguments: Any) -> int:
    began = time.perf_counter_ns()
    work(*arguments)
    return time.perf_counter_ns() - began


if __name__ == "__main__":
    sys.exit(main())
