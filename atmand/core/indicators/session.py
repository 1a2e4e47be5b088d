"""What begins anew with each day of India's."""

from __future__ import annotations

from typing import Final

from atmand.core.bars import IST_NS
from atmand.core.indicators.registry import NAN, Indicator, fields, missing
from atmand.core.jit import kernel

__all__ = ["ROWS", "vwap"]

_DAY_NS: Final = 86_400_000_000_000
_MINUTES: Final = 1_440


@kernel
def vwap(s, high, low, close, volume, start_ns):  # type: ignore[no-untyped-def]
    """The day's average price by volume, each bar at the mean of high, low and close; missing until a trade."""
    if missing(high + low + close + volume):
        return NAN
    day = (start_ns + IST_NS) // _DAY_NS
    if s.day != day:
        s.day = day
        s.money = 0.0
        s.units = 0.0
    s.money += (high + low + close) / 3.0 * volume
    s.units += volume
    return s.money / s.units if s.units > 0.0 else NAN


ROWS: Final = (
    Indicator(
        "vwap", ("high", "low", "close", "volume", "start_ns"), (), (),
        lambda: fields(day="i8", money="f8", units="f8"), lambda: 0, True, "the day's average price by volume",
        units=("price",), memory=_MINUTES,
    ),
)  # fmt: skip
