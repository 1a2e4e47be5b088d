"""The verb `atmand sessions`: what each segment's market does now and on a range of days, the user's file included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from atmand.cli_words import Config, Json, day, in_order, moment, nanoseconds, print_json, print_rows, say
from atmand.market.sessions import (
    GROUPS,
    IST,
    Calendar,
    Phase,
    SessionError,
    Window,
    calendar,
    own_calendar,
    session_date,
)
from atmand.settings import load

__all__ = ["sessions"]

_DAY: Final = ("day", "segment", "kind", "windows", "set_by")
_NOW: Final = ("segment", "phase", "minutes_to_close", "next_open")
_BUILTIN: Final = "calendar"


class Segment(StrEnum):
    """The segments that have hours of their own."""

    SHARES = GROUPS[0]
    SHARES_WITH_DERIVATIVES = GROUPS[1]
    FUTURES = GROUPS[2]
    OPTIONS = GROUPS[3]
    BLOCK_DEALS = GROUPS[4]


def sessions(
    context: typer.Context,
    start: Annotated[Any, typer.Option("--from", help="First day. Default: today.", parser=day, metavar="DAY")] = None,
    end: Annotated[Any, typer.Option("--to", help="Last day. Default: --from.", parser=day, metavar="DAY")] = None,
    segment: Annotated[Segment | None, typer.Option(help="Only this segment.")] = None,
    at: Annotated[Any, typer.Option(help="As if it were then. Default: now.", parser=moment, metavar="TIME")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say when the exchanges trade: each segment's market now, and its windows on a day or a range of days.

    The rows of `market.sessions_file` are laid over the calendar; `set_by` names the file where it made a difference.
    """
    settings = load(config or context.obj)
    file = settings.market.sessions_file
    now_ns = nanoseconds(at or datetime.now(IST))
    first = start or (session_date(now_ns) if end is None else end)
    in_order(first, end)
    groups = [place for place, name in enumerate(GROUPS) if segment in (None, name)]
    shown, hours = ("" if file is None else str(file)), calendar()
    found = {
        "calendar": {"first": str(hours.first), "last": str(hours.last), "sessions_file": shown or None},
        "time": _stamp(now_ns),
        "now": [_now(hours, group, now_ns) for group in groups],
        "days": list(_days(hours, shown, groups, first, end or first)),
    }
    print_json(found) if as_json else _tell(found)


def _now(hours: Calendar, group: int, now_ns: int) -> dict[str, Any]:
    trades = any(hours.regular(session_date(now_ns), group)) and GROUPS[group] != Segment.BLOCK_DEALS
    minutes = hours.minutes_to_close(group, now_ns)
    return {
        "segment": GROUPS[group],
        "phase": hours.phase(group, now_ns).value,
        "minutes_to_close": None if minutes is None else round(minutes, 1),
        "next_open": _next_open(hours, group, now_ns) if trades else None,
    }


def _next_open(hours: Calendar, group: int, now_ns: int) -> str | None:
    """Return when a segment opens next; None where the calendar ends before that."""
    try:
        return _stamp(hours.next_open(group, now_ns))
    except SessionError:
        return None


def _days(hours: Calendar, file: str, groups: list[int], first: date, last: date) -> Iterator[dict[str, Any]]:
    """List what is to be said of a range of days: of a weekend on which nothing is special, nothing."""
    for number in range((last - first).days + 1):
        on = first + timedelta(days=number)
        for group in groups:
            plan = hours.windows(on, group=group, phase=None)
            kind, source = hours.about(on, group)
            if kind == "weekend" and first != last:
                continue
            yield {
                "day": str(on),
                "segment": GROUPS[group],
                "kind": kind,
                "windows": [_window(window) for window in plan],
                "source": source,
                "set_by": file if _differs(hours, on, group, plan) else _BUILTIN,
            }


def _differs(hours: Calendar, on: date, group: int, plan: list[Window]) -> bool:
    own = own_calendar()
    if not own.first <= on <= own.last:
        return True
    return plan != own.windows(on, group=group, phase=None) or hours.about(on, group) != own.about(on, group)


def _window(window: Window) -> dict[str, str]:
    return {
        "phase": window.phase.value,
        "from": _stamp(window.open_ns)[11:16],
        "to": _stamp(window.close_ns)[11:16],
        "step": window.step,
    }


def _stamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, IST).isoformat()


def _tell(found: dict[str, Any]) -> None:
    say(f"{found['time']}; the calendar covers {found['calendar']['first']} to {found['calendar']['last']}")
    print_rows(_NOW, found["now"])
    print()
    print_rows(_DAY, [{**row, "day": _with_weekday(row["day"]), "windows": _in_a_line(row)} for row in found["days"]])


def _with_weekday(day: str) -> str:
    return f"{day} {date.fromisoformat(day):%a}"


def _in_a_line(row: dict[str, Any]) -> str:
    """Write a day's windows with steps of one phase joined; where there are none, what closed the market."""
    joined: list[list[str]] = []
    for window in row["windows"]:
        if joined and joined[-1][0] == window["phase"] and joined[-1][2] == window["from"]:
            joined[-1][2] = window["to"]
        else:
            joined.append([window["phase"], window["from"], window["to"]])
    text = ", ".join(f"{phase} {opens}-{closes}" for phase, opens, closes in joined)
    return text or f"{Phase.CLOSED}{': ' if row['source'] else ''}{row['source']}"
