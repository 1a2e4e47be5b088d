"""Statistics of the last bars: deviations, lines, extremes, order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from atmand.core.indicators.registry import NAN, Indicator, State, Unit, fields, missing
from atmand.core.indicators.windows import (
    extremes,
    highest_of,
    is_tie,
    line,
    line_through,
    lowest_of,
    moments,
    moments_of,
    order,
    pair_moments,
    pair_moments_of,
    rank_in,
    slide_order,
    total_of,
    window,
)
from atmand.core.jit import kernel

__all__ = [
    "ROWS", "beta", "correl", "highest", "highest_bars", "linearreg", "linearreg_angle", "linearreg_intercept",
    "linearreg_slope", "lowest", "lowest_bars", "percent_rank", "rolling_mean", "rolling_median", "rolling_std",
    "rolling_sum", "rolling_zscore", "stddev", "tsf", "var",
]  # fmt: skip


@kernel
def rolling_sum(s, x, period):  # type: ignore[no-untyped-def]
    """The sum of the window."""
    if missing(x):
        return NAN
    total = total_of(s, x, period)
    return total if s.count >= period else NAN


@kernel
def rolling_mean(s, x, period):  # type: ignore[no-untyped-def]
    """The mean of the window."""
    return rolling_sum(s, x, period) / period


@kernel
def var(s, x, period):  # type: ignore[no-untyped-def]
    """The population's variance."""
    if missing(x):
        return NAN
    _, variance = moments_of(s, x, period)
    return variance if s.count >= period else NAN


@kernel
def stddev(s, x, period, deviations):  # type: ignore[no-untyped-def]
    """The population's standard deviation, times `deviations`."""
    return math.sqrt(var(s, x, period)) * deviations


@kernel
def rolling_std(s, x, period):  # type: ignore[no-untyped-def]
    """The sample's standard deviation: one degree of freedom goes to the mean."""
    return math.sqrt(var(s, x, period) * period / (period - 1.0))


@kernel
def rolling_zscore(s, x, period):  # type: ignore[no-untyped-def]
    """How many of the sample's standard deviations this value is from the mean; 0 where nothing varies."""
    if missing(x):
        return NAN
    mean, variance = moments_of(s, x, period)
    if s.count < period:
        return NAN
    deviation = math.sqrt(variance * period / (period - 1.0))
    return 0.0 if deviation == 0.0 or is_tie(x, mean) else (x - mean) / deviation


@kernel
def rolling_median(s, x, period):  # type: ignore[no-untyped-def]
    """The middle of the window in order."""
    if missing(x):
        return NAN
    slide_order(s, x, period)
    if s.count < period:
        return NAN
    return (s.sorted[(period - 1) // 2] + s.sorted[period // 2]) / 2.0


@kernel
def percent_rank(s, x, period):  # type: ignore[no-untyped-def]
    """How many of the `period` values before are at most this one, in percent."""
    if missing(x):
        return NAN
    below = rank_in(s, x, period) if s.count >= period else -1
    slide_order(s, x, period)
    return 100.0 * below / period if below >= 0 else NAN


@kernel
def highest(s, x, period):  # type: ignore[no-untyped-def]
    """The window's highest value."""
    if missing(x):
        return NAN
    value, _ = highest_of(s, x, period)
    return value if s.count >= period else NAN


@kernel
def lowest(s, x, period):  # type: ignore[no-untyped-def]
    """The window's lowest value."""
    if missing(x):
        return NAN
    value, _ = lowest_of(s, x, period)
    return value if s.count >= period else NAN


@kernel
def highest_bars(s, x, period):  # type: ignore[no-untyped-def]
    """Bars since the window's highest value, 0 on its own bar; of equal ones the latest."""
    if missing(x):
        return NAN
    _, ago = highest_of(s, x, period)
    return float(ago) if s.count >= period else NAN


@kernel
def lowest_bars(s, x, period):  # type: ignore[no-untyped-def]
    """Bars since the window's lowest value, 0 on its own bar; of equal ones the latest."""
    if missing(x):
        return NAN
    _, ago = lowest_of(s, x, period)
    return float(ago) if s.count >= period else NAN


@kernel
def linearreg_intercept(s, x, period):  # type: ignore[no-untyped-def]
    """The least squares line at the window's oldest bar."""
    if missing(x):
        return NAN
    intercept, _ = line_through(s, x, period)
    return intercept if s.count >= period else NAN


@kernel
def linearreg_slope(s, x, period):  # type: ignore[no-untyped-def]
    """The least squares line's rise in a bar."""
    if missing(x):
        return NAN
    _, slope = line_through(s, x, period)
    return slope if s.count >= period else NAN


@kernel
def linearreg_angle(s, x, period):  # type: ignore[no-untyped-def]
    """The least squares line's slope as an angle in degrees."""
    return math.atan(linearreg_slope(s, x, period)) * (180.0 / math.pi)


@kernel
def linearreg(s, x, period):  # type: ignore[no-untyped-def]
    """The least squares line at this bar."""
    if missing(x):
        return NAN
    intercept, slope = line_through(s, x, period)
    return intercept + slope * (period - 1.0) if s.count >= period else NAN


@kernel
def tsf(s, x, period):  # type: ignore[no-untyped-def]
    """The least squares line at the next bar."""
    if missing(x):
        return NAN
    intercept, slope = line_through(s, x, period)
    return intercept + slope * period if s.count >= period else NAN


@kernel
def correl(s, x, y, period):  # type: ignore[no-untyped-def]
    """Pearson's correlation of two series."""
    if missing(x + y):
        return NAN
    xx, yy, xy = pair_moments_of(s, x, y, period)
    if s.count < period:
        return NAN
    return xy / math.sqrt(xx * yy) if xx > 0.0 and yy > 0.0 else 0.0


@kernel
def beta(s, x, y, period):  # type: ignore[no-untyped-def]
    """How much the second series' returns move with the first one's."""
    if missing(x + y):
        return NAN
    x_last = s.x
    y_last = s.y
    s.x = x
    s.y = y
    s.count += 1
    if s.count == 1:
        return NAN
    x_return = 0.0 if x_last == 0.0 else (x - x_last) / x_last
    y_return = 0.0 if y_last == 0.0 else (y - y_last) / y_last
    xx, _, xy = pair_moments_of(s.pairs, x_return, y_return, period)
    if s.count <= period:
        return NAN
    return 0.0 if xx == 0.0 else xy / xx


def _row(
    name: str, state: Callable[..., State], default: int, least: int, unit: Unit, summary: str, **more: Any
) -> Indicator:
    """Write the row of a statistic of one series' last `period` values."""
    lookbacks = (("period", default, least),)
    return Indicator(name, ("source",), lookbacks, (), state, lambda p: p - 1, False, summary, units=(unit,), **more)


ROWS: Final = (
    _row("highest", extremes, 30, 1, "source", "highest value"),
    _row("lowest", extremes, 30, 1, "source", "lowest value"),
    _row("highest_bars", extremes, 30, 1, "bars", "bars since the highest value, 0 on its own bar"),
    _row("lowest_bars", extremes, 30, 1, "bars", "bars since the lowest value, 0 on its own bar"),
    _row("rolling_sum", window, 30, 1, "source", "sum"),
    _row("rolling_mean", window, 30, 1, "source", "mean"),
    _row("rolling_median", order, 30, 1, "source", "median"),
    _row("rolling_std", moments, 20, 2, "source", "standard deviation of the sample"),
    _row("rolling_zscore", moments, 20, 2, "number", "distance from the mean in standard deviations of the sample"),
    _row("stddev", moments, 5, 2, "source", "standard deviation", numbers=(("deviations", 1.0, 0.0, 100.0),)),
    _row("var", moments, 5, 1, "number", "variance"),
    _row("linearreg", line, 14, 2, "source", "least squares line at this bar"),
    _row("linearreg_slope", line, 14, 2, "source", "rise of the line in a bar"),
    _row("linearreg_angle", line, 14, 2, "number", "slope of the line in degrees"),
    _row("linearreg_intercept", line, 14, 2, "source", "least squares line at the oldest bar"),
    _row("tsf", line, 14, 2, "source", "least squares line at the next bar"),
    Indicator(
        "percent_rank", ("source",), (("period", 100, 1),), (), order, lambda p: p, False,
        "share of the values before that are at most this one, 0 to 100", units=("percent",),
    ),
    Indicator(
        "correl", ("source", "source2"), (("period", 30, 1),), (), pair_moments, lambda p: p - 1, False,
        "correlation of two series, -1 to 1", units=("ratio",),
    ),
    Indicator(
        "beta", ("source", "source2"), (("period", 5, 1),), (),
        lambda p: fields(count="i8", x="f8", y="f8", pairs=pair_moments(p)), lambda p: p, False,
        "how much the second series' returns move with the first one's", units=("ratio",),
    ),
)  # fmt: skip
