"""An order's life: the one transition function, the making and ending of orders, and what a fill does to the books.

Both venues pass through here: the matcher of the INTERNAL venue calls these functions while it applies a market
record, an EXTERNAL venue's updates will call the same ones.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from atmand.core.deliveries import delivery_costs
from atmand.core.jit import kernel, routine
from atmand.core.layout import (
    account_at,
    book_at,
    cost_at,
    fill_at,
    header_of,
    instrument_at,
    order_at,
    output_at,
    pair_at,
    trade_at,
)
from atmand.core.records import Kind
from atmand.core.words import OrderKind, OrderState, Purpose, Reason
from atmand.market.costs import order_costs

__all__ = [
    "ALLOWED",
    "cancel",
    "emit",
    "end_order",
    "fill",
    "fill_netted",
    "fingerprint_after",
    "make_order",
    "tag",
    "transition",
]

_FREE: Final = np.int64(OrderState.FREE)
_INTENT: Final = np.int64(OrderState.INTENT)
_HELD: Final = np.int64(OrderState.HELD)
_SENT: Final = np.int64(OrderState.SENT)
_OPEN: Final = np.int64(OrderState.OPEN)
_PARTIAL: Final = np.int64(OrderState.PARTIAL)
_FILLED: Final = np.int64(OrderState.FILLED)
_CANCELLED: Final = np.int64(OrderState.CANCELLED)
_REJECTED: Final = np.int64(OrderState.REJECTED)
_EXPIRED: Final = np.int64(OrderState.EXPIRED)

_0: Final = np.int64(0)
_NO_REASON: Final = np.int64(Reason.NONE)
_NETTED: Final = np.int64(Reason.NETTED)

_ENTRY: Final = np.int64(Purpose.ENTRY)
_EXIT: Final = np.int64(Purpose.EXIT)
_TARGET: Final = np.int64(Purpose.TARGET)
_MARKET: Final = np.int64(OrderKind.MARKET)

_AUDIT_INTENT: Final = np.int64(Kind.AUDIT_INTENT)
_AUDIT_ORDER: Final = np.int64(Kind.AUDIT_ORDER)
_AUDIT_FILL: Final = np.int64(Kind.AUDIT_FILL)

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_MIX_3: Final = np.uint64(0xD6E8FEB86659FD93)
_MIX_4: Final = np.uint64(0xA0761D6478BD642F)
_MIX_5: Final = np.uint64(0xE7037ED1A0B428DB)


def _allowed() -> np.ndarray[Any, np.dtype[np.int64]]:
    """Build the transition table. A fill may overtake the acknowledgement, and may arrive after a cancel."""
    states = len(OrderState)
    table = np.zeros((states, states), np.int64)
    arrows = {
        _FREE: (_INTENT,),
        _INTENT: (_HELD, _SENT, _REJECTED, _CANCELLED, _EXPIRED),
        _HELD: (_SENT, _REJECTED, _CANCELLED, _EXPIRED),
        _SENT: (_OPEN, _PARTIAL, _FILLED, _CANCELLED, _REJECTED, _EXPIRED),
        _OPEN: (_OPEN, _PARTIAL, _FILLED, _CANCELLED, _REJECTED, _EXPIRED),
        _PARTIAL: (_HELD, _PARTIAL, _FILLED, _CANCELLED, _EXPIRED),
        _CANCELLED: (_PARTIAL, _FILLED),
        _EXPIRED: (_PARTIAL, _FILLED),
    }
    for before, afters in arrows.items():
        table[before, list(afters)] = 1
    return table


ALLOWED: Final = _allowed()
"""ALLOWED[before, after] is 1 where an order may go from `before` to `after`."""


@kernel
def emit(t, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason):  # type: ignore[no-untyped-def]
    """Append one audit row to the outputs of this record; a full table is counted, never overrun.

    Where the outputs are not read (`silent`), the row only counts for the fingerprint. A fill is kept where there is
    room for it.
    """
    h = header_of(t)
    if kind in (_AUDIT_ORDER, _AUDIT_INTENT, _AUDIT_FILL):
        h.fingerprint = _mixed(
            h.fingerprint, kind + 16 * state + 256 * reason + 65_536 * book, instrument, order, side * quantity, price,
            costs,
        )  # fmt: skip
    if h.silent == 0:
        if h.n_outputs >= h.outputs_n:
            h.outputs_lost += 1
            return
        row = output_at(t, h.n_outputs)
        _write(h, row, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason)
    elif kind == _AUDIT_FILL and h.n_fills < h.fills_n:
        row = fill_at(t, h.n_fills)
        _write(h, row, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason)
        h.n_fills += 1
    h.n_outputs += 1


@kernel
def _write(h, row, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason):  # type: ignore[no-untyped-def]
    row.kind = kind
    row.cause = h.sequence
    row.index = h.n_outputs
    row.book = book
    row.instrument = instrument
    row.order = order
    row.trade = trade
    row.side = side
    row.quantity = quantity
    row.price = price
    row.value = value
    row.costs = costs
    row.state = state
    row.reason = reason
    row.time_ns = h.time_ns
    row.group = 0


@kernel
def _mixed(before, what, instrument, order, quantity, price, costs):  # type: ignore[no-untyped-def]
    """Mix a row into a fingerprint: odd multipliers and a shift, so that order and every field count."""
    x = np.uint64(what) * _MIX + np.uint64(instrument) * _MIX_1 + np.uint64(order) * _MIX_2
    x ^= np.uint64(quantity) * _MIX_3 + np.uint64(price) * _MIX_4 + np.uint64(costs) * _MIX_5
    return ((before ^ x) * _MIX) ^ (x >> np.uint64(29))


@routine
def fingerprint_after(rows, before):  # type: ignore[no-untyped-def]
    """Return the fingerprint that these audit rows lead to: the core keeps the same one while it emits them."""
    for place in range(rows.shape[0]):
        row = rows[place]
        if row.kind in (_AUDIT_ORDER, _AUDIT_INTENT, _AUDIT_FILL):
            what = row.kind + 16 * row.state + 256 * row.reason + 65_536 * row.book
            before = _mixed(
                before, what, row.instrument, row.order, row.side * row.quantity, row.price, row.costs
            )  # fmt: skip
    return before


@kernel
def tag(t, group):  # type: ignore[no-untyped-def]
    """Write the group of legs into the audit row that was made last."""
    if group != 0 and header_of(t).n_outputs > 0:
        output_at(t, header_of(t).n_outputs - 1).group = group


@kernel
def transition(t, order, state, reason):  # type: ignore[no-untyped-def]
    """Move an order to `state` and audit it; an arrow that does not exist is counted and changes nothing."""
    if ALLOWED[order.state, state] == 0:
        header_of(t).illegal_transitions += 1
        return False
    order.state = state
    if reason != 0:
        order.reason = reason
    emit(
        t, _AUDIT_ORDER, order.book, order.instrument, order.id, order.trade, order.side,
        order.filled, order.limit, order.value, order.costs, state, order.reason,
    )  # fmt: skip
    tag(t, order.group)
    return True


@kernel
def _latency_ns(h, order_id):  # type: ignore[no-untyped-def]
    """Draw a paper order's latency from a hash of (seed, id): the fold has no random source."""
    x = h.seed + np.uint64(order_id) * _MIX
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    x = x ^ (x >> np.uint64(31))
    span = h.latency_high_ns - h.latency_low_ns + 1
    return h.latency_low_ns + (np.int64(x >> np.uint64(33)) * span >> 31)


@kernel
def _free_slot(t):  # type: ignore[no-untyped-def]
    """Return a free row of the order table, or -1. The search starts behind the newest order's row."""
    size = header_of(t).orders_n
    slot = header_of(t).next_order % size  # of the order's id, so that a session that begins anew goes on alike
    for _ in range(size):
        if order_at(t, slot).state == _FREE:
            return slot
        slot = slot + 1 if slot + 1 < size else 0
    return -1


@kernel
def _append(t, instrument, slot):  # type: ignore[no-untyped-def]
    """Put an order behind its instrument's others: older orders meet the market first."""
    order_at(t, slot).next = -1
    if instrument.first_order < 0:
        instrument.first_order = slot
        return
    last = instrument.first_order
    while order_at(t, last).next >= 0:
        last = order_at(t, last).next
    order_at(t, last).next = slot


@routine
def make_order(t, pair_index, side, kind, purpose, quantity, limit, reason, state):  # type: ignore[no-untyped-def]
    """Write a new order in `state` (SENT, or HELD while it would cross our own) and return its row, or -1 when full.

    It becomes active after its latency, and never meets the record that made it.
    """
    slot = _free_slot(t)
    if slot < 0:
        return np.int64(-1)
    h = header_of(t)
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    book = book_at(t, pair.book)
    o = order_at(t, slot)
    h.next_order += 1
    h.orders_made += 1
    book.working += 1
    book.orders_today += 1
    o.id = h.next_order
    o.state = _FREE
    o.book = pair.book
    o.pair = pair_index
    o.instrument = pair.instrument
    o.trade = pair.trade
    o.group = pair.group
    o.side = side
    o.kind = kind
    o.purpose = purpose
    o.reason = reason
    o.quantity = quantity
    o.filled = 0
    o.limit = limit
    o.value = 0
    o.costs = 0
    o.created_ns = h.time_ns
    o.active_ns = h.time_ns + _latency_ns(h, o.id)
    wait_ns = book.entry_wait_ns if book.entry_wait_ns > 0 else h.entry_wait_ns
    o.expires_ns = h.time_ns + wait_ns if purpose == _ENTRY else 0
    o.cause = h.sequence
    o.touched = 0
    o.netted = 0
    _append(t, instrument, slot)
    if o.expires_ns > 0:
        h.next_due_ns = min(h.next_due_ns, o.expires_ns)
    transition(t, o, _INTENT, reason)
    emit(
        t,
        _AUDIT_INTENT,
        o.book,
        o.instrument,
        o.id,
        o.trade,
        side,
        quantity,
        limit,
        quantity * limit,
        _0,
        purpose,
        reason,
    )
    tag(t, o.group)
    transition(t, o, state, _NO_REASON)
    return np.int64(slot)


@routine
def end_order(t, slot, state, reason):  # type: ignore[no-untyped-def]
    """Bring an order to a final state, take it out of its instrument's list and free its row."""
    o = order_at(t, slot)
    if o.state != _FILLED and not transition(t, o, state, reason):
        return
    instrument = instrument_at(t, o.instrument)
    if instrument.first_order == slot:
        instrument.first_order = o.next
    else:
        before = instrument.first_order
        while order_at(t, before).next != slot:
            before = order_at(t, before).next
        order_at(t, before).next = o.next
    book_at(t, o.book).working -= 1
    pair = pair_at(t, o.pair)
    if pair.entry_order == slot:
        pair.entry_order = -1
    if pair.exit_order == slot:
        pair.exit_order = -1
    if pair.target_order == slot:
        pair.target_order = -1
    o.state = _FREE
    o.next = -1


@kernel
def cancel(t, slot, reason):  # type: ignore[no-untyped-def]
    """Cancel a working order of the INTERNAL venue at once; -1 is no order."""
    if slot >= 0:
        end_order(t, slot, _CANCELLED, reason)


@routine
def fill(t, slot, quantity, price):  # type: ignore[no-untyped-def]
    """Apply one fill to order, position, book and account; the order's row is freed when it is filled.

    Costs are those of the order so far, less what was charged before, so that they do not depend on how it was cut.
    """
    o = order_at(t, slot)
    book = book_at(t, o.book)
    traded = o.value - o.netted
    rates = cost_at(t, instrument_at(t, o.instrument).cost_group + book.delivery)
    costs = order_costs(rates, o.side, traded + quantity * price) - order_costs(rates, o.side, traded)
    if book.delivery:
        costs += delivery_costs(t, o.pair, o.side, quantity, quantity * price)
    _book_fill(t, slot, quantity, price, np.int64(costs), o.reason)


@routine
def fill_netted(t, slot, quantity, price):  # type: ignore[no-untyped-def]
    """Apply a fill that two books made with each other: nothing was traded, so it costs nothing."""
    order_at(t, slot).netted += quantity * price
    _book_fill(t, slot, quantity, price, _0, _NETTED)


@routine
def _book_fill(t, slot, quantity, price, costs, reason):  # type: ignore[no-untyped-def]
    """Move order, position, book and account by a fill and its costs, and audit it."""
    h = header_of(t)
    o = order_at(t, slot)
    pair = pair_at(t, o.pair)
    book = book_at(t, o.book)
    account = account_at(t, book.account)
    value = quantity * price
    _open_trade(t, o, pair, book)
    pair.slippage_paise += _slippage(o, instrument_at(t, o.instrument), quantity, price)
    o.filled += quantity
    o.value += value
    o.costs += costs
    pair.costs_paise += costs
    book.costs_paise += costs
    account.costs_paise += costs
    book.cash_paise -= o.side * value + costs
    account.cash_paise -= o.side * value + costs
    _move_position(o, pair, book, account, quantity, value)
    h.fills += 1
    emit(
        t,
        _AUDIT_FILL,
        o.book,
        o.instrument,
        o.id,
        pair.trade,
        o.side,
        quantity,
        price,
        value,
        costs,
        o.purpose,
        reason,
    )
    tag(t, o.group)
    transition(t, o, _FILLED if o.filled == o.quantity else _PARTIAL, _NO_REASON)
    if o.state == _FILLED:
        end_order(t, slot, _FILLED, _NO_REASON)
    if pair.quantity == 0:
        pair.last_exit = reason
        _close_trade(t, o, pair, book)


@kernel
def _open_trade(t, o, pair, book):  # type: ignore[no-untyped-def]
    """Give a flat pair's first fill a trade of its own."""
    if pair.quantity != 0:
        return
    h = header_of(t)
    h.next_trade += 1
    pair.trade = h.next_trade
    pair.side = o.side
    pair.entry_ns = h.time_ns
    pair.entry_cause = h.sequence
    pair.entry_index = h.n_outputs
    pair.entry_reason = o.reason
    pair.entry_quantity = 0
    pair.entry_value = 0
    pair.exit_quantity = 0
    pair.exit_value = 0
    pair.costs_paise = 0
    pair.realised_paise = 0
    pair.value_paise = 0
    pair.slippage_paise = 0
    pair.bars_held = 0
    pair.adds = 0
    pair.reduces = 0
    pair.trades_today += 1
    book.positions += 1
    o.trade = pair.trade


@kernel
def _move_position(o, pair, book, account, quantity, value):  # type: ignore[no-untyped-def]
    """Add to the position, or take from it at the average value that the whole trade's sum gives."""
    if o.side == pair.side:
        pair.quantity += o.side * quantity
        pair.value_paise += o.side * value
        pair.entry_quantity += quantity
        pair.entry_value += value
        return
    held = abs(pair.quantity)
    share = pair.value_paise if quantity == held else pair.value_paise * quantity // held
    realised = -o.side * value - share
    pair.value_paise -= share
    pair.quantity += o.side * quantity
    pair.exit_quantity += quantity
    pair.exit_value += value
    pair.realised_paise += realised
    book.realised_paise += realised
    account.realised_paise += realised


@kernel
def _slippage(o, instrument, quantity, price):  # type: ignore[no-untyped-def]
    """What a market order pays beyond the middle of the touch that it meets; a limit names its own price."""
    bid, ask = instrument.bid[0].price, instrument.ask[0].price
    if o.kind != _MARKET or bid <= 0 or ask <= 0:
        return np.int64(0)
    return o.side * quantity * (2 * price - bid - ask) // 2


@kernel
def _close_trade(t, o, pair, book):  # type: ignore[no-untyped-def]
    """The position is flat: its exits are off, and the pair waits again. The trade goes to the table, where it fits."""
    h = header_of(t)
    if h.n_trades < h.trades_n:
        row = trade_at(t, h.n_trades)
        row.book = o.book
        row.instrument = o.instrument
        row.trade = pair.trade
        row.side = pair.side
        row.quantity = pair.entry_quantity
        row.entry_ns = pair.entry_ns
        row.entry_value = pair.entry_value
        row.exit_ns = h.time_ns
        row.exit_value = pair.exit_value
        row.costs_paise = pair.costs_paise
        row.slippage_paise = pair.slippage_paise
        row.entry_reason = pair.entry_reason
        row.exit_reason = o.reason
        row.bars_held = pair.bars_held
        row.entry_cause = pair.entry_cause
        row.entry_index = pair.entry_index
    h.n_trades += 1
    pair.stop_price = 0
    pair.target_price = 0
    pair.stop_distance = 0
    pair.target_distance = 0
    pair.trail_distance = 0
    pair.trail_after = 0
    pair.breakeven = 0
    pair.best_price = 0
    pair.stop_reason = 0
    pair.managed = 0
    pair.exit_reason = 0
    pair.side = 0
    pair.cooling = book.cooldown
    book.positions -= 1
