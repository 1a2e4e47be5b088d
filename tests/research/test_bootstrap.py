"""The stationary bootstrap: its variance is the one its authors derived, and an interval repeats itself."""

from __future__ import annotations

import numpy as np
import pytest

from atmand.research.bootstrap import LEAST_DAYS, block_days, intervals, resampled_moments


def made_returns(days: int = 125) -> np.ndarray:
    """Days that have to do with each other."""
    noise = np.random.default_rng(4).normal(0.0005, 0.01, days)
    return noise + 0.6 * np.concatenate([[0.0], noise[:-1]])


def test_the_variance_of_the_mean_is_that_of_the_paper() -> None:
    # Politis and Romano (1994), Lemma 1: the bootstrap's variance is a weighted sum of circular autocovariances.
    returns = made_returns()
    days = len(returns)
    ends = 1 / block_days(days)
    centred = returns - returns.mean()
    covariances = [float((centred * np.roll(centred, -lag)).mean()) for lag in range(days)]
    weights = [(1 - lag / days) * (1 - ends) ** lag for lag in range(days)]
    derived = covariances[0] + 2 * sum(w * c for w, c in zip(weights[1:], covariances[1:], strict=True))
    sums, squares, growth = resampled_moments(returns, 9, replicates=40_000)
    assert (sums / np.sqrt(days)).var() == pytest.approx(derived, rel=0.03)
    assert derived > 1.2 * covariances[0]  # single days drawn alone would have missed this
    assert sums.mean() / days == pytest.approx(returns.mean(), abs=1e-4)
    assert squares.mean() / days == pytest.approx((returns**2).mean(), rel=0.02)
    assert growth.mean() / days == pytest.approx(np.log1p(returns).mean(), abs=1e-4)


def test_an_interval_is_the_seeds_and_holds_the_figure() -> None:
    returns = made_returns()
    first = intervals(returns, 5)
    assert first == intervals(returns, 5) != intervals(returns, 6)
    sharpe = returns.mean() / returns.std(ddof=1) * np.sqrt(252)
    annual = np.prod(1 + returns) ** (252 / len(returns)) - 1
    assert first.sharpe is not None and first.sharpe[0] < sharpe < first.sharpe[1]
    assert first.annual_return is not None and first.annual_return[0] < annual < first.annual_return[1]
    assert first.block_days == 5


def test_too_few_days_and_days_without_deviation_have_no_interval() -> None:
    few = intervals(made_returns(LEAST_DAYS - 1), 1)
    assert few.sharpe is None and few.annual_return is None
    calm = intervals(np.zeros(50), 1)
    assert calm.sharpe is None and calm.annual_return == (0, 0)
