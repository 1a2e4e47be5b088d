"""Groups of legs: contracts that are entered (`leg_entry.py`), watched and left together, driven by the underlying.

A group belongs to the underlying's pair; every leg trades a pair of its own, whose stop, target and trail are those of
any position. What is here: the sum over all legs, what follows when one of them fails, entering again after a stop,
leaving sold legs before the bought ones that cover them, and the day on which a contract ends.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.contracts import mid_of
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, group_at, header_of, instrument_at, leg_at, pair_at
from atmand.core.leg_entry import amount_of, enter_again, enter_planned, give_up, is_taken, pair_for
from atmand.core.matching import request_exit
from atmand.core.words import LegState, Reason

__all__ = ["exit_group", "leads", "on_group_bar", "watch_contract", "watch_groups"]

_IDLE: Final = np.int64(LegState.IDLE)
_ENTERING: Final = np.int64(LegState.ENTERING)
_OPEN: Final = np.int64(LegState.OPEN)
_AWAITING: Final = np.int64(LegState.AWAITING)
_DONE: Final = np.int64(LegState.DONE)
_PLANNED: Final = np.int64(LegState.PLANNED)
_RULE: Final = np.int64(Reason.RULE)
_STOP: Final = np.int64(Reason.STOP)
_TRAIL: Final = np.int64(Reason.TRAIL)
_FAILED: Final = np.int64(Reason.LEG_FAILED)
_BY_SUM_STOP: Final = np.int64(Reason.COMBINED_STOP)
_BY_SUM_TARGET: Final = np.int64(Reason.COMBINED_TARGET)
_BY_SUM_TRAIL: Final = np.int64(Reason.COMBINED_TRAIL)
_BY_EXPIRY: Final = np.int64(Reason.EXPIRY)
_NEVER_NS: Final = np.int64(np.iinfo(np.int64).max)
_PAISE: Final = 100.0
_BEFORE_EXPIRY_NS: Final = 300_000_000_000
"""A contract that ends today is left five minutes before: what is held at the end is settled, or delivered."""


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
            leg.pair = pair_for(t, group, leg)
            if leg.pair >= 0 and not is_taken(t, group, place):
                enter_again(t, row, place, marks)


@routine
def exit_group(t, row, reason):  # type: ignore[no-untyped-def]
    """Leave every leg of a group, the sold ones first; one that waits to be entered is not."""
    group = group_at(t, row)
    if group.id == 0 or group.leaving != 0:
        return
    group.leaving = reason
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.state == _AWAITING:
            leg.state = _DONE
        elif leg.state == _PLANNED:
            give_up(t, place)
        elif leg.side < 0 and _is_in_market(leg):
            request_exit(t, leg.pair, reason)
    _leave_bought(t, group)


@kernel
def _is_in_market(leg):  # type: ignore[no-untyped-def]
    """Say whether a leg is entered, or being entered."""
    return leg.state == _ENTERING or leg.state == _OPEN


@kernel
def _leave_bought(t, group):  # type: ignore[no-untyped-def]
    """Leave the bought legs of a group that is being left, once no sold one is held: till then they cover it."""
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.side < 0 and _is_in_market(leg) and pair_at(t, leg.pair).quantity != 0:
            return
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.side > 0 and _is_in_market(leg) and pair_at(t, leg.pair).exit_reason == 0:
            request_exit(t, leg.pair, group.leaving)


@kernel
def leads(t, pair):  # type: ignore[no-untyped-def]
    """Say whether a pair's position is left by its group, and not by itself."""
    return pair.group != 0 and pair.group_row >= 0 and group_at(t, pair.group_row).id == pair.group


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
        due_ns = min(due_ns, _leave_ending(t, group, -1), _leave_ending(t, group, 1))
        _watch(t, row)
        if group.id != 0 and group.until_ns > h.time_ns:
            due_ns = min(due_ns, group.until_ns)
    return due_ns


@kernel
def _leave_ending(t, group, side):  # type: ignore[no-untyped-def]
    """Leave the legs of a side whose contracts are about to end; return when the next of them will be."""
    due_ns = _NEVER_NS
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if leg.side != side or not _is_in_market(leg):
            continue
        end_ns = instrument_at(t, pair_at(t, leg.pair).instrument).expiry_ns - _BEFORE_EXPIRY_NS
        if header_of(t).time_ns >= end_ns:
            request_exit(t, leg.pair, _BY_EXPIRY)
        else:
            due_ns = min(due_ns, end_ns)
    return due_ns


@kernel
def _watch(t, row):  # type: ignore[no-untyped-def]
    """Follow each leg's life, then judge the sum of them; a group whose legs are all done is over."""
    group = group_at(t, row)
    alive, planned = np.int64(0), np.int64(0)
    failed = False
    for place in range(group.first_leg, group.first_leg + group.legs):
        failed |= _follow(t, group, row, place)
        state = leg_at(t, place).state
        alive += 1 if state != _DONE and state != _IDLE else 0
        planned += 1 if state == _PLANNED else 0
    if planned > 0 and not failed:
        failed = enter_planned(t, row)
    if alive == 0:
        _end(t, group)
    elif group.leaving != 0:
        _leave_bought(t, group)
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
    if not _is_in_market(leg):
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
        if (price - leg.cost) * leg.side >= 0 and not is_taken(t, group, place):
            enter_again(t, row, place, np.int64(0))


@kernel
def _sum_of(t, group):  # type: ignore[no-untyped-def]
    """Return what a group has won so far, before costs: what is realised, and the open legs at their mids."""
    total = group.realised_paise
    for place in range(group.first_leg, group.first_leg + group.legs):
        leg = leg_at(t, place)
        if _is_in_market(leg):
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
    loss = amount_of(t, group, group.loss, group.loss_slot) * _PAISE
    target = amount_of(t, group, group.target, group.target_slot) * _PAISE
    trail = amount_of(t, group, group.trail, group.trail_slot) * _PAISE
    if loss > 0.0 and total <= -loss:
        exit_group(t, row, _BY_SUM_STOP)
    elif target > 0.0 and total >= target:
        exit_group(t, row, _BY_SUM_TARGET)
    elif trail > 0.0 and group.best_paise - total >= trail:
        exit_group(t, row, _BY_SUM_TRAIL)
