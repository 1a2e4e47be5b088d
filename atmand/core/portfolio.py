"""What one record's entries may come to together: their order, and the limits of the account that all its books share.

Strategies only propose; `settle` in `core/decide.py` takes the proposals in a fixed order, so that where cash or a
limit is short, the same entries are made in every driver: higher declared rank first, then instrument, then book.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.exposure import in_sector, in_underlying, value_pairs
from atmand.core.jit import kernel, routine
from atmand.core.layout import account_at, book_at, header_of, instrument_at, pair_at, proposal_at
from atmand.core.sorting import sort_rows
from atmand.core.words import Reason

__all__ = ["account_refusal", "portfolio_refusal", "propose", "take_proposals", "withdraw"]

_NONE: Final = np.int64(Reason.NONE)
_POSITIONS: Final = np.int64(Reason.ACCOUNT_POSITIONS)
_UNDERLYING: Final = np.int64(Reason.UNDERLYING_POSITIONS)
_SECTOR: Final = np.int64(Reason.SECTOR_POSITIONS)
_GROSS: Final = np.int64(Reason.GROSS_EXPOSURE)
_NET: Final = np.int64(Reason.NET_EXPOSURE)
_0: Final = np.int64(0)
_BPS: Final = 10_000


@routine
def propose(t, pair_index, rank):  # type: ignore[no-untyped-def]
    """Put a pair's entry among the record's proposals; a missing rank is the lowest."""
    withdraw(t, pair_index)
    h = header_of(t)
    pair = pair_at(t, pair_index)
    row = proposal_at(t, h.proposed)
    row.first = math.inf if math.isnan(rank) else -rank
    row.second = pair.instrument
    row.third = pair.book
    row.row = pair_index
    h.proposed += 1
    pair.proposed = h.proposed


@kernel
def withdraw(t, pair_index):  # type: ignore[no-untyped-def]
    """Take a pair's proposal back: a later bar of the same record says otherwise."""
    pair = pair_at(t, pair_index)
    if pair.proposed == 0:
        return
    h = header_of(t)
    row, last = proposal_at(t, pair.proposed - 1), proposal_at(t, h.proposed - 1)
    row.first, row.second, row.third, row.row = last.first, last.second, last.third, last.row
    pair_at(t, row.row).proposed = pair.proposed
    pair.proposed = 0
    h.proposed -= 1


@routine
def take_proposals(t):  # type: ignore[no-untyped-def]
    """Bring the proposals into their order and close the list; return how many rows of it are to be settled."""
    h = header_of(t)
    n = h.proposed
    sort_rows(t, h.proposals_at, n)
    for place in range(n):
        pair_at(t, proposal_at(t, place).row).proposed = 0
    h.proposed = 0
    return n


@routine
def portfolio_refusal(t, pair_index, side, value):  # type: ignore[no-untyped-def]
    """Return the first limit of the account that an entry worth `value` would break, or Reason.NONE.

    Entries in the market count as positions at their limits; a position counts until it is flat.
    """
    if header_of(t).portfolio == 0:
        return _NONE
    value_pairs(t)
    pair = pair_at(t, pair_index)
    alike, near = in_underlying(t, pair_index) + 1, _0
    if instrument_at(t, pair.instrument).sector > 0:
        near = in_sector(t, pair_index) + 1
    return account_refusal(t, book_at(t, pair.book).account, 1 - pair.exposed, alike, near, value, side * value)


@routine
def account_refusal(t, account_index, more, alike, near, gross, net):  # type: ignore[no-untyped-def]
    """Return the first limit of an account that `more` positions would break, or Reason.NONE.

    `alike` and `near` are the positions that there would be in the fullest of their underlyings and sectors, `gross`
    and `net` what they add to the exposure. What brings the net exposure nearer to zero is never refused for it.
    """
    h = header_of(t)
    account = account_at(t, account_index)
    if h.account_positions > 0 and account.exposed + more > h.account_positions:
        return _POSITIONS
    if h.underlying_positions > 0 and alike > h.underlying_positions:
        return _UNDERLYING
    if h.sector_positions > 0 and near > h.sector_positions:
        return _SECTOR
    equity = account.cash_paise + account.held_paise
    if account.gross_paise + gross > _limit(h.gross_paise, h.gross_of_equity, equity):
        return _GROSS
    after = abs(account.net_paise + net)
    if after > _limit(h.net_paise, h.net_of_equity, equity) and after > abs(account.net_paise):
        return _NET
    return _NONE


@kernel
def _limit(paise, of_equity, equity):  # type: ignore[no-untyped-def]
    """Return the tighter of a limit in paise and one in basis points of the equity; a limit of 0 is none."""
    limit = paise if paise > 0 else np.int64(np.iinfo(np.int64).max)
    if of_equity > 0:
        limit = min(limit, max(equity, np.int64(0)) // _BPS * of_equity)
    return limit
