"""Objectives of a sweep, and walking forward: choose on the past, count on what came next, again and again.

Every set is run once over all sessions; a fold is a stretch of its daily returns. So a set trades on across the folds'
edges, as it would have in life, and only the choice is made anew. Days are sessions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from atmand.errors import UsageError
from atmand.ledger.statistics import NO_DEVIATION, SESSIONS_A_YEAR

__all__ = ["Fold", "Objective", "WalkForward", "daily_returns", "objective_of", "read_walk", "score", "walk_forward"]

Objective = Literal["sharpe", "sortino", "net", "calmar"]
"""Of daily returns; `net` is the sum gained, `calmar` that over the worst drawdown of the sessions' ends."""

_OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)


def objective_of(name: str) -> Objective:
    """Return an objective by its name; UsageError where there is none."""
    found = next((known for known in _OBJECTIVES if known == name), None)
    if found is None:
        raise UsageError(f"objective {name}", "unknown", f"known are {', '.join(_OBJECTIVES)}")
    return found


def daily_returns(equity: NDArray[np.int64], capital_paise: int) -> NDArray[np.float64]:
    """Return the daily returns (sets, sessions) of equities at the sessions' ends; after a ruin they are 0."""
    before = np.concatenate([np.full((len(equity), 1), capital_paise, np.int64), equity[:, :-1]], axis=1)
    alive = np.logical_and.accumulate(before > 0, axis=1)
    return np.asarray(np.where(alive, equity / np.where(alive, before, 1) - 1, 0.0), np.float64)


def score(returns: NDArray[np.float64], objective: Objective) -> NDArray[np.float64]:
    """Return what each set (a row of daily returns) is worth; one that cannot be told is worth the least."""
    n = returns.shape[1]
    if objective == "net":
        return np.asarray(np.prod(1 + returns, axis=1) - 1, np.float64)
    if objective == "calmar":
        curve = np.cumprod(1 + returns, axis=1)
        peaks = np.maximum.accumulate(np.maximum(curve, 1.0), axis=1)
        return _ratio(curve[:, -1] - 1, (1 - curve / peaks).max(axis=1))
    mean = returns.mean(axis=1)
    if objective == "sortino":
        return _ratio(mean, np.sqrt((np.minimum(returns, 0.0) ** 2).mean(axis=1))) * math.sqrt(SESSIONS_A_YEAR)
    deviation = returns.std(axis=1, ddof=1) if n > 1 else np.zeros(len(returns))
    return _ratio(mean, deviation) * math.sqrt(SESSIONS_A_YEAR)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    sound = below > NO_DEVIATION
    return np.asarray(np.where(sound, above / np.where(sound, below, 1.0), -np.inf), np.float64)


@dataclass(frozen=True)
class Fold:
    """One step: the set that was best on the sessions before, and what it made on the next ones."""

    train: slice
    test: slice
    chosen: int
    train_score: float | None
    test_score: float | None
    rank: float
    """Of the chosen set on the test sessions among all sets: 1 the best, 0 the worst."""


@dataclass(frozen=True, eq=False)
class WalkForward:
    """All folds, and the daily returns of their tests put together."""

    folds: tuple[Fold, ...]
    returns: NDArray[np.float64]
    objective: Objective

    @property
    def score(self) -> float | None:
        return _told(score(self.returns[None, :], self.objective)[0])

    @property
    def net(self) -> float:
        return float(np.prod(1 + self.returns) - 1)

    @property
    def worst_drawdown(self) -> float:
        curve = np.cumprod(1 + self.returns)
        return float((1 - curve / np.maximum.accumulate(np.maximum(curve, 1.0))).max())


def read_walk(word: str) -> tuple[int, int, int]:
    """Read `train:test` or `train:test:step`, in sessions; the step is the test's length where none is given."""
    parts = word.split(":")
    if not (len(parts) in (2, 3) and all(part.isdigit() and int(part) > 0 for part in parts)):
        what = "is not TRAIN:TEST or TRAIN:TEST:STEP"
        raise UsageError(f"--walk-forward {word}", what, "write it as 60:20, in sessions")
    train, test, *step = map(int, parts)
    if train < 2 or (step and step[0] < test):
        remedy = "train on 2 sessions at least, and step by TEST at least: a session is tested once"
        raise UsageError(f"--walk-forward {word}", "cannot be stitched", remedy)
    return train, test, step[0] if step else test


def walk_forward(returns: NDArray[np.float64], plan: tuple[int, int, int], objective: Objective) -> WalkForward:
    """Walk forward over daily returns (sets, sessions); UsageError where there is not one whole fold."""
    folds = tuple(_folds(returns, plan, objective))
    if not folds:
        train, test, _ = plan
        what = f"{train} + {test} sessions, and there are {returns.shape[1]}"
        raise UsageError("--walk-forward", what, "give more bars, or shorter stretches")
    stitched = np.concatenate([returns[fold.chosen, fold.test] for fold in folds])
    return WalkForward(folds, stitched, objective)


def _folds(returns: NDArray[np.float64], plan: tuple[int, int, int], objective: Objective) -> Iterator[Fold]:
    train, test, step = plan
    for start in range(0, returns.shape[1] - train - test + 1, step):
        learn, check = slice(start, start + train), slice(start + train, start + train + test)
        inside, outside = score(returns[:, learn], objective), score(returns[:, check], objective)
        chosen = int(inside.argmax())
        below = float((outside < outside[chosen]).sum() + ((outside == outside[chosen]).sum() - 1) / 2)
        rank = below / (len(outside) - 1) if len(outside) > 1 else 1.0
        yield Fold(learn, check, chosen, _told(inside[chosen]), _told(outside[chosen]), rank)


def _told(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
