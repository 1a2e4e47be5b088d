"""The last day of a contract: what ends in shares is given up before its close, what ends in cash is settled at it.

Nobody is delivered by oversight: positions in a stock's future or option leave the market while it still trades, and
one that found no buyer is settled in the books as the exchange would settle it, with the costs of a delivery.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.bars import NEVER_NS
from atmand.core.contracts import ends_in_shares, gives_up_ns
from atmand.core.fills import fill_settled
from atmand.core.jit import kernel, routine
from atmand.core.layout import cost_at, header_of, instrument_at, pair_at, ring_at, series_at
from atmand.core.matching import request_exit
from atmand.core.orders import make_order
from atmand.core.words import OrderKind, OrderState, Purpose, Reason
from atmand.market.costs import delivered_costs, exercise_costs, settled_costs

__all__ = ["leave_contracts", "settle_contracts"]

_LIMIT: Final = np.int64(OrderKind.LIMIT)
_SENT: Final = np.int64(OrderState.SENT)
_EXIT: Final = np.int64(Purpose.EXIT)
_EXPIRY: Final = np.int64(Reason.EXPIRY)


@routine
def leave_contracts(t):  # type: ignore[no-untyped-def]
    """Exit what would be delivered today, once it is time; return when that is due next.

    What ended before the session, while nobody watched, is settled as soon as its underlying has a price.
    """
    h = header_of(t)
    due_ns = NEVER_NS
    for index in range(h.instruments_n):
        instrument = instrument_at(t, index)
        if not 0 < instrument.expiry_ns <= h.session_close_ns:
            continue
        if instrument.expiry_ns < h.session_open_ns:
            if h.decisions and h.session_ended == 0:
                _settle_ended(t, instrument)
            continue
        at_ns = gives_up_ns(t, instrument)
        if at_ns == 0:
            continue
        if h.time_ns < at_ns:
            due_ns = min(due_ns, at_ns)
        elif h.decisions and h.session_ended == 0:
            _leave(t, instrument.first_pair)
    return due_ns


@kernel
def _leave(t, index):  # type: ignore[no-untyped-def]
    """Ask for the exit of every book's position in one instrument."""
    while index >= 0:
        pair = pair_at(t, index)
        if pair.quantity != 0 or pair.entry_order >= 0:
            request_exit(t, index, _EXPIRY)
        index = pair.next_in_instrument


@kernel
def _settle_ended(t, instrument):  # type: ignore[no-untyped-def]
    """Settle every book's position in a contract that ended before the session, where its underlying has a price."""
    if instrument.underlying < 0 or instrument_at(t, instrument.underlying).last_price <= 0:
        return
    index = instrument.first_pair
    while index >= 0:
        if pair_at(t, index).quantity != 0:
            _settle(t, index)
        index = pair_at(t, index).next_in_instrument


@routine
def settle_contracts(t):  # type: ignore[no-untyped-def]
    """At the session's end, settle what is still held of contracts that ended in it. Their orders have lapsed."""
    h = header_of(t)
    for index in range(h.pairs_n):
        pair = pair_at(t, index)
        instrument = instrument_at(t, pair.instrument)
        if pair.quantity != 0 and 0 < instrument.expiry_ns <= h.time_ns:
            _settle(t, index)


@kernel
def _settle(t, index):  # type: ignore[no-untyped-def]
    """Close a position at its final settlement price, by an order that the exchange makes for us."""
    pair = pair_at(t, index)
    price = _settlement_price(t, pair)
    quantity = abs(pair.quantity)
    slot = make_order(t, index, -pair.side, _LIMIT, _EXIT, quantity, price, _EXPIRY, _SENT)
    if slot >= 0:
        fill_settled(t, slot, quantity, price, _settlement_costs(t, pair, quantity, price))


@kernel
def _settlement_price(t, pair):  # type: ignore[no-untyped-def]
    """Return what a contract is worth at its end: by the underlying's last price, or its own where that is not known.

    The exchange takes the underlying's closing price, an index's of the last half hour's trades: nseclearing.in, final
    settlement of equity derivatives. The last price stands for it, and of a contract that ended before the session the
    close of the last bar before its end, where one is kept.
    """
    instrument = instrument_at(t, pair.instrument)
    last_price = _price_before(t, instrument.underlying, instrument.expiry_ns)
    if last_price > 0:
        if instrument.right == 0:
            return last_price
        return max((last_price - instrument.strike) * instrument.right, 0)
    if instrument.last_price > 0:
        return instrument.last_price
    return pair.value_paise // pair.quantity


@kernel
def _price_before(t, underlying, end_ns):  # type: ignore[no-untyped-def]
    """Return an underlying's last price before a time, by its bars; its last one of all where none is as old."""
    if underlying < 0:
        return np.int64(0)
    found_ns, price = np.int64(0), instrument_at(t, underlying).last_price
    index = instrument_at(t, underlying).first_series if end_ns < header_of(t).session_open_ns else np.int64(-1)
    while index >= 0:
        series = series_at(t, index)
        for number in range(max(0, series.count - series.ring_size), series.count):
            bar = ring_at(t, series.ring_at + number % series.ring_size)
            if found_ns < bar.start_ns < end_ns:
                found_ns, price = bar.start_ns, bar.close
        index = series.next
    return price


@kernel
def _settlement_costs(t, pair, quantity, price):  # type: ignore[no-untyped-def]
    """Return what a settlement costs: a delivery's taxes on the shares, or those of an exercise on what it is worth."""
    instrument = instrument_at(t, pair.instrument)
    rates = cost_at(t, instrument.cost_group)
    if price == 0:
        return np.int64(0)
    if ends_in_shares(t, instrument):
        at = price if instrument.right == 0 else instrument.strike
        return np.int64(delivered_costs(rates, quantity * at))
    if instrument.right != 0 and pair.quantity > 0:
        return np.int64(exercise_costs(rates, quantity * price))
    return np.int64(settled_costs(rates, quantity * price))
