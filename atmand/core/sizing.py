"""How much an entry is for and at which limit: what a file's `[size]` and `[trade]` say, in units and price units."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.exits import distance, in_price
from atmand.core.exposure import equity_of
from atmand.core.jit import kernel
from atmand.core.layout import book_at, header_of, instrument_at, pair_at, verdict_at
from atmand.core.risk import protected_limit, round_to_tick
from atmand.core.words import Percent

__all__ = ["entry_limit", "units_wanted", "whole_lots"]

_STOP_PERCENT: Final = np.int64(Percent.STOP)


@kernel
def entry_limit(t, pair_index, side):  # type: ignore[no-untyped-def]
    """Limit of an entry: protection round the touch, or the price that the file names, on the grid's better side.

    0 where there is none.
    """
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    protected = protected_limit(header_of(t), instrument, side)
    if not book_at(t, pair.book).limit_entry or protected <= 0:
        return protected
    price = verdict_at(t, pair_index).limit
    if not price > 0.0 or price > 1e9:
        return np.int64(0)
    limit = round_to_tick(np.int64(math.floor(price * instrument.price_scale + 0.5)), instrument.tick, -side)
    if instrument.upper_band > 0:
        limit = min(limit, instrument.upper_band)
    return max(limit, instrument.lower_band)


@kernel
def units_wanted(t, pair_index, side, limit):  # type: ignore[no-untyped-def]
    """Units that the size asks for: stated, or bought by a value, by an equity's share, or by a risk in rupees.

    A value buys at the touch; a risk is spread over the distance of the stop.
    """
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    verdict = verdict_at(t, pair_index)
    if verdict.quantity > 0.0:
        return verdict.quantity
    touch = instrument.ask[0].price if side > 0 else instrument.bid[0].price
    if touch <= 0 or limit <= 0:
        return 0.0
    if verdict.risk > 0.0:
        stop = in_price(touch, distance(instrument, verdict.stop, verdict.percent_of & _STOP_PERCENT))
        return verdict.risk * instrument.price_scale / stop if stop > 0 else 0.0
    value = verdict.value
    if verdict.percent > 0.0:
        value = verdict.percent * equity_of(t, pair.book) / 10_000.0
    return value * instrument.price_scale / touch


@kernel
def whole_lots(instrument, units):  # type: ignore[no-untyped-def]
    """Round units down to whole lots; 0 for what is no number."""
    if not units > 0.0 or units > 1e12:
        return np.int64(0)
    return np.int64(math.floor(units)) // instrument.lot * instrument.lot
