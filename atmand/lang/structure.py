"""From a checked strategy to a structure: the generated step, its state and parameter dtypes, and its plan.

Two strategies whose generated text is the same share one structure; only their parameter values differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from atmand.core.layout import VERDICT
from atmand.core.manifest import StructurePlan
from atmand.core.words import Percent, StepFlag
from atmand.lang.expressions import Compiled, Compiler
from atmand.lang.strategy import Strategy, StrategyFile
from atmand.lang.user_indicators import is_users

__all__ = ["Structure", "compile_expression", "compile_structure", "warm_up_bars"]

_PERCENT: Final = {
    "stop": Percent.STOP,
    "target": Percent.TARGET,
    "trail": Percent.TRAIL,
    "trail_after": Percent.TRAIL_AFTER,
    "breakeven": Percent.BREAKEVEN,
}
_OTHER_SIDE: Final = {
    "both": (),
    "long": (StepFlag.ENTER_SHORT, StepFlag.ADD_SHORT),
    "short": (StepFlag.ENTER_LONG, StepFlag.ADD_LONG),
}


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
            (StepFlag.ADD_LONG, strategy.entry.add_long, ("entry", "add_long")),
            (StepFlag.ADD_SHORT, strategy.entry.add_short, ("entry", "add_short")),
            (StepFlag.REDUCE_LONG, strategy.exit.reduce_long, ("exit", "reduce_long")),
            (StepFlag.REDUCE_SHORT, strategy.exit.reduce_short, ("exit", "reduce_short")),
        )
        if text is not None
    ]
    rules = [(flag, code) for flag, code in rules if flag not in _OTHER_SIDE[strategy.trade.sides]]
    amounts = [
        (name, compiler.number(_unit_off(name, text), *path), name in _PERCENT and text.rstrip().endswith("%"))
        for name, text, path in _amounts_of(strategy)
        if text is not None
    ]
    tail = [f"v.{name} = {code}" for name, code, _ in amounts]
    percent = sum(int(_PERCENT[name]) for name, _, in_percent in amounts if in_percent)
    if percent:
        tail.append(f"v.percent_of = {percent}")
    tail += _unless_missing(compiler.result)
    tail += [f"flags = {int(StepFlag.READY)}"]
    tail += [f"if {code}:\n        flags |= {int(flag)}" for flag, code in rules]
    tail += ["v.flags = flags"]
    return _structure(strategy, compiler.result, tail)


def _unit_off(name: str, text: str) -> str:
    return text.rstrip().removesuffix("%") if name in _PERCENT else text


def _amounts_of(strategy: Strategy) -> list[tuple[str, str | None, tuple[str, str]]]:
    """List the numbers that a step leaves in its verdict: field, text, and where the text stands.

    A `%` behind a distance of `[stop]` is its unit; elsewhere it is refused like any other stray sign.
    """
    stop, size, trade = strategy.stop, strategy.size, strategy.trade
    share = None if strategy.entry.add_long is None and strategy.entry.add_short is None else size.add or "1"
    rows: list[tuple[str, str | None, tuple[str, str]]] = [
        ("stop", stop.loss, ("stop", "loss")),
        *((name, getattr(stop, name), ("stop", name)) for name in ("target", "trail", "trail_after", "breakeven")),
        ("bars", stop.bars, ("stop", "bars")),
        *((name, getattr(size, name), ("size", name)) for name in ("value", "risk", "percent", "reduce")),
        (
            "quantity",
            size.quantity if size.lots is None else size.lots,
            ("size", "quantity" if size.lots is None else "lots"),
        ),
        ("add", share, ("size", "add")),
        ("limit", trade.limit, ("trade", "limit")),
        ("rank", trade.rank, ("trade", "rank")),
    ]
    return rows


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
