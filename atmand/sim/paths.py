"""The fair paths behind a seeded session: regimes, the factors, and the swings that indicators find.

Every path runs exactly from an opening near the close of the day before to the day's own close, both known beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.sim.universe import COMPANIES

__all__ = ["Regimes", "company_paths", "day_shape", "regimes"]

_CALM, _TREND, _SPIKE = 0, 1, 2
_SWITCH: Final = np.array([[0.970, 0.025, 0.005], [0.040, 0.950, 0.010], [0.090, 0.010, 0.900]])
"""Chance of the next minute's regime (column) by this minute's (row)."""

_VOLATILITY: Final = np.array([0.8, 1.0, 2.6])
_ACTIVITY: Final = np.array([1.0, 1.1, 1.8])
_SPREAD: Final = np.array([1, 1, 3], np.int8)
_DRIFT: Final = 0.00025
"""A trend's drift of the market, a minute."""

_MARKET: Final = 0.005
_SECTOR: Final = 0.003
_OWN: Final = 0.5
"""Intraday noise: market and sector as a day's deviation, own as a share of the company's daily volatility."""

_GRID: Final = 15
"""Seconds between the points at which swings are drawn; between them they run straight."""

_SWING: Final = 0.003
_PULL: Final = math.exp(-_GRID / 600.0)
"""Swings fade with a time of ten minutes."""

_OVERNIGHT: Final = 0.35
_GAP: Final = 0.002


@dataclass(frozen=True, slots=True)
class Regimes:
    """A session's regimes by second, each (S,): volatility and activity as factors, spread in ticks, drift in logs."""

    volatility: NDArray[np.float64]
    activity: NDArray[np.float64]
    spread: NDArray[np.int8]
    drift: NDArray[np.float64]


def day_shape(seconds: int) -> NDArray[np.float64]:
    """Return the session's U of activity, (S,): busy at the opening, quiet at noon, busy again towards the close."""
    at = np.linspace(0.0, 1.0, seconds)
    return 0.75 + 0.9 * (2 * at - 1) ** 4 + 0.6 * np.exp(-25 * at)


def regimes(stream: np.random.Generator, seconds: int) -> Regimes:
    """Draw the session's regimes by a Markov chain of minutes; a trend keeps its direction until it ends."""
    minutes = -(-seconds // 60)
    draws = stream.random((minutes, 2))
    ladder = np.cumsum(_SWITCH, axis=1)
    state, direction = _CALM, 0.0
    states, directions = np.empty(minutes, np.int64), np.empty(minutes)
    for minute, (draw, sign) in enumerate(draws):
        following = min(int(np.searchsorted(ladder[state], draw, side="right")), _SPIKE)
        if following == _TREND and state != _TREND:
            direction = 1.0 if sign < 0.5 else -1.0
        state = following
        states[minute] = state
        directions[minute] = direction if state == _TREND else 0.0
    by_second = np.repeat(states, 60)[:seconds]
    return Regimes(
        volatility=_VOLATILITY[by_second],
        activity=_ACTIVITY[by_second],
        spread=_SPREAD[by_second],
        drift=np.repeat(directions, 60)[:seconds] * _DRIFT / 60,
    )


def company_paths(
    stream: np.random.Generator,
    regime: Regimes,
    before: NDArray[np.int64],
    close: NDArray[np.int64],
    sector: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the log fair prices in paise, (S, companies), from the opening to the day's `close`.

    `before` is the close of the day before; both are paise, (companies,).
    """
    seconds = len(regime.drift)
    scale = (regime.volatility * np.sqrt(day_shape(seconds)) / np.sqrt(seconds))[:, None]
    volatility = np.array([company.volatility for company in COMPANIES])
    steps = stream.standard_normal((seconds, len(COMPANIES)))
    steps *= scale * (volatility * _OWN)
    sectors = stream.standard_normal((seconds, int(sector.max()) + 1)) * (scale * _SECTOR)
    market = stream.standard_normal((seconds, 1)) * (scale * _MARKET) + regime.drift[:, None]
    steps += (sectors + market)[:, sector]
    walk = np.cumsum(steps, axis=0, out=steps)
    walk += _swings(stream, seconds, volatility / volatility.mean())
    start, end = np.log(before), np.log(close)
    opening = start + _OVERNIGHT * (end - start) + stream.standard_normal(len(COMPANIES)) * _GAP
    at = np.linspace(0.0, 1.0, seconds)[:, None]
    walk += opening - walk[0] + at * ((end - opening) - (walk[-1] - walk[0]))
    return walk


def _swings(stream: np.random.Generator, seconds: int, size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return slow swings round the walk, (S, companies): a pull towards zero, followed by one that lags behind it.

    The lag makes a move go on for some minutes and the pull brings it back: what oscillators and crossings live on.
    """
    points = seconds // _GRID + 2
    noise = stream.standard_normal((points, len(size))) * (_SWING * math.sqrt(1 - _PULL**2) * size)
    fast, slow = np.zeros(len(size)), np.zeros(len(size))
    grid = np.empty_like(noise)
    for point in range(points):
        fast = fast * _PULL + noise[point]
        slow = slow * _PULL + fast * (1 - _PULL)
        grid[point] = 0.4 * fast + slow
    at, within = np.divmod(np.arange(seconds), _GRID)
    share = (within / _GRID)[:, None]
    swings: NDArray[np.float64] = grid[at] * (1 - share) + grid[at + 1] * share
    return swings
