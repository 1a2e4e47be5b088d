"""The ledger over a real journal: whatever stops it, the database is the one that an unbroken run makes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_market import Book, Market, walk

from atmand.core.records import Kind, head_and_rows
from atmand.journal.reader import read
from atmand.journal.writer import JournalWriter
from atmand.ledger.catch_up import last_sequence
from atmand.ledger.keeper import LedgerKeeper, rebuild
from atmand.ledger.sqlite import open_ledger, read_ledger
from atmand.ledger.store import LedgerNewerError, TradeFilter
from atmand.ledger.writer import LedgerWriter
from atmand.sequencer import audit_drafts
from atmand.wiring import ProgramStore

MINUTES = 240


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of one session: two books on one share and one on another, trading a random walk."""
    directory: Path = tmp_path_factory.mktemp("ledger") / "journal"
    books = [
        Book("quick", "alpha", values={"level": 50.0}),
        Book("quick", "beta", values={"period": 5.0}, instruments=(0, 1)),
    ]
    market = Market(books)
    for number, (first, second) in enumerate(zip(walk(1, MINUTES), walk(2, MINUTES, start=50_000), strict=True)):
        market.tick(number * 60 + 20, second, place=1)
        market.minute(number, first)
    store = ProgramStore(directory)
    with JournalWriter(directory) as writer:
        for record, rows in zip(market.records, market.rows, strict=True):
            if record.kind == Kind.PROGRAM:
                store.keep(market.programs[head_and_rows(record)[0]["manifest"][0].tobytes()])
            sequence = writer.append(record.kind, record.time_ns, record.body, record.rows, source=record.source)
            rows = rows.copy()
            rows["cause"] = sequence
            for audit in audit_drafts(rows) if len(rows) else ():
                writer.append(audit.kind, record.time_ns, audit.body, audit.rows)
    return directory


def content(path: Path) -> dict[str, list[Any]]:
    """Return every row of a ledger, table by table."""
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {name: sorted(connection.execute(f"select * from {name}")) for name in tables if name != "meta"}


@pytest.fixture(scope="module")
def unbroken(journal: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    path = tmp_path_factory.mktemp("unbroken") / "ledger.db"
    rebuild(path, journal)
    rows = content(path)
    assert len(rows["trades"]) > 10 and len(rows["marks"]) > MINUTES
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_a_ledger_that_is_stopped_at_any_record_goes_on_to_the_same_rows(
    journal: Path, unbroken: dict[str, list[Any]], tmp_path: Path, seed: int
) -> None:
    draw, end = random.Random(seed), last_sequence(journal)
    for until in [*sorted(draw.sample(range(1, end), 7)), end]:
        keeper = LedgerKeeper(tmp_path / "ledger.db", journal)
        keeper.open()
        keeper.catch_up(until)
        keeper.close()
    assert content(tmp_path / "ledger.db") == unbroken


def test_statistics_survive_a_stop_too(journal: Path, tmp_path: Path) -> None:
    whole = rebuild(tmp_path / "whole.db", journal).fold.statistics()
    for until in (last_sequence(journal) // 3, last_sequence(journal)):
        keeper = LedgerKeeper(tmp_path / "parts.db", journal)
        keeper.open()
        keeper.catch_up(until)
        keeper.close()
    assert keeper.fold.statistics() == whole


def test_equity_is_cash_and_positions_and_profit_is_that_of_the_trades(journal: Path, tmp_path: Path) -> None:
    """Each mark of a book: capital, and what its trades brought, and what is open at the prices of the mark."""
    rebuild(tmp_path / "ledger.db", journal)
    rows = np.concatenate([head_and_rows(r)[1] for r in read(journal) if r.kind >= Kind.AUDIT_DECISION])
    cash: dict[int, int] = {}
    held: dict[int, dict[int, int]] = {}
    seen = 0
    for row in rows:
        book = int(row["book"])
        if row["kind"] == Kind.AUDIT_FILL:
            cash[book] = cash.get(book, 0) - int(row["side"]) * int(row["value"]) - int(row["costs"])
            positions = held.setdefault(book, {})
            instrument = int(row["instrument"])
            positions[instrument] = positions.get(instrument, 0) + int(row["side"]) * int(row["quantity"])
        elif row["kind"] == Kind.AUDIT_MARK and not any(held.get(book, {}).values()):
            assert int(row["value"]) == int(row["price"]) + cash.get(book, 0)
            seen += 1
    assert seen > 20
    store = read_ledger(tmp_path / "ledger.db")
    try:
        trades = store.trades(TradeFilter(limit=10_000))
        points = store.equity(strategy="alpha", account="one", points=10_000)
    finally:
        store.close()
    alpha = [trade for trade in trades if trade.strategy == "alpha"]
    assert len(points) > MINUTES / 2
    if not held[0].get(0):
        assert points[-1].equity_paise - points[-1].capital_paise == sum(trade.net_paise for trade in alpha)


def test_the_ledgers_trades_are_those_that_the_fills_make(journal: Path, tmp_path: Path) -> None:
    """A trade is what happens between two moments at which a book holds nothing of a share."""
    expected: list[int] = []
    held: dict[tuple[int, int], int] = {}
    won: dict[tuple[int, int], int] = {}
    for record in read(journal, kinds={Kind.AUDIT_FILL}):
        for row in head_and_rows(record)[1]:
            place = int(row["book"]), int(row["instrument"])
            held[place] = held.get(place, 0) + int(row["side"]) * int(row["quantity"])
            won[place] = won.get(place, 0) - int(row["side"]) * int(row["value"]) - int(row["costs"])
            if held[place] == 0:
                expected.append(won.pop(place))
    rebuild(tmp_path / "ledger.db", journal)
    store = read_ledger(tmp_path / "ledger.db")
    try:
        found = store.trades(TradeFilter(limit=10_000))
    finally:
        store.close()
    assert [trade.net_paise for trade in reversed(found)] == expected


@pytest.fixture
def writer(journal: Path, tmp_path: Path) -> Iterator[LedgerWriter]:
    made = LedgerWriter(tmp_path / "ledger.db", journal, until=last_sequence(journal))
    yield made
    made.close()


def test_nothing_is_stored_that_the_journal_has_not_written(
    journal: Path, tmp_path: Path, writer: LedgerWriter
) -> None:
    writer.flush(0)
    assert writer.latest.sequence == 0
    writer.flush(last_sequence(journal))
    assert writer.close()
    assert writer.latest.health.caught_up
    assert writer.latest.sequence == last_sequence(journal)


def test_a_newer_schema_is_refused_and_says_so(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    rebuild(path, journal)
    with sqlite3.connect(path) as connection:
        (before,) = connection.execute("select value from meta where name = 'schema'").fetchone()
        connection.execute("update meta set value = ? where name = 'schema'", (str(int(before) + 1),))
    with pytest.raises(LedgerNewerError, match=str(int(before) + 1)):
        open_ledger(path)


def test_a_damaged_file_is_set_aside_and_built_again(
    journal: Path, unbroken: dict[str, list[Any]], tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    rebuild(path, journal)
    damaged = path.read_bytes()[:4096] + b"\0" * 40_000
    path.write_bytes(damaged)
    rebuild(path, journal)
    assert content(path) == unbroken
    assert [each.read_bytes() for each in tmp_path.glob("ledger.db.damaged-?")] == [damaged]


def test_a_locked_database_makes_rows_wait_and_loses_none(
    journal: Path, unbroken: dict[str, list[Any]], tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    rebuild(path, journal)
    with sqlite3.connect(path) as connection:
        connection.execute("delete from meta where name != 'schema'")
        connection.execute("delete from trades")
        connection.execute("delete from marks")
        connection.execute("delete from days")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    writer = LedgerWriter(path, journal, until=last_sequence(journal))
    writer.flush(last_sequence(journal))
    holder.execute("rollback")
    holder.close()
    writer.close(30)
    assert content(path) == unbroken
