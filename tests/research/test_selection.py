"""Deflation and overfitting: the published example, other people's moments, and the definitions by brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from atmand.errors import AtmandError
from atmand.research.selection import (
    Trials,
    deflated_sharpe,
    expected_best_sharpe,
    overfitting,
    probabilistic_sharpe,
    sharpe_of_days,
)


@pytest.mark.parametrize(("trials", "published"), [(100, 0.9004), (46, 0.9505)])
def test_the_published_example_comes_out(trials: int, published: float) -> None:
    # Bailey and Lopez de Prado (2014), "a numerical example": five years of days, an annual Sharpe ratio of 2.5.
    best = expected_best_sharpe(trials, 0.5 / 250)
    found = probabilistic_sharpe(2.5 / math.sqrt(250), 1250, -3, 10, benchmark=best)
    assert found == pytest.approx(published, abs=5e-5)
    if trials == 100:
        assert best == pytest.approx(0.1132, abs=5e-5)


def test_a_single_trial_is_deflated_by_nothing_and_more_trials_by_more() -> None:
    returns = np.random.default_rng(3).standard_t(5, 300) / 100 + 0.001
    sharpe = returns.mean() / returns.std(ddof=1)
    skew, kurtosis = stats.skew(returns), stats.kurtosis(returns, fisher=False)
    spread = math.sqrt(1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2)
    alone = deflated_sharpe(returns, Trials.of([sharpe]))
    assert alone.probability == pytest.approx(stats.norm.cdf(sharpe * math.sqrt(299) / spread))
    assert alone.expected_best == 0
    told = [deflated_sharpe(returns, Trials.of([sharpe, *([0.0, 0.05] * n)])).probability for n in (1, 10, 100)]
    assert alone.probability > told[0] > told[1] > told[2]


def test_no_deviation_is_no_sharpe_ratio() -> None:
    assert sharpe_of_days(np.array([0.01])) is None
    assert sharpe_of_days(np.full(9, 0.01)) is None
    assert deflated_sharpe(np.zeros(9), Trials.of([None])).probability is None


def test_pooled_trials_have_the_moments_of_all_of_them() -> None:
    values = np.random.default_rng(1).normal(size=30)
    pooled = Trials.of(values[:7]) + Trials() + Trials.of(values[7:8]) + Trials.of(values[8:])
    assert (pooled.n, pooled.mean) == (30, pytest.approx(values.mean()))
    assert pooled.variance == pytest.approx(values.var(ddof=1))


def pbo_of_the_definition(returns: np.ndarray, blocks: int) -> float:
    cut = np.array_split(returns, blocks)
    logits = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([cut[at] for at in chosen])
        outside = np.concatenate([cut[at] for at in range(blocks) if at not in chosen])
        best = (inside.mean(axis=0) / inside.std(axis=0, ddof=1)).argmax()
        ranks = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))
        share = ranks[best] / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return float(np.mean(np.array(logits) <= 0))


@pytest.mark.parametrize(("periods", "trials", "blocks"), [(60, 7, 6), (83, 12, 8), (41, 2, 4)])
def test_overfitting_is_as_defined(periods: int, trials: int, blocks: int) -> None:
    returns = np.random.default_rng(periods).normal(0.0002, 0.01, (periods, trials))
    found = overfitting(returns, blocks=blocks)
    assert found.splits == math.comb(blocks, blocks // 2)
    assert found.probability == pytest.approx(pbo_of_the_definition(returns, blocks))


def test_a_real_edge_is_not_overfitting() -> None:
    returns = np.random.default_rng(8).normal(0, 0.01, (320, 20))
    returns[:, 4] += 0.02
    assert overfitting(returns).probability == 0


@pytest.mark.parametrize(("shape", "blocks"), [((100, 1), 4), ((100, 5), 5), ((7, 5), 4)])
def test_a_matrix_that_cannot_be_split_is_refused(shape: tuple[int, int], blocks: int) -> None:
    with pytest.raises(AtmandError, match="two periods to each of an even number of blocks"):
        overfitting(np.zeros(shape), blocks=blocks)
