"""The batch driver's two kernels: a step of a bar's path drawn into ticks, and when a timer is due.

The simulator draws the same path onto the wire and the daemon's sequencer stamps the same timers, so that a back-test
and a live run over the same bars decide the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.jit import kernel, routine
from atmand.core.layout import instrument_at
from atmand.core.ticks import DEPTH
from atmand.market.bar_path import STEP_SECONDS, level_price, level_quantity, step_price, step_volume

__all__ = ["PATH_LAST_NS", "draw_step", "timer_ns"]

_SECOND_NS: Final = 1_000_000_000
_SECONDS: Final = STEP_SECONDS
_FULL_PACKET: Final = 184
PATH_LAST_NS: Final = STEP_SECONDS[-1] * _SECOND_NS
"""Offset of a minute's last step."""


@kernel
def timer_ns(h, until_ns):  # type: ignore[no-untyped-def]
    """Return the core time of a TIMER that is due at or before `until_ns`, or 0: the first grid point at or past it."""
    if h.next_due_ns > until_ns:
        return np.int64(0)
    due_ns = (h.next_due_ns + h.grid_ns - 1) // h.grid_ns * h.grid_ns
    due_ns = max(due_ns, h.time_ns + 1)
    return due_ns if due_ns <= until_ns else np.int64(0)


@routine
def draw_step(t, ticks, bars, present, day_volume, step):  # type: ignore[no-untyped-def]
    """Write one step of the instruments' bars as full-mode ticks; return how many, and the step's time."""
    time_ns = np.int64(0)
    n = np.int64(0)
    for index in range(bars.shape[0]):
        bar = bars[index]
        time_ns = bar.start_ns + _SECONDS[step] * _SECOND_NS
        if not present[index]:
            continue
        tick = ticks[n]
        price = step_price(step, bar.open, bar.high, bar.low, bar.close)
        tick.token = instrument_at(t, index).token
        tick.packet = _FULL_PACKET
        tick.last_price = price
        tick.volume = day_volume[index] + step_volume(step, bar.volume)
        tick.exchange_ns = time_ns
        grid = instrument_at(t, index).tick
        quantity = level_quantity(bar.volume)
        for level in range(DEPTH):
            tick.bid[level].price = level_price(price, 1, level, grid)
            tick.bid[level].quantity = quantity
            tick.ask[level].price = level_price(price, -1, level, grid)
            tick.ask[level].quantity = quantity
        if step == 3:
            day_volume[index] += bar.volume
        n += 1
    return n, time_ns
