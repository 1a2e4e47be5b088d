"""What the ledger costs: telling it on the loop, and folding, counting and storing in its thread, for each closed bar.

Prints JSON lines; writes the section `ledger` of docs/performance.md.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from _report import Report, micros, percentiles, table
from numpy.typing import NDArray

from atmand.core.manifest import BookPlan, Manifest, StructurePlan
from atmand.core.records import AUDIT, Kind, Record, body_of
from atmand.core.words import Purpose, Reason
from atmand.journal.writer import JournalWriter
from atmand.ledger.fold import Opening
from atmand.ledger.keeper import LEDGER, Health, LedgerKeeper
from atmand.ledger.writer import LedgerWriter

_BOOKS: Final = (1, 10, 100)
_BARS: Final = 3_000
_BATCH: Final = 20
_CAPITAL: Final = 10**8
_MINUTE_NS: Final = 60_000_000_000
_DEFINITION: Final = f"""A closed bar is one record that puts out a mark for every book and, for every fifth book, the
four rows of an entry or an exit (decision or intent, two changes of an order, a fill): a busy market. *Told* is
`LedgerWriter.hear` on the loop, which copies the rows and puts them in line. The rest is the ledger's thread: *folded*
is trades, marks and statistics, *shown* the snapshot with every book's figures, *stored* one SQLite transaction with
the fold's memory (WAL, synchronous NORMAL); the last column stores {_BATCH} bars at a time, which is what a backlog
costs. Microseconds a bar, {_BARS:,} bars."""


def main() -> None:
    report = Report("ledger", "The ledger")
    rows = [_row(report, books) for books in _BOOKS]
    head = [
        "books",
        "rows a bar",
        "told p50",
        "told p99.9",
        "folded p50",
        "shown p50",
        "stored p50",
        "stored p99",
        "all",
    ]
    report.write(_DEFINITION, table([*head[:-1], f"all, by {_BATCH}"], rows))


def _row(report: Report, books: int) -> list[str]:
    manifest, bars = _manifest(books), _bars(books)
    opening = Opening(manifest, ("NSE:EQ:AAA",), 20260706, 1 << 62, {})
    told = percentiles(_told(opening, bars), 50, 99.9)
    folded, shown, stored = _kept(opening, bars)
    costs = [*told, *percentiles(folded, 50), *percentiles(shown, 50), *percentiles(stored, 50, 99)]
    costs.append(_batched(opening, bars))
    for name, value in zip(
        ("told p50", "told p99.9", "folded p50", "shown p50", "stored p50", "stored p99", "batched"), costs, strict=True
    ):
        report.figure(f"{books} books", name, value, "us", rows=len(bars[0]))
    return [f"{books}", f"{np.mean([len(rows) for rows in bars]):.0f}", *(micros(value) for value in costs)]


def _manifest(books: int) -> Manifest:
    plans = tuple(BookPlan(f"book{n}", "paper", 0, False, 0, 0, 0, (1.0,), "0" * 64) for n in range(books))
    return Manifest((StructurePlan("s", _MINUTE_NS, 0, 2, ("level",), 0),), plans, ("paper",), "0" * 64)


def _bars(books: int) -> list[NDArray[Any]]:
    """Make the audit rows of every bar; books take turns in entering and leaving."""
    random = np.random.default_rng(1)
    price = 100_000 + np.cumsum(random.integers(-20, 21, _BARS)) * 5
    equity = np.full(books, _CAPITAL)
    made = []
    for bar in range(_BARS):
        cause, rows = 10 * bar + 10, []
        purpose, side = (Purpose.ENTRY, 1) if bar // 5 % 2 == 0 else (Purpose.EXIT, -1)
        for book in range(bar % 5, books, 5):
            shared = {"book": book, "side": side, "quantity": 10, "price": price[bar], "reason": Reason.RULE}
            rows += [
                {"kind": Kind.AUDIT_INTENT, "state": purpose, **shared},
                {"kind": Kind.AUDIT_ORDER, "state": 4, **shared},
                {"kind": Kind.AUDIT_FILL, "state": purpose, "value": 10 * price[bar], "costs": 900, **shared},
                {"kind": Kind.AUDIT_ORDER, "state": 6, **shared},
            ]
        equity += random.integers(-5_000, 5_001, books)
        for book in range(books):
            rows.append({"kind": Kind.AUDIT_MARK, "book": book, "value": equity[book], "price": _CAPITAL})
        out = np.zeros(len(rows), AUDIT)
        for place, row in enumerate(rows):
            for name, value in row.items():
                out[name][place] = value
        out["cause"], out["index"], out["time_ns"] = cause, np.arange(len(rows)), bar * _MINUTE_NS
        made.append(out)
    return made


def _told(opening: Opening, bars: Sequence[NDArray[Any]]) -> list[int]:
    """Time `hear` with the thread alive; nothing is flushed meanwhile, so that the thread takes nothing away."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = LedgerWriter(Path(folder) / LEDGER, _journal(folder), until=1, memory_rows=1 << 40)
        ledger.flush(1)
        ledger.begin(opening, 2)
        spent = []
        for rows in bars:
            began = time.perf_counter_ns()
            ledger.hear(rows, int(rows["cause"][0]))
            spent.append(time.perf_counter_ns() - began)
        ledger.flush(1 << 62)
        ledger.close(60)
    return spent


def _kept(opening: Opening, bars: Sequence[NDArray[Any]]) -> tuple[list[int], list[int], list[int]]:
    folded, shown, stored = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        keeper = LedgerKeeper(Path(folder) / LEDGER, _journal(folder))
        keeper.open()
        keeper.take((2, opening))
        for rows in bars:
            times = [time.perf_counter_ns()]
            keeper.take((int(rows["cause"][0]), rows))
            times.append(time.perf_counter_ns())
            keeper.save()
            times.append(time.perf_counter_ns())
            keeper.snapshot(Health())
            times.append(time.perf_counter_ns())
            for into, spent in zip((folded, stored, shown), np.diff(times), strict=True):
                into.append(int(spent))
        keeper.close()
    return folded, shown, stored


def _batched(opening: Opening, bars: Sequence[NDArray[Any]]) -> float:
    """Return microseconds a bar where bars are folded, stored and shown some at a time."""
    with tempfile.TemporaryDirectory() as folder:
        keeper = LedgerKeeper(Path(folder) / LEDGER, _journal(folder))
        keeper.open()
        keeper.take((2, opening))
        began = time.perf_counter()
        for number, rows in enumerate(bars, 1):
            keeper.take((int(rows["cause"][0]), rows))
            if number % _BATCH == 0:
                keeper.save()
                keeper.snapshot(Health())
        spent = time.perf_counter() - began
        keeper.close()
    return spent * 1e6 / len(bars)


def _journal(folder: str) -> Path:
    """Write a journal of one record: the ledger looks who its rows are of."""
    journal = Path(folder) / "journal"
    with JournalWriter(journal) as writer:
        record = Record(Kind.COMMAND, 1, 1, body_of(Kind.COMMAND))
        writer.append(record.kind, record.time_ns, record.body)
    return journal


if __name__ == "__main__":
    main()
