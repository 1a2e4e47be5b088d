"""What a day of India's has come to, and the clock: state that begins anew with each day, out of the bars' times."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.bars import IST_NS
from atmand.core.jit import kernel
from atmand.core.layout import header_of, instrument_at, pair_at

__all__ = [
    "DAY", "OPENING", "clock_minute", "day_step", "days_to_expiry", "minutes_since_open", "minutes_to_close",
    "opening_step", "stream_end_ns", "weekday_of",
]  # fmt: skip

_DAY_NS: Final = 86_400_000_000_000
_MINUTE_NS: Final = 60_000_000_000
_PRICES: Final = ("open", "high", "low", "close", "volume")

DAY: Final = np.dtype(
    [("day", "i8"), *[(name, "f8") for name in _PRICES], *[(f"prev_{name}", "f8") for name in _PRICES]], align=True
)
"""The running day so far, and the day before it; `day` counts days of India's, 0 is none yet."""

OPENING: Final = np.dtype(
    [("day", "i8"), ("complete", "i8"), ("from_ns", "i8"), ("high", "f8"), ("low", "f8")], align=True
)
"""The range of a day's first minutes."""


@kernel
def stream_end_ns(h, period_ns, start_ns):  # type: ignore[no-untyped-def]
    """End of a bar of any day: a day's last bar ends with the session's hours, as the running day's does."""
    end_ns = start_ns + period_ns
    day_ns = (start_ns + IST_NS) // _DAY_NS * _DAY_NS - IST_NS
    close_ns = day_ns + (h.session_close_ns + IST_NS) % _DAY_NS
    if start_ns < close_ns < end_ns:
        return close_ns
    return end_ns


@kernel
def day_step(s, open_, high, low, close, volume, start_ns):  # type: ignore[no-untyped-def]
    """Take a bar into its day; the first one of a day ends the day before."""
    day = (start_ns + IST_NS) // _DAY_NS
    if s.day != day:
        known = s.day != 0
        s.prev_open = s.open if known else math.nan
        s.prev_high = s.high if known else math.nan
        s.prev_low = s.low if known else math.nan
        s.prev_close = s.close if known else math.nan
        s.prev_volume = s.volume if known else math.nan
        s.day = day
        s.open = open_
        s.high = high
        s.low = low
        s.volume = 0.0
    s.high = max(s.high, high)
    s.low = min(s.low, low)
    s.close = close
    s.volume += volume


@kernel
def opening_step(s, h, high, low, start_ns, end_ns, minutes):  # type: ignore[no-untyped-def]
    """Take a bar into the range of the day's first minutes, and say whether that range is complete."""
    day = (start_ns + IST_NS) // _DAY_NS
    if s.day != day:
        s.day = day
        s.complete = 0
        s.from_ns = day * _DAY_NS - IST_NS + (h.session_open_ns + IST_NS) % _DAY_NS
        s.high = math.nan
        s.low = math.nan
    until_ns = s.from_ns + minutes * _MINUTE_NS
    if start_ns < until_ns:
        s.high = high if math.isnan(s.high) else max(s.high, high)
        s.low = low if math.isnan(s.low) else min(s.low, low)
    if end_ns >= until_ns:
        s.complete = 1
    return s.complete != 0


@kernel
def clock_minute(end_ns):  # type: ignore[no-untyped-def]
    """Minutes after midnight in India."""
    return (end_ns + IST_NS) % _DAY_NS // _MINUTE_NS


@kernel
def weekday_of(start_ns):  # type: ignore[no-untyped-def]
    """Day of the week in India: 0 is Monday. The first of January 1970 was a Thursday."""
    return ((start_ns + IST_NS) // _DAY_NS + 3) % 7


@kernel
def minutes_since_open(t, end_ns):  # type: ignore[no-untyped-def]
    """Minutes from the session's opening, on the bar's day, to the bar's end."""
    opened = (header_of(t).session_open_ns + IST_NS) % _DAY_NS // _MINUTE_NS
    return float((end_ns + IST_NS) % _DAY_NS // _MINUTE_NS - opened)


@kernel
def minutes_to_close(t, index, end_ns):  # type: ignore[no-untyped-def]
    """Minutes from the bar's end until the pair's instrument ends its continuous trading, on the bar's day."""
    closes = (instrument_at(t, pair_at(t, index).instrument).close_ns + IST_NS) % _DAY_NS // _MINUTE_NS
    return float(closes - (end_ns + IST_NS) % _DAY_NS // _MINUTE_NS)


@kernel
def days_to_expiry(t, index, end_ns):  # type: ignore[no-untyped-def]
    """Days from the bar's end until the pair's instrument expires; missing where it does not."""
    expiry_ns = instrument_at(t, pair_at(t, index).instrument).expiry_ns
    if expiry_ns == 0:
        return math.nan
    return (expiry_ns - end_ns) / float(_DAY_NS)
