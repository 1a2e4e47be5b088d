"""Netting: what two books of one account want to buy and to sell in one record never goes to the market.

Both settle the part that meets at one price, the touch's mid, and pay no costs for it: nothing was traded. Only the
rest leaves. An order of an earlier record is in the market already; one that would cross it waits (HELD) as ever.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.exits import arm
from atmand.core.fills import fill_netted
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, header_of, instrument_at, meeting_at, order_at, pair_at, queue_at
from atmand.core.orders import transition
from atmand.core.risk import crosses_own
from atmand.core.slicing import whole_units
from atmand.core.sorting import sort_rows
from atmand.core.words import OrderKind, OrderState, Purpose, Reason

__all__ = ["mid_price", "net_orders"]

_HELD: Final = np.int64(OrderState.HELD)
_SENT: Final = np.int64(OrderState.SENT)
_PARTIAL: Final = np.int64(OrderState.PARTIAL)
_MARKET: Final = np.int64(OrderKind.MARKET)
_ENTRY: Final = np.int64(Purpose.ENTRY)
_NO_REASON: Final = np.int64(Reason.NONE)


@kernel
def mid_price(bid, ask, tick):  # type: ignore[no-untyped-def]
    """Return the touch's mid on the grid, 0 without a touch. Half a tick goes to the even multiple of the tick."""
    if bid <= 0 or ask <= 0:
        return np.int64(0)
    ticks = (bid + ask) // (2 * tick)
    over = bid + ask - ticks * 2 * tick
    if over > tick or (over == tick and ticks % 2 == 1):
        ticks += 1
    return ticks * tick


@routine
def net_orders(t):  # type: ignore[no-untyped-def]
    """Net what this record's orders have against each other: instruments in their order, the oldest orders first."""
    h = header_of(t)
    if h.stirred == 0:
        return
    n, h.stirred = h.stirred, 0
    sort_rows(t, h.meetings_at, n)
    for place in range(n):
        index = meeting_at(t, place).row
        queue_at(t, index).stirred_cause = 0
        while _net_one(t, index):
            pass


@kernel
def _net_one(t, instrument_index):  # type: ignore[no-untyped-def]
    """Net the first two orders of an instrument that meet; say whether there were such."""
    queue = queue_at(t, instrument_index)
    if queue.buys == 0 or queue.sells == 0:
        return False
    h = header_of(t)
    instrument = instrument_at(t, instrument_index)
    price = mid_price(instrument.bid[0].price, instrument.ask[0].price, instrument.tick)
    slot = instrument.first_order if price > 0 else np.int64(-1)
    while slot >= 0:
        if _is_fresh(h, order_at(t, slot)):
            other = order_at(t, slot).next
            while other >= 0:
                if _is_fresh(h, order_at(t, other)) and _may_meet(t, slot, other, price):
                    quantity = min(_open(order_at(t, slot)), _open(order_at(t, other)))
                    _settle(t, slot, quantity, price)
                    _settle(t, other, quantity, price)
                    return True
                other = order_at(t, other).next
        slot = order_at(t, slot).next
    return False


@kernel
def _is_fresh(h, o):  # type: ignore[no-untyped-def]
    """Say whether an order is this record's, at the market, and untouched by it."""
    waits = o.state == _SENT or o.state == _HELD or o.state == _PARTIAL
    return o.cause == h.sequence and o.kind == _MARKET and waits and o.value == o.netted


@kernel
def _open(o):  # type: ignore[no-untyped-def]
    return o.quantity - o.filled


@kernel
def _may_meet(t, slot, other, price):  # type: ignore[no-untyped-def]
    """Say whether two orders may be netted at a price: one account, product and venue, and each within its limits."""
    o, p = order_at(t, slot), order_at(t, other)
    book, its = book_at(t, o.book), book_at(t, p.book)
    if o.side == p.side or o.pair == p.pair:
        return False
    if book.account != its.account or book.delivery != its.delivery or book.venue != 0 or its.venue != 0:
        return False
    return _allows(t, o, book, price) and _allows(t, p, its, price)


@kernel
def _allows(t, o, book, price):  # type: ignore[no-untyped-def]
    """Say whether a price is inside an order's limit, and its book's limits hold an entry at it."""
    if (price - o.limit) * o.side > 0:
        return False
    if o.purpose != _ENTRY:
        return True
    value = whole_units(t, pair_at(t, o.pair).entry_order) * price
    return value <= book.order_value_paise and abs(pair_at(t, o.pair).value_paise) + value <= book.position_value_paise


@kernel
def _settle(t, slot, quantity, price):  # type: ignore[no-untyped-def]
    """Fill an order's netted part; a rest that would still cross one of our own waits."""
    o = order_at(t, slot)
    pair_index, purpose = o.pair, o.purpose
    if o.state == _HELD:
        transition(t, o, _SENT, _NO_REASON)
    rest = _open(o) - quantity
    fill_netted(t, slot, quantity, price)
    if purpose == _ENTRY:
        arm(t, pair_index)
    if rest > 0 and crosses_own(t, o.instrument, book_at(t, o.book).account, o.side, o.limit):
        transition(t, o, _HELD, _NO_REASON)
