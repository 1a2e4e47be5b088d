"""A session's contracts as a market: what each is worth at any second, how busy it is, how much of it is open.

A pure function of seed, date and the underlyings' prices of that second; `desk.py` makes packets and candles of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.sim.contracts import UNDERLYINGS, Contracts
from atmand.sim.noise import mixed, uniform
from atmand.sim.option_model import OptionModel, black

__all__ = ["YEAR_S", "Chain", "Evening", "Quotes", "Terms"]

YEAR_S: Final = 365 * 86_400
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_BASIS: Final = 2e-4
"""How far a forward strays from its carry; it strays in straight lines between whole minutes."""

_BASIS_S: Final = 60
_DAYS_OPEN: Final = 12.0
"""Open interest of a contract builds up over so many days before its end."""

_LOTS: Final = (400_000, 60_000, 40_000)
"""Lots a day of the busiest option of an index, of the nearest futures and of a share's options."""

_OPEN_LOTS: Final = 200_000
"""Lots open of the busiest contract."""


@dataclass(frozen=True)
class Evening:
    """How a session ended for the underlyings, each (U,): closes in paise, volatility levels since its morning."""

    ordinal: int
    """Of the date."""
    second: int
    """Epoch second of the end."""
    close: _Floats
    close_before: _Floats
    """The close that the session began from."""
    level: _Floats


@dataclass(frozen=True)
class Terms:
    """What prices of a session come from: the end of the session before, its own end, volatilities in the long run.

    All closes are in the units of this session.
    """

    before: Evening
    today: Evening
    long_run: _Floats


@dataclass(frozen=True)
class Quotes:
    """The touch of contracts at some seconds, each (n, A) in paise: 0 as a bid where nobody buys."""

    bid: _Ints
    ask: _Ints
    step: _Ints
    """Between the levels of the book."""


class Chain:
    """One session's contracts, priced for any of them at any second."""

    def __init__(self, contracts: Contracts, terms: Terms, model: OptionModel, seed: int) -> None:
        self.contracts = contracts
        self.model = model
        self.terms = terms
        self.key = np.uint64((seed << 20 ^ contracts.day.toordinal()) & (2**64 - 1))
        rows = contracts.rows
        self._underlying, self._right, self._end = (rows[name] for name in ("underlying", "right", "end"))
        self._strike = np.maximum(rows["strike"], 1).astype(np.float64)
        self._share = np.array([one.company is not None for one in UNDERLYINGS])[self._underlying]
        near = self._nearness(terms.before)
        self.activity = near * 0.45 ** rows["order"] * np.where(self._share, 0.25, 1.0)
        """How busy contracts are, 0 to 1."""
        self.close_before = _on_tick(self._at_evening(terms.before, 1.0), rows["tick"])
        reach = np.stack([self._at_evening(terms.before, factor) for factor in (0.9, 1.1)])
        self.upper = _on_tick(reach.max(axis=0) * 1.2 + 20 * rows["tick"], rows["tick"])
        """The day's highest prices: what ten percent of the underlying makes, and a fifth more."""
        self.lower = np.where(self._right == 0, _on_tick(reach.min(axis=0), rows["tick"]), rows["tick"])
        listed_today = rows["listed"] >= terms.today.ordinal
        self.open_before = np.where(listed_today, 0, self._open_interest(terms.before))
        self.open_after = self._open_interest(terms.today)
        """Units open when the session begins and ends."""

    def worth(self, seconds: _Ints, spots: _Ints | _Floats, columns: _Ints) -> _Floats:
        """Return what contracts (A,) are worth at seconds (n,), from the underlyings' prices then, (n, U) in paise."""
        return self._priced(seconds, spots * self._basis(seconds), columns, self.terms.today)[0]

    def quotes(self, seconds: _Ints, spots: _Ints | _Floats, columns: _Ints) -> Quotes:
        """Return the touch of contracts: their worth, less and more half a spread that widens away from the money."""
        tick = self.contracts.rows["tick"][columns]
        worth, half = self._priced(seconds, spots * self._basis(seconds), columns, self.terms.today)
        bid = np.maximum(np.floor((worth - half) / tick).astype(np.int64) * tick, 0)
        ask = np.maximum(np.ceil((worth + half) / tick).astype(np.int64) * tick, bid + tick)
        step = np.maximum(1, np.rint(half / tick / 2).astype(np.int64)) * tick
        return Quotes(bid, np.minimum(ask, self.upper[columns]), step)

    def forward(self, seconds: _Ints, spots: _Ints | _Floats, columns: _Ints) -> _Floats:
        """Return the forwards of contracts, (n, A) in paise."""
        spot = spots * self._basis(seconds)
        years = self._years(seconds, columns)
        return self.model.forward(spot[:, self._underlying[columns]], years)

    def settlement(self, columns: _Ints, closes: _Ints) -> _Ints:
        """Return what contracts settle at in paise when the underlyings close at `closes` (U,): what is inside."""
        close, right = closes[self._underlying[columns]], self._right[columns]
        inside = np.maximum(right * (close - self.contracts.rows["strike"][columns]), 0)
        settled: _Ints = np.where(right == 0, close, inside)
        return settled

    def draw(self, seconds: _Ints, columns: _Ints, purpose: int) -> _Floats:
        """Return numbers in [0, 1), (n, A): one for each second and contract and purpose."""
        place = self.contracts.rows["token"][columns].astype(np.uint64)
        second = seconds.astype(np.uint64)[:, None] * np.uint64(64) + np.uint64(purpose)
        return uniform(self.key ^ place[None, :] << np.uint64(20), second)

    def bits(self, seconds: _Ints, columns: _Ints, purpose: int) -> NDArray[np.uint64]:
        """Return 64 bits for each of n (second, contract) pairs, (n,)."""
        place = self.contracts.rows["token"][columns].astype(np.uint64)
        second = seconds.astype(np.uint64) * np.uint64(64) + np.uint64(purpose)
        return mixed(self.key ^ place << np.uint64(20) ^ mixed(second))

    def _years(self, seconds: _Ints, columns: _Ints) -> _Floats:
        years: _Floats = np.maximum(self._end[columns][None, :] - seconds[:, None], 0) / YEAR_S
        return years

    def _basis(self, seconds: _Ints) -> _Floats:
        """Return the factor by which forwards stray from their carry, (n, U)."""
        at, within = np.divmod(seconds, _BASIS_S)
        share = (within / _BASIS_S)[:, None]
        number = np.arange(len(UNDERLYINGS), dtype=np.uint64)[None, :]
        points = [uniform(self.key + number, (at + k).astype(np.uint64)[:, None]) for k in (0, 1)]
        strayed: _Floats = 1.0 + _BASIS * (2.0 * (points[0] * (1 - share) + points[1] * share) - 1.0)
        return strayed

    def _priced(self, seconds: _Ints, spot: _Floats, columns: _Ints, of_day: Evening) -> tuple[_Floats, _Floats]:
        """Return worths and half spreads, each (n, A) in paise."""
        rows = self.contracts.rows[columns]
        of, right, options = self._underlying[columns], self._right[columns], self._right[columns] != 0
        years, strike = self._years(seconds, columns), self._strike[columns][None, :]
        level = self.model.level(of_day.level, spot, of_day.close_before)[:, of]
        forward = self.model.forward(spot[:, of], years)
        sigma = self.model.volatility(forward, strike, years, level, self.terms.long_run[of])
        worth = np.where(options, black(forward, strike, years, self.model.rate, sigma, right), forward)
        away = np.minimum(np.abs(self.model.deviations(forward, strike, years, sigma)), 5.0)
        share = np.where(options, 0.0008 * (1.0 + away * away), 0.00005) * (1 + rows["order"])
        return worth, 0.5 * rows["tick"] + worth * share

    def _at_evening(self, evening: Evening, factor: float) -> _Floats:
        """Return what contracts were worth at a session's end, its underlyings' closes taken times a factor."""
        second = np.array([evening.second])
        spot = evening.close[None, :] * factor * self._basis(second)
        worth: _Floats = self._priced(second, spot, np.arange(len(self._right)), evening)[0][0]
        return worth

    def _nearness(self, evening: Evening) -> _Floats:
        """Return how near the money contracts are at a session's end, 0 to 1; a future is."""
        years = self._years(np.array([evening.second]), np.arange(len(self._right)))[0]
        forward = self.model.forward(evening.close[self._underlying], years)
        away = self.model.deviations(forward, self._strike, years, evening.level[self._underlying])
        near: _Floats = np.where(self._right == 0, 1.0, np.exp(-0.4 * np.minimum(away * away, 20.0)))
        return near

    def daily_lots(self, columns: _Ints) -> _Floats:
        """Return the lots that a contract trades in a day of ordinary activity."""
        future, share = self._right[columns] == 0, self._share[columns]
        most = np.where(future, _LOTS[1], np.where(share, _LOTS[2], _LOTS[0]))
        lots: _Floats = most * self.activity[columns]
        return lots

    def _open_interest(self, evening: Evening) -> _Ints:
        """Return the units open at a session's end: they build up towards the expiry, whose own day takes most away."""
        rows = self.contracts.rows
        left = np.maximum(rows["expiry"] - evening.ordinal, 0)
        noise = uniform(rows["token"].astype(np.uint64), np.full(len(rows), evening.ordinal, np.uint64))
        built = np.where(left == 0, 0.3, np.exp(-left / _DAYS_OPEN) * 0.8 + 0.2)
        most = np.where(self._share, _OPEN_LOTS // 20, _OPEN_LOTS)
        lots = most * (0.05 + self._nearness(evening)) * built * (0.8 + 0.4 * noise)
        units: _Ints = np.rint(lots).astype(np.int64) * rows["lot"]
        return units


def _on_tick(price: _Floats, tick: _Ints) -> _Ints:
    """Return prices on their ticks, at least one."""
    return np.maximum(np.rint(price / tick).astype(np.int64), 1) * tick
