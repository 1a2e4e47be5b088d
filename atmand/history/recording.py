"""Which instruments are recorded: names, and patterns over the day's dump, such as a whole option chain.

The daemon resolves `[record] universe` here once a session, so that a chain follows its expiries from day to day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate

from atmand.market.instruments import Instrument, InstrumentError, resolve_all

__all__ = ["recorded"]


def recorded(universe: Sequence[str], listed: Sequence[Instrument], *, expiries: int, most: int) -> list[Instrument]:
    """Return the instruments that names and patterns mean: a pattern is a durable key with `*`.

    Of the derivatives that a pattern finds, only those of the `expiries` nearest expiries of each underlying are taken.
    InstrumentError where a pattern finds nothing, or more than `most`.
    """
    names = [name for name in universe if "*" not in name]
    found = resolve_all(names, listed)
    for pattern in universe:
        if "*" in pattern:
            found += _matching(pattern, listed, expiries, most)
    return list({instrument.key: instrument for instrument in found}.values())


def _matching(pattern: str, listed: Iterable[Instrument], expiries: int, most: int) -> list[Instrument]:
    matches = re.compile(translate(pattern)).match
    found = [instrument for instrument in listed if matches(instrument.key)]
    ends: dict[str, set[object]] = {}
    for one in found:
        if one.expiry is not None:
            ends.setdefault(one.underlying, set()).add(one.expiry)
    nearest = {name: sorted(days, key=str)[:expiries] for name, days in ends.items()}
    found = [one for one in found if one.expiry is None or one.expiry in nearest[one.underlying]]
    if not found:
        raise InstrumentError(
            f"record {pattern!r}", "finds no instrument", "write a durable key with *: NSE:OPT:NIFTY:*"
        )
    if len(found) > most:
        raise InstrumentError(
            f"record {pattern!r}", f"finds {len(found)} instruments", f"narrow it, or raise record.most from {most}"
        )
    return found
