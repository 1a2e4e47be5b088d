"""Runs a generated step as plain Python, without compiling: what the language's tests compare with other evaluators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plain_indicators import plain_steps

from atmand.core import crossing
from atmand.core.indicators import INDICATORS
from atmand.core.layout import VERDICT
from atmand.lang.expressions import FIELDS
from atmand.lang.source import SourceText
from atmand.lang.strategy import Parameter, Rules, Size, Strategy, StrategyFile
from atmand.lang.structure import Structure, compile_expression


def file_of(expression: str, params: Mapping[str, Parameter] | None = None, **signals: str) -> StrategyFile:
    """Make a strategy file around one expression."""
    strategy = Strategy(
        name="tested",
        universe=("NSE:AAA",),
        params=dict(params or {}),
        signals=signals,
        entry=Rules(long=expression),
        size=Size(quantity="1"),
    )
    return StrategyFile(strategy, SourceText("expression", expression, is_expression=True))


def random_bars(seed: int, n: int) -> list[dict[str, np.float64]]:
    """Draw bars in rupees."""
    rng = np.random.default_rng(seed)
    close = 100 + np.cumsum(rng.normal(0, 0.5, n))
    rows = []
    for price in close:
        open_, reach = price + rng.normal(0, 0.3), abs(rng.normal(0, 0.4))
        high, low = max(open_, price) + reach, min(open_, price) - reach
        values = (open_, high, low, price, float(rng.integers(0, 1000)))
        rows.append(dict(zip(FIELDS, map(np.float64, values), strict=True)))
    return rows


def evaluate(file: StrategyFile, expression: str, bars: list[dict[str, np.float64]], **values: float) -> NDArray[Any]:
    """Return an expression's value on every bar; NaN while it is missing."""
    structure = compile_expression(file, expression)
    step = _step_of(structure)
    state = _state_of(_namespace(structure)[f"STATE_{structure.name}"])
    params = SimpleNamespace(**values)
    answer = []
    with np.errstate(all="ignore"):
        for bar in bars:
            step(0, 0, state, params, None, *(bar[name] for name in FIELDS))
            answer.append(float(state.verdict.value) if state.verdict.flags & 1 else math.nan)
    return np.array(answer)


def _namespace(structure: Structure) -> dict[str, Any]:
    names: dict[str, Any] = {"np": np, "math": math, "VERDICT": VERDICT, "kernel": lambda function: function}
    names.update(plain_steps(), INDICATORS=INDICATORS)
    for name in crossing.__all__:
        kept = getattr(crossing, name)
        names[name] = getattr(kept, "py_func", kept)
    exec(structure.text, names)
    return names


def _step_of(structure: Structure) -> Any:
    return _namespace(structure)[f"step_{structure.name}"]


def _state_of(dtype: np.dtype[Any]) -> SimpleNamespace:
    zero = np.zeros((), dtype)
    fields = {}
    for name in dtype.names or ():
        inner = dtype[name]
        fields[name] = _state_of(inner) if inner.names else zero[name].copy().tolist()
    return SimpleNamespace(**fields)
