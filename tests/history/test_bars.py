"""Bars from Parquet and CSV: exact paise, true rows only, one time axis."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.history.bars import BAR, COLUMNS, Bars, HistoryError, aligned, load_bars
from atmand.market.sessions import in_windows, ns, regular_windows, session_date

KOLKATA = ZoneInfo("Asia/Kolkata")
START = datetime(2026, 7, 6, 9, 15, tzinfo=KOLKATA)
MINUTE = 60_000_000_000
HEADER = ",".join(COLUMNS)

Row = tuple[str, datetime, float, float, float, float, int]


def row(symbol: str, minute: int, close: float = 100.0, volume: int = 10) -> Row:
    return symbol, START + timedelta(minutes=minute), close, close + 1, close - 1, close, volume


def parquet(path: Path, rows: list[Row], zone: str | None = "Asia/Kolkata") -> Path:
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    frame.with_columns(pl.col("ts").dt.convert_time_zone("Asia/Kolkata").dt.replace_time_zone(zone)).write_parquet(path)
    return path


def text(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bars")


@st.composite
def generated_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for symbol in draw(st.lists(st.sampled_from(["INFY", "M&M", "NIFTY 50"]), min_size=1, unique=True)):
        for minute in draw(st.lists(st.integers(0, 5000), min_size=2, max_size=20, unique=True)):
            low, *middle, high = sorted(draw(st.lists(st.integers(1, 10**9), min_size=4, max_size=4)))
            opens, closes = middle
            at, volume = START + timedelta(minutes=minute), draw(st.integers(0, 2**40))
            rows.append((symbol, at, opens / 100, high / 100, low / 100, closes / 100, volume))
    return rows


def paise(rupees: float) -> int:
    return int((Decimal(repr(rupees)) * 100).to_integral_value(ROUND_HALF_UP))


def expected(rows: list[Row]) -> dict[str, list[tuple[int, ...]]]:
    out: dict[str, list[tuple[int, ...]]] = {}
    for symbol, at, *prices, volume in sorted(rows, key=lambda one: one[1]):
        start_ns = int(at.timestamp()) * 10**9
        out.setdefault(symbol, []).append((start_ns, *(paise(price) for price in prices), volume))
    return out


def content(bars: Bars) -> dict[str, list[tuple[int, ...]]]:
    return {symbol: [tuple(map(int, one)) for one in bars.series[symbol].tolist()] for symbol in bars.symbols}


@given(rows=generated_rows())
def test_a_parquet_file_reads_back_as_it_was_written(folder: Path, rows: list[Row]) -> None:
    bars = load_bars(parquet(folder / "generated.parquet", rows))

    assert content(bars) == expected(rows)
    assert all(series.dtype is BAR and not series.flags.writeable for series in bars.series.values())


@given(rows=generated_rows(), zone=st.sampled_from([UTC, KOLKATA]))
def test_csv_and_parquet_hold_the_same_bars(folder: Path, rows: list[Row], zone: Any) -> None:
    lines = [",".join([one[0], one[1].astimezone(zone).isoformat(), *map(repr, one[2:])]) for one in rows]

    assert content(load_bars(text(folder / "same.csv", *lines))) == expected(rows)


@given(prices=st.lists(st.decimals("0.01", "99999999", places=4), min_size=1, max_size=40))
def test_prices_round_half_up_from_their_decimal(folder: Path, prices: list[Decimal]) -> None:
    lines = [f"X,{START + timedelta(minutes=n)},{price},{price},{price},{price},0" for n, price in enumerate(prices)]
    bars = load_bars(text(folder / "rounding.csv", *lines))

    assert bars.series["X"]["close"].tolist() == [
        int((price * 100).to_integral_value(ROUND_HALF_UP)) for price in prices
    ]


@pytest.mark.parametrize(("price", "expected_paise"), [(1.005, 101), (2.675, 268), (0.285, 29), (590.2549, 59025)])
def test_a_float_stands_for_its_shortest_decimal(folder: Path, price: float, expected_paise: int) -> None:
    bars = load_bars(parquet(folder / "float.parquet", [("X", START, price, price, price, price, 0)]))

    assert bars.series["X"]["open"].tolist() == [expected_paise]


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-07-06 09:15:00+05:30",
        "2026-07-06T09:15:00+0530",
        "2026-07-06T09:15+05:30",
        "2026-07-06T03:45:00Z",
        "2026-07-06 03:45:00.000000 +00:00",
    ],
)
def test_a_time_may_be_written_in_several_ways(folder: Path, stamp: str) -> None:
    bars = load_bars(text(folder / "times.csv", f"X,{stamp},1,1,1,1,1"))

    assert bars.series["X"]["start_ns"].tolist() == [ns(date(2026, 7, 6), "09:15")]


GOOD = "INFY,2026-07-06 09:15:00+05:30,100,101,99,100.5,10"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "X,2026-07-06 09:16:00,1,1,1,1,1",
            r"row 2 \(X\): ts 2026-07-06 09:16:00 is not a time with a time zone; write",
        ),
        ("X,yesterday,1,1,1,1,1", r"row 2 \(X\): ts yesterday is not a time"),
        ("X,2026-13-06 09:16:00+05:30,1,1,1,1,1", r"row 2 \(X\): ts 2026-13-06 .* is not a time"),
        ("X,1960-01-01 09:16:00+05:30,1,1,1,1,1", r"row 2 \(X\): ts 1960.* is before 1970"),
        ("X,,1,1,1,1,1", r"row 2 \(X\): ts  is empty"),
        (",2026-07-06 09:16:00+05:30,1,1,1,1,1", r"row 2 \(None\): symbol  is empty"),
        ("X,2026-07-06 09:16:00+05:30,ten,1,1,1,1", r"row 2 \(X\): open ten is not a number; correct"),
        ("X,2026-07-06 09:16:00+05:30,1,NaN,1,1,1", r"row 2 \(X\): high NaN is not a finite"),
        ("X,2026-07-06 09:16:00+05:30,1,inf,1,1,1", r"row 2 \(X\): high inf is not a finite"),
        ("X,2026-07-06 09:16:00+05:30,1,1,-1,1,1", r"row 2 \(X\): low -1 is negative"),
        ("X,2026-07-06 09:16:00+05:30,1,1,0,1,1", r"row 2 \(X\): low 0 is below one paisa"),
        ("X,2026-07-06 09:16:00+05:30,1,1e30,1,1,1", r"row 2 \(X\): high 1e30 is no price"),
        ("X,2026-07-06 09:16:00+05:30,2,1,3,2,1", r"row 2 \(X\): high 1 is below the low"),
        ("X,2026-07-06 09:16:00+05:30,4,3,1,2,1", r"row 2 \(X\): open 4 is outside low to high"),
        ("X,2026-07-06 09:16:00+05:30,2,3,1,0.99,1", r"row 2 \(X\): close 0.99 is outside"),
        ("X,2026-07-06 09:16:00+05:30,1,1,1,1,-5", r"row 2 \(X\): volume -5 is negative"),
        ("X,2026-07-06 09:16:00+05:30,1,1,1,1,1.5", r"row 2 \(X\): volume 1.5 is not a whole"),
        ("X,2026-07-06 09:16:00+05:30,1,1,1,1,", r"row 2 \(X\): volume  is not a number"),
        (GOOD, r"row 2 \(INFY\): ts 2026-07-06 09:15:00\+05:30 is there twice for INFY; leave"),
    ],
)
def test_a_row_that_cannot_be_true_is_refused_with_its_place(folder: Path, line: str, message: str) -> None:
    with pytest.raises(HistoryError, match=r"bad\.csv: " + message):
        load_bars(text(folder / "bad.csv", GOOD, line))


def test_naive_times_of_a_parquet_file_are_refused(folder: Path) -> None:
    with pytest.raises(HistoryError, match=r"row 1 \(INFY\): ts 2026-07-06 09:15:00 has no time zone; write the START"):
        load_bars(parquet(folder / "naive.parquet", [row("INFY", 0)], zone=None))


def test_a_row_number_is_the_files_even_when_a_choice_leaves_rows_out(folder: Path) -> None:
    path = text(
        folder / "choice.csv", GOOD, "BAD,2026-07-06 09:16:00+05:30,x,1,1,1,1", "TCS" + GOOD[4:], "TCS,,1,1,1,1,1"
    )

    assert load_bars(path, symbols=["INFY"]).symbols == ("INFY",)
    with pytest.raises(HistoryError, match=r"row 4 \(TCS\)"):
        load_bars(path, symbols=["INFY", "TCS"])


def test_rows_out_of_order_are_sorted_and_noted(folder: Path) -> None:
    path = parquet(
        folder / "unsorted.parquet", [row("INFY", 2, 102), row("INFY", 0, 100), row("TCS", 0), row("INFY", 1, 101)]
    )
    bars = load_bars(path)

    assert bars.series["INFY"]["close"].tolist() == [10000, 10100, 10200]
    assert bars.notes == (f"{path}: the bars of INFY were out of order and have been sorted",)
    assert bars.symbols == ("INFY", "TCS")


def test_a_day_end_is_included_and_an_instant_end_is_not(folder: Path) -> None:
    day = 24 * 60
    path = parquet(folder / "span.parquet", [row("INFY", n) for n in (0, 1, day, day + 1, 2 * day)])

    assert len(load_bars(path, start=date(2026, 7, 7), end=date(2026, 7, 7)).series["INFY"]) == 2
    assert len(load_bars(path, end=START + timedelta(days=1)).series["INFY"]) == 2
    assert (
        len(load_bars(path, start=ns(date(2026, 7, 6), "09:16"), end=ns(date(2026, 7, 8), "09:15")).series["INFY"]) == 3
    )
    with pytest.raises(HistoryError, match="no bars from 2027-01-01 to None; its bars start 2026-07-06T03:45:00Z to"):
        load_bars(path, start=date(2027, 1, 1))
    with pytest.raises(HistoryError, match="has no time zone"):
        load_bars(path, start=datetime(2026, 7, 6))


def test_an_unknown_symbol_is_refused_with_the_nearest(folder: Path) -> None:
    path = parquet(folder / "symbols.parquet", [row("INFY", 0), row("TCS", 0)])

    with pytest.raises(HistoryError, match="no bars of 'INFI'; the nearest symbol in it is INFY"):
        load_bars(path, symbols=["INFI"])
    with pytest.raises(HistoryError, match="no symbol was asked for"):
        load_bars(path, symbols=[])


UNREADABLE = [
    pytest.param("missing.parquet", None, "no such file", id="missing parquet"),
    pytest.param("missing.csv", None, "no such file", id="missing csv"),
    pytest.param("bars.xlsx", b"", "is not a kind of bars; give a .parquet or .csv", id="another kind"),
    pytest.param("torn.parquet", b"PAR1 torn", "cannot be read: ", id="torn parquet"),
    pytest.param("empty.csv", b"", "cannot be read: ", id="empty csv"),
    pytest.param("binary.csv", b"\xff\xfe\x00,\x80\n\x81", "cannot be read: |no column", id="binary csv"),
    pytest.param("header.csv", HEADER.encode() + b"\n", "no bars in it", id="header only"),
    pytest.param("columns.csv", b"symbol,date\nX,1\n", "no column ts, open, high.*it has symbol, date", id="columns"),
]


@pytest.mark.parametrize(("name", "data", "message"), UNREADABLE)
def test_a_file_that_is_not_bars_is_refused(folder: Path, name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        (folder / name).write_bytes(data)

    with pytest.raises(HistoryError, match=message):
        load_bars(folder / name)


def test_times_that_are_numbers_are_refused(folder: Path) -> None:
    path = folder / "epoch.parquet"
    pl.DataFrame([("X", 1, 1.0, 1.0, 1.0, 1.0, 1)], schema=COLUMNS, orient="row").write_parquet(path)

    with pytest.raises(HistoryError, match="column ts holds Int64, not times"):
        load_bars(path)


def test_the_spacing_is_the_most_common_difference(folder: Path) -> None:
    bars = load_bars(parquet(folder / "spacing.parquet", [row("X", n) for n in (0, 5, 10, 12, 15, 20, 1440)]))

    assert bars.bar_ns == 5 * MINUTE
    with pytest.raises(HistoryError, match="one bar a symbol"):
        _ = load_bars(parquet(folder / "one.parquet", [row("X", 0), row("Y", 1)])).bar_ns


@given(rows=generated_rows())
def test_alignment_loses_no_bar_and_invents_none(folder: Path, rows: list[Row]) -> None:
    bars = load_bars(parquet(folder / "aligned.parquet", rows))
    times, grid, present = aligned(bars)

    assert (np.diff(times) > 0).all() and present.any(axis=1).all()
    assert (grid["start_ns"] == times[:, None]).all()
    assert not grid["close"][~present].any()
    for column, symbol in enumerate(bars.symbols):
        assert (grid[present[:, column], column] == bars.series[symbol]).all()


@pytest.mark.parametrize(
    ("name", "symbols", "bars_each"), [("nse_eq_1m_2016-08", 12, 6750), ("nse_idx_1m_2024Q1", 2, 22397)]
)
def test_real_minutes_are_read_whole(name: str, symbols: int, bars_each: int) -> None:
    bars = load_bars(real(f"{name}.parquet"))
    times, _, present = aligned(bars)

    assert len(bars.symbols) == symbols and {len(rows) for rows in bars.series.values()} == {bars_each}
    assert bars.bar_ns == MINUTE and present.all() and len(times) == bars_each


def test_real_shares_traded_in_the_regular_windows_of_their_day() -> None:
    bars = load_bars(real("nse_eq_1m_2016-08.parquet"), symbols=["INFY"], end=date(2016, 8, 19))

    starts = bars.series["INFY"]["start_ns"].tolist()
    assert len(starts) == 4 * 375
    assert all(in_windows(regular_windows(session_date(at)), at) for at in starts)


def test_a_daily_file_without_zoned_times_is_refused() -> None:
    with pytest.raises(HistoryError, match=r"no column ts; it has symbol, series, date"):
        load_bars(real("nse_eq_daily_2024-2026.parquet"))


def real(name: str) -> Path:
    data = os.environ.get("ATMAND_TEST_DATA")
    if not data:
        pytest.skip("ATMAND_TEST_DATA is not set")
    return Path(data) / "bars" / name
