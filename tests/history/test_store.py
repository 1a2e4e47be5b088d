"""The bar store: what is merged reads back, twice is once, and a file is replaced whole or not at all."""

from __future__ import annotations

import os
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.errors import AtmandError, DamagedError
from atmand.history.bars import HistoryError, load_bars
from atmand.history.scan import listing, scan
from atmand.history.store import ROWS, Merged, Store
from atmand.market.sessions import ns

MINUTE = 60_000_000_000
JULY = ns(date(2026, 7, 31), "15:29")
Row = tuple[str, int, int, int]


def frame(rows: list[Row], origin: int = 1) -> pl.DataFrame:
    """Make rows out of (symbol, minute, price, volume)."""
    made = [
        (f"NSE:EQ:{symbol}", JULY + minute * MINUTE, price, price + 1, price, price, volume, None, 100, origin)
        for symbol, minute, price, volume in rows
    ]
    return pl.DataFrame(made, schema=ROWS, orient="row")


def content(store: Store) -> dict[tuple[str, int], tuple[int, ...]]:
    rows = scan(store).sort("key", "start_ns").collect()
    return {(key, start): tuple(rest) for key, start, *rest in rows.select("key", "start_ns", "open", "volume").rows()}


# Minutes on both sides of a month's end.
rows_of = st.lists(
    st.tuples(st.sampled_from(["A", "B", "C-BE"]), st.integers(-3, 900), st.integers(1, 10**9), st.integers(0, 2**40)),
    max_size=25,
)


@given(parts=st.lists(rows_of, max_size=4))
@settings(max_examples=30, deadline=None)
def test_merging_is_a_map_that_the_last_writer_wins_and_twice_is_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Row]]
) -> None:
    store = Store(tmp_path_factory.mktemp("law") / "store", create=True)
    expected: dict[tuple[str, int], tuple[int, ...]] = {}
    for part in parts:
        before = dict(expected)
        for symbol, minute, price, volume in part:
            expected[f"NSE:EQ:{symbol}", JULY + minute * MINUTE] = (price, volume)
        done = store.merge(frame(part), MINUTE)
        assert content(store) == expected
        touched = {(f"NSE:EQ:{symbol}", JULY + minute * MINUTE) for symbol, minute, *_ in part}
        assert done.added == len(touched - before.keys())
        assert done.replaced == sum(before[name] != expected[name] for name in touched & before.keys())
        stamps = {part.path: part.path.stat().st_mtime_ns for part in store.partitions()}
        again = store.merge(frame(part), MINUTE)
        assert (again.added, again.replaced, again.same) == (0, 0, len(touched))
        assert {part.path: part.path.stat().st_mtime_ns for part in store.partitions()} == stamps


def test_disjoint_rows_may_come_in_any_order(tmp_path: Path) -> None:
    parts = [frame([("A", 0, 100, 1)]), frame([("A", 1, 101, 2), ("B", 0, 5, 1)]), frame([("B", 900, 6, 1)])]
    stores = [Store(tmp_path / name, create=True) for name in ("one", "other")]
    for store, order in zip(stores, (parts, parts[::-1]), strict=True):
        for part in order:
            store.merge(part, MINUTE)
    assert content(stores[0]) == content(stores[1])
    files = [[part.path.read_bytes() for part in store.partitions()] for store in stores]
    assert files[0] == files[1]


def test_what_only_fills_leaves_what_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.merge(frame([("A", 0, 100, 1)]), MINUTE)
    done = store.merge(frame([("A", 0, 999, 9), ("A", 1, 101, 1)], origin=2), MINUTE, fill_only=True)
    assert done == Merged(added=1, same=1)
    assert [row[0] for row in content(store).values()] == [100, 101]


def test_files_are_apart_by_exchange_bar_and_month_and_only_those_asked_for_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.merge(frame([("A", 0, 100, 1), ("A", 900, 101, 1)]), MINUTE)
    store.merge(frame([("A", 0, 100, 1)]), 15 * MINUTE)
    names = [part.path.relative_to(store.directory).as_posix() for part in store.partitions()]
    assert names == [
        "exchange=NSE/bar=15m/month=2026-07/bars.parquet",
        "exchange=NSE/bar=1m/month=2026-07/bars.parquet",
        "exchange=NSE/bar=1m/month=2026-08/bars.parquet",
    ]
    store.partitions(bar="1m")[1].path.write_bytes(b"torn")
    july = scan(store, bar="1m", end_ns=JULY + MINUTE).collect()
    assert july["open"].to_list() == [100]
    with pytest.raises(DamagedError, match="month=2026-08"):
        listing(store)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store", create=True)
    store.merge(frame([("A", 0, 100, 1)]), MINUTE)
    before = content(store)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        store.merge(frame([("A", 1, 101, 1)]), MINUTE)
    monkeypatch.undo()
    assert content(store) == before


@pytest.mark.parametrize(
    ("mark", "error"),
    [(b'{"schema": 99}', "schema 99; this atmand knows 1"), (b"{", "does not say which schema"), (None, "no store")],
)
def test_a_store_that_is_none_or_newer_is_refused(tmp_path: Path, mark: bytes | None, error: str) -> None:
    if mark is not None:
        (tmp_path / "store.json").write_bytes(mark)
    with pytest.raises(AtmandError, match=error):
        Store(tmp_path)


def test_no_store_is_made_where_something_else_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(HistoryError, match="holds something else"):
        Store(tmp_path, create=True)


def test_a_source_keeps_its_number(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    numbers = [store.source(name="x", kind="bars", sha256=sha, rows=1) for sha in ("a", "b", "a")]
    assert numbers == [1, 2, 1]
    assert [entry["sha256"] for entry in store.sources()] == ["a", "b"]


def test_research_reads_a_store_by_the_names_that_it_knows(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.merge(frame([("A", -1, 100, 1), ("A", 0, 101, 2), ("B", 0, 50, 1)]), MINUTE)
    every, one = load_bars(store.directory), load_bars(store.directory, ["NSE:A", "NSE:EQ:UNKNOWN"])
    assert every.symbols == ("A", "B") and one.symbols == ("A",)
    assert one.series["A"]["close"].tolist() == [100, 101]
    assert load_bars(store.directory, start=date(2026, 7, 31), end=date(2026, 7, 31)).symbols == ("A", "B")
    with pytest.raises(HistoryError, match="no 5m bars"):
        load_bars(f"{store.directory}:5m")
    with pytest.raises(HistoryError, match="no 1m bars from 2026-08-01"):
        load_bars(store.directory, start=date(2026, 8, 1))
    shutil.rmtree(store.directory)
    with pytest.raises(HistoryError, match=r"no ending|not a kind of bars|no such file"):
        load_bars(store.directory)
