"""The language's own functions: arithmetic that never fails, and small states that look back over bars.

A number that is missing (NaN) makes the result missing; a condition is never missing. What looks back does so over
bars, and no further than its look-back says: it can be folded again from the ring that the language derives from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from atmand.core.indicators.registry import NAN, State, fields, missing
from atmand.core.jit import kernel

__all__ = [
    "bars_since",
    "clip",
    "count",
    "cube",
    "divide",
    "event",
    "exponential",
    "falling",
    "flags",
    "floor",
    "floor_divide",
    "fourth",
    "history",
    "larger",
    "latch",
    "logarithm",
    "modulo",
    "rising",
    "run",
    "shifted",
    "sign",
    "smaller",
    "square",
    "square_root",
    "valuewhen",
    "whole",
]

_WHOLE: Final = 4_503_599_627_370_496.0
"""From two to the 52nd on every float is whole."""
_MOST_EXPONENT: Final = 709.0


@kernel
def divide(a, b):  # type: ignore[no-untyped-def]
    """Divide; by zero the result is missing."""
    if b == 0.0:
        return NAN
    return a / b


@kernel
def modulo(a, b):  # type: ignore[no-untyped-def]
    """Remainder with the divisor's sign, as Python has it; missing by zero and of what is infinite."""
    if b == 0.0 or missing(a) or math.isnan(b):
        return NAN
    return a % b  # not math.fmod: numba does not know it


@kernel
def floor(x):  # type: ignore[no-untyped-def]
    """Largest whole number at or below."""
    if missing(x) or abs(x) >= _WHOLE:
        return x
    return float(math.floor(x))


@kernel
def whole(x):  # type: ignore[no-untyped-def]
    """Nearest whole number; a half goes up."""
    return floor(x + 0.5)


@kernel
def floor_divide(a, b):  # type: ignore[no-untyped-def]
    """How often the divisor goes into it, rounded down; missing by zero."""
    return floor(divide(a, b))


@kernel
def square(x):  # type: ignore[no-untyped-def]
    return x * x


@kernel
def cube(x):  # type: ignore[no-untyped-def]
    return x * x * x


@kernel
def fourth(x):  # type: ignore[no-untyped-def]
    return x * x * (x * x)


@kernel
def square_root(x):  # type: ignore[no-untyped-def]
    """Square root; missing below zero."""
    return math.sqrt(x) if x >= 0.0 else NAN


@kernel
def logarithm(x):  # type: ignore[no-untyped-def]
    """Natural logarithm; missing at and below zero."""
    return math.log(x) if x > 0.0 else NAN


@kernel
def exponential(x):  # type: ignore[no-untyped-def]
    """e to the power; infinite where no float holds it."""
    if x > _MOST_EXPONENT:
        return math.inf
    return math.exp(x)


@kernel
def sign(x):  # type: ignore[no-untyped-def]
    """1 above zero, -1 below it, 0 at it."""
    if math.isnan(x):
        return NAN
    return 1.0 if x > 0.0 else -1.0 if x < 0.0 else 0.0


@kernel
def smaller(a, b):  # type: ignore[no-untyped-def]
    """The smaller of two; missing where one of them is."""
    if math.isnan(a) or math.isnan(b):
        return NAN
    return b if b < a else a


@kernel
def larger(a, b):  # type: ignore[no-untyped-def]
    """The larger of two; missing where one of them is."""
    if math.isnan(a) or math.isnan(b):
        return NAN
    return b if b > a else a


@kernel
def clip(x, low, high):  # type: ignore[no-untyped-def]
    """Hold a number between two bounds."""
    return smaller(larger(x, low), high)


def history(top: int) -> State:
    """Make the state of a look at an earlier bar."""
    return fields(count="i8", place="i8", ring=max(top, 1))


@kernel
def shifted(s, x, back):  # type: ignore[no-untyped-def]
    """The value of `back` bars ago, missing while there were not so many."""
    before = s.ring[s.place]
    s.ring[s.place] = x
    s.place += 1
    if s.place == back:
        s.place = 0
    s.count += 1
    return before if s.count > back else NAN


def flags(top: int) -> State:
    """Make the state of a count over conditions."""
    return fields(held="i8", place="i8", ring=(np.dtype("i8"), (top,)))


@kernel
def count(s, holds, bars):  # type: ignore[no-untyped-def]
    """On how many of the last bars, this one included, the condition held."""
    now = np.int64(1) if holds else np.int64(0)
    s.held += now - s.ring[s.place]
    s.ring[s.place] = now
    s.place += 1
    if s.place == bars:
        s.place = 0
    return float(s.held)


def _always(state: State) -> Callable[..., State]:
    return lambda *_: state


event: Final = _always(fields(ago="i8", value="f8"))
"""Makes the state of what remembers the last time that something happened; `ago` counts from 1, 0 is never."""


@kernel
def _remember(s, happened, most):  # type: ignore[no-untyped-def]
    """Count the bars since something happened; what is older than `most` bars is forgotten."""
    if happened:
        s.ago = 1
    elif s.ago > 0:
        s.ago = s.ago + 1 if s.ago <= most else 0


@kernel
def bars_since(s, happened, most):  # type: ignore[no-untyped-def]
    """Bars since the condition last held, 0 where it does now; missing where that is too long ago."""
    _remember(s, happened, most)
    return float(s.ago - 1) if s.ago > 0 else NAN


@kernel
def valuewhen(s, happened, x, most):  # type: ignore[no-untyped-def]
    """The number as it was when the condition last held; missing where that is too long ago."""
    _remember(s, happened, most)
    if happened:
        s.value = x
    return s.value if s.ago > 0 else NAN


@kernel
def latch(s, on, off, most):  # type: ignore[no-untyped-def]
    """Held from the bar on which `on` held until `off` does, at most so many bars; both at once is off."""
    _remember(s, on, most)
    if off:
        s.ago = 0
    return s.ago > 0


run: Final = _always(fields(seen="i8", length="i8", last="f8"))
"""Makes the state of a row of bars that all rise, or all fall."""


@kernel
def rising(s, x, bars):  # type: ignore[no-untyped-def]
    """Whether the number rose on each of the last bars; a missing one breaks the row."""
    s.length = min(s.length + 1, bars) if s.seen and x > s.last else 0
    s.seen = 1
    s.last = x
    return s.length >= bars


@kernel
def falling(s, x, bars):  # type: ignore[no-untyped-def]
    """Whether the number fell on each of the last bars; a missing one breaks the row."""
    s.length = min(s.length + 1, bars) if s.seen and x < s.last else 0
    s.seen = 1
    s.last = x
    return s.length >= bars
