"""From a checked strategy to a structure: the generated steps, their state and parameter dtypes, and its plan.

Two strategies whose generated text is the same share one structure; only their parameter values differ.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from atmand.core.layout import VERDICT
from atmand.core.manifest import StreamPlan, StructurePlan
from atmand.core.words import Percent, StepFlag
from atmand.lang.checks import idle_rules
from atmand.lang.compiler import Compiled, Compiler, Statement, Stream
from atmand.lang.ranges import check_ways_out, refuse_amount
from atmand.lang.strategy import Strategy, StrategyFile
from atmand.lang.types import FREE
from atmand.lang.user_indicators import is_users

__all__ = [
    "Structure",
    "compile_expression",
    "compile_structure",
    "instruments_named",
    "state_dtype",
    "stream_bars",
    "structure_of",
    "warm_up_bars",
]

_ARGUMENTS: Final = "t, index, s, p, bar, open_, high, low, close, volume"
_PERCENT: Final = {
    "stop": Percent.STOP,
    "target": Percent.TARGET,
    "trail": Percent.TRAIL,
    "trail_after": Percent.TRAIL_AFTER,
    "breakeven": Percent.BREAKEVEN,
}
_UNITS: Final = {name: (FREE, "price") for name in (*_PERCENT, "limit")}
_OTHER_SIDE: Final = {
    "both": (),
    "long": (StepFlag.ENTER_SHORT, StepFlag.ADD_SHORT),
    "short": (StepFlag.ENTER_LONG, StepFlag.ADD_LONG),
}


@dataclass(frozen=True)
class Structure:
    """A strategy's generated code. `text` holds the steps and their dtypes under names that end in `name`."""

    name: str
    text: str
    plan: StructurePlan
    compiled: Compiled
    warnings: tuple[str, ...] = ()
    """What the checks found that is hardly meant, each with its line and a caret."""
    explained: str = ""
    """The same text with a comment on every statement that says which expression it was written for."""

    @property
    def is_staged(self) -> bool:
        """Whether it compares instruments: its step is cut in two, `step` and `finish`."""
        return bool(self.compiled.crossed)


def compile_structure(file: StrategyFile) -> Structure:
    """Check a strategy's expressions and generate its step; StrategyError with file, line and column."""
    strategy = file.strategy
    compiler = Compiler(file.source, strategy.params, strategy.signals, strategy.period_ns)
    compiler.compile_signals()
    rules = [
        (flag, path, compiler.condition(text, *path))
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
    rules = [rule for rule in rules if rule[0] not in _OTHER_SIDE[strategy.trade.sides]]
    amounts = [
        (name, path, compiler.number(_unit_off(name, text), *path), name in _PERCENT and text.rstrip().endswith("%"))
        for name, text, path in _amounts_of(strategy)
        if text is not None
    ]
    for name, path, value, in_percent in amounts:
        if value.unit not in ((FREE, "percent") if in_percent else _UNITS.get(name, (value.unit,))):
            remedy = "multiply by a price, or write a % behind it" if name in _PERCENT else "see docs/strategies.md"
            compiler.refuse(path, 0, f"this is a {value.unit} where rupees are wanted", remedy)
        refuse_amount(compiler, strategy, path, value, in_percent=in_percent)
    check_ways_out(compiler, strategy)
    for place, what in idle_rules(strategy, [(*path, value) for _, path, value in rules]):
        compiler.warn(place, 0, what)
    tail = [Statement(f"v.{name} = {value.code}", note=".".join(path)) for name, path, value, _ in amounts]
    percent = sum(int(_PERCENT[name]) for name, _, _, in_percent in amounts if in_percent)
    if percent:
        tail.append(Statement(f"v.percent_of = {percent}"))
    tail += _unless_missing(compiler.result)
    tail += [Statement(f"flags = {int(StepFlag.READY)}")]
    tail += [
        Statement(f"if {value.code}:\n        flags |= {int(flag)}", note=".".join(path)) for flag, path, value in rules
    ]
    tail += [Statement("v.flags = flags")]
    return structure_of(strategy, compiler.result, tail)


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


def compile_expression(file: StrategyFile, text: str, period_ns: int | None = None) -> Structure:
    """Generate a step that writes one expression's value: into the verdict, with READY where it is not missing.

    The verdict's `quantity` is 1 where the expression is a condition.
    """
    strategy = file.strategy
    compiler = Compiler(
        file.source, strategy.params, strategy.signals, period_ns or strategy.period_ns, has_position=False
    )
    value = compiler.any(text)
    code = f"1.0 if {value.code} else 0.0" if value.is_bool else value.code
    tail = [Statement(f"v.value = {code}"), Statement(f"v.quantity = {1.0 if value.is_bool else 0.0}")]
    tail += _unless_missing(compiler.result)
    return structure_of(strategy, compiler.result, [*tail, Statement(f"v.flags = {int(StepFlag.READY)}")])


def instruments_named(file: StrategyFile) -> tuple[str, ...]:
    """Return the instruments that a strategy's expressions name: they are watched and not traded."""
    streams = compile_structure(file).plan.streams
    return tuple(dict.fromkeys(stream.instrument for stream in streams if stream.instrument))


def warm_up_bars(structure: Structure, values: Mapping[str, float]) -> tuple[int, int]:
    """Return how many bars the strategy needs before it may decide, and how many are worth fetching."""
    return _seen(structure.compiled.main.ready.values(), structure.compiled.main, values)


def stream_bars(structure: Structure, values: Mapping[str, float]) -> tuple[int, ...]:
    """Return how many bars of each other stream are worth fetching, at these values."""
    return tuple(
        _seen(stream.exports.values(), stream, values)[1] for stream in structure.compiled.streams[1:]
    )  # fmt: skip


def _seen(needed: Any, stream: Stream, values: Mapping[str, float]) -> tuple[int, int]:
    """Return the bars for a first decision, and those worth fetching for all that a stream keeps."""
    known = [value.seen(values) for value in needed]
    fetched = [kept.value.seen(values)[1] for kept in stream.kept.values()]
    warm = 1 + max((warm for warm, _ in known), default=0)
    return warm, max(warm, 1 + max((*fetched, *(fetch for _, fetch in known)), default=0))


def _unless_missing(compiled: Compiled) -> list[Statement]:
    """Leave the step with an empty verdict while something that it names has no value."""
    missing = " or ".join(f"math.isnan({name})" for name in compiled.main.ready)
    code = f"if {missing}:\n        v.flags = 0\n        return"
    return [Statement(code, note="nothing is decided before everything has a value")] if missing else []


def structure_of(strategy: Strategy, compiled: Compiled, tail: Sequence[Statement]) -> Structure:
    """Put compiled expressions and what is done with them together to a structure."""
    params = tuple(strategy.params)
    functions = _functions(compiled, tail)
    fields = ['("verdict", VERDICT)']
    fields += [f'("{name}", {code})' for name, code, _ in _fields(compiled, tail)]
    slots = [f'("{name}", "f8")' for name in params] or ['("none", "f8")']
    head = f"STATE_%% = np.dtype([{', '.join(fields)}], align=True)\n"
    head += f"PARAMS_%% = np.dtype([{', '.join(slots)}], align=True)\n"
    head += "".join(f'AT_%%_{name} = STATE_%%.fields["{name}"][1]\n' for name in compiled.crossed)
    text, explained = (head + "".join(_function(*parts, notes=notes) for parts in functions) for notes in (False, True))
    lookbacks = sum(1 << slot for slot, name in enumerate(params) if name in compiled.lookbacks)
    streams = tuple(
        StreamPlan(stream.of, stream.period_ns, compiled.stream_ring(stream)) for stream in compiled.streams[1:]
    )
    users = sorted({row.module for row in compiled.steps.values() if is_users(row.module)})
    identity = f"{text}{compiled.main.period_ns}{lookbacks}{''.join(users)}" + (repr(streams) if streams else "")
    name = hashlib.sha256(identity.encode()).hexdigest()[:12]
    plan = StructurePlan(
        name=name,
        period_ns=compiled.main.period_ns,
        state_bytes=state_dtype(compiled, tail).itemsize,
        ring_bars=compiled.ring_bars,
        params=params,
        lookback_slots=lookbacks,
        streams=streams,
        staged=bool(compiled.crossed),
    )
    made = text.replace("%%", name)
    return Structure(name, made, plan, compiled, tuple(compiled.warnings), explained.replace("%%", name))


def _functions(compiled: Compiled, tail: Sequence[Statement]) -> list[tuple[str, str, list[Statement]]]:
    """Cut the statements into functions: one a stream, the step, and where instruments are compared its end."""
    found = []
    for stream in compiled.streams[1:]:
        count = Statement(f"s.seen_{stream.index} += 1")
        about = f"Fold a closed bar of {stream.of or 'its own'}, {stream.period_ns // 60_000_000_000} minutes."
        found.append((f"stream_%%_{stream.index}", about, [*stream.statements, count]))
    main, begin = compiled.main, Statement("v = s.verdict")
    if not compiled.crossed:
        found.append(
            ("step_%%", "Fold a closed bar, and say what the rules say of it.", [begin, *main.statements, *tail])
        )
        return found
    about = "Fold a closed bar, and put up what is compared between the instruments."
    saved = [Statement(f"s.at_{name} = {name}") for name in _saved(compiled, tail)]
    found.append(("step_%%", about, [*main.statements, *saved]))
    again = [statement for statement in main.statements if statement.pure]
    for name in _saved(compiled, tail):
        again.append(Statement(f"{name} = s.at_{name}" + (" != 0.0" if name in compiled.conditions else "")))
    about = "Say what the rules say, once every instrument has taken its bar in."
    found.append(("finish_%%", about, [begin, *again, *main.late, *tail]))
    return found


def _saved(compiled: Compiled, tail: Sequence[Statement]) -> list[str]:
    """List the locals that the second half of a step reads from the first."""
    if not compiled.crossed:
        return []
    read = {word for statement in (*compiled.main.late, *tail) for word in re.findall(r"\w+", statement.code)}
    return [name for line in compiled.main.statements if not line.pure for name in line.targets if name in read]


def _function(name: str, about: str, statements: Sequence[Statement], *, notes: bool) -> str:
    lines = []
    for statement in statements:
        if notes and statement.note:
            lines += ["# " + " ".join(statement.note.split())]
        lines.append(statement.code)
    body = "\n    ".join([f'"""{about}"""', *lines] if notes else lines)
    return f"\n\n@kernel\ndef {name}({_ARGUMENTS}):\n    {body}\n"


def _fields(compiled: Compiled, tail: Sequence[Statement]) -> list[tuple[str, str, Any]]:
    """List the state's fields behind the verdict: name, the source code of its dtype, and the dtype."""
    found: list[tuple[str, str, Any]] = [(field.name, field.code, field.dtype) for field in compiled.state]
    found += [(f"seen_{stream.index}", '"i8"', "i8") for stream in compiled.streams[1:]]
    return found + [(f"at_{name}", '"f8"', "f8") for name in _saved(compiled, tail)]


def state_dtype(compiled: Compiled, tail: Sequence[Statement]) -> np.dtype[np.void]:
    """Return the dtype of a structure's state, as the generated module writes it."""
    fields: list[tuple[str, Any]] = [("verdict", VERDICT)]
    fields += [(name, dtype) for name, _, dtype in _fields(compiled, tail)]
    return np.dtype(fields, align=True)
