"""An order's life: the one transition function, and the table of orders with the lists that run through it.

Both venues pass through here: the matcher of the INTERNAL venue calls these functions while it applies a market
record, an EXTERNAL venue's updates will call the same ones. What a fill does is in `core/fills.py`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from atmand.core.audit import emit, tag
from atmand.core.exposure import recount
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, header_of, instrument_at, meeting_at, order_at, pair_at, queue_at
from atmand.core.records import Kind
from atmand.core.slicing import without_slice
from atmand.core.words import OrderState, Purpose, Reason

__all__ = ["ALLOWED", "cancel", "end_order", "entry_wait_ns", "make_order", "next_expiry", "note_touch", "transition"]

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
_ENTRY: Final = np.int64(Purpose.ENTRY)
_EXIT: Final = np.int64(Purpose.EXIT)
_AUDIT_ORDER: Final = np.int64(Kind.AUDIT_ORDER)
_AUDIT_INTENT: Final = np.int64(Kind.AUDIT_INTENT)

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


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
def transition(t, order, state, reason):  # type: ignore[no-untyped-def]
    """Move an order to `state` and audit it; an arrow that does not exist is counted and changes nothing."""
    if ALLOWED[order.state, state] == 0:
        header_of(t).illegal_transitions += 1
        return False
    order.state = state
    instrument_at(t, order.instrument).calm = 0
    if reason != 0:
        order.reason = reason
    emit(
        t, _AUDIT_ORDER, order.book, order.instrument, order.id, order.trade, order.side,
        order.filled, order.limit, order.value, order.costs, state, order.reason,
    )  # fmt: skip
    tag(t, order.group)
    return True


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
    o.expires_ns = h.time_ns + entry_wait_ns(h, book) if purpose == _ENTRY else 0
    o.cause = h.sequence
    o.touched = 0
    o.netted = 0
    o.next_slice = -1
    _link(t, o, slot)
    _note_order(h, queue_at(t, o.instrument))
    note_touch(t, o.instrument)
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


@kernel
def entry_wait_ns(h, book):  # type: ignore[no-untyped-def]
    """Return how long an entry of a book may wait: as its file says, else as the session does."""
    return book.entry_wait_ns if book.entry_wait_ns > 0 else h.entry_wait_ns


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
def _link(t, o, slot):  # type: ignore[no-untyped-def]
    """Put an order behind the others in both lists: older orders meet the market, and expire, first."""
    h = header_of(t)
    queue = queue_at(t, o.instrument)
    o.next = o.next_working = -1
    o.previous, o.previous_working = queue.last_order, h.last_working
    if o.previous >= 0:
        order_at(t, o.previous).next = slot
    else:
        instrument_at(t, o.instrument).first_order = slot
    if o.previous_working >= 0:
        order_at(t, o.previous_working).next_working = slot
    else:
        h.first_working = slot
    queue.last_order = h.last_working = slot
    queue.buys += 1 if o.side > 0 else 0
    queue.sells += 1 if o.side < 0 else 0


@kernel
def _note_order(h, queue):  # type: ignore[no-untyped-def]
    """Count the orders that this record made in an instrument."""
    if queue.fresh_cause != h.sequence:
        queue.fresh_cause = h.sequence
        queue.fresh = 0
    queue.fresh += 1


@kernel
def note_touch(t, instrument_index):  # type: ignore[no-untyped-def]
    """Note an instrument whose orders of this record may meet: one was made, or its touch moved."""
    h = header_of(t)
    queue = queue_at(t, instrument_index)
    if queue.fresh_cause != h.sequence or queue.fresh < 2 or queue.stirred_cause == h.sequence:
        return
    if h.netting:
        queue.stirred_cause = h.sequence
        row = meeting_at(t, h.stirred)
        row.first = 0.0
        row.second = instrument_index
        row.third = 0
        row.row = instrument_index
        h.stirred += 1


@kernel
def _unlink(t, o):  # type: ignore[no-untyped-def]
    """Take an order out of both lists."""
    h = header_of(t)
    queue = queue_at(t, o.instrument)
    if o.previous >= 0:
        order_at(t, o.previous).next = o.next
    else:
        instrument_at(t, o.instrument).first_order = o.next
    if o.next >= 0:
        order_at(t, o.next).previous = o.previous
    else:
        queue.last_order = o.previous
    if o.previous_working >= 0:
        order_at(t, o.previous_working).next_working = o.next_working
    else:
        h.first_working = o.next_working
    if o.next_working >= 0:
        order_at(t, o.next_working).previous_working = o.previous_working
    else:
        h.last_working = o.previous_working
    o.next = -1
    queue.buys -= 1 if o.side > 0 else 0
    queue.sells -= 1 if o.side < 0 else 0


@routine
def end_order(t, slot, state, reason):  # type: ignore[no-untyped-def]
    """Bring an order to a final state, take it out of its lists and free its row."""
    o = order_at(t, slot)
    if o.state != _FILLED and not transition(t, o, state, reason):
        return
    _unlink(t, o)
    book_at(t, o.book).working -= 1
    pair = pair_at(t, o.pair)
    if o.purpose == _ENTRY:
        pair.entry_order = without_slice(t, pair.entry_order, slot)
        recount(t, o.pair)
    elif o.purpose == _EXIT:
        pair.exit_order = without_slice(t, pair.exit_order, slot)
    else:
        pair.target_order = without_slice(t, pair.target_order, slot)
    o.state = _FREE


@kernel
def cancel(t, slot, reason):  # type: ignore[no-untyped-def]
    """Cancel a working order of the INTERNAL venue at once, with its further slices; -1 is no order."""
    while slot >= 0:
        following = order_at(t, slot).next_slice
        end_order(t, slot, _CANCELLED, reason)
        slot = following


@routine
def next_expiry(t):  # type: ignore[no-untyped-def]
    """Return when the first of the working orders expires."""
    due_ns = np.int64(np.iinfo(np.int64).max)
    slot = header_of(t).first_working
    while slot >= 0:
        o = order_at(t, slot)
        if o.expires_ns > 0:
            due_ns = min(due_ns, o.expires_ns)
        slot = o.next_working
    return due_ns
