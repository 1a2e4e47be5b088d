"""When the Indian exchanges trade: what each segment's market is doing at any moment, from a dated table.

A day is a list of windows per segment, each in one phase: pre-open, continuous, closing auction, post-close, halt. The
daemon opens and closes its sessions by it, the watchdog of the feed tells a dead socket from a closed market by it, and
the simulator keeps its hours. Times are nanoseconds UTC. The module's functions ask the calendar in force: our own
table, with the user's file laid over it where the configuration names one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from importlib.resources import files
from typing import Final

from atmand.market.session_table import GROUPS, Phase, SessionError, SessionTable, Special, parse_table
from atmand.market.trading_calendar import (
    BLOCK_DEALS,
    FUTURES,
    IST,
    OPTIONS,
    WITH_DERIVATIVES,
    WITHOUT_DERIVATIVES,
    Calendar,
    Stop,
    Window,
    in_windows,
    ns,
    session_date,
    with_halt,
)

__all__ = [
    "BLOCK_DEALS",
    "FIRST_DAY",
    "FUTURES",
    "GROUPS",
    "IST",
    "LAST_DAY",
    "OPTIONS",
    "WITHOUT_DERIVATIVES",
    "WITH_DERIVATIVES",
    "Calendar",
    "Phase",
    "SessionError",
    "Stop",
    "Window",
    "calendar",
    "calendar_with",
    "in_windows",
    "is_open",
    "minutes_to_close",
    "next_open",
    "next_session",
    "ns",
    "own_calendar",
    "phase",
    "regular_windows",
    "session_date",
    "settlement_day",
    "use_calendar",
    "windows",
    "with_halt",
]


def calendar() -> Calendar:
    """Return the calendar in force."""
    return _in_force[0]


def own_calendar() -> Calendar:
    """Return our own calendar, without a user's file."""
    return _OWN


def use_calendar(chosen: Calendar | None) -> None:
    """Put a calendar in force for this process; None is our own table's."""
    _in_force[0] = chosen or _OWN


def calendar_with(text: str, name: str) -> Calendar:
    """Return our own calendar with a user's table laid over it; SessionError names the place of a mistake in `name`."""
    table = parse_table(text, name)
    span = table.calendar
    if span.first is not None or span.settlement_first is not None:
        raise SessionError(f"{name}: calendar", "only `last` can be moved", "leave the others out")
    if span.last is not None and span.last < _OWN.last:
        raise SessionError(
            f"{name}: calendar.last", f"{span.last} is before {_OWN.last}, which is known", "write a later date"
        )
    last = span.last or _OWN.last
    for place, day in _days_named(table):
        if not _OWN.first <= day <= last:
            raise SessionError(
                f"{name}: {place}",
                f"{day} is outside the calendar, {_OWN.first} to {last}",
                "correct the date, or move [calendar] last",
            )
    return replace(_merged(_OWN, table), last=last)


def windows(day: date, *, group: int | None = None, phase: Phase | None = Phase.CONTINUOUS) -> list[Window]:
    """Return a day's windows in the calendar in force; see `Calendar.windows`."""
    return calendar().windows(day, group=group, phase=phase)


def phase(group: int, time_ns: int) -> Phase:
    """Tell what the market of a group is doing; see `Calendar.phase`."""
    return calendar().phase(group, time_ns)


def is_open(group: int, time_ns: int) -> bool:
    """Tell whether a group trades continuously; see `Calendar.is_open`."""
    return calendar().is_open(group, time_ns)


def next_open(group: int, time_ns: int) -> int:
    """Return when continuous trading of a group begins next; see `Calendar.next_open`."""
    return calendar().next_open(group, time_ns)


def minutes_to_close(group: int, time_ns: int) -> float | None:
    """Return the minutes until a group's continuous trading is over; see `Calendar.minutes_to_close`."""
    return calendar().minutes_to_close(group, time_ns)


def next_session(day: date) -> date:
    """Return the first day strictly after `day` that trades; see `Calendar.next_session`."""
    return calendar().next_session(day)


def settlement_day(day: date) -> date:
    """Return when trades of a day are settled; see `Calendar.settlement_day`."""
    return calendar().settlement_day(day)


def regular_windows(day: date) -> list[Window]:
    """Return the continuous windows of an ordinary session with the hours in force, whether or not the day traded.

    For bars of years before the calendar: the bars themselves show that the market was open. SessionError before the
    first hours known, 2010-10-18.
    """
    found = [
        window
        for group in (WITHOUT_DERIVATIVES, WITH_DERIVATIVES, FUTURES, OPTIONS)
        for window in calendar().regular(day, group)
        if window.phase is Phase.CONTINUOUS
    ]
    if not found:
        first = calendar().hours[WITHOUT_DERIVATIVES][0][0]
        raise SessionError(f"session {day}", f"hours are known from {first} on", "choose a later date")
    return found


def _merged(base: Calendar, table: SessionTable) -> Calendar:
    """Lay a table's rows over a calendar; within a table a day has one row, so their order does not matter."""
    hours = {group: dict(rows) for group, rows in base.hours.items()}
    for row in table.hours:
        for segment in row.segments:
            hours.setdefault(GROUPS.index(segment), {})[row.first] = row.windows
    closed, special = dict(base.closed), dict(base.special)
    traded = range(BLOCK_DEALS)
    for off in table.closed:
        for day in off.days:
            for group in (*traded, BLOCK_DEALS):
                special.pop((day, group), None)
                closed[day, group] = off.source
    opened = [Special(day=day, source=row.source) for row in table.open for day in row.days]
    for one in (*opened, *table.special):
        for segment in one.segments:
            special[one.day, GROUPS.index(segment)] = one
    halts = {day: list(rows) for day, rows in base.halts.items()}
    for halt in table.halt:
        halts.setdefault(halt.day, []).append(halt)
    return replace(
        base,
        hours={group: sorted(rows.items()) for group, rows in hours.items()},
        closed=closed,
        special=special,
        halts=halts,
        unsettled=dict(base.unsettled) | {day: row.source for row in table.settlement_closed for day in row.days},
        breakers=sorted((*base.breakers, *table.breaker), key=lambda row: row.first),
    )


def _days_named(table: SessionTable) -> Iterator[tuple[str, date]]:
    for name in ("closed", "open", "settlement_closed"):
        for number, row in enumerate(getattr(table, name), 1):
            for day in row.days:
                yield f"{name}[{number}].days", day
    for name in ("special", "halt"):
        for number, row in enumerate(getattr(table, name), 1):
            yield f"{name}[{number}].day", row.day


def _own() -> Calendar:
    table = parse_table((files("atmand.market") / "data" / "sessions.toml").read_text("utf-8"), "sessions.toml")
    span = table.calendar
    assert span.first is not None and span.last is not None and span.settlement_first is not None
    return _merged(Calendar(span.first, span.last, span.settlement_first, {}, {}, {}, {}, {}, ()), table)


_OWN: Final = _own()
_in_force: Final = [_OWN]
FIRST_DAY: Final = _OWN.first
LAST_DAY: Final = _OWN.last
