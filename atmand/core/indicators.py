"""Indicators: streaming steps with TA-Lib's semantics, O(1) a bar, on records of fixed size.

To add one, write its step (state record, inputs, look-backs; NaN while there is no value yet) and add a row to
`INDICATORS`; the language, its checks and its warm-up follow from the row. Each step is compared with TA-Lib.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from atmand.core.jit import kernel

__all__ = ["INDICATORS", "Indicator", "atr", "ema", "lookback", "macd", "rsi", "sma"]

_NAN: Final = math.nan


@dataclass(frozen=True)
class Indicator:
    """One row of the registry."""

    name: str
    inputs: tuple[str, ...]
    """Bar fields that the step takes; the single input `source` may be any expression and is the close by default."""
    lookbacks: tuple[tuple[str, int | None, int], ...]
    """(name, default or None, least) of each look-back."""
    outputs: tuple[str, ...]
    """Empty where the indicator is one number."""
    state: Callable[..., np.dtype[np.void]]
    """The state's dtype, given the top of each look-back's range."""
    warm_up: Callable[..., int]
    """Bars before the first value, given the look-backs."""
    recursive: bool
    """Whether old bars keep a share for ever: such an indicator keeps a long ring, to be folded again from it."""
    summary: str


@kernel
def lookback(value, least, top):  # type: ignore[no-untyped-def]
    """Turn a parameter's value into a look-back inside the range that its state was laid out for."""
    if not value > least:
        return np.int64(least)
    if value >= top:
        return np.int64(top)
    return np.int64(math.floor(value + 0.5))


def _scalars(*names: str) -> Callable[..., np.dtype[np.void]]:
    """Make the state of an indicator that keeps no window: a count, then floats."""
    dtype = np.dtype([("count", "i8"), *[(name, "f8") for name in names]], align=True)
    return lambda *_: dtype


def _window(top: int) -> np.dtype[np.void]:
    return np.dtype([("count", "i8"), ("place", "i8"), ("total", "f8"), ("ring", "f8", (top,))], align=True)


@kernel
def sma(s, x, period):  # type: ignore[no-untyped-def]
    """Simple moving average. The sum is made anew each time the window has been gone round: its error stays bounded."""
    if math.isnan(x):
        return _NAN
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
        return _NAN
    return s.total / period


@kernel
def ema(s, x, period):  # type: ignore[no-untyped-def]
    """Exponential moving average, seeded with the simple average of the first `period` values."""
    if math.isnan(x):
        return _NAN
    s.count += 1
    if s.count < period:
        s.value += x
        return _NAN
    if s.count == period:
        s.value = (s.value + x) / period
    else:
        s.value += (x - s.value) * (2.0 / (period + 1.0))
    return s.value


@kernel
def rsi(s, x, period):  # type: ignore[no-untyped-def]
    """Relative strength index after Wilder, seeded with the simple averages of the first `period` changes."""
    if math.isnan(x):
        return _NAN
    s.count += 1
    if s.count == 1:
        s.last = x
        return _NAN
    change = x - s.last
    s.last = x
    gain = change if change > 0.0 else 0.0
    loss = -change if change < 0.0 else 0.0
    if s.count <= period + 1:
        s.gain += gain
        s.loss += loss
        if s.count <= period:
            return _NAN
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
    if math.isnan(x):
        return _NAN, _NAN, _NAN
    if slow < fast:
        fast, slow = slow, fast
    s.count += 1
    if s.count <= slow:
        s.slow += x
        if s.count > slow - fast:
            s.fast += x
        if s.count < slow:
            return _NAN, _NAN, _NAN
        s.slow /= slow
        s.fast /= fast
    else:
        s.fast += (x - s.fast) * (2.0 / (fast + 1.0))
        s.slow += (x - s.slow) * (2.0 / (slow + 1.0))
    value = s.fast - s.slow
    seen = s.count - slow + 1
    if seen < signal:
        s.signal += value
        return _NAN, _NAN, _NAN
    if seen == signal:
        s.signal = (s.signal + value) / signal
    else:
        s.signal += (value - s.signal) * (2.0 / (signal + 1.0))
    return value, s.signal, value - s.signal


@kernel
def atr(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Average true range after Wilder, seeded with the simple average of the first `period` true ranges."""
    s.count += 1
    last = s.last
    s.last = close
    if s.count == 1:
        return _NAN
    spread = max(high - low, max(abs(high - last), abs(low - last)))
    if s.count <= period + 1:
        s.value += spread
        if s.count <= period:
            return _NAN
        s.value /= period
    else:
        s.value = (s.value * (period - 1.0) + spread) / period
    return s.value


INDICATORS: Final[dict[str, Indicator]] = {
    row.name: row
    for row in (
        Indicator(
            "sma", ("source",), (("period", None, 1),), (), _window, lambda p: p - 1, False, "simple moving average"
        ),
        Indicator(
            "ema", ("source",), (("period", None, 1),), (), _scalars("value"), lambda p: p - 1, True,
            "exponential moving average",
        ),
        Indicator(
            "rsi", ("source",), (("period", 14, 2),), (), _scalars("last", "gain", "loss"), lambda p: p, True,
            "relative strength index, 0 to 100",
        ),
        Indicator(
            "macd", ("source",), (("fast", 12, 2), ("slow", 26, 2), ("signal", 9, 1)), ("macd", "signal", "hist"),
            _scalars("fast", "slow", "signal"), lambda f, s, g: max(f, s) + g - 2, True,
            "moving average convergence divergence",
        ),
        Indicator(
            "atr", ("high", "low", "close"), (("period", 14, 1),), (), _scalars("last", "value"), lambda p: p, True,
            "average true range, in rupees",
        ),
    )
}  # fmt: skip
