"""Oscillators of the price."""

from __future__ import annotations

from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, missing, scalars
from atmand.core.jit import kernel


@kernel
def rsi(s, x, period):  # type: ignore[no-untyped-def]
    """Relative strength index after Wilder, seeded with the simple averages of the first `period` changes."""
    if missing(x):
        return NAN
    s.count += 1
    if s.count == 1:
        s.last = x
        return NAN
    change = x - s.last
    s.last = x
    gain = change if change > 0.0 else 0.0
    loss = -change if change < 0.0 else 0.0
    if s.count <= period + 1:
        s.gain += gain
        s.loss += loss
        if s.count <= period:
            return NAN
        s.gain /= period
        s.loss /= period
    else:
        s.gain = (s.gain * (period - 1.0) + gain) / period
        s.loss = (s.loss * (period - 1.0) + loss) / period
    total = s.gain + s.loss
    return 100.0 * (s.gain / total) if total > 0.0 else 0.0


@kernel
def macd(s, x, fast, slow, signal):  # type: ignore[no-untyped-def]
    """Moving average convergence divergence: (macd, signal, hist), all three from the signal's first value on.

    Both averages begin at the slow one's first value, so the fast one is seeded with the last `fast` of those bars.
    """
    if missing(x):
        return NAN, NAN, NAN
    if slow < fast:
        fast, slow = slow, fast
    s.count += 1
    if s.count <= slow:
        s.slow += x
        if s.count > slow - fast:
            s.fast += x
        if s.count < slow:
            return NAN, NAN, NAN
        s.slow /= slow
        s.fast /= fast
    else:
        s.fast += (x - s.fast) * (2.0 / (fast + 1.0))
        s.slow += (x - s.slow) * (2.0 / (slow + 1.0))
    value = s.fast - s.slow
    seen = s.count - slow + 1
    if seen < signal:
        s.signal += value
        return NAN, NAN, NAN
    if seen == signal:
        s.signal = (s.signal + value) / signal
    else:
        s.signal += (value - s.signal) * (2.0 / (signal + 1.0))
    return value, s.signal, value - s.signal


ROWS: Final = (
    Indicator(
        "rsi", ("source",), (("period", 14, 2),), (), scalars("last", "gain", "loss"), lambda p: p, True,
        "relative strength index, 0 to 100", units=("percent",),
    ),
    Indicator(
        "macd", ("source",), (("fast", 12, 2), ("slow", 26, 2), ("signal", 9, 1)), ("macd", "signal", "hist"),
        scalars("fast", "slow", "signal"), lambda f, s, g: max(f, s) + g - 2, True,
        "moving average convergence divergence", units=("source",),
    ),
)  # fmt: skip
