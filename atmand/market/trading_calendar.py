"""A calendar of sessions: session tables merged, and the questions that they answer. Pure; times are nanoseconds UTC.

`sessions.py` makes calendars and keeps the one in force; nothing else needs this module.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta, timezone
from functools import lru_cache
from typing import Final, NamedTuple

from atmand.market.session_table import GROUPS, Breaker, Halt, Phase, SessionError, Special, Stretch

__all__ = [
    "BLOCK_DEALS", "FUTURES", "IST", "OPTIONS", "WITHOUT_DERIVATIVES", "WITH_DERIVATIVES", "Calendar", "Stop", "Window",
    "in_windows", "ns", "session_date", "with_halt",
]  # fmt: skip

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
"""India's time: one zone, no daylight saving."""

WITHOUT_DERIVATIVES: Final = 0
"""Group of the shares without derivatives, and of the indices."""

WITH_DERIVATIVES: Final = 1
"""Group of the shares with derivatives, which close by an auction since 2026-08-03."""

FUTURES: Final = 2
OPTIONS: Final = 3

BLOCK_DEALS: Final = 4
"""Windows of the block deals' own order book, in which nothing of ours is ever traded."""

_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 86_400 * _SECOND
_IST: Final = 19_800 * _SECOND
_EPOCH: Final = date(1970, 1, 1).toordinal()
_TABLE: Final = "atmand's session table"


class Window(NamedTuple):
    """A stretch of a day of a group of instruments: `open_ns` belongs to it, `close_ns` does not."""

    group: int
    open_ns: int
    close_ns: int
    phase: Phase = Phase.CONTINUOUS
    step: str = ""
    """What happens inside the phase, in words."""


class Stop(NamedTuple):
    """What the market-wide circuit breaker does: trading goes on at `resume_ns` (None: not today)."""

    stop_ns: int
    resume_ns: int | None
    pre_open_ns: int
    """How long before `resume_ns` a pre-open begins."""


@dataclass(frozen=True, eq=False)
class Calendar:
    """Session tables merged, later ones over earlier ones; `calendar_with` makes one."""

    first: date
    last: date
    settlement_first: date
    hours: Mapping[int, Sequence[tuple[date, Sequence[Stretch]]]]
    """By group: ordinary hours from a day on, oldest first."""
    closed: Mapping[tuple[date, int], str]
    """Closed weekdays of a group, with their source."""
    special: Mapping[tuple[date, int], Special]
    halts: Mapping[date, Sequence[Halt]]
    unsettled: Mapping[date, str]
    breakers: Sequence[Breaker]

    def windows(self, day: date, *, group: int | None = None, phase: Phase | None = Phase.CONTINUOUS) -> list[Window]:
        """Return a day's windows ordered by group, then time; none on a closed day. `phase` None is every phase.

        Sources: the exchanges' holiday lists and circulars, row by row in `data/sessions.toml`. SessionError outside
        the calendar.
        """
        return [
            window
            for window in _day_plan(self, day)
            if (group is None or window.group == group) and (phase is None or window.phase is phase)
        ]

    def phase(self, group: int, time_ns: int) -> Phase:
        """Tell what the market of a group is doing."""
        plan = _day_plan(self, session_date(time_ns))
        found = (one.phase for one in plan if one.group == group and one.open_ns <= time_ns < one.close_ns)
        return next(found, Phase.CLOSED)

    def is_open(self, group: int, time_ns: int) -> bool:
        """Tell whether a group trades continuously: the one phase in which atmand enters, matches and decides."""
        return self.phase(group, time_ns) is Phase.CONTINUOUS

    def next_open(self, group: int, time_ns: int) -> int:
        """Return when continuous trading of a group begins next, after `time_ns`; SessionError past the calendar."""
        day = session_date(time_ns)
        while True:
            for window in self.windows(day, group=group):
                if window.open_ns > time_ns:
                    return window.open_ns
            day += timedelta(days=1)

    def minutes_to_close(self, group: int, time_ns: int) -> float | None:
        """Return the minutes until a group's continuous trading is over for the day; None where none is to come."""
        closes = max((window.close_ns for window in self.windows(session_date(time_ns), group=group)), default=0)
        return (closes - time_ns) / _MINUTE if closes > time_ns else None

    def next_session(self, day: date) -> date:
        """Return the first day strictly after `day` that trades; SessionError where the calendar ends before it."""
        following = day + timedelta(days=1)
        while not self.windows(following):
            following += timedelta(days=1)
        return following

    def settlement_day(self, day: date) -> date:
        """Return when trades of a day are settled (T+1): the next weekday that trades and on which banks are open."""
        if day < self.settlement_first:
            raise SessionError(
                f"settlement of {day}",
                f"{_TABLE} knows settlement holidays from {self.settlement_first} on",
                "choose a later date",
            )
        following = self.next_session(day)
        while following.weekday() >= 5 or following in self.unsettled:
            following = self.next_session(following)
        return following

    def breaker(self, percent: int, time_ns: int) -> Stop:
        """Return what the market-wide circuit breaker does when an index has moved `percent` at `time_ns`."""
        day = session_date(time_ns)
        rules = [row for row in self.breakers if row.first <= day]
        if not rules:
            raise SessionError(
                f"circuit breaker on {day}", f"{_TABLE} begins on {self.breakers[0].first}", "choose a later date"
            )
        clock = _clock(time_ns)
        reached = max((step.percent for step in rules[-1].steps if step.percent <= percent), default=0)
        for step in rules[-1].steps:
            if step.percent == reached and (step.before is None or clock < step.before):
                if step.halt_minutes is None:
                    return Stop(time_ns, None, 0)
                pre_open_ns = step.pre_open_minutes * _MINUTE
                return Stop(time_ns, time_ns + step.halt_minutes * _MINUTE + pre_open_ns, pre_open_ns)
        return Stop(time_ns, time_ns, 0)

    def about(self, day: date, group: int) -> tuple[str, str]:
        """Say what a day is to a group (ordinary, weekend, holiday, or a special one's kind), and its source."""
        special = self.special.get((day, group))
        if special is not None:
            return special.kind, special.source
        if (day, group) in self.closed:
            return "holiday", self.closed[day, group]
        return ("weekend", "") if day.weekday() >= 5 else ("ordinary", "")

    def regular(self, day: date, group: int) -> list[Window]:
        """Return a group's windows on an ordinary day with the hours in force; none before they are known."""
        rows = self.hours.get(group, ())
        at = bisect_right(rows, day, key=lambda row: row[0])
        return _placed(day, group, rows[at - 1][1]) if at else []


def in_windows(day_windows: Iterable[Window], time_ns: int) -> bool:
    """Tell whether `time_ns` lies in one of some windows."""
    return any(window.open_ns <= time_ns < window.close_ns for window in day_windows)


def with_halt(plan: Iterable[Window], stop_ns: int, resume_ns: int | None, pre_open_ns: int = 0) -> list[Window]:
    """Return a day's windows with a halt in them: what lies between is cut out, and a pre-open may end the halt.

    `resume_ns` None is no more trading on the day. A group that has no window there is left as it is.
    """
    by_group: dict[int, list[Window]] = {}
    for window in plan:
        by_group.setdefault(window.group, []).append(window)
    found = [window for own in by_group.values() for window in _halted(own, stop_ns, resume_ns, pre_open_ns)]
    return sorted(found, key=lambda window: (window.group, window.open_ns))


def session_date(time_ns: int) -> date:
    """Return the date in India at a time in nanoseconds UTC."""
    return date.fromordinal(_EPOCH + (time_ns + _IST) // _DAY)


def ns(day: date, clock: str | time) -> int:
    """Return the nanoseconds UTC of a wall-clock time in India, such as `09:15` or `15:29:59`."""
    at = time.fromisoformat(clock) if isinstance(clock, str) else clock
    seconds = at.hour * 3600 + at.minute * 60 + at.second
    return (day.toordinal() - _EPOCH) * _DAY + seconds * _SECOND + at.microsecond * 1000 - _IST


def _clock(time_ns: int) -> time:
    seconds = (time_ns + _IST) % _DAY // _SECOND
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60)


@lru_cache(maxsize=4096)
def _day_plan(chosen: Calendar, day: date) -> tuple[Window, ...]:
    """Return all windows of a day, in every phase, ordered by group, then time."""
    if not chosen.first <= day <= chosen.last:
        later = ", install a newer atmand, or move [calendar] last in market.sessions_file"
        raise SessionError(
            f"session {day}",
            f"{_TABLE} covers {chosen.first} to {chosen.last}",
            "choose a market date in that range" + later * (day > chosen.last),
        )
    plan: list[Window] = []
    for group in range(len(GROUPS)):
        own = _group_plan(chosen, day, group)
        for halt in chosen.halts.get(day, ()):
            if GROUPS[group] in halt.segments:
                resume_ns = None if halt.resumes is None else ns(day, halt.resumes)
                own = with_halt(own, ns(day, halt.stops), resume_ns, halt.pre_open_minutes * _MINUTE)
        plan += own
    return tuple(plan)


def _group_plan(chosen: Calendar, day: date, group: int) -> list[Window]:
    special = chosen.special.get((day, group))
    if special is not None and special.windows is not None:
        return _placed(day, group, special.windows)
    shut = day.weekday() >= 5 or (day, group) in chosen.closed
    return [] if special is None and shut else chosen.regular(day, group)


def _placed(day: date, group: int, stretches: Iterable[Stretch]) -> list[Window]:
    return [Window(group, ns(day, one.opens), ns(day, one.closes), one.phase, one.step) for one in stretches]


def _halted(own: list[Window], stop_ns: int, resume_ns: int | None, pre_open_ns: int) -> Iterator[Window]:
    last_ns = max(window.close_ns for window in own)
    stop_ns = max(stop_ns, min(window.open_ns for window in own))
    until_ns = last_ns if resume_ns is None else min(resume_ns, last_ns)
    if stop_ns >= until_ns:
        yield from own
        return
    for window in own:
        if window.open_ns < stop_ns:
            yield window._replace(close_ns=min(window.close_ns, stop_ns))
        if window.close_ns > until_ns:
            yield window._replace(open_ns=max(window.open_ns, until_ns))
    pre_open_ns = min(pre_open_ns, until_ns - stop_ns) if resume_ns == until_ns else 0
    if until_ns - pre_open_ns > stop_ns:
        yield Window(own[0].group, stop_ns, until_ns - pre_open_ns, Phase.HALT)
    if pre_open_ns:
        yield Window(own[0].group, until_ns - pre_open_ns, until_ns, Phase.PRE_OPEN, "after a halt")
