"""From a strategy's verdict on a closed bar to an order: exits first, then risk, then the entry.

The generated program calls `decide` once for each (book, instrument) whose bar closed; everything that is the same
for every strategy is here, so that generated code holds expressions only.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.exits import distance, in_price, take_terms
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, header_of, instrument_at, pair_at, verdict_at
from atmand.core.matching import request_exit, request_reduction, submit
from atmand.core.orders import cancel, emit
from atmand.core.records import Kind
from atmand.core.risk import entry_refusal, equity_of, protected_limit, round_to_tick
from atmand.core.words import OrderKind, Percent, Purpose, Reason, StepFlag

__all__ = ["decide", "mark_books"]

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
_RULE: Final = np.int64(Reason.RULE)
_BARS: Final = np.int64(Reason.BARS)
_REDUCE: Final = np.int64(Reason.REDUCE)
_ADD: Final = np.int64(Reason.ADD)
_REPLACED: Final = np.int64(Reason.REPLACED)
_COOLDOWN: Final = np.int64(Reason.COOLDOWN)
_TRADES_A_DAY: Final = np.int64(Reason.TRADES_A_DAY)
_CAPACITY: Final = np.int64(Reason.CAPACITY)
_MARKET: Final = np.int64(OrderKind.MARKET)
_LIMIT: Final = np.int64(OrderKind.LIMIT)
_ENTRY: Final = np.int64(Purpose.ENTRY)
_DECISION: Final = np.int64(Kind.AUDIT_DECISION)
_MARK: Final = np.int64(Kind.AUDIT_MARK)


@routine
def decide(t, pair_index, bar):  # type: ignore[no-untyped-def]
    """Act on the verdict that a pair's step came to on a closed bar."""
    pair = pair_at(t, pair_index)
    flags = verdict_at(t, pair_index).flags
    pair.ready = flags & _READY
    if header_of(t).decisions == 0:
        return
    if pair.quantity != 0:
        pair.bars_held += 1
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
    side = np.int64(1) if flags & _ENTER_LONG else np.int64(-1)
    _enter(t, pair_index, bar, side, cooling)


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
        if pair.entry_order < 0 and pair.exit_order < 0:
            _add(t, pair_index, bar)


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


@kernel
def _add(t, pair_index, bar):  # type: ignore[no-untyped-def]
    """Add to an open position. Its resting target would meet the addition, so it comes back after that."""
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    verdict = verdict_at(t, pair_index)
    share = verdict.add if verdict.add > 0.0 else 0.0
    limit = _entry_limit(t, pair_index, pair.side)
    units = _whole_lots(instrument, _units(t, pair_index, pair.side, limit) * share)
    if not _may_enter(t, pair_index, bar, pair.side, units, limit, np.int64(0)):
        return
    cancel(t, pair.target_order, _REPLACED)
    kind = _LIMIT if book_at(t, pair.book).limit_entry else _MARKET
    pair.entry_order = submit(t, pair_index, pair.side, kind, _ENTRY, units, limit, _ADD)
    if pair.entry_order >= 0:
        pair.adds += 1
    else:
        pair.blocked = _CAPACITY


@kernel
def _enter(t, pair_index, bar, side, cooling):  # type: ignore[no-untyped-def]
    """Size, check and send an entry."""
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    book = book_at(t, pair.book)
    verdict = verdict_at(t, pair_index)
    limit = _entry_limit(t, pair_index, side)
    units = _whole_lots(instrument, _units(t, pair_index, side, limit))
    against = np.int64(0)
    if cooling:
        against = _COOLDOWN
    elif book.max_trades > 0 and pair.trades_today >= book.max_trades:
        against = _TRADES_A_DAY
    if not _may_enter(t, pair_index, bar, side, units, limit, against):
        return
    pair.stop_distance = distance(instrument, verdict.stop, verdict.percent_of & _STOP_PERCENT)
    pair.target_distance = distance(instrument, verdict.target, verdict.percent_of & _TARGET_PERCENT)
    take_terms(instrument, pair, verdict)
    pair.entry_bar_ns = bar.start_ns
    pair.trade = 0
    kind = _LIMIT if book.limit_entry else _MARKET
    pair.entry_order = submit(t, pair_index, side, kind, _ENTRY, units, limit, _RULE)
    if pair.entry_order < 0:
        pair.blocked = _CAPACITY


@kernel
def _may_enter(t, pair_index, bar, side, units, limit, against):  # type: ignore[no-untyped-def]
    """Check an entry or an addition; the decision is audited whether it fired or was blocked."""
    pair = pair_at(t, pair_index)
    reason = against
    if reason == 0:
        reason = entry_refusal(t, pair_index, side, units, limit, bar.marks)
    emit(
        t,
        _DECISION,
        pair.book,
        pair.instrument,
        _0,
        _0,
        side,
        units,
        bar.close,
        bar.start_ns,
        _0,
        _1 if reason == 0 else _0,
        reason,
    )
    pair.blocked = reason
    if reason != 0:
        header_of(t).refused += 1
    return reason == 0


@kernel
def _entry_limit(t, pair_index, side):  # type: ignore[no-untyped-def]
    """Limit of an entry: protection round the touch, or the price that the file names, on the grid's better side.

    0 where there is none.
    """
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    if not book_at(t, pair.book).limit_entry:
        return protected_limit(header_of(t), instrument, side)
    price = verdict_at(t, pair_index).limit
    if not price > 0.0 or price > 1e9 or protected_limit(header_of(t), instrument, side) <= 0:
        return np.int64(0)
    limit = round_to_tick(np.int64(math.floor(price * instrument.price_scale + 0.5)), instrument.tick, -side)
    if instrument.upper_band > 0:
        limit = min(limit, instrument.upper_band)
    return max(limit, instrument.lower_band)


@kernel
def _units(t, pair_index, side, limit):  # type: ignore[no-untyped-def]
    """Units that the file's size asks for: stated, or bought by a value, by an equity's share, or by a risk in rupees.

    A value buys at the touch; a risk is spread over the distance of the stop.
    """
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    verdict = verdict_at(t, pair_index)
    touch = instrument.ask[0].price if side > 0 else instrument.bid[0].price
    if verdict.quantity > 0.0:
        return verdict.quantity
    value = verdict.value
    if verdict.percent > 0.0:
        value = verdict.percent * equity_of(t, pair.book) / 10_000.0
    if value > 0.0:
        return value * instrument.price_scale / touch if touch > 0 else 0.0
    if verdict.risk > 0.0 and limit > 0:
        stop = in_price(touch, distance(instrument, verdict.stop, verdict.percent_of & _STOP_PERCENT))
        return verdict.risk * instrument.price_scale / stop if stop > 0 else 0.0
    return 0.0


@kernel
def _whole_lots(instrument, units):  # type: ignore[no-untyped-def]
    if not units > 0.0 or units > 1e12:
        return np.int64(0)
    return np.int64(math.floor(units)) // instrument.lot * instrument.lot


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
