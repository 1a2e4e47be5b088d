"""From a strategy's verdict on a closed bar to an order: exits first, then the entries of all strategies by rank.

The generated program calls `decide` once for each (book, instrument) whose bar closed, then `settle`; everything that
is the same for every strategy is here, so that generated code holds expressions only.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, header_of, instrument_at, pair_at, verdict_at
from atmand.core.matching import request_exit, submit
from atmand.core.netting import net_orders
from atmand.core.orders import emit
from atmand.core.portfolio import propose, take_proposal, withdraw
from atmand.core.records import Kind
from atmand.core.risk import entry_refusal, protected_limit
from atmand.core.words import OrderKind, Purpose, Reason, StepFlag

__all__ = ["decide", "hold", "mark_books", "needs_decision", "settle"]

_0: Final = np.int64(0)
_1: Final = np.int64(1)
_ANY: Final = np.int64(-1)
_READY: Final = np.int64(StepFlag.READY)
_ENTER_LONG: Final = np.int64(StepFlag.ENTER_LONG)
_ENTER_SHORT: Final = np.int64(StepFlag.ENTER_SHORT)
_EXIT_LONG: Final = np.int64(StepFlag.EXIT_LONG)
_EXIT_SHORT: Final = np.int64(StepFlag.EXIT_SHORT)
_ACTIONS: Final = np.int64(sum(StepFlag) - StepFlag.READY)
_RULE: Final = np.int64(Reason.RULE)
_CAPACITY: Final = np.int64(Reason.CAPACITY)
_MARKET: Final = np.int64(OrderKind.MARKET)
_ENTRY: Final = np.int64(Purpose.ENTRY)
_DECISION: Final = np.int64(Kind.AUDIT_DECISION)
_MARK: Final = np.int64(Kind.AUDIT_MARK)


@kernel
def needs_decision(pair, flags):  # type: ignore[no-untyped-def]
    """Say whether `decide` could do more on this bar than count it."""
    return flags & _ACTIONS != 0


@kernel
def hold(pair):  # type: ignore[no-untyped-def]
    """Count a closed bar for a position that stays as it is."""
    if pair.quantity != 0:
        pair.bars_held += 1


@routine
def decide(t, pair_index, bar):  # type: ignore[no-untyped-def]
    """Act on the verdict that a pair's step came to on a closed bar: exit at once, or propose an entry."""
    pair = pair_at(t, pair_index)
    flags = verdict_at(t, pair_index).flags
    pair.ready = flags & _READY
    if header_of(t).decisions == 0:
        return
    withdraw(t, pair_index)
    if pair.quantity != 0:
        hold(pair)
        leave = _EXIT_LONG if pair.quantity > 0 else _EXIT_SHORT
        if flags & leave and pair.exit_reason == 0:
            request_exit(t, pair_index, _RULE)
        return
    pair.blocked = 0
    if pair.entry_order >= 0 or flags & (_ENTER_LONG | _ENTER_SHORT) == 0:
        return
    side = np.int64(1) if flags & _ENTER_LONG else np.int64(-1)
    verdict = verdict_at(t, pair_index)
    pair.proposed_side = side
    pair.proposed_units = _units(instrument_at(t, pair.instrument), side, verdict.quantity, verdict.value)
    pair.proposed_close = bar.close
    pair.proposed_bar_ns = bar.start_ns
    pair.proposed_marks = bar.marks
    propose(t, pair_index, verdict.rank)


@routine
def settle(t):  # type: ignore[no-untyped-def]
    """Make the entries that this record's strategies proposed, in their order, then net them against its exits."""
    index = take_proposal(t)
    while index >= 0:
        _enter(t, index)
        index = take_proposal(t)
    net_orders(t)


@kernel
def _enter(t, pair_index):  # type: ignore[no-untyped-def]
    """Check and send a proposed entry; the decision is audited whether it fired or was blocked."""
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    verdict = verdict_at(t, pair_index)
    side, units = pair.proposed_side, pair.proposed_units
    limit = protected_limit(header_of(t), instrument, side)
    reason = entry_refusal(t, pair_index, side, units, limit, pair.proposed_marks)
    emit(
        t,
        _DECISION,
        pair.book,
        pair.instrument,
        _0,
        _0,
        side,
        units,
        pair.proposed_close,
        pair.proposed_bar_ns,
        _0,
        _1 if reason == 0 else _0,
        reason,
    )
    pair.blocked = reason
    if reason != 0:
        header_of(t).refused += 1
        return
    pair.stop_distance = _paise(instrument, verdict.stop)
    pair.target_distance = _paise(instrument, verdict.target)
    pair.entry_bar_ns = pair.proposed_bar_ns
    pair.trade = 0
    pair.entry_order = submit(t, pair_index, side, _MARKET, _ENTRY, units, limit, _RULE)
    if pair.entry_order < 0:
        pair.blocked = _CAPACITY


@kernel
def _paise(instrument, rupees):  # type: ignore[no-untyped-def]
    """Turn a distance in rupees into the instrument's price units; NaN, zero and negative distances are none."""
    if not rupees > 0.0 or rupees > 1e9:
        return np.int64(0)
    return np.int64(math.floor(rupees * instrument.price_scale + 0.5))


@kernel
def _units(instrument, side, quantity, value):  # type: ignore[no-untyped-def]
    """Units to trade: a stated quantity, or what a value in rupees buys at the touch, in whole lots."""
    units = np.int64(0)
    if quantity > 0.0 and quantity < 1e12:
        units = np.int64(math.floor(quantity))
    elif value > 0.0 and value < 1e12:
        touch = instrument.ask[0].price if side > 0 else instrument.bid[0].price
        if touch > 0:
            units = np.int64(math.floor(value * instrument.price_scale / touch))
    return units // instrument.lot * instrument.lot


@routine
def mark_books(t):  # type: ignore[no-untyped-def]
    """Value every book at the last prices and audit it: one mark a book and a record that closed bars.

    A mark carries the capital too, so that what the operator puts in or takes out is never taken for a profit.
    """
    h = header_of(t)
    for index in range(header_of(t).books_n):
        book_at(t, index).equity_paise = book_at(t, index).cash_paise
    for index in range(header_of(t).pairs_n):
        pair = pair_at(t, index)
        if pair.quantity != 0:
            book_at(t, pair.book).equity_paise += pair.quantity * instrument_at(t, pair.instrument).last_price
    if h.decisions == 0:
        return
    for index in range(header_of(t).books_n):
        book = book_at(t, index)
        emit(
            t,
            _MARK,
            np.int64(index),
            _ANY,
            _0,
            _0,
            _0,
            book.positions,
            book.capital_paise,
            book.equity_paise,
            book.costs_paise,
            book.working,
            _0,
        )
