"""The indicators as plain Python, whatever the compiler's switch says: the same source, its decorator left out."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from atmand.core import jit
from atmand.core.indicators import INDICATORS

_PACKAGE = "atmand.core.indicators"


@functools.cache
def plain_steps() -> dict[str, Callable[..., Any]]:
    """Return every step by name, imported a second time with a decorator that does nothing."""
    kept = {name: module for name, module in sys.modules.items() if name.startswith(_PACKAGE)}
    for name in kept:
        del sys.modules[name]
    try:
        with mock.patch.object(jit, "kernel", lambda function: function):
            rows = importlib.import_module(_PACKAGE).INDICATORS
            steps = {name: getattr(sys.modules[row.module], name) for name, row in rows.items()}
            steps["lookback"] = sys.modules[f"{_PACKAGE}.registry"].lookback  # type: ignore[attr-defined]
            return steps
    finally:
        for name in [name for name in sys.modules if name.startswith(_PACKAGE)]:
            del sys.modules[name]
        sys.modules.update(kept)
        for name, module in kept.items():
            parent, _, child = name.rpartition(".")
            setattr(sys.modules[parent], child, module)


def state_of(dtype: np.dtype[Any]) -> SimpleNamespace:
    """Return a state of zeros whose fields are Python's numbers, lists and states."""
    zero = np.zeros((), dtype)
    return SimpleNamespace(
        **{
            name: state_of(dtype[name]) if dtype[name].names else zero[name].copy().tolist()
            for name in dtype.names or ()
        }
    )


def fold(
    name: str,
    inputs: Sequence[NDArray[Any]],
    lookbacks: Sequence[int] = (),
    numbers: Sequence[float] = (),
    tops: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Run a step over its inputs; rows are bars, columns the outputs."""
    step, state = plain_steps()[name], state_of(INDICATORS[name].state(*(tops or lookbacks)))
    columns = [column.tolist() for column in inputs]
    rows = [step(state, *row, *lookbacks, *numbers) for row in zip(*columns, strict=True)]
    return np.array(rows, np.float64).reshape(len(rows), -1)
