"""The ledger's thread: live it stores what catching up would, waits for the journal, and outlives its database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_market import Recorder, dump, record_days
from structlog.testing import capture_logs

from atmand.ledger.fold import TOTAL
from atmand.ledger.keeper import LEDGER, rebuild
from atmand.ledger.sqlite import open_ledger
from atmand.ledger.store import SqlStore
from atmand.ledger.writer import LedgerWriter


def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for the thread; a deadline that is reached fails the test."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the ledger's thread did not get there"
        time.sleep(0.002)


def impatient(path: Path) -> SqlStore:
    return open_ledger(path, busy_ms=1)


class Live:
    """A recorder and the ledger that hears it, as the daemon has them."""

    def __init__(self, state: Path, **options: Any) -> None:
        self.path, self.journal = state / LEDGER, state / "journal"
        self.ledger: LedgerWriter | None = None
        self.early: list[tuple[str, Any, int]] = []
        self.recorder = Recorder(
            self.journal,
            hear=lambda rows, sequence: self.tell("hear", rows, sequence),
            begun=lambda opening, sequence: self.tell("begin", opening, sequence),
            put_in_force=lambda seq, sequence: self.tell("params", seq, sequence),
        )
        self.options = options

    def tell(self, what: str, *arguments: Any) -> None:
        if self.ledger is not None:
            getattr(self.ledger, what)(*arguments)

    def start(self) -> LedgerWriter:
        self.ledger = LedgerWriter(self.path, self.journal, until=self.recorder.writer.appended, **self.options)
        return self.ledger

    def flush(self) -> None:
        writer = self.recorder.writer
        until(lambda: writer.written == writer.appended)
        assert self.ledger is not None
        self.ledger.flush(writer.written)

    def settle(self) -> LedgerWriter:
        """Flush, and wait until everything is stored."""
        self.flush()
        ledger = self.ledger
        assert ledger is not None
        until(lambda: ledger.latest.health.caught_up and not ledger.health().waiting and not ledger.health().failed)
        return ledger


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path, opener=impatient)
    yield made
    if made.ledger is not None:
        made.ledger.close()
    made.recorder.writer.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("COMMIT")
        holder.close()


def rebuilt(live: Live, folder: Path) -> dict[str, list[Any]]:
    return dump(rebuild(folder / "again.db", live.journal).path)


def test_told_live_it_is_the_same_ledger_as_caught_up(live: Live, tmp_path: Path) -> None:
    ledger = live.start()
    record_days(live.recorder)
    live.settle()
    assert ledger.close()
    live.recorder.close()
    assert without_sequence(dump(live.path)) == without_sequence(rebuilt(live, tmp_path))
    assert len(ledger.latest.trades) > 20
    assert ledger.latest.statistics[TOTAL].trades == len(ledger.latest.trades)


def without_sequence(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Leave out how far the journal was read: records that tell the ledger nothing may follow the last one told."""
    return {**rows, "meta": [row for row in rows["meta"] if row[0] != "sequence"]}


def test_nothing_is_stored_before_the_journal_has_written_it(live: Live) -> None:
    ledger = live.start()
    live.settle()
    floor = live.recorder.writer.written
    live.recorder.trade_minutes(1, 0, 30)
    ledger.flush(floor)
    waiting = ledger.health().waiting
    assert waiting > 50
    assert ledger.latest.sequence <= floor
    live.settle()
    assert ledger.latest.sequence > floor
    assert ledger.latest.health.last_key[0] > floor


def test_a_stop_without_a_flush_is_made_up_for_at_the_next_start(live: Live, tmp_path: Path) -> None:
    live.start()
    record_days(live.recorder, days=1)
    with capture_logs() as logs:
        live.ledger.close()  # type: ignore[union-attr]
    assert "ledger_left_behind" in [entry["event"] for entry in logs]
    live.start()
    live.recorder.trade_minutes(4, 60, 20)
    live.settle()
    live.ledger.close()  # type: ignore[union-attr]
    live.recorder.close()
    assert without_sequence(dump(live.path)) == without_sequence(rebuilt(live, tmp_path))


def test_a_locked_database_is_said_once_and_made_up_for(live: Live, tmp_path: Path) -> None:
    ledger = live.start()
    live.settle()
    with capture_logs() as logs:
        with locked(live.path):
            live.recorder.trade_minutes(1, 0, 20)
            live.flush()
            until(lambda: ledger.health().failed)
            live.recorder.trade_minutes(2, 21, 20)
            live.flush()
            assert "locked" in ledger.health().failed and not ledger.health().final
        until(lambda: not ledger.health().failed)
        live.settle()
    assert [entry["event"] for entry in logs].count("ledger_refuses") == 1
    assert [entry["event"] for entry in logs].count("ledger_recovered") == 1
    ledger.close()
    live.recorder.close()
    assert without_sequence(dump(live.path)) == without_sequence(rebuilt(live, tmp_path))


def test_a_database_that_is_locked_at_the_start_is_waited_for(live: Live) -> None:
    open_ledger(live.path).close()
    with locked(live.path):
        ledger = live.start()
        live.recorder.trade_minutes(1, 0, 5)
        live.flush()
        until(lambda: ledger.health().failed)
    live.settle()
    assert ledger.latest.sequence > 0


def test_memory_is_bounded_and_dropped_rows_come_from_the_journal(tmp_path: Path) -> None:
    live = Live(tmp_path, opener=impatient, memory_rows=100)
    ledger = live.start()
    live.settle()
    with capture_logs() as logs:
        with locked(live.path):
            for part in range(6):
                live.recorder.trade_minutes(part, part * 21, 20)
                assert ledger._waiting <= 100
                live.flush()
            live.recorder.document(127 * 60, 5, 0, level=44.0)
            live.recorder.trade_minutes(9, 128, 20)
        live.settle()
    assert "ledger_rows_dropped" in [entry["event"] for entry in logs]
    live.recorder.trade_minutes(11, 150, 10)
    live.settle()
    assert ledger.close()
    live.recorder.close()
    assert without_sequence(dump(live.path)) == without_sequence(rebuilt(live, tmp_path))


def test_rows_told_faster_than_memory_holds_are_not_kept(tmp_path: Path) -> None:
    live = Live(tmp_path, memory_rows=50)
    ledger = live.start()
    live.recorder.trade_minutes(1, 0, 60)  # nothing is flushed: nothing can leave memory
    assert ledger._waiting <= 50 < ledger.health().waiting
    live.settle()
    ledger.close()
    live.recorder.close()
    assert without_sequence(dump(live.path)) == without_sequence(rebuilt(live, tmp_path))


def test_a_newer_schema_is_said_and_trading_goes_on(live: Live) -> None:
    open_ledger(live.path).close()
    with sqlite3.connect(live.path) as connection:
        connection.execute("UPDATE meta SET value = '9' WHERE name = 'schema'")
    connection.close()
    with capture_logs() as logs:
        ledger = live.start()
        until(lambda: ledger.health().final)
        live.recorder.trade_minutes(1, 0, 10)
        live.flush()
        ledger.close()
    assert "its schema is 9" in ledger.latest.health.failed
    assert ledger.health().waiting == 0
    assert [entry["event"] for entry in logs].count("ledger_refused") == 1


def test_a_database_damaged_while_it_runs_is_built_again(live: Live, tmp_path: Path) -> None:
    ledger = live.start()
    live.recorder.trade_minutes(1, 0, 40)
    live.settle()
    with sqlite3.connect(live.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = live.path.read_bytes()
    live.path.write_bytes(data[:4_096] + b"\xa5" * (len(data) - 4_096))
    live.recorder.trade_minutes(2, 41, 10)
    live.flush()
    until(lambda: (tmp_path / "ledger.db.damaged-1").exists())
    live.settle()
    live.recorder.trade_minutes(3, 52, 10)
    live.settle()
    ledger.close()
    live.recorder.close()
    assert without_sequence(dump(live.path)) == without_sequence(rebuilt(live, tmp_path))


def test_a_journal_that_cannot_be_read_fails_the_ledger_only(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "journal")
    record_days(recorder, days=1)
    last = recorder.close()
    (segment,) = (tmp_path / "journal").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    ledger = LedgerWriter(tmp_path / LEDGER, tmp_path / "journal", until=last)
    ledger.flush(last)
    until(lambda: ledger.health().final)
    assert ".seg" in ledger.health().failed
    ledger.hear(np.zeros(3, recorder.rows[0].dtype), last + 9)
    assert ledger.health().waiting == 0
    assert ledger.close()


async def test_it_closes_without_blocking_the_loop(live: Live) -> None:
    ledger = live.start()
    live.flush()
    assert await ledger.aclose()
