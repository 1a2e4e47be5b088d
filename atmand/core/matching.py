"""The INTERNAL venue: working orders meet the market's touch and depth while a market record is applied.

An order meets the first market record of its instrument at or after its creation plus latency, never the record that
made it. The depth that it takes is gone for our later orders until the instrument's next packet.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.exits import arm, ratchet
from atmand.core.exposure import recount
from atmand.core.fills import fill
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, header_of, instrument_at, order_at, pair_at
from atmand.core.margin import lacks_cash
from atmand.core.orders import cancel, end_order, make_order, transition
from atmand.core.records import SessionFlag
from atmand.core.risk import crosses_own, protected_limit
from atmand.core.slicing import MOST_SLICES, slice_units
from atmand.core.ticks import DEPTH
from atmand.core.words import OrderKind, OrderState, Purpose, Reason

__all__ = [
    "expire_orders",
    "is_calm",
    "match_instrument",
    "meet_market",
    "request_exit",
    "request_reduction",
    "submit",
    "watch_exits",
]

_HELD: Final = np.int64(OrderState.HELD)
_SENT: Final = np.int64(OrderState.SENT)
_OPEN: Final = np.int64(OrderState.OPEN)
_PARTIAL: Final = np.int64(OrderState.PARTIAL)
_CANCELLED: Final = np.int64(OrderState.CANCELLED)
_EXPIRED: Final = np.int64(OrderState.EXPIRED)
_FREE: Final = np.int64(OrderState.FREE)
_ENTRY: Final = np.int64(Purpose.ENTRY)
_EXIT: Final = np.int64(Purpose.EXIT)
_TARGET: Final = np.int64(Purpose.TARGET)
_MARKET: Final = np.int64(OrderKind.MARKET)
_LIMIT: Final = np.int64(OrderKind.LIMIT)
_NO_REASON: Final = np.int64(Reason.NONE)
_BAR_PATH: Final = np.int64(SessionFlag.BAR_PATH)
_BY_STOP: Final = np.int64(Reason.STOP)
_BY_REDUCTION: Final = np.int64(Reason.REDUCE)
_BY_TARGET: Final = np.int64(Reason.TARGET)
_BY_EXPIRY: Final = np.int64(Reason.ENTRY_EXPIRED)
_BY_SESSION_END: Final = np.int64(Reason.SESSION_END)
_BY_REPLACEMENT: Final = np.int64(Reason.REPLACED)
_BY_SELF_CROSS: Final = np.int64(Reason.SELF_CROSS)
_MINUTE_NS: Final = 60_000_000_000
_MILLION: Final = 1_000_000
_1: Final = np.int64(1)
_UNBOUNDED: Final = np.int64(np.iinfo(np.int64).max)


@kernel
def submit(t, pair_index, side, kind, purpose, quantity, limit, reason):  # type: ignore[no-untyped-def]
    """Make an order, or slices of it above the freeze quantity, held back while they would cross one of our own.

    Returns the first one's row, or -1 without a free row. What ten slices do not hold is left for a further intent.
    """
    pair = pair_at(t, pair_index)
    held = crosses_own(t, pair.instrument, book_at(t, pair.book).account, side, limit)
    state = _HELD if held else _SENT
    most = slice_units(instrument_at(t, pair.instrument))
    units = min(quantity, most) if most > 0 else quantity
    first = last = make_order(t, pair_index, side, kind, purpose, units, limit, reason, state)
    made = _1
    quantity -= units
    while last >= 0 and quantity > 0 and made < MOST_SLICES:
        units = min(quantity, most)
        slot = make_order(t, pair_index, side, kind, purpose, units, limit, reason, state)
        order_at(t, last).next_slice = slot
        last = slot
        made += 1
        quantity -= units
    return first


@routine
def request_exit(t, pair_index, reason):  # type: ignore[no-untyped-def]
    """Ask for the whole position to be sold (or bought back) at the market; its other orders are cancelled first.

    Where the book has no touch or the table no row, the reason stays and the next tick tries again.
    """
    pair = pair_at(t, pair_index)
    instrument_at(t, pair.instrument).calm = 0
    cancel(t, pair.entry_order, _BY_REPLACEMENT)
    if pair.quantity == 0 or (pair.exit_order >= 0 and not _is_reduction(t, pair.exit_order)):
        return
    cancel(t, pair.exit_order, _BY_REPLACEMENT)
    cancel(t, pair.target_order, _BY_REPLACEMENT)
    pair.exit_reason = reason
    side = np.int64(-1) if pair.quantity > 0 else np.int64(1)
    limit = protected_limit(header_of(t), instrument_at(t, pair.instrument), side)
    if limit <= 0:
        return
    _clear_way(t, pair_index, side, limit)
    pair.exit_order = submit(t, pair_index, side, _MARKET, _EXIT, abs(pair.quantity), limit, reason)


@routine
def request_reduction(t, pair_index, quantity):  # type: ignore[no-untyped-def]
    """Ask for a part of a position to be closed at the market; its target comes back for what is left."""
    pair = pair_at(t, pair_index)
    side = -pair.side
    limit = protected_limit(header_of(t), instrument_at(t, pair.instrument), side)
    if limit <= 0 or quantity <= 0:
        return
    cancel(t, pair.entry_order, _BY_REPLACEMENT)
    cancel(t, pair.target_order, _BY_REPLACEMENT)
    _clear_way(t, pair_index, side, limit)
    pair.exit_order = submit(t, pair_index, side, _MARKET, _EXIT, quantity, limit, _BY_REDUCTION)
    if pair.exit_order >= 0:
        pair.reduces += 1


@kernel
def _is_reduction(t, slot):  # type: ignore[no-untyped-def]
    """Say whether an exit takes only a part: a stop, a rule or the square-off goes before it."""
    return order_at(t, slot).reason == _BY_REDUCTION


@kernel
def _clear_way(t, pair_index, side, limit):  # type: ignore[no-untyped-def]
    """Take our own resting targets that an exit would meet out of its way; they are placed again afterwards."""
    pair = pair_at(t, pair_index)
    account = book_at(t, pair.book).account
    slot = instrument_at(t, pair.instrument).first_order
    while slot >= 0:
        o = order_at(t, slot)
        following = o.next
        if (
            o.purpose == _TARGET
            and o.side != side
            and book_at(t, o.book).account == account
            and (limit - o.limit) * side >= 0
        ):
            end_order(t, slot, _CANCELLED, _BY_SELF_CROSS)
        slot = following


@kernel
def is_calm(instrument):  # type: ignore[no-untyped-def]
    """Say whether the tick that has just arrived can do nothing to the instrument's orders and positions."""
    return (
        instrument.calm != 0
        and instrument.calm_low < instrument.last_price < instrument.calm_high
        and instrument.bid[0].price < instrument.calm_bid
        and instrument.ask[0].price > instrument.calm_ask
    )


@routine
def meet_market(t, instrument_index):  # type: ignore[no-untyped-def]
    """Let an instrument's orders and positions meet the tick that has just arrived.

    Where nothing came of it, remember between which prices nothing will.
    """
    instrument = instrument_at(t, instrument_index)
    instrument.calm = 1
    if instrument.first_order >= 0:
        match_instrument(t, instrument_index)
    watch_exits(t, instrument_index)
    if instrument.calm:
        instrument.calm = 1 if _orders_rest(t, instrument) and _positions_rest(t, instrument) else 0


@kernel
def _orders_rest(t, instrument):  # type: ignore[no-untyped-def]
    """Say whether all orders are targets at rest, and put down the touch that would reach the first of them."""
    instrument.calm_bid = _UNBOUNDED
    instrument.calm_ask = -1
    slot = instrument.first_order
    if slot >= 0 and header_of(t).session_flags & _BAR_PATH:
        return False
    while slot >= 0:
        o = order_at(t, slot)
        if o.purpose != _TARGET or (o.state != _OPEN and o.state != _PARTIAL):
            return False
        if o.side < 0:
            instrument.calm_bid = min(instrument.calm_bid, o.limit)
        else:
            instrument.calm_ask = max(instrument.calm_ask, o.limit)
        slot = o.next
    return True


@kernel
def _positions_rest(t, instrument):  # type: ignore[no-untyped-def]
    """Say whether no position waits for anything but a price, and put down the nearest of those on either side."""
    instrument.calm_low = 0
    instrument.calm_high = _UNBOUNDED
    index = instrument.first_pair
    while index >= 0:
        pair = pair_at(t, index)
        if pair.quantity != 0:
            moves = pair.breakeven != 0 or pair.trail_distance != 0
            if pair.exit_reason != 0 or (pair.target_price > 0 and pair.target_order < 0):
                return False
            if moves and pair.best_price == 0:
                return False
            if pair.side > 0:
                instrument.calm_low = max(instrument.calm_low, pair.stop_price)
                instrument.calm_high = min(instrument.calm_high, pair.best_price + 1 if moves else _UNBOUNDED)
            else:
                instrument.calm_high = min(instrument.calm_high, pair.stop_price if pair.stop_price > 0 else _UNBOUNDED)
                instrument.calm_low = max(instrument.calm_low, pair.best_price - 1 if moves else 0)
        index = pair.next_in_instrument
    return True


@routine
def match_instrument(t, instrument_index):  # type: ignore[no-untyped-def]
    """Let every working order of an instrument meet the quote that has just arrived, oldest first."""
    slot = instrument_at(t, instrument_index).first_order
    while slot >= 0:
        following = order_at(t, slot).next
        _match_order(t, instrument_index, slot)
        slot = following


@kernel
def _match_order(t, instrument_index, slot):  # type: ignore[no-untyped-def]
    h = header_of(t)
    o = order_at(t, slot)
    if o.cause == h.sequence or h.time_ns < o.active_ns or o.state == _FREE:
        return
    if o.expires_ns > 0 and h.time_ns >= o.expires_ns:
        end_order(t, slot, _EXPIRED, _BY_EXPIRY)
        return
    if o.state == _HELD:
        if crosses_own(t, instrument_index, book_at(t, o.book).account, o.side, o.limit):
            return
        transition(t, o, _SENT, _NO_REASON)
    if o.state == _SENT:
        transition(t, o, _OPEN, _NO_REASON)
    if o.purpose == _EXIT:
        _reprice(t, o)
    elif o.purpose == _ENTRY and o.group != 0:
        _chase(t, o)
    if o.purpose == _TARGET and h.session_flags & _BAR_PATH:
        _match_target_on_path(t, slot)
    elif o.kind == _LIMIT and o.purpose == _ENTRY and h.session_flags & _BAR_PATH:
        _match_limit_on_path(t, slot)
    else:
        _take_depth(t, slot)


@kernel
def _reprice(t, o):  # type: ignore[no-untyped-def]
    """Keep an exit's protection round the touch: a protected market order can stay unfilled otherwise."""
    limit = protected_limit(header_of(t), instrument_at(t, o.instrument), o.side)
    if limit > 0:
        o.limit = limit


@kernel
def _chase(t, o):  # type: ignore[no-untyped-def]
    """Let the entry of a leg follow the touch as far as its book's cash goes: half a structure is worse than its price.

    Its time is an entry's: what has not filled by then has failed, and the group is left.
    """
    limit = protected_limit(header_of(t), instrument_at(t, o.instrument), o.side)
    dearer = (limit - o.limit) * (o.quantity - o.filled)
    if limit <= 0 or dearer == 0:
        return
    if o.side < 0 or not lacks_cash(t, o.book, dearer):
        o.limit = limit
        recount(t, o.pair)


@routine
def _take_depth(t, slot):  # type: ignore[no-untyped-def]
    """Fill an order from the touch down, level by level, up to its limit."""
    o = order_at(t, slot)
    instrument = instrument_at(t, o.instrument)
    pair_index = o.pair
    purpose = o.purpose
    side = o.side
    limit = o.limit
    open_quantity = min(o.quantity - o.filled, _allowance(t, pair_index))
    filled = np.int64(0)
    if open_quantity <= 0:
        return
    for level in range(DEPTH):
        price = instrument.ask[level].price if side > 0 else instrument.bid[level].price
        quantity = instrument.ask[level].quantity if side > 0 else instrument.bid[level].quantity
        if quantity <= 0 or price <= 0 or (price - limit) * side > 0 or _beyond_band(instrument, price):
            break
        quantity = min(quantity, open_quantity)
        if side > 0:
            instrument.ask[level].quantity -= quantity
        else:
            instrument.bid[level].quantity -= quantity
        open_quantity -= quantity
        filled += quantity
        fill(t, slot, quantity, price)
        if open_quantity == 0:
            break
    _took(t, pair_index, purpose, filled)


@kernel
def _took(t, pair_index, purpose, quantity):  # type: ignore[no-untyped-def]
    """Remember what an order took of the minute's volume; an entry's stop and target follow what it paid."""
    pair_at(t, pair_index).minute_taken += quantity
    if quantity > 0 and purpose == _ENTRY:
        arm(t, pair_index)


@kernel
def _beyond_band(instrument, price):  # type: ignore[no-untyped-def]
    """Say whether a price lies outside the circuit band: nothing trades there, whatever a packet quotes."""
    return price < instrument.lower_band or (instrument.upper_band > 0 and price > instrument.upper_band)


@kernel
def _allowance(t, pair_index):  # type: ignore[no-untyped-def]
    """Return how much a pair's orders may still take in this minute.

    It is the file's share of what traded in the minute before, or in this one where that is more.
    """
    pair = pair_at(t, pair_index)
    ppm = book_at(t, pair.book).participation_ppm
    if ppm == 0:
        return _UNBOUNDED
    instrument = instrument_at(t, pair.instrument)
    if pair.minute_ns != instrument.minute_ns:
        pair.minute_ns = instrument.minute_ns
        pair.minute_taken = 0
    return max(instrument.minute_volume, instrument.last_minute_volume) * ppm // _MILLION - pair.minute_taken


@kernel
def _match_limit_on_path(t, slot):  # type: ignore[no-untyped-def]
    """On a path drawn out of a bar, a limit fills at its price once that was traded through; a gap takes the open."""
    o = order_at(t, slot)
    instrument = instrument_at(t, o.instrument)
    if (o.limit - instrument.last_price) * o.side <= 0:
        return
    if instrument.minute_began:
        _take_depth(t, slot)
        return
    quantity = min(o.quantity - o.filled, _allowance(t, o.pair))
    if quantity > 0:
        pair_index = o.pair
        fill(t, slot, quantity, o.limit)
        _took(t, pair_index, _ENTRY, quantity)


@kernel
def _match_target_on_path(t, slot):  # type: ignore[no-untyped-def]
    """On a path drawn out of a bar, a target that the bar reached fills at its limit, at the bar's last step.

    By then a stop of the same bar has had its turn: of a stop and a target in one bar, the worse is taken.
    """
    h = header_of(t)
    o = order_at(t, slot)
    instrument = instrument_at(t, o.instrument)
    if (instrument.last_price - o.limit) * o.side <= 0:
        o.touched = 1
    if o.touched and instrument.exchange_ns % _MINUTE_NS >= h.path_last_ns:
        quantity = min(o.quantity - o.filled, _allowance(t, o.pair))
        if quantity > 0:
            pair_index = o.pair
            fill(t, slot, quantity, o.limit)
            _took(t, pair_index, _TARGET, quantity)


@routine
def watch_exits(t, instrument_index):  # type: ignore[no-untyped-def]
    """Watch stops, place targets and repeat exits for every position in an instrument, on each of its ticks."""
    h = header_of(t)
    price = instrument_at(t, instrument_index).last_price
    index = instrument_at(t, instrument_index).first_pair
    while index >= 0:
        pair = pair_at(t, index)
        if pair.quantity != 0 and (pair.exit_order < 0 or _is_reduction(t, pair.exit_order)):
            if pair.exit_reason != 0:
                request_exit(t, index, pair.exit_reason)
            elif pair.stop_price > 0 and (price - pair.stop_price) * pair.side <= 0:
                request_exit(t, index, max(pair.stop_reason, _BY_STOP))
                if h.session_flags & _BAR_PATH and pair.exit_order >= 0 and order_at(t, pair.exit_order).state == _SENT:
                    _fill_stop_on_path(t, pair.exit_order)
            else:
                if pair.target_price > 0 and pair.target_order < 0 and pair.entry_order < 0 and pair.exit_order < 0:
                    pair.target_order = submit(
                        t, index, -pair.side, _LIMIT, _TARGET, abs(pair.quantity), pair.target_price, _BY_TARGET
                    )
                ratchet(t, index, price)
        index = pair.next_in_instrument


@kernel
def _fill_stop_on_path(t, slot):  # type: ignore[no-untyped-def]
    """On a path drawn out of a bar the stop fills at the step that reached it: an extreme, so the worst of the bar."""
    while slot >= 0:
        following = order_at(t, slot).next_slice
        transition(t, order_at(t, slot), _OPEN, _NO_REASON)
        _take_depth(t, slot)
        slot = following


@routine
def expire_orders(t, session_ended):  # type: ignore[no-untyped-def]
    """End entries that waited too long, and every order at the session's end, oldest first; return the next expiry."""
    h = header_of(t)
    due_ns = np.int64(np.iinfo(np.int64).max)
    slot = h.first_working
    while slot >= 0:
        o = order_at(t, slot)
        following = o.next_working
        if session_ended or 0 < o.expires_ns <= h.time_ns:
            end_order(t, slot, _EXPIRED, _BY_SESSION_END if session_ended else _BY_EXPIRY)
        elif o.expires_ns > 0:
            due_ns = min(due_ns, o.expires_ns)
        slot = following
    return due_ns
