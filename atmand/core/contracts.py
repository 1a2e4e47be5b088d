"""Which contract a leg means, and which contracts end in shares.

A leg's expiry rule, then its strike rule, choose over the session's table of instruments: when a group opens or a leg
is entered again, never on the way of a tick.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from atmand.core.bars import IST_NS
from atmand.core.jit import kernel, routine
from atmand.core.layout import header_of, instrument_at
from atmand.core.words import ExpiryRule, StrikeRule
from atmand.market.option_pricing import YEAR_NS, delta, implied_volatility

__all__ = ["RATE", "contract_of", "ends_in_shares", "forward_of", "gives_up_ns", "mid_of"]

_NEXT: Final = np.int64(ExpiryRule.NEXT)
_MONTHLY: Final = np.int64(ExpiryRule.MONTHLY)
_DAYS: Final = np.int64(ExpiryRule.DAYS)
_ATM: Final = np.int64(StrikeRule.ATM)
_DELTA: Final = np.int64(StrikeRule.DELTA)
_PREMIUM: Final = np.int64(StrikeRule.PREMIUM)
_DAY_NS: Final = 86_400_000_000_000
RATE: Final = 0.065
"""Interest a year that carries the underlying to its forward where no future of the expiry is quoted."""
_FAR: Final = math.inf
_GIVE_UP_NS: Final = 1_800_000_000_000
"""Half an hour before its end a contract that ends in shares is left, while its book still has two sides."""


@kernel
def ends_in_shares(t, instrument):  # type: ignore[no-untyped-def]
    """Say whether a contract is on a share: an index cannot be traded, so that its contracts end in cash."""
    return instrument.underlying >= 0 and instrument_at(t, instrument.underlying).tradable != 0


@kernel
def gives_up_ns(t, instrument):  # type: ignore[no-untyped-def]
    """Return when a contract is given up and not entered any more, lest it be delivered; 0 for what ends in cash."""
    if instrument.expiry_ns == 0 or not ends_in_shares(t, instrument):
        return np.int64(0)
    return instrument.expiry_ns - _GIVE_UP_NS


@routine
def contract_of(t, underlying, leg):  # type: ignore[no-untyped-def]
    """Return the instrument that a leg's rules choose now, or -1 where none is listed (or quoted, where it matters)."""
    expiry_ns = _expiry_of(t, underlying, leg)
    if expiry_ns == 0:
        return np.int64(-1)
    if leg.strike_rule == _ATM or leg.right == 0:
        index = _nearest(t, underlying, leg, expiry_ns, instrument_at(t, underlying).last_price * 1.0)
        steps = np.int64(leg.strike_value) if leg.right != 0 else np.int64(0)
        while steps != 0 and index >= 0:
            index = _neighbour(t, index, 1 if steps > 0 else -1)
            steps -= 1 if steps > 0 else -1
        return index
    if leg.strike_rule == _PREMIUM or leg.strike_rule == _DELTA:
        return _nearest_quoted(t, underlying, leg, expiry_ns)
    wanted = instrument_at(t, underlying).last_price * (1.0 + leg.right * leg.strike_value / 100.0)
    return _nearest(t, underlying, leg, expiry_ns, wanted)


@kernel
def mid_of(instrument):  # type: ignore[no-untyped-def]
    """Return the middle of the touch; the last price where a side is missing."""
    if instrument.bid[0].price > 0 and instrument.ask[0].price > 0:
        return (instrument.bid[0].price + instrument.ask[0].price) // 2
    return instrument.last_price


@kernel
def _fits(t, index, underlying, right):  # type: ignore[no-untyped-def]
    """Say whether an instrument is a living contract of the underlying with this right."""
    row = instrument_at(t, index)
    return row.underlying == underlying and row.right == right and row.tradable and row.expiry_ns > header_of(t).time_ns


@kernel
def _expiry_of(t, underlying, leg):  # type: ignore[no-untyped-def]
    """Return the expiry that a leg's rule chooses among those that are listed, 0 for none."""
    first, second = np.int64(0), np.int64(0)
    today = (header_of(t).time_ns + IST_NS) // _DAY_NS
    for index in range(header_of(t).instruments_n):
        if not _fits(t, index, underlying, leg.right):
            continue
        expiry_ns = instrument_at(t, index).expiry_ns
        if leg.expiry_rule == _DAYS and (expiry_ns + IST_NS) // _DAY_NS - today < leg.expiry_days:
            continue
        if leg.expiry_rule == _MONTHLY and not _ends_month(t, underlying, leg.right, expiry_ns):
            continue
        if first == 0 or expiry_ns < first:
            second = first
            first = expiry_ns
        elif expiry_ns > first and (second == 0 or expiry_ns < second):
            second = expiry_ns
    return second if leg.expiry_rule == _NEXT else first


@kernel
def _ends_month(t, underlying, right, expiry_ns):  # type: ignore[no-untyped-def]
    """Say whether no later contract of the same month is listed."""
    month = _month_of(expiry_ns)
    for index in range(header_of(t).instruments_n):
        if _fits(t, index, underlying, right):
            other_ns = instrument_at(t, index).expiry_ns
            if other_ns > expiry_ns and _month_of(other_ns) == month:
                return False
    return True


@kernel
def _month_of(time_ns):  # type: ignore[no-untyped-def]
    """Number a time's month in India. Source: H. Hinnant, chrono-compatible low-level date algorithms."""
    days = (time_ns + IST_NS) // _DAY_NS + 719_468
    era = days // 146_097
    day = days - era * 146_097
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    rest = day - (365 * year + year // 4 - year // 100)
    return (era * 400 + year) * 12 + (5 * rest + 2) // 153


@kernel
def _nearest(t, underlying, leg, expiry_ns, price):  # type: ignore[no-untyped-def]
    """Return the contract whose strike is nearest to a price, of two the lower."""
    best, distance = np.int64(-1), _FAR
    for index in range(header_of(t).instruments_n):
        if not _fits(t, index, underlying, leg.right) or instrument_at(t, index).expiry_ns != expiry_ns:
            continue
        away = abs(instrument_at(t, index).strike - price)
        if away < distance or (away == distance and _is_lower(t, index, best)):
            best, distance = np.int64(index), away
    return best


@kernel
def _is_lower(t, index, best):  # type: ignore[no-untyped-def]
    return best < 0 or instrument_at(t, index).strike < instrument_at(t, best).strike


@kernel
def _neighbour(t, of, side):  # type: ignore[no-untyped-def]
    """Return the contract with the next strike above (+1) or below (-1), -1 at the end of the list."""
    here = instrument_at(t, of)
    best = np.int64(-1)
    for index in range(header_of(t).instruments_n):
        if not _fits(t, index, here.underlying, here.right) or instrument_at(t, index).expiry_ns != here.expiry_ns:
            continue
        ahead = (instrument_at(t, index).strike - here.strike) * side
        if ahead > 0 and (best < 0 or ahead < (instrument_at(t, best).strike - here.strike) * side):
            best = np.int64(index)
    return best


@kernel
def _nearest_quoted(t, underlying, leg, expiry_ns):  # type: ignore[no-untyped-def]
    """Return the contract whose mid or delta is nearest to what a leg wants, among those with two sides."""
    best, distance = np.int64(-1), _FAR
    forward = forward_of(t, underlying, expiry_ns)
    for index in range(header_of(t).instruments_n):
        if not _fits(t, index, underlying, leg.right) or instrument_at(t, index).expiry_ns != expiry_ns:
            continue
        row = instrument_at(t, index)
        if row.bid[0].price <= 0 or row.ask[0].price <= 0:
            continue
        if header_of(t).time_ns - row.tick_ns > header_of(t).stale_ns:
            continue  # it has left the strikes that are subscribed: that quote is gone
        premium = 0.5 * (row.bid[0].price + row.ask[0].price) / row.price_scale
        value = premium if leg.strike_rule == _PREMIUM else _delta_of(t, row, premium, forward)
        away = abs(value - leg.strike_value)
        if away < distance or (away == distance and _is_lower(t, index, best)):
            best, distance = np.int64(index), away
    return best


@kernel
def _delta_of(t, row, premium, forward):  # type: ignore[no-untyped-def]
    """Return the size of an option's delta at the volatility that its mid implies; NaN where there is none."""
    years = (row.expiry_ns - header_of(t).time_ns) / YEAR_NS
    strike = row.strike / row.price_scale
    sigma = implied_volatility(premium, forward, strike, years, RATE, row.right)
    return abs(delta(forward, strike, years, RATE, sigma, row.right))


@kernel
def forward_of(t, underlying, expiry_ns):  # type: ignore[no-untyped-def]
    """Return the underlying's forward: the mid of the future of that expiry, else the spot with interest."""
    for index in range(header_of(t).instruments_n):
        row = instrument_at(t, index)
        if _fits(t, index, underlying, 0) and row.expiry_ns == expiry_ns and row.quoted:
            return mid_of(row) / row.price_scale
    spot = instrument_at(t, underlying)
    years = (expiry_ns - header_of(t).time_ns) / YEAR_NS
    return spot.last_price / spot.price_scale * math.exp(RATE * years)
