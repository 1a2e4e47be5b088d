"""How fast simulated market time goes by on the wall's clock; the server asks before every step."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["AUTO_IDLE_SPEED", "AUTO_LIMIT", "Pace", "Speed"]

Speed = float | Literal["auto"]
"""Market seconds a second, or as fast as the client applies them."""

AUTO_LIMIT: Final = 600.0
AUTO_IDLE_SPEED: Final = 30.0
"""`auto` while no data connection is open: a client that reconnects by the wall's clock should not lose hours."""

_SECOND: Final = 1_000_000_000
_CLOSED_NS: Final = 120 * _SECOND
_LAG_NS: Final = _SECOND // 4


class Pace:
    """An absolute schedule: step t is due (t - anchor) / speed after the anchor, however long single steps took."""

    def __init__(self, speed: Speed) -> None:
        self.speed: Speed = speed
        self._market_ns = 0
        self._wall_ns = 0
        self._rate = 0.0

    def restart(self) -> None:
        """Start a new schedule at the next step: after a pause, or when the speed was changed."""
        self._rate = 0.0

    def wait_ns(self, now_ns: int, step_ns: int, wall_ns: int, rate: float) -> int:
        """Return how long to wait, in wall ns, before the step from `now_ns` to `step_ns`; 0 or less = due.

        More than two minutes in which nothing can happen are no time at all: nights, holidays, the quarter of an hour
        before the opening. With speed `auto` a client that was slow is not made to catch up.
        """
        if rate != self._rate or step_ns - now_ns > _CLOSED_NS:
            self._anchor(step_ns if step_ns - now_ns > _CLOSED_NS else now_ns, wall_ns, rate)
        wait = self._wall_ns + int((step_ns - self._market_ns) / rate) - wall_ns
        if self.speed == "auto" and wait < -_LAG_NS:
            self._anchor(step_ns, wall_ns, rate)
            return 0
        return wait

    def rate(self, *, granted: bool, connections: int) -> float:
        """Return the market seconds a second that the speed stands for now; `auto` without a client is real time."""
        if self.speed != "auto":
            return self.speed
        if not granted:
            return 1.0
        return AUTO_LIMIT if connections else AUTO_IDLE_SPEED

    def _anchor(self, market_ns: int, wall_ns: int, rate: float) -> None:
        self._market_ns, self._wall_ns, self._rate = market_ns, wall_ns, rate
