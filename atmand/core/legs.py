"""Groups of legs: contracts that are chosen, entered, watched and left together, driven by the underlying's bars.

A group belongs to the underlying's pair; every leg trades a pair of its own, whose stop, target and trail are those of
any position. What is here: all legs or none at the entry, the sum over all legs, what follows when one of them fails,
entering again after a stop, and the day on which a contract ends.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.contracts import contract_of, mid_of
from atmand.core.exits import distance
from atmand.core.exposure import committed, entering, in_sector, in_underlying, recount, value_pairs
from atmand.core.jit import kernel, record_at, routine
from atmand.core.layout import book_at, group_at, header_of, instrument_at, leg_at, pair_at
from atmand.core.matching import request_exit, submit
from atmand.core.portfolio import account_refusal
from atmand.core.risk import entry_refusal, order_refusal, protected_limit
from atmand.core.slicing import orders_for
from atmand.core.words import LegState, OrderKind, Purpose, Reason

__all__ = ["exit_group", "group_refusal", "on_group_bar", "open_group", "watch_contract", "watch_groups"]

_IDLE: Final = np.int64(LegState.IDLE)
_ENTERING: Final = np.int64(LegState.ENTERING)
_OPEN: Final = np.int64(LegState.OPEN)
_AWAITING: Final = np.int64(LegState.AWAITING)
_DONE: Final = np.int64(LegState.DONE)
_MARKET: Final = np.int64(OrderKind.MARKET)
_ENTRY: Final = np.int64(Purpose.ENTRY)
_RULE: Final = np.int64(Reason.RULE)
_STOP: Final = np.int64(Reason.STOP)
_TRAIL: Final = np.int64(Reason.TRAIL)
_REENTRY: Final = np.int64(Reason.REENTRY)
_FAILED: Final = np.int64(Reason.LEG_FAILED)
_BY_SUM_STOP: Final = np.int64(Reason.COMBINED_STOP)
_BY_SUM_TARGET: Final = np.int64(Reason.COMBINED_TARGET)
_BY_SUM_TRAIL: Final = np.int64(Reason.COMBINED_TRAIL)
_BY_EXPIRY: Final = np.int64(Reason.EXPIRY)
_NO_QUOTE: Final = np.int64(Reason.NO_QUOTE)
_NO_CONTRACT: Final = np.int64(Reason.NO_CONTRACT)
_CLASH: Final = np.int64(Reason.LEG_CLASH)
_OPEN_POSITIONS: Final = np.int64(Reason.OPEN_POSITIONS)
_ORDERS_A_DAY: Final = np.int64(Reason.ORDERS_A_DAY)
_CAPACITY: Final = np.int64(Reason.CAPACITY)
_CASH: Final = np.int64(Reason.CASH)
_NONE: Final = np.int64(Reason.NONE)
_NEVER_NS: Final = np.int64(np.iinfo(np.int64).max)
_VALUE: Final = np.dtype([("value", "f8")])
_PAISE: Final = 100.0
_BEFORE_EXPIRY_NS: Final = 300_000_000_000
"""A contract that ends today is left five minutes before: what is held at the end is settled, or delivered."""


@kernel
def _amount(t, group, value, slot):  # type: ignore[no-untyped-def]
    """Return an amount of a leg or a group: its number, or the present value of the parameter that it names."""
    if slot < 0:
        return value
    return record_at(t, book_at(t, group.book).params_at + 8 * slot, _VALUE).value


@routine
def group_refusal(t, pair_index, lots, marks):  # type: ignore[no-untyped-def]
    """Choose a contract for every leg; return the first reason against entering all of them, or Reason.NONE."""
    row = pair_at(t, pair_index).group_row
    group = group_at(t, row)
    count, orders, value, net = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        leg.pair = _pair_for(t, group, leg)
        if leg.pair < 0:
            return _NO_CONTRACT
        if _is_taken(t, group, place):
            return _CLASH
        instrument = instrument_at(t, pair_at(t, leg.pair).instrument)
        leg.units = lots * leg.ratio * instrument.lot
        limit = protected_limit(header_of(t), instrument, leg.side)
        reason = order_refusal(t, leg.pair, leg.side, leg.units, limit, marks)
        if reason != _NONE:
            return reason
        if instrument.bid[0].price <= 0 or instrument.ask[0].price <= 0:
            return _NO_QUOTE
        count += 1
        orders += orders_for(instrument, leg.units)
        value += leg.units * limit
        net += leg.side * leg.units * limit
    reason = _refusal_of_all(t, group, count, orders, value)
    return reason if reason != _NONE else _refusal_by_account(t, group, count, value, net)


@kernel
def _refusal_of_all(t, group, count, orders, value):  # type: ignore[no-untyped-def]
    """Return the limit of the book that the legs keep one by one and break together."""
    book = book_at(t, group.book)
    if book.positions + entering(t, group.book) + count > book.open_positions:
        return _OPEN_POSITIONS
    if book.orders_today + orders > book.orders_a_day:
        return _ORDERS_A_DAY
    rows = header_of(t).orders_n // header_of(t).books_n
    if book.working + orders > rows - rows // 4:
        return _CAPACITY
    if value > book.cash_paise - committed(t, group.book):
        return _CASH
    return _NONE


@kernel
def _refusal_by_account(t, group, count, gross, net):  # type: ignore[no-untyped-def]
    """Return the limit of the account that the legs would break as a whole: what they hedge in each other counts."""
    if header_of(t).portfolio == 0:
        return _NONE
    value_pairs(t)
    alike, near = np.int64(0), np.int64(0)
    for place in range(group.first_leg, group.first_leg + group.legs):
        pair_index = leg_at(t, place).pair
        alike = max(alike, in_underlying(t, pair_index) + count)
        sector = instrument_at(t, pair_at(t, pair_index).instrument).sector
        together = np.int64(0)
        for other in range(group.first_leg, group.first_leg + group.legs):
            if sector > 0 and instrument_at(t, pair_at(t, leg_at(t, other).pair).instrument).sector == sector:
                together += 1
        if together > 0:
            near = max(near, in_sector(t, pair_index) + together)
    return account_refusal(t, book_at(t, group.book).account, count, alike, near, gross, net)


@kernel
def _pair_for(t, group, leg):  # type: ignore[no-untyped-def]
    """Return the book's pair of the contract that a leg's rules choose, or -1."""
    instrument = contract_of(t, pair_at(t, group.pair).instrument, leg)
    index = instrument_at(t, instrument).first_pair if instrument >= 0 else np.int64(-1)
    while index >= 0 and pair_at(t, index).book != group.book:
        index = pair_at(t, index).next_in_instrument
    return index


@kernel
def _is_taken(t, group, place):  # type: ignore[no-untyped-def]
    """Say whether a leg's contract is held already, or chosen by another leg of its group."""
    pair_index = leg_at(t, place).pair
    pair = pair_at(t, pair_index)
    taken = pair.quantity != 0 or pair.entry_order >= 0 or pair.group != 0
    for other in range(group.first_leg, place):
        taken |= leg_at(t, other).pair == pair_index
    return taken


@routine
def open_group(t, pair_index):  # type: ignore[no-untyped-def]
    """Enter every leg of a group whose contracts `group_refusal` has just chosen."""
    h = header_of(t)
    pair = pair_at(t, pair_index)
    group = group_at(t, pair.group_row)
    h.next_group += 1
    group.id = h.next_group
    group.realised_paise = 0
    group.best_paise = 0
    group.leaving = 0
    pair.group = group.id
    pair.trades_today += 1
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg_at(t, place).entries = 0
        _enter_leg(t, pair.group_row, place, _RULE)


@kernel
def _enter_leg(t, row, place, reason):  # type: ignore[no-untyped-def]
    """Send a leg's entry; its stop, target and trail are those of its position."""
    group = group_at(t, row)
    leg = leg_at(t, place)
    pair = pair_at(t, leg.pair)
    instrument = instrument_at(t, pair.instrument)
    pair.group = group.id
    pair.leg = place
    pair.trade = 0
    pair.entry_quantity = 0
    pair.entry_value = 0
    pair.realised_paise = 0
    pair.stop_distance = distance(instrument, _amount(t, group, leg.loss, leg.loss_slot), leg.loss_percent)
    pair.target_distance = distance(instrument, _amount(t, group, leg.target, leg.target_slot), leg.target_percent)
    pair.trail_distance = distance(instrument, _amount(t, group, leg.trail, leg.trail_slot), leg.trail_percent)
    limit = protected_limit(header_of(t), instrument, leg.side)
    pair.entry_order = submit(t, leg.pair, leg.side, _MARKET, _ENTRY, leg.units, limit, reason)
    recount(t, leg.pair)
    leg.state = _ENTERING


@routine
def on_group_bar(t, pair_index, marks, leave):  # type: ignore[no-untyped-def]
    """On a closed bar of the underlying: leave where the file's exit says so, or enter stopped legs at new strikes."""
    row = pair_at(t, pair_index).group_row
    group = group_at(t, row)
    if leave:
        exit_group(t, row, _RULE)
        return
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.state == _AWAITING and leg.at_new_strike and group.leaving == 0:
            leg.pair = _pair_for(t, group, leg)
            if leg.pair >= 0 and not _is_taken(t, group, place):
                _try_again(t, row, place, marks)


@kernel
def _try_again(t, row, place, marks):  # type: ignore[no-untyped-def]
    """Enter a stopped leg again, unless something is against it now; then it goes on waiting."""
    leg = leg_at(t, place)
    pair = pair_at(t, leg.pair)
    limit = protected_limit(header_of(t), instrument_at(t, pair.instrument), leg.side)
    if entry_refusal(t, leg.pair, leg.side, leg.units, limit, marks) == _NONE:
        leg.entries += 1
        _enter_leg(t, row, place, _REENTRY)


@routine
def exit_group(t, row, reason):  # type: ignore[no-untyped-def]
    """Leave every leg of a group; one that waits to be entered again is not."""
    group = group_at(t, row)
    if group.id == 0 or group.leaving != 0:
        return
    group.leaving = reason
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.state == _AWAITING:
            leg.state = _DONE
        elif leg.state == _ENTERING or leg.state == _OPEN:
            request_exit(t, leg.pair, reason)


@routine
def watch_contract(t, instrument_index):  # type: ignore[no-untyped-def]
    """Watch the groups that trade a contract, on each of its ticks."""
    index = instrument_at(t, instrument_index).first_pair
    while index >= 0:
        pair = pair_at(t, index)
        if pair.group_row >= 0 and group_at(t, pair.group_row).id != 0:
            _watch(t, pair.group_row)
        index = pair.next_in_instrument


@routine
def watch_groups(t):  # type: ignore[no-untyped-def]
    """Watch every group after timed events, and leave contracts that are about to end; return the next such time."""
    h = header_of(t)
    due_ns = _NEVER_NS
    for row in range(h.groups_n):
        group = group_at(t, row)
        if group.id == 0:
            continue
        for place in range(group.first_leg, group.first_leg + group.legs):
            leg = leg_at(t, place)
            if leg.state != _ENTERING and leg.state != _OPEN:
                continue
            end_ns = instrument_at(t, pair_at(t, leg.pair).instrument).expiry_ns - _BEFORE_EXPIRY_NS
            if h.time_ns >= end_ns:
                request_exit(t, leg.pair, _BY_EXPIRY)
            else:
                due_ns = min(due_ns, end_ns)
        _watch(t, row)
    return due_ns


@kernel
def _watch(t, row):  # type: ignore[no-untyped-def]
    """Follow each leg's life, then judge the sum of them; a group whose legs are all done is over."""
    group = group_at(t, row)
    alive = np.int64(0)
    failed = False
    for place in range(group.first_leg, group.first_leg + group.legs):
        failed |= _follow(t, group, row, place)
        state = leg_at(t, place).state
        alive += 1 if state != _DONE and state != _IDLE else 0
    if alive == 0:
        _end(t, group)
    elif failed:
        exit_group(t, row, _FAILED)
    else:
        _judge_sum(t, row)


@kernel
def _end(t, group):  # type: ignore[no-untyped-def]
    pair = pair_at(t, group.pair)
    pair.group = 0
    pair.cooling = book_at(t, group.book).cooldown
    group.id = 0


@kernel
def _follow(t, group, row, place):  # type: ignore[no-untyped-def]
    """Move a leg on by what its position has become; say whether its entry failed: it is not whole."""
    leg = leg_at(t, place)
    if leg.state == _AWAITING:
        _await_cost(t, group, row, place)
        return False
    if leg.state != _ENTERING and leg.state != _OPEN:
        return False
    pair = pair_at(t, leg.pair)
    failed = False
    if leg.state == _ENTERING and pair.entry_order < 0:
        leg.state = _OPEN
        failed = pair.entry_quantity < leg.units and group.leaving == 0
        if leg.entries == 0 and pair.entry_quantity > 0:
            leg.cost = pair.entry_value // pair.entry_quantity
    if leg.state == _OPEN and pair.quantity == 0 and pair.entry_order < 0:
        group.realised_paise += pair.realised_paise
        pair.group = 0
        by_stop = pair.entry_quantity > 0 and (pair.last_exit == _STOP or pair.last_exit == _TRAIL)
        again = by_stop and leg.entries < leg.reentries and group.leaving == 0 and not book_at(t, group.book).squared
        leg.state = _AWAITING if again and not failed else _DONE
    return failed


@kernel
def _await_cost(t, group, row, place):  # type: ignore[no-untyped-def]
    """Enter a stopped leg again once its contract is back at what the first entry paid or got."""
    leg = leg_at(t, place)
    if book_at(t, group.book).squared:
        leg.state = _DONE
    elif not leg.at_new_strike:
        price = instrument_at(t, pair_at(t, leg.pair).instrument).last_price
        if (price - leg.cost) * leg.side >= 0 and not _is_taken(t, group, place):
            _try_again(t, row, place, np.int64(0))


@kernel
def _sum_of(t, group):  # type: ignore[no-untyped-def]
    """Return what a group has won so far, before costs: what is realised, and the open legs at their mids."""
    total = group.realised_paise
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.state == _ENTERING or leg.state == _OPEN:
            pair = pair_at(t, leg.pair)
            if pair.quantity != 0:
                total += pair.realised_paise + pair.quantity * mid_of(instrument_at(t, pair.instrument))
                total -= pair.value_paise
    return total


@kernel
def _judge_sum(t, row):  # type: ignore[no-untyped-def]
    """Leave all legs where their sum has reached the combined loss, target or trail."""
    group = group_at(t, row)
    total = _sum_of(t, group)
    group.best_paise = max(group.best_paise, total)
    loss = _amount(t, group, group.loss, group.loss_slot) * _PAISE
    target = _amount(t, group, group.target, group.target_slot) * _PAISE
    trail = _amount(t, group, group.trail, group.trail_slot) * _PAISE
    if loss > 0.0 and total <= -loss:
        exit_group(t, row, _BY_SUM_STOP)
    elif target > 0.0 and total >= target:
        exit_group(t, row, _BY_SUM_TARGET)
    elif trail > 0.0 and group.best_paise - total >= trail:
        exit_group(t, row, _BY_SUM_TRAIL)
