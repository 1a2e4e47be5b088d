"""When the cash segment trades: holidays, special sessions and hours from a dated table, in nanoseconds UTC.

The daemon opens and closes its sessions by it, the feed's watchdog tells a dead socket from a closed market by it, and
the simulator keeps its hours. A day is a list of windows, because some days had two.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, time, timedelta, timezone
from typing import Final, NamedTuple

from atmand.errors import AtmandError
from atmand.market.tables import load_table

__all__ = [
    "FIRST_DAY",
    "IST",
    "LAST_DAY",
    "WITHOUT_DERIVATIVES",
    "WITH_DERIVATIVES",
    "SessionError",
    "Window",
    "is_open",
    "next_session",
    "ns",
    "regular_windows",
    "session_date",
    "windows",
]

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
"""India's time: one zone, no daylight saving."""

WITHOUT_DERIVATIVES: Final = 0
"""Group of the shares without derivatives, and of the indices."""

WITH_DERIVATIVES: Final = 1
"""Group of the shares with derivatives, whose continuous session ends earlier since the closing auction exists."""

_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400 * _SECOND
_IST: Final = 19_800 * _SECOND
_EPOCH: Final = date(1970, 1, 1).toordinal()


class SessionError(AtmandError):
    """The session table does not know the day."""


class Window(NamedTuple):
    """One continuous session of a group of instruments: `open_ns` belongs to it, `close_ns` does not."""

    group: int
    open_ns: int
    close_ns: int


class _Hours(NamedTuple):
    first: date
    windows: tuple[tuple[int, str, str], ...]


def windows(day: date) -> list[Window]:
    """Return the day's windows ordered by group, then time; none on a closed day.

    Sources: the exchanges' holiday lists and circulars, row by row in `data/sessions.toml`. SessionError outside the
    calendar.
    """
    _check(day)
    special = _SPECIAL.get(day)
    if special is not None:
        return _placed(day, special)
    if day.weekday() >= 5 or day in _CLOSED:
        return []
    return regular_windows(day)


def regular_windows(day: date) -> list[Window]:
    """Return the windows of an ordinary session with the hours in force on `day`, whether or not that day traded.

    For bars of years before the calendar: the bars themselves show that the market was open. SessionError before the
    first hours known, 2010-10-18.
    """
    at = bisect_right(_HOURS, day, key=lambda hours: hours.first)
    if at == 0:
        raise SessionError(f"session {day}", f"hours are known from {_HOURS[0].first} on", "choose a later date")
    return _placed(day, _HOURS[at - 1].windows)


def is_open(day_windows: Iterable[Window], time_ns: int, *, group: int | None = None) -> bool:
    """Tell whether `time_ns` lies in a window, of `group` if one is given."""
    return any(window.open_ns <= time_ns < window.close_ns and group in (None, window.group) for window in day_windows)


def next_session(day: date) -> date:
    """Return the first day strictly after `day` that has a window; SessionError where the calendar ends before it."""
    following = day + timedelta(days=1)
    while not windows(following):
        following += timedelta(days=1)
    return following


def session_date(time_ns: int) -> date:
    """Return the date in India at a time in nanoseconds UTC."""
    return date.fromordinal(_EPOCH + (time_ns + _IST) // _DAY)


def ns(day: date, clock: str) -> int:
    """Return the nanoseconds UTC of a wall-clock time in India, such as `09:15` or `15:29:59`."""
    at = time.fromisoformat(clock)
    seconds = at.hour * 3600 + at.minute * 60 + at.second
    return (day.toordinal() - _EPOCH) * _DAY + seconds * _SECOND + at.microsecond * 1000 - _IST


def _check(day: date) -> None:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise SessionError(
            f"session {day}",
            f"the trading calendar covers {FIRST_DAY} to {LAST_DAY}",
            "choose a market date in that range, or install a newer atmand, whose calendar goes further",
        )


def _placed(day: date, hours: Iterable[tuple[int, str, str]]) -> list[Window]:
    return [Window(group, ns(day, opens), ns(day, closes)) for group, opens, closes in hours]


def _spans(group: int, spans: list[list[time]]) -> list[tuple[int, str, str]]:
    return [(group, opens.isoformat(), closes.isoformat()) for opens, closes in spans]


_TABLE: Final = load_table("sessions")

FIRST_DAY: Final[date] = _TABLE["calendar"]["first"]
LAST_DAY: Final[date] = _TABLE["calendar"]["last"]

_CLOSED: Final = frozenset(day for row in _TABLE["closed"] for day in row["days"])
_HOURS: Final = sorted(
    _Hours(row["from"], tuple(span for group, spans in row["groups"].items() for span in _spans(int(group), spans)))
    for row in _TABLE["hours"]
)
_SPECIAL: Final[dict[date, tuple[tuple[int, str, str], ...]]] = {
    row["day"]: tuple(
        span for group in (WITHOUT_DERIVATIVES, WITH_DERIVATIVES) for span in _spans(group, row["windows"])
    )
    for row in _TABLE["special"]
}
