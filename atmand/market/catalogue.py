"""A day's instruments as one table: a numpy row each, found by key, name, token, underlying and ISIN.

`kite_dump.py` makes it of the broker's dump, the daemon keeps a file of it a day, and universes are resolved in it.
Only what is asked for becomes an `Instrument`: a hundred thousand would take seconds and most are never looked at.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.market.instruments import Instrument, InstrumentError, nearest_names

__all__ = ["COLUMNS", "NO_TEXT", "Catalogue", "nearest_strikes", "rows_of"]

COLUMNS: Final = (
    ("key", "S"),
    ("symbol", "S"),
    ("name", "S"),
    ("underlying", "S"),
    ("exchange", "S"),
    ("segment", "S"),
    ("isin", "S"),
    ("sector", "S"),
    ("token", "i8"),
    ("price_scale", "i8"),
    ("tick", "i8"),
    ("lot", "i8"),
    ("freeze", "i8"),
    ("last_price", "i8"),
    ("strike", "i8"),
    ("expiry", "i4"),
    ("right", "i1"),
    ("tradable", "?"),
)
"""Columns of the table. Texts are as wide as the day needs; an `expiry` is `date.toordinal()`, 0 for none."""

NO_TEXT: Final = "unknown"
"""What people are shown where no file names a sector or an ISIN."""

_DERIVATIVE: Final = re.compile(r"^[A-Z]+:(FUT|OPT):(.+?):(\d{4}-\d{2}-\d{2})(?::([0-9.]+):(CE|PE))?$")
_FUTURES: Final = (b"FUT", b"OPT")


def rows_of(columns: Mapping[str, Sequence[Any] | NDArray[Any]], count: int) -> NDArray[np.void]:
    """Put columns together; text is UTF-8, and a column that is not given is empty or zero."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind in COLUMNS:
        given = columns.get(name)
        if kind == "S":
            texts = [text.encode() for text in given] if given is not None else [b""] * count
            arrays[name] = np.array(texts or [b""], "S")[:count]
        else:
            arrays[name] = np.zeros(count, kind) if given is None else np.asarray(given, kind)
    rows = np.zeros(count, [(name, arrays[name].dtype) for name, _ in COLUMNS])
    for name, array in arrays.items():
        rows[name] = array
    return rows


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The instruments of one day, in the dump's order. `sha256` is that of the dump they were read from."""

    rows: NDArray[np.void]
    sha256: bytes = bytes(32)

    def __len__(self) -> int:
        return len(self.rows)

    def instrument(self, row: int) -> Instrument:
        """Return one row as an instrument."""
        found = dict(zip(self.rows.dtype.names or (), self.rows[row].item(), strict=True))
        text = {name: found[name].decode() for name, kind in COLUMNS if kind == "S"}
        expiry = found["expiry"]
        return Instrument(
            **text,
            **{name: found[name] for name in ("token", "price_scale", "tick", "lot", "freeze", "strike", "right")},
            lower_band=0,
            upper_band=0,
            tradable=found["tradable"],
            expiry=date.fromordinal(expiry) if expiry else None,
        )

    def instruments(self, rows: Iterable[int] | None = None) -> list[Instrument]:
        """Return rows as instruments; all of them where none are named."""
        return [self.instrument(int(row)) for row in (range(len(self)) if rows is None else rows)]

    # Look-up.

    def row_of_key(self, key: str) -> int:
        """Return the row of a durable key, -1 for none."""
        return self._keys.get(key.encode(), -1)

    def row_of_name(self, name: str) -> int:
        """Return the row of `EXCHANGE:SYMBOL`, -1 for none."""
        return self._symbols.get(name.encode(), -1)

    def row_of_token(self, token: int) -> int:
        """Return the row of a feed token, -1 for none."""
        order = self._by_token
        at = int(np.searchsorted(self.rows["token"][order], token)) if len(order) else 0
        return int(order[at]) if at < len(order) and self.rows["token"][order[at]] == token else -1

    def rows_of_isin(self, isin: str) -> NDArray[np.intp]:
        """Return the rows of an ISIN: a share that two exchanges list has two."""
        return np.flatnonzero(self.rows["isin"] == isin.encode()) if isin else np.zeros(0, np.intp)

    def rows_of_underlying(self, key: str) -> NDArray[np.intp]:
        """Return the rows of the derivatives on an instrument, in the dump's order."""
        if not key:
            return np.zeros(0, np.intp)
        column, order = self.rows["underlying"], self._by_underlying
        first, last = (int(np.searchsorted(column, key.encode(), side, order)) for side in ("left", "right"))
        found: NDArray[np.intp] = order[first:last]
        return found

    def resolve(self, name: str, day: date | None = None) -> Instrument:
        """Return the instrument that `name` means: a durable key, or `EXCHANGE:SYMBOL` where only one fits.

        InstrumentError names the nearest known instrument, the candidates of an ambiguous name, or, of a contract that
        has expired or was never listed, the nearest contracts that are.
        """
        found = self._named(name)
        if not found:
            raise self._unknown(name, day)
        if len(found) > 1:
            rows = [self.rows[row] for row in found]
            keys = ", ".join(f"{row['key'].decode()} (token {row['token']})" for row in rows)
            raise InstrumentError(f"instrument {name!r}", f"means any of {keys}", "write the full key")
        instrument = self.instrument(found[0])
        if day is not None and instrument.expiry is not None and instrument.expiry < day:
            raise self._expired(name, instrument.underlying, instrument.segment, instrument.expiry, day)
        return instrument

    def search(self, text: str, most: int = 20) -> list[int]:
        """Return the rows that people may mean: symbol, name, key, token or ISIN holds every word of the text."""
        words = text.upper().encode().split()
        if len(words) == 1 and words[0].isdigit() and (row := self.row_of_token(int(words[0]))) >= 0:
            return [row]
        held = np.ones(len(self), bool)
        for word in words:
            columns = (self.rows[name] for name in ("key", "symbol", "name", "isin"))
            held &= np.logical_or.reduce([np.char.find(column, word) >= 0 for column in columns])
        rows = np.flatnonzero(held)
        symbols = self.rows["symbol"][rows]
        exact = symbols == b" ".join(words)
        derivative = np.isin(self.rows["segment"][rows], _FUTURES)
        order = np.lexsort((np.char.str_len(symbols), derivative, ~exact))
        return [int(row) for row in rows[order][:most]]

    def names_with_derivatives(self) -> frozenset[str]:
        """Return the names of what futures or options are listed on."""
        held = np.isin(self.rows["segment"], _FUTURES)
        return frozenset(name.decode() for name in np.unique(self.rows["name"][held]).tolist())

    def underlyings(self) -> list[str]:
        """Return the durable keys of what futures or options are listed on."""
        return [key.decode() for key in np.unique(self.rows["underlying"]).tolist() if key]

    def contracts(self, underlying: str, segment: str, right: int, day: date) -> NDArray[np.intp]:
        """Return the rows of living futures, or of living options of one right, by expiry and strike."""
        rows = self.rows_of_underlying(underlying)
        of = self.rows[rows]
        kept = (of["segment"] == segment.encode()) & (of["right"] == right) & (of["expiry"] >= day.toordinal())
        rows = rows[kept & of["tradable"]]
        found: NDArray[np.intp] = rows[np.lexsort((self.rows["strike"][rows], self.rows["expiry"][rows]))]
        return found

    def nearest_underlying(self, exchange: str, name: str) -> str:
        """Return the name on which an exchange lists contracts and that is most like a misspelt one; empty for none."""
        names = np.unique(self.rows["name"][self.rows["exchange"] == exchange.encode()]).tolist()
        return next(iter(difflib.get_close_matches(name, [each.decode() for each in names], n=1, cutoff=0.0)), "")

    # What is not there.

    def _unknown(self, name: str, day: date | None) -> InstrumentError:
        match = _DERIVATIVE.match(name)
        if match is not None:
            segment, of, expiry, strike, right = match.groups()
            side = {"CE": 1, "PE": -1}.get(right, 0)
            rows = self._derivatives(name.partition(":")[0], of, segment, side)
            if len(rows):
                return self._not_listed(name, rows, date.fromisoformat(expiry), strike, day)
        nearest = nearest_names(name, self._all_names())
        remedy = f"the nearest known one is {nearest[0]}" if nearest else "the instrument dump is empty; fetch it again"
        return InstrumentError(f"instrument {name!r}", "not known", remedy)

    def _not_listed(
        self, name: str, rows: NDArray[np.intp], expiry: date, strike: str | None, day: date | None
    ) -> InstrumentError:
        """Say of a contract whether its expiry or its strike is not listed, and what is."""
        of = self.rows[rows]
        same = of[of["expiry"] == expiry.toordinal()]
        if not len(same):
            what = "has expired" if day is not None and expiry < day else f"no contract expires on {expiry}"
            dates = [date.fromordinal(int(each)) for each in np.unique(of["expiry"])]
            near = sorted(sorted(dates, key=lambda each: abs((each - expiry).days))[:4])
            return InstrumentError(f"instrument {name!r}", what, f"listed are {', '.join(map(str, near))}")
        scale = int(same["price_scale"][0])
        remedy = nearest_strikes(same["strike"], float(strike or 0) * scale, scale)
        return InstrumentError(f"instrument {name!r}", f"no strike {strike} on {expiry}", remedy)

    def _expired(self, name: str, underlying: str, segment: str, expiry: date, day: date) -> InstrumentError:
        rows = self.rows_of_underlying(underlying)
        of = self.rows[rows]
        alive = np.unique(of["expiry"][(of["segment"] == segment.encode()) & (of["expiry"] >= day.toordinal())])
        listed = ", ".join(str(date.fromordinal(int(each))) for each in alive[:4])
        remedy = f"listed are {listed}" if listed else "no later one is listed"
        return InstrumentError(f"instrument {name!r}", f"expired on {expiry}", remedy)

    def _derivatives(self, exchange: str, name: str, segment: str, right: int) -> NDArray[np.intp]:
        start = f"{exchange}:{segment}:{name}:".encode()
        held = np.char.startswith(self.rows["key"], start) & (self.rows["right"] == right)
        return np.flatnonzero(held)

    # Indices, made when they are first asked for.

    def _named(self, name: str) -> list[int]:
        found = name.encode()
        if self._doubles:
            pairs = zip(self._key_list, self._symbol_list, strict=True)
            return [row for row, names in enumerate(pairs) if found in names]
        return sorted({index[found] for index in (self._keys, self._symbols) if found in index})

    @cached_property
    def _key_list(self) -> list[bytes]:
        keys: list[bytes] = self.rows["key"].tolist()
        return keys

    @cached_property
    def _symbol_list(self) -> list[bytes]:
        columns = (self.rows[name].tolist() for name in ("exchange", "symbol"))
        return [exchange + b":" + symbol for exchange, symbol in zip(*columns, strict=True)]

    @cached_property
    def _keys(self) -> dict[bytes, int]:
        return dict(zip(self._key_list, range(len(self)), strict=True))

    @cached_property
    def _symbols(self) -> dict[bytes, int]:
        return dict(zip(self._symbol_list, range(len(self)), strict=True))

    @cached_property
    def _doubles(self) -> bool:
        """Whether a name may mean more than one row."""
        return len(self._keys) + len(self._symbols) < 2 * len(self)

    def _all_names(self) -> Iterator[str]:
        return (name.decode() for name in [*self._keys, *self._symbols])

    @cached_property
    def _by_underlying(self) -> NDArray[np.intp]:
        return np.argsort(self.rows["underlying"], kind="stable")

    @cached_property
    def _by_token(self) -> NDArray[np.intp]:
        return np.argsort(self.rows["token"], kind="stable")


def nearest_strikes(strikes: NDArray[Any], wanted: float, scale: int) -> str:
    """Say which listed strikes lie round a price."""
    listed = np.unique(strikes)
    near = sorted(listed.tolist(), key=lambda strike: (abs(strike - wanted), strike))[:2]
    return f"the nearest are {' and '.join(f'{strike / scale:g}' for strike in sorted(near))}"
