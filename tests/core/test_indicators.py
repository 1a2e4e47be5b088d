"""The streaming indicators beside TA-Lib or a plain definition: the same first value, the same numbers from there."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indicator_oracles import PLAIN, Bars, Floats, bars, bars_of, flat, halted, inputs_of, oracle, stepped
from plain_indicators import fold, plain_steps

from atmand.core.crossing import CROSSING, crossing
from atmand.core.indicators import FAMILIES, INDICATORS, Indicator
from atmand.lang.build import load_module, program_directory, write_module

pytestmark = pytest.mark.oracle

ROWS = list(INDICATORS.values())
BY_TALIB = [row for row in ROWS if row.name not in PLAIN]
NAMES = list(INDICATORS)
EVERY = pytest.mark.parametrize("row", ROWS, ids=NAMES)


def plain(kernel: Any) -> Callable[..., Any]:
    """Return a kernel's Python source: compiled or not, it is the same function."""
    return getattr(kernel, "py_func", kernel)  # type: ignore[no-any-return]


def defaults(row: Indicator) -> tuple[int, ...]:
    return tuple(20 if default is None else default for _, default, _ in row.lookbacks)


def least(row: Indicator, more: int = 0) -> tuple[int, ...]:
    """Return the smallest look-backs that both sides take: TA-Lib has no average of one bar."""
    return tuple(max(number, 2) + more for _, _, number in row.lookbacks)


def numbers(row: Indicator) -> tuple[float, ...]:
    return tuple(default for _, default, _, _ in row.numbers)


def mine(row: Indicator, drawn: Bars, lookbacks: tuple[int, ...], **more: Any) -> Floats:
    return fold(row.name, inputs_of(row.inputs, drawn), lookbacks, numbers(row), **more)


def truth(row: Indicator, drawn: Bars, lookbacks: tuple[int, ...]) -> Floats:
    found = oracle(row.name, inputs_of(row.inputs, drawn), lookbacks, numbers(row))
    if row.name.startswith("cdl") or row.name == "ht_trendmode":
        found[: row.warm_up()] = np.nan  # TA-Lib's whole numbers say 0 there
    return found


def assert_agrees(row: Indicator, drawn: Bars, lookbacks: tuple[int, ...], within: float = 1e-9) -> None:
    """Compare: missing at the same bars, elsewhere within a billionth of the value or of the inputs' level."""
    ours, theirs = mine(row, drawn, lookbacks), truth(row, drawn, lookbacks)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=f"{row.name} {lookbacks}")
    level = np.abs(theirs)
    if row.units[0] in ("price", "source", "volume"):
        level = np.maximum(level, max(np.abs(column).max() for column in inputs_of(row.inputs, drawn)[:4]))
    wrong = np.abs(ours - theirs) > within * np.maximum(level, 1.0)
    assert not wrong.any(), (row.name, lookbacks, np.argwhere(wrong)[:3], ours[wrong][:3], theirs[wrong][:3])


WALK = bars(1, 700)
ILL = {"beta": 1e-7, "linearreg_angle": 1e-7, "chop": 1e-7}
"""Quotients of small differences: what rounding leaves of them, TA-Lib's running sums lose too."""


@EVERY
def test_every_indicator_agrees_from_the_first_value_on(row: Indicator) -> None:
    for lookbacks in {defaults(row), least(row), least(row, 1), least(row, 3)}:
        assert_agrees(row, WALK, lookbacks, ILL.get(row.name, 1e-9))
    late = mine(row, WALK, defaults(row))
    assert int(np.isnan(late).all(axis=1).argmin()) == row.warm_up(*defaults(row))
    assert not np.isnan(late[row.warm_up(*defaults(row)) :]).any()


SHAPES: dict[str, Bars] = {
    "rising": bars(2, 400, drift=0.01),
    "falling": bars(3, 400, drift=-0.01),
    "tiny": bars(4, 400, level=0.5),
    "huge": bars(5, 400, level=5e7),
    "constant": flat(100.0, 150),
    "step": stepped(100.0, 100.05, 300),
    "jump": stepped(100.0, 5_000.0, 300),
    "halted": halted(150, 150),
    "no_volume": {**bars(6, 300), "volume": np.zeros(300)},
    "gaps_in_volume": {**bars(7, 300), "volume": np.where(np.arange(300) % 50 < 30, 0.0, 100.0)},
}
UNSETTLED = {
    *((name, shape) for name in ("ht_dcphase", "ht_sine", "ht_trendmode") for shape in ("step", "halted")),
    ("mama", "halted"),
}
"""The phase of a series without a cycle: TA-Lib's running sums leave rounding to turn about, ours nothing."""


@pytest.mark.parametrize("shape", SHAPES)
def test_adversarial_series_agree_too(shape: str) -> None:
    for row in ROWS:
        if (row.name, shape) not in UNSETTLED:
            for lookbacks in {defaults(row), least(row, 1)}:
                assert_agrees(row, SHAPES[shape], lookbacks, max(ILL.get(row.name, 0.0), 1e-8))


@settings(max_examples=15, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32), n=st.integers(2, 120))
def test_any_look_backs_begin_where_talib_begins(data: st.DataObject, seed: int, n: int) -> None:
    drawn = bars(seed, n, spread=0.01)
    for row in BY_TALIB:
        if row.lookbacks and row.name not in ILL:
            spans = [st.integers(max(number, 2), 30) for _, _, number in row.lookbacks]
            lookbacks = data.draw(st.tuples(*spans), label=row.name)
            if n > row.warm_up(*lookbacks):
                assert_agrees(row, drawn, lookbacks, 1e-8)


@pytest.mark.parametrize("name", ["sma", "ema", "macd", "rsi", "atr", "bbands", "linearreg", "mfi", "obv"])
def test_a_long_series_does_not_drift_away(name: str) -> None:
    row = INDICATORS[name]
    assert_agrees(row, bars(8, 40_000, spread=0.0005), defaults(row))


def test_a_window_forgets_a_spike_to_the_last_digit() -> None:
    """Running sums are made anew where they were dwarfed: past a spike of 1e12 the deviation is the window's own."""
    x = np.concatenate([np.full(30, 1e12), bars(9, 200)["close"]])
    ours = fold("stddev", [x], (20,), (1.0,))[50:, 0]
    np.testing.assert_allclose(ours, np.lib.stride_tricks.sliding_window_view(x, 20)[31:].std(axis=1), rtol=1e-9)


# The law of look-backs, for every row: folding the kept bars again gives what a run from the start gives.


@EVERY
def test_folding_the_kept_bars_again_gives_the_same_value(row: Indicator) -> None:
    lookbacks = least(row, 3)
    kept = row.kept(*lookbacks)
    drawn = bars(10, kept + 400, spread=0.01)
    whole = mine(row, drawn, lookbacks)
    again = mine(row, {name: column[-kept:] for name, column in drawn.items()}, lookbacks)
    if row.cumulative:
        whole, again = np.diff(whole, axis=0), np.diff(again, axis=0)
    np.testing.assert_allclose(again[-1], whole[-1], rtol=1e-9, atol=1e-9)


@EVERY
def test_a_smaller_look_back_than_the_states_top_uses_its_share_only(row: Indicator) -> None:
    lookbacks = least(row, 1)
    drawn = bars(11, row.warm_up(*lookbacks) + 60)
    tops = tuple(number + 37 for number in lookbacks)
    np.testing.assert_array_equal(mine(row, drawn, lookbacks, tops=tops), mine(row, drawn, lookbacks))


# Missing input, which TA-Lib does not know.


@EVERY
def test_a_missing_input_is_passed_over_and_forgets_nothing(row: Indicator) -> None:
    lookbacks = least(row, 1)
    n = row.warm_up(*lookbacks) + 40
    drawn, hole = bars(12, n), n - 20
    whole = mine(row, drawn, lookbacks)
    floats = [name for name in row.inputs if name != "start_ns"]
    for name, nothing in itertools.product(floats, (math.nan, math.inf)):
        holed = {key: np.insert(column, hole, column[hole]) for key, column in drawn.items()}
        holed[name][hole] = nothing
        ours = mine(row, holed, lookbacks)
        assert np.isnan(ours[hole]).all()
        np.testing.assert_array_equal(np.delete(ours, hole, axis=0), whole)


# Bounds and invariances.

BOUNDS = {
    "rsi": (0, 100), "cmo": (-100, 100), "stoch": (0, 100), "stochf": (0, 100), "stochrsi": (0, 100),
    "willr": (-100, 0), "mfi": (0, 100), "adx": (0, 100), "adxr": (0, 100), "dx": (0, 100), "plus_di": (0, 100),
    "minus_di": (0, 100), "aroon": (0, 100), "aroonosc": (-100, 100), "ultosc": (0, 100), "bop": (-1, 1),
    "cmf": (-1, 1), "correl": (-1, 1), "percent_rank": (0, 100), "ht_sine": (-1, 1), "ht_trendmode": (0, 1),
    "ht_dcperiod": (0, 50), "stddev": (0, math.inf), "var": (0, math.inf), "trange": (0, math.inf),
    "atr": (0, math.inf), "natr": (0, math.inf), "rolling_std": (0, math.inf),
}  # fmt: skip
SHIFTS = ("sma", "ema", "wma", "dema", "tema", "trima", "t3", "kama", "hma", "rma", "midpoint", "highest", "lowest",
          "rolling_median", "rolling_mean", "linearreg", "linearreg_intercept", "tsf")  # fmt: skip
STAYS = ("rsi", "cmo", "macd", "mom", "apo", "stddev", "linearreg_slope", "highest_bars", "percent_rank", "stochrsi")
walks = st.lists(st.integers(-50, 50), min_size=40, max_size=90)


def drawn_from(steps: list[int]) -> Bars:
    """Draw bars of whole rupees: unmoved prices, equal extremes and gaps come often."""
    close = 5_000.0 + np.cumsum(steps)
    open_ = np.concatenate([[5_000.0], close[:-1]])
    reach = np.abs(np.array(steps)) % 3
    return bars_of(open_, np.maximum(open_, close) + reach, np.minimum(open_, close) - reach, close, len(steps))


@settings(max_examples=25, deadline=None)
@given(steps=walks)
def test_bounded_indicators_stay_in_their_bounds(steps: list[int]) -> None:
    drawn = drawn_from(steps)
    for name, (low, high) in BOUNDS.items():
        row = INDICATORS[name]
        found = mine(row, drawn, least(row, 2))
        found = found[~np.isnan(found)]
        assert ((found >= low - 1e-9) & (found <= high + 1e-9)).all(), name


@settings(max_examples=25, deadline=None)
@given(steps=walks, shift=st.integers(-4_000, 4_000))
def test_a_shifted_series_shifts_averages_and_leaves_differences(steps: list[int], shift: int) -> None:
    drawn = drawn_from(steps)
    moved = {**drawn, "source": drawn["source"] + shift}
    for name in (*SHIFTS, *STAYS):
        row = INDICATORS[name]
        before, after = (mine(row, series, least(row, 2)) for series in (drawn, moved))
        expected = before + shift if name in SHIFTS else before
        np.testing.assert_allclose(after, expected, rtol=1e-9, atol=1e-7, err_msg=name)


# Compiled equals interpreted.


@functools.cache
def drivers() -> ModuleType:
    """Compile every step once, in a module whose machine code stays in the compiler's cache."""
    text = "import numpy as np\n\nfrom atmand.core.indicators import INDICATORS\n"
    text += "from atmand.core.jit import routine, rows_at\n"
    for row in ROWS:
        state = ", ".join(map(str, defaults(row)))
        arguments = ", ".join(
            ["s", *(f"{name}[i]" for name in row.inputs), *map(str, defaults(row)), *map(str, numbers(row))]
        )
        outputs = [f"out[i, {k}] = value[{k}]" for k in range(len(row.outputs))] or ["out[i, 0] = value"]
        text += f"""from {row.module} import {row.name}

STATE_{row.name} = INDICATORS[{row.name!r}].state({state})


@routine
def run_{row.name}(state, {", ".join(row.inputs)}, out):
    s = rows_at(state, 0, 1, STATE_{row.name})[0]
    for i in range(out.shape[0]):
        value = {row.name}({arguments})
        {(chr(10) + "        ").join(outputs)}


"""
    return load_module(write_module(text, program_directory()))


@EVERY
def test_compiled_equals_interpreted_bit_for_bit(row: Indicator) -> None:
    module = drivers()
    drawn = bars(13, 260, spread=0.01)
    drawn["close"][200] = drawn["source"][200] = math.nan
    drawn["volume"][220:230] = 0.0
    state = np.zeros(getattr(module, f"STATE_{row.name}").itemsize, np.uint8)
    compiled = np.empty((260, max(1, len(row.outputs))))
    getattr(module, f"run_{row.name}")(state, *inputs_of(row.inputs, drawn), compiled)
    interpreted = mine(row, drawn, defaults(row))
    np.testing.assert_array_equal(np.isnan(compiled), np.isnan(interpreted))
    known = ~np.isnan(compiled)
    assert compiled[known].tobytes() == interpreted[known].tobytes()


# The registry itself.


def test_there_are_sixty_of_talibs_and_each_row_is_whole() -> None:
    import talib

    theirs = {name.lower() for name in talib.get_functions()} | {"highest", "lowest", "rolling_sum"}
    assert len([row for row in BY_TALIB if row.name in theirs]) >= 60
    assert sum(len(family.ROWS) for family in FAMILIES) == len(INDICATORS)
    for row in ROWS:
        assert row.module.startswith("atmand.core.indicators.") and row.group and row.summary, row.name
        assert len(row.units) in (1, len(row.outputs)), row.name
        assert all(low <= default <= high for _, default, low, high in row.numbers), row.name
        assert row.fetched(*defaults(row)) <= row.kept(*defaults(row)), row.name
        assert row.kept(*defaults(row)) > row.warm_up(*defaults(row)), row.name


def test_swapped_look_backs_are_taken_as_talib_takes_them() -> None:
    for name, lookbacks in (("macd", (26, 12, 9)), ("apo", (26, 12)), ("ppo", (26, 12)), ("ultosc", (28, 7, 14))):
        assert_agrees(INDICATORS[name], WALK, lookbacks)


@pytest.mark.parametrize("name", ["sma", "ema", "rma", "wma", "hma", "dema", "tema", "trima", "vwma", "rolling_median"])
def test_an_average_of_one_bar_is_the_bar(name: str) -> None:
    row = INDICATORS[name]
    if row.lookbacks[0][2] == 1:
        np.testing.assert_allclose(mine(row, WALK, (1,))[:, 0], WALK["close"], rtol=1e-15)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5.0, 5), (5.4, 5), (5.5, 6), (1.0, 2), (99.0, 30), (float("nan"), 2), (-1e30, 2), (1e30, 30)],
)
def test_a_look_back_stays_inside_the_range_that_its_state_was_laid_out_for(value: float, expected: int) -> None:
    assert plain_steps()["lookback"](value, 2, 30) == expected


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=40))
def test_crossings_compare_each_bar_with_the_bar_before(pairs: list[tuple[int, int]]) -> None:
    state = SimpleNamespace(**dict.fromkeys(CROSSING.names or (), 0))
    for place, (left, right) in enumerate(pairs):
        way = plain(crossing)(state, left, right)
        before = pairs[place - 1] if place else None
        assert (way > 0) == (before is not None and before[0] <= before[1] and left > right)
        assert (way < 0) == (before is not None and before[0] >= before[1] and left < right)
