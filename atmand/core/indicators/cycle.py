"""Ehlers' cycles: the price through a Hilbert transform, its dominant period and phase.

TA-Lib begins the transform after 12 bars for what follows the period and after 37 for what follows the phase; so do
these. The phase is a sum over one period by its definition, at most 50 bars.
"""

from __future__ import annotations

import math
from typing import Any, Final

from atmand.core.indicators.registry import NAN, Indicator, Unit, fields, missing
from atmand.core.jit import kernel

__all__ = ["ROWS", "ht_dcperiod", "ht_dcphase", "ht_phasor", "ht_sine", "ht_trendline", "ht_trendmode", "mama"]

_EARLY: Final = 12
_LATE: Final = 37
_RING: Final = 50
_DEGREES: Final = 45.0 / math.atan(1.0)


@kernel
def _hilbert(taps, place, x, stretch):  # type: ignore[no-untyped-def]
    """Filter a value with those of 2, 4 and 6 bars ago; `place` is this bar's in the ring of 6."""
    oldest = taps[place]
    taps[place] = x
    four = taps[(place + 2) % 6]
    two = taps[(place + 4) % 6]
    return (0.0 - 0.0962 * oldest + 0.0962 * x - 0.5769 * four + 0.5769 * two) * stretch


@kernel
def _turn(s, x, skipped):  # type: ignore[no-untyped-def]
    """Fold a value into the transform; say whether it has begun. Sets `in_phase`, `quadrature` and the period."""
    s.count += 1
    s.prices[(s.count - 1) % 50] = x
    if s.count <= skipped:
        return False
    smooth = (4.0 * x + 3.0 * s.prices[(s.count - 2) % 50]) + 2.0 * s.prices[(s.count - 3) % 50]
    smooth = (smooth + s.prices[(s.count - 4) % 50]) * 0.1
    s.smooth[(s.count - 1) % 50] = smooth
    stretch = 0.075 * s.period + 0.54
    place = s.count % 6
    detrended = _hilbert(s.a, place, smooth, stretch)
    s.quadrature = _hilbert(s.b, place, detrended, stretch)
    s.in_phase = s.delay[s.count % 3]
    s.delay[s.count % 3] = detrended
    turned_in_phase = _hilbert(s.c, place, s.in_phase, stretch)
    turned_quadrature = _hilbert(s.d, place, s.quadrature, stretch)
    q2 = 0.2 * (s.quadrature + turned_in_phase) + 0.8 * s.q2
    i2 = 0.2 * (s.in_phase - turned_quadrature) + 0.8 * s.i2
    s.re = 0.2 * (i2 * s.i2 + q2 * s.q2) + 0.8 * s.re
    s.im = 0.2 * (i2 * s.q2 - q2 * s.i2) + 0.8 * s.im
    s.q2 = q2
    s.i2 = i2
    last = s.period
    period = last
    if s.im != 0.0 and s.re != 0.0:
        period = 360.0 / (math.atan(s.im / s.re) * _DEGREES)
    if period > 1.5 * last:
        period = 1.5 * last
    if period < 0.67 * last:
        period = 0.67 * last
    period = min(max(period, 6.0), 50.0)
    s.period = 0.2 * period + 0.8 * last
    s.smooth_period = 0.33 * s.period + 0.67 * s.smooth_period
    return True


@kernel
def _phase(s):  # type: ignore[no-untyped-def]
    """Set the phase of the dominant cycle, from the smoothed prices of one period."""
    n = int(s.smooth_period + 0.5)
    real = 0.0
    imaginary = 0.0
    for i in range(n):
        angle = i * (math.atan(1.0) * 8.0) / n
        value = s.smooth[(s.count - 1 - i) % 50]
        real += math.sin(angle) * value
        imaginary += math.cos(angle) * value
    if abs(imaginary) > 0.0:
        s.phase = math.atan(real / imaginary) * _DEGREES
    elif real < 0.0:
        s.phase -= 90.0
    elif real > 0.0:
        s.phase += 90.0
    s.phase += 90.0
    s.phase += 360.0 / s.smooth_period
    if imaginary < 0.0:
        s.phase += 180.0
    if s.phase > 315.0:
        s.phase -= 360.0


@kernel
def _trendline(s):  # type: ignore[no-untyped-def]
    """Return the mean of one period's prices, smoothed over four bars."""
    n = int(s.smooth_period + 0.5)
    mean = 0.0
    for i in range(n):
        mean += s.prices[(s.count - 1 - i) % 50]
    if n > 0:
        mean /= n
    value = (4.0 * mean + 3.0 * s.trend1 + 2.0 * s.trend2 + s.trend3) / 10.0
    s.trend3 = s.trend2
    s.trend2 = s.trend1
    s.trend1 = mean
    return value


@kernel
def mama(s, x, fast_limit, slow_limit):  # type: ignore[no-untyped-def]
    """Ehlers' average, whose speed follows the phase: (mama, fama)."""
    if missing(x) or not _turn(s, x, _EARLY):
        return NAN, NAN
    phase = 0.0
    if s.in_phase != 0.0:
        phase = math.atan(s.quadrature / s.in_phase) * _DEGREES
    change = s.phase - phase
    s.phase = phase
    share = fast_limit
    if change > 1.0:
        share = max(fast_limit / change, slow_limit)
    s.trend1 = share * x + (1.0 - share) * s.trend1
    share *= 0.5
    s.trend2 = share * s.trend1 + (1.0 - share) * s.trend2
    return (s.trend1, s.trend2) if s.count > 32 else (NAN, NAN)


@kernel
def ht_dcperiod(s, x):  # type: ignore[no-untyped-def]
    """The dominant cycle's period in bars."""
    if missing(x) or not _turn(s, x, _EARLY):
        return NAN
    return s.smooth_period if s.count > 32 else NAN


@kernel
def ht_phasor(s, x):  # type: ignore[no-untyped-def]
    """The two components of the cycle: (inphase, quadrature)."""
    if missing(x) or not _turn(s, x, _EARLY):
        return NAN, NAN
    return (s.in_phase, s.quadrature) if s.count > 32 else (NAN, NAN)


@kernel
def ht_dcphase(s, x):  # type: ignore[no-untyped-def]
    """The dominant cycle's phase in degrees."""
    if missing(x) or not _turn(s, x, _LATE):
        return NAN
    _phase(s)
    return s.phase if s.count > 63 else NAN


@kernel
def ht_sine(s, x):  # type: ignore[no-untyped-def]
    """The sine of the phase, and the sine 45 degrees ahead: (sine, lead)."""
    if missing(x) or not _turn(s, x, _LATE):
        return NAN, NAN
    _phase(s)
    if s.count <= 63:
        return NAN, NAN
    return math.sin(s.phase * (1.0 / _DEGREES)), math.sin((s.phase + 45.0) * (1.0 / _DEGREES))


@kernel
def ht_trendline(s, x):  # type: ignore[no-untyped-def]
    """The price without its dominant cycle."""
    if missing(x) or not _turn(s, x, _LATE):
        return NAN
    value = _trendline(s)
    return value if s.count > 63 else NAN


@kernel
def ht_trendmode(s, x):  # type: ignore[no-untyped-def]
    """1 while the market trends, 0 while it cycles."""
    if missing(x) or not _turn(s, x, _LATE):
        return NAN
    before = s.phase
    _phase(s)
    sine = math.sin(s.phase * (1.0 / _DEGREES))
    lead = math.sin((s.phase + 45.0) * (1.0 / _DEGREES))
    line = _trendline(s)
    trend = 1.0
    if (sine > lead and s.sine <= s.lead) or (sine < lead and s.sine >= s.lead):
        s.days = 0
        trend = 0.0
    s.sine = sine
    s.lead = lead
    s.days += 1
    if s.days < 0.5 * s.smooth_period:
        trend = 0.0
    turned = s.phase - before
    if 0.67 * 360.0 / s.smooth_period < turned < 1.5 * 360.0 / s.smooth_period:
        trend = 0.0
    price = s.smooth[(s.count - 1) % 50]
    if line != 0.0 and abs((price - line) / line) >= 0.015:
        trend = 1.0
    return trend if s.count > 63 else NAN


_FLOATS: Final = (
    "in_phase", "quadrature", "q2", "i2", "re", "im", "period", "smooth_period", "phase", "sine", "lead", "trend1",
    "trend2", "trend3",
)  # fmt: skip
_STATE: Final = fields(
    count="i8", days="i8", **dict.fromkeys(_FLOATS, "f8"), delay=3, **dict.fromkeys("abcd", 6), prices=_RING,
    smooth=_RING,
)  # fmt: skip
_MEMORY: Final = 1_500


def _row(name: str, outputs: tuple[str, ...], warm_up: int, unit: Unit, summary: str, **more: Any) -> Indicator:
    return Indicator(
        name, ("source",), (), outputs, lambda: _STATE, lambda: warm_up, True, summary, units=(unit,), memory=_MEMORY,
        **more,
    )  # fmt: skip


ROWS: Final = (
    _row(
        "mama", ("mama", "fama"), 32, "source", "Ehlers' adaptive moving average",
        numbers=(("fast_limit", 0.5, 0.01, 0.99), ("slow_limit", 0.05, 0.01, 0.99)), group="overlap",
    ),
    _row("ht_trendline", (), 63, "source", "the price without its dominant cycle", group="overlap"),
    _row("ht_dcperiod", (), 32, "bars", "period of the dominant cycle"),
    _row("ht_dcphase", (), 63, "number", "phase of the dominant cycle in degrees"),
    _row("ht_phasor", ("inphase", "quadrature"), 32, "source", "the two components of the cycle"),
    _row("ht_sine", ("sine", "lead"), 63, "number", "sine of the phase, and 45 degrees ahead"),
    _row("ht_trendmode", (), 63, "number", "1 in a trend, 0 in a cycle"),
)  # fmt: skip
