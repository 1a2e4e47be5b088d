"""What a book's futures and options block of its money, and whether an entry can be paid for.

Shares are paid in full. A bought option costs its premium; for futures and sold options the margin of the whole
portfolio is blocked, underlying by underlying and expiry by expiry, so that legs which hedge each other need less. It
is reckoned when an entry asks, with what the book holds, has in the market and is about to do.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.bars import IST_NS
from atmand.core.contracts import RATE, ends_in_shares, forward_of, mid_of
from atmand.core.exposure import committed, is_planned
from atmand.core.jit import kernel, routine
from atmand.core.layout import book_at, header_of, instrument_at, leg_at, margin_at, order_at, pair_at, scan_at
from atmand.core.slicing import open_units
from atmand.market.margins import ON_INDEX, ON_SHARE, add_scan, clear_scan, worst_loss
from atmand.market.option_pricing import YEAR_NS, implied_volatility

__all__ = ["lacks_cash", "lacks_money", "margin_of", "price_of_entry"]

_DAY_NS: Final = 86_400_000_000_000
_PAISE: Final = 100.0


@kernel
def price_of_entry(t, instrument, side, units, limit):  # type: ignore[no-untyped-def]
    """Return what an entry takes out of the cash, or brings, beside its margin, in paise."""
    if instrument.expiry_ns == 0:
        return units * limit
    return side * units * limit if instrument.right != 0 else np.int64(0)


@routine
def lacks_money(t, pair_index, side, units, limit):  # type: ignore[no-untyped-def]
    """Say whether a book cannot pay for an entry with what is not spoken for."""
    pair = pair_at(t, pair_index)
    instrument = instrument_at(t, pair.instrument)
    price = price_of_entry(t, instrument, side, units, limit)
    if instrument.expiry_ns == 0:
        return book_at(t, pair.book).cash_paise - committed(t, pair.book) < price
    pair.wanted = side * units
    lacks = lacks_cash(t, pair.book, price)
    pair.wanted = 0
    return lacks


@routine
def lacks_cash(t, book_index, paise):  # type: ignore[no-untyped-def]
    """Say whether so much is more than a book's cash that is neither spoken for nor blocked as margin."""
    free = book_at(t, book_index).cash_paise - committed(t, book_index)
    return free - paise < margin_of(t, book_index)


@routine
def margin_of(t, book_index):  # type: ignore[no-untyped-def]
    """Return the margin of a book's contracts in paise: held, in the market, planned, and wanted (`pair.wanted`)."""
    blocked = np.int64(0)
    index = book_at(t, book_index).first_pair
    while index >= 0:
        if _at_stake(t, index) != 0 and _is_first(t, book_index, index):
            blocked += _margin_beside(t, index)
        index = pair_at(t, index).next_in_book
    return blocked


@kernel
def _at_stake(t, pair_index):  # type: ignore[no-untyped-def]
    """Return the units of a contract that a pair will hold if all that it has begun comes to pass; 0 for a share."""
    pair = pair_at(t, pair_index)
    if instrument_at(t, pair.instrument).expiry_ns == 0:
        return np.int64(0)
    units = pair.quantity + pair.wanted
    if pair.entry_order >= 0:
        units += order_at(t, pair.entry_order).side * open_units(t, pair.entry_order)
    if is_planned(t, pair):
        units -= leg_at(t, pair.leg).units
    return units


@kernel
def _is_alike(t, index, other):  # type: ignore[no-untyped-def]
    """Say whether two pairs' contracts are on one underlying and end together."""
    one, two = instrument_at(t, pair_at(t, index).instrument), instrument_at(t, pair_at(t, other).instrument)
    return one.underlying == two.underlying and one.expiry_ns == two.expiry_ns


@kernel
def _is_first(t, book_index, index):  # type: ignore[no-untyped-def]
    """Say whether a pair is the first of its book with something at stake on its underlying and expiry."""
    other = book_at(t, book_index).first_pair
    while other != index:
        if _is_alike(t, index, other) and _at_stake(t, other) != 0:
            return False
        other = pair_at(t, other).next_in_book
    return True


@kernel
def _margin_beside(t, first):  # type: ignore[no-untyped-def]
    """Return the margin of a pair and those behind it on the same underlying and expiry, in paise.

    It is the worst of the scenarios, less what the options are worth, but at least nothing; and the exposure on top.
    """
    head = instrument_at(t, pair_at(t, first).instrument)
    on_shares = ends_in_shares(t, head)
    rules = margin_at(t, ON_SHARE if on_shares else ON_INDEX)
    years = (head.expiry_ns - header_of(t).time_ns) / YEAR_NS
    last_day = (head.expiry_ns + IST_NS) // _DAY_NS == (header_of(t).time_ns + IST_NS) // _DAY_NS
    sold_rate = rules.exposure + (rules.last_day if last_day else 0.0)
    forward = (
        forward_of(t, head.underlying, head.expiry_ns) if head.underlying >= 0 else mid_of(head) / head.price_scale
    )
    scan = scan_at(t)
    clear_scan(scan)
    worth, exposure = 0.0, 0.0
    index = first
    while index >= 0:
        units = _at_stake(t, index)
        if units != 0 and _is_alike(t, first, index):
            instrument = instrument_at(t, pair_at(t, index).instrument)
            price, strike = mid_of(instrument) / instrument.price_scale, instrument.strike / instrument.price_scale
            sigma = 0.0
            if instrument.right == 0:
                exposure += abs(units) * forward * rules.exposure
            else:
                worth += units * price
                exposure += max(-units, 0) * forward * sold_rate
                sigma = implied_volatility(price, forward, strike, years, RATE, instrument.right)
            add_scan(scan, rules, units, forward, strike, years, RATE, sigma, instrument.right)
        index = pair_at(t, index).next_in_book
    return np.int64((max(worst_loss(scan) - worth, 0.0) + exposure) * _PAISE)
