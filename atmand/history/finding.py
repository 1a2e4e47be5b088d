"""One finding of a check of bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from atmand.market.sessions import IST

__all__ = ["Finding", "Level", "moment"]

Level: TypeAlias = Literal["error", "warning", "note"]
"""error: cannot be true; warning: may be true, and a back-test may suffer; note: worth knowing."""


@dataclass(frozen=True)
class Finding:
    """Something about bars: what, whose, from when to when (India's time), how many, in words."""

    kind: str
    level: Level
    instrument: str
    first: str
    last: str
    count: int
    detail: str

    @classmethod
    def at(cls, kind: str, level: Level, instrument: str, first: int, last: int, count: int, detail: str) -> Finding:
        """Make a finding of times in nanoseconds."""
        return cls(kind, level, instrument, moment(first), moment(last), count, detail)


def moment(time_ns: int) -> str:
    """Write a time as India's clock shows it, to the minute."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).astimezone(IST).strftime("%Y-%m-%d %H:%M")
