"""How far the price goes in a bar."""

from __future__ import annotations

import math
from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, missing, scalars
from atmand.core.indicators.windows import true_range
from atmand.core.jit import kernel

__all__ = ["ROWS", "atr", "natr", "trange"]


@kernel
def trange(s, high, low, close):  # type: ignore[no-untyped-def]
    """True range: the bar's, the gap from the close before included."""
    if missing(high + low + close):
        return NAN
    last = s.last
    s.last = close
    s.count += 1
    return true_range(high, low, last) if s.count > 1 else NAN


@kernel
def atr(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Average true range after Wilder, seeded with the simple average of the first `period` true ranges."""
    if missing(high + low + close):
        return NAN
    s.count += 1
    last = s.last
    s.last = close
    if s.count == 1:
        return NAN
    spread = true_range(high, low, last)
    if s.count <= period + 1:
        s.value += spread
        if s.count <= period:
            return NAN
        s.value /= period
    else:
        s.value = (s.value * (period - 1.0) + spread) / period
    return s.value


@kernel
def natr(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Average true range in percent of the close."""
    value = atr(s, high, low, close, period)
    if math.isnan(value):
        return NAN
    return 0.0 if close == 0.0 else value / close * 100.0


_PRICES: Final = ("high", "low", "close")

ROWS: Final = (
    Indicator("trange", _PRICES, (), (), scalars("last"), lambda: 1, False, "true range", units=("price",)),
    Indicator(
        "atr", _PRICES, (("period", 14, 1),), (), scalars("last", "value"), lambda p: p, True, "average true range",
        units=("price",),
    ),
    Indicator(
        "natr", _PRICES, (("period", 14, 2),), (), scalars("last", "value"), lambda p: p, True,
        "average true range in percent of the close", units=("percent",),
    ),
)  # fmt: skip
