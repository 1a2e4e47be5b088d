"""Expressions: Python's syntax, parsed with `ast`, checked for names, kinds and arguments, turned into kernel source.

`Compiler` gathers what one strategy's expressions share (indicator instances, crossings, parameters) into a list of
statements that are run on every closed bar, in order, so that no state depends on how a condition short-circuits.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NoReturn

import numpy as np

from atmand.core.crossing import CROSSING
from atmand.core.indicators import Indicator
from atmand.lang.source import SourceText, StrategyError
from atmand.lang.strategy import Parameter
from atmand.lang.user_indicators import known_indicators

__all__ = ["Compiled", "Compiler", "StateField", "Value"]

FIELDS: Final = {"open": "open_", "high": "high", "low": "low", "close": "close", "volume": "volume"}
"""Bar fields and the locals that hold them in generated code; prices in rupees."""

_INPUTS: Final = {**FIELDS, "start_ns": "bar.start_ns"}
_CROSSINGS: Final = ("crosses_above", "crosses_below")
_FUNCTIONS: Final = {"abs": (1, 1), "min": (2, 8), "max": (2, 8)}
_ARITHMETIC: Final = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARISONS: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_MAX_DEPTH: Final = 60
_BLANK: Final = re.compile(r"#[^\n\r]*|[\n\r]")
"""Comments and line ends: an expression may be spread over lines, as inside parentheses."""


class _Type(Enum):
    NUMBER = "a number"
    BOOL = "a condition"


@dataclass(frozen=True)
class Value:
    """An expression's generated code, its type, and its value where it is a constant."""

    code: str
    type: _Type
    constant: float | None = None

    @property
    def is_bool(self) -> bool:
        return self.type is _Type.BOOL


@dataclass(frozen=True)
class StateField:
    """A field of the strategy's state: its dtype, and the source code that names it in a generated module."""

    name: str
    code: str
    dtype: np.dtype[np.void]


@dataclass
class Compiled:
    """What the expressions of one strategy came to."""

    statements: list[str] = field(default_factory=list)
    state: list[StateField] = field(default_factory=list)
    ready: list[str] = field(default_factory=list)
    """Locals that must not be missing before the strategy may decide."""
    lookbacks: set[str] = field(default_factory=set)
    """Parameters that what is kept from bar to bar depends on: look-backs, and numbers inside such calls."""
    ring_bars: int = 2
    warm_up: list[tuple[Indicator, tuple[str | float, ...], int]] = field(default_factory=list)


class Compiler:
    """Compiles the expressions of one strategy file, one after the other, into shared statements."""

    def __init__(self, source: SourceText, params: Mapping[str, Parameter], signals: Mapping[str, str]) -> None:
        self._source = source
        self._params = params
        self._signals = signals
        self._indicators = known_indicators()
        self._compiled_signals: dict[str, Value] = {}
        self._open_signals: list[str] = []
        self._instances: dict[str, str] = {}
        self._depth_of: dict[str, int] = {}
        self._params_of: dict[str, set[str]] = {}
        self.result = Compiled()

    def number(self, text: str, *path: str) -> str:
        """Compile an expression that must be a number; `path` is its place in the file."""
        value = self._compile(text, path)
        if value.is_bool:
            self._refuse(path, 0, "this is a condition where a number is wanted", "remove the comparison")
        return value.code

    def condition(self, text: str, *path: str) -> Value:
        """Compile an expression that must be a condition."""
        value = self._compile(text, path)
        if not value.is_bool:
            self._refuse(path, 0, "this is a number where a condition is wanted", "compare it with something")
        return value

    def any(self, text: str, *path: str) -> Value:
        """Compile an expression of either type."""
        return self._compile(text, path)

    def compile_signals(self) -> None:
        """Compile every signal, so that one which no rule uses is checked all the same."""
        for name in self._signals:
            self._signal(name, 0)

    def _compile(self, text: str, path: tuple[str, ...], depth: int = 0) -> Value:
        line = _BLANK.sub(lambda found: " " * len(found[0]), text)
        indent = len(line) - len(line.lstrip())
        try:
            tree = ast.parse(line.strip(), mode="eval")
        except SyntaxError as error:
            # An offset of 0 is the text's end.
            offset = indent + error.offset - 1 if error.offset else len(line.rstrip())
            what = error.msg if error.offset else "it ends too early"
            self._refuse(path, min(offset, len(text)), f"not an expression: {what}", "see docs/strategies.md")
        except (ValueError, RecursionError, MemoryError):
            self._refuse(path, 0, "not an expression", "split it into signals")
        return _Walk(self, line, path).value(tree.body, depth)

    def _signal(self, name: str, depth: int) -> Value:
        if name in self._compiled_signals:
            return self._compiled_signals[name]
        path = ("signals", name)
        if name in self._open_signals:
            chain = " -> ".join([*self._open_signals, name])
            self._refuse(path, 0, f"signal refers to itself: {chain}", "break the circle")
        self._open_signals.append(name)
        value = self._compile(self._signals[name], path, depth)
        self._open_signals.pop()
        local = f"x_{name}"
        self._depth_of[local] = self._bars_behind(value.code)
        self._params_of[local] = self._params_behind(value.code)
        self.result.statements.append(f"{local} = {value.code}")
        self._compiled_signals[name] = Value(local, value.type, value.constant)
        return self._compiled_signals[name]

    def _bars_behind(self, code: str) -> int:
        """Return how many bars what a piece of code reads must have seen, signals and indicators in it included."""
        return max((bars for local, bars in self._depth_of.items() if _reads(code, local)), default=0)

    def _params_behind(self, code: str) -> set[str]:
        """Return the parameters that a piece of code depends on, through signals and indicators too."""
        found = set(re.findall(r"\bp\.(\w+)", code))
        return found.union(*(params for local, params in self._params_of.items() if _reads(code, local)))

    def _refuse(self, path: tuple[str, ...], offset: int, what: str, remedy: str) -> NoReturn:
        """Refuse what stands `offset` characters into an expression."""
        where = f"{'.'.join(path)}: " if path else ""
        raise StrategyError(self._source, self._source.find_text(offset, *path), f"{where}{what}", remedy)


class _Walk:
    """One pass over one expression's tree."""

    def __init__(self, compiler: Compiler, line: str, path: tuple[str, ...]) -> None:
        self._compiler = compiler
        self._line = line
        self._path = path

    def value(self, node: ast.expr, depth: int) -> Value:
        """Check a node and return its code."""
        if depth > _MAX_DEPTH:
            self._refuse(node, "nested too deeply", "split it into signals")
        match node:
            case ast.Constant(value=bool(state)):
                return Value(str(state), _Type.BOOL, float(state))
            case ast.Constant(value=int() | float() as number):
                if not abs(number) <= 1e15:
                    self._refuse(node, "this is no usable number", "write a finite number below 1e15")
                return Value(repr(float(number)), _Type.NUMBER, float(number))
            case ast.Name(id=name):
                return self._name(node, name, depth)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._number(operand, depth)
                return Value(f"(-{inner.code})", _Type.NUMBER, None if inner.constant is None else -inner.constant)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._number(operand, depth)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Value(f"(not {self._bool(operand, depth).code})", _Type.BOOL)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._arithmetic(node, left, _ARITHMETIC[type(op)], right, depth)
            case ast.BoolOp(op=op, values=values):
                word = " and " if isinstance(op, ast.And) else " or "
                return Value(f"({word.join(self._bool(value, depth).code for value in values)})", _Type.BOOL)
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Call():
                return self._call(node, None, depth)
            case ast.Attribute(value=ast.Call() as call, attr=output):
                return self._call(call, (output, node), depth)
        self._refuse(
            node, "this form is not part of the language", "use names, numbers, arithmetic, comparisons, calls"
        )

    def _number(self, node: ast.expr, depth: int) -> Value:
        value = self.value(node, depth + 1)
        if value.is_bool:
            self._refuse(node, "this is a condition where a number is wanted", "remove the comparison")
        return value

    def _bool(self, node: ast.expr, depth: int) -> Value:
        value = self.value(node, depth + 1)
        if not value.is_bool:
            self._refuse(node, "this is a number where a condition is wanted", "compare it with something")
        return value

    def _name(self, node: ast.expr, name: str, depth: int) -> Value:
        compiler = self._compiler
        if name in FIELDS:
            return Value(FIELDS[name], _Type.NUMBER)
        if name in compiler._params:
            return Value(f"p.{name}", _Type.NUMBER)
        if name in compiler._signals:
            return compiler._signal(name, depth + 1)
        if name in compiler._indicators:
            example = _example(compiler._indicators[name])
            self._refuse(node, f"{name} is an indicator and needs its arguments", f"write {example}")
        known = [*FIELDS, *compiler._params, *compiler._signals, *compiler._indicators, *_CROSSINGS, *_FUNCTIONS]
        near = difflib.get_close_matches(name, known, n=1)
        named = [name for name in known if name not in compiler._indicators]
        all_of_them = f"known names: {', '.join(named)}, and the indicators of docs/strategies.md"
        remedy = f"did you mean {near[0]}?" if near else all_of_them
        self._refuse(node, f"unknown name {name!r}", remedy)

    def _arithmetic(self, node: ast.expr, left: ast.expr, sign: str, right: ast.expr, depth: int) -> Value:
        a, b = self._number(left, depth), self._number(right, depth)
        if sign == "/" and b.constant == 0.0:
            self._refuse(node, "division by zero", "divide by something else")
        return Value(f"({a.code} {sign} {b.code})", _Type.NUMBER)

    def _comparison(self, node: ast.Compare, depth: int) -> Value:
        operands = [self._number(operand, depth) for operand in (node.left, *node.comparators)]
        parts: list[str] = []
        for index, op in enumerate(node.ops):
            if type(op) not in _COMPARISONS:
                self._refuse(node, "this comparison is not part of the language", "use < <= > >= == !=")
            parts.append(f"({operands[index].code} {_COMPARISONS[type(op)]} {operands[index + 1].code})")
        if all(operand.constant is not None for operand in operands):
            self._refuse(node, "compares constants: always the same", "compare with a price, signal or parameter")
        return Value(f"({' and '.join(parts)})" if len(parts) > 1 else parts[0], _Type.BOOL)

    def _call(self, node: ast.Call, output: tuple[str, ast.expr] | None, depth: int) -> Value:
        if not isinstance(node.func, ast.Name):
            self._refuse(node, "only functions can be called", "write name(arguments)")
        if node.keywords:
            self._refuse(node, "named arguments are not part of the language", "give the arguments by place")
        name = node.func.id
        if name in self._compiler._indicators:
            return self._indicator(node, self._compiler._indicators[name], output, depth)
        if output is not None:
            self._refuse(output[1], f"{name}(...) has no part {output[0]!r}", "remove it")
        if name in _CROSSINGS:
            return self._crossing(node, name, depth)
        if name in _FUNCTIONS:
            least, most = _FUNCTIONS[name]
            self._check_count(node, name, least, most)
            arguments = [self._number(argument, depth).code for argument in node.args]
            return Value(f"{name}({', '.join(arguments)})", _Type.NUMBER)
        self._name(node.func, name, depth)
        self._refuse(node, f"{name} is not a function", "remove the parentheses")

    def _crossing(self, node: ast.Call, name: str, depth: int) -> Value:
        self._check_count(node, name, 2, 2)
        left, right = (self._number(argument, depth).code for argument in node.args)
        local = self._instance("c", f"{name}(s.{{}}, {left}, {right})", (), "CROSSING", CROSSING)
        return Value(local, _Type.BOOL)

    def _indicator(self, node: ast.Call, row: Indicator, output: tuple[str, ast.expr] | None, depth: int) -> Value:
        """Check an indicator's call; give it a state of its own, or the one that the same call has already."""
        self._check_output(node, row, output)
        arguments = list(node.args)
        sources = self._sources(node, arguments, row, depth)
        needed = sum(default is None for _, default, _ in row.lookbacks)
        most = len(row.lookbacks) + len(row.numbers)
        if not needed <= len(arguments) <= most:
            wanted = f"{needed} to {most}" if needed < most else str(most)
            what = "number(s)" if row.numbers else "look-back(s)"
            self._refuse(node, f"{row.name} takes {wanted} {what}, got {len(arguments)}", f"write {_example(row)}")
        codes: list[str] = []
        tops: list[int] = []
        values: list[str | float] = []
        for place, (label, default, least) in enumerate(row.lookbacks):
            argument = arguments[place] if place < len(arguments) else ast.Constant(default, lineno=1, col_offset=0)
            code, top, value = self._lookback(argument, row, label, least)
            codes.append(code)
            tops.append(top)
            values.append(value)
        for place, number in enumerate(row.numbers, len(row.lookbacks)):
            codes.append(self._float(arguments[place], row, number) if place < len(arguments) else repr(number[1]))
        inputs = [sources.get(name) or _INPUTS[name] for name in row.inputs]
        call = f"{row.name}({', '.join(['s.{}', *inputs, *codes])})"
        state = f"INDICATORS[{row.name!r}].state({', '.join(map(str, tops))})"
        local = self._instance("i", call, row.outputs, state, row.state(*tops))
        self._grow_ring(row, tops, values, local, " ".join(sources.values()))
        code = f"{local}_{output[0]}" if output else local
        if code not in self._compiler.result.ready:
            self._compiler.result.ready.append(code)
        return Value(code, _Type.NUMBER)

    def _sources(self, node: ast.Call, arguments: list[ast.expr], row: Indicator, depth: int) -> dict[str, str]:
        """Take what an indicator is of from the front of its arguments: the close where nothing is given."""
        taken = {"source": FIELDS["close"]} if "source" in row.inputs else {}
        pair = "source2" in row.inputs
        fixed = len(row.lookbacks) + len(row.numbers)
        if pair or (taken and (len(arguments) > fixed or (arguments and self._is_series(arguments[0])))):
            for name in ("source", "source2")[: 1 + pair]:
                if not arguments:
                    self._refuse(node, f"{row.name} is of two series", f"write {_example(row)}")
                self._check_source(arguments[0], row)
                taken[name] = self._number(arguments.pop(0), depth).code
        return taken

    def _float(self, node: ast.expr, row: Indicator, number: tuple[str, float, float, float]) -> str:
        """Check a float argument: a number, or a parameter whose range lies in the indicator's."""
        label, _, low, high = number
        where = f"{label} of {row.name}"
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if not low <= value <= high:
                    self._refuse(node, f"{where} is {value:g}", f"use {low:g} to {high:g}")
                return repr(float(value))
            case ast.Name(id=name) if name in self._compiler._params:
                bottom, top = self._compiler._params[name].range
                if bottom < low or top > high:
                    what = f"{where} may become {bottom if bottom < low else top:g}"
                    self._refuse(node, what, f"keep its range in {low:g} to {high:g}")
                return f"p.{name}"
            case ast.Name(id=name):
                self._name(node, name, 0)
        self._refuse(node, f"{where} must be a number or a parameter", "name a parameter for it")

    def _is_series(self, node: ast.expr) -> bool:
        """Tell a source from a look-back: a bar field, a signal or anything computed is a source."""
        if isinstance(node, ast.Name):
            return node.id in FIELDS or node.id in self._compiler._signals
        return not isinstance(node, ast.Constant | ast.UnaryOp)

    def _check_source(self, node: ast.expr, row: Indicator) -> None:
        """Refuse a source that no bar changes: mostly a look-back that was computed."""
        moving = (*FIELDS, *self._compiler._signals, *self._compiler._indicators)
        if not any(isinstance(part, ast.Name) and part.id in moving for part in ast.walk(node)):
            what = f"the source of {row.name} does not depend on the bar"
            self._refuse(node, what, "a look-back is a whole number or a parameter in bars")

    def _check_output(self, node: ast.Call, row: Indicator, output: tuple[str, ast.expr] | None) -> None:
        if row.outputs and output is None:
            parts = ", ".join(f".{name}" for name in row.outputs)
            self._refuse(node, f"{row.name}(...) has several parts", f"choose one of {parts}")
        if output is not None and output[0] not in row.outputs:
            near = difflib.get_close_matches(output[0], row.outputs, n=1)
            remedy = f"did you mean .{near[0]}?" if near else f"known: {', '.join(row.outputs) or 'none'}"
            self._refuse(output[1], f"{row.name}(...) has no part {output[0]!r}", remedy)

    def _lookback(self, node: ast.expr, row: Indicator, label: str, least: int) -> tuple[str, int, str | float]:
        """Check a look-back; return its code, the top of its range, and the parameter or number that gives it."""
        where = f"{label} of {row.name}"
        match node:
            case ast.Constant(value=int(number)) if not isinstance(number, bool):
                if not least <= number <= 5000:
                    self._refuse(node, f"{where} is {number}", f"use {least} to 5000")
                return str(number), number, float(number)
            case ast.Name(id=name) if name in self._compiler._params:
                parameter = self._compiler._params[name]
                if parameter.unit != "bars":
                    self._refuse(node, f"{where} is parameter {name}, whose unit is not bars", 'give it unit = "bars"')
                if parameter.range[0] < least:
                    self._refuse(node, f"{where} may become {parameter.range[0]:g}", f"begin its range at {least}")
                top = int(parameter.range[1])
                return f"lookback(p.{name}, {least}, {top})", top, name
            case ast.Name(id=name):
                self._name(node, name, 0)
        self._refuse(node, f"{where} must be a whole number or a parameter in bars", "name a parameter for it")

    def _instance(self, prefix: str, call: str, outputs: tuple[str, ...], code: str, dtype: np.dtype[np.void]) -> str:
        """Return the local of a stateful call, adding its state and its statement when it is new."""
        compiler = self._compiler
        if call not in compiler._instances:
            name = f"{prefix}{len(compiler._instances)}"
            compiler._instances[call] = name
            compiler._params_of[name] = compiler._params_behind(call)
            compiler.result.lookbacks |= compiler._params_of[name]
            compiler.result.state.append(StateField(name, code, dtype))
            targets = ", ".join(f"{name}_{output}" for output in outputs) or name
            compiler.result.statements.append(f"{targets} = {call.format(name)}")
        return compiler._instances[call]

    def _grow_ring(self, row: Indicator, tops: list[int], values: list[str | float], local: str, source: str) -> None:
        """Keep enough bars to fold this indicator again, on top of what its source needs itself."""
        compiler = self._compiler
        inner = compiler._bars_behind(source)
        if local not in compiler._depth_of:
            compiler.result.warm_up.append((row, tuple(values), inner))
        own = row.kept(*tops)
        compiler._depth_of[local] = inner + own
        compiler.result.ring_bars = max(compiler.result.ring_bars, inner + own + 2)

    def _check_count(self, node: ast.Call, name: str, least: int, most: int) -> None:
        if not least <= len(node.args) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            self._refuse(node, f"{name} takes {wanted} arguments, got {len(node.args)}", "see docs/strategies.md")

    def _refuse(self, node: ast.expr, what: str, remedy: str) -> NoReturn:
        # Python tells columns in bytes of UTF-8, and they are wanted in characters.
        before = self._line.strip().encode()[: node.col_offset].decode()
        indent = len(self._line) - len(self._line.lstrip())
        self._compiler._refuse(self._path, indent + len(before), what, remedy)


def _reads(code: str, local: str) -> bool:
    """Say whether code reads a local or one of its parts, such as `i3_hist` of `i3`."""
    return re.search(rf"\b{local}(?:_|\b)", code) is not None


def _example(row: Indicator) -> str:
    series = ["close", "open"] if "source2" in row.inputs else []
    arguments = ", ".join(series + [str(default or 20) for _, default, _ in row.lookbacks])
    return f"{row.name}({arguments})" + (f".{row.outputs[-1]}" if row.outputs else "")
