"""How the loop wakes a thread: it rings and goes on, whatever the thread is at."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from atmand.clocks import monotonic_ns

__all__ = ["Bell"]


class Bell:
    """A bare lock that is released to wake the one who waits for it.

    Ringing never waits, as the notice of a `threading.Condition` does while the thread holds its lock: the loop would
    hand Python's own lock over with it. What is wanted stands in fields of the owner's that are set before the ring
    and looked at after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake the one who waits, or keep him from waiting the next time."""
        with contextlib.suppress(RuntimeError):  # rung already
            self._lock.release()

    def wait(self, wanted: Callable[[], object], seconds: float | None = None) -> None:
        """Wait until something is so, looking at every ring; at most so long."""
        until_ns = None if seconds is None else monotonic_ns() + round(seconds * 1_000_000_000)
        while not wanted():
            left = -1.0 if until_ns is None else (until_ns - monotonic_ns()) / 1e9
            if until_ns is not None and left <= 0.0:
                return
            self._lock.acquire(timeout=left)
