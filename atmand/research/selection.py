"""How much of a Sharpe ratio is choice: the best of many trials looks good by luck alone.

- probabilistic and deflated Sharpe ratio: Bailey and Lopez de Prado, Journal of Portfolio Management 40 (2014) 94;
- probability of backtest overfitting by combinatorially symmetric cross-validation: Bailey, Borwein, Lopez de Prado and
  Zhu, Journal of Computational Finance 20 (2017) 39, the working paper of 2015.

Sharpe ratios here are of a period (a day), never annual: the formulas count observations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.errors import AtmandError
from atmand.ledger.statistics import NO_DEVIATION

__all__ = [
    "Deflated",
    "Overfitting",
    "Trials",
    "deflated_sharpe",
    "expected_best_sharpe",
    "overfitting",
    "probabilistic_sharpe",
    "sharpe_of_days",
]

_NORMAL: Final = NormalDist()
_EULER_MASCHERONI: Final = 0.577_215_664_901_532_9


@dataclass(frozen=True)
class Trials:
    """Sharpe ratios of trials: how many, their mean, and the sum of squared differences from it."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, sharpes: Iterable[float | None]) -> Trials:
        """Count trials by their daily Sharpe ratios; one that has none is a trial with 0."""
        values = np.array([0.0 if value is None else value for value in sharpes], np.float64)
        if not len(values):
            return cls()
        mean = float(values.mean())
        return cls(len(values), mean, float(((values - mean) ** 2).sum()))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trials:
        return cls(int(document["n"]), float(document["mean"]), float(document["squares"]))

    def __add__(self, other: Trials) -> Trials:
        """Pool two sets of trials (Chan, Golub and LeVeque, The American Statistician 37 (1983) 242)."""
        n = self.n + other.n
        if n == 0:
            return self
        delta = other.mean - self.mean
        squares = self.squares + other.squares + delta * delta * self.n * other.n / n
        return Trials(n, self.mean + delta * other.n / n, squares)

    @property
    def variance(self) -> float:
        """Sample variance; 0 for a single trial."""
        return self.squares / (self.n - 1) if self.n > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Deflated:
    """Probability that the true Sharpe ratio is above what the best of so many trials reaches without any skill."""

    probability: float | None
    trials: int
    expected_best: float
    """Of a day: the Sharpe ratio that luck alone would have reached."""
    variance: float
    """Of the trials' daily Sharpe ratios."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def sharpe_of_days(returns: NDArray[np.float64]) -> float | None:
    """Return the Sharpe ratio of a day, with the sample's deviation; None where there is none."""
    if len(returns) < 2:
        return None
    deviation = float(returns.std(ddof=1))
    return float(returns.mean()) / deviation if deviation > NO_DEVIATION else None


def deflated_sharpe(returns: NDArray[np.float64], trials: Trials) -> Deflated:
    """Return the deflated Sharpe ratio of daily returns that are the choice out of these trials, this one included."""
    best = expected_best_sharpe(trials.n, trials.variance)
    sharpe = sharpe_of_days(returns)
    if sharpe is None:
        return Deflated(None, trials.n, best, trials.variance)
    standard = (returns - returns.mean()) / returns.std()
    skew, kurtosis = float((standard**3).mean()), float((standard**4).mean())
    return Deflated(
        probabilistic_sharpe(sharpe, len(returns), skew, kurtosis, benchmark=best), trials.n, best, trials.variance
    )


def expected_best_sharpe(trials: int, variance: float) -> float:
    """Return the expected highest Sharpe ratio of so many trials whose true one is 0; of a single one, 0."""
    if trials < 2 or variance <= 0:
        return 0.0
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER_MASCHERONI) * first + _EULER_MASCHERONI * second)


def probabilistic_sharpe(
    sharpe: float, observations: int, skew: float, kurtosis: float, *, benchmark: float = 0.0
) -> float | None:
    """Return the probability that the true Sharpe ratio is above a benchmark; `kurtosis` is 3 for a normal one."""
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe
    if observations < 2 or spread <= 0:
        return None
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(observations - 1) / math.sqrt(spread))


@dataclass(frozen=True)
class Overfitting:
    """What cross-validation says of choosing the best of many by its Sharpe ratio."""

    probability: float
    """Share of the splits in which the best in sample is below the median out of sample."""
    splits: int
    blocks: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def overfitting(returns: NDArray[np.float64], *, blocks: int = 16) -> Overfitting:
    """Return the probability of backtest overfitting of a matrix of returns (periods, trials).

    The periods are cut into an even number of blocks, as equal as they come, the longer ones first; every half of them
    is in sample once. A trial without deviation has a Sharpe ratio of 0. Equal ratios share their mean rank.
    """
    periods, trials = returns.shape
    if blocks % 2 or blocks < 2 or trials < 2 or periods < 2 * blocks:
        raise AtmandError(
            "overfitting",
            f"{periods} periods of {trials} trials in {blocks} blocks",
            "give at least two trials, and two periods to each of an even number of blocks",
        )
    cut = np.array_split(returns, blocks)
    counts = np.array([len(block) for block in cut])
    sums = np.stack([block.sum(axis=0) for block in cut])
    squares = np.stack([(block * block).sum(axis=0) for block in cut])
    below = splits = 0
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.zeros(blocks, np.bool_)
        inside[list(chosen)] = True
        best = int(_sharpes(counts[inside], sums[inside], squares[inside]).argmax())
        outside = _sharpes(counts[~inside], sums[~inside], squares[~inside])
        rank = (outside < outside[best]).sum() + ((outside == outside[best]).sum() + 1) / 2
        below += rank / (trials + 1) <= 0.5
        splits += 1
    return Overfitting(below / splits, splits, blocks)


def _sharpes(counts: NDArray[np.int64], sums: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    n = int(counts.sum())
    mean = sums.sum(axis=0) / n
    deviation = np.sqrt(np.maximum(0.0, (squares.sum(axis=0) - n * mean * mean) / (n - 1)))
    ratios: NDArray[np.float64] = np.where(deviation > NO_DEVIATION, mean / np.maximum(deviation, NO_DEVIATION), 0.0)
    return ratios
