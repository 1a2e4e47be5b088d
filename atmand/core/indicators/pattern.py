"""Candle patterns with TA-Lib's settings and values: 100 and -100, 80 for a weaker one, 0 where there is none."""

from __future__ import annotations

from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, fields, missing, scalars
from atmand.core.indicators.windows import total_of, window
from atmand.core.jit import kernel

__all__ = ["ROWS", "cdldoji", "cdlengulfing", "cdlhammer"]


@kernel
def cdldoji(s, open_, high, low, close):  # type: ignore[no-untyped-def]
    """A body that is at most a tenth of the last ten ranges' mean."""
    if missing(open_ + high + low + close):
        return NAN
    limit = 0.1 * s.ranges.total / 10.0
    whole = s.ranges.count >= 10
    total_of(s.ranges, high - low, 10)
    if not whole:
        return NAN
    return 100.0 if abs(close - open_) <= limit else 0.0


@kernel
def cdlhammer(s, open_, high, low, close):  # type: ignore[no-untyped-def]
    """A small body near the low before, a long shadow below it and hardly one above."""
    if missing(open_ + high + low + close):
        return NAN
    body = abs(close - open_)
    small = s.bodies.total / 10.0
    short = 0.1 * s.ranges.total / 10.0
    near = s.low + 0.2 * s.near.total / 5.0
    s.count += 1
    if s.count > 1:
        total_of(s.near, s.range, 5)
    s.low = low
    s.range = high - low
    total_of(s.bodies, body, 10)
    total_of(s.ranges, high - low, 10)
    if s.count <= 11:
        return NAN
    found = (
        body < small
        and min(open_, close) - low > body
        and high - max(open_, close) < short
        and min(open_, close) <= near
    )
    return 100.0 if found else 0.0


@kernel
def cdlengulfing(s, open_, high, low, close):  # type: ignore[no-untyped-def]
    """A body that covers the opposite one before: 80 where they share an end."""
    if missing(open_ + high + low + close):
        return NAN
    s.count += 1
    last_open = s.open
    last_close = s.close
    s.open = open_
    s.close = close
    if s.count <= 2:
        return NAN
    white = close >= open_
    if white == (last_close >= last_open):
        return 0.0
    top = close if white else open_
    bottom = open_ if white else close
    last_top = max(last_open, last_close)
    last_bottom = min(last_open, last_close)
    if not ((top >= last_top and bottom < last_bottom) or (top > last_top and bottom <= last_bottom)):
        return 0.0
    value = 100.0 if open_ != last_close and close != last_open else 80.0
    return value if white else -value


_BAR: Final = ("open", "high", "low", "close")

ROWS: Final = (
    Indicator(
        "cdldoji", _BAR, (), (), lambda: fields(ranges=window(10)), lambda: 10, False, "doji: hardly a body",
    ),
    Indicator(
        "cdlhammer", _BAR, (), (),
        lambda: fields(count="i8", low="f8", range="f8", near=window(5), bodies=window(10), ranges=window(10)),
        lambda: 11, False, "hammer: a long shadow below a small body",
    ),
    Indicator(
        "cdlengulfing", _BAR, (), (), scalars("open", "close"), lambda: 2, False,
        "engulfing: a body that covers the one before",
    ),
)  # fmt: skip
