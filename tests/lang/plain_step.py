"""Runs a generated step as plain Python, without compiling: what the language's tests compare with other evaluators."""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Mapping
from datetime import time
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from plain_indicators import plain_steps

from atmand import core
from atmand.core import columns, cross, crossing, day, functions, jit, position  # noqa: F401
from atmand.core.indicators import INDICATORS, registry
from atmand.core.layout import VERDICT, header_of
from atmand.lang.functions import FIELDS
from atmand.lang.source import SourceText
from atmand.lang.strategy import EntryRules, Parameter, SessionWindow, Size, Strategy, StrategyFile
from atmand.lang.structure import Structure, compile_expression

_ROOMS = tuple(f"atmand.core.{room}" for room in ("crossing", "functions", "columns", "cross", "day", "position"))


@functools.cache
def _plain_rooms() -> dict[str, Any]:
    """Return what the rooms of the language's own functions export, imported again without compiling."""
    names: dict[str, Any] = {}
    kept = {name: sys.modules.pop(name) for name in _ROOMS}
    try:
        plain = {"kernel": lambda function: function, "routine": lambda function: function}
        with mock.patch.multiple(jit, **plain), mock.patch.object(registry, "missing", _missing):
            for name in _ROOMS:
                room = importlib.import_module(name)
                names.update({exported: getattr(room, exported) for exported in room.__all__})
    finally:
        for name, module in kept.items():
            sys.modules[name] = module
            setattr(core, name.rpartition(".")[2], module)
    return names


def _missing(x: float) -> bool:
    return not math.isfinite(x)


def file_of(expression: str, params: Mapping[str, Parameter] | None = None, **signals: str) -> StrategyFile:
    """Make a strategy file around one expression."""
    strategy = Strategy(
        name="tested",
        universe=("NSE:AAA",),
        params=dict(params or {}),
        signals=signals,
        entry=EntryRules(long=expression),
        size=Size(quantity="1"),
        session=SessionWindow(square_off=time(15, 10)),
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


def evaluate(
    file: StrategyFile, expression: str, bars: list[dict[str, np.float64]], *, waits: bool = True, **values: float
) -> NDArray[Any]:
    """Return an expression's value on every bar; NaN while it is missing.

    Without `waits` it has a value as soon as its parts allow, not when all that it names has one.
    """
    structure = compile_expression(file, expression)
    step = _step_of(structure)
    state = _state_of(_namespace(structure)[f"STATE_{structure.name}"])
    params = SimpleNamespace(**values)
    answer = []
    with np.errstate(all="ignore"):
        for bar in bars:
            step(0, 0, state, params, None, *(bar[name] for name in FIELDS))
            answer.append(float(state.verdict.value) if state.verdict.flags & 1 or not waits else math.nan)
    return np.array(answer)


def _namespace(structure: Structure) -> dict[str, Any]:
    names: dict[str, Any] = {"np": np, "math": math, "VERDICT": VERDICT, "kernel": lambda function: function}
    names.update(plain_steps(), INDICATORS=INDICATORS)
    names.update(_plain_rooms())
    names["header_of"] = getattr(header_of, "py_func", header_of)
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
