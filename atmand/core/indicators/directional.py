"""Oscillators of the bar's range: Wilder's directional movement, and what else tells a trend from noise."""

from __future__ import annotations

import math
from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, State, fields, missing
from atmand.core.indicators.windows import (
    delay,
    delayed,
    extremes,
    highest_of,
    is_tie,
    lowest_of,
    total_of,
    true_range,
    window,
)
from atmand.core.jit import kernel

__all__ = [
    "ROWS", "adx", "adxr", "aroon", "aroonosc", "bop", "cci", "chop", "dx", "minus_di", "minus_dm", "plus_di",
    "plus_dm", "ultosc",
]  # fmt: skip


@kernel
def _move(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Fold a bar into Wilder's sums of upward and downward movement and of true range."""
    s.count += 1
    rise = high - s.high
    fall = s.low - low
    spread = true_range(high, low, s.close)
    s.high = high
    s.low = low
    s.close = close
    if s.count == 1:
        return
    if s.count > period:
        s.plus -= s.plus / period
        s.minus -= s.minus / period
        s.range -= s.range / period
    if fall > 0.0 and rise < fall:
        s.minus += fall
    elif rise > 0.0 and rise > fall:
        s.plus += rise
    s.range += spread


@kernel
def plus_dm(s, high, low, period):  # type: ignore[no-untyped-def]
    """Upward movement, summed after Wilder."""
    if missing(high + low):
        return NAN
    _move(s, high, low, low, period)
    return s.plus if s.count >= period else NAN


@kernel
def minus_dm(s, high, low, period):  # type: ignore[no-untyped-def]
    """Downward movement, summed after Wilder."""
    if missing(high + low):
        return NAN
    _move(s, high, low, low, period)
    return s.minus if s.count >= period else NAN


@kernel
def plus_di(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Upward movement in percent of the true range."""
    if missing(high + low + close):
        return NAN
    _move(s, high, low, close, period)
    if s.count <= period:
        return NAN
    return 0.0 if s.range == 0.0 else 100.0 * (s.plus / s.range)


@kernel
def minus_di(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Downward movement in percent of the true range."""
    if missing(high + low + close):
        return NAN
    _move(s, high, low, close, period)
    if s.count <= period:
        return NAN
    return 0.0 if s.range == 0.0 else 100.0 * (s.minus / s.range)


@kernel
def _strength(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Return how far the two directions are apart, in percent; NaN while there is nothing to divide."""
    _move(s, high, low, close, period)
    if s.count <= period or s.range == 0.0:
        return NAN
    plus = 100.0 * (s.plus / s.range)
    minus = 100.0 * (s.minus / s.range)
    return NAN if plus + minus == 0.0 else 100.0 * (abs(minus - plus) / (plus + minus))


@kernel
def dx(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Directional movement index; where there was no movement at all it stays what it was."""
    if missing(high + low + close):
        return NAN
    value = _strength(s.move, high, low, close, period)
    if not math.isnan(value):
        s.value = value
    return s.value if s.move.count > period else NAN


@kernel
def adx(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Wilder's average of the directional movement index."""
    if missing(high + low + close):
        return NAN
    value = _strength(s.move, high, low, close, period)
    if s.move.count <= period:
        return NAN
    s.count += 1
    known = not math.isnan(value)
    if s.count > period:
        if known:
            s.value = (s.value * (period - 1.0) + value) / period
        return s.value
    if known:
        s.value += value
    if s.count < period:
        return NAN
    s.value /= period
    return s.value


@kernel
def adxr(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """The mean of this average directional index and the one `period - 1` bars ago."""
    value = adx(s.adx, high, low, close, period)
    return NAN if math.isnan(value) else (value + delayed(s.before, value, period - 1)) / 2.0


@kernel
def _since(s, high, low, period):  # type: ignore[no-untyped-def]
    """Return (bars since the highest high, bars since the lowest low) of the last `period + 1` bars."""
    _, high_ago = highest_of(s.high, high, period + 1)
    _, low_ago = lowest_of(s.low, low, period + 1)
    return high_ago, low_ago


@kernel
def aroon(s, high, low, period):  # type: ignore[no-untyped-def]
    """How new the window's extremes are, in percent: (up, down)."""
    if missing(high + low):
        return NAN, NAN
    high_ago, low_ago = _since(s, high, low, period)
    if s.high.count <= period:
        return NAN, NAN
    return 100.0 * (period - high_ago) / period, 100.0 * (period - low_ago) / period


@kernel
def aroonosc(s, high, low, period):  # type: ignore[no-untyped-def]
    """Aroon's up less its down."""
    if missing(high + low):
        return NAN
    high_ago, low_ago = _since(s, high, low, period)
    return 100.0 * (low_ago - high_ago) / period if s.high.count > period else NAN


@kernel
def cci(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Commodity channel index. The mean deviation is from this very mean, so the window is gone through each bar."""
    if missing(high + low + close):
        return NAN
    value = (high + low + close) / 3.0
    s.ring[s.place] = value
    s.place += 1
    if s.place == period:
        s.place = 0
    s.count += 1
    if s.count < period:
        return NAN
    mean = 0.0
    for i in range(period):
        mean += s.ring[i]
    mean /= period
    reach = 0.0
    for i in range(period):
        reach += abs(s.ring[i] - mean)
    if is_tie(value, mean) or reach == 0.0:
        return 0.0
    return (value - mean) / (0.015 * (reach / period))


@kernel
def _pressure(s, pressure, spread, period):  # type: ignore[no-untyped-def]
    total = total_of(s.pressure, pressure, period)
    reach = total_of(s.range, spread, period)
    return 0.0 if reach == 0.0 else total / reach


@kernel
def ultosc(s, high, low, close, first, second, third):  # type: ignore[no-untyped-def]
    """Williams' ultimate oscillator: buying pressure over three periods, the shortest with the largest weight."""
    if missing(high + low + close):
        return NAN
    last = s.last
    s.last = close
    s.count += 1
    if s.count == 1:
        return NAN
    pressure = close - min(low, last)
    spread = true_range(high, low, last)
    a = _pressure(s.first, pressure, spread, first)
    b = _pressure(s.second, pressure, spread, second)
    c = _pressure(s.third, pressure, spread, third)
    longest = max(first, max(second, third))
    if s.count <= longest:
        return NAN
    if second < first:
        first, second, a, b = second, first, b, a
    if third < second:
        second, third, b, c = third, second, c, b
    if second < first:
        a, b = b, a
    return 100.0 * ((4.0 * a + 2.0 * b + c) / 7.0)


@kernel
def bop(s, open_, high, low, close):  # type: ignore[no-untyped-def]
    """Balance of power: the body by the range."""
    if missing(open_ + high + low + close):
        return NAN
    s.count += 1
    return (close - open_) / (high - low) if high - low >= 1e-14 else 0.0


@kernel
def chop(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Choppiness: 100 where the price goes to and fro, near 0 where it goes straight; missing where it stands still."""
    if missing(high + low + close):
        return NAN
    last = s.last
    s.last = close
    s.count += 1
    top, _ = highest_of(s.high, high, period)
    bottom, _ = lowest_of(s.low, low, period)
    if s.count == 1:
        return NAN
    way = total_of(s.way, true_range(high, low, last), period)
    if s.count <= period or not top - bottom > 0.0:
        return NAN
    return 100.0 * math.log(way / (top - bottom)) / math.log(float(period))


_MOVE: Final = fields(
    count="i8", high="f8", low="f8", close="f8", plus="f8", minus="f8", range="f8"
)  # fmt: skip
_ADX: Final = fields(count="i8", value="f8", move=_MOVE)


def _pressures(first: int, second: int, third: int) -> State:
    tops = {"first": first, "second": second, "third": third}
    return fields(
        count="i8", last="f8", **{name: fields(pressure=window(top), range=window(top)) for name, top in tops.items()}
    )


def _since_extremes(top: int) -> State:
    return fields(high=extremes(top + 1), low=extremes(top + 1))


_RANGE: Final = ("high", "low")
_PRICES: Final = ("high", "low", "close")
_WILDER: Final = (("period", 14, 2),)

ROWS: Final = (
    Indicator(
        "plus_dm", _RANGE, _WILDER, (), lambda p: _MOVE, lambda p: p - 1, True, "upward movement", units=("price",),
        group="momentum",
    ),
    Indicator(
        "minus_dm", _RANGE, _WILDER, (), lambda p: _MOVE, lambda p: p - 1, True, "downward movement",
        units=("price",), group="momentum",
    ),
    Indicator(
        "plus_di", _PRICES, _WILDER, (), lambda p: _MOVE, lambda p: p, True, "upward directional indicator",
        units=("percent",), group="momentum",
    ),
    Indicator(
        "minus_di", _PRICES, _WILDER, (), lambda p: _MOVE, lambda p: p, True, "downward directional indicator",
        units=("percent",), group="momentum",
    ),
    Indicator(
        "dx", _PRICES, _WILDER, (), lambda p: fields(value="f8", move=_MOVE), lambda p: p, True,
        "directional movement index, 0 to 100", units=("percent",), group="momentum",
    ),
    Indicator(
        "adx", _PRICES, _WILDER, (), lambda p: _ADX, lambda p: 2 * p - 1, True,
        "average directional movement index, 0 to 100", units=("percent",), group="momentum",
    ),
    Indicator(
        "adxr", _PRICES, _WILDER, (), lambda p: fields(adx=_ADX, before=delay(p - 1)), lambda p: 3 * p - 2, True,
        "average directional movement rating", units=("percent",), group="momentum",
    ),
    Indicator(
        "aroon", _RANGE, _WILDER, ("up", "down"), _since_extremes, lambda p: p, False,
        "how new the extremes are, 0 to 100", units=("percent",), group="momentum",
    ),
    Indicator(
        "aroonosc", _RANGE, _WILDER, (), _since_extremes, lambda p: p, False, "Aroon's up less its down",
        units=("percent",), group="momentum",
    ),
    Indicator(
        "cci", _PRICES, _WILDER, (), lambda p: fields(count="i8", place="i8", ring=p), lambda p: p - 1, False,
        "commodity channel index", group="momentum",
    ),
    Indicator(
        "ultosc", _PRICES, (("first", 7, 1), ("second", 14, 1), ("third", 28, 1)), (), _pressures,
        lambda a, b, c: max(a, b, c), False, "ultimate oscillator, 0 to 100", units=("percent",), group="momentum",
    ),
    Indicator(
        "bop", ("open", "high", "low", "close"), (), (), lambda: fields(count="i8"), lambda: 0, False,
        "balance of power, -1 to 1", units=("ratio",), group="momentum",
    ),
    Indicator(
        "chop", _PRICES, _WILDER, (),
        lambda p: fields(count="i8", last="f8", way=window(p), high=extremes(p), low=extremes(p)), lambda p: p, False,
        "choppiness, 0 to 100", units=("percent",), group="momentum",
    ),
)  # fmt: skip
