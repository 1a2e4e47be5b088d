"""What an expression may know of its own position: read from the pair's row when a bar closes, and never kept."""

from __future__ import annotations

import math

from atmand.core.jit import kernel
from atmand.core.layout import instrument_at, pair_at

__all__ = ["bars_held", "entry_price", "position", "position_value", "profit", "profit_r", "trades_today"]


@kernel
def position(t, index):  # type: ignore[no-untyped-def]
    """Units held, negative for a short position."""
    return float(pair_at(t, index).quantity)


@kernel
def entry_price(t, index):  # type: ignore[no-untyped-def]
    """Average price of the open trade's entries in rupees; missing without a position."""
    pair = pair_at(t, index)
    if pair.quantity == 0 or pair.entry_quantity == 0:
        return math.nan
    return pair.entry_value / pair.entry_quantity / float(instrument_at(t, pair.instrument).price_scale)


@kernel
def bars_held(t, index):  # type: ignore[no-untyped-def]
    """Bars that closed since the entry, this one included; 0 without a position."""
    pair = pair_at(t, index)
    return float(pair.bars_held + 1) if pair.quantity != 0 else 0.0


@kernel
def profit(t, index, close):  # type: ignore[no-untyped-def]
    """What a unit has gained since the entry, in rupees, without costs; missing without a position."""
    gained = close - entry_price(t, index)
    return gained if pair_at(t, index).quantity > 0 else -gained


@kernel
def profit_r(t, index, close):  # type: ignore[no-untyped-def]
    """The profit in distances of the stop; missing without a position or a stop."""
    pair = pair_at(t, index)
    paid = entry_price(t, index)
    distance = float(pair.stop_distance) / float(instrument_at(t, pair.instrument).price_scale)
    if pair.stop_distance < 0:
        distance = -float(pair.stop_distance) / 1e6 * paid
    return profit(t, index, close) / distance if distance > 0.0 else math.nan


@kernel
def position_value(t, index, close):  # type: ignore[no-untyped-def]
    """What the position is worth at the bar's close, in rupees; 0 without one."""
    return abs(float(pair_at(t, index).quantity)) * close


@kernel
def trades_today(t, index):  # type: ignore[no-untyped-def]
    """Trades that were begun today in the instrument."""
    return float(pair_at(t, index).trades_today)
