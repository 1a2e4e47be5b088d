"""What a delivery book's fills come to over a day: shares that are sold again at once, and the depository's charge.

`orders.fill` calls it for books under CNC; the day's counters begin anew with each session (`books.py`, `batch.py`).
"""

from __future__ import annotations

import numpy as np

from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, cost_at, instrument_at, pair_at
from atmand.market.costs import same_day_costs

__all__ = ["delivery_costs"]


@routine
def delivery_costs(t, pair_index, side, quantity, value):  # type: ignore[no-untyped-def]
    """Count a fill of a delivery book, and return what it changes of the day's costs beyond the orders' own.

    What is bought and sold within a day is no delivery. The depository charges an account for an instrument once a
    day, when more was sold than bought: of several books the first pays.
    """
    pair = pair_at(t, pair_index)
    group = instrument_at(t, pair.instrument).cost_group
    delivered = pair.sold_today > pair.bought_today
    change = -_same_day(t, pair, group)
    if side > 0:
        pair.bought_today += quantity
        pair.bought_value += value
    else:
        pair.sold_today += quantity
        pair.sold_value += value
    change += _same_day(t, pair, group)
    delivers = pair.sold_today > pair.bought_today
    if delivers != delivered and not _is_delivered_by_another(t, pair_index):
        dp_paise = cost_at(t, group + 1).dp_paise
        change += dp_paise if delivers else -dp_paise
    return np.int64(change)


@kernel
def _same_day(t, pair, group):  # type: ignore[no-untyped-def]
    return same_day_costs(
        cost_at(t, group),
        cost_at(t, group + 1),
        pair.bought_today,
        pair.bought_value,
        pair.sold_today,
        pair.sold_value,
    )


@kernel
def _is_delivered_by_another(t, pair_index):  # type: ignore[no-untyped-def]
    """Say whether another book of the account delivers the instrument today."""
    account = book_at(t, pair_at(t, pair_index).book).account
    index = instrument_at(t, pair_at(t, pair_index).instrument).first_pair
    while index >= 0:
        other = pair_at(t, index)
        if index != pair_index and other.sold_today > other.bought_today and book_at(t, other.book).account == account:
            return True
        index = other.next_in_instrument
    return False
