"""What a fill does: order, position, book and account move by it, and a trade opens or closes."""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.audit import emit, tag
from atmand.core.deliveries import delivery_costs
from atmand.core.exposure import recount
from atmand.core.jit import kernel, routine
from atmand.core.layout import account_at, book_at, cost_at, header_of, instrument_at, order_at, pair_at, trade_at
from atmand.core.orders import end_order, transition
from atmand.core.records import Kind
from atmand.core.words import OrderKind, OrderState, Reason
from atmand.market.costs import order_costs

__all__ = ["fill", "fill_netted", "fill_settled"]

_PARTIAL: Final = np.int64(OrderState.PARTIAL)
_FILLED: Final = np.int64(OrderState.FILLED)
_MARKET: Final = np.int64(OrderKind.MARKET)
_0: Final = np.int64(0)
_NO_REASON: Final = np.int64(Reason.NONE)
_NETTED: Final = np.int64(Reason.NETTED)
_AUDIT_FILL: Final = np.int64(Kind.AUDIT_FILL)


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
def fill_settled(t, slot, quantity, price, costs):  # type: ignore[no-untyped-def]
    """Apply the settlement of a contract that has ended; what it costs is no order's charge."""
    _book_fill(t, slot, quantity, price, costs, order_at(t, slot).reason)


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
    recount(t, o.pair)


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
    slot = pair.entry_order
    while slot >= 0:
        order_at(t, slot).trade = pair.trade
        slot = order_at(t, slot).next_slice


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
