"""How the daemon itself is: lateness of its loop, time a market record takes, speed of the market, size of the journal.

The daemon's pulse feeds it; page, metrics and watchdog read it. Fixed memory, whatever the day brings.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import deque
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from atmand.api.metrics import Histogram
from atmand.clocks import monotonic_ns

__all__ = ["Spread", "Vitals", "folder_bytes"]

_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_SPEED_SAMPLES: Final = 10


class Spread:
    """Seconds counted between fixed bounds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_S) + 1)
        self._sum_s = 0.0
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_BOUNDS_S, seconds)] += 1
        self._sum_s += seconds
        self.longest_s = max(self.longest_s, seconds)

    def histogram(self) -> Histogram:
        return Histogram(_BOUNDS_S, tuple(self._counts), self._sum_s)


class Vitals:
    """What is measured while the daemon runs."""

    def __init__(self) -> None:
        self.started_ns = monotonic_ns()
        self.lag = Spread()
        self.apply = Spread()
        self.journal_bytes = 0
        self.free_bytes = 0
        self.reloads_ok = 0
        self.reloads_refused = 0
        self.reloads_asked = 0
        self._market: deque[tuple[int, int]] = deque(maxlen=_SPEED_SAMPLES)

    @property
    def uptime_s(self) -> float:
        return (monotonic_ns() - self.started_ns) / 1e9

    def market_at(self, market_ns: int) -> None:
        """Note where market time is now; called at even intervals of machine time."""
        self._market.append((monotonic_ns(), market_ns))

    @property
    def speed(self) -> float | None:
        """Market seconds a second, the median over the newest samples: a night is jumped in no time at all."""
        if len(self._market) < 2:
            return None
        rates = [(to_ns - from_ns) / max(1, last - first) for (first, from_ns), (last, to_ns) in pairwise(self._market)]
        return round(median(rates), 1)


def folder_bytes(folder: Path) -> int:
    """Add up the files of a folder; a file that goes meanwhile counts nothing."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                total += entry.stat(follow_symlinks=False).st_size if entry.is_file() else 0
            except FileNotFoundError:
                continue
    return total
