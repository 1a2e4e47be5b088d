"""What books and accounts have at stake at this moment: sums over their pairs, reckoned at most once a record.

The first question of a record adds all pairs up; what the record does from then on moves the sums (`recount`), and a
price that moves forgets them (`valued`). So a question costs the same however many pairs there are, and nothing can
drift from one record to the next. All of it is whole paise and units: the sums are what a scan would give, exactly.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.jit import kernel, routine
from atmand.core.layout import account_at, book_at, crowd_at, header_of, instrument_at, leg_at, order_at, pair_at
from atmand.core.slicing import open_value
from atmand.core.words import LegState

__all__ = [
    "committed",
    "entering",
    "equity_of",
    "in_sector",
    "in_underlying",
    "is_planned",
    "recount",
    "underlying_of",
    "value_pairs",
]

_PLANNED: Final = np.int64(LegState.PLANNED)
_1: Final = np.int64(1)
_0: Final = np.int64(0)


@kernel
def equity_of(t, book_index):  # type: ignore[no-untyped-def]
    """Value the book now: its last mark is as old as the last closed bar."""
    value_pairs(t)
    return book_at(t, book_index).cash_paise + book_at(t, book_index).held_paise


@kernel
def entering(t, book_index):  # type: ignore[no-untyped-def]
    """Count the book's pairs that are flat with an entry in the market: each may become a position."""
    value_pairs(t)
    return book_at(t, book_index).entering


@kernel
def committed(t, book_index):  # type: ignore[no-untyped-def]
    """Cash that is spoken for beside margins: unfilled entries at their limits, and shares sold short.

    A short's proceeds are cash, but stay as its margin, and as much again is held against it. A future moves no money
    but its profit, which the cash has not seen before it is left: here its value stands against what the book paid.
    """
    value_pairs(t)
    return book_at(t, book_index).committed_paise


@kernel
def in_underlying(t, pair_index):  # type: ignore[no-untyped-def]
    """Count the other positions and entries of a pair's account that hang on the same underlying."""
    pair = pair_at(t, pair_index)
    account = book_at(t, pair.book).account
    return crowd_at(t, account, underlying_of(t, pair.instrument)).pairs - pair.exposed


@kernel
def in_sector(t, pair_index):  # type: ignore[no-untyped-def]
    """Count the other positions and entries of a pair's account in its sector; sector 0 is none."""
    pair = pair_at(t, pair_index)
    account = book_at(t, pair.book).account
    sector = instrument_at(t, pair.instrument).sector
    return crowd_at(t, account, header_of(t).instruments_n + sector).pairs - pair.exposed


@kernel
def underlying_of(t, instrument_index):  # type: ignore[no-untyped-def]
    """Return what an instrument's price hangs on: a share is its own underlying."""
    underlying = instrument_at(t, instrument_index).underlying
    return underlying if underlying >= 0 else instrument_index


@kernel
def value_pairs(t):  # type: ignore[no-untyped-def]
    """Have the sums at hand."""
    if header_of(t).valued == 0:
        _add_up(t)


@kernel
def recount(t, pair_index):  # type: ignore[no-untyped-def]
    """Move the sums by what has become of a pair, where somebody has asked for them."""
    if header_of(t).valued:
        _count(t, pair_index)


@routine
def _add_up(t):  # type: ignore[no-untyped-def]
    """Reckon the sums over all pairs."""
    h = header_of(t)
    h.valued = 1
    for index in range(h.books_n):
        book = book_at(t, index)
        book.held_paise = book.committed_paise = book.entering = 0
    for index in range(h.accounts_n):
        account = account_at(t, index)
        account.held_paise = account.gross_paise = account.net_paise = account.exposed = 0
        for place in range(h.crowds_each):
            crowd_at(t, index, place).pairs = 0
    for index in range(h.pairs_n):
        pair = pair_at(t, index)
        if pair.exposed:
            pair.exposed = pair.entering = pair.held_paise = pair.exposure_paise = pair.committed_paise = 0
        if pair.quantity != 0 or pair.entry_order >= 0 or is_planned(t, pair):
            _count(t, index)


@kernel
def is_planned(t, pair):  # type: ignore[no-untyped-def]
    """Say whether a pair's contract is a leg that is to be sold as soon as the bought ones of its group are in."""
    return pair.group != 0 and pair.leg >= 0 and leg_at(t, pair.leg).state == _PLANNED


@routine
def _count(t, pair_index):  # type: ignore[no-untyped-def]
    """Put what a pair has at stake now in the place of what it had, in every sum."""
    pair = pair_at(t, pair_index)
    book = book_at(t, pair.book)
    account = account_at(t, book.account)
    instrument = instrument_at(t, pair.instrument)
    held = pair.quantity * instrument.last_price
    exposure, spoken_for = held, _0
    is_share, is_future = instrument.expiry_ns == 0, instrument.expiry_ns != 0 and instrument.right == 0
    if is_share and pair.quantity < 0:
        spoken_for -= 2 * pair.value_paise
    elif is_future:
        spoken_for -= held
    if pair.entry_order >= 0:
        side, rest = order_at(t, pair.entry_order).side, open_value(t, pair.entry_order)
        exposure += side * rest
        if not is_future:
            spoken_for += rest if is_share else side * rest
    planned = is_planned(t, pair)
    if planned:
        rest = leg_at(t, pair.leg).units * instrument.last_price
        exposure -= rest
        if not is_future:
            spoken_for -= rest
    exposed = _1 if pair.quantity != 0 or pair.entry_order >= 0 or planned else _0
    entry = _1 if pair.quantity == 0 and exposed else _0
    book.held_paise += held - pair.held_paise
    book.committed_paise += spoken_for - pair.committed_paise
    book.entering += entry - pair.entering
    account.held_paise += held - pair.held_paise
    account.gross_paise += abs(exposure) - abs(pair.exposure_paise)
    account.net_paise += exposure - pair.exposure_paise
    if exposed != pair.exposed:
        more = exposed - pair.exposed
        account.exposed += more
        crowd_at(t, book.account, underlying_of(t, pair.instrument)).pairs += more
        crowd_at(t, book.account, header_of(t).instruments_n + instrument.sector).pairs += more
    pair.held_paise, pair.exposure_paise, pair.committed_paise = held, exposure, spoken_for
    pair.exposed, pair.entering = exposed, entry
