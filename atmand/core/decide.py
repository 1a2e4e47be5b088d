"""From a strategy's verdict on a closed bar to an order: exits first, then the entries of all strategies by rank.

The generated program calls `decide` once for each (book, instrument) whose bar closed, then `settle`; everything that
is the same for every strategy is here, so that generated code holds expressions only.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.audit import emit
from atmand.core.exits import distance, take_terms
from atmand.core.exposure import recount
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, group_at, header_of, instrument_at, pair_at, proposal_at, verdict_at
from atmand.core.leg_entry import group_refusal, open_group
from atmand.core.legs import on_group_bar
from atmand.core.matching import request_exit, request_reduction, submit
from atmand.core.netting import net_orders
from atmand.core.orders import cancel
from atmand.core.portfolio import propose, take_proposals, withdraw
from atmand.core.records import Kind
from atmand.core.risk import entry_refusal
from atmand.core.sizing import entry_limit, units_wanted, whole_lots
from atmand.core.waiting import recall, waits_on
from atmand.core.words import OrderKind, Percent, Purpose, Reason, StepFlag

__all__ = ["decide", "enter_group", "hold", "mark_books", "needs_decision", "settle", "value_books"]

_0: Final = np.int64(0)
_1: Final = np.int64(1)
_ANY: Final = np.int64(-1)
_READY: Final = np.int64(StepFlag.READY)
_ENTER_LONG: Final = np.int64(StepFlag.ENTER_LONG)
_ENTER_SHORT: Final = np.int64(StepFlag.ENTER_SHORT)
_EXIT_LONG: Final = np.int64(StepFlag.EXIT_LONG)
_EXIT_SHORT: Final = np.int64(StepFlag.EXIT_SHORT)
_ADD_LONG: Final = np.int64(StepFlag.ADD_LONG)
_ADD_SHORT: Final = np.int64(StepFlag.ADD_SHORT)
_REDUCE_LONG: Final = np.int64(StepFlag.REDUCE_LONG)
_REDUCE_SHORT: Final = np.int64(StepFlag.REDUCE_SHORT)
_STOP_PERCENT: Final = np.int64(Percent.STOP)
_TARGET_PERCENT: Final = np.int64(Percent.TARGET)
_ACTIONS: Final = np.int64(sum(StepFlag) - StepFlag.READY)
_RULE: Final = np.int64(Reason.RULE)
_BARS: Final = np.int64(Reason.BARS)
_REDUCE: Final = np.int64(Reason.REDUCE)
_ADD: Final = np.int64(Reason.ADD)
_REPLACED: Final = np.int64(Reason.REPLACED)
_COOLDOWN: Final = np.int64(Reason.COOLDOWN)
_TRADES_A_DAY: Final = np.int64(Reason.TRADES_A_DAY)
_NO_QUOTE: Final = np.int64(Reason.NO_QUOTE)
_STALE: Final = np.int64(Reason.STALE)
_CAPACITY: Final = np.int64(Reason.CAPACITY)
_MARKET: Final = np.int64(OrderKind.MARKET)
_LIMIT: Final = np.int64(OrderKind.LIMIT)
_ENTRY: Final = np.int64(Purpose.ENTRY)
_DECISION: Final = np.int64(Kind.AUDIT_DECISION)
_MARK: Final = np.int64(Kind.AUDIT_MARK)


@kernel
def needs_decision(pair, flags):  # type: ignore[no-untyped-def]
    """Say whether `decide` could do more on this bar than count it: a rule fired, a stop moves, a cooldown runs."""
    return flags & _ACTIONS != 0 or pair.managed != 0 or pair.cooling > 0


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
    if pair.group_row >= 0 and pair.structure >= 0:
        _end_wait(t, pair_index)
    if pair.group != 0:
        on_group_bar(t, pair_index, bar.marks, flags & _EXIT_LONG)
        return
    if pair.quantity != 0:
        hold(pair)
        if flags & _READY:
            take_terms(instrument_at(t, pair.instrument), pair, verdict_at(t, pair_index))
            if pair.exit_reason == 0:
                _manage(t, pair_index, bar, flags)
        return
    pair.blocked = 0
    cooling = pair.cooling > 0
    if cooling:
        pair.cooling -= 1
    if pair.entry_order >= 0 or flags & (_ENTER_LONG | _ENTER_SHORT) == 0:
        return
    book = book_at(t, pair.book)
    side = np.int64(1) if flags & _ENTER_LONG else np.int64(-1)
    _draw_up(t, pair_index, bar, side, 1.0)
    if cooling:
        _audit_decision(t, pair_index, _COOLDOWN)
    elif book.max_trades > 0 and pair.trades_today >= book.max_trades:
        _audit_decision(t, pair_index, _TRADES_A_DAY)
    else:
        propose(t, pair_index, verdict_at(t, pair_index).rank)


@kernel
def _draw_up(t, pair_index, bar, side, share):  # type: ignore[no-untyped-def]
    """Write an entry down as it will be proposed: side, units, and the bar that asks for it."""
    pair = pair_at(t, pair_index)
    limit = entry_limit(t, pair_index, side)
    pair.proposed_side = side
    pair.proposed_units = whole_lots(
        instrument_at(t, pair.instrument), units_wanted(t, pair_index, side, limit) * share
    )
    pair.proposed_close = bar.close
    pair.proposed_bar_ns = bar.start_ns
    pair.proposed_marks = bar.marks


@kernel
def _manage(t, pair_index, bar, flags):  # type: ignore[no-untyped-def]
    """Leave an open position, take a part of it off, or add to it: the first of them that the bar asks for."""
    pair = pair_at(t, pair_index)
    book = book_at(t, pair.book)
    verdict = verdict_at(t, pair_index)
    long = pair.quantity > 0
    if flags & (_EXIT_LONG if long else _EXIT_SHORT):
        request_exit(t, pair_index, _RULE)
    elif verdict.bars > 0.0 and pair.bars_held >= verdict.bars:
        request_exit(t, pair_index, _BARS)
    elif flags & (_REDUCE_LONG if long else _REDUCE_SHORT) and pair.reduces < book.max_reduces:
        _reduce(t, pair_index, verdict.reduce)
    elif flags & (_ADD_LONG if long else _ADD_SHORT) and pair.adds < book.max_adds:
        _propose_addition(t, pair_index, bar, verdict)


@kernel
def _propose_addition(t, pair_index, bar, verdict):  # type: ignore[no-untyped-def]
    """Propose to add a share of what the file's size says now, unless an order of the position is still out."""
    pair = pair_at(t, pair_index)
    if pair.entry_order < 0 and pair.exit_order < 0 and verdict.add > 0.0:
        _draw_up(t, pair_index, bar, pair.side, verdict.add)
        propose(t, pair_index, verdict.rank)


@kernel
def _reduce(t, pair_index, share):  # type: ignore[no-untyped-def]
    """Take a share of the position off in whole lots; a share that leaves nothing is an exit."""
    pair = pair_at(t, pair_index)
    if pair.exit_order >= 0 or not share > 0.0:
        return
    held = abs(pair.quantity)
    lot = instrument_at(t, pair.instrument).lot
    units = np.int64(math.floor(held * min(share, 1.0))) // lot * lot
    if units >= held:
        request_exit(t, pair_index, _REDUCE)
    else:
        request_reduction(t, pair_index, units)


@routine
def settle(t):  # type: ignore[no-untyped-def]
    """Make the entries that this record's strategies proposed, in their order, then net them against its exits."""
    for place in range(take_proposals(t)):
        index = proposal_at(t, place).row
        if pair_at(t, index).group_row >= 0:
            enter_group(t, index)
        elif pair_at(t, index).quantity == 0:
            _enter(t, index)
        else:
            _add(t, index)
    net_orders(t)


@kernel
def _enter(t, pair_index):  # type: ignore[no-untyped-def]
    """Check and send a proposed entry."""
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    verdict = verdict_at(t, pair_index)
    limit = entry_limit(t, pair_index, pair.proposed_side)
    if not _is_allowed(t, pair_index, limit):
        return
    pair.stop_distance = distance(instrument, verdict.stop, verdict.percent_of & _STOP_PERCENT)
    pair.target_distance = distance(instrument, verdict.target, verdict.percent_of & _TARGET_PERCENT)
    take_terms(instrument, pair, verdict)
    pair.managed = 1 if verdict.trail != 0.0 or verdict.breakeven != 0.0 or verdict.bars != 0.0 else 0
    pair.entry_bar_ns = pair.proposed_bar_ns
    pair.trade = 0
    _send(t, pair_index, limit, _RULE)


@routine
def enter_group(t, pair_index):  # type: ignore[no-untyped-def]
    """Check and enter all legs of a proposed group, or none; the decision is the underlying's.

    Where only quotes are missing it waits for them as long as an unfilled entry may, and is decided then.
    """
    pair = pair_at(t, pair_index)
    reason = group_refusal(t, pair_index, pair.proposed_units, pair.proposed_marks)
    if reason in (_NO_QUOTE, _STALE) and waits_on(t, pair_index):
        pair.blocked = reason
        return
    group_at(t, pair.group_row).waits_ns = 0
    _audit_decision(t, pair_index, reason)
    if reason == 0:
        open_group(t, pair_index)


@kernel
def _end_wait(t, pair_index):  # type: ignore[no-untyped-def]
    """Refuse a group that still waits when the next bar is judged: that one speaks now."""
    group = group_at(t, pair_at(t, pair_index).group_row)
    if group.waits_ns > 0:
        recall(t, pair_at(t, pair_index).group_row)
        group.waits_ns = 0
        _audit_decision(t, pair_index, _NO_QUOTE)


@kernel
def _add(t, pair_index):  # type: ignore[no-untyped-def]
    """Check and send a proposed addition. A resting target would meet it, so that comes back afterwards."""
    pair = pair_at(t, pair_index)
    limit = entry_limit(t, pair_index, pair.proposed_side)
    if pair.exit_reason != 0 or not _is_allowed(t, pair_index, limit):
        return
    cancel(t, pair.target_order, _REPLACED)
    _send(t, pair_index, limit, _ADD)
    if pair.entry_order >= 0:
        pair.adds += 1


@kernel
def _send(t, pair_index, limit, reason):  # type: ignore[no-untyped-def]
    pair = pair_at(t, pair_index)
    kind = _LIMIT if book_at(t, pair.book).limit_entry else _MARKET
    pair.entry_order = submit(t, pair_index, pair.proposed_side, kind, _ENTRY, pair.proposed_units, limit, reason)
    if pair.entry_order < 0:
        pair.blocked = _CAPACITY
    recount(t, pair_index)


@kernel
def _is_allowed(t, pair_index, limit):  # type: ignore[no-untyped-def]
    """Check a proposal against risk; the decision is audited whether it fired or was blocked."""
    pair = pair_at(t, pair_index)
    reason = entry_refusal(t, pair_index, pair.proposed_side, pair.proposed_units, limit, pair.proposed_marks)
    _audit_decision(t, pair_index, reason)
    return reason == 0


@kernel
def _audit_decision(t, pair_index, reason):  # type: ignore[no-untyped-def]
    pair = pair_at(t, pair_index)
    emit(
        t,
        _DECISION,
        pair.book,
        pair.instrument,
        _0,
        _0,
        pair.proposed_side,
        pair.proposed_units,
        pair.proposed_close,
        pair.proposed_bar_ns,
        _0,
        _1 if reason == 0 else _0,
        reason,
    )
    pair.blocked = reason
    if reason != 0:
        header_of(t).refused += 1


@kernel
def value_books(t):  # type: ignore[no-untyped-def]
    """Value every book at the last prices."""
    for index in range(header_of(t).books_n):
        book_at(t, index).equity_paise = book_at(t, index).cash_paise
    for index in range(header_of(t).pairs_n):
        pair = pair_at(t, index)
        if pair.quantity != 0:
            book_at(t, pair.book).equity_paise += pair.quantity * instrument_at(t, pair.instrument).last_price


@routine
def mark_books(t):  # type: ignore[no-untyped-def]
    """Value every book at the last prices and audit it: one mark a book and a record that closed bars.

    A mark carries the capital too, so that what the operator puts in or takes out is never taken for a profit.
    """
    value_books(t)
    if header_of(t).decisions == 0:
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
