"""What an indicator is to the rest of atmand: the row that describes it, and how the dtype of its state is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from atmand.core.jit import kernel

__all__ = ["NAN", "Indicator", "State", "Unit", "fields", "lookback", "missing", "scalars"]

NAN: Final = math.nan
_FOLDED_PERIODS: Final = 50
"""Periods of bars that a recursive indicator keeps, so that folding it again agrees to 1e-9."""
_FETCHED_PERIODS: Final = 25
"""Periods of bars worth fetching: Wilder's average keeps less than 2e-11 of what is older, the others less still."""

State = np.dtype[np.void]
Unit = Literal["price", "ratio", "percent", "volume", "bars", "number", "source"]


@dataclass(frozen=True)
class Indicator:
    """One row of the registry: what the language, its checks, the generated code and the docs know of a step.

    The step is called as `name(state, *inputs, *lookbacks, *numbers)` and returns a float, or a tuple of `outputs`.
    """

    name: str
    """The step's name and its name in the language."""
    inputs: tuple[str, ...]
    """What the step takes of a bar, in order: `open`, `high`, `low`, `close`, `volume`; `start_ns`, the bar's start;
    `source`, any expression and the close by default; `source2`, a second expression that must be given."""
    lookbacks: tuple[tuple[str, int | None, int], ...]
    """(name, default or None, least) of each look-back."""
    outputs: tuple[str, ...]
    """Empty where the indicator is one number."""
    state: Callable[..., State]
    """The state's dtype, given the top of each look-back's range."""
    warm_up: Callable[..., int]
    """Bars before the first value, given the look-backs."""
    recursive: bool
    """Whether old bars keep a share for ever: such an indicator keeps a long ring, to be folded again from it."""
    summary: str
    numbers: tuple[tuple[str, float, float, float], ...] = ()
    """(name, default, low, high) of each float argument; they come after the look-backs."""
    units: tuple[Unit, ...] = ("number",)
    """The unit of each output, or one for all; `number` is unchecked, `source` is the source's own."""
    cumulative: bool = False
    """Whether the level depends on the first bar that was seen, so that only differences mean anything."""
    memory: int = 0
    """Bars that a recursive indicator remembers where its look-backs do not tell."""
    module: str = ""
    """The import path of the step; filled in when the row is registered."""
    group: str = ""
    """The heading in the docs; the file's name where it is empty."""

    def kept(self, *tops: int) -> int:
        """Return how many bars folding this indicator again needs, given the tops of its look-backs' ranges."""
        own = self.warm_up(*tops) + 1
        return max(own, self.memory, _FOLDED_PERIODS * max(tops, default=1)) if self.recursive else own

    def fetched(self, *lookbacks: int) -> int:
        """Return how many bars are worth fetching before the first decision."""
        own = self.warm_up(*lookbacks) + 1
        return max(own, self.memory, _FETCHED_PERIODS * max(lookbacks, default=1)) if self.recursive else own

    def unit_of(self, output: str | None) -> Unit:
        """Return the unit of one output."""
        return self.units[self.outputs.index(output)] if output and len(self.units) > 1 else self.units[0]


def fields(**kinds: Any) -> State:
    """Write a state's dtype: each field a numpy code, a dtype, a whole number (a ring of floats), or (dtype, size)."""
    rows = [(name, ("f8", (kind,)) if isinstance(kind, int) else kind) for name, kind in kinds.items()]
    return np.dtype([(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in rows], align=True)


def scalars(*names: str) -> Callable[..., State]:
    """Make the state of an indicator that keeps no window: a count, then floats."""
    dtype = fields(count="i8", **dict.fromkeys(names, "f8"))
    return lambda *_: dtype


@kernel
def lookback(value, least, top):  # type: ignore[no-untyped-def]
    """Turn a parameter's value into a look-back inside the range that its state was laid out for."""
    if not value > least:
        return np.int64(least)
    if value >= top:
        return np.int64(top)
    return np.int64(math.floor(value + 0.5))


@kernel
def missing(x):  # type: ignore[no-untyped-def]
    """Say whether a value is none: NaN or infinite."""
    return x - x != 0.0
