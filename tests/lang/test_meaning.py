"""A thousand drawn expressions mean what a plain evaluator says that they mean, on every bar."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_meaning import meaning
from plain_step import evaluate, file_of, random_bars

from atmand.lang.strategy import Parameter

PARAMS = {
    "level": Parameter(default=100, range=(90, 110)),
    "back": Parameter(default=3, range=(1, 9), unit="bars"),
}

whole = st.one_of(st.integers(1, 7).map(str), st.just("back"))
leaf = st.one_of(
    st.sampled_from(["open", "high", "low", "close", "level"]), st.floats(0.5, 120).map(lambda x: f"{x:.3f}")
)


def numbers_over(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Numbers without a unit, so that every combination is allowed."""
    pure = st.sampled_from(["abs", "sign", "floor", "round", "sqrt", "log"])
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%", "//"]), inner).map(lambda p: f"({' '.join(p)})"),
        st.tuples(pure, inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        inner.map(lambda x: f"clip({x}, 20, 90)"),
        inner.map(lambda x: f"-({x})"),
        st.tuples(inner, st.sampled_from("23")).map(lambda p: f"({p[0]}) ** {p[1]}"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} > close * 1.0 else {p[2]})"),
    )


# Multiplying by a plain number keeps a price's unit; a price by a price has none and goes with everything.
numbers = st.recursive(
    leaf.map(lambda x: f"(close * {x})" if x != "level" else "(close * open)"), numbers_over, max_leaves=4
)
free = st.sampled_from(
    ["(close * open)", "(high * low)", "log(close)", "sqrt(high)", "sign(close - open)", "level", "7.5"]
)
plain = st.recursive(free, numbers_over, max_leaves=4)
moving = st.sampled_from(["close", "high", "low", "(close - open)", "(close * open)", "log(close)"])
tests = st.tuples(
    moving.filter(lambda x: "*" in x or "log" in x), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), plain
)
conditions = st.recursive(
    st.one_of(tests.map(" ".join), st.sampled_from(["close > open", "close < high", "low == close"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({' '.join(p)})"),
        inner.map(lambda x: f"not ({x})"),
    ),
    max_leaves=3,
)
stateful = st.one_of(
    st.tuples(moving, whole).map(lambda p: f"{p[0]}[{p[1]}]"),
    st.tuples(st.sampled_from(["change", "sma", "highest", "lowest"]), moving, whole).map(
        lambda p: f"{p[0]}({p[1]}, {p[2]})"
    ),
    st.tuples(conditions, whole).map(lambda p: f"count({p[0]}, {p[1]})"),
    st.tuples(conditions, whole).map(lambda p: f"bars_since({p[0]}, {p[1]})"),
    st.tuples(conditions, moving, whole).map(lambda p: f"valuewhen({p[0]}, {p[1]}, {p[2]})"),
)
held = st.one_of(
    st.tuples(st.sampled_from(["crosses_above", "crosses_below"]), whole).map(
        lambda p: f"{p[0]}(close, sma(close, {p[1]}))"
    ),
    st.tuples(st.sampled_from(["rising", "falling"]), moving, st.integers(1, 3)).map(
        lambda p: f"{p[0]}({p[1]}, {p[2]})"
    ),
    st.tuples(conditions, conditions, whole).map(lambda p: f"latch({p[0]}, {p[1]}, {p[2]})"),
    conditions.map(lambda x: f"({x})[1]"),
)
nested = st.one_of(
    st.tuples(stateful, whole).map(lambda p: f"highest({p[0]}, {p[1]})"),
    st.tuples(held, stateful).map(lambda p: f"valuewhen({p[0]}, {p[1]}, 5)"),
    st.tuples(held, held).map(lambda p: f"({p[0]} and not {p[1]})"),
    stateful.map(lambda x: f"({x} * 1.0 + {x})"),
)
drawn = st.one_of(plain, conditions, stateful, held, nested)


@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(expression=drawn, seed=st.integers(0, 99), back=st.integers(1, 9))
def test_a_thousand_expressions_mean_what_a_plain_evaluator_says(expression: str, seed: int, back: int) -> None:
    bars = random_bars(seed, 24)
    values = {"level": 100.0, "back": float(back)}
    file = file_of("close > 1", PARAMS)
    mine = evaluate(file, expression, bars, waits=False, **{name: np.float64(value) for name, value in values.items()})
    theirs = [float(x) for x in meaning(expression, bars, values)]
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9, err_msg=expression)


@pytest.mark.parametrize(
    ("expression", "always"),
    [
        ("min(close, log(0 - close))", math.nan),
        ("max(log(0 - close), close)", math.nan),
        ("clip(close, 1, log(-close))", math.nan),
        ("sign(log(-close))", math.nan),
        ("close / (close - close)", math.nan),
        ("close % (close - close)", math.nan),
        ("close // (close - close)", math.nan),
        ("log(-close) > 1", 0.0),
        ("log(-close) != 1", 1.0),
        ("crosses_above(log(-close), 1)", 0.0),
        ("rising(log(-close), 1)", 0.0),
        ("count(log(-close) > 1, 3)", 0.0),
        ("bars_since(log(-close) > 1)", math.nan),
        ("exp(close * 1000)", math.inf),
    ],
)
def test_what_is_missing_stays_missing(expression: str, always: float) -> None:
    mine = evaluate(file_of("close > 1"), expression, random_bars(3, 12), waits=False)
    np.testing.assert_array_equal(mine, [always] * 12)
