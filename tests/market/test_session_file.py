"""A user's file of sessions: what it lays over the calendar, and how each mistake in it is told."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from atmand.market.sessions import (
    FUTURES,
    OPTIONS,
    WITH_DERIVATIVES,
    WITHOUT_DERIVATIVES,
    Calendar,
    Phase,
    SessionError,
    calendar_with,
    ns,
    own_calendar,
)

GOOD = """
[calendar]
last = 2027-01-31

[[special]]
day = 2026-11-08
kind = "muhurat"
source = "NSE circular of 2026-10-20"
windows = [
    { phase = "pre_open", from = 17:45:00, to = 18:00:00 },
    { phase = "continuous", from = 18:00:00, to = 19:00:00 },
]

[[special]]
day = 2026-12-05
segments = ["futures", "options"]
source = "NSE circular of 2026-11-30: derivatives alone"

[[open]]
days = [2026-11-24]
source = "NSE circular of 2026-11-20: the holiday is called off"

[[closed]]
days = [2026-12-01, 2027-01-26]
source = "NSE circular of 2026-11-27"

[[halt]]
day = 2026-12-02
from = 11:00:00
to = 12:00:00
pre_open_minutes = 15
source = "market-wide circuit breaker"

[[settlement_closed]]
days = [2026-12-03]
source = "NCL circular"

[[hours]]
from = 2026-12-07
segments = ["options"]
source = "NSE circular: longer evenings"
windows = [{ phase = "continuous", from = 09:15:00, to = 17:00:00 }]
"""


@pytest.fixture(scope="module")
def merged() -> Calendar:
    return calendar_with(GOOD, "mine.toml")


def test_rows_of_the_file_win_over_the_calendar(merged: Calendar) -> None:
    at = {name: date(2026, 11, 8) for name in ("muhurat",)}
    assert merged.phase(OPTIONS, ns(at["muhurat"], "17:50")) is Phase.PRE_OPEN
    assert merged.is_open(WITHOUT_DERIVATIVES, ns(date(2026, 11, 8), "18:30"))
    assert merged.is_open(FUTURES, ns(date(2026, 12, 5), "15:35"))
    assert merged.windows(date(2026, 12, 5), group=WITHOUT_DERIVATIVES) == []
    assert merged.phase(WITH_DERIVATIVES, ns(date(2026, 11, 24), "15:20")) is Phase.CLOSING_AUCTION
    assert merged.windows(date(2026, 12, 1)) == [] == merged.windows(date(2027, 1, 26))
    assert merged.about(date(2026, 12, 1), OPTIONS) == ("holiday", "NSE circular of 2026-11-27")
    assert merged.is_open(OPTIONS, ns(date(2026, 12, 7), "16:59"))
    assert not merged.is_open(OPTIONS, ns(date(2026, 12, 4), "16:59"))
    assert merged.settlement_day(date(2026, 12, 2)) == date(2026, 12, 4)


def test_a_halt_of_the_file_is_a_phase_of_the_day(merged: Calendar) -> None:
    day = date(2026, 12, 2)
    phases = [merged.phase(FUTURES, ns(day, clock)) for clock in ("10:59", "11:00", "11:45", "12:00")]
    assert phases == [Phase.CONTINUOUS, Phase.HALT, Phase.PRE_OPEN, Phase.CONTINUOUS]


def test_the_rest_of_the_calendar_is_as_it_was(merged: Calendar) -> None:
    own = own_calendar()
    assert merged.first == own.first and merged.last == date(2027, 1, 31)
    for day in (date(2024, 3, 2), date(2026, 8, 3), date(2026, 11, 10), date(2026, 12, 8)):
        for group in (WITHOUT_DERIVATIVES, WITH_DERIVATIVES, FUTURES):
            assert merged.windows(day, group=group, phase=None) == own.windows(day, group=group, phase=None)
    assert own.windows(date(2026, 11, 24)) == []


CLOSED = '[[closed]]\nsource = "x"\n'
SPECIAL = '[[special]]\nday = 2026-11-08\nsource = "x"\n'
HALT = '[[halt]]\nday = 2026-12-02\nsource = "x"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[closed", "mine.toml: not TOML: .*; write times as 09:15:00"),
        ("[[holiday]]\ndays = []", r"mine.toml: holiday: unknown key; docs/sessions.md lists the tables"),
        (CLOSED + 'days = ["2026-12-01"]', r"mine.toml: closed\[1\].days\[1\]: should be a date, .* got "
         r"'2026-12-01'; write dates without quotes"),
        ('[[closed]]\ndays = [2026-12-01]', r"mine.toml: closed\[1\].source: not set; name what announced it"),
        (CLOSED + "days = [2028-01-03]", r"mine.toml: closed\[1\].days: 2028-01-03 is outside the calendar, 2020-01-01 "
         r"to 2026-12-31; correct the date, or move \[calendar\] last"),
        (SPECIAL + 'windows = [{ phase = "open", from = 18:00:00, to = 19:00:00 }]',
         r"mine.toml: special\[1\].windows\[1\].phase: should be .*, got 'open'; name one of pre_open"),
        (SPECIAL + 'windows = [{ phase = "continuous", from = "18:00", to = 19:00:00 }]',
         r"special\[1\].windows\[1\].from: .* got '18:00'; write a time without quotes"),
        (SPECIAL + 'windows = [{ phase = "continuous", from = 19:00:00, to = 18:00:00 }]',
         r"special\[1\].windows\[1\].to: 18:00:00 is not after 19:00:00; a window ends on its day"),
        (SPECIAL + 'windows = [{ phase = "continuous", from = 18:00:00, to = 19:00:00 },'
         ' { phase = "post_close", from = 18:30:00, to = 19:30:00 }]',
         r"special\[1\].windows\[2\].from: 18:30:00 is before the end of the window above, 19:00:00; list windows"),
        (SPECIAL + 'segments = ["commodities"]', r"special\[1\].segments\[1\]: .*'commodities'; name some of shares,"),
        (SPECIAL + SPECIAL, r"special\[2\].day: 2026-11-08 stands in special\[1\].day too; keep one of the rows"),
        (SPECIAL + CLOSED + "days = [2026-11-08]", r"special\[1\].day: 2026-11-08 stands in closed\[1\].days too"),
        (HALT + "from = 12:00:00\nto = 11:00:00", r"halt\[1\].to: 11:00:00 is not after 12:00:00; write when trading"),
        (HALT + "from = 12:00:00\npre_open_minutes = -1", r"halt\[1\].pre_open_minutes: .* got -1"),
        ("[calendar]\nlast = 2025-12-31", "calendar.last: 2025-12-31 is before 2026-12-31, which is known"),
        ("[calendar]\nfirst = 2019-01-01", "mine.toml: calendar: only `last` can be moved; leave the others out"),
        ('[[hours]]\nfrom = 2027-01-01\nsegments = ["options"]\nsource = "x"\nwindows = []\n' * 2,
         r"hours\[2\].from: hours\[1\] is of options from 2027-01-01 too; keep one of the rows"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_place_value_and_remedy(text: str, told: str) -> None:
    with pytest.raises(SessionError, match=told):
        calendar_with(text, "mine.toml")


def test_an_empty_file_changes_nothing() -> None:
    day = date(2026, 8, 3)
    assert calendar_with("", "mine.toml").windows(day, phase=None) == own_calendar().windows(day, phase=None)


def test_the_example_of_the_documentation_is_a_good_file() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text("utf-8")
    example = next(text for text in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[[special]]" in text)
    shown = calendar_with(example, "docs/sessions.md")
    assert shown.last == date(2027, 12, 31)
    assert shown.is_open(OPTIONS, ns(date(2027, 1, 4), "16:30"))
