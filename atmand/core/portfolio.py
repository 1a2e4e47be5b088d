"""What one record's entries may come to together: their order, and the limits of the account that all its books share.

Strategies only propose; `settle` in `core/decide.py` takes the proposals in a fixed order, so that where cash or a
limit is short, the same entries are made in every driver: higher declared rank first, then instrument, then book.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.jit import kernel, routine
from atmand.core.layout import account_at, book_at, header_of, instrument_at, order_at, pair_at
from atmand.core.words import Reason

__all__ = ["portfolio_refusal", "propose", "take_proposal", "withdraw"]

_NONE: Final = np.int64(Reason.NONE)
_POSITIONS: Final = np.int64(Reason.ACCOUNT_POSITIONS)
_UNDERLYING: Final = np.int64(Reason.UNDERLYING_POSITIONS)
_SECTOR: Final = np.int64(Reason.SECTOR_POSITIONS)
_GROSS: Final = np.int64(Reason.GROSS_EXPOSURE)
_NET: Final = np.int64(Reason.NET_EXPOSURE)
_0: Final = np.int64(0)
_1: Final = np.int64(1)
_BPS: Final = 10_000


@kernel
def _comes_before(left, right):  # type: ignore[no-untyped-def]
    """Say whether one proposal is settled before another."""
    if left.rank != right.rank:
        return left.rank > right.rank
    if left.instrument != right.instrument:
        return left.instrument < right.instrument
    return left.book < right.book


@routine
def propose(t, pair_index, rank):  # type: ignore[no-untyped-def]
    """Put a pair's entry into the record's list of proposals, at its place; a missing rank is the lowest."""
    h = header_of(t)
    withdraw(t, pair_index)
    pair = pair_at(t, pair_index)
    pair.rank = -math.inf if math.isnan(rank) else rank
    pair.proposed = 1
    pair.next_proposal = 0
    if h.first_proposal == 0:
        h.first_proposal = h.last_proposal = pair_index + 1
        return
    if not _comes_before(pair, pair_at(t, h.last_proposal - 1)):
        pair_at(t, h.last_proposal - 1).next_proposal = pair_index + 1
        h.last_proposal = pair_index + 1
        return
    before, place = np.int64(0), h.first_proposal
    while not _comes_before(pair, pair_at(t, place - 1)):
        before, place = place, pair_at(t, place - 1).next_proposal
    pair.next_proposal = place
    if before == 0:
        h.first_proposal = pair_index + 1
    else:
        pair_at(t, before - 1).next_proposal = pair_index + 1


@routine
def withdraw(t, pair_index):  # type: ignore[no-untyped-def]
    """Take a pair's proposal back: a later bar of the same record says otherwise."""
    if pair_at(t, pair_index).proposed == 0:
        return
    h = header_of(t)
    pair_at(t, pair_index).proposed = 0
    before, place = np.int64(0), h.first_proposal
    while place != pair_index + 1:
        before, place = place, pair_at(t, place - 1).next_proposal
    after = pair_at(t, pair_index).next_proposal
    if before == 0:
        h.first_proposal = after
    else:
        pair_at(t, before - 1).next_proposal = after
    if h.last_proposal == pair_index + 1:
        h.last_proposal = before


@kernel
def take_proposal(t):  # type: ignore[no-untyped-def]
    """Take the first proposal off the list; return its pair, or -1."""
    h = header_of(t)
    if h.first_proposal == 0:
        return np.int64(-1)
    index = h.first_proposal - 1
    pair = pair_at(t, index)
    pair.proposed = 0
    h.first_proposal = pair.next_proposal
    if h.first_proposal == 0:
        h.last_proposal = 0
    return index


@kernel
def _limit(paise, of_equity, equity):  # type: ignore[no-untyped-def]
    """Return the tighter of a limit in paise and one in basis points of the equity; a limit of 0 is none."""
    limit = paise if paise > 0 else np.int64(np.iinfo(np.int64).max)
    if of_equity > 0:
        limit = min(limit, max(equity, np.int64(0)) // _BPS * of_equity)
    return limit


@routine
def portfolio_refusal(t, pair_index, side, value):  # type: ignore[no-untyped-def]
    """Return the first limit of the account that an entry worth `value` would break, or Reason.NONE.

    Entries in the market count as positions at their limits; a position counts until it is flat. An entry that
    brings the net exposure nearer to zero is never refused for it.
    """
    h = header_of(t)
    if h.portfolio == 0:
        return _NONE
    mine = pair_at(t, pair_index)
    account = book_at(t, mine.book).account
    sector = instrument_at(t, mine.instrument).sector
    positions, alike, in_sector = np.int64(1), np.int64(1), np.int64(1)
    gross, net = value, side * value
    equity = account_at(t, account).cash_paise
    for index in range(h.pairs_n):
        pair = pair_at(t, index)
        if (pair.quantity == 0 and pair.entry_order < 0) or book_at(t, pair.book).account != account:
            continue
        instrument = instrument_at(t, pair.instrument)
        exposure = pair.quantity * instrument.last_price
        equity += exposure
        if pair.entry_order >= 0:
            o = order_at(t, pair.entry_order)
            exposure += o.side * (o.quantity - o.filled) * o.limit
        gross += abs(exposure)
        net += exposure
        if index != pair_index:
            positions += 1
            alike += _1 if _underlying(t, pair.instrument) == _underlying(t, mine.instrument) else _0
            in_sector += _1 if sector > 0 and instrument.sector == sector else _0
    if h.account_positions > 0 and positions > h.account_positions:
        return _POSITIONS
    if h.underlying_positions > 0 and alike > h.underlying_positions:
        return _UNDERLYING
    if h.sector_positions > 0 and sector > 0 and in_sector > h.sector_positions:
        return _SECTOR
    if gross > _limit(h.gross_paise, h.gross_of_equity, equity):
        return _GROSS
    if abs(net) > _limit(h.net_paise, h.net_of_equity, equity) and abs(net) > abs(net - side * value):
        return _NET
    return _NONE


@kernel
def _underlying(t, instrument_index):  # type: ignore[no-untyped-def]
    """Return what an instrument's price hangs on: a share is its own underlying."""
    return instrument_index
