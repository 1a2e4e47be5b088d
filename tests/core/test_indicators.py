"""The streaming indicators beside TA-Lib: the same first value, and the same numbers from there on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atmand.core.crossing import CROSSING, crosses_above, crosses_below
from atmand.core.indicators import INDICATORS, atr, ema, lookback, macd, rsi, sma

pytestmark = pytest.mark.oracle

Floats = NDArray[np.float64]
STEPS = {"sma": sma, "ema": ema, "rsi": rsi, "macd": macd, "atr": atr}


def plain(kernel: Any) -> Callable[..., Any]:
    """Return a kernel's Python source: compiled or not, it is the same function."""
    return getattr(kernel, "py_func", kernel)


def state_of(name: str, *tops: int) -> SimpleNamespace:
    dtype = INDICATORS[name].state(*tops)
    return SimpleNamespace(**{field: np.zeros((), dtype)[field].copy().tolist() for field in dtype.names or ()})


def fold(name: str, inputs: Sequence[Floats], periods: Sequence[int], tops: Sequence[int] | None = None) -> Floats:
    """Run a step over its inputs; rows are bars, columns the outputs."""
    step, state = plain(STEPS[name]), state_of(name, *(tops or periods))
    return np.array([np.atleast_1d(step(state, *map(float, row), *periods)) for row in zip(*inputs, strict=True)])


def oracle(name: str, inputs: Sequence[Floats], periods: Sequence[int]) -> Floats:
    answer = getattr(talib, name.upper())(*inputs, *periods)
    return np.column_stack(answer) if isinstance(answer, tuple) else np.asarray(answer)[:, None]


def assert_agrees(name: str, inputs: Sequence[Floats], periods: Sequence[int]) -> None:
    """Compare with TA-Lib: missing at the same bars, elsewhere within 1e-9 of the value or the price level."""
    mine, theirs = fold(name, inputs, periods), oracle(name, inputs, periods)
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs))
    level = np.maximum(np.abs(theirs), np.max(np.abs(inputs[-1])))
    wrong = np.abs(mine - theirs) > 1e-9 * level
    assert not wrong.any(), (name, periods, mine[wrong][:3], theirs[wrong][:3])


def bars(seed: int, n: int, *, level: float = 1_000.0, drift: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Draw (high, low, close) of a walk in paise, at a price level."""
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(drift, 0.002, n)))
    close = np.maximum(np.round(close * 20) / 20, 0.05)
    reach = np.abs(rng.normal(0, 0.001, n)) * close
    return close + reach, close - reach, close


def inputs_of(name: str, drawn: tuple[Floats, Floats, Floats]) -> tuple[Floats, ...]:
    return drawn if name == "atr" else drawn[2:]


SHAPES = {
    "walk": bars(1, 3_000),
    "rising": bars(2, 3_000, drift=0.002),
    "falling": bars(3, 3_000, drift=-0.001),
    "constant": (np.full(500, 100.0),) * 3,
    "spike": (np.concatenate([np.full(20, 100.0), np.full(2_000, 100.05)]),) * 3,
    "tiny": bars(4, 3_000, level=0.5),
    "huge": bars(5, 3_000, level=5e7),
}
PERIODS = {
    "sma": [(2,), (20,)],
    "ema": [(2,), (21,)],
    "rsi": [(2,), (14,)],
    "atr": [(1,), (14,)],
    "macd": [(12, 26, 9)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "periods"), [(name, periods) for name, rows in PERIODS.items() for periods in rows])
def test_every_indicator_equals_talib(name: str, periods: tuple[int, ...], shape: str) -> None:
    assert_agrees(name, inputs_of(name, SHAPES[shape]), periods)


@pytest.mark.parametrize(("name", "periods"), [(name, rows[-1]) for name, rows in PERIODS.items()])
def test_a_long_series_does_not_drift_away(name: str, periods: tuple[int, ...]) -> None:
    assert_agrees(name, inputs_of(name, bars(6, 100_000)), periods)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 400),
    period=st.integers(2, 120),
    level=st.sampled_from([0.5, 40.0, 1_500.0, 90_000.0]),
)
def test_any_period_begins_where_talib_begins(seed: int, n: int, period: int, level: float) -> None:
    drawn = bars(seed, n, level=level)
    for name in ("sma", "ema", "rsi", "atr"):
        assert_agrees(name, inputs_of(name, drawn), (period,))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 300),
    fast=st.integers(2, 60),
    slow=st.integers(2, 60),
    signal=st.integers(1, 30),
)
def test_macd_equals_talib_for_any_look_backs_swapped_ones_too(
    seed: int, n: int, fast: int, slow: int, signal: int
) -> None:
    assert_agrees("macd", bars(seed, n)[2:], (fast, slow, signal))


@pytest.mark.parametrize("name", ["sma", "ema"])
def test_an_average_of_one_bar_is_the_bar(name: str) -> None:
    close = bars(7, 50)[2]
    np.testing.assert_allclose(fold(name, [close], (1,))[:, 0], close, rtol=1e-15)


@pytest.mark.parametrize(("name", "periods"), [(name, rows[-1]) for name, rows in PERIODS.items()])
def test_folding_the_last_fifty_periods_again_gives_the_same_value(name: str, periods: tuple[int, ...]) -> None:
    inputs = inputs_of(name, bars(8, 5_000))
    kept = 50 * max(periods)
    whole = fold(name, inputs, periods)[-1]
    again = fold(name, [column[-kept:] for column in inputs], periods)[-1]
    assert np.all(np.abs(whole - again) <= 1e-9 * np.maximum(np.abs(whole), 1.0))


@pytest.mark.parametrize("name", ["sma", "ema", "rsi", "macd"])
def test_a_missing_input_is_passed_over_and_forgets_nothing(name: str) -> None:
    close, periods = bars(9, 200)[2], PERIODS[name][-1]
    holed = np.insert(close, 100, np.nan)
    mine = fold(name, [holed], periods)
    assert np.isnan(mine[100]).all()
    np.testing.assert_array_equal(np.delete(mine, 100, axis=0), fold(name, [close], periods))


def test_a_smaller_period_than_the_states_top_uses_only_its_share_of_the_window() -> None:
    close = bars(10, 300)[2]
    np.testing.assert_array_equal(fold("sma", [close], (7,), tops=(40,)), fold("sma", [close], (7,)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5.0, 5), (5.4, 5), (5.5, 6), (1.0, 2), (99.0, 30), (float("nan"), 2), (-1e30, 2), (1e30, 30)],
)
def test_a_look_back_stays_inside_the_range_that_its_state_was_laid_out_for(value: float, expected: int) -> None:
    assert plain(lookback)(value, 2, 30) == expected


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=40))
def test_crossings_compare_each_bar_with_the_bar_before(pairs: list[tuple[int, int]]) -> None:
    names = CROSSING.names or ()
    above, below = (SimpleNamespace(**dict.fromkeys(names, 0)) for _ in range(2))
    for place, (left, right) in enumerate(pairs):
        rose, fell = plain(crosses_above)(above, left, right), plain(crosses_below)(below, left, right)
        before = pairs[place - 1] if place else None
        assert rose == (before is not None and before[0] <= before[1] and left > right)
        assert fell == (before is not None and before[0] >= before[1] and left < right)
