"""The clauses of a strategy's entry rules: each compiled as an expression of its own, its values kept bar by bar.

`compile_values` makes a step that never trades and only remembers what its expressions were worth; `why-not` and the
look-ahead proof run it beside the strategy, in the same program, on the same bars.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from atmand.lang.compiler import Compiler, StateField, Statement
from atmand.lang.strategy import StrategyFile
from atmand.lang.structure import Structure, state_dtype, structure_of

__all__ = ["LOG_ROWS", "Clause", "Clauses", "Group", "Leaf", "Node", "clauses_of", "compile_values"]

LOG_ROWS: Final = 2048
"""Bars that a step of `compile_values` remembers; more than a day has minutes."""

_SIGNS: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_CROSSINGS: Final = {"crosses_above": ">", "crosses_below": "<"}


@dataclass(frozen=True)
class Clause:
    """A condition that is not split any further; the numbers are columns of the log, -1 where there is none."""

    text: str
    value: int
    """Column of its truth, before a `not`."""
    negated: bool = False
    left: int = -1
    right: int = -1
    left_text: str = ""
    right_text: str = ""
    sign: str = ""
    """What the left side is wanted to be, seen from the right one; of a crossing, on which side it must come out."""


@dataclass(frozen=True)
class Leaf:
    """A clause's place in a rule, by its number."""

    clause: int


@dataclass(frozen=True)
class Group:
    """Parts of a rule of which all, or any one, must be true."""

    word: Literal["all", "any"]
    parts: tuple[Node, ...]


Node = Leaf | Group


@dataclass(frozen=True)
class Clauses:
    """The clauses of a file's entry rules, each rule as a tree over them, and the expressions behind them."""

    clauses: tuple[Clause, ...]
    rules: dict[str, Node]
    """By the rule's name: `entry.long`, `entry.short`."""
    texts: tuple[str, ...]
    """An expression a column of the log."""


def clauses_of(file: StrategyFile) -> Clauses:
    """Split a file's entry rules at `and`, `or` and `not`, through signals that are conditions themselves."""
    split = _Split(file)
    rules: dict[str, Node] = {}
    for side in ("long", "short"):
        text = getattr(file.strategy.entry, side)
        if text is not None:
            rules[f"entry.{side}"] = split.node(_parsed(text), negated=False)
    return Clauses(tuple(split.clauses), rules, tuple(split.texts))


def compile_values(file: StrategyFile, texts: Sequence[str]) -> tuple[Structure, np.dtype[np.void]]:
    """Generate a step that never trades: it writes the value of each expression into a log, a row a bar.

    Returns the structure and the dtype of its state: `logged` counts the rows ever written, and `starts`, `marks`,
    `ready` and `values` are rings of `LOG_ROWS` rows. Conditions are 1 or 0. A row is `ready` where nothing that the
    expressions name is missing. Position and trades are those of the strategy's own pair: in a program with the
    strategy as its first book and this as its second, that lies half the table before.
    """
    compiler = Compiler(file.source, file.strategy.params, file.strategy.signals, file.strategy.period_ns)
    compiler.compile_signals()
    values = [compiler.any(text) for text in texts]
    result = compiler.result
    width = len(texts)
    result.state += [
        _field("logged", "i8", 1),
        _field("starts", "i8", LOG_ROWS),
        _field("marks", "i8", LOG_ROWS),
        _field("ready", "i8", LOG_ROWS),
        _field("values", "f8", LOG_ROWS * width),
    ]
    missing = " or ".join(f"math.isnan({name})" for name in result.main.ready) or "False"
    tail = [
        f"row = s.logged % {LOG_ROWS}",
        "s.logged += 1",
        "s.starts[row] = bar.start_ns",
        "s.marks[row] = bar.marks",
        f"s.ready[row] = 0 if {missing} else 1",
    ]
    for column, value in enumerate(values):
        code = f"1.0 if {value.code} else 0.0" if value.is_bool else value.code
        tail.append(f"s.values[row * {width} + {column}] = {code}")
    result.main.statements.insert(0, Statement("index = index - header_of(t).pairs_n // 2"))
    done = [*map(Statement, tail), Statement("v.flags = 0")]
    return structure_of(file.strategy, result, done), state_dtype(result, done)


def _field(name: str, kind: str, n: int) -> StateField:
    """Make a field of plain numbers: one, or an array of them."""
    dtype: Any = np.dtype(kind) if n == 1 else np.dtype((kind, (n,)))
    return StateField(name, f'"{kind}"' if n == 1 else f'"{kind}", ({n},)', dtype)


class _Split:
    """Walks rules and gathers their clauses; the same clause in two rules is one."""

    def __init__(self, file: StrategyFile) -> None:
        self._signals = file.strategy.signals
        self.clauses: list[Clause] = []
        self.texts: list[str] = []

    def node(self, tree: ast.expr, *, negated: bool) -> Node:
        match tree:
            case ast.BoolOp(op=op, values=parts):
                # Not (a and b) is (not a) or (not b).
                word: Literal["all", "any"] = "all" if isinstance(op, ast.And) is not negated else "any"
                return Group(word, tuple(self.node(part, negated=negated) for part in parts))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.node(operand, negated=not negated)
            case ast.Name(id=name) if name in self._signals and _is_condition(self._signals[name]):
                return self.node(_parsed(self._signals[name]), negated=negated)
            case ast.Compare(left=left, ops=ops, comparators=rights) if len(ops) > 1:
                sides = [left, *rights]
                pairs = [
                    ast.Compare(left=sides[place], ops=[sign], comparators=[sides[place + 1]])
                    for place, sign in enumerate(ops)
                ]
                return Group("any" if negated else "all", tuple(self.node(pair, negated=negated) for pair in pairs))
        return self._leaf(tree, negated)

    def _leaf(self, tree: ast.expr, negated: bool) -> Leaf:
        text = ast.unparse(tree)
        clause = Clause(f"not {text}" if negated else text, self._column(text), negated)
        sides = _sides(tree)
        if sides is not None:
            left, sign, right, is_crossing = sides
            left_text, right_text = ast.unparse(left), ast.unparse(right)
            wanted = _OPPOSITE[sign] if negated and not is_crossing else sign
            clause = Clause(
                clause.text if is_crossing else f"{left_text} {wanted} {right_text}",
                clause.value, negated, self._column(left_text), self._column(right_text), left_text, right_text, wanted,
            )  # fmt: skip
        if clause not in self.clauses:
            self.clauses.append(clause)
        return Leaf(self.clauses.index(clause))

    def _column(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


def _sides(tree: ast.expr) -> tuple[ast.expr, str, ast.expr, bool] | None:
    """Return a comparison's or a crossing's two sides, and how they should stand to each other."""
    match tree:
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _SIGNS:
            return left, _SIGNS[type(sign)], right, False
        case ast.Call(func=ast.Name(id=name), args=[left, right]) if name in _CROSSINGS:
            return left, _CROSSINGS[name], right, True
    return None


def _is_condition(text: str) -> bool:
    """Say whether a signal is itself made of clauses."""
    return isinstance(_parsed(text), ast.BoolOp | ast.Compare) or (
        isinstance(tree := _parsed(text), ast.UnaryOp) and isinstance(tree.op, ast.Not)
    )


def _parsed(text: str) -> ast.expr:
    """Parse an expression that the compiler has taken already; it may be spread over lines."""
    return ast.parse(f"({text}\n)", mode="eval").body
