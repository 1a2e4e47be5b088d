"""Pre-trade risk: why an entry may not be made now, and the prices at which orders are allowed to rest.

Every limit is checked in the core, on the record that would make the order, so that replay refuses the same ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.bars import in_windows
from atmand.core.contracts import gives_up_ns
from atmand.core.exposure import entering, equity_of
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, header_of, instrument_at, order_at, pair_at, queue_at
from atmand.core.margin import lacks_money
from atmand.core.portfolio import portfolio_refusal
from atmand.core.records import BarFlag
from atmand.core.slicing import MOST_SLICES, orders_for, slice_units
from atmand.core.words import OrderState, Reason

__all__ = ["crosses_own", "entry_refusal", "lacks_room", "order_refusal", "protected_limit", "round_to_tick"]

_PARTIAL: Final = np.int64(BarFlag.PARTIAL)
_SENT: Final = np.int64(OrderState.SENT)
_OPEN: Final = np.int64(OrderState.OPEN)
_PART: Final = np.int64(OrderState.PARTIAL)

_NONE: Final = np.int64(Reason.NONE)
_ENTRIES_OFF: Final = np.int64(Reason.ENTRIES_OFF)
_PAUSED: Final = np.int64(Reason.PAUSED)
_RUN_OFF: Final = np.int64(Reason.RUN_OFF)
_OUTSIDE_WINDOW: Final = np.int64(Reason.OUTSIDE_WINDOW)
_PARTIAL_BAR: Final = np.int64(Reason.PARTIAL_BAR)
_NO_QUOTE: Final = np.int64(Reason.NO_QUOTE)
_STALE: Final = np.int64(Reason.STALE)
_ZERO_QUANTITY: Final = np.int64(Reason.ZERO_QUANTITY)
_ORDER_VALUE: Final = np.int64(Reason.ORDER_VALUE)
_POSITION_VALUE: Final = np.int64(Reason.POSITION_VALUE)
_DAILY_LOSS: Final = np.int64(Reason.DAILY_LOSS)
_OPEN_POSITIONS: Final = np.int64(Reason.OPEN_POSITIONS)
_ORDERS_A_DAY: Final = np.int64(Reason.ORDERS_A_DAY)
_CASH: Final = np.int64(Reason.CASH)
_CAPACITY: Final = np.int64(Reason.CAPACITY)
_CIRCUIT: Final = np.int64(Reason.CIRCUIT)
_FREEZE: Final = np.int64(Reason.FREEZE)
_SHORT_DELIVERY: Final = np.int64(Reason.SHORT_DELIVERY)

_RESERVE: Final = 4
"""One order row in so many is kept for exits: an entry is refused when only those are left."""


@routine
def entry_refusal(t, pair_index, side, quantity, price, bar_flags):  # type: ignore[no-untyped-def]
    """Return the first reason against an entry, or Reason.NONE."""
    reason = order_refusal(t, pair_index, side, quantity, price, bar_flags)
    if reason == _NONE and lacks_money(t, pair_index, side, quantity, price):
        return _CASH
    return reason if reason != _NONE else portfolio_refusal(t, pair_index, side, quantity * price)


@routine
def order_refusal(t, pair_index, side, quantity, price, bar_flags):  # type: ignore[no-untyped-def]
    """Return the first reason against an entry but its money, and the limits that the account's books share."""
    pair = pair_at(t, pair_index)
    book = book_at(t, pair.book)
    instrument = instrument_at(t, pair.instrument)
    orders = orders_for(instrument, quantity)
    reason = _state_refusal(t, pair.book, instrument, orders, bar_flags)
    if reason != _NONE:
        return reason
    if book.delivery and side < 0:
        return _SHORT_DELIVERY
    if _at_circuit(instrument, side):
        return _CIRCUIT
    if price <= 0:
        return _NO_QUOTE
    if quantity <= 0:
        return _ZERO_QUANTITY
    if instrument.freeze > 0 and quantity > MOST_SLICES * slice_units(instrument):
        return _FREEZE
    value = quantity * price
    if value > book.order_value_paise:
        return _ORDER_VALUE
    if abs(pair.value_paise) + value > book.position_value_paise:
        return _POSITION_VALUE
    if pair.quantity == 0 and book.positions + entering(t, pair.book) >= book.open_positions:
        return _OPEN_POSITIONS
    if book.orders_today + orders > book.orders_a_day:
        return _ORDERS_A_DAY
    return _NONE


@kernel
def _state_refusal(t, book_index, instrument, orders, bar_flags):  # type: ignore[no-untyped-def]
    """Reasons that lie in the state of session, book and market, whatever the order."""
    h = header_of(t)
    book = book_at(t, book_index)
    if h.entries == 0:
        return _ENTRIES_OFF
    if book.paused:
        return _PAUSED
    if book.run_off:
        return _RUN_OFF
    if book.squared or not book.entry_from_ns <= h.time_ns < book.entry_to_ns:
        return _OUTSIDE_WINDOW
    if not in_windows(t, instrument.group, h.time_ns) or 0 < gives_up_ns(t, instrument) <= h.time_ns:
        return _OUTSIDE_WINDOW
    if bar_flags & _PARTIAL:
        return _PARTIAL_BAR
    if not instrument.tradable or not instrument.quoted:
        return _NO_QUOTE
    if h.time_ns - instrument.tick_ns > h.stale_ns:
        return _STALE
    if book.day_equity_paise - equity_of(t, book_index) >= book.daily_loss_paise:
        return _DAILY_LOSS
    return _CAPACITY if lacks_room(h, book, orders) else _NONE


@kernel
def lacks_room(h, book, orders):  # type: ignore[no-untyped-def]
    """Say whether a book's part of the order table has no rows for so many entries; some are kept for exits."""
    rows = h.orders_n // h.books_n
    return book.working + orders > rows - rows // _RESERVE


@kernel
def _at_circuit(instrument, side):  # type: ignore[no-untyped-def]
    """Say whether the last price stands at the circuit limit that a buyer (seller) would have to pay (take)."""
    if side > 0:
        return instrument.upper_band > 0 and instrument.last_price >= instrument.upper_band
    return instrument.lower_band > 0 and instrument.last_price <= instrument.lower_band


@kernel
def round_to_tick(price, tick, side):  # type: ignore[no-untyped-def]
    """Round a price to its grid: up for a buyer, down for a seller, so that a limit is never tighter than asked."""
    if tick <= 1:
        return price
    if side > 0:
        return (price + tick - 1) // tick * tick
    return price // tick * tick


@kernel
def protected_limit(h, instrument, side):  # type: ignore[no-untyped-def]
    """Limit of a market order: the touch and the protection beyond it, on the grid and inside the circuit band.

    0 where the side of the book that would fill it is empty.
    """
    touch = instrument.ask[0].price if side > 0 else instrument.bid[0].price
    if touch <= 0:
        return np.int64(0)
    limit = round_to_tick(touch + side * (touch * h.protection_bps // 10_000), instrument.tick, side)
    if instrument.upper_band > 0:
        limit = min(limit, instrument.upper_band)
    return max(limit, instrument.lower_band)


@kernel
def crosses_own(t, instrument_index, account, side, limit):  # type: ignore[no-untyped-def]
    """Say whether an order would meet one of the account's own working orders in the market."""
    queue = queue_at(t, instrument_index)
    against = queue.sells if side > 0 else queue.buys
    slot = instrument_at(t, instrument_index).first_order if against > 0 else np.int64(-1)
    while slot >= 0:
        o = order_at(t, slot)
        working = o.state == _SENT or o.state == _OPEN or o.state == _PART
        if working and o.side != side and book_at(t, o.book).account == account and (limit - o.limit) * side >= 0:
            return True
        slot = o.next
    return False
