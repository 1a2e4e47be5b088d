"""Checks on what was compiled, before anything runs: units, conditions that never change, rules that never trade.

A refusal is an error in the file. A warning is what is allowed and hardly meant: it is shown, and the strategy runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import time
from typing import Final

from atmand.lang.strategy import Strategy
from atmand.lang.types import FREE, Limit, Value

__all__ = ["BOUNDS", "always", "contradiction", "idle_rules", "limits_of", "unit_of_all"]

BOUNDS: Final[dict[str, tuple[float, float]]] = {
    **dict.fromkeys(
        (
            "rsi", "mfi", "adx", "adxr", "dx", "plus_di", "minus_di", "aroon", "stoch", "stochf", "stochrsi", "ultosc",
            "percent_rank", "chop",
        ),
        (0.0, 100.0),
    ),
    "willr": (-100.0, 0.0),
    "cmo": (-100.0, 100.0),
    "aroonosc": (-100.0, 100.0),
    "bop": (-1.0, 1.0),
    "correl": (-1.0, 1.0),
}  # fmt: skip
"""Between what an indicator's values lie, whatever the market does."""

_CLOSE: Final = time(15, 30)
_MIRROR: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def unit_of_all(values: Iterable[Value]) -> tuple[str, tuple[str, str] | None]:
    """Return the unit that numbers share, and the two units that do not go together where there are such."""
    unit = FREE
    for value in values:
        if FREE not in (unit, value.unit) and unit != value.unit:
            return unit, (unit, value.unit)
        unit = value.unit if unit == FREE else unit
    return unit, None


def limits_of(left: Value, sign: str, right: Value) -> tuple[Limit, ...]:
    """Return what a comparison with a constant says of the other side."""
    if right.constant is not None and left.constant is None:
        return ((left.code, sign, right.constant),)
    if left.constant is not None and right.constant is None:
        return ((right.code, _MIRROR[sign], left.constant),)
    return ()


def always(left: Value, sign: str, right: Value) -> bool | None:
    """Return what a comparison always is by the bounds of its sides; None where it depends on the market."""
    match sign:
        case "<":
            return True if left.high < right.low else False if left.low >= right.high else None
        case "<=":
            return True if left.high <= right.low else False if left.low > right.high else None
        case ">" | ">=":
            return always(right, _MIRROR[sign], left)
        case "==" if left.high < right.low or left.low > right.high:
            return False
        case "!=" if left.high < right.low or left.low > right.high:
            return True
    return None


def contradiction(limits: Sequence[Limit]) -> tuple[str, str] | None:
    """Return two comparisons of one thing that cannot hold together, or None."""
    lows: dict[str, tuple[float, bool, str]] = {}
    highs: dict[str, tuple[float, bool, str]] = {}
    for code, sign, bound in limits:
        said = f"{code} {sign} {bound:g}"
        if sign in (">", ">=", "=="):
            lows[code] = max(lows.get(code, (-math.inf, False, "")), (bound, sign == ">", said))
        if sign in ("<", "<=", "=="):
            highs[code] = min(
                highs.get(code, (math.inf, False, "")),
                (bound, sign == "<", said),
                key=lambda high: (high[0], not high[1]),
            )
    for code in lows.keys() & highs.keys():
        (low, above, first), (high, below, second) = lows[code], highs[code]
        if low > high or (low == high and (above or below)):
            return first, second
    return None


def idle_rules(strategy: Strategy, rules: Sequence[tuple[str, str, Value]]) -> list[tuple[tuple[str, ...], str]]:
    """Return the rules that can never trade, each with its place in the file; `rules` are (table, side, condition)."""
    found: list[tuple[tuple[str, ...], str]] = []
    by_place = {(table, side): value for table, side, value in rules}
    for side in ("long", "short"):
        enter, leave = by_place.get(("entry", side)), by_place.get(("exit", side))
        if enter is not None and leave is not None and enter.code == leave.code:
            found.append((("exit", side), "the same as the entry: every position is left as soon as it may be"))
    hours = strategy.session
    if hours.entry_from >= (hours.entry_to or _CLOSE):
        found.append((("session", "entry_from"), "nothing can be entered: the window ends before it begins"))
    elif hours.square_off is not None and hours.square_off <= hours.entry_from:
        found.append((("session", "square_off"), "nothing can be entered: the books are squared off before that"))
    return found
