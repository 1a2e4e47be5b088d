"""Averages and bands that lie over the price."""

from __future__ import annotations

from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, missing, scalars, window
from atmand.core.jit import kernel


@kernel
def sma(s, x, period):  # type: ignore[no-untyped-def]
    """Simple moving average. The sum is made anew each time the window has been gone round: its error stays bounded."""
    if missing(x):
        return NAN
    s.total += x
    if s.count >= period:
        s.total -= s.ring[s.place]
    s.ring[s.place] = x
    s.place += 1
    s.count += 1
    if s.place == period:
        s.place = 0
        s.total = 0.0
        for i in range(period):
            s.total += s.ring[i]
    if s.count < period:
        return NAN
    return s.total / period


@kernel
def ema(s, x, period):  # type: ignore[no-untyped-def]
    """Exponential moving average, seeded with the simple average of the first `period` values."""
    if missing(x):
        return NAN
    s.count += 1
    if s.count < period:
        s.value += x
        return NAN
    if s.count == period:
        s.value = (s.value + x) / period
    else:
        s.value += (x - s.value) * (2.0 / (period + 1.0))
    return s.value


ROWS: Final = (
    Indicator(
        "sma", ("source",), (("period", 30, 1),), (), window, lambda p: p - 1, False, "simple moving average",
        units=("source",),
    ),
    Indicator(
        "ema", ("source",), (("period", 30, 1),), (), scalars("value"), lambda p: p - 1, True,
        "exponential moving average", units=("source",),
    ),
)  # fmt: skip
