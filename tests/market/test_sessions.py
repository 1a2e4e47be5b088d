"""Every special day, both sides of each change of hours, a library's calendar as oracle of weekdays, and laws."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.market.sessions import (
    BLOCK_DEALS,
    FIRST_DAY,
    FUTURES,
    GROUPS,
    IST,
    LAST_DAY,
    OPTIONS,
    WITH_DERIVATIVES,
    WITHOUT_DERIVATIVES,
    Phase,
    SessionError,
    Stop,
    Window,
    calendar,
    in_windows,
    is_open,
    minutes_to_close,
    next_open,
    next_session,
    ns,
    phase,
    regular_windows,
    session_date,
    settlement_day,
    windows,
    with_halt,
)

KOLKATA = ZoneInfo("Asia/Kolkata")
TRADED = (WITHOUT_DERIVATIVES, WITH_DERIVATIVES, FUTURES, OPTIONS)
FULL = "09:15-15:30"

SPECIAL = {
    date(2020, 2, 1): ("budget", FULL),
    date(2020, 11, 14): ("muhurat", "18:15-19:15"),
    date(2021, 2, 24): ("outage", "09:15-11:40 15:45-17:00"),
    date(2021, 11, 4): ("muhurat", "18:15-19:15"),
    date(2022, 10, 24): ("muhurat", "18:15-19:15"),
    date(2023, 11, 12): ("muhurat", "18:15-19:15"),
    date(2024, 1, 20): ("weekend", FULL),
    date(2024, 3, 2): ("disaster_recovery", "09:15-10:00 11:30-12:30"),
    date(2024, 5, 18): ("disaster_recovery", "09:15-10:00 11:45-12:40"),
    date(2024, 11, 1): ("muhurat", "18:00-19:00"),
    date(2025, 2, 1): ("budget", FULL),
    date(2025, 10, 21): ("muhurat", "13:45-14:45"),
    date(2026, 2, 1): ("budget", FULL),
    date(2026, 11, 8): ("muhurat", ""),
}
"""A day, what it was, and when it traded continuously."""

MISSED_BY_THE_LIBRARY = {
    date(2020, 2, 1), date(2020, 11, 14), date(2022, 10, 24), date(2023, 11, 12), date(2024, 1, 20), date(2024, 3, 2),
    date(2024, 5, 18), date(2024, 11, 1), date(2025, 2, 1), date(2025, 10, 21), date(2026, 2, 1),
}  # fmt: skip
"""Real sessions, seen in the exchange's daily files, that exchange-calendars' XBOM does not have."""

MUHURAT_ON_A_HOLIDAY = {date(2021, 11, 4)}
"""One more that it does not have: a holiday but for its evening hour."""

CHANGES = [
    # the last day of the old hours, the first of the new ones, segment, phase, old, new
    ("2025-12-05", "2025-12-08", "futures", Phase.PRE_OPEN, "", "09:00-09:15"),
    ("2025-12-05", "2025-12-08", "options", Phase.PRE_OPEN, "", ""),
    ("2025-12-05", "2025-12-08", "block_deals", Phase.BLOCK_DEAL, "", "08:45-09:00 14:05-14:20"),
    ("2026-07-31", "2026-08-03", "shares", Phase.CONTINUOUS, FULL, FULL),
    ("2026-07-31", "2026-08-03", "shares", Phase.POST_CLOSE, "15:40-16:00", "15:50-16:00"),
    ("2026-07-31", "2026-08-03", "shares_with_derivatives", Phase.CONTINUOUS, FULL, "09:15-15:15"),
    ("2026-07-31", "2026-08-03", "shares_with_derivatives", Phase.CLOSING_AUCTION, "", "15:15-15:35"),
    ("2026-07-31", "2026-08-03", "futures", Phase.CONTINUOUS, FULL, "09:15-15:40"),
    ("2026-07-31", "2026-08-03", "options", Phase.CONTINUOUS, FULL, "09:15-15:40"),
    ("2026-09-04", "2026-09-07", "shares", Phase.PRE_OPEN, "09:00-09:15", "09:00-09:15"),
    ("2026-09-04", "2026-09-07", "shares_with_derivatives", Phase.CLOSING_AUCTION, "15:15-15:35", "15:15-15:35"),
]

days = st.dates(FIRST_DAY, LAST_DAY)
early_days = st.dates(FIRST_DAY, LAST_DAY - timedelta(days=30))
groups = st.sampled_from(TRADED)
clocks = st.times()


def shown(day: date, group: int, only: Phase = Phase.CONTINUOUS) -> str:
    """Write a group's windows of a phase as text, steps that touch joined."""
    joined: list[list[int]] = []
    for window in windows(day, group=group, phase=only):
        if joined and joined[-1][1] == window.open_ns:
            joined[-1][1] = window.close_ns
        else:
            joined.append([window.open_ns, window.close_ns])
    return " ".join(
        "-".join(datetime.fromtimestamp(edge / 1e9, KOLKATA).strftime("%H:%M") for edge in one) for one in joined
    )


def every_day() -> Iterator[date]:
    return (FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1))


@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")
def test_weekday_sessions_equal_the_librarys_calendar() -> None:
    xcals = pytest.importorskip("exchange_calendars")
    library = {stamp.date() for stamp in xcals.get_calendar("XBOM", start=FIRST_DAY, end=LAST_DAY).sessions}

    ours = {day for day in every_day() if windows(day)}
    assert ours - library == MISSED_BY_THE_LIBRARY | MUHURAT_ON_A_HOLIDAY
    assert library <= ours
    assert len(MISSED_BY_THE_LIBRARY) == 11


def test_every_special_day_of_the_table_is_known_here() -> None:
    kinds = {day: calendar().about(day, OPTIONS)[0] for day in every_day()}
    special = {day: kind for day, kind in kinds.items() if kind not in ("ordinary", "holiday")}
    assert {day: kind for day, kind in special.items() if day in SPECIAL} == {
        day: row[0] for day, row in SPECIAL.items()
    }
    assert all(day.weekday() >= 5 and not windows(day, phase=None) for day in special.keys() - SPECIAL.keys())
    assert all(
        calendar().about(day, OPTIONS)[1] for day, kind in kinds.items() if kind != "ordinary" and day in SPECIAL
    )


@pytest.mark.parametrize(("day", "expected"), [(day, hours) for day, (_, hours) in SPECIAL.items()])
def test_special_sessions_have_their_own_hours_in_every_segment(day: date, expected: str) -> None:
    assert {shown(day, group) for group in TRADED} == {expected}


@pytest.mark.parametrize(("before", "after", "segment", "only", "old", "new"), CHANGES)
def test_hours_change_on_their_day(before: str, after: str, segment: str, only: Phase, old: str, new: str) -> None:
    group = GROUPS.index(segment)

    assert shown(date.fromisoformat(before), group, only) == old
    assert shown(date.fromisoformat(after), group, only) == new


@pytest.mark.parametrize(
    ("moment", "segment", "expected"),
    [
        ("2026-07-31 15:20", "shares_with_derivatives", "continuous"),
        ("2026-08-03 08:59:59", "shares", "closed"),
        ("2026-08-03 09:00", "shares", "pre_open"),
        ("2026-08-03 09:14:59", "options", "closed"),
        ("2026-08-03 09:14:59", "futures", "pre_open"),
        ("2026-08-03 09:15", "options", "continuous"),
        ("2026-08-03 15:14:59", "shares_with_derivatives", "continuous"),
        ("2026-08-03 15:15", "shares_with_derivatives", "closing_auction"),
        ("2026-08-03 15:15", "shares", "continuous"),
        ("2026-08-03 15:34:59", "shares_with_derivatives", "closing_auction"),
        ("2026-08-03 15:35", "shares_with_derivatives", "closed"),
        ("2026-08-03 15:39:59", "futures", "continuous"),
        ("2026-08-03 15:40", "futures", "closed"),
        ("2026-08-03 15:50", "shares", "post_close"),
        ("2026-08-03 16:00", "shares", "closed"),
        ("2024-03-02 10:30", "options", "closed"),
        ("2021-02-24 12:00", "shares", "halt"),
        ("2025-10-21 13:40", "shares", "pre_open"),
        ("2026-08-15 11:00", "shares", "closed"),
    ],
)
def test_a_market_is_in_one_phase(moment: str, segment: str, expected: str) -> None:
    day, _, clock = moment.partition(" ")
    time_ns, group = ns(date.fromisoformat(day), clock), GROUPS.index(segment)

    assert phase(group, time_ns) == expected
    assert is_open(group, time_ns) == (expected == "continuous")


def test_steps_inside_a_phase_are_told() -> None:
    steps = [window.step for window in windows(date(2026, 9, 7), group=WITH_DERIVATIVES, phase=Phase.PRE_OPEN)]
    assert steps == ["limit and market orders", "limit orders, random close from 09:08", "matching", "buffer"]


def test_bars_of_older_years_have_the_hours_of_their_time() -> None:
    day = date(2016, 8, 16)

    assert regular_windows(day) == [Window(group, ns(day, "09:15"), ns(day, "15:30")) for group in TRADED]
    with pytest.raises(SessionError, match="known from 2010-10-18"):
        regular_windows(date(2010, 10, 17))


@pytest.mark.parametrize("day", [date(2019, 12, 31), date(2027, 1, 1), date(2016, 8, 16)])
def test_a_day_outside_the_calendar_is_refused_with_table_range_and_remedy(day: date) -> None:
    told = "atmand's session table covers 2020-01-01 to 2026-12-31; choose a market date in that range"
    with pytest.raises(SessionError, match=told):
        windows(day)
    with pytest.raises(SessionError, match=told):
        is_open(OPTIONS, ns(day, "10:00"))
    assert SessionError.exit_code == 3


def test_what_comes_after_the_calendars_last_close_is_refused() -> None:
    last = ns(LAST_DAY, "15:41")
    assert minutes_to_close(FUTURES, last) is None
    with pytest.raises(SessionError, match="covers 2020-01-01 to 2026-12-31"):
        next_open(FUTURES, last)
    with pytest.raises(SessionError, match="covers"):
        next_session(LAST_DAY)


@pytest.mark.parametrize(
    ("moment", "group", "minutes", "opens"),
    [
        ("2026-08-03 08:00", WITH_DERIVATIVES, 435, "2026-08-03 09:15"),
        ("2026-08-03 15:00", WITH_DERIVATIVES, 15, "2026-08-04 09:15"),
        ("2026-08-03 15:00", WITHOUT_DERIVATIVES, 30, "2026-08-04 09:15"),
        ("2026-08-03 15:00", OPTIONS, 40, "2026-08-04 09:15"),
        ("2026-08-03 15:20", WITH_DERIVATIVES, None, "2026-08-04 09:15"),
        ("2024-03-02 09:30", FUTURES, 180, "2024-03-02 11:30"),
        ("2025-10-20 16:00", FUTURES, None, "2025-10-21 13:45"),
        ("2026-11-07 12:00", OPTIONS, None, "2026-11-09 09:15"),
    ],
)
def test_the_close_and_the_next_opening_are_those_of_the_segment(
    moment: str, group: int, minutes: int | None, opens: str
) -> None:
    day, _, clock = moment.partition(" ")
    day_after, _, clock_after = opens.partition(" ")
    time_ns = ns(date.fromisoformat(day), clock)

    assert minutes_to_close(group, time_ns) == minutes
    assert next_open(group, time_ns) == ns(date.fromisoformat(day_after), clock_after)


def test_the_next_session_skips_weekends_and_holidays_and_finds_special_days() -> None:
    assert next_session(date(2026, 7, 3)) == date(2026, 7, 6)
    assert next_session(date(2025, 10, 21)) == date(2025, 10, 23)
    assert next_session(date(2024, 1, 19)) == date(2024, 1, 20)


@pytest.mark.parametrize(
    ("day", "settled"),
    [
        ("2026-07-06", "2026-07-07"),
        ("2026-01-30", "2026-02-02"),  # the budget's Sunday trades and does not settle
        ("2026-02-18", "2026-02-20"),
        ("2026-03-30", "2026-04-02"),  # a holiday, then the banks' year-end
        ("2026-08-25", "2026-08-27"),
    ],
)
def test_trades_are_settled_on_the_next_day_that_settles(day: str, settled: str) -> None:
    assert settlement_day(date.fromisoformat(day)) == date.fromisoformat(settled)


def test_settlement_before_its_list_begins_is_refused() -> None:
    with pytest.raises(SessionError, match="settlement holidays from 2026-01-01 on"):
        settlement_day(date(2025, 12, 31))


@pytest.mark.parametrize(
    ("percent", "clock", "resumes", "pre_open"),
    [
        (9, "10:00", "10:00", 0),
        (10, "12:59", "13:59", 15),
        (10, "13:00", "13:30", 15),
        (10, "14:30", "14:30", 0),
        (15, "12:59", "14:59", 15),
        (15, "13:59", "14:59", 15),
        (15, "14:00", None, 0),
        (20, "09:30", None, 0),
    ],
)
def test_the_circuit_breaker_halts_by_percent_and_time(
    percent: int, clock: str, resumes: str | None, pre_open: int
) -> None:
    day = date(2026, 8, 10)
    back = None if resumes is None else ns(day, resumes)
    assert calendar().breaker(percent, ns(day, clock)) == Stop(ns(day, clock), back, pre_open * 60 * 10**9)


def test_the_circuit_breaker_has_no_rule_before_its_table() -> None:
    with pytest.raises(SessionError, match="begins on 2013-10-01"):
        calendar().breaker(10, ns(date(2013, 9, 30), "10:00"))


def test_a_halt_cuts_windows_and_ends_in_a_pre_open() -> None:
    day = date(2026, 8, 10)
    stop = calendar().breaker(10, ns(day, "13:30"))
    after = with_halt(windows(day, phase=None), *stop)

    mine = [one for one in after if one.group == OPTIONS]
    assert [(one.phase, one.open_ns, one.close_ns) for one in mine] == [
        (Phase.CONTINUOUS, ns(day, "09:15"), ns(day, "13:30")),
        (Phase.HALT, ns(day, "13:30"), ns(day, "13:45")),
        (Phase.PRE_OPEN, ns(day, "13:45"), ns(day, "14:00")),
        (Phase.CONTINUOUS, ns(day, "14:00"), ns(day, "15:40")),
    ]
    gone = with_halt(windows(day, phase=None), ns(day, "14:30"), None)
    assert {one.phase for one in gone if one.group == WITH_DERIVATIVES and one.open_ns >= ns(day, "14:30")} == {
        Phase.HALT
    }
    assert with_halt(windows(day), ns(day, "16:30"), ns(day, "17:00")) == windows(day)


def test_a_window_contains_its_opening_and_not_its_close() -> None:
    day = date(2024, 3, 2)
    two = windows(day)

    assert [in_windows(two, ns(day, clock)) for clock in ("09:14:59", "09:15", "10:00", "11:00", "11:30", "12:30")] == [
        False, True, False, False, True, False,
    ]  # fmt: skip


@given(day=days, at=clocks)
def test_times_agree_with_the_zone_database(day: date, at: object) -> None:
    moment = datetime.combine(day, at, KOLKATA)  # type: ignore[arg-type]
    time_ns = ns(day, moment.time().isoformat())

    assert time_ns == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert session_date(time_ns) == day == moment.astimezone(IST).date()


@given(day=days, group=st.integers(0, BLOCK_DEALS))
def test_windows_of_a_segment_are_ordered_disjoint_and_on_their_day(day: date, group: int) -> None:
    own = windows(day, group=group, phase=None)
    assert all(one.open_ns < one.close_ns and one.group == group for one in own)
    assert all(one.close_ns <= after.open_ns for one, after in pairwise(own))
    assert all(session_date(one.open_ns) == session_date(one.close_ns) == day for one in own)


@given(day=days, group=groups, at=clocks)
def test_phase_and_openness_agree_with_the_windows(day: date, group: int, at: object) -> None:
    time_ns = ns(day, at)  # type: ignore[arg-type]
    inside = [one for one in windows(day, group=group, phase=None) if one.open_ns <= time_ns < one.close_ns]

    assert phase(group, time_ns) == (inside[0].phase if inside else Phase.CLOSED)
    assert is_open(group, time_ns) == in_windows(windows(day, group=group), time_ns)
    if is_open(group, time_ns):
        assert minutes_to_close(group, time_ns) is not None


@given(day=early_days, group=groups, at=clocks)
def test_the_next_opening_lies_ahead_and_nothing_opens_before_it(day: date, group: int, at: object) -> None:
    time_ns = ns(day, at)  # type: ignore[arg-type]
    opens = next_open(group, time_ns)

    assert opens > time_ns and is_open(group, opens) and not is_open(group, opens - 1)
    between = [day + timedelta(days=n) for n in range((session_date(opens) - day).days + 1)]
    assert not any(time_ns < one.open_ns < opens for one in between for one in windows(one, group=group))


@given(day=early_days)
def test_no_session_lies_between_a_day_and_its_next_session(day: date) -> None:
    following = next_session(day)

    assert following > day and windows(following)
    assert not any(windows(day + timedelta(days=n)) for n in range(1, (following - day).days))


@given(day=days, stop=clocks, minutes=st.integers(1, 400), pre_open=st.integers(0, 30))
def test_a_halt_leaves_windows_ordered_and_disjoint_and_never_trades_inside(
    day: date, stop: object, minutes: int, pre_open: int
) -> None:
    stop_ns = ns(day, stop)  # type: ignore[arg-type]
    resume_ns = stop_ns + minutes * 60 * 10**9
    for group in TRADED:
        own = with_halt(windows(day, group=group, phase=None), stop_ns, resume_ns, pre_open * 60 * 10**9)
        assert all(one.open_ns < one.close_ns for one in own)
        assert all(one.close_ns <= after.open_ns for one, after in pairwise(own))
        trading = [one for one in own if one.phase is Phase.CONTINUOUS]
        assert not any(one.open_ns < resume_ns and one.close_ns > stop_ns for one in trading)


def test_the_exchanges_own_daily_files_have_the_sessions_of_the_calendar(data_directory: Path) -> None:
    pl = pytest.importorskip("polars")
    daily = pl.read_parquet(data_directory / "bars" / "nse_eq_daily_2024-2026.parquet")
    traded = set(daily["date"].cast(pl.Date).to_list())
    first, last = min(traded), max(traded)
    assert {day for day in every_day() if first <= day <= last and windows(day)} == traded
