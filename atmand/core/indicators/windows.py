"""Windows that slide in constant time: running totals, moments, extremes, order. What the families are made of.

Each kernel takes a record of its own, made by the function above it, and says with its `count` how full it is. Sums are
made anew each time the ring has been gone round, so that their error stays bounded whatever came before.
"""

from __future__ import annotations

from typing import Final

from atmand.core.indicators.registry import NAN, State, fields
from atmand.core.jit import kernel

__all__ = [
    "average",
    "delay",
    "delayed",
    "extremes",
    "highest_of",
    "is_tie",
    "line",
    "line_through",
    "lowest_of",
    "moments",
    "moments_of",
    "order",
    "pair_moments",
    "pair_moments_of",
    "rank_in",
    "slide_order",
    "total_of",
    "true_range",
    "window",
]


_DWARFED: Final = 1e6
"""How many times smaller a sum of squares must be than what it was taken from to be made anew."""


@kernel
def is_tie(x, y):  # type: ignore[no-untyped-def]
    """Say whether two values differ by rounding only, by TA-Lib's measure."""
    return abs(x - y) <= 1e-14 * (abs(x) + abs(y))


def average() -> State:
    """Make the state of an exponential average."""
    return fields(count="i8", value="f8")


def delay(top: int) -> State:
    """Make the state of a delay."""
    return fields(count="i8", place="i8", ring=max(top, 1))


@kernel
def delayed(s, x, period):  # type: ignore[no-untyped-def]
    """Return the value of `period` bars ago, NaN while there is none."""
    before = s.ring[s.place]
    s.ring[s.place] = x
    s.place += 1
    if s.place == period:
        s.place = 0
    s.count += 1
    return before if s.count > period else NAN


def window(top: int) -> State:
    """Make the state of a running total."""
    return fields(count="i8", place="i8", total="f8", ring=top)


@kernel
def total_of(s, x, period):  # type: ignore[no-untyped-def]
    """Return the sum of the last `period` values; of fewer while there are not so many."""
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
    return s.total


def moments(top: int) -> State:
    """Make the state of a running mean and variance."""
    return fields(count="i8", place="i8", shift="f8", total="f8", square="f8", ring=top)


@kernel
def _sum_squares(s, period):  # type: ignore[no-untyped-def]
    """Sum the ring anew, past its own mean."""
    s.shift += s.total / period
    s.total = 0.0
    s.square = 0.0
    for i in range(period):
        past = s.ring[i] - s.shift
        s.total += past
        s.square += past * past


@kernel
def moments_of(s, x, period):  # type: ignore[no-untyped-def]
    """Return (mean, variance of the population) of the last `period` values; they mean nothing before.

    Sums are of what lies past `shift`, a mean of before: large prices cost no digits. They are made anew each time
    round, and at once where what left the window, or the distance to `shift`, dwarfs what is in it: rounding would too.
    """
    if s.count == 0:
        s.shift = x
    past = x - s.shift
    s.total += past
    s.square += past * past
    left = 0.0
    if s.count >= period:
        past = s.ring[s.place] - s.shift
        s.total -= past
        s.square -= past * past
        left = past * past
    s.ring[s.place] = x
    s.place += 1
    s.count += 1
    if s.place == period:
        s.place = 0
    mean = s.total / period
    variance = s.square / period - mean * mean
    far = mean * mean > _DWARFED * variance and abs(mean) > 1e-9 * abs(s.shift)
    if s.count >= period and (s.place == 0 or left > _DWARFED * s.square or far):
        _sum_squares(s, period)
        mean = s.total / period
        variance = s.square / period - mean * mean
    return s.shift + mean, variance if variance > 0.0 else 0.0


def pair_moments(top: int) -> State:
    """Make the state of a running covariance."""
    names = ("x_shift", "y_shift", "x", "y", "xx", "yy", "xy")
    return fields(count="i8", place="i8", **dict.fromkeys(names, "f8"), x_ring=top, y_ring=top)


@kernel
def _add_pair(s, x, y, sign):  # type: ignore[no-untyped-def]
    x -= s.x_shift
    y -= s.y_shift
    s.x += sign * x
    s.y += sign * y
    s.xx += sign * x * x
    s.yy += sign * y * y
    s.xy += sign * x * y


@kernel
def _sum_pairs(s, period):  # type: ignore[no-untyped-def]
    """Sum the rings anew, past their own means."""
    s.x_shift += s.x / period
    s.y_shift += s.y / period
    s.x = s.y = s.xx = s.yy = s.xy = 0.0
    for i in range(period):
        _add_pair(s, s.x_ring[i], s.y_ring[i], 1.0)


@kernel
def _is_dwarfed(left, total, squares, shift, period):  # type: ignore[no-untyped-def]
    """Say whether rounding is as large as what is left of a sum of squares."""
    mean = total / period
    far = mean * mean * period > _DWARFED * (squares - mean * total) and abs(mean) > 1e-9 * abs(shift)
    return far or left * left > _DWARFED * squares


@kernel
def pair_moments_of(s, x, y, period):  # type: ignore[no-untyped-def]
    """Return (variance of x, variance of y, covariance) of the last `period` pairs, each times `period`."""
    if s.count == 0:
        s.x_shift = x
        s.y_shift = y
    _add_pair(s, x, y, 1.0)
    x_left = 0.0
    y_left = 0.0
    if s.count >= period:
        x_left = s.x_ring[s.place] - s.x_shift
        y_left = s.y_ring[s.place] - s.y_shift
        _add_pair(s, s.x_ring[s.place], s.y_ring[s.place], -1.0)
    s.x_ring[s.place] = x
    s.y_ring[s.place] = y
    s.place += 1
    s.count += 1
    if s.place == period:
        s.place = 0
    if s.count >= period and (
        s.place == 0
        or _is_dwarfed(x_left, s.x, s.xx, s.x_shift, period)
        or _is_dwarfed(y_left, s.y, s.yy, s.y_shift, period)
    ):
        _sum_pairs(s, period)
    return s.xx - s.x * s.x / period, s.yy - s.y * s.y / period, s.xy - s.x * s.y / period


def line(top: int) -> State:
    """Make the state of a running regression."""
    return fields(count="i8", place="i8", shift="f8", total="f8", cross="f8", ring=top)


@kernel
def line_through(s, x, period):  # type: ignore[no-untyped-def]
    """Return (intercept, slope) of the least squares line through the last `period` values, the oldest at 0.

    `cross` is the sum of value times age: a new bar ages all of them by one, so it grows by their sum.
    """
    if s.count == 0:
        s.shift = x
    s.cross += s.total
    s.total += x - s.shift
    if s.count >= period:
        past = s.ring[s.place] - s.shift
        s.total -= past
        s.cross -= past * period
    s.ring[s.place] = x
    s.place += 1
    s.count += 1
    if s.place == period:
        s.place = 0
        s.shift += s.total / period
        s.total = 0.0
        s.cross = 0.0
        for i in range(period):
            past = s.ring[i] - s.shift
            s.total += past
            s.cross += past * (period - 1 - i)
    n = float(period)
    places = n * (n - 1.0) * 0.5
    slope = (n * ((n - 1.0) * s.total - s.cross) - places * s.total) / (n * n * (n * n - 1.0) / 12.0)
    return s.shift + (s.total - slope * places) / n, slope


def extremes(top: int) -> State:
    """Make the state of a running extreme: a queue in which each value is beaten by none behind it."""
    return fields(count="i8", head="i8", size="i8", values=top, bars=("i8", top))


@kernel
def highest_of(s, x, period):  # type: ignore[no-untyped-def]
    """Return (the highest of the last `period` values, how many bars ago it was); of equal ones the latest."""
    while s.size > 0:
        last = s.head + s.size - 1
        if last >= period:
            last -= period
        if s.values[last] > x:
            break
        s.size -= 1
    if s.size > 0 and s.bars[s.head] <= s.count - period:
        s.head += 1
        if s.head == period:
            s.head = 0
        s.size -= 1
    last = s.head + s.size
    if last >= period:
        last -= period
    s.values[last] = x
    s.bars[last] = s.count
    s.size += 1
    s.count += 1
    return s.values[s.head], s.count - 1 - s.bars[s.head]


@kernel
def lowest_of(s, x, period):  # type: ignore[no-untyped-def]
    """Return (the lowest of the last `period` values, how many bars ago it was); of equal ones the latest."""
    value, ago = highest_of(s, -x, period)
    return -value, ago


def order(top: int) -> State:
    """Make the state of a window that is kept in order too."""
    return fields(count="i8", place="i8", ring=top, sorted=top)


@kernel
def rank_in(s, x, size):  # type: ignore[no-untyped-def]
    """Return how many of the first `size` sorted values are at most `x`."""
    low = 0
    high = size
    while low < high:
        middle = (low + high) // 2
        if s.sorted[middle] <= x:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def slide_order(s, x, period):  # type: ignore[no-untyped-def]
    """Put a value into the window and its place in order, and the oldest out: a search, then one move."""
    size = min(s.count, period)
    if size == period:
        hole = rank_in(s, s.ring[s.place], size) - 1
        size -= 1
        for i in range(hole, size):
            s.sorted[i] = s.sorted[i + 1]
    at = rank_in(s, x, size)
    for i in range(size, at, -1):
        s.sorted[i] = s.sorted[i - 1]
    s.sorted[at] = x
    s.ring[s.place] = x
    s.place += 1
    if s.place == period:
        s.place = 0
    s.count += 1


@kernel
def true_range(high, low, last):  # type: ignore[no-untyped-def]
    """Return the bar's range, the gap from the close before included."""
    return max(high - low, max(abs(high - last), abs(low - last)))
