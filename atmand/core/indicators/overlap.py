"""Averages that lie over the price."""

from __future__ import annotations

import math
from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, State, fields, missing
from atmand.core.indicators.windows import average, delay, delayed, total_of, window
from atmand.core.jit import kernel

__all__ = ["ROWS", "dema", "ema", "hma", "kama", "rma", "sma", "t3", "tema", "trima", "vwma", "wma"]


@kernel
def sma(s, x, period):  # type: ignore[no-untyped-def]
    """Simple moving average."""
    if missing(x):
        return NAN
    total = total_of(s, x, period)
    return total / period if s.count >= period else NAN


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


@kernel
def rma(s, x, period):  # type: ignore[no-untyped-def]
    """Wilder's average: exponential with a share of 1 in `period`, seeded with the simple average."""
    if missing(x):
        return NAN
    s.count += 1
    if s.count < period:
        s.value += x
        return NAN
    if s.count == period:
        s.value = (s.value + x) / period
    else:
        s.value = (s.value * (period - 1.0) + x) / period
    return s.value


def _weighted(top: int) -> State:
    return fields(count="i8", place="i8", total="f8", weighted="f8", ring=top)


@kernel
def wma(s, x, period):  # type: ignore[no-untyped-def]
    """Average with weights 1 to `period`: a new bar takes one share of each from the sum."""
    if missing(x):
        return NAN
    if s.count >= period:
        s.weighted += period * x - s.total
        s.total += x - s.ring[s.place]
    else:
        s.weighted += (s.count + 1.0) * x
        s.total += x
    s.ring[s.place] = x
    s.place += 1
    s.count += 1
    if s.place == period:
        s.place = 0
        s.total = 0.0
        s.weighted = 0.0
        for i in range(period):
            s.total += s.ring[i]
            s.weighted += s.ring[i] * (i + 1.0)
    return s.weighted / (period * (period + 1.0) * 0.5) if s.count >= period else NAN


@kernel
def dema(s, x, period):  # type: ignore[no-untyped-def]
    """Twice the exponential average, less the average of it: half of its lag is gone."""
    first = ema(s.first, x, period)
    return 2.0 * first - ema(s.second, first, period)


@kernel
def tema(s, x, period):  # type: ignore[no-untyped-def]
    """The exponential average thrice, so that most of its lag is gone."""
    first = ema(s.first, x, period)
    second = ema(s.second, first, period)
    return 3.0 * first - 3.0 * second + ema(s.third, second, period)


@kernel
def trima(s, x, period):  # type: ignore[no-untyped-def]
    """Average with weights that rise to the middle and fall: a simple average of a simple average."""
    half = (period + 1) // 2
    return sma(s.second, sma(s.first, x, half), period + 1 - half)


@kernel
def t3(s, x, period, factor):  # type: ignore[no-untyped-def]
    """Tillson's average: six exponential ones, mixed by `factor`."""
    third = ema(s.e3, ema(s.e2, ema(s.e1, x, period), period), period)
    fourth = ema(s.e4, third, period)
    fifth = ema(s.e5, fourth, period)
    sixth = ema(s.e6, fifth, period)
    square = factor * factor
    cube = square * factor
    return (
        -cube * sixth
        + 3.0 * (square + cube) * fifth
        + (-6.0 * square - 3.0 * (factor + cube)) * fourth
        + (1.0 + 3.0 * factor + cube + 3.0 * square) * third
    )


@kernel
def kama(s, x, period):  # type: ignore[no-untyped-def]
    """Kaufman's adaptive average: fast where the price goes one way, slow where it goes to and fro."""
    if missing(x):
        return NAN
    s.count += 1
    last = s.last
    s.last = x
    before = delayed(s.before, x, period)
    if s.count == 1:
        return NAN
    way = total_of(s.way, abs(x - last), period)
    if s.count <= period:
        s.value = x
        return NAN
    far = x - before
    share = 1.0 if way <= far or way == 0.0 else abs(far / way)
    share = share * (2.0 / 3.0 - 2.0 / 31.0) + 2.0 / 31.0
    s.value += (x - s.value) * (share * share)
    return s.value


@kernel
def hma(s, x, period):  # type: ignore[no-untyped-def]
    """Hull's average: the weighted one without its lag, smoothed over the root of the period."""
    fast = wma(s.fast, x, max(period // 2, 1))
    slow = wma(s.slow, x, period)
    return wma(s.smooth, 2.0 * fast - slow, int(math.sqrt(float(period))))


@kernel
def vwma(s, x, volume, period):  # type: ignore[no-untyped-def]
    """Average with each bar's volume for its weight; missing where nothing was traded."""
    if missing(x + volume):
        return NAN
    money = total_of(s.money, x * volume, period)
    units = total_of(s.units, volume, period)
    return money / units if s.units.count >= period and units > 0.0 else NAN


def _averages(*names: str) -> State:
    return fields(**dict.fromkeys(names, average()))


_SOURCE: Final = ("source",)
_PERIOD: Final = (("period", 30, 1),)

ROWS: Final = (
    Indicator(
        "sma", _SOURCE, _PERIOD, (), window, lambda p: p - 1, False, "simple moving average", units=("source",)
    ),
    Indicator(
        "ema", _SOURCE, _PERIOD, (), lambda p: average(), lambda p: p - 1, True, "exponential moving average",
        units=("source",),
    ),
    Indicator(
        "rma", _SOURCE, (("period", 14, 1),), (), lambda p: average(), lambda p: p - 1, True,
        "Wilder's moving average", units=("source",),
    ),
    Indicator(
        "wma", _SOURCE, _PERIOD, (), _weighted, lambda p: p - 1, False, "weighted moving average", units=("source",)
    ),
    Indicator(
        "dema", _SOURCE, _PERIOD, (), lambda p: _averages("first", "second"), lambda p: 2 * (p - 1), True,
        "double exponential moving average", units=("source",),
    ),
    Indicator(
        "tema", _SOURCE, _PERIOD, (), lambda p: _averages("first", "second", "third"), lambda p: 3 * (p - 1), True,
        "triple exponential moving average", units=("source",),
    ),
    Indicator(
        "trima", _SOURCE, _PERIOD, (), lambda p: fields(first=window((p + 1) // 2), second=window(p // 2 + 1)),
        lambda p: p - 1, False, "triangular moving average", units=("source",),
    ),
    Indicator(
        "t3", _SOURCE, (("period", 5, 1),), (), lambda p: _averages("e1", "e2", "e3", "e4", "e5", "e6"),
        lambda p: 6 * (p - 1), True, "Tillson's T3", numbers=(("factor", 0.7, 0.0, 1.0),), units=("source",),
    ),
    Indicator(
        "kama", _SOURCE, (("period", 30, 2),), (),
        lambda p: fields(count="i8", last="f8", value="f8", way=window(p), before=delay(p)), lambda p: p, True,
        "Kaufman's adaptive moving average", units=("source",), memory=2_000,
    ),
    Indicator(
        "hma", _SOURCE, (("period", 20, 2),), (),
        lambda p: fields(fast=_weighted(max(p // 2, 1)), slow=_weighted(p), smooth=_weighted(math.isqrt(p))),
        lambda p: p - 1 + math.isqrt(p) - 1, False, "Hull's moving average", units=("source",),
    ),
    Indicator(
        "vwma", ("source", "volume"), (("period", 20, 1),), (), lambda p: fields(money=window(p), units=window(p)),
        lambda p: p - 1, False, "volume weighted moving average", units=("source",),
    ),
)  # fmt: skip
