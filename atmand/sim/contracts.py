"""Which futures and options the simulated exchanges list on a day, with token, symbol, strike, lot, freeze and tick.

Expiries, lots and ticks follow dated tables of `market/data`; strikes lie on a grid round every close since a contract
was first listed, so that none disappears before it ends. A split or bonus changes strikes and lots of what is listed.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atmand.market.instruments import tick_size
from atmand.market.sessions import FUTURES, SessionError, regular_windows, windows
from atmand.market.tables import load_table
from atmand.sim.universe import COMPANIES, INDICES

__all__ = ["CONTRACT", "SEGMENTS", "UNDERLYINGS", "Contracts", "Listings", "Underlying"]

SEGMENTS: Final = {"NFO": 2, "BFO": 5}
_SECOND: Final = 1_000_000_000
_OPTION_TICK: Final = 5
_FUTURES: Final = 3
_WEEKLIES: Final = 4
"""Expiries that are listed at a time; NSE lists as many monthly futures."""

_FINE: Final = 0.03
_WEEKLY_REACH: Final = 0.06
_MONTHLY_REACH: Final = 0.1
"""Strikes reach so far from the closes: on the grid's own step near them, on twice the step beyond."""

_LOT_VALUE: Final = 75_000_000
"""Paise that a lot of a share's derivatives is worth at the share's base price."""

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKLY_MONTHS: Final = "123456789OND"
_TABLE: Final[dict[str, Any]] = load_table("contracts")
_FREEZE: Final[list[dict[str, Any]]] = load_table("freeze")["freeze"]

CONTRACT: Final = np.dtype(
    [
        ("token", "i8"),
        ("underlying", "i8"),  # place in UNDERLYINGS
        ("expiry", "i8"),  # ordinal of the date
        ("end", "i8"),  # epoch second at which it ends
        ("strike", "i8"),  # paise, 0 for a future
        ("right", "i8"),  # +1 call, -1 put, 0 future
        ("lot", "i8"),
        ("freeze", "i8"),  # most units an order
        ("tick", "i8"),  # paise
        ("order", "i8"),  # place of its expiry among the listed ones (a future's among the months), 0 = the nearest
        ("listed", "i8"),  # ordinal of the first session
    ]
)


class Underlying(NamedTuple):
    """What contracts are written on: its name in the dump, the market's column of its price, and what is listed."""

    name: str
    column: int
    exchange: str
    weekly: bool
    company: int | None
    step: int
    """Paise between strikes of an index; 0 for a share, whose step goes by its price."""


def _underlyings() -> tuple[Underlying, ...]:
    shares, first_index = [company.symbol for company in COMPANIES], 2 * len(COMPANIES)
    columns = {index.symbol: first_index + at for at, index in enumerate(INDICES)}
    rows = [
        Underlying("NIFTY", columns["NIFTY 50"], "NFO", True, None, 5_000),
        Underlying("BANKNIFTY", columns["NIFTY BANK"], "NFO", False, None, 10_000),
        Underlying("SENSEX", columns["SENSEX"], "BFO", True, None, 10_000),
    ]
    for symbol in ("RELIANCE", "HDFCBANK", "INFY", "SBIN", "TATASTEEL", "M&M"):
        at = shares.index(symbol)
        rows.append(Underlying(symbol, at, "NFO", False, at, 0))
    return tuple(rows)


UNDERLYINGS: Final = _underlyings()


@dataclass(frozen=True)
class Contracts:
    """A session's contracts: `rows` (n,) of CONTRACT and their `symbols`, ordered by underlying, expiry, strike."""

    day: dt.date
    rows: NDArray[np.void]
    symbols: list[str]
    columns: dict[int, int] = field(init=False)
    """Place of each token."""
    keys: dict[str, int] = field(init=False)
    """Place by `NFO:SYMBOL`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {token: at for at, token in enumerate(self.rows["token"].tolist())})
        keys = {f"{self.exchange(at)}:{symbol}": at for at, symbol in enumerate(self.symbols)}
        object.__setattr__(self, "keys", keys)

    def exchange(self, at: int) -> str:
        return UNDERLYINGS[int(self.rows["underlying"][at])].exchange

    def dump_rows(self, closes: NDArray[np.int64]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the broker's dump; `closes` (n,) are the prices before the session in paise."""
        for at, (row, symbol) in enumerate(zip(self.rows.tolist(), self.symbols, strict=True)):
            contract = dict(zip(CONTRACT.names or (), row, strict=True))
            exchange, kind = self.exchange(at), {0: "FUT", 1: "CE", -1: "PE"}[contract["right"]]
            yield (
                *(contract["token"], contract["token"] >> 8, symbol, UNDERLYINGS[contract["underlying"]].name),
                *(
                    int(closes[at]) / 100,
                    dt.date.fromordinal(contract["expiry"]).isoformat(),
                    _rupees(contract["strike"]),
                ),
                *(contract["tick"] / 100, contract["lot"], kind),
                *(f"{exchange}-{'FUT' if kind == 'FUT' else 'OPT'}", exchange),
            )


class Listings:
    """The contracts of every session; `close` gives an underlying's close of a session in paise, by its number."""

    def __init__(
        self,
        sessions: list[dt.date],
        close: Callable[[Underlying, int], int],
        factor: Callable[[int, int, int], Fraction],
    ) -> None:
        self._sessions = sessions
        self._close = close
        self._factor = factor
        self._expiries = {name: _expiries(name, sessions) for name in ("NSE", "BSE")}

    def on(self, position: int) -> Contracts:
        """Return what is listed on a session."""
        day = self._sessions[position]
        parts, symbols = [], []
        for number, underlying in enumerate(UNDERLYINGS):
            for order, (expiry, first) in enumerate(self._listed(underlying, day)):
                part, names = self._of_expiry(number, expiry, first, order, position)
                parts.append(part)
                symbols += names
        return Contracts(day, np.concatenate(parts), symbols)

    def _listed(self, underlying: Underlying, day: dt.date) -> list[tuple[dt.date, dt.date]]:
        """Return the expiries listed on a day, each with the last session before its own first one."""
        days = self._expiries["BSE" if underlying.exchange == "BFO" else "NSE"]
        months = [one for one, following in pairwise(days) if one.month != following.month]
        found: dict[dt.date, dt.date] = {}
        series = [(days, _WEEKLIES)] if underlying.weekly else []
        for dates, count in [*series, (months, _FUTURES)]:
            at = bisect_left(dates, day)
            for one in range(at, min(at + count, len(dates))):
                begins = dates[one - count] if one >= count else self._sessions[0]
                found[dates[one]] = min(found.get(dates[one], begins), begins)
        return sorted(found.items())

    def _of_expiry(
        self, number: int, expiry: dt.date, before: dt.date, order: int, position: int
    ) -> tuple[NDArray[np.void], list[str]]:
        """Return an underlying's contracts of one expiry; `before` is the session before it was first listed."""
        underlying = UNDERLYINGS[number]
        monthly = self._ends_month(underlying, expiry)
        first = min(bisect_right(self._sessions, before) - 1, position - 1)
        became = Fraction(1) if underlying.company is None else self._factor(underlying.company, first, position)
        closes = self._closes_between(underlying, first, position)
        reach = _MONTHLY_REACH if monthly else _WEEKLY_REACH
        strikes = _strikes(underlying, closes, reach) if underlying.weekly or monthly else np.zeros((0, 2), np.int64)
        future = np.zeros((int(monthly), 3), np.int64)
        sides = [np.insert(strikes, 2, right, axis=1) for right in (1, -1)]
        made = np.concatenate([future, np.stack(sides, axis=1).reshape(-1, 3)])
        rows = np.zeros(len(made), CONTRACT)
        day = self._sessions[position]
        rows["underlying"], rows["expiry"], rows["order"] = number, expiry.toordinal(), order
        rows["end"] = _close_of(expiry) // _SECOND
        rows["listed"] = self._sessions[first + 1].toordinal()
        rows["lot"] = round(_lot(underlying, expiry, monthly) * became)
        rows["freeze"] = _freeze(underlying, day, int(rows["lot"][0]))
        rows["strike"] = np.rint(made[:, 0] / float(became) / _OPTION_TICK) * _OPTION_TICK
        rows["right"] = made[:, 2]
        rows["order"][rows["right"] == 0] = self._months_until(underlying, day, expiry)
        rows["token"] = _tokens(underlying, number, expiry, made)
        rows["tick"] = np.where(rows["right"] == 0, _future_tick(underlying, closes[-1] / became, day), _OPTION_TICK)
        return rows, _symbols(underlying, expiry, monthly, rows)

    def _closes_between(self, underlying: Underlying, first: int, position: int) -> list[Fraction]:
        """Return the closes before each session of a contract so far, in the units of its first one."""
        company = underlying.company
        return [
            Fraction(self._close(underlying, at)) * (1 if company is None else self._factor(company, first, at))
            for at in range(first, position)
        ]

    def _months_until(self, underlying: Underlying, day: dt.date, expiry: dt.date) -> int:
        return sum(self._ends_month(underlying, one) and one < expiry for one, _ in self._listed(underlying, day))

    def _ends_month(self, underlying: Underlying, expiry: dt.date) -> bool:
        days = self._expiries["BSE" if underlying.exchange == "BFO" else "NSE"]
        at = bisect_right(days, expiry)
        return at >= len(days) or days[at].month != expiry.month


def _expiries(exchange: str, sessions: list[dt.date]) -> list[dt.date]:
    """Return the exchange's weekly expiry days, a holiday's moved to the session before; some lie past the calendar."""
    days: list[dt.date] = []
    rows = sorted((row for row in _TABLE["expiry"] if row["exchange"] == exchange), key=lambda row: row["from"])
    for at in range((sessions[-1] - sessions[0]).days + 130):
        day = sessions[0] + dt.timedelta(days=at)
        row = next(row for row in reversed(rows) if row["from"] <= day)
        if day.weekday() != row["weekday"]:
            continue
        within = bisect_right(sessions, day) - 1
        days.append(sessions[within] if within >= 0 and day <= sessions[-1] else day)
    return sorted(set(days))


def _close_of(expiry: dt.date) -> int:
    """Return when contracts end: the close of the derivatives' hours of the day, ns UTC."""
    try:
        hours = windows(expiry, group=FUTURES)
    except SessionError:  # it lies past the calendar
        hours = [window for window in regular_windows(expiry) if window.group == FUTURES]
    return max(window.close_ns for window in hours)


def _strikes(underlying: Underlying, closes: list[Fraction], reach: float) -> NDArray[np.int64]:
    """Return the strikes in paise, in the first session's units, each with its number on the grid, (n, 2)."""
    step = underlying.step or _share_step(closes[0])
    low, high = float(min(closes)), float(max(closes))
    at = np.arange(max(1, int(low * (1 - reach)) // step), int(high * (1 + reach)) // step + 2)
    near = (at * step >= low * (1 - _FINE)) & (at * step <= high * (1 + _FINE))
    at = at[near | (at % 2 == 0)]
    return np.stack([at * step, at], axis=1)


def _share_step(price: Fraction) -> int:
    """Return the paise between a share's strikes; the scheme is this market's own, of the size of the exchange's."""
    for up_to, step in ((10_000, 100), (25_000, 250), (50_000, 500), (100_000, 1_000), (250_000, 2_000)):
        if price <= up_to:
            return step
    return 5_000 if price <= 500_000 else 10_000


def _lot(underlying: Underlying, expiry: dt.date, monthly: bool) -> int:
    """Return the units of a lot at its first listing; a share's are this market's own, like its price."""
    if underlying.company is not None:
        units = _LOT_VALUE / (COMPANIES[underlying.company].rupees * 100)
        return max(25, round(units / 25) * 25)
    first = "monthly_from" if monthly else "weekly_from"
    known = [row for row in _TABLE["lot"] if row[first] <= expiry]
    return int(max(known, key=lambda row: row[first])["units"][underlying.name])


def _freeze(underlying: Underlying, day: dt.date, lot: int) -> int:
    """Return the most units an order may have; where the exchange's table is silent, 50 lots."""
    known = [row for row in _FREEZE if row["from"] <= day]
    units = max(known, key=lambda row: row["from"])["units"] if known else {}
    return int(units.get(underlying.name, 50 * lot))


def _future_tick(underlying: Underlying, price: Fraction, day: dt.date) -> int:
    if underlying.company is not None:
        return tick_size(round(price), max(day, _TICKS_FROM))
    bands = _TABLE["index_future_ticks"][-1]["bands"]
    return next(int(band["tick"]) for band in bands if price <= band.get("up_to", price))


def _tokens(underlying: Underlying, number: int, expiry: dt.date, made: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return tokens that last as long as the contracts: numbers are used again after 128 days, as brokers' are.

    `made` (n, 3) are strike, number on the grid and right.
    """
    code = number << 19 | expiry.toordinal() % 128 << 12
    tokens: NDArray[np.int64] = (code | (made[:, 2] % 3) << 10 | made[:, 1] % 1024) << 8 | SEGMENTS[underlying.exchange]
    return tokens


def _symbols(underlying: Underlying, expiry: dt.date, monthly: bool, rows: NDArray[np.void]) -> list[str]:
    """Return the broker's symbols: NIFTY26AUGFUT, NIFTY26AUG24500CE for a month's last expiry, NIFTY2680424500CE."""
    month = f"{expiry:%y}{_MONTHS[expiry.month - 1]}"
    when = month if monthly else f"{expiry:%y}{_WEEKLY_MONTHS[expiry.month - 1]}{expiry:%d}"
    ends = {1: "CE", -1: "PE"}
    return [
        f"{underlying.name}{when}{_rupees(strike)}{ends[right]}" if right else f"{underlying.name}{month}FUT"
        for strike, right in zip(rows["strike"].tolist(), rows["right"].tolist(), strict=True)
    ]


def _rupees(paise: int) -> str:
    """Return an amount in its shortest decimal form."""
    return f"{paise // 100}" if paise % 100 == 0 else f"{paise / 100:.2f}".rstrip("0")


_TICKS_FROM: Final = dt.date(2025, 4, 15)
"""Tick bands of that date's circular; the simulated market uses them for the days before as well."""
