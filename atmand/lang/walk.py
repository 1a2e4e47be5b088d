"""One pass over one expression's tree: every form of the language checked and turned into code."""

from __future__ import annotations

import ast
import copy
import difflib
import math
import re
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

from atmand.hints import did_you_mean
from atmand.lang.calls import Calls, example
from atmand.lang.checks import always, contradiction, limits_of, unit_of_all
from atmand.lang.functions import FIELDS, FUNCTIONS, NAMES, PARTS
from atmand.lang.habits import form_of
from atmand.lang.types import FREE, Limit, Type, Value, divided, joined, multiplied

if TYPE_CHECKING:
    from atmand.lang.compiler import Compiler, Stream

__all__ = ["Walk"]

_ARITHMETIC: Final = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.FloorDiv: "//"}
_KERNELS: Final = {"/": "divide", "%": "modulo", "//": "floor_divide"}
_COMPARISONS: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_POWERS: Final = {2: "square", 3: "cube", 4: "fourth"}
_MAX_DEPTH: Final = 60
_PERIOD: Final = re.compile(r"^([1-9][0-9]{0,2})([mhd])$")
_MINUTES: Final = {"m": 1, "h": 60, "d": 1440}
_MINUTE_NS: Final = 60_000_000_000
_SESSION_MINUTES: Final = 375
"""Minutes of the longest day of a share (NSE's continuous session)."""
_UNITS: Final = {"rupees": "price", "percent": "percent", "ratio": "ratio", "bars": "bars", "": FREE}


class Walk(Calls):
    """One pass over one expression's tree, on the bars of one stream."""

    def __init__(self, compiler: Compiler, line: str, path: tuple[str, ...], stream: Stream) -> None:
        self.compiler = compiler
        self.line = line
        self.path = path
        self.stream = stream

    def value(self, node: ast.expr, depth: int) -> Value:
        """Check a node and return what it came to."""
        if depth > _MAX_DEPTH:
            self.refuse(node, "nested too deeply", "split it into signals")
        if isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
            elsewhere = self._elsewhere(node, depth)
            if elsewhere is not None:
                return elsewhere
        match node:
            case ast.Constant(value=bool(state)):
                return Value(str(state), Type.BOOL, constant=float(state))
            case ast.Constant(value=int() | float() as number):
                if not abs(number) <= 1e15:
                    self.refuse(node, "this is no usable number", "write a finite number below 1e15")
                return _constant(float(number))
            case ast.Name(id=name):
                return self.name(node, name, depth)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.number(operand, depth)
                if inner.constant is not None:
                    return _constant(-inner.constant)
                return joined(f"(-{inner.code})", inner, unit=inner.unit, low=-inner.high, high=-inner.low)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.number(operand, depth)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.condition(operand, depth)
                return joined(f"(not {inner.code})", inner, type=Type.BOOL)
            case ast.BinOp(op=ast.Pow()):
                return self._power(node, depth)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._arithmetic(node, left, _ARITHMETIC[type(op)], right, depth)
            case ast.BoolOp(op=op, values=values):
                return self._logic(node, isinstance(op, ast.And), values, depth)
            case ast.IfExp():
                return self._choice(node, depth)
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Call():
                return self.call(node, None, depth)
            case ast.Attribute(value=ast.Call() as call, attr=output):
                return self.call(call, (output, node), depth)
            case ast.Attribute(value=ast.Name(id=name), attr=part) if name in PARTS:
                return self._part(node, name, part)
            case ast.Subscript():
                return self._history(node, depth)
        self.refuse(node, *form_of(node))

    def number(self, node: ast.expr, depth: int) -> Value:
        """Check a node that must be a number."""
        value = self.value(node, depth + 1)
        if value.is_bool:
            self.refuse(node, "this is a condition where a number is wanted", "remove the comparison")
        return value

    def condition(self, node: ast.expr, depth: int) -> Value:
        """Check a node that must be a condition."""
        value = self.value(node, depth + 1)
        if not value.is_bool:
            self.refuse(node, "this is a number where a condition is wanted", "compare it with something")
        return value

    def name(self, node: ast.expr, name: str, depth: int) -> Value:
        """Look a name up: a bar field, a parameter, a signal, or one that the language has."""
        compiler = self.compiler
        if name in FIELDS:
            return Value(FIELDS[name], unit="volume" if name == "volume" else "price", moves=True)
        if name in compiler.params:
            parameter = compiler.params[name]
            low, high = parameter.range
            unit = _UNITS[parameter.unit]
            return Value(f"p.{name}", unit=unit, low=low, high=high, params=frozenset({name}))
        if name in compiler.signals:
            return compiler.signal(name, depth + 1, self.stream)
        if name in NAMES:
            return self._known(node, name)
        if name in PARTS and name not in FUNCTIONS:
            parts = ", ".join(f".{part}" for part in PARTS[name])
            self.refuse(node, f"{name} has several parts", f"choose one of {parts}")
        if name in compiler.indicators:
            remedy = f"write {example(compiler.indicators[name])}"
            self.refuse(node, f"{name} is an indicator and needs its arguments", remedy)
        if name in FUNCTIONS:
            self.refuse(node, f"{name} is a function and needs its arguments", "see docs/strategies.md")
        plain = [known for known in NAMES if "." not in known]
        known = [*FIELDS, *compiler.params, *compiler.signals, *FUNCTIONS, *plain, *PARTS]
        if name.lower() in ("true", "false"):
            self.refuse(node, f"unknown name {name!r}", f"write {name.capitalize()}")
        remedy = did_you_mean(name, [*known, *compiler.indicators], "docs/strategies.md")
        self.refuse(node, f"unknown name {name!r}", remedy)

    def refuse(self, node: ast.AST, what: str, remedy: str) -> NoReturn:
        """Refuse what a node says, with its place."""
        self.compiler.refuse(self.path, self._offset(node), what, remedy)

    def warn(self, node: ast.AST, what: str) -> None:
        """Note what a node says that is hardly meant."""
        self.compiler.warn(self.path, self._offset(node), what)

    def text(self, node: ast.AST) -> str:
        """Return the expression's own words for a node."""
        return ast.get_source_segment(self.line.strip(), node) or ""

    def period_bars(self, days: int) -> int:
        """Return the most bars of this stream in so many days."""
        return days * -(-_SESSION_MINUTES * _MINUTE_NS // self.stream.period_ns)

    def _offset(self, node: ast.AST) -> int:
        # Python tells columns in bytes of UTF-8, and they are wanted in characters.
        before = self.line.strip().encode()[: getattr(node, "col_offset", 0)].decode()
        return len(self.line) - len(self.line.lstrip()) + len(before)

    def _known(self, node: ast.AST, name: str) -> Value:
        """Return one of the language's own names."""
        row = NAMES[name]
        value = Value(row.code, unit=row.unit, low=row.low, high=row.high, moves=True)
        if row.group == "the day":
            days = 2 if "prev_" in row.code else 1
            bars = self.period_bars(days)
            code = row.code.format(day=self.compiler.day(self.stream, bars))
            fetch = bars + self.period_bars(1)
            return replace(value, code=code, bars=bars, seen=lambda _: (0, fetch), sparse=days == 2)
        if row.group == "time":
            if "end_ns" in row.code or "index" in row.code:
                self.compiler.bar_end(self.stream)
            if name == "days_to_expiry":
                self._own_only(node, name)
            return replace(value, sparse=name == "days_to_expiry")
        self._own_only(node, name)
        if row.group == "columns":
            return replace(value, outside=f"{name} comes from outside", sparse=True)
        if not self.compiler.has_position:
            self.refuse(node, f"{name}: an expression alone has no position", "use it in a strategy's rules")
        return replace(value, outside=f"{name} is the position's", sparse=True)

    def _own_only(self, node: ast.AST, name: str) -> None:
        if self.stream.index:
            self.refuse(node, f"{name} is known of the strategy's own bars only", "leave on= and of= out")

    def _part(self, node: ast.Attribute, name: str, part: str) -> Value:
        if part not in PARTS[name] or name in FUNCTIONS or f"{name}.{part}" not in NAMES:
            near = difflib.get_close_matches(part, PARTS[name], n=1)
            remedy = f"did you mean .{near[0]}?" if near else f"known: {', '.join(PARTS[name])}"
            self.refuse(node, f"{name} has no part {part!r}", remedy)
        return self._known(node, f"{name}.{part}")

    def _arithmetic(self, node: ast.expr, left: ast.expr, sign: str, right: ast.expr, depth: int) -> Value:
        a, b = self.number(left, depth), self.number(right, depth)
        if sign in _KERNELS and b.constant == 0.0:
            self.refuse(node, "division by zero", "divide by something else")
        if a.constant is not None and b.constant is not None:
            return self._folded(node, a.constant, sign, b.constant)
        code = f"{_KERNELS[sign]}({a.code}, {b.code})" if sign in _KERNELS else f"({a.code} {sign} {b.code})"
        if sign == "*":
            return joined(code, a, b, unit=multiplied(a.unit, b.unit))
        if sign in ("/", "//"):
            return joined(code, a, b, unit=divided(a.unit, b.unit))
        unit = self.one_unit(node, "+" if sign == "+" else sign, a, b)
        if sign == "%":
            return joined(code, a, b, unit=unit)
        low = a.low + b.low if sign == "+" else a.low - b.high
        high = a.high + b.high if sign == "+" else a.high - b.low
        bounds = {} if math.isnan(low) or math.isnan(high) else {"low": low, "high": high}
        return joined(code, a, b, unit=unit, **bounds)

    def _folded(self, node: ast.expr, a: float, sign: str, b: float) -> Value:
        """Work an operation on two constants out."""
        result = {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1.0), "%": a % (b or 1.0), "//": a // (b or 1.0)}
        if not abs(result[sign]) <= 1e15:
            self.refuse(node, "this is no usable number", "write a finite number below 1e15")
        return _constant(result[sign])

    def _power(self, node: ast.BinOp, depth: int) -> Value:
        match node.right:
            case ast.Constant(value=int(exponent)) if exponent in _POWERS and not isinstance(exponent, bool):
                base = self.number(node.left, depth)
                return joined(f"{_POWERS[exponent]}({base.code})", base, low=0.0 if exponent != 3 else -math.inf)
        self.refuse(node, "the exponent must be 2, 3 or 4", "multiply, or use sqrt, exp and log")

    def one_unit(self, node: ast.AST, doing: str, *values: Value) -> str:
        """Return the unit that numbers share; numbers of different ones are refused."""
        unit, apart = unit_of_all(values)
        if apart is not None:
            remedy = "bring both to one unit, or divide one by something of its own unit"
            self.refuse(node, f"{apart[0]} and {apart[1]} do not go together in {doing}", remedy)
        return unit

    def _logic(self, node: ast.expr, is_and: bool, nodes: list[ast.expr], depth: int) -> Value:
        values = [self.condition(part, depth) for part in nodes]
        limits = tuple(limit for value in values for limit in value.limits) if is_and else ()
        apart = contradiction(limits)
        if apart is not None:
            self.warn(node, "this is never true: its comparisons of one thing exclude each other")
        word = " and " if is_and else " or "
        return joined(f"({word.join(value.code for value in values)})", *values, type=Type.BOOL, limits=limits)

    def _choice(self, node: ast.IfExp, depth: int) -> Value:
        test, then, other = self.condition(node.test, depth), self.value(node.body, depth + 1), None
        other = self.value(node.orelse, depth + 1)
        if then.is_bool != other.is_bool:
            self.refuse(node, "one side is a condition and the other a number", "give both the same type")
        unit = FREE if then.is_bool else self.one_unit(node, "one of two values", then, other)
        return joined(
            f"({then.code} if {test.code} else {other.code})", then, test, other, type=then.type, unit=unit,
            low=min(then.low, other.low), high=max(then.high, other.high),
        )  # fmt: skip

    def _comparison(self, node: ast.Compare, depth: int) -> Value:
        for op in node.ops:
            if type(op) not in _COMPARISONS:
                self.refuse(node, *form_of(op))
        operands = [self.number(operand, depth) for operand in (node.left, *node.comparators)]
        parts: list[str] = []
        limits: list[Limit] = []
        for index, op in enumerate(node.ops):
            sign = _COMPARISONS[type(op)]
            left, right = operands[index], operands[index + 1]
            self.one_unit(node, "a comparison", left, right)
            parts.append(f"({left.code} {sign} {right.code})")
            limits += limits_of(left, sign, right)
        if all(operand.constant is not None for operand in operands):
            self.refuse(node, "compares constants: always the same", "compare with a price, signal or parameter")
        for index, op in enumerate(node.ops):
            fixed = always(operands[index], _COMPARISONS[type(op)], operands[index + 1])
            if fixed is not None:
                self.warn(node, f"this is always {str(fixed).lower()}: the values never lie so")
        if contradiction(limits) is not None:
            self.warn(node, "this is never true: its comparisons of one thing exclude each other")
        code = f"({' and '.join(parts)})" if len(parts) > 1 else parts[0]
        return joined(code, *operands, type=Type.BOOL, limits=tuple(limits))

    def _history(self, node: ast.Subscript, depth: int) -> Value:
        """A value of so many bars ago."""
        back, top, params, read = self.lookback(node.slice, "the bars to go back", 0)
        value = self.value(node.value, depth + 1)
        if top == 0:
            return value
        self.may_keep(node, value)
        if not value.moves:
            self.refuse(node, "this does not depend on the bar: it has no history", "remove the brackets")
        source = f"(1.0 if {value.code} else 0.0)" if value.is_bool else value.code
        base = f"{value.code if value.code.isidentifier() else 'value'}_{back if back.isdigit() else 'back'}_ago"
        needed = joined("", value, unit=value.unit, low=value.low, high=value.high, bars=value.bars + top)
        needed = self.looking(needed, value, params, lambda values: read(values))
        kept = self.kept(
            base, f"shifted({{}}, {source}, {back})", f"history({top})", needed, note=self.text(node), top=top,
            state_of="history",
        )  # fmt: skip
        if value.is_bool:
            return replace(kept, code=f"({kept.code} > 0.5)", type=Type.BOOL, low=-math.inf, high=math.inf)
        self.compiler.wait_for(self.stream, kept.code, kept)
        return kept

    def _elsewhere(self, node: ast.expr, depth: int) -> Value | None:
        """Evaluate what names another instrument or period on that stream's bars; None where it names none."""
        inner = node
        while isinstance(inner, ast.Attribute | ast.Subscript):
            inner = inner.value
        if not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Name):
            return None
        of, period_ns, is_named = self._selected(inner)
        if not is_named:
            return None
        stream = self.compiler.stream(of, period_ns)
        plain = _without_selection(node, {*self.compiler.indicators, *FUNCTIONS, "opening_range"})
        if stream is self.stream:
            return self.value(plain, depth + 1)
        if self.stream.index:
            self.refuse(inner, "bars of one stream inside another's", "make each a signal and combine those")
        walk = Walk(self.compiler, self.line, self.path, stream)
        value = walk.value(plain, depth + 1)
        if value.staged or value.outside:
            self.refuse(inner, f"{value.outside or 'a comparison between instruments'} has no bars of its own",
                        "leave on= and of= out")  # fmt: skip
        return self.compiler.export(value, stream)

    def _selected(self, call: ast.Call) -> tuple[str, int, bool]:
        """Read `on=` and `of=`, or the instrument in a field's brackets."""
        of, period_ns, is_named = self.stream.of, self.stream.period_ns, False
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in FIELDS and len(call.args) == 1:
            of, is_named = self._instrument(call.args[0]), True
        for keyword in call.keywords:
            if keyword.arg == "of":
                of, is_named = self._instrument(keyword.value), True
            elif keyword.arg == "on":
                period_ns, is_named = self._period(keyword.value), True
            else:
                self.refuse(call, "named arguments are not part of the language",
                            "give the arguments by place; only on= and of= are named")  # fmt: skip
        return of, period_ns, is_named

    def _instrument(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str(name)) if (
                re.fullmatch(r"[A-Z]+:[^:\s][^:]*(:[^:]+)*", name) and len(name) <= 48
            ):
                return name
        self.refuse(node, "this names no instrument", 'write it as "NSE:NIFTY 50"')

    def _period(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=str(text)) if (found := _PERIOD.match(text)) and int(found[1]) * _MINUTES[
                found[2]
            ] <= 1440:
                return int(found[1]) * _MINUTES[found[2]] * _MINUTE_NS
        self.refuse(node, "this is no length of a bar", 'write minutes, hours or a day: "15m", "1h", "1d"')


def _constant(number: float) -> Value:
    return Value(repr(number), constant=number, low=number, high=number)


def _without_selection(node: ast.expr, callable_: Collection[str]) -> ast.expr:
    """Copy a node with the stream's selection left out of the call in it; a bare name is left as one."""
    plain = copy.deepcopy(node)
    inner: ast.expr = plain
    above: ast.Attribute | ast.Subscript | None = None
    while isinstance(inner, ast.Attribute | ast.Subscript):
        above, inner = inner, inner.value
    assert isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name)
    inner.keywords = []
    if inner.func.id in FIELDS:
        inner.args = []
    if inner.args or inner.func.id in callable_:
        return plain
    if above is None:
        return inner.func
    above.value = inner.func
    return plain
