"""Where a trade's stop and target stand: set round what the entry paid, then moved by trail and breakeven.

Pure rules on a pair's row: `matching.py` asks on every tick, `decide.py` brings new distances on every closed bar.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.jit import kernel
from atmand.core.layout import instrument_at, pair_at
from atmand.core.risk import round_to_tick
from atmand.core.words import Percent, Reason

__all__ = ["arm", "distance", "in_price", "ratchet", "take_terms"]

_TRAIL_PERCENT: Final = np.int64(Percent.TRAIL)
_AFTER_PERCENT: Final = np.int64(Percent.TRAIL_AFTER)
_EVEN_PERCENT: Final = np.int64(Percent.BREAKEVEN)
_STOP: Final = np.int64(Reason.STOP)
_TRAIL: Final = np.int64(Reason.TRAIL)
_BREAKEVEN: Final = np.int64(Reason.BREAKEVEN)
_MILLION: Final = 1_000_000


@kernel
def distance(instrument, amount, percent):  # type: ignore[no-untyped-def]
    """Write an amount of rupees in price units, one of percent in millionths below zero; NaN and less are none."""
    if not amount > 0.0 or amount > 1e9:
        return np.int64(0)
    if percent != 0:
        return -np.int64(math.floor(amount * 10_000.0 + 0.5))
    return np.int64(math.floor(amount * instrument.price_scale + 0.5))


@kernel
def in_price(average, written):  # type: ignore[no-untyped-def]
    """Return a distance in price units."""
    return written if written >= 0 else average * -written // _MILLION


@kernel
def take_terms(instrument, pair, verdict):  # type: ignore[no-untyped-def]
    """Take over the moving distances that a closed bar came to; what has no value on it is off until it has one."""
    marks = verdict.percent_of
    instrument.calm = 0
    pair.trail_distance = distance(instrument, verdict.trail, marks & _TRAIL_PERCENT)
    pair.trail_after = distance(instrument, verdict.trail_after, marks & _AFTER_PERCENT)
    pair.breakeven = distance(instrument, verdict.breakeven, marks & _EVEN_PERCENT)


@kernel
def arm(t, pair_index):  # type: ignore[no-untyped-def]
    """Set stop and target round what the entry really paid, on the instrument's grid.

    A stop that has moved, or that an addition would move away from the price, stays.
    """
    pair = pair_at(t, pair_index)
    if pair.quantity == 0:
        return
    tick = instrument_at(t, pair.instrument).tick
    average = pair.entry_value // pair.entry_quantity
    stop = in_price(average, pair.stop_distance)
    if stop > 0:
        price = max(round_to_tick(average - pair.side * stop, tick, -pair.side), tick)
        fresh = pair.stop_price == 0 or (pair.adds == 0 and pair.stop_reason == _STOP)
        if fresh or (price - pair.stop_price) * pair.side > 0:
            pair.stop_price = price
            pair.stop_reason = _STOP
    target = in_price(average, pair.target_distance)
    if target > 0:
        pair.target_price = max(round_to_tick(average + pair.side * target, tick, pair.side), tick)


@kernel
def ratchet(t, pair_index, price):  # type: ignore[no-untyped-def]
    """Follow the best price since the entry with the stop, once the profit has reached what trail or breakeven ask."""
    pair = pair_at(t, pair_index)
    if pair.breakeven == 0 and pair.trail_distance == 0:
        return
    if pair.best_price == 0 or (price - pair.best_price) * pair.side > 0:
        pair.best_price = price
    tick = instrument_at(t, pair.instrument).tick
    average = pair.entry_value // pair.entry_quantity
    gain = (pair.best_price - average) * pair.side
    if pair.breakeven != 0 and gain >= in_price(average, pair.breakeven):
        _tighten(pair, round_to_tick(average, tick, -pair.side), _BREAKEVEN)
    trail = in_price(average, pair.trail_distance)
    if trail > 0 and gain >= in_price(average, pair.trail_after):
        _tighten(pair, max(round_to_tick(pair.best_price - pair.side * trail, tick, -pair.side), tick), _TRAIL)


@kernel
def _tighten(pair, price, reason):  # type: ignore[no-untyped-def]
    """Move the stop nearer to the price, never away from it."""
    if pair.stop_price == 0 or (price - pair.stop_price) * pair.side > 0:
        pair.stop_price = price
        pair.stop_reason = reason
