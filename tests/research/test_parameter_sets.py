"""Parameter sets: Sobol's sequence against scipy's, grids on their steps, ranges and scales honoured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from atmand.errors import UsageError
from atmand.lang.strategy import Parameter
from atmand.research.parameter_sets import axes_of, grid_sets, read_axis, spread_sets
from atmand.research.sobol import MOST_DIMENSIONS, sobol

PARAMS = {
    "period": Parameter(default=14, range=(5, 30), step=5, unit="bars"),
    "level": Parameter(default=0.3, range=(0.1, 0.7), step=0.2),
    "loss": Parameter(default=1, range=(0.01, 100), scale="log"),
}


def test_sobol_is_scipys_sequence_in_every_dimension() -> None:
    theirs = qmc.Sobol(MOST_DIMENSIONS, scramble=False).random_base2(9)
    assert np.array_equal(sobol(512, MOST_DIMENSIONS), theirs)


def test_a_seed_shifts_sobols_points_and_keeps_them_even() -> None:
    for seed in (0, 3, 4):
        cells = np.floor(sobol(64, 2, seed) * 8).astype(int)
        assert len({tuple(cell) for cell in cells}) == 64
    assert not np.array_equal(sobol(64, 2, 3), sobol(64, 2, 4))


def test_a_grid_takes_every_combination_on_the_declared_steps() -> None:
    axes = axes_of(PARAMS, [], {"loss": 2.0})
    sets = grid_sets(PARAMS, axes, {"loss": 2.0})
    assert sets.names == ("period", "level", "loss") and sets.varied == ("period", "level")
    assert len(sets.values) == 6 * 4
    assert sets.values[0].tolist() == [5, 0.1, 2.0] and sets.values[-1].tolist() == [30, 0.7, 2.0]
    assert sorted(set(sets.values[:, 1])) == [0.1, 0.3, 0.5, 0.7]


def test_given_axes_replace_the_declared_ones_and_the_rest_stays_at_its_default() -> None:
    axes = axes_of(PARAMS, [read_axis("period=10:20:10"), read_axis("loss=0.01:100")], {})
    assert grid_sets(PARAMS, axes, {}).values.tolist() == [
        [period, 0.3, loss] for period in (10, 20) for loss in (0.01, 0.1, 1, 10, 100)
    ]


@pytest.mark.parametrize("is_sobol", [True, False])
def test_spread_sets_keep_to_steps_scales_and_whole_bars(is_sobol: bool) -> None:
    axes = axes_of(PARAMS, [], {})
    sets = spread_sets(PARAMS, axes, {}, n=256, is_sobol=is_sobol, seed=2)
    period, level, loss = sets.values.T
    assert set(period) == {5, 10, 15, 20, 25, 30} and set(level) == {0.1, 0.3, 0.5, 0.7}
    assert 0.4 < (loss < 1).mean() < 0.6 and loss.min() >= 0.01 and loss.max() <= 100  # half below the middle decade
    assert np.array_equal(sets.values, spread_sets(PARAMS, axes, {}, n=256, is_sobol=is_sobol, seed=2).values)


def test_equal_sets_are_one() -> None:
    axes = axes_of(PARAMS, [read_axis("period=5:10:5")], {})
    assert len(spread_sets(PARAMS, axes, {}, n=64, is_sobol=True).values) == 2


@pytest.mark.parametrize(
    ("words", "fixed", "said"),
    [
        (["period=5"], {}, "is not name=from:to:step"),
        (["period=30:5:1"], {}, "is not name=from:to:step"),
        (["period=5:31:1"], {}, "stay inside 5:30"),
        (["period=5:30:2.5"], {}, "write whole numbers"),
        (["perod=5:30:5"], {}, "did you mean period"),
        (["period=5:30:5"], {"period": 5.0}, "is set and varied"),
        ([], {"period": 5.0, "level": 0.1, "loss": 1.0}, "nothing is varied"),
        (["loss=0.01:100:0.00001"], {}, "give it a longer step"),
    ],
)
def test_what_cannot_be_varied_is_refused(words: list[str], fixed: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        grid_sets(PARAMS, axes_of(PARAMS, [read_axis(word) for word in words], fixed), fixed)
