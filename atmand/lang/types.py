"""What an expression came to: its code, its type and unit, and what it takes to know it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

__all__ = ["FREE", "Limit", "Seen", "Type", "Unit", "Value", "at_once", "divided", "joined", "multiplied"]

Unit = str
"""`price`, `ratio`, `percent`, `volume`, `bars`; `number` is free: it goes with every other."""

FREE: Final = "number"

Seen = Callable[[Mapping[str, float]], tuple[int, int]]
"""Given parameter values: bars before the first value, and bars worth fetching before this one."""

Limit = tuple[str, str, float]
"""A comparison with a constant: what is compared (its code), how, and with what."""


class Type(Enum):
    NUMBER = "a number"
    BOOL = "a condition"


def at_once(_: Mapping[str, float]) -> tuple[int, int]:
    """What is known on the first bar."""
    return 0, 0


@dataclass(frozen=True)
class Value:
    """An expression's generated code and all that the checks, the rings and the warm-up need to know of it."""

    code: str
    type: Type = Type.NUMBER
    unit: Unit = FREE
    constant: float | None = None
    low: float = -math.inf
    high: float = math.inf
    """Bounds that a number keeps by its nature."""
    bars: int = 0
    """Bars before this one that must be folded again to have it as it was."""
    seen: Seen = at_once
    params: frozenset[str] = frozenset()
    streams: frozenset[int] = frozenset()
    """Other streams whose last values it reads."""
    outside: str = ""
    """Why it may not be kept from bar to bar, where it is no part of a bar's history."""
    sparse: bool = False
    """Whether it may be missing on some bars for ever: no strategy waits for it."""
    staged: bool = False
    """Whether it compares instruments, and so is known only when all of them have taken their bars in."""
    moves: bool = False
    """Whether it changes with the bar."""
    limits: tuple[Limit, ...] = ()

    @property
    def is_bool(self) -> bool:
        return self.type is Type.BOOL

    def named(self, local: str) -> Value:
        """The same under a local's name."""
        return replace(self, code=local)


def joined(code: str, *parts: Value, **fields: Any) -> Value:
    """Make the value of code that is put together from others: it needs what they need."""

    def seen(values: Mapping[str, float]) -> tuple[int, int]:
        known = [part.seen(values) for part in parts]
        return max((warm for warm, _ in known), default=0), max((fetch for _, fetch in known), default=0)

    return Value(
        code=code,
        **{
            "bars": max((part.bars for part in parts), default=0),
            "seen": seen,
            "params": frozenset().union(*(part.params for part in parts)),
            "streams": frozenset().union(*(part.streams for part in parts)),
            "outside": next((part.outside for part in parts if part.outside), ""),
            "sparse": any(part.sparse for part in parts),
            "staged": any(part.staged for part in parts),
            "moves": any(part.moves for part in parts),
            **fields,
        },
    )


def multiplied(left: Unit, right: Unit) -> Unit:
    """Unit of a product."""
    if left in (FREE, "ratio"):
        return right
    if right in (FREE, "ratio"):
        return left
    return FREE


def divided(left: Unit, right: Unit) -> Unit:
    """Unit of a quotient: equal units give a ratio."""
    if left == right and left != FREE:
        return "ratio"
    return left if right in (FREE, "ratio") else FREE
