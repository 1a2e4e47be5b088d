"""The rows of a session table and their checks: our own dated table, and the file that a user lays over it.

`sessions.py` makes a calendar of them. A file is refused whole, with the place and the remedy of its first mistake.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import date, time, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atmand.errors import AtmandError
from atmand.hints import wording

__all__ = [
    "GROUPS",
    "Breaker",
    "BreakerStep",
    "Days",
    "Halt",
    "Hours",
    "Phase",
    "SessionError",
    "SessionTable",
    "Special",
    "Stretch",
    "parse_table",
]

GROUPS: Final = ("shares", "shares_with_derivatives", "futures", "options", "block_deals")
"""The segments that have hours of their own; a group of session windows is a place in this list."""

_Segment = Literal["shares", "shares_with_derivatives", "futures", "options", "block_deals"]
_Kind = Literal["muhurat", "budget", "weekend", "disaster_recovery", "outage", "special"]
_TRADED: Final[tuple[_Segment, ...]] = ("shares", "shares_with_derivatives", "futures", "options")
_LONGEST: Final = timedelta(days=20 * 366)


class SessionError(AtmandError):
    """The session table does not know the day, or a row of it cannot be used."""


class Phase(StrEnum):
    """What the market of an instrument is doing."""

    CLOSED = "closed"
    PRE_OPEN = "pre_open"
    CONTINUOUS = "continuous"
    CLOSING_AUCTION = "closing_auction"
    POST_CLOSE = "post_close"
    HALT = "halt"
    BLOCK_DEAL = "block_deal"


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class Stretch(_Row):
    """A stretch of a day in one phase, `from` included, `to` not; `step` says what happens inside the phase."""

    phase: Annotated[Phase, Field(strict=False)]
    step: str = ""
    opens: time = Field(alias="from")
    closes: time = Field(alias="to")


_Stretches = Annotated[tuple[Stretch, ...], Field(strict=False)]
_Segments = Annotated[tuple[_Segment, ...], Field(strict=False, min_length=1)]
_Dates = Annotated[tuple[date, ...], Field(strict=False)]


class Hours(_Row):
    """The ordinary hours of some segments, from a day on."""

    first: date = Field(alias="from")
    segments: _Segments
    source: str = Field(min_length=1)
    windows: _Stretches


class Days(_Row):
    """Days of one kind (holidays, or days without settlement) and where they are announced."""

    days: _Dates
    source: str = Field(min_length=1)


class Special(_Row):
    """A day with hours of its own; without `windows` it has the ordinary hours, whatever its weekday."""

    day: date
    source: str = Field(min_length=1)
    kind: _Kind = "special"
    segments: _Segments = _TRADED
    windows: _Stretches | None = None


class Halt(_Row):
    """Trading stopped `from` and went on at `to`, after a pre-open of so many minutes; without `to` it did not."""

    day: date
    source: str = Field(min_length=1)
    stops: time = Field(alias="from")
    resumes: time | None = Field(default=None, alias="to")
    pre_open_minutes: int = Field(default=0, ge=0, le=120)
    segments: _Segments = _TRADED


class BreakerStep(_Row):
    """What follows where an index has moved `percent` before a time of day (or at any time)."""

    percent: int = Field(ge=1, le=100)
    before: time | None = None
    halt_minutes: int | None = Field(default=None, ge=0, le=600)
    """None: the rest of the day."""
    pre_open_minutes: int = Field(default=0, ge=0, le=120)


class Breaker(_Row):
    """The market-wide circuit breaker's rules from a day on."""

    first: date = Field(alias="from")
    source: str = Field(min_length=1)
    steps: Annotated[tuple[BreakerStep, ...], Field(strict=False, min_length=1)]


class Span(_Row):
    """The days that a table covers; settlement is known from `settlement_first` on. A user's file sets `last` alone."""

    first: date | None = None
    last: date | None = None
    settlement_first: date | None = None


_T = Field(default=(), strict=False)


class SessionTable(_Row):
    """A whole file. A user's holds the few rows that differ: `open` lists holidays that were called off."""

    calendar: Span = Span()
    hours: Annotated[tuple[Hours, ...], _T] = ()
    closed: Annotated[tuple[Days, ...], _T] = ()
    open: Annotated[tuple[Days, ...], _T] = ()
    special: Annotated[tuple[Special, ...], _T] = ()
    halt: Annotated[tuple[Halt, ...], _T] = ()
    settlement_closed: Annotated[tuple[Days, ...], _T] = ()
    breaker: Annotated[tuple[Breaker, ...], _T] = ()


class _Mistake(NamedTuple):
    place: str
    what: str
    remedy: str


def parse_table(text: str, name: str) -> SessionTable:
    """Read and check a session table; SessionError says where in `name` what is wrong, and what to write."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SessionError(name, f"not TOML: {error}", "write times as 09:15:00 and dates as 2026-11-08") from None
    try:
        table = SessionTable.model_validate(raw)
    except ValidationError as error:
        raise _refused(error, name) from None
    for mistake in _mistakes(table):
        raise SessionError(f"{name}: {mistake.place}", mistake.what, mistake.remedy)
    return table


def _refused(error: ValidationError, name: str) -> SessionError:
    finding = error.errors(include_url=False)[0]
    place = ""
    for part in finding["loc"]:
        place += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    kind, value = finding["type"], finding["input"]
    if kind == "extra_forbidden":
        return SessionError(f"{name}: {place[1:]}", "unknown key", "docs/sessions.md lists the tables and their keys")
    if kind == "missing":
        return SessionError(f"{name}: {place[1:]}", "not set", _remedy(place))
    return SessionError(f"{name}: {place[1:]}", f"{wording(finding)}, got {value!r:.60}", _remedy(place))


def _remedy(place: str) -> str:
    key = place.rpartition(".")[2].partition("[")[0]
    return {
        "day": "write a date without quotes, such as 2026-11-08",
        "days": "write dates without quotes, such as [2026-11-24]",
        "first": "write a date without quotes, such as 2026-11-08",
        "last": "write a date without quotes, such as 2027-12-31",
        "from": "write a time without quotes, such as 09:15:00 (under [[hours]]: a date)",
        "to": "write a time without quotes, such as 15:30:00",
        "source": 'name what announced it, such as source = "NSE circular of 2026-10-20"',
        "segments": f"name some of {', '.join(GROUPS)}",
        "phase": f"name one of {', '.join(phase for phase in Phase if phase is not Phase.CLOSED)}",
        "kind": f"name one of {', '.join(get_args(_Kind))}",
        "windows": 'write [{ phase = "continuous", from = 18:00:00, to = 19:00:00 }]',
    }.get(key, "docs/sessions.md lists the tables and their keys")


def _mistakes(table: SessionTable) -> Iterator[_Mistake]:
    """Find what no single row shows."""
    begun: dict[tuple[date, str], int] = {}
    for number, hours in enumerate(table.hours, 1):
        yield from _of_stretches(f"hours[{number}]", hours.windows)
        for segment in hours.segments:
            if begun.setdefault((hours.first, segment), number) != number:
                other = f"hours[{begun[hours.first, segment]}]"
                what = f"{other} is of {segment} from {hours.first} too"
                yield _Mistake(f"hours[{number}].from", what, "keep one of the rows")
    for number, special in enumerate(table.special, 1):
        yield from _of_stretches(f"special[{number}]", special.windows or ())
    for number, halt in enumerate(table.halt, 1):
        if halt.resumes is not None and halt.resumes <= halt.stops:
            what = f"{halt.resumes} is not after {halt.stops}"
            yield _Mistake(f"halt[{number}].to", what, "write when trading went on, or leave it out")
    yield from _of_days(table)
    span = table.calendar
    if span.first is not None and span.last is not None and not span.first <= span.last <= span.first + _LONGEST:
        yield _Mistake("calendar.last", f"{span.last} is not within 20 years after {span.first}", "correct the date")


def _of_stretches(place: str, stretches: tuple[Stretch, ...]) -> Iterator[_Mistake]:
    for number, one in enumerate(stretches, 1):
        if one.phase is Phase.CLOSED:
            yield _Mistake(f"{place}.windows[{number}].phase", "closed needs no window", "leave it out")
        if one.closes <= one.opens:
            what = f"{one.closes} is not after {one.opens}"
            yield _Mistake(f"{place}.windows[{number}].to", what, "a window ends on its day, after it begins")
    for number, (before, after) in enumerate(pairwise(stretches), 2):
        if after.opens < before.closes:
            what = f"{after.opens} is before the end of the window above, {before.closes}"
            yield _Mistake(f"{place}.windows[{number}].from", what, "list windows in their order, without overlap")


def _of_days(table: SessionTable) -> Iterator[_Mistake]:
    """Find a day that two rows of one file say different things of."""
    seen: dict[tuple[date, str], str] = {}
    rows = [(f"closed[{n}].days", day, _TRADED) for n, row in enumerate(table.closed, 1) for day in row.days]
    rows += [(f"open[{n}].days", day, _TRADED) for n, row in enumerate(table.open, 1) for day in row.days]
    rows += [(f"special[{n}].day", row.day, row.segments) for n, row in enumerate(table.special, 1)]
    for place, day, segments in rows:
        for segment in segments:
            other = seen.setdefault((day, segment), place)
            if other != place:
                yield _Mistake(place, f"{day} stands in {other} too", "keep one of the rows")
                return
