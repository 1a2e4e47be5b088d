"""What was traded, and which way it pushed."""

from __future__ import annotations

from typing import Final

from atmand.core.indicators.registry import NAN, Indicator, fields, missing, scalars
from atmand.core.indicators.windows import total_of, window
from atmand.core.jit import kernel

__all__ = ["ROWS", "ad", "adosc", "cmf", "mfi", "obv"]


@kernel
def obv(s, x, volume):  # type: ignore[no-untyped-def]
    """On balance volume: each bar's volume with the sign of its change, summed."""
    if missing(x + volume):
        return NAN
    s.count += 1
    if s.count == 1 or x > s.last:
        s.value += volume
    elif x < s.last:
        s.value -= volume
    s.last = x
    return s.value


@kernel
def _flow(high, low, close, volume):  # type: ignore[no-untyped-def]
    """Return the volume with the sign and share of where the close lies in the bar."""
    spread = high - low
    return ((close - low) - (high - close)) / spread * volume if spread > 0.0 else 0.0


@kernel
def ad(s, high, low, close, volume):  # type: ignore[no-untyped-def]
    """Chaikin's accumulation and distribution."""
    if missing(high + low + close + volume):
        return NAN
    s.count += 1
    s.value += _flow(high, low, close, volume)
    return s.value


@kernel
def adosc(s, high, low, close, volume, fast, slow):  # type: ignore[no-untyped-def]
    """Chaikin's oscillator: two exponential averages of his line, both seeded with its first value."""
    if missing(high + low + close + volume):
        return NAN
    s.count += 1
    s.value += _flow(high, low, close, volume)
    if s.count == 1:
        s.fast = s.value
        s.slow = s.value
    else:
        s.fast += (s.value - s.fast) * (2.0 / (fast + 1.0))
        s.slow += (s.value - s.slow) * (2.0 / (slow + 1.0))
    return s.fast - s.slow if s.count >= max(fast, slow) else NAN


@kernel
def mfi(s, high, low, close, volume, period):  # type: ignore[no-untyped-def]
    """Money flow index: the share of money that was traded on rising bars, in percent."""
    if missing(high + low + close + volume):
        return NAN
    value = (high + low + close) / 3.0
    change = value - s.last
    s.last = value
    s.count += 1
    if s.count == 1:
        return NAN
    money = value * volume
    rising = total_of(s.rising, money if change > 0.0 else 0.0, period)
    falling = total_of(s.falling, money if change < 0.0 else 0.0, period)
    if s.count <= period:
        return NAN
    return 100.0 * (rising / (rising + falling)) if rising + falling >= 1.0 else 0.0


@kernel
def cmf(s, high, low, close, volume, period):  # type: ignore[no-untyped-def]
    """Chaikin's money flow: his line over the window by its volume; missing where nothing was traded."""
    if missing(high + low + close + volume):
        return NAN
    flow = total_of(s.flow, _flow(high, low, close, volume), period)
    units = total_of(s.units, volume, period)
    return flow / units if s.units.count >= period and units > 0.0 else NAN


_PRICES: Final = ("high", "low", "close", "volume")

ROWS: Final = (
    Indicator(
        "obv", ("source", "volume"), (), (), scalars("last", "value"), lambda: 0, True, "on balance volume",
        units=("volume",), cumulative=True,
    ),
    Indicator(
        "ad", _PRICES, (), (), scalars("value"), lambda: 0, True, "accumulation and distribution", units=("volume",),
        cumulative=True,
    ),
    Indicator(
        "adosc", _PRICES, (("fast", 3, 2), ("slow", 10, 2)), (), scalars("value", "fast", "slow"),
        lambda f, s: max(f, s) - 1, True, "Chaikin's oscillator", units=("volume",),
    ),
    Indicator(
        "mfi", _PRICES, (("period", 14, 2),), (),
        lambda p: fields(count="i8", last="f8", rising=window(p), falling=window(p)), lambda p: p, False,
        "money flow index, 0 to 100", units=("percent",),
    ),
    Indicator(
        "cmf", _PRICES, (("period", 20, 1),), (), lambda p: fields(flow=window(p), units=window(p)), lambda p: p - 1,
        False, "Chaikin's money flow, -1 to 1", units=("ratio",),
    ),
)  # fmt: skip
