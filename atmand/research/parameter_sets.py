"""Parameter sets for a sweep: a grid, drawn at random, or Sobol's points, out of a strategy file's declared ranges.

A parameter's step and scale hold for all three; one in bars takes whole numbers; sets that come out equal are one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.errors import UsageError
from atmand.hints import did_you_mean
from atmand.lang.strategy import Parameter
from atmand.research.sobol import MOST_DIMENSIONS, sobol

__all__ = ["MOST_SETS", "Axis", "ParameterSets", "axes_of", "grid_sets", "read_axis", "spread_sets"]

MOST_SETS: Final = 1_000_000
_POINTS: Final = 5
"""Of a parameter in a grid that has no step."""


@dataclass(frozen=True)
class Axis:
    """How one parameter is varied. `step` 0 is none."""

    name: str
    low: float
    high: float
    step: float
    log: bool
    whole: bool

    def points(self) -> NDArray[np.float64]:
        """Return the values of a grid."""
        if self.step > 0:
            count = math.floor((self.high - self.low) / self.step * (1 + 1e-12) + 1e-9) + 1
            if count > MOST_SETS:
                raise UsageError(f"--grid {self.name}", f"{count:,} values", "give it a longer step")
            return self._snapped(self.low + self.step * np.arange(count, dtype=np.float64))
        return np.unique(self.at(np.linspace(0.0, 1.0, _POINTS, dtype=np.float64)))

    def at(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values at places 0 to 1 of the range, along its scale, on its step."""
        if self.low == self.high:
            return np.full(places.shape, self.low)
        if self.log:
            values = self.low * np.exp(places * math.log(self.high / self.low))
        else:
            values = self.low + places * (self.high - self.low)
        if self.step > 0:
            last = math.floor((self.high - self.low) / self.step * (1 + 1e-12) + 1e-9)
            values = self.low + self.step * np.clip(np.rint((values - self.low) / self.step), 0, last)
        return self._snapped(values)

    def _snapped(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Take the rounding of the arithmetic off: 0.1 + 0.2 is meant to be 0.3."""
        clean = np.rint(values) if self.whole else np.round(values, 12)
        return np.asarray(np.clip(clean, self.low, self.high), np.float64)


@dataclass(frozen=True, eq=False)
class ParameterSets:
    """Sets of values, a row each, in the order of the strategy's parameters; `how` names the way they were made."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    how: str
    varied: tuple[str, ...]


def read_axis(word: str) -> tuple[str, float, float, float]:
    """Read `name=from:to:step`, the step left out or not."""
    name, equals, rest = word.partition("=")
    try:
        numbers = [float(part) for part in rest.split(":")]
    except ValueError:
        numbers = []
    sound = equals and name.isidentifier() and len(numbers) in (2, 3) and all(map(math.isfinite, numbers))
    if not sound or numbers[0] > numbers[1] or (len(numbers) == 3 and numbers[2] <= 0):
        raise UsageError(f"--grid {word}", "is not name=from:to:step", "write it as rsi_period=5:30:5")
    return name, numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 0.0


def axes_of(
    params: Mapping[str, Parameter], given: Sequence[tuple[str, float, float, float]], fixed: Mapping[str, float]
) -> list[Axis]:
    """Return the parameters to vary: the given ones, else all that are not fixed, within their declared ranges."""
    ranges = {name: (low, high, step) for name, low, high, step in given}
    for name in (*ranges, *fixed):
        if name not in params:
            raise UsageError(f"parameter {name}", "unknown", did_you_mean(name, params, "the file's [params]"))
    if both := ranges.keys() & fixed.keys():
        raise UsageError(f"parameter {min(both)}", "is set and varied", "give it to --set or to --grid")
    axes = []
    for name in ranges or [name for name in params if name not in fixed]:
        declared = params[name]
        low, high, step = ranges.get(name, (*declared.range, declared.step))
        if not declared.range[0] <= low <= high <= declared.range[1]:
            allowed = f"{declared.range[0]:g}:{declared.range[1]:g}"
            raise UsageError(f"--grid {name}", f"{low:g}:{high:g} is outside its range", f"stay inside {allowed}")
        whole = declared.unit == "bars"
        if whole and any(value != int(value) for value in (low, high, step)):
            raise UsageError(f"--grid {name}", "is a number of bars", "write whole numbers")
        step = step or (declared.step if name in ranges else 0.0) or (1.0 if whole else 0.0)
        log = declared.scale == "log" and low > 0
        axes.append(Axis(name, low, high, step, log, whole))
    if not axes:
        raise UsageError("sweep", "nothing is varied", "the strategy needs [params] that --set leaves free")
    return axes


def grid_sets(params: Mapping[str, Parameter], axes: Sequence[Axis], fixed: Mapping[str, float]) -> ParameterSets:
    """Return every combination of the axes' points, the last axis running fastest."""
    points = [axis.points() for axis in axes]
    count = math.prod(map(len, points))
    if count > MOST_SETS:
        told = " x ".join(str(len(each)) for each in points)
        remedy = "vary fewer with --grid p=from:to:step, or use --sobol 500"
        raise UsageError("sweep", f"{told} = {count:,} sets", remedy)
    mesh = np.stack([each.ravel() for each in np.meshgrid(*points, indexing="ij")], axis=1)
    return _whole(params, axes, fixed, mesh, "grid")


def spread_sets(
    params: Mapping[str, Parameter],
    axes: Sequence[Axis],
    fixed: Mapping[str, float],
    *,
    n: int,
    is_sobol: bool,
    seed: int = 1,
) -> ParameterSets:
    """Return `n` sets spread over the axes, at random or along Sobol's sequence; fewer where some came out equal."""
    if is_sobol and len(axes) > MOST_DIMENSIONS:
        what = f"{len(axes)} parameters; it knows {MOST_DIMENSIONS} dimensions"
        raise UsageError("--sobol", what, "vary fewer with --grid, or use --random")
    unit = sobol(n, len(axes), seed) if is_sobol else np.random.default_rng(seed).random((n, len(axes)))
    columns = [axis.at(unit[:, place]) for place, axis in enumerate(axes)]
    how = f"{'sobol' if is_sobol else 'random'} {n}, seed {seed}"
    return _whole(params, axes, fixed, np.stack(columns, axis=1), how)


def _whole(
    params: Mapping[str, Parameter],
    axes: Sequence[Axis],
    fixed: Mapping[str, float],
    varied: NDArray[np.float64],
    how: str,
) -> ParameterSets:
    names = tuple(params)
    values = np.empty((len(varied), len(names)))
    values[:] = [fixed.get(name, parameter.default) for name, parameter in params.items()]
    for place, axis in enumerate(axes):
        values[:, names.index(axis.name)] = varied[:, place]
    _, first = np.unique(values, axis=0, return_index=True)
    return ParameterSets(names, values[np.sort(first)], how, tuple(axis.name for axis in axes))
