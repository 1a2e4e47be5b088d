"""The two clocks of the edge: market time, which a simulator may scale, and machine time, which nothing scales.

The daemon stamps what it receives with a `MarketClock`; sockets, timeouts and watchdogs use `monotonic_ns`.
The core reads neither: its time is the journal's.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["GrantedClock", "MarketClock", "WallClock", "monotonic_ns"]


def monotonic_ns() -> int:
    """Return machine time in nanoseconds that also runs while the machine sleeps, and never jumps.

    CLOCK_BOOTTIME exists on Linux only; elsewhere the plain monotonic clock is the nearest thing.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boottime is None else time.clock_gettime_ns(boottime)


class MarketClock(Protocol):
    """Market time in nanoseconds UTC."""

    def now_ns(self) -> int: ...


class WallClock:
    """Market time of a real exchange: the machine's own UTC."""

    def now_ns(self) -> int:
        return time.time_ns()


class GrantedClock:
    """Market time of a simulated exchange: it moves only when the simulator grants it, and never past the grant."""

    def __init__(self, start_ns: int) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def grant(self, time_ns: int) -> None:
        """Move to `time_ns`; an older grant than the last is ignored, so that market time never runs backwards."""
        self._now_ns = max(self._now_ns, time_ns)
