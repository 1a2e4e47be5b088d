"""What the broker's dump does not tell of an instrument: ISIN, sector, freeze quantity; and what an index holds.

From dated tables of ours, each of which a user's file replaces, and from the exchange's own CSV files. The daemon adds
it to each day's catalogue; universes ask it for the members of an index and for the value that shares traded.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atmand.market.catalogue import COLUMNS, Catalogue, rows_of
from atmand.market.instruments import InstrumentError
from atmand.market.tables import load_table

__all__ = ["MOST_DAYS", "Freeze", "Members", "Reference", "ShareFacts", "Traded", "own_reference"]
__all__ += ["read_freeze", "read_members", "read_shares", "with_reference", "with_shares"]

MOST_DAYS: Final = 10
"""A daily file says what trades most for so many calendar days."""

_SIMULATED: Final = "simulated"
_LAKH: Final = 100_000
_SYMBOL: Final = ("SYMBOL", "TCKRSYMB")
_SERIES: Final = ("SERIES", "SCTYSRS")
_ISIN: Final = ("ISIN", "ISIN NUMBER", "ISIN CODE")
_SECTOR: Final = ("SECTOR", "INDUSTRY")
_EXCHANGE: Final = ("EXCHANGE", "SRC")
_DAY: Final = ("TRADDT", "DATE1")
_VALUES: Final = (("TTLTRFVAL", 1), ("TURNOVER_LACS", _LAKH))
"""Columns of the value traded and rupees a unit. Sources: NSE's UDiFF bhavcopy and sec_bhavdata_full."""


class Freeze(NamedTuple):
    """The most units an order may have, by the name of what the contract is on, from a day on."""

    first: date
    units: Mapping[str, int]


class Members(NamedTuple):
    """What an index holds from a day on; `market` is set where it holds for the generated market alone."""

    name: str
    exchange: str
    first: date
    symbols: tuple[str, ...]
    market: str


class Traded(NamedTuple):
    """The rupees that shares traded for on one day, by `EXCHANGE:SYMBOL`, and the file that says so."""

    day: date
    source: str
    values: Mapping[str, int]


class ShareFacts(NamedTuple):
    """What one CSV file tells of shares, by `EXCHANGE:SYMBOL`."""

    isins: Mapping[str, str]
    sectors: Mapping[str, str]
    traded: Traded | None


@dataclass(frozen=True)
class Reference:
    """All of it. Texts by `EXCHANGE:SYMBOL`; a sector of our own grouping holds on either exchange."""

    freeze: tuple[Freeze, ...] = ()
    freeze_through: date = date.min
    members: tuple[Members, ...] = ()
    isins: Mapping[str, str] = field(default_factory=dict)
    sectors: Mapping[str, str] = field(default_factory=dict)
    traded: Traded | None = None

    def freeze_on(self, day: date) -> Mapping[str, int]:
        """Return the freeze quantities in force on a day; none before the table begins."""
        known = [row for row in self.freeze if row.first <= day]
        return max(known, key=lambda row: row.first).units if known else {}

    def members_of(self, index: str, day: date) -> list[str]:
        """Return what an index holds on a day, as `EXCHANGE:SYMBOL`; InstrumentError where no list says."""
        lists = [row for row in self.members if index in (row.name, f"{row.exchange}:{row.name}")]
        known = [row for row in lists if row.first <= day]
        if known:
            row = max(known, key=lambda each: each.first)
            return [f"{row.exchange}:{symbol}" for symbol in row.symbols]
        remedy = "write its list, and name that file in [instruments] members; see docs/instruments.md"
        if lists:
            begins = min(row.first for row in lists)
            raise InstrumentError(f"index {index!r} on {day}", f"its members are known from {begins} on", remedy)
        names = ", ".join(sorted({row.name for row in self.members})) or "none"
        raise InstrumentError(f"index {index!r}", f"its members are not known; known are those of {names}", remedy)

    def values_on(self, day: date) -> Traded:
        """Return what shares traded for, as known on a day; InstrumentError where no file says, or it is too old."""
        remedy = "name the exchange's newest daily file in [instruments] shares"
        traded = self.traded
        if traded is None:
            raise InstrumentError("value traded", "no file says what shares traded for", remedy)
        if not 0 < (day - traded.day).days <= MOST_DAYS:
            what = f"{traded.source} is of {traded.day}, and {day} needs one of at most {MOST_DAYS} days before it"
            raise InstrumentError("value traded", what, remedy)
        return traded


def own_reference(day: date, *, simulated: bool) -> Reference:
    """Return our own tables: real freeze quantities and sectors; ISINs and members of the generated market alone."""
    table, freeze = load_table("shares"), load_table("freeze")
    sectors = max((row for row in table["sectors"] if row["from"] <= day), key=lambda row: row["from"], default=None)
    by_share = {symbol: name for name, symbols in (sectors or {"shares": {}})["shares"].items() for symbol in symbols}
    isins = table["isins"] if simulated else {}
    exchanges = ("NSE", "BSE")
    return Reference(
        freeze=_freeze_rows(freeze["freeze"]),
        freeze_through=freeze["through"],
        members=tuple(_members(row, _no_file) for row in table["members"] if simulated or "market" not in row),
        isins={f"{exchange}:{symbol}": isin for symbol, isin in isins.items() for exchange in exchanges},
        sectors={f"{exchange}:{symbol}": name for symbol, name in by_share.items() for exchange in exchanges},
    )


def read_freeze(text: str, where: str) -> tuple[tuple[Freeze, ...], date]:
    """Read a user's freeze table, written as ours is (`data/freeze.toml`); the rows, and the last day they cover."""
    table = _toml(text, where)
    try:
        return _freeze_rows(table["freeze"]), _date(table.get("through", date.max))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InstrumentError(
            where, f"not a freeze table: {error!r}", "write it as docs/instruments.md shows"
        ) from None


def read_members(text: str, where: str, read_file: Callable[[str], str]) -> tuple[Members, ...]:
    """Read a user's index lists; `read_file` returns the text of a CSV that a row names beside its own symbols."""
    table = _toml(text, where)
    try:
        return tuple(_members(row, read_file) for row in table["members"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"not a table of index members: {error!r}"
        raise InstrumentError(where, what, "write it as docs/instruments.md shows") from None


def read_shares(text: str, where: str) -> ShareFacts:
    """Read what a CSV file says of shares, by the names of its columns.

    NSE's EQUITY_L, the index providers' lists, both forms of the daily bhavcopy, or a file of one's own with `symbol`
    and any of `exchange`, `isin`, `sector`. A series other than EQ is a part of the broker's symbol.
    """
    lines = csv.reader(io.StringIO(text))
    header = [name.strip().upper() for name in next(lines, [])]
    place = {name: header.index(name) for name in header}

    def cell(line: list[str], names: Iterable[str]) -> str:
        at = next((place[name] for name in names if name in place), -1)
        return line[at].strip() if 0 <= at < len(line) else ""

    if not any(name in place for name in _SYMBOL):
        raise InstrumentError(where, "its first line names no column SYMBOL", "name a CSV file about shares")
    value_name, rupees = next(((name, unit) for name, unit in _VALUES if name in place), ("", 0))
    isins: dict[str, str] = {}
    sectors: dict[str, str] = {}
    values: dict[str, int] = {}
    day = None
    for line in lines:
        symbol, series = cell(line, _SYMBOL), cell(line, _SERIES)
        if not symbol:
            continue
        exchange = cell(line, _EXCHANGE) or "NSE"
        name = f"{exchange}:{symbol}" if series in ("", "EQ") or exchange != "NSE" else f"{exchange}:{symbol}-{series}"
        if isin := cell(line, _ISIN):
            isins[name] = isin
        if sector := cell(line, _SECTOR):
            sectors[name] = sector
        if value_name:
            values[name] = _rupees(cell(line, (value_name,)), rupees, where, lines.line_num)
            day = day or _read_day(cell(line, _DAY), where)
    traded = Traded(day, where, values) if day is not None else None
    return ShareFacts(isins, sectors, traded)


def with_shares(reference: Reference, found: ShareFacts) -> Reference:
    """Add what a file tells; it wins over what was known, and the newer day's values traded stay."""
    traded = max((one for one in (reference.traded, found.traded) if one), key=lambda one: one.day, default=None)
    return replace(
        reference,
        isins={**reference.isins, **found.isins},
        sectors={**reference.sectors, **found.sectors},
        traded=traded,
    )


def with_reference(catalogue: Catalogue, reference: Reference, day: date) -> Catalogue:
    """Return a day's catalogue with ISINs, sectors (a derivative has its underlying's) and freeze quantities."""
    rows = catalogue.rows
    columns: dict[str, Any] = {
        name: [text.decode() for text in rows[name].tolist()] if kind == "S" else rows[name] for name, kind in COLUMNS
    }
    names = [f"{exchange}:{symbol}" for exchange, symbol in zip(columns["exchange"], columns["symbol"], strict=True)]
    share = rows["segment"] == b"EQ"
    columns["isin"] = [reference.isins.get(name, "") if held else "" for name, held in zip(names, share, strict=True)]
    own = [reference.sectors.get(name, "") for name in names]
    of = {key: sector for key, sector in zip(columns["key"], own, strict=True) if sector}
    columns["sector"] = [
        sector or of.get(underlying, "") for sector, underlying in zip(own, columns["underlying"], strict=True)
    ]
    columns["freeze"] = _freeze_column(rows, reference.freeze_on(day))
    return replace(catalogue, rows=rows_of(columns, len(rows)))


def _freeze_column(rows: NDArray[np.void], units: Mapping[str, int]) -> NDArray[np.int64]:
    found = np.zeros(len(rows), np.int64)
    listed = rows["exchange"] == b"NFO"
    for name, most in units.items():
        found[listed & (rows["name"] == name.encode())] = most
    return found


def _freeze_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Freeze, ...]:
    return tuple(Freeze(_date(row["from"]), {name: int(units) for name, units in row["units"].items()}) for row in rows)


def _members(row: Mapping[str, Any], read_file: Callable[[str], str]) -> Members:
    symbols = tuple(row["symbols"]) if "symbols" in row else _symbols_of(read_file(row["file"]), row["file"])
    if not symbols:
        raise ValueError(f"{row['index']} has no members")
    return Members(row["index"], row.get("exchange", "NSE"), _date(row["from"]), symbols, row.get("market", ""))


def _symbols_of(text: str, where: str) -> tuple[str, ...]:
    """Return the symbols of an index provider's list: Company Name, Industry, Symbol, Series, ISIN Code."""
    lines = list(csv.DictReader(io.StringIO(text)))
    if not lines or "Symbol" not in lines[0]:
        raise InstrumentError(where, "its first line names no column Symbol", "name the index provider's CSV file")
    return tuple(line["Symbol"].strip() for line in lines if line["Symbol"])


def _no_file(name: str) -> str:
    raise ValueError(f"our own table names a file: {name}")


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InstrumentError(where, f"not TOML: {error}", "correct the line") from None


def _date(value: Any) -> date:
    if not isinstance(value, date):
        raise ValueError(f"{value!r} is not a date")
    return value


def _rupees(text: str, unit: int, where: str, line: int) -> int:
    try:
        return round(float(text or 0) * unit)
    except (ValueError, OverflowError):
        raise InstrumentError(f"{where}, line {line}", f"{text!r} is no value", "fetch the file again") from None


def _read_day(text: str, where: str) -> date:
    for form in ("%Y-%m-%d", "%d-%b-%Y"):
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise InstrumentError(where, f"{text!r} is not the day of a daily file", "fetch the file again")
