"""Intervals of daily figures by the stationary bootstrap, which keeps what one day has to do with the next.

Politis and Romano, Journal of the American Statistical Association 89 (1994) 1303: blocks of geometric length are drawn
from the days closed to a circle. The mean length is the cube root of the number of days, rounded: the rate at which
their section 4 lets it grow. The seed is the caller's, so that a run has one interval.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.ledger.statistics import NO_DEVIATION, SESSIONS_A_YEAR

__all__ = ["LEAST_DAYS", "Intervals", "block_days", "intervals", "resampled_moments"]

LEAST_DAYS: Final = 10
"""With fewer there is no interval: it would be drawn from next to nothing."""

_REPLICATES: Final = 2_000
_LEVEL: Final = 0.95


@dataclass(frozen=True)
class Intervals:
    """Percentile intervals at `level` over `replicates` resampled histories; None is undefined."""

    level: float
    replicates: int
    block_days: int
    sharpe: tuple[float, float] | None
    annual_return: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def block_days(days: int) -> int:
    """Return the mean length of a block."""
    return max(1, round(math.cbrt(days)))


def intervals(
    returns: NDArray[np.float64], seed: int, *, replicates: int = _REPLICATES, level: float = _LEVEL
) -> Intervals:
    """Return the intervals of the Sharpe ratio and the annual return of daily returns."""
    days = len(returns)
    if days < LEAST_DAYS:
        return Intervals(level, replicates, block_days(days), None, None)
    sums, squares, growth = resampled_moments(returns, seed, replicates=replicates)
    mean = sums / days
    deviation = np.sqrt(np.maximum(0.0, (squares - days * mean * mean) / (days - 1)))
    whole = deviation > NO_DEVIATION
    sharpes = mean[whole] / deviation[whole] * math.sqrt(SESSIONS_A_YEAR)
    annual = np.expm1(growth * (SESSIONS_A_YEAR / days))
    return Intervals(level, replicates, block_days(days), _between(sharpes, level), _between(annual, level))


def resampled_moments(
    returns: NDArray[np.float64], seed: int, *, replicates: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum, the sum of squares and the log growth of each resampled history.

    All histories are drawn side by side, a day at a time, so that memory does not grow with the days.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    days = len(returns)
    ends = 1 / block_days(days)
    logs = np.log(np.maximum(1 + returns, np.finfo(np.float64).tiny))
    at = generator.integers(0, days, replicates)
    sums, squares, growth = np.zeros(replicates), np.zeros(replicates), np.zeros(replicates)
    for _ in range(days):
        drawn = returns[at]
        sums += drawn
        squares += drawn * drawn
        growth += logs[at]
        fresh = generator.integers(0, days, replicates)
        at = np.where(generator.random(replicates) < ends, fresh, (at + 1) % days)
    return sums, squares, growth


def _between(values: NDArray[np.float64], level: float) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
