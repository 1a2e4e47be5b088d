"""How far the price goes in a bar."""

from __future__ import annotations

from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, scalars
from atmand.core.jit import kernel


@kernel
def atr(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Average true range after Wilder, seeded with the simple average of the first `period` true ranges."""
    s.count += 1
    last = s.last
    s.last = close
    if s.count == 1:
        return NAN
    spread = max(high - low, max(abs(high - last), abs(low - last)))
    if s.count <= period + 1:
        s.value += spread
        if s.count <= period:
            return NAN
        s.value /= period
    else:
        s.value = (s.value * (period - 1.0) + spread) / period
    return s.value


ROWS: Final = (
    Indicator(
        "atr", ("high", "low", "close"), (("period", 14, 1),), (), scalars("last", "value"), lambda p: p, True,
        "average true range", units=("price",),
    ),
)  # fmt: skip
