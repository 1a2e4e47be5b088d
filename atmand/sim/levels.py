"""The seeded market's daily closes: a random walk over the trading calendar that returns slowly to each base price.

Any session can be asked for directly: the walk starts on the calendar's first session and each of its steps is a pure
function of (seed, date). The generator draws every day's path between two of its closes.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.errors import AtmandError
from atmand.market.instruments import tick_size
from atmand.market.sessions import calendar
from atmand.sim.actions import SimAction
from atmand.sim.indices import index_values
from atmand.sim.universe import COMPANIES

__all__ = ["DailyCloses", "SimulatorError", "random_stream"]

_TICKS_FROM: Final = dt.date(2025, 4, 15)
"""Tick bands of NSE's circular of that date; the simulated market uses them for the days before as well."""

_FIRST_DAY: Final = dt.date(2024, 1, 1)
"""The walk begins here however far back the calendar goes: a seed's market stays the same."""

_UNCHANGED: Final = (Fraction(1),) * len(COMPANIES)
_MARKET: Final = 0.006
_SECTOR: Final = 0.005
_RETURN: Final = 0.01
_STREAM_DAILY: Final = 1


class SimulatorError(AtmandError):
    """The simulated market cannot be made from these settings, or does not reach that day."""


def random_stream(seed: int, day: dt.date, stream: int) -> np.random.Generator:
    """Return the generator of one purpose of one day: independent of every other day and of the order of asking."""
    return np.random.Generator(np.random.Philox(key=[seed, day.toordinal() * 16 + stream]))


class DailyCloses:
    """Closing prices in paise, circuit prices and ticks of the companies for every session of the calendar."""

    def __init__(self, seed: int, actions: Sequence[SimAction] = ()) -> None:
        self._seed = seed
        hours = calendar()
        span = (hours.last - _FIRST_DAY).days + 1
        days = (_FIRST_DAY + dt.timedelta(days=k) for k in range(span))
        self._sessions = [day for day in days if hours.windows(day)]
        self._base = np.log([company.rupees * 100 for company in COMPANIES])
        self._volatility = np.array([company.volatility for company in COMPANIES])
        self._circuit = np.array([company.circuit for company in COMPANIES])
        sectors = sorted({company.sector for company in COMPANIES})
        self.sector = np.array([sectors.index(company.sector) for company in COMPANIES])
        self._latent = self._base.copy()
        self._all: dict[int, NDArray[np.int64]] = {}
        self._factors = self._factors_of(actions)
        self._closes = [np.array([company.rupees * 100 for company in COMPANIES], np.int64)]

    @property
    def sessions(self) -> list[dt.date]:
        """The calendar's sessions; the first has no day before it and is not traded."""
        return self._sessions

    def position(self, day: dt.date) -> int:
        """Return the session's number; SimulatorError on a closed day and before the second session."""
        at = bisect_left(self._sessions, day)
        if at == 0 or at >= len(self._sessions) or self._sessions[at] != day:
            raise SimulatorError(
                f"simulated market, {day}",
                f"not a session between {self._sessions[1]} and {self._sessions[-1]}",
                "choose a trading day in that range",
            )
        return at

    def close(self, position: int) -> NDArray[np.int64]:
        """Return the closes of a session in paise, (C,)."""
        while len(self._closes) <= position:
            self._closes.append(self._next_close())
        return self._closes[position]

    def all_closes(self, position: int) -> NDArray[np.int64]:
        """Return a session's closes of all shares on both exchanges and of the indices made of them, in paise."""
        if position not in self._all:
            shares = np.tile(self.close(position), 2)
            self._all[position] = np.concatenate([shares, index_values(shares[None, :], self.became(position))[0]])
        return self._all[position]

    def became(self, position: int) -> tuple[Fraction, ...]:
        """Return how many shares one share of each company's base price is by a session."""
        if not self._factors:
            return _UNCHANGED
        return tuple(self.factor(company, 0, position) for company in range(len(COMPANIES)))

    def before(self, position: int) -> NDArray[np.int64]:
        """Return the closes of the session before in this session's units: an action makes them others on its day."""
        close = self.close(position - 1)
        today = self._factors.get(position, {})
        if not today:
            return close
        close = close.copy()
        for company, factor in today.items():
            close[company] = max(1, round(close[company] / factor))
        return close

    def factor(self, company: int, after: int, until: int) -> Fraction:
        """Return how many shares one share of session `after` has become by session `until`."""
        factor = Fraction(1)
        for position, today in self._factors.items():
            if after < position <= until:
                factor *= today.get(company, 1)
        return factor

    def limits(self, position: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return a session's ticks, lower and upper circuit prices in paise, from the close of the day before."""
        before = self.before(position)
        day = max(self._sessions[position], _TICKS_FROM)
        tick = np.array([tick_size(int(price), day) for price in before], np.int64)
        reach = before * self._circuit // 100
        return tick, -(-(before - reach) // tick) * tick, (before + reach) // tick * tick

    def _next_close(self) -> NDArray[np.int64]:
        position = len(self._closes)
        stream = random_stream(self._seed, self._sessions[position], _STREAM_DAILY)
        market = stream.standard_normal() * _MARKET
        sectors = stream.standard_normal(int(self.sector.max()) + 1) * _SECTOR
        own = stream.standard_normal(len(COMPANIES)) * self._volatility
        for company, factor in self._factors.get(position, {}).items():
            self._base[company] -= np.log(float(factor))
            self._latent[company] -= np.log(float(factor))
        pull = _RETURN * (self._base - self._latent)
        self._latent = self._latent + pull + market + sectors[self.sector] + own
        tick, lower, upper = self.limits(position)
        fair = np.rint(np.exp(self._latent) / tick).astype(np.int64) * tick
        close: NDArray[np.int64] = np.clip(fair, lower, upper)
        return close

    def _factors_of(self, actions: Sequence[SimAction]) -> dict[int, dict[int, Fraction]]:
        """Return by session what one share of a company becomes on it; SimulatorError for what cannot happen."""
        companies = {company.symbol: number for number, company in enumerate(COMPANIES)}
        found: dict[int, dict[int, Fraction]] = {}
        for action in actions:
            if action.symbol not in companies:
                known = ", ".join(list(companies)[:5])
                raise SimulatorError(
                    "corporate_actions", f"{action.symbol!r} is no share of this market", f"{known} are"
                )
            today = found.setdefault(self.position(action.ex_date), {})
            company = companies[action.symbol]
            today[company] = today.get(company, Fraction(1)) * action.factor
        return found
