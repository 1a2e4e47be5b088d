"""The calendar against a library's, the days that the library misses, and the change of 2026-08-03."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.market.sessions import (
    FIRST_DAY,
    IST,
    LAST_DAY,
    WITH_DERIVATIVES,
    WITHOUT_DERIVATIVES,
    SessionError,
    Window,
    is_open,
    next_session,
    ns,
    regular_windows,
    session_date,
    windows,
)

KOLKATA = ZoneInfo("Asia/Kolkata")

SPECIAL = {
    date(2024, 1, 20): [("09:15", "15:30")],
    date(2024, 3, 2): [("09:15", "10:00"), ("11:30", "12:30")],
    date(2024, 5, 18): [("09:15", "10:00"), ("11:45", "12:40")],
    date(2024, 11, 1): [("18:00", "19:00")],
    date(2025, 2, 1): [("09:15", "15:30")],
    date(2025, 10, 21): [("13:45", "14:45")],
    date(2026, 2, 1): [("09:15", "15:30")],
}

days = st.dates(FIRST_DAY, LAST_DAY)


def hours(day: date, group: int) -> list[tuple[str, str]]:
    def clock(time_ns: int) -> str:
        return datetime.fromtimestamp(time_ns / 1e9, KOLKATA).strftime("%H:%M")

    return [(clock(window.open_ns), clock(window.close_ns)) for window in windows(day) if window.group == group]


@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")
def test_weekday_sessions_equal_the_librarys_calendar() -> None:
    xcals = pytest.importorskip("exchange_calendars")
    library = {stamp.date() for stamp in xcals.get_calendar("XBOM", start=FIRST_DAY, end=LAST_DAY).sessions}
    every = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]

    ours = {day for day in every if windows(day)}
    assert ours - library == set(SPECIAL)
    assert library <= ours


@pytest.mark.parametrize(("day", "expected"), list(SPECIAL.items()))
def test_special_sessions_have_their_own_hours(day: date, expected: list[tuple[str, str]]) -> None:
    assert hours(day, WITHOUT_DERIVATIVES) == hours(day, WITH_DERIVATIVES) == expected


def test_shares_with_derivatives_close_earlier_from_the_day_of_the_closing_auction() -> None:
    assert hours(date(2026, 7, 31), WITH_DERIVATIVES) == [("09:15", "15:30")]
    assert hours(date(2026, 8, 3), WITH_DERIVATIVES) == [("09:15", "15:15")]
    assert hours(date(2026, 8, 3), WITHOUT_DERIVATIVES) == [("09:15", "15:30")]


def test_a_muhurat_day_without_announced_hours_is_closed() -> None:
    assert windows(date(2026, 11, 8)) == []


def test_bars_of_older_years_have_the_hours_of_their_time() -> None:
    day = date(2016, 8, 16)

    assert regular_windows(day) == [
        Window(group, ns(day, "09:15"), ns(day, "15:30")) for group in (WITHOUT_DERIVATIVES, WITH_DERIVATIVES)
    ]
    with pytest.raises(SessionError, match="known from 2010-10-18"):
        regular_windows(date(2010, 10, 17))


@pytest.mark.parametrize("day", [date(2023, 12, 31), date(2027, 1, 1), date(2016, 8, 16)])
def test_a_day_outside_the_calendar_is_refused_with_its_range_and_a_remedy(day: date) -> None:
    with pytest.raises(SessionError, match="covers 2024-01-01 to 2026-12-31; choose a market date in that range"):
        windows(day)


def test_a_window_contains_its_opening_and_not_its_close() -> None:
    day = date(2024, 3, 2)
    two = windows(day)

    assert [is_open(two, ns(day, clock)) for clock in ("09:14:59", "09:15", "10:00", "11:00", "11:30", "12:30")] == [
        False, True, False, False, True, False,
    ]  # fmt: skip


def test_a_group_is_closed_while_another_still_trades() -> None:
    day = date(2026, 8, 3)
    at = ns(day, "15:20")

    assert is_open(windows(day), at)
    assert is_open(windows(day), at, group=WITHOUT_DERIVATIVES)
    assert not is_open(windows(day), at, group=WITH_DERIVATIVES)


def test_the_next_session_skips_weekends_and_holidays_and_finds_special_days() -> None:
    assert next_session(date(2026, 7, 3)) == date(2026, 7, 6)
    assert next_session(date(2025, 10, 21)) == date(2025, 10, 23)
    assert next_session(date(2024, 1, 19)) == date(2024, 1, 20)
    assert next_session(date(2026, 7, 6)) == date(2026, 7, 7)
    with pytest.raises(SessionError):
        next_session(LAST_DAY)


@given(day=days, at=st.times())
def test_times_agree_with_the_zone_database(day: date, at: object) -> None:
    moment = datetime.combine(day, at, KOLKATA)  # type: ignore[arg-type]
    time_ns = ns(day, moment.time().isoformat())

    assert time_ns == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert session_date(time_ns) == day == moment.astimezone(IST).date()


@given(day=days)
def test_windows_of_a_group_are_ordered_disjoint_and_on_their_day(day: date) -> None:
    for group in (WITHOUT_DERIVATIVES, WITH_DERIVATIVES):
        own = [window for window in windows(day) if window.group == group]
        edges = [edge for window in own for edge in (window.open_ns, window.close_ns)]
        assert edges == sorted(set(edges))
        assert all(session_date(edge) == day for edge in edges)


@given(day=st.dates(FIRST_DAY, LAST_DAY - timedelta(days=30)))
def test_no_session_lies_between_a_day_and_its_next_session(day: date) -> None:
    following = next_session(day)

    assert following > day and windows(following)
    assert not any(windows(day + timedelta(days=n)) for n in range(1, (following - day).days))
