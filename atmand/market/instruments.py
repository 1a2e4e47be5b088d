"""What can be named and traded: durable keys, the broker's instrument dump, names as people write them, tick sizes.

The daemon resolves its universe here once a session; ledger, parameters and snapshots store the durable key
`EXCHANGE:SEGMENT:SYMBOL[:EXPIRY[:STRIKE:RIGHT]]`, because tokens and symbols change and the key does not.
"""

from __future__ import annotations

import csv
import difflib
import io
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
    "KITE_COLUMNS",
    "TRADED_SCALE",
    "Instrument",
    "InstrumentError",
    "expiry_ns",
    "parse_kite_dump",
    "price_scale_of",
    "resolve",
    "resolve_all",
    "scaled",
    "session_group",
    "tick_size",
    "underlyings",
]

TRADED_SCALE: Final = 100
"""Only instruments priced in paise are traded; currency and some commodity segments are quoted finer."""

KITE_COLUMNS: Final = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)
"""Columns of Kite's instrument dump. Source: kite.trade/docs/connect/v3/market-quotes."""

_SCALES: Final = {3: 10_000_000, 6: 10_000, 12: 10_000}
_DERIVATIVES: Final = {"FUT": "FUT", "CE": "OPT", "PE": "OPT"}
_RIGHTS: Final = {"CE": 1, "PE": -1}
_SESSION_GROUPS: Final = {"FUT": FUTURES, "OPT": OPTIONS}
_EXCHANGES: Final = {"NFO": "NSE", "BFO": "BSE"}
"""Kite calls the derivatives segments of the two exchanges so; a durable key names the exchange."""
_INDICES: Final = {
    "NIFTY": "NIFTY 50",
    "BANKNIFTY": "NIFTY BANK",
    "FINNIFTY": "NIFTY FIN SERVICE",
    "MIDCPNIFTY": "NIFTY MID SELECT",
    "NIFTYNXT50": "NIFTY NEXT 50",
    "SENSEX": "SENSEX",
    "BANKEX": "BANKEX",
}
"""Kite's symbol of the index behind a derivative's name. Source: Kite's instrument dump."""


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


def parse_kite_dump(csv_text: str) -> list[Instrument]:
    """Read Kite's instrument dump (`KITE_COLUMNS`, in any order) into instruments, in its order.

    InstrumentError names line and column of the first malformed field. An index, and a row without tick or lot, is
    quoted and not tradable: it gets the smallest tick and a lot of one. Sources: for the columns
    kite.trade/docs/connect/v3/market-quotes, for the segments' price scales the official SDKs.
    """
    rows = csv.DictReader(io.StringIO(csv_text), strict=True, restval="")
    try:
        missing = [column for column in KITE_COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise InstrumentError(
                "instrument dump, line 1", f"no column {', '.join(missing)}", "fetch /instruments again"
            )
        return [_KiteRow(row, rows.line_num).instrument() for row in rows]
    except csv.Error as error:
        raise InstrumentError(
            f"instrument dump, line {rows.reader.line_num}", str(error), "fetch /instruments again"
        ) from error


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


def underlyings(instruments: Iterable[Instrument]) -> frozenset[str]:
    """Return the names of what has derivatives in a dump."""
    return frozenset(instrument.name for instrument in instruments if instrument.segment in ("FUT", "OPT"))


def session_group(instrument: Instrument, with_derivatives: frozenset[str]) -> int:
    """Return the group of session windows of an instrument, given the dump's `underlyings`."""
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
    nearest = difflib.get_close_matches(name, _alike(name, known), n=1, cutoff=0.0)
    remedy = f"the nearest known one is {nearest[0]}" if nearest else "the instrument dump is empty; fetch it again"
    raise InstrumentError(f"instrument {name!r}", "not known", remedy)


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


def _underlying(exchange: str, name: str) -> str:
    """Return the durable key of what a derivative is on: an index that Kite names otherwise, or a share."""
    segment, symbol = ("INDEX", _INDICES[name]) if name in _INDICES else ("EQ", name)
    return f"{_EXCHANGES.get(exchange, exchange)}:{segment}:{symbol}"


class _KiteRow:
    """One row of the dump: its fields, and the line to blame."""

    def __init__(self, row: dict[str, str], line: int) -> None:
        self._row = row
        self._line = line
        if None in row:
            raise self._error("after the last", "there are more fields than columns")

    def instrument(self) -> Instrument:
        token = self._number("instrument_token")
        exchange, symbol = self._text("exchange"), self._text("tradingsymbol")
        scale = price_scale_of(token)
        tick, lot = self._number("tick_size", scale), self._number("lot_size")
        segment = self._segment()
        derivative = segment in ("FUT", "OPT")
        return Instrument(
            key=self._key(exchange, segment, symbol),
            isin="",
            token=token,
            exchange=exchange,
            segment=segment,
            symbol=symbol,
            name=self._row["name"],
            price_scale=scale,
            tick=max(tick, 1),
            lot=max(lot, 1),
            freeze=0,
            lower_band=0,
            upper_band=0,
            tradable=segment != "INDEX" and scale == TRADED_SCALE and tick > 0 and lot > 0,
            sector="",
            underlying=_underlying(exchange, self._row["name"]) if derivative else "",
            expiry=date.fromisoformat(self._row["expiry"]) if derivative else None,
            strike=int(Decimal(self._row["strike"]) * scale) if segment == "OPT" else 0,
            right=_RIGHTS.get(self._row["instrument_type"], 0) if derivative else 0,
        )

    def _segment(self) -> str:
        if self._row["segment"] == "INDICES":
            return "INDEX"
        kind = self._text("instrument_type")
        if kind != "EQ" and kind not in _DERIVATIVES:
            raise self._error("instrument_type", f"{kind!r} is none of EQ, FUT, CE, PE")
        return _DERIVATIVES.get(kind, "EQ")

    def _key(self, exchange: str, segment: str, symbol: str) -> str:
        if segment in ("EQ", "INDEX"):
            return f"{exchange}:{segment}:{symbol}"
        future = f"{_EXCHANGES.get(exchange, exchange)}:{segment}:{self._row['name'] or symbol}:{self._expiry()}"
        return future if segment == "FUT" else f"{future}:{self._strike()}:{self._row['instrument_type']}"

    def _expiry(self) -> date:
        try:
            return date.fromisoformat(self._row["expiry"])
        except ValueError:
            raise self._error("expiry", f"{self._row['expiry']!r} is not a date such as 2026-07-28") from None

    def _strike(self) -> str:
        """Return the strike in its shortest decimal form: 24500.0 is 24500."""
        try:
            strike = Decimal(self._row["strike"])
        except InvalidOperation:
            strike = Decimal("NaN")
        if not strike.is_finite() or strike <= 0:
            raise self._error("strike", f"{self._row['strike']!r} is not a price above zero")
        return f"{strike:f}".rstrip("0").rstrip(".") if "." in f"{strike:f}" else f"{strike:f}"

    def _text(self, column: str) -> str:
        text = self._row[column]
        if not text:
            raise self._error(column, "is empty")
        return text

    def _number(self, column: str, scale: int = 1) -> int:
        try:
            return scaled(self._row[column], scale)
        except ValueError as error:
            raise self._error(column, str(error)) from None

    def _error(self, column: str, what: str) -> InstrumentError:
        return InstrumentError(f"instrument dump, line {self._line}, column {column}", what, "fetch /instruments again")


_TICKS: Final[list[dict[str, Any]]] = load_table("ticks")["ticks"]
