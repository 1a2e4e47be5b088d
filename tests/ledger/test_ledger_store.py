"""The contract of a ledger's store, for every database; then what only a file of SQLite can suffer."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from atmand.errors import AtmandError, DamagedError, ExitCode
from atmand.ledger.fold import DayRow, Folded, Mark
from atmand.ledger.sqlite import open_ledger, read_ledger, set_aside
from atmand.ledger.store import LedgerNewerError, Position, SqlStore, StoreBusyError, TradeFilter
from atmand.ledger.trades import Trade

Open = Callable[[], SqlStore]


@pytest.fixture(params=["sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same store of a kind, as often as it is called."""
    stores: list[SqlStore] = []

    def open_again() -> SqlStore:
        stores.append({"sqlite": lambda: open_ledger(tmp_path / "state" / "ledger.db")}[request.param]())
        return stores[-1]

    yield open_again
    for store in stores:
        store.close()


def trade(cause: int, **changes: object) -> Trade:
    made = Trade(
        trade_id=f"{cause - 1}-2", strategy="alpha", account="one", product="MIS", instrument="NSE:EQ:AAA", side="BUY",
        quantity=3, entry_ns=cause * 100 - 50, entry_value=900, exit_ns=cause * 100, exit_value=990, costs_paise=7,
        exit_reason="rule", structure_id="s", strategy_sha256="f" * 64, parameter_seq=4, decided_cause=cause - 2,
        exit_cause=cause, exit_place=1,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def mark(cause: int, book: int, equity: int, *, past: bool = False) -> Mark:
    return Mark(cause, book, cause * 100, f"s{book}", ("one", "two")[book % 2], equity, 1_000, 5, 1, past)


def day(number: int, name: str = "", **changes: int) -> DayRow:
    return replace(DayRow(number, name, 100, 110, 0, 10, 0.1, 2, 1, 5, False), **changes)  # type: ignore[arg-type]


def rows(trades: list[Trade] = [], marks: list[Mark] = [], days: list[DayRow] = []) -> Folded:  # noqa: B006
    return Folded(list(trades), list(marks), {(each.day, each.name): each for each in days})


def at(sequence: int) -> Position:
    return Position(sequence, (sequence - 1, 3), (1, 99), '{"a": 0.1}')


def test_a_fresh_store_is_empty(opened: Open) -> None:
    store = opened()
    assert store.position() is None
    assert store.trades() == store.equity() == store.days(None) == []
    assert store.trade("1-1") is None


def test_what_was_written_is_there_after_opening_again(opened: Open) -> None:
    written = rows([trade(10), trade(-5, trade_id="p6-2", past=True)], [mark(10, 0, 50)], [day(20260706)])
    opened().write(written, at(12))
    store = opened()
    assert store.position() == at(12)
    assert store.trades() == [trade(10), trade(-5, trade_id="p6-2", past=True)]
    assert store.trade("9-2") == trade(10)
    assert store.days() == [day(20260706)]
    assert [(point.time_ns, point.equity_paise, point.past) for point in store.equity()] == [(1000, 50, False)]


def test_writing_the_same_rows_again_changes_nothing_and_a_day_grows(opened: Open) -> None:
    store = opened()
    batch = rows([trade(10)], [mark(10, 0, 50)], [day(20260706)])
    store.write(batch, at(12))
    store.write(batch, at(12))
    store.write(rows(days=[day(20260706, closed_paise=130)]), at(13))
    assert len(store.trades()) == len(store.equity()) == 1
    assert store.days() == [day(20260706, closed_paise=130)]
    assert store.position() == at(13)


def test_rows_and_position_are_written_together_or_not_at_all(opened: Open) -> None:
    store = opened()
    store.write(rows([trade(10)]), at(12))
    broken = rows([trade(20), replace(trade(30), strategy=None)])  # type: ignore[arg-type]
    with pytest.raises(AtmandError):
        store.write(broken, at(40))
    assert store.position() == at(12)
    assert store.trades() == [trade(10)]


def test_filters_and_pages_of_trades(opened: Open) -> None:
    store = opened()
    made = [
        trade(cause, strategy=f"s{cause % 2}", instrument=f"I{cause % 3}", account=f"a{cause % 5}", past=cause < 4)
        for cause in range(1, 31)
    ]
    store.write(rows(made), at(99))
    newest = made[::-1]
    assert store.trades() == newest
    assert store.trades(TradeFilter(strategy="s1")) == [each for each in newest if each.strategy == "s1"]
    assert store.trades(TradeFilter(instrument="I2", account="a0")) == [
        each for each in newest if (each.instrument, each.account) == ("I2", "a0")
    ]
    assert store.trades(TradeFilter(from_ns=500, to_ns=900)) == [each for each in newest if 5 <= each.exit_cause < 9]
    assert store.trades(TradeFilter(past=True)) == newest[-3:]
    first = store.trades(TradeFilter(limit=7))
    assert first + store.trades(TradeFilter(limit=7, before=first[-1].trade_id)) == newest[:14]
    with pytest.raises(AtmandError, match="no trade has this id"):
        store.trades(TradeFilter(before="9999-1"))


def test_equity_sums_books_of_a_moment_and_is_thinned(opened: Open) -> None:
    store = opened()
    marks = [mark(cause, book, 100 * cause + book, past=cause < 0) for cause in range(-50, 51) for book in range(3)]
    store.write(rows(marks=marks), at(99))
    everything = store.equity(points=1_000)
    assert [point.equity_paise for point in everything] == [300 * cause + 3 for cause in range(-50, 51)]
    assert [point.past for point in everything] == [True] * 50 + [False] * 51
    assert [point.capital_paise for point in everything] == [3_000] * 101
    assert [point.equity_paise for point in store.equity(account="two", points=200)][-1] == 5_001
    assert [point.equity_paise for point in store.equity(strategy="s0", from_ns=4_000, to_ns=4_200)] == [4_000, 4_100]
    for wanted in (1, 7, 40, 101):
        thin = store.equity(points=wanted)
        assert 0 < len(thin) <= wanted and thin[-1] == everything[-1]
        assert set(thin) <= set(everything)


def test_clearing_forgets_rows_and_position(opened: Open) -> None:
    store = opened()
    store.write(rows([trade(10)], [mark(10, 0, 5)], [day(20260706)]), at(12))
    store.clear()
    assert store.position() is None and store.trades() == store.days() == store.equity() == []
    assert opened().position() is None


def test_queries_go_on_while_another_connection_writes(opened: Open, tmp_path: Path) -> None:
    writer, reader = opened(), opened()
    for cause in range(1, 20):
        writer.write(rows([trade(cause)]), at(cause))
        assert len(reader.trades()) == cause


# SQLite.


def test_the_file_is_only_its_owners(tmp_path: Path) -> None:
    store = open_ledger(tmp_path / "ledger.db")
    store.write(rows([trade(10)]), at(12))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert modes.keys() == {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert set(modes.values()) == {0o600}


def test_a_newer_schema_is_refused_by_writer_and_reader(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '7' WHERE name = 'schema'")
    connection.close()
    for opening in (open_ledger, read_ledger):
        with pytest.raises(LedgerNewerError, match=r"ledger\.db: its schema is 7, this atmand knows 1") as refused:
            opening(path)
        assert refused.value.exit_code == ExitCode.REFUSED


def test_an_older_schema_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = open_ledger(path)
    store.write(rows([trade(10)]), at(12))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '0' WHERE name = 'schema'")
    connection.close()
    with pytest.raises(AtmandError, match="no ledger of this version"):
        read_ledger(path)
    store = open_ledger(path)
    assert store.position() is None and store.trades() == []
    store.close()


@pytest.mark.parametrize("damage", ["words", "middle"])
def test_a_damaged_file_is_told_from_a_busy_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.db"
    store = open_ledger(path)
    store.write(rows([trade(cause) for cause in range(1, 2_000)]), at(12))
    store.close()
    data = bytearray(path.read_bytes())
    if damage == "words":
        path.write_bytes(b"these are words, and no database at all\n" * 200)
    else:
        data[8_192:40_960] = b"\xa5" * 32_768
        path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"ledger\.db"):
        open_ledger(path)
    assert set_aside(path).name == "ledger.db.damaged-1"
    path.write_bytes(b"x" * 4_096)
    assert set_aside(path).name == "ledger.db.damaged-2"
    assert not path.exists()


def test_a_locked_database_refuses_for_now(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = open_ledger(path, busy_ms=1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="locked"):
        store.write(rows([trade(10)]), at(12))
    assert store.trades() == []
    holder.execute("COMMIT")
    holder.close()
    store.write(rows([trade(10)]), at(12))
    assert store.trades() == [trade(10)]
    store.close()


def test_a_reader_of_nothing_says_so_and_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(AtmandError, match="no ledger is there yet"):
        read_ledger(tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    open_ledger(tmp_path / "ledger.db").close()
    store = read_ledger(tmp_path / "ledger.db")
    with pytest.raises(StoreBusyError, match="readonly"):
        store.write(rows([trade(10)]), at(12))
    store.close()
