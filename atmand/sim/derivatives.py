"""The seeded market's derivatives: its closes made into listings, volatilities and chains, session by session."""

from __future__ import annotations

import datetime as dt
import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.market.sessions import FUTURES, windows
from atmand.sim.chain import Chain, Evening, Terms
from atmand.sim.contracts import UNDERLYINGS, Contracts, Listings, Underlying
from atmand.sim.levels import DailyCloses
from atmand.sim.option_model import OptionModel
from atmand.sim.universe import COMPANIES

__all__ = ["Derivatives"]

_SECOND: Final = 1_000_000_000
_YEAR: Final = 252
_DECAY: Final = 0.94
"""Weight of yesterday's variance. Source: RiskMetrics technical document, 1996."""

_MEMORY: Final = 60
"""Sessions whose moves count."""

_INDEX_LONG_RUN: Final = 0.13
_COMMON: Final = 0.0078
"""Daily volatility that every share has from market and sector."""


class Derivatives:
    """Contracts and chains of any session of a calendar of closes."""

    def __init__(self, closes: DailyCloses, model: OptionModel, seed: int) -> None:
        self._closes = closes
        self._model = model
        self._seed = seed
        self._listings = Listings(closes.sessions, self._close_of, closes.factor)
        self._long_run = np.array([_long_run(one) for one in UNDERLYINGS])
        self.contracts = lru_cache(maxsize=8)(self._contracts)
        self.chain = lru_cache(maxsize=4)(self._chain)

    def _contracts(self, position: int) -> Contracts:
        """Return what is listed on a session."""
        return self._listings.on(position)

    def _chain(self, position: int) -> Chain:
        """Return a session's contracts with their prices."""
        before = self._evening(max(position - 1, 0), position)
        terms = Terms(before=before, today=self._evening(position, position), long_run=self._long_run)
        return Chain(self.contracts(position), terms, self._model, self._seed)

    def closes(self, position: int) -> NDArray[np.int64]:
        """Return the underlyings' closes of a session in paise, (U,)."""
        close = self._closes.all_closes(position)
        return close[[one.column for one in UNDERLYINGS]]

    def _close_of(self, underlying: Underlying, position: int) -> int:
        return int(self._closes.all_closes(position)[underlying.column])

    def _evening(self, position: int, units: int) -> Evening:
        """Return how a session ended, prices in the units of session `units`."""
        day = self._closes.sessions[position]
        before = max(position - 1, 0)
        return Evening(
            ordinal=day.toordinal(),
            second=_last_second(day),
            close=self.closes(position) / self._became(position, units),
            close_before=self.closes(before) / self._became(before, units),
            level=self._level(position),
        )

    def _became(self, after: int, until: int) -> NDArray[np.float64]:
        shares = [
            1.0 if u.company is None else float(self._closes.factor(u.company, after, until)) for u in UNDERLYINGS
        ]
        return np.array(shares)

    def _level(self, position: int) -> NDArray[np.float64]:
        """Return the implied volatilities of a session's morning, (U,): the realised ones of the days before it.

        Variance is the weighted mean of the last squared daily moves, half way to what it is in the long run.
        """
        settled = (self._long_run / self._model.premium) ** 2
        realised = settled
        for at in range(max(1, position - _MEMORY), position):
            moves = np.log(self.closes(at) * self._became(at - 1, at) / self.closes(at - 1))
            realised = _DECAY * realised + (1 - _DECAY) * moves * moves * _YEAR
        level: NDArray[np.float64] = self._model.premium * np.sqrt(0.5 * realised + 0.5 * settled)
        return level


def _long_run(underlying: Underlying) -> float:
    if underlying.company is None:
        return _INDEX_LONG_RUN
    own = COMPANIES[underlying.company].volatility
    return math.sqrt(_YEAR * (own * own + _COMMON * _COMMON))


def _last_second(day: dt.date) -> int:
    hours = windows(day, group=FUTURES) or windows(day)
    return max(window.close_ns for window in hours) // _SECOND - 1
