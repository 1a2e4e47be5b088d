"""From a checked strategy to a structure: the generated step, its state and parameter dtypes, and its plan.

Two strategies whose generated text is the same share one structure; only their parameter values differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atmand.core.layout import VERDICT
from atmand.core.manifest import StructurePlan
from atmand.core.words import StepFlag
from atmand.lang.expressions import Compiled, Compiler
from atmand.lang.strategy import Strategy, StrategyFile
from atmand.lang.user_indicators import is_users

__all__ = ["Structure", "compile_expression", "compile_structure", "warm_up_bars"]


@dataclass(frozen=True)
class Structure:
    """A strategy's generated code. `text` holds the step and its dtypes under names that end in `name`."""

    name: str
    text: str
    plan: StructurePlan
    compiled: Compiled


def compile_structure(file: StrategyFile) -> Structure:
    """Check a strategy's expressions and generate its step; StrategyError with file, line and column."""
    strategy = file.strategy
    compiler = Compiler(file.source, strategy.params, strategy.signals)
    compiler.compile_signals()
    rules = [
        (flag, compiler.condition(text, *path).code)
        for flag, text, path in (
            (StepFlag.ENTER_LONG, strategy.entry.long, ("entry", "long")),
            (StepFlag.ENTER_SHORT, strategy.entry.short, ("entry", "short")),
            (StepFlag.EXIT_LONG, strategy.exit.long, ("exit", "long")),
            (StepFlag.EXIT_SHORT, strategy.exit.short, ("exit", "short")),
        )
        if text is not None
    ]
    amounts = [
        (name, compiler.number(text, *path))
        for name, text, path in (
            ("stop", strategy.stop.loss, ("stop", "loss")),
            ("target", strategy.stop.target, ("stop", "target")),
            ("quantity", strategy.size.quantity, ("size", "quantity")),
            ("value", strategy.size.value, ("size", "value")),
        )
        if text is not None
    ]
    tail = [f"v.{name} = {code}" for name, code in amounts]
    tail += _unless_missing(compiler.result)
    tail += [f"flags = {int(StepFlag.READY)}"]
    tail += [f"if {code}:\n        flags |= {int(flag)}" for flag, code in rules]
    tail += ["v.flags = flags"]
    return _structure(strategy, compiler.result, tail)


def compile_expression(file: StrategyFile, text: str) -> Structure:
    """Generate a step that writes one expression's value: into the verdict, with READY where it is not missing.

    The verdict's `quantity` is 1 where the expression is a condition.
    """
    compiler = Compiler(file.source, file.strategy.params, file.strategy.signals)
    value = compiler.any(text)
    code = f"1.0 if {value.code} else 0.0" if value.is_bool else value.code
    tail = [f"v.value = {code}", f"v.quantity = {1.0 if value.is_bool else 0.0}"]
    tail += _unless_missing(compiler.result)
    return _structure(file.strategy, compiler.result, [*tail, f"v.flags = {int(StepFlag.READY)}"])


def warm_up_bars(structure: Structure, values: Mapping[str, float]) -> tuple[int, int]:
    """Return how many bars the strategy needs before it may decide, and how many are worth fetching."""
    warm, fetch = 1, 1
    for row, arguments, inner in structure.compiled.warm_up:
        numbers = [int(values[argument]) if isinstance(argument, str) else int(argument) for argument in arguments]
        warm = max(warm, row.warm_up(*numbers) + 1 + inner)
        fetch = max(fetch, row.fetched(*numbers) + inner)
    return warm, fetch


def _unless_missing(compiled: Compiled) -> list[str]:
    """Leave the step with an empty verdict while something that it names has no value."""
    missing = " or ".join(f"math.isnan({name})" for name in compiled.ready)
    return [f"if {missing}:\n        v.flags = 0\n        return"] if missing else []


def _structure(strategy: Strategy, compiled: Compiled, tail: list[str]) -> Structure:
    params = tuple(strategy.params)
    fields = ['("verdict", VERDICT)']
    fields += [f'("{field.name}", {field.code})' for field in compiled.state]
    slots = [f'("{name}", "f8")' for name in params] or ['("none", "f8")']
    body = "\n    ".join([*compiled.statements, *tail])
    text = f"""STATE_%% = np.dtype([{", ".join(fields)}], align=True)
PARAMS_%% = np.dtype([{", ".join(slots)}], align=True)


@kernel
def step_%%(t, index, s, p, bar, open_, high, low, close, volume):
    v = s.verdict
    {body}
"""
    lookbacks = sum(1 << slot for slot, name in enumerate(params) if name in compiled.lookbacks)
    users = sorted({row.module for row, _, _ in compiled.warm_up if is_users(row.module)})
    name = hashlib.sha256(f"{text}{strategy.period_ns}{lookbacks}{''.join(users)}".encode()).hexdigest()[:12]
    plan = StructurePlan(
        name=name,
        period_ns=strategy.period_ns,
        state_bytes=_state_bytes(compiled),
        ring_bars=compiled.ring_bars,
        params=params,
        lookback_slots=lookbacks,
    )
    return Structure(name, text.replace("%%", name), plan, compiled)


def _state_bytes(compiled: Compiled) -> int:
    fields: list[tuple[str, Any]] = [("verdict", VERDICT)]
    fields += [(field.name, field.dtype) for field in compiled.state]
    return int(np.dtype(fields, align=True).itemsize)
