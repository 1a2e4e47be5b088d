"""Kite's instrument dump, read into a `Catalogue`: a hundred thousand lines of CSV a day.

Columns are read as a whole and equal texts once; only a dump that is refused is read again line by line, to say where.
"""

from __future__ import annotations

import csv
import gc
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from atmand.market.catalogue import Catalogue, rows_of
from atmand.market.instruments import TRADED_SCALE, InstrumentError, price_scale_of, scaled

__all__ = ["KITE_COLUMNS", "parse_kite_dump"]

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

_DERIVATIVES: Final = {"FUT": "FUT", "CE": "OPT", "PE": "OPT"}
_RIGHTS: Final = {"CE": 1, "PE": -1}
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
_LARGEST: Final = 2**62
_AGAIN: Final = "fetch /instruments again"

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def parse_kite_dump(csv_text: str) -> Catalogue:
    """Read Kite's instrument dump (`KITE_COLUMNS`, in any order), in its order.

    InstrumentError names line and column of the first malformed field. An index, and a row without tick or lot, is
    quoted and not tradable: it gets the smallest tick and a lot of one. A dump has neither ISIN, sector nor freeze
    quantity; `reference.py` adds them. Sources: for the columns kite.trade/docs/connect/v3/market-quotes, for the
    segments' price scales the official SDKs.
    """
    try:
        with _uncollected():
            return _columns(csv_text)
    except (ValueError, LookupError, OverflowError, ArithmeticError, csv.Error):
        for _ in _lines(csv_text):
            pass  # the first bad line raises
        raise


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector out while a dump is read: it would look a third of the time at rows that hold no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Once(dict[_Key, _Value]):
    """Remembers what a function returned: a dump has a hundred thousand strikes and few that differ."""

    def __init__(self, function: Callable[[_Key], _Value]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: _Key) -> _Value:
        value = self[key] = self._function(key)
        return value


def _columns(csv_text: str) -> Catalogue:
    """Read a dump whose lines are all in order; anything else raises what `_lines` explains."""
    lines = csv.reader(io.StringIO(csv_text), strict=True)
    header = next(lines, [])
    width = len(header)
    table = [line if len(line) == width else _padded(line, width) for line in lines if line]
    by_name = dict(zip(header, zip(*table, strict=True) if table else [()] * width, strict=True))
    tokens, _, symbols, names, lasts, expiries, strikes, ticks, lots, kinds, segments, exchanges = (
        by_name[column] for column in KITE_COLUMNS
    )
    if not (all(symbols) and all(exchanges)):
        raise ValueError("an empty name")
    found = _facts(zip(tokens, symbols, names, lasts, expiries, strikes, ticks, lots, kinds, segments, exchanges,
                       strict=True))  # fmt: skip
    columns = dict(zip(_FACTS, zip(*found, strict=True) if found else [()] * len(_FACTS), strict=True))
    rows = rows_of({**columns, "symbol": symbols, "name": names, "exchange": exchanges}, len(table))
    return Catalogue(rows, hashlib.sha256(csv_text.encode()).digest())


_FACTS: Final = (
    "key", "underlying", "segment", "token", "price_scale", "tick", "lot", "last_price", "strike", "expiry", "right",
    "tradable",
)  # fmt: skip


def _facts(lines: Iterator[tuple[str, ...]]) -> list[tuple[Any, ...]]:
    """Return what is made of each line, in the order of `_FACTS`."""
    scale_of = _Once(price_scale_of)
    units: _Once[tuple[str, int], int] = _Once(lambda text: _bounded(scaled(*text)))
    prices: _Once[tuple[str, int], int] = _Once(lambda text: _price(*text))
    strikes: _Once[tuple[str, int], tuple[str, int]] = _Once(lambda text: _strike(*text))
    days: _Once[str, tuple[str, int]] = _Once(_day)
    underlying: _Once[tuple[str, str], str] = _Once(lambda of: _underlying(*of))
    found: list[tuple[Any, ...]] = []
    for token_text, symbol, name, last, expiry, strike, tick_text, lot_text, kind, segment_text, exchange in lines:
        token = int(token_text) if token_text.isdecimal() else units[token_text, 1]
        scale = scale_of[token & 0xFF]
        tick, lot, last_price = units[tick_text, scale], units[lot_text, 1], prices[last, scale]
        if segment_text == "INDICES":
            facts = (f"{exchange}:INDEX:{symbol}", "", "INDEX", token, scale, tick or 1, lot or 1, last_price)
            found.append((*facts, 0, 0, 0, False))
            continue
        tradable = scale == TRADED_SCALE and tick > 0 and lot > 0
        if kind == "EQ":
            facts = (f"{exchange}:EQ:{symbol}", "", "EQ", token, scale, tick or 1, lot or 1, last_price)
            found.append((*facts, 0, 0, 0, tradable))
            continue
        segment, (day_text, day) = _DERIVATIVES[kind], days[expiry]
        key, units_of_strike = f"{_EXCHANGES.get(exchange, exchange)}:{segment}:{name or symbol}:{day_text}", 0
        if segment == "OPT":
            strike_text, units_of_strike = strikes[strike, scale]
            key = f"{key}:{strike_text}:{kind}"
        facts = (key, underlying[exchange, name], segment, token, scale, tick or 1, lot or 1, last_price)
        found.append((*facts, units_of_strike, day, _RIGHTS.get(kind, 0), tradable))
    return found


def _padded(line: list[str], width: int) -> list[str]:
    if len(line) > width:
        raise ValueError("more fields than columns")
    return line + [""] * (width - len(line))


def _bounded(units: int) -> int:
    if units > _LARGEST:
        raise ValueError(f"{units} is too large")
    return units


def _price(text: str, scale: int) -> int:
    """Return a last price, 0 where there is none: it is only shown, and near enough for the strikes round it."""
    try:
        return max(0, min(_LARGEST, round(Decimal(text or "0") * scale)))
    except (ArithmeticError, ValueError):
        return 0


def _strike(text: str, scale: int) -> tuple[str, int]:
    """Return a strike in its shortest decimal form (24500.0 is 24500) and in price units; ValueError unless above 0."""
    try:
        strike = Decimal(text)
    except InvalidOperation:
        strike = Decimal("NaN")
    if not strike.is_finite() or not 0 < strike < _LARGEST // scale:
        raise ValueError(f"{text!r} is not a price above zero")
    plain = f"{strike:f}"
    return (plain.rstrip("0").rstrip(".") if "." in plain else plain), int(strike * scale)


def _day(text: str) -> tuple[str, int]:
    day = date.fromisoformat(text)
    return day.isoformat(), day.toordinal()


def _underlying(exchange: str, name: str) -> str:
    """Return the durable key of what a derivative is on: an index that Kite names otherwise, or a share."""
    segment, symbol = ("INDEX", _INDICES[name]) if name in _INDICES else ("EQ", name)
    return f"{_EXCHANGES.get(exchange, exchange)}:{segment}:{symbol}"


def _lines(csv_text: str) -> Iterator[None]:
    """Go through a dump line by line; InstrumentError names line and column of the first malformed field."""
    rows = csv.DictReader(io.StringIO(csv_text), strict=True, restval="")
    try:
        missing = [column for column in KITE_COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise InstrumentError("instrument dump, line 1", f"no column {', '.join(missing)}", _AGAIN)
        for row in rows:
            _check(row, rows.line_num)
            yield
    except csv.Error as error:
        raise InstrumentError(f"instrument dump, line {rows.reader.line_num}", str(error), _AGAIN) from error


def _check(row: dict[str, str], line: int) -> None:
    """Refuse a line for its first malformed field."""

    def refuse(column: str, what: str) -> InstrumentError:
        return InstrumentError(f"instrument dump, line {line}, column {column}", what, _AGAIN)

    def number(column: str, scale: int = 1) -> int:
        try:
            return _bounded(scaled(row[column], scale))
        except ValueError as error:
            raise refuse(column, str(error)) from None

    if None in row:
        raise refuse("after the last", "there are more fields than columns")
    token = number("instrument_token")
    for column in ("exchange", "tradingsymbol"):
        if not row[column]:
            raise refuse(column, "is empty")
    scale = price_scale_of(token)
    number("tick_size", scale)
    number("lot_size")
    kind = row["instrument_type"]
    if row["segment"] == "INDICES" or kind == "EQ":
        return
    if kind not in _DERIVATIVES:
        raise refuse("instrument_type", f"{kind!r} is none of EQ, FUT, CE, PE" if kind else "is empty")
    try:
        date.fromisoformat(row["expiry"])
    except ValueError:
        raise refuse("expiry", f"{row['expiry']!r} is not a date such as 2026-07-28") from None
    if kind != "FUT":
        try:
            _strike(row["strike"], scale)
        except ValueError as error:
            raise refuse("strike", str(error)) from None
