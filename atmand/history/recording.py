"""Which instruments are recorded: names and selectors, and patterns over the day's listing, such as a whole chain.

The daemon resolves `[record] universe` here once a session, so that a chain follows its expiries from day to day.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

import numpy as np

from atmand.market.instruments import Instrument, InstrumentError
from atmand.market.universe import Listing, choose

__all__ = ["recorded"]


def recorded(universe: Sequence[str], listing: Listing, *, expiries: int, most: int) -> list[Instrument]:
    """Return the instruments that names, selectors and patterns mean: a pattern is a durable key with `*`.

    Of the derivatives that a pattern finds, only those of the `expiries` nearest expiries of each underlying are taken.
    InstrumentError where a pattern finds nothing, or more than `most`.
    """
    found: list[Instrument] = []
    for name in universe:
        found += _matching(name, listing, expiries, most) if "*" in name else choose(name, listing)
    return list({instrument.key: instrument for instrument in found}.values())


def _matching(pattern: str, listing: Listing, expiries: int, most: int) -> list[Instrument]:
    rows = listing.catalogue.rows
    matches = re.compile(translate(pattern).encode()).match
    found = np.array([row for row, key in enumerate(rows["key"].tolist()) if matches(key)], np.intp)
    alive = (rows["expiry"][found] == 0) | (rows["expiry"][found] >= listing.day.toordinal())
    found = found[alive]
    kept = np.ones(len(found), bool)
    for underlying in np.unique(rows["underlying"][found]):
        if underlying:
            of = rows["underlying"][found] == underlying
            nearest = np.unique(rows["expiry"][found[of]])[:expiries]
            kept[of] = np.isin(rows["expiry"][found[of]], nearest)
    found = found[kept]
    if not len(found):
        raise InstrumentError(
            f"record {pattern!r}", "finds no instrument", "write a durable key with *: NSE:OPT:NIFTY:*"
        )
    if len(found) > most:
        raise InstrumentError(
            f"record {pattern!r}", f"finds {len(found)} instruments", f"narrow it, or raise record.most from {most}"
        )
    return listing.catalogue.instruments(found)
