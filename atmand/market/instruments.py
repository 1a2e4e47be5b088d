"""What can be named and traded: durable keys, names as people write them, tick sizes.

The daemon resolves its universe here once a session; ledger, parameters and snapshots store the durable key
`EXCHANGE:SEGMENT:SYMBOL[:EXPIRY[:STRIKE:RIGHT]]`, because tokens and symbols change and the key does not.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from atmand.errors import AtmandError
from atmand.market.sessions import FUTURES, OPTIONS, WITH_DERIVATIVES, WITHOUT_DERIVATIVES, regular_windows
from atmand.market.tables import load_table

__all__ = [
    "TRADED_SCALE",
    "Instrument",
    "InstrumentError",
    "expiry_ns",
    "nearest_names",
    "price_scale_of",
    "resolve",
    "resolve_all",
    "scaled",
    "session_group",
    "tick_size",
]

TRADED_SCALE: Final = 100
"""Only instruments priced in paise are traded; currency and some commodity segments are quoted finer."""

_SCALES: Final = {3: 10_000_000, 6: 10_000, 12: 10_000}
_SESSION_GROUPS: Final = {"FUT": FUTURES, "OPT": OPTIONS}


class InstrumentError(AtmandError):
    """An instrument is not known, ambiguous, or malformed in the dump."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument of one session.

    Prices (`tick`, `lower_band`, `upper_band`) are integers in `price_scale` units a rupee. `symbol` is what the broker
    calls it, `name` the company or, for a derivative, its underlying. `freeze` is the most units an order may have.
    `freeze`, the bands, `isin` and `sector` are 0 or empty where the source does not tell. A derivative has an `expiry`
    and the durable key of its `underlying`; an option also a `strike` in price units and a `right`, +1 call, -1 put.
    """

    key: str
    isin: str
    token: int
    exchange: str
    segment: str
    symbol: str
    name: str
    price_scale: int
    tick: int
    lot: int
    freeze: int
    lower_band: int
    upper_band: int
    tradable: bool
    sector: str
    underlying: str = ""
    expiry: date | None = None
    strike: int = 0
    right: int = 0


def resolve(name: str, instruments: Iterable[Instrument]) -> Instrument:
    """Return the instrument that `name` means: a durable key, or `EXCHANGE:SYMBOL` where only one fits.

    InstrumentError names the nearest known instrument, or the candidates of an ambiguous name.
    """
    return resolve_all([name], instruments)[0]


def resolve_all(names: Sequence[str], instruments: Iterable[Instrument]) -> list[Instrument]:
    """Return the instrument of each name, as `resolve` does, over one index of a whole dump."""
    known: dict[str, list[Instrument]] = defaultdict(list)
    for instrument in instruments:
        known[instrument.key].append(instrument)
        known[f"{instrument.exchange}:{instrument.symbol}"].append(instrument)
    return [_resolved(name, known) for name in names]


def price_scale_of(token: int) -> int:
    """Return the price units a rupee of a Kite token's segment (its low byte): CDS 10**7, BCD and NCO 10**4, else 100.

    Source: kite.trade/docs/connect/v3/websocket and the official SDKs' ticker.
    """
    return _SCALES.get(token & 0xFF, TRADED_SCALE)


def scaled(text: str, scale: int) -> int:
    """Return a decimal text as an integer number of `1/scale`; ValueError unless it is exactly one and not negative."""
    try:
        units = Decimal(text) * scale
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a decimal number") from None
    if not units.is_finite() or units < 0 or units != units.to_integral_value():
        raise ValueError(f"{text!r} is not a whole number of 1/{scale}, zero or more")
    return int(units)


def tick_size(price_paise: int, day: date) -> int:
    """Return the tick in paise of a share last closed at `price_paise`; InstrumentError before the table begins.

    Source: row by row in `data/ticks.toml`.
    """
    known = [row for row in _TICKS if row["from"] <= day]
    if not known:
        first = min(row["from"] for row in _TICKS)
        raise InstrumentError(f"tick size on {day}", f"the table begins on {first}", "use the instrument's own tick")
    bands = max(known, key=lambda row: row["from"])["bands"]
    return next(int(band["tick"]) for band in bands if price_paise <= band.get("up_to", price_paise))


def expiry_ns(instrument: Instrument) -> int:
    """Return when a derivative ends: the close of its segment's ordinary hours on its last day; 0 for all else."""
    if instrument.expiry is None:
        return 0
    group = _SESSION_GROUPS.get(instrument.segment, FUTURES)
    hours = [window for window in regular_windows(instrument.expiry) if window.group == group]
    return max(window.close_ns for window in hours)


def session_group(instrument: Instrument, with_derivatives: frozenset[str]) -> int:
    """Return the group of session windows of an instrument, given the catalogue's `names_with_derivatives`."""
    if instrument.segment in _SESSION_GROUPS:
        return _SESSION_GROUPS[instrument.segment]
    share = instrument.segment == "EQ"
    return WITH_DERIVATIVES if share and instrument.symbol in with_derivatives else WITHOUT_DERIVATIVES


def _resolved(name: str, known: dict[str, list[Instrument]]) -> Instrument:
    found = known.get(name, [])
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(f"{instrument.key} (token {instrument.token})" for instrument in found)
        raise InstrumentError(f"instrument {name!r}", f"means any of {keys}", "write the full key")
    nearest = nearest_names(name, known)
    remedy = f"the nearest known one is {nearest[0]}" if nearest else "the instrument dump is empty; fetch it again"
    raise InstrumentError(f"instrument {name!r}", "not known", remedy)


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known name that is most like a misspelt one; none where nothing is known."""
    return difflib.get_close_matches(name, _alike(name, known), n=1, cutoff=0.0)


def _alike(name: str, known: Iterable[str]) -> list[str]:
    """Return the names worth comparing with a misspelt one: a whole dump would take seconds."""
    candidates = list(known)
    exchange = name.partition(":")[0] + ":"
    for alike in (
        lambda key: key.startswith(exchange),
        lambda key: key.count(":") == name.count(":"),
        lambda key: abs(len(key) - len(name)) <= 2,
    ):
        candidates = [key for key in candidates if alike(key)] or candidates
    return candidates


_TICKS: Final[list[dict[str, Any]]] = load_table("ticks")["ticks"]
