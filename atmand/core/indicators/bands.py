"""Bands and stops that lie over the price."""

from __future__ import annotations

import math
from typing import Final

from atmand.core.indicators.overlap import ema, rma
from atmand.core.indicators.registry import NAN, Indicator, State, fields, missing
from atmand.core.indicators.windows import average, extremes, highest_of, lowest_of, moments, moments_of, true_range
from atmand.core.jit import kernel

__all__ = ["ROWS", "bbands", "donchian", "ichimoku", "keltner", "midpoint", "midprice", "sar", "supertrend"]


@kernel
def bbands(s, x, period, deviations):  # type: ignore[no-untyped-def]
    """Bollinger's bands: the mean, and `deviations` times the standard deviation on both sides."""
    if missing(x):
        return NAN, NAN, NAN
    mean, variance = moments_of(s, x, period)
    if s.count < period:
        return NAN, NAN, NAN
    reach = deviations * math.sqrt(variance)
    return mean + reach, mean, mean - reach


@kernel
def _span(s, high, low, period):  # type: ignore[no-untyped-def]
    """Return (highest high, lowest low) of the last `period` bars, NaN while there are fewer."""
    if missing(high + low):
        return NAN, NAN
    top, _ = highest_of(s.high, high, period)
    bottom, _ = lowest_of(s.low, low, period)
    if s.high.count < period:
        return NAN, NAN
    return top, bottom


@kernel
def midpoint(s, x, period):  # type: ignore[no-untyped-def]
    """The middle between the window's highest and lowest value."""
    top, bottom = _span(s, x, x, period)
    return (top + bottom) / 2.0


@kernel
def midprice(s, high, low, period):  # type: ignore[no-untyped-def]
    """The middle between the window's highest high and lowest low."""
    top, bottom = _span(s, high, low, period)
    return (top + bottom) / 2.0


@kernel
def donchian(s, high, low, period):  # type: ignore[no-untyped-def]
    """Donchian's channel, this bar included: (upper, middle, lower)."""
    top, bottom = _span(s, high, low, period)
    return top, (top + bottom) / 2.0, bottom


@kernel
def keltner(s, high, low, close, period, range_period, ranges):  # type: ignore[no-untyped-def]
    """Keltner's channel: an exponential average, and `ranges` times the average true range on both sides."""
    if missing(high + low + close):
        return NAN, NAN, NAN
    middle = ema(s.middle, close, period)
    reach = NAN
    if s.middle.count > 1:
        reach = ranges * rma(s.range, true_range(high, low, s.last), range_period)
    s.last = close
    if math.isnan(middle + reach):
        return NAN, NAN, NAN
    return middle + reach, middle, middle - reach


@kernel
def supertrend(s, high, low, close, period, ranges):  # type: ignore[no-untyped-def]
    """A stop that trails the trend: (line, direction), 1 under a rising price and -1 over a falling one."""
    if missing(high + low + close):
        return NAN, NAN
    s.count += 1
    last = s.last
    s.last = close
    if s.count == 1:
        return NAN, NAN
    reach = ranges * rma(s.range, true_range(high, low, last), period)
    if s.range.count < period:
        return NAN, NAN
    middle = (high + low) / 2.0
    upper = middle + reach
    lower = middle - reach
    if s.range.count == period:
        s.direction = -1.0
    else:
        if upper > s.upper and last <= s.upper:
            upper = s.upper
        if lower < s.lower and last >= s.lower:
            lower = s.lower
        if s.direction < 0.0 and close > upper:
            s.direction = 1.0
        elif s.direction > 0.0 and close < lower:
            s.direction = -1.0
    s.upper = upper
    s.lower = lower
    return (lower if s.direction > 0.0 else upper), s.direction


@kernel
def ichimoku(s, high, low, conversion, base, span):  # type: ignore[no-untyped-def]
    """Ichimoku's lines as of this bar, nothing shifted: (conversion, base, span_a, span_b)."""
    top, bottom = _span(s.conversion, high, low, conversion)
    quick = (top + bottom) / 2.0
    top, bottom = _span(s.base, high, low, base)
    calm = (top + bottom) / 2.0
    top, bottom = _span(s.span, high, low, span)
    far = (top + bottom) / 2.0
    if math.isnan(quick + calm + far):
        return NAN, NAN, NAN, NAN
    return quick, calm, (quick + calm) / 2.0, far


@kernel
def sar(s, high, low, acceleration, maximum):  # type: ignore[no-untyped-def]
    """Wilder's parabolic stop and reverse; the first two bars tell its first direction."""
    if missing(high + low):
        return NAN
    s.count += 1
    last_high = s.high
    last_low = s.low
    s.high = high
    s.low = low
    if s.count == 1:
        return NAN
    step = min(acceleration, maximum)
    if s.count == 2:
        fall = last_low - low
        s.long = 0 if fall > 0.0 and fall > high - last_high else 1
        s.share = step
        s.extreme = high if s.long else low
        s.value = last_low if s.long else last_high
        last_high = high
        last_low = low
    if s.long:
        if low <= s.value:
            s.long = 0
            value = max(s.extreme, max(last_high, high))
            s.share = step
            s.extreme = low
            s.value = max(value + step * (low - value), max(last_high, high))
            return value
        value = s.value
        if high > s.extreme:
            s.extreme = high
            s.share = min(s.share + step, maximum)
        s.value = min(value + s.share * (s.extreme - value), min(last_low, low))
        return value
    if high >= s.value:
        s.long = 1
        value = min(s.extreme, min(last_low, low))
        s.share = step
        s.extreme = high
        s.value = min(value + step * (high - value), min(last_low, low))
        return value
    value = s.value
    if low < s.extreme:
        s.extreme = low
        s.share = min(s.share + step, maximum)
    s.value = max(value + s.share * (s.extreme - value), max(last_high, high))
    return value


def _spans(top: int) -> State:
    return fields(high=extremes(top), low=extremes(top))


_PRICES: Final = ("high", "low", "close")

ROWS: Final = (
    Indicator(
        "bbands", ("source",), (("period", 20, 2),), ("upper", "middle", "lower"), moments, lambda p: p - 1, False,
        "Bollinger's bands", numbers=(("deviations", 2.0, 0.0, 100.0),), units=("source",), group="overlap",
    ),
    Indicator(
        "midpoint", ("source",), (("period", 14, 2),), (), _spans, lambda p: p - 1, False,
        "middle between highest and lowest value", units=("source",), group="overlap",
    ),
    Indicator(
        "midprice", ("high", "low"), (("period", 14, 2),), (), _spans, lambda p: p - 1, False,
        "middle between highest high and lowest low", units=("price",), group="overlap",
    ),
    Indicator(
        "donchian", ("high", "low"), (("period", 20, 1),), ("upper", "middle", "lower"), _spans, lambda p: p - 1, False,
        "Donchian's channel, this bar included", units=("price",), group="overlap",
    ),
    Indicator(
        "keltner", _PRICES, (("period", 20, 1), ("range_period", 10, 1)), ("upper", "middle", "lower"),
        lambda p, r: fields(last="f8", middle=average(), range=average()), lambda p, r: max(p - 1, r), True,
        "Keltner's channel", numbers=(("ranges", 2.0, 0.0, 100.0),), units=("price",), group="overlap",
    ),
    Indicator(
        "supertrend", _PRICES, (("period", 10, 1),), ("line", "direction"),
        lambda p: fields(count="i8", last="f8", upper="f8", lower="f8", direction="f8", range=average()),
        lambda p: p, True, "trailing stop and the direction of the trend, 1 or -1",
        numbers=(("ranges", 3.0, 0.0, 100.0),), units=("price", "number"), memory=1_000, group="overlap",
    ),
    Indicator(
        "ichimoku", ("high", "low"), (("conversion", 9, 1), ("base", 26, 1), ("span", 52, 1)),
        ("conversion", "base", "span_a", "span_b"),
        lambda c, b, s: fields(conversion=_spans(c), base=_spans(b), span=_spans(s)),
        lambda c, b, s: max(c, b, s) - 1, False, "Ichimoku's lines as of this bar, nothing shifted",
        units=("price",), group="overlap",
    ),
    Indicator(
        "sar", ("high", "low"), (), (),
        lambda: fields(count="i8", long="i8", high="f8", low="f8", share="f8", extreme="f8", value="f8"), lambda: 1,
        True, "parabolic stop and reverse", numbers=(("acceleration", 0.02, 0.0, 1.0), ("maximum", 0.2, 0.0, 1.0)),
        units=("price",), memory=500, group="overlap",
    ),
)  # fmt: skip
