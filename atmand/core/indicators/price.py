"""One price for a whole bar."""

from __future__ import annotations

from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, fields, missing, scalars
from atmand.core.jit import kernel

__all__ = ["ROWS", "avgprice", "heikin_ashi", "medprice", "typprice", "wclprice"]


@kernel
def avgprice(s, open_, high, low, close):  # type: ignore[no-untyped-def]
    """The mean of open, high, low and close."""
    value = (high + low + close + open_) / 4.0
    return NAN if missing(value) else value


@kernel
def medprice(s, high, low):  # type: ignore[no-untyped-def]
    """The middle of the bar."""
    value = (high + low) / 2.0
    return NAN if missing(value) else value


@kernel
def typprice(s, high, low, close):  # type: ignore[no-untyped-def]
    """The mean of high, low and close."""
    value = (high + low + close) / 3.0
    return NAN if missing(value) else value


@kernel
def wclprice(s, high, low, close):  # type: ignore[no-untyped-def]
    """The mean of high, low and twice the close."""
    value = (high + low + close * 2.0) / 4.0
    return NAN if missing(value) else value


@kernel
def heikin_ashi(s, open_, high, low, close):  # type: ignore[no-untyped-def]
    """The averaged candle: (open, high, low, close)."""
    middle = (open_ + high + low + close) / 4.0
    if missing(middle):
        return NAN, NAN, NAN, NAN
    s.count += 1
    s.open = (open_ + close) / 2.0 if s.count == 1 else (s.open + s.close) / 2.0
    s.close = middle
    return s.open, max(high, max(s.open, middle)), min(low, min(s.open, middle)), middle


_BAR: Final = ("open", "high", "low", "close")
_NONE: Final = fields(count="i8")

ROWS: Final = (
    Indicator(
        "avgprice", _BAR, (), (), lambda: _NONE, lambda: 0, False, "mean of open, high, low and close", units=("price",)
    ),
    Indicator("medprice", ("high", "low"), (), (), lambda: _NONE, lambda: 0, False, "middle", units=("price",)),
    Indicator(
        "typprice", _BAR[1:], (), (), lambda: _NONE, lambda: 0, False, "mean of high, low and close", units=("price",)
    ),
    Indicator(
        "wclprice", _BAR[1:], (), (), lambda: _NONE, lambda: 0, False, "mean of high, low and twice the close",
        units=("price",),
    ),
    Indicator(
        "heikin_ashi", _BAR, (), _BAR, scalars("open", "close"), lambda: 0, True, "the averaged candle",
        units=("price",), memory=100,
    ),
)  # fmt: skip
