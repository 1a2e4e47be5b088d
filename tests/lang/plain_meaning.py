"""What an expression means, said once more: whole series at once, by rescanning, without the language's own code."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Series = list[Any]
NAN = math.nan


def meaning(text: str, bars: Sequence[Mapping[str, float]], params: Mapping[str, float]) -> Series:
    """Return an expression's value on every bar."""
    return _Meaning(bars, params).of(ast.parse(text, mode="eval").body)


class _Meaning:
    def __init__(self, bars: Sequence[Mapping[str, float]], params: Mapping[str, float]) -> None:
        self.bars, self.params, self.n = bars, params, len(bars)

    def of(self, node: ast.expr) -> Series:
        match node:
            case ast.Constant(value=value):
                return [value if isinstance(value, bool) else float(value)] * self.n
            case ast.Name(id=name) if name in self.params:
                return [self.params[name]] * self.n
            case ast.Name(id=name):
                return [float(bar[name]) for bar in self.bars]
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return [not x for x in self.of(inner)]
            case ast.UnaryOp(operand=inner):
                return [-x for x in self.of(inner)]
            case ast.BinOp(left=left, op=op, right=right):
                return [_operate(op, a, b) for a, b in zip(self.of(left), self.of(right), strict=True)]
            case ast.BoolOp(op=op, values=values):
                join = all if isinstance(op, ast.And) else any
                return [join(row) for row in zip(*map(self.of, values), strict=True)]
            case ast.IfExp(test=test, body=body, orelse=other):
                rows = zip(self.of(test), self.of(body), self.of(other), strict=True)
                return [then if c else otherwise for c, then, otherwise in rows]
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return [_compare(op, a, b) for a, b in zip(self.of(left), self.of(right), strict=True)]
            case ast.Subscript(value=inner, slice=back):
                return self.back(self.of(inner), self.whole(back))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _CALLS[name](self, arguments)
        raise AssertionError(ast.dump(node))

    def whole(self, node: ast.expr) -> int:
        return int(self.of(node)[0])

    def back(self, x: Series, bars: int) -> Series:
        missing = False if isinstance(x[0], bool) else NAN
        return [x[i - bars] if i >= bars else missing for i in range(self.n)]


def _operate(op: ast.operator, a: float, b: float) -> float:
    match op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.Pow():
            return a * a if b == 2 else a * a * a if b == 3 else (a * a) * (a * a)
    if b == 0 or math.isnan(a) or math.isnan(b):
        return NAN
    match op:
        case ast.Div():
            return a / b
        case ast.Mod():
            return a % b
        case _:
            return float(math.floor(a / b))


def _compare(op: ast.cmpop, a: float, b: float) -> bool:
    match op:
        case ast.Lt():
            return a < b
        case ast.LtE():
            return a <= b
        case ast.Gt():
            return a > b
        case ast.GtE():
            return a >= b
        case ast.Eq():
            return a == b
        case _:
            return a != b


def _each(function: Callable[..., float]) -> Callable[[_Meaning, list[ast.expr]], Series]:
    """A function of one bar; it is missing where an argument is."""

    def call(m: _Meaning, arguments: list[ast.expr]) -> Series:
        rows = zip(*map(m.of, arguments), strict=True)
        return [NAN if any(map(math.isnan, row)) else function(*row) for row in rows]

    return call


def _crossing(above: bool) -> Callable[[_Meaning, list[ast.expr]], Series]:
    def call(m: _Meaning, arguments: list[ast.expr]) -> Series:
        found, before = [], None
        for a, b in zip(m.of(arguments[0]), m.of(arguments[1]), strict=True):
            if math.isnan(a) or math.isnan(b):
                found.append(False)
                continue
            apart = (a - b) if above else (b - a)
            found.append(before is not None and before <= 0 < apart)
            before = apart
        return found

    return call


def _run(sign: int) -> Callable[[_Meaning, list[ast.expr]], Series]:
    def call(m: _Meaning, arguments: list[ast.expr]) -> Series:
        x, n = m.of(arguments[0]), m.whole(arguments[1])
        return [i >= n and all((x[j] - x[j - 1]) * sign > 0 for j in range(i - n + 1, i + 1)) for i in range(m.n)]

    return call


def _count(m: _Meaning, arguments: list[ast.expr]) -> Series:
    held, n = m.of(arguments[0]), m.whole(arguments[1])
    return [float(sum(held[max(0, i - n + 1) : i + 1])) for i in range(m.n)]


def _last(held: Series, i: int, most: int) -> int | None:
    return next((j for j in range(i, max(-1, i - most - 1), -1) if held[j]), None)


def _bars_since(m: _Meaning, arguments: list[ast.expr]) -> Series:
    held, most = m.of(arguments[0]), m.whole(arguments[1])
    found = [_last(held, i, most) for i in range(m.n)]
    return [NAN if j is None else float(i - j) for i, j in enumerate(found)]


def _valuewhen(m: _Meaning, arguments: list[ast.expr]) -> Series:
    held, x, most = m.of(arguments[0]), m.of(arguments[1]), m.whole(arguments[2])
    found = [_last(held, i, most) for i in range(m.n)]
    return [NAN if j is None else x[j] for j in found]


def _latch(m: _Meaning, arguments: list[ast.expr]) -> Series:
    on, off, most = m.of(arguments[0]), m.of(arguments[1]), m.whole(arguments[2])
    found = []
    for i in range(m.n):
        began = _last(on, i, most)
        found.append(began is not None and not any(off[began : i + 1]))
    return found


def _change(m: _Meaning, arguments: list[ast.expr]) -> Series:
    x = m.of(arguments[0])
    return [now - before for now, before in zip(x, m.back(x, m.whole(arguments[1])), strict=True)]


def _window(over: Callable[[Series], float]) -> Callable[[_Meaning, list[ast.expr]], Series]:
    """An indicator over the last values that there are; missing on the bars that have none."""

    def call(m: _Meaning, arguments: list[ast.expr]) -> Series:
        n, seen, found = m.whole(arguments[1]), [], []
        for x in m.of(arguments[0]):
            if math.isnan(x) or math.isinf(x):
                found.append(NAN)
                continue
            seen.append(x)
            found.append(over(seen[-n:]) if len(seen) >= n else NAN)
        return found

    return call


_CALLS: dict[str, Callable[[_Meaning, list[ast.expr]], Series]] = {
    "abs": _each(abs),
    "min": _each(min),
    "max": _each(max),
    "clip": _each(lambda x, low, high: min(max(x, low), high)),
    "sign": _each(lambda x: float((x > 0) - (x < 0))),
    "floor": _each(lambda x: float(math.floor(x))),
    "round": _each(lambda x: float(math.floor(x + 0.5))),
    "sqrt": _each(lambda x: math.sqrt(x) if x >= 0 else NAN),
    "log": _each(lambda x: math.log(x) if x > 0 else NAN),
    "crosses_above": _crossing(True),
    "crosses_below": _crossing(False),
    "rising": _run(1),
    "falling": _run(-1),
    "count": _count,
    "bars_since": _bars_since,
    "valuewhen": _valuewhen,
    "latch": _latch,
    "change": _change,
    "sma": _window(lambda values: sum(values) / len(values)),
    "highest": _window(max),
    "lowest": _window(min),
}
