"""Checks of bars: each fault is found where it was put, real files give what is known of them, good bars nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from atmand.history.actions import Action
from atmand.history.bars import HistoryError
from atmand.history.findings import Checked, check, check_path
from atmand.history.importing import import_files
from atmand.history.store import Store
from atmand.market.sessions import ns, windows

MINUTE = 60_000_000_000
DAY = 24 * 60 * MINUTE
DAYS = [date(2026, 7, 6), date(2026, 7, 7), date(2026, 7, 8)]


def minutes(days: list[date] = DAYS, key: str = "NSE:EQ:A") -> pl.DataFrame:
    """Make quiet bars for every minute of some days."""
    rows = []
    for day in days:
        opens, close = windows(day)[0].open_ns, windows(day)[0].close_ns
        for place, start in enumerate(range(opens, close, MINUTE)):
            price = 100_000 + 50 * (place % 7)
            rows.append((key, start, price, price + 20, price - 20, price + 5, 100 + place % 13))
    return pl.DataFrame(rows, schema=["key", "start_ns", "open", "high", "low", "close", "volume"], orient="row")


def at(clock: str, day: date = DAYS[1]) -> int:
    return ns(day, clock)


def dropped(frame: pl.DataFrame, first: str, last: str) -> pl.DataFrame:
    return frame.filter(~pl.col("start_ns").is_between(at(first), at(last)))


def changed(frame: pl.DataFrame, clock: str, **values: int) -> pl.DataFrame:
    here = pl.col("start_ns") == at(clock)
    return frame.with_columns(
        pl.when(here).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


def divided(frame: pl.DataFrame) -> pl.DataFrame:
    prices = [pl.col(name) // (1 + (pl.col("start_ns") >= at("00:00"))) for name in ("open", "high", "low", "close")]
    return frame.with_columns(prices)


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Let a day go on for an hour at its last price."""
    rows = [("NSE:EQ:A", at("15:30") + n * MINUTE, 100_155, 100_155, 100_155, 100_155, 0) for n in range(60)]
    return pl.concat([frame, pl.DataFrame(rows, schema=frame.schema, orient="row")])


CASES: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], dict[str, int]]] = {
    "nothing": (lambda frame: frame, {}),
    "shuffled": (lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=1), {}),
    "two gaps": (lambda frame: dropped(dropped(frame, "10:00", "10:04"), "15:29", "15:29"), {"gap": 6}),
    "a day gone": (lambda frame: dropped(frame, "00:00", "23:59"), {"missing_session": 1}),
    "twice": (lambda frame: pl.concat([frame, frame.head(3)]), {"duplicate": 3}),
    "stamped at the end": (
        lambda frame: frame.with_columns(pl.col("start_ns") + MINUTE),
        {"end_stamp": 3, "off_session": 3, "gap": 3},
    ),
    "a spike": (lambda frame: changed(frame, "11:00", high=150_000), {"outlier": 1}),
    "a misprint": (lambda frame: changed(frame, "11:00", low=10_000), {"outlier": 1}),
    "a split": (divided, {"split": 1}),
    "a flat tail": (flat, {"flat_tail": 60, "off_session": 60, "zero_volume": 60}),
    "a Sunday": (
        lambda frame: pl.concat([frame, frame.head(2).with_columns(pl.col("start_ns") - DAY)]),
        {"no_session": 2},
    ),
    "the day's volume": (
        lambda frame: frame.with_columns(
            volume=pl.col("volume").cum_sum().over(pl.col("start_ns") // DAY)
            - 200 * (pl.col("start_ns") == at("12:00"))
        ),
        {"volume": 3},
    ),
    "no volume": (lambda frame: changed(frame, "11:00", volume=0), {"zero_volume": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_found_where_it_is_and_nowhere_else(name: str) -> None:
    make, expected = CASES[name]
    found = check(make(minutes()), MINUTE)
    counts: dict[str, int] = {}
    for one in found:
        counts[one.kind] = counts.get(one.kind, 0) + one.count
    assert counts == expected


def test_a_gap_is_told_with_its_minutes_and_a_falling_cumulative_volume_with_its_falls() -> None:
    gap = check(dropped(minutes(), "10:00", "10:04"), MINUTE)[0]
    assert (gap.first, gap.last, gap.count) == ("2026-07-07 10:00", "2026-07-07 10:04", 5)
    volume = check(CASES["the day's volume"][0](minutes()), MINUTE)[0]
    assert "falls 1 times" in volume.detail


def test_a_split_that_an_action_tells_is_none() -> None:
    actions = [Action("NSE:EQ:A", DAYS[1], new=2)]
    assert check(divided(minutes()), MINUTE, actions) == []
    assert [one.kind for one in check(divided(minutes()), MINUTE, [Action("NSE:EQ:B", DAYS[1], new=2)])] == ["split"]


def test_what_hardly_trades_and_what_expires_has_no_gaps() -> None:
    rare = minutes(key="NSE:EQ:RARE").gather_every(5)
    option = minutes(key="NSE:OPT:NIFTY:2026-07-28:24500:CE").gather_every(3)
    assert check(pl.concat([rare, option]), MINUTE) == []


def test_longer_bars_and_days_are_held_against_their_own_grid() -> None:
    quarter = minutes().filter((pl.col("start_ns") - at("09:15")) % (15 * MINUTE) == 0)
    assert check(quarter, 15 * MINUTE) == []
    assert [one.count for one in check(dropped(quarter, "10:00", "10:59"), 15 * MINUTE)] == [4]
    daily = minutes().filter((pl.col("start_ns") - at("09:15")) % DAY == 0)
    daily = daily.with_columns(start_ns=pl.col("start_ns") - 555 * MINUTE)
    assert check(daily, DAY) == []
    assert [one.kind for one in check(dropped(daily, "00:00", "23:59"), DAY)] == ["missing_session"]


def test_rows_of_a_file_that_cannot_be_true_are_found_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    head = "symbol,ts,open,high,low,close,volume"
    rows = [f"A,2026-07-06 09:{15 + n}:00+05:30,100,101,{99 + 5 * (n == 1)},100,1" for n in range(4)]
    path.write_text("\n".join([head, *rows]) + "\n")
    found = check_path(path)
    assert not found.good and found.findings[0].kind == "impossible"
    assert found.findings[0].detail == f"{path}: line 3: the high is below the low"
    with pytest.raises(HistoryError):
        check_path(tmp_path / "none.csv")


def counts(checked: Checked) -> dict[str, int]:
    return {kind: row["count"] for kind, row in checked.summary().items()}


def test_real_shares_of_2016_have_28_bars_without_volume_and_nothing_else(data_directory: Path) -> None:
    found = check_path(data_directory / "bars" / "nse_eq_1m_2016-08.parquet")
    assert (found.rows, found.instruments, found.good) == (81_000, 12, True)
    assert counts(found) == {"zero_volume": 28}


def test_real_indices_of_2024_have_a_flat_tail_on_a_saturday(data_directory: Path) -> None:
    found = check_path(data_directory / "bars" / "nse_idx_1m_2024Q1.parquet")
    assert counts(found) == {"missing_session": 4, "off_session": 2 * 167, "flat_tail": 2 * 163}
    spans = {(one.first, one.last) for one in found.findings if one.kind == "off_session"}
    assert spans == {("2024-01-20 15:30", "2024-01-20 18:16")}  # and none on 2024-03-02, a day of two windows


def test_real_days_of_2024_to_2026_show_the_bonuses_until_actions_tell_them(
    tmp_path: Path, data_directory: Path
) -> None:
    path = data_directory / "bars" / "nse_eq_daily_2024-2026.parquet"
    found = check_path(path)
    known = {("NSE:EQ:HDFCBANK", "2025-08-26 00:00"), ("NSE:EQ:RELIANCE", "2024-10-28 00:00")}
    assert {(one.instrument, one.first) for one in found.findings if one.kind == "split"} == known
    assert counts(found) == {"split": 2}  # weekend and evening sessions are sessions
    actions = tmp_path / "actions.toml"
    actions.write_text(
        "".join(
            f'[[action]]\nkind = "bonus"\ninstrument = "{key}"\nex_date = {day[:10]}\nratio = "1:1"\n'
            for key, day in sorted(known)
        )
    )
    store = Store(tmp_path / "store", create=True)
    assert import_files(store, [path, actions]).actions == 2
    assert check_path(store.directory).good


def test_shares_and_derivatives_are_held_against_their_own_hours_of_the_day() -> None:
    """From 2026-08-03 on shares end at 15:15 or 15:30, derivatives at 15:40."""
    day = date(2026, 8, 10)
    late = [ns(day, clock) for clock in ("15:14", "15:29", "15:39", "15:40")]
    rows = [(key, start, 10, 10, 10, 10, 1) for key in ("NSE:EQ:A", "NSE:FUT:A:2026-08-25") for start in late]
    frame = pl.DataFrame(rows, schema=minutes().columns, orient="row")
    found = [one for one in check(frame, MINUTE) if one.kind == "off_session"]
    assert [(one.instrument, one.first[-5:], one.count) for one in found] == [
        ("NSE:EQ:A", "15:39", 2),
        ("NSE:FUT:A:2026-08-25", "15:40", 1),
    ]
