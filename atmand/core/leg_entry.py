"""Entering a group of legs: a contract for each, all of them or none, the bought legs before the sold ones.

A sold leg whose group also buys is only planned at first, and sent once every bought leg is in the book: what covers a
sold option is there before it, and the margin that a broker asks is that of the whole.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.contracts import contract_of
from atmand.core.exits import distance
from atmand.core.exposure import entering, in_sector, in_underlying, recount, value_pairs
from atmand.core.jit import kernel, record_at, routine
from atmand.core.layout import book_at, group_at, header_of, instrument_at, leg_at, pair_at
from atmand.core.margin import lacks_cash, price_of_entry
from atmand.core.matching import submit
from atmand.core.orders import entry_wait_ns
from atmand.core.portfolio import account_refusal
from atmand.core.risk import entry_refusal, lacks_room, order_refusal, protected_limit
from atmand.core.slicing import orders_for
from atmand.core.words import LegState, OrderKind, Purpose, Reason

__all__ = [
    "amount_of",
    "enter_again",
    "enter_planned",
    "give_up",
    "group_refusal",
    "is_taken",
    "open_group",
    "pair_for",
]

_DONE: Final = np.int64(LegState.DONE)
_ENTERING: Final = np.int64(LegState.ENTERING)
_OPEN: Final = np.int64(LegState.OPEN)
_PLANNED: Final = np.int64(LegState.PLANNED)
_MARKET: Final = np.int64(OrderKind.MARKET)
_ENTRY: Final = np.int64(Purpose.ENTRY)
_RULE: Final = np.int64(Reason.RULE)
_REENTRY: Final = np.int64(Reason.REENTRY)
_NO_QUOTE: Final = np.int64(Reason.NO_QUOTE)
_NO_CONTRACT: Final = np.int64(Reason.NO_CONTRACT)
_CLASH: Final = np.int64(Reason.LEG_CLASH)
_OPEN_POSITIONS: Final = np.int64(Reason.OPEN_POSITIONS)
_ORDERS_A_DAY: Final = np.int64(Reason.ORDERS_A_DAY)
_CAPACITY: Final = np.int64(Reason.CAPACITY)
_CASH: Final = np.int64(Reason.CASH)
_NONE: Final = np.int64(Reason.NONE)
_VALUE: Final = np.dtype([("value", "f8")])


@kernel
def amount_of(t, group, value, slot):  # type: ignore[no-untyped-def]
    """Return an amount of a leg or a group: its number, or the present value of the parameter that it names."""
    if slot < 0:
        return value
    return record_at(t, book_at(t, group.book).params_at + 8 * slot, _VALUE).value


@routine
def group_refusal(t, pair_index, lots, marks):  # type: ignore[no-untyped-def]
    """Choose a contract for every leg; return the first reason against entering all of them, or Reason.NONE."""
    row = pair_at(t, pair_index).group_row
    group = group_at(t, row)
    count, orders, value, net, cash = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        leg.pair = pair_for(t, group, leg)
        if leg.pair < 0:
            return _NO_CONTRACT
        if is_taken(t, group, place):
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
        cash += price_of_entry(t, instrument, leg.side, leg.units, limit)
    reason = _refusal_of_all(t, group, count, orders, cash)
    return reason if reason != _NONE else _refusal_by_account(t, group, count, value, net)


@kernel
def _refusal_of_all(t, group, count, orders, cash):  # type: ignore[no-untyped-def]
    """Return the limit of the book that the legs keep one by one and break together; their money is asked here alone.

    `cash` is what they take out of it beside their margin.
    """
    book = book_at(t, group.book)
    if book.positions + entering(t, group.book) + count > book.open_positions:
        return _OPEN_POSITIONS
    if book.orders_today + orders > book.orders_a_day:
        return _ORDERS_A_DAY
    if lacks_room(header_of(t), book, orders):
        return _CAPACITY
    for place in range(group.first_leg, group.first_leg + group.legs):
        pair_at(t, leg_at(t, place).pair).wanted = leg_at(t, place).side * leg_at(t, place).units
    lacks = lacks_cash(t, group.book, cash)
    for place in range(group.first_leg, group.first_leg + group.legs):
        pair_at(t, leg_at(t, place).pair).wanted = 0
    return _CASH if lacks else _NONE


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
def pair_for(t, group, leg):  # type: ignore[no-untyped-def]
    """Return the book's pair of the contract that a leg's rules choose, or -1."""
    instrument = contract_of(t, pair_at(t, group.pair).instrument, leg)
    index = instrument_at(t, instrument).first_pair if instrument >= 0 else np.int64(-1)
    while index >= 0 and pair_at(t, index).book != group.book:
        index = pair_at(t, index).next_in_instrument
    return index


@kernel
def is_taken(t, group, place):  # type: ignore[no-untyped-def]
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
    group.until_ns = 0
    covered = _buys(t, group)
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        leg.entries = 0
        if leg.side < 0 and covered:
            _join(t, pair.group_row, place, _PLANNED)
            recount(t, leg.pair)
        else:
            _enter_leg(t, pair.group_row, place, _RULE)


@kernel
def _buys(t, group):  # type: ignore[no-untyped-def]
    """Say whether a group buys something."""
    bought = False
    for place in range(group.first_leg, group.first_leg + group.legs):
        bought |= leg_at(t, place).side > 0
    return bought


@kernel
def _join(t, row, place, state):  # type: ignore[no-untyped-def]
    """Make a leg's contract its group's: nothing else trades it until the leg is done."""
    leg = leg_at(t, place)
    pair = pair_at(t, leg.pair)
    pair.group = group_at(t, row).id
    pair.leg = place
    pair.trade = 0
    pair.entry_quantity = 0
    pair.entry_value = 0
    pair.realised_paise = 0
    leg.state = state


@routine
def enter_planned(t, row):  # type: ignore[no-untyped-def]
    """Send the sold legs that waited for the bought ones; say whether they cannot be, so that the group must be left.

    They wait for a quote as long as an entry may. A group whose book may not enter any more is not completed.
    """
    h = header_of(t)
    group = group_at(t, row)
    book = book_at(t, group.book)
    waiting = False
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.side > 0 and leg.state == _ENTERING:
            return False
        if leg.side > 0 and leg.state != _OPEN:
            return True
    if h.entries == 0 or book.paused or book.run_off or book.squared:
        return True
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.state == _PLANNED and not _enter_leg(t, row, place, _RULE):
            waiting = True
    if waiting and group.until_ns == 0:
        group.until_ns = h.time_ns + entry_wait_ns(h, book)
        h.next_due_ns = min(h.next_due_ns, group.until_ns)
    return waiting and h.time_ns >= group.until_ns


@kernel
def give_up(t, place):  # type: ignore[no-untyped-def]
    """Let a leg go that is only planned."""
    leg = leg_at(t, place)
    leg.state = _DONE
    pair_at(t, leg.pair).group = 0
    recount(t, leg.pair)


@kernel
def _enter_leg(t, row, place, reason):  # type: ignore[no-untyped-def]
    """Send a leg's entry, unless its book has no touch; its stop, target and trail are those of its position."""
    group = group_at(t, row)
    leg = leg_at(t, place)
    pair = pair_at(t, leg.pair)
    instrument = instrument_at(t, pair.instrument)
    limit = protected_limit(header_of(t), instrument, leg.side)
    if limit <= 0:
        return False
    _join(t, row, place, _ENTERING)
    pair.stop_distance = distance(instrument, amount_of(t, group, leg.loss, leg.loss_slot), leg.loss_percent)
    pair.target_distance = distance(instrument, amount_of(t, group, leg.target, leg.target_slot), leg.target_percent)
    pair.trail_distance = distance(instrument, amount_of(t, group, leg.trail, leg.trail_slot), leg.trail_percent)
    pair.entry_order = submit(t, leg.pair, leg.side, _MARKET, _ENTRY, leg.units, limit, reason)
    recount(t, leg.pair)
    return True


@kernel
def enter_again(t, row, place, marks):  # type: ignore[no-untyped-def]
    """Enter a stopped leg again, unless something is against it now; then it goes on waiting."""
    leg = leg_at(t, place)
    pair = pair_at(t, leg.pair)
    limit = protected_limit(header_of(t), instrument_at(t, pair.instrument), leg.side)
    if entry_refusal(t, leg.pair, leg.side, leg.units, limit, marks) == _NONE:
        leg.entries += 1
        _enter_leg(t, row, place, _REENTRY)
