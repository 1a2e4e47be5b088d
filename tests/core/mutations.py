"""Mutation of the rules of trading: each is turned round in the source, and some test of the core must fail for it.

`make mutate` tries a curated list, one mutant of each named rule; `make mutate ARGS=--full` tries every comparison,
sign and small constant of the modules. Both print the survivors and fail where there are any that `EQUIVALENT` does not
excuse. `test_mutations.py` tries a few, so that this file cannot rot. Mutants run in copies of the package with JIT
off; nothing in the tree is touched.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SUITES: Final = {
    "matching": ("test_matching.py", "test_trade_rules.py", "test_odd_market.py"),
    "exits": ("test_trade_rules.py", "test_matching.py"),
    "risk": ("test_risk.py", "test_odd_market.py", "test_matching.py"),
    "decide": ("test_trade_rules.py", "test_matching.py", "test_risk.py"),
    "sizing": ("test_trade_rules.py", "test_risk.py", "test_orders.py"),
    "orders": ("test_orders.py", "test_matching.py"),
    "fills": ("test_orders.py", "test_matching.py", "test_trade_rules.py"),
    "legs": ("test_legs.py", "test_leg_order.py"),
    "leg_entry": ("test_leg_order.py", "test_legs.py"),
    "contracts": ("test_legs.py",),
    "portfolio": ("test_portfolio.py", "test_legs.py"),
    "exposure": ("test_exposure.py", "test_risk.py"),
    "slicing": ("test_slicing.py",),
    "margin": ("test_margin.py",),
}
MODULES: Final = tuple(SUITES)
CURATED: Final = (
    ("matching", "watch_exits", "a stop fires at its price and beyond", "(price - pair.stop_price) * pair.side <= 0"),
    ("matching", "_match_order", "no order meets the record that made it", "o.cause == h.sequence"),
    ("matching", "_match_order", "an order waits out its latency", "h.time_ns < o.active_ns"),
    ("matching", "_take_depth", "nothing fills beyond the limit", "(price - limit) * side > 0"),
    ("matching", "_beyond_band", "nothing fills above the band", "price > instrument.upper_band"),
    ("matching", "_beyond_band", "nothing fills below the band", "price < instrument.lower_band"),
    ("matching", "_match_limit_on_path", "a limit must be traded through",
     "(o.limit - instrument.last_price) * o.side <= 0"),
    ("matching", "_match_target_on_path", "targets fill at the last step",
     "instrument.exchange_ns % _MINUTE_NS >= h.path_last_ns"),
    ("exits", "ratchet", "a trail begins at its profit", "gain >= in_price(average, pair.trail_after)"),
    ("exits", "ratchet", "breakeven begins at its profit", "gain >= in_price(average, pair.breakeven)"),
    ("exits", "_tighten", "a stop only moves towards the price", "(price - pair.stop_price) * pair.side > 0"),
    ("exits", "in_price", "percent is told by its sign", "written >= 0"),
    ("risk", "order_refusal", "the order's value has a limit", "value > book.order_value_paise"),
    ("risk", "order_refusal", "the number of positions has a limit",
     "book.positions + entering(t, pair.book) >= book.open_positions"),
    ("risk", "order_refusal", "the day's orders have a limit", "book.orders_today + orders > book.orders_a_day"),
    ("risk", "_at_circuit", "no buying at the upper circuit", "instrument.last_price >= instrument.upper_band"),
    ("risk", "_at_circuit", "no selling at the lower circuit", "instrument.last_price <= instrument.lower_band"),
    ("risk", "_state_refusal", "a silent instrument is not entered", "h.time_ns - instrument.tick_ns > h.stale_ns"),
    ("risk", "order_refusal", "an entry is ten slices at most", "quantity > MOST_SLICES * slice_units(instrument)"),
    ("margin", "lacks_cash", "a margin has to be there", "free - paise < margin_of(t, book_index)"),
    ("margin", "_margin_beside", "an option is no future", "instrument.right == 0"),
    ("margin", "_is_alike", "expiries are apart", "one.expiry_ns == two.expiry_ns"),
    ("slicing", "orders_for", "what is within the freeze quantity is one order", "quantity <= most"),
    ("decide", "decide", "a cooldown is waited out", "pair.cooling > 0"),
    ("decide", "decide", "the day's trades have a limit", "pair.trades_today >= book.max_trades"),
    ("decide", "_manage", "a trade is left after its bars", "pair.bars_held >= verdict.bars"),
    ("decide", "_manage", "additions have a limit", "pair.adds < book.max_adds"),
    ("decide", "_manage", "reductions have a limit", "pair.reduces < book.max_reduces"),
    ("legs", "_follow", "a leg that is not whole has failed", "pair.entry_quantity < leg.units"),
    ("legs", "_follow", "re-entries have a limit", "leg.entries < leg.reentries"),
    ("legs", "_await_cost", "a leg comes back at its cost", "(price - leg.cost) * leg.side >= 0"),
    ("legs", "_leave_bought", "a sold leg keeps its cover", "pair_at(t, leg.pair).quantity != 0"),
    ("leg_entry", "enter_planned", "sold legs wait for the bought ones", "leg.state == _ENTERING"),
    ("leg_entry", "enter_planned", "a planned leg waits no longer than an entry", "h.time_ns >= group.until_ns"),
    ("legs", "_judge_sum", "the sum has a loss", "total <= -loss"),
    ("legs", "_judge_sum", "the sum has a target", "total >= target"),
    ("legs", "_judge_sum", "the sum has a trail", "group.best_paise - total >= trail"),
    ("portfolio", "account_refusal", "gross exposure has a limit",
     "account.gross_paise + gross > _limit(h.gross_paise, h.gross_of_equity, equity)"),
    ("portfolio", "account_refusal", "what lowers the net exposure is let in", "after > abs(account.net_paise)"),
    ("portfolio", "account_refusal", "an underlying has a limit", "alike > h.underlying_positions"),
    ("exposure", "_count", "a short is held against twice", "pair.quantity < 0"),
)  # fmt: skip
"""Module, function, the rule in words, and the comparison that is turned round."""

EQUIVALENT: Final = frozenset[str]()
"""Mutants of `--full` that mean the same as the source, as `module:line:column`."""

_FLIPS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip


class _Mutate(ast.NodeTransformer):
    """Turn the node at one place round."""

    def __init__(self, line: int, column: int, kind: type[ast.AST]) -> None:
        self._at = (line, column, kind)

    def visit(self, node: ast.AST) -> ast.AST:
        if (getattr(node, "lineno", 0), getattr(node, "col_offset", -1), type(node)) == self._at:
            return _turned(node)
        return super().generic_visit(node)


def _turned(node: ast.AST) -> ast.AST:
    if isinstance(node, ast.Compare):
        return ast.Compare(node.left, [_FLIPS[type(op)]() for op in node.ops], node.comparators)
    if isinstance(node, ast.BinOp):
        return ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)
    if isinstance(node, ast.UnaryOp):
        return node.operand
    if isinstance(node, ast.Constant):
        return ast.Constant(node.value + 1)
    return node


def _is_rule(node: ast.AST) -> bool:
    match node:
        case ast.Compare(ops=ops):
            return all(type(op) in _FLIPS for op in ops)
        case ast.BinOp(op=ast.Add() | ast.Sub()) | ast.UnaryOp(op=ast.USub()):
            return True
        case ast.Constant(value=int(number)):
            return not isinstance(number, bool) and abs(number) < 10
    return False


def every(module: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield what may be turned round in a module's functions."""
    for function in ast.walk(ast.parse((ROOT / f"atmand/core/{module}.py").read_text())):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                for node in ast.walk(statement):
                    if _is_rule(node):
                        yield f"{function.name}: {ast.unparse(node)}", node


def curated() -> Iterator[tuple[str, str, ast.AST]]:
    """Yield the listed rules; a rule that is not in the source any more is an error of the list."""
    for module, function, rule, text in CURATED:
        tree = ast.parse((ROOT / f"atmand/core/{module}.py").read_text())
        body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
        found = [node for node in ast.walk(body) if isinstance(node, ast.Compare) and ast.unparse(node) == text]
        if len(found) != 1:
            raise SystemExit(f"{module}.{function}: {text!r} is there {len(found)} times; correct CURATED")
        yield module, rule, found[0]


def survives(copy: Path, module: str, node: ast.AST) -> bool:
    """Run the module's suites over a mutant; say whether all of them passed."""
    source = ROOT / f"atmand/core/{module}.py"
    tree = _Mutate(node.lineno, node.col_offset, type(node)).visit(ast.parse(source.read_text()))  # type: ignore[attr-defined]
    target = copy / f"atmand/core/{module}.py"
    target.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    tests = [str(ROOT / "tests/core" / name) for name in SUITES[module]]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(copy)}
    try:
        ended = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=300, check=False)
        return ended.returncode == 0
    except subprocess.TimeoutExpired:
        return False  # a mutant that never ends is caught
    finally:
        shutil.copy(source, target)


def main() -> int:
    """Try the mutants; 1 where one survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every mutant of the modules instead of the named rules")
    parser.add_argument("--module", action="append", help="of this module only")
    parser.add_argument("--rule", action="append", help="of the named rules, those that hold this text")
    chosen = parser.parse_args()
    modules = chosen.module or MODULES
    rules = (
        [(module, name, node) for module in modules for name, node in every(module)] if chosen.full else list(curated())
    )
    if chosen.rule:
        rules = [rule for rule in rules if any(text in rule[1] for text in chosen.rule)]
    survivors: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "atmand", copy / "atmand", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "configs", copy / "configs")
        shutil.copy(ROOT / "pyproject.toml", copy)
        for module, name, node in rules:
            place = f"{module}:{node.lineno}:{node.col_offset}"  # type: ignore[attr-defined]
            if module not in modules or place in EQUIVALENT:
                continue
            began = time.monotonic()
            if survives(copy, module, node):
                survivors.append(f"{place} {name}")
            word = "SURVIVED" if survivors and survivors[-1].startswith(place) else "caught"
            print(f"{word:8} {place:24} {time.monotonic() - began:5.1f} s  {name}", flush=True)
    print(f"{len(rules)} mutants, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
