"""What a strategy file's tables must agree on: names, sides, parts and legs that go together.

Each check raises `fault` with the key that it is about; what one table says alone is checked by its own model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from atmand.lang.refusals import fault

if TYPE_CHECKING:
    from atmand.lang.strategy import Strategy

__all__ = ["NAME", "check_together", "is_usable_name"]

NAME: Final = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
_RESERVED: Final = {"open", "high", "low", "close", "volume", "and", "or", "not", "if", "else", "true", "false"}
_MAX_PARAMS: Final = 62


def is_usable_name(name: str) -> bool:
    """Say whether a parameter or signal may be called so."""
    return NAME.match(name) is not None and name not in _RESERVED


def check_together(strategy: Strategy) -> None:
    """Refuse tables that do not fit each other."""
    _check_names(strategy)
    _check_sides(strategy)
    _check_parts(strategy)
    _check_legs(strategy)


def _check_names(strategy: Strategy) -> None:
    if len(strategy.params) > _MAX_PARAMS:
        raise fault(f"more than {_MAX_PARAMS} parameters", "params")
    for table in ("params", "signals"):
        for name in getattr(strategy, table):
            if not is_usable_name(name):
                remedy = "use lower case letters, digits and _, at most 31, and none of the bar's own names"
                raise fault(f"{name!r} cannot name a parameter or signal", table, name, remedy=remedy, is_key=True)
    for name in strategy.signals:
        if name in strategy.params:
            raise fault(
                f"{name!r} is a parameter and a signal", "signals", name, remedy="rename one of them", is_key=True
            )


def _check_sides(strategy: Strategy) -> None:
    """What may be entered has a rule, and a product that takes it."""
    if strategy.entry.long is None and strategy.entry.short is None:
        what = "entry has neither long nor short: the strategy would never trade"
        raise fault(what, "entry", remedy='add long = "close > sma(20)", or short')
    if strategy.trade.product == "CNC" and strategy.entry.short is not None and strategy.trade.sides != "long":
        remedy = "use product MIS or remove entry.short"
        raise fault("a CNC (delivery) strategy cannot sell short", "entry", "short", remedy=remedy)
    sides = strategy.trade.sides
    if sides != "both" and getattr(strategy.entry, sides) is None:
        raise fault(f"{sides} only, and entry has no {sides}", "trade", "sides", remedy=f"add entry.{sides}")


def _check_parts(strategy: Strategy) -> None:
    """Additions, reductions and a size by risk need what they are reckoned from."""
    if strategy.size.risk is not None and strategy.stop.loss is None:
        raise fault("size.risk needs stop.loss: the risk is spread over its distance", "size", "risk")
    for side in ("long", "short"):
        if getattr(strategy.entry, f"add_{side}") is not None and getattr(strategy.entry, side) is None:
            what = f"entry.add_{side} without entry.{side}: there would be nothing to add to"
            raise fault(what, "entry", f"add_{side}", remedy=f"add entry.{side}")
        if getattr(strategy.exit, f"reduce_{side}") is not None and strategy.size.reduce is None:
            what = f"exit.reduce_{side} needs size.reduce"
            raise fault(what, "exit", f"reduce_{side}", remedy="write the share to take off, 0 to 1, in [size]")


def _check_legs(strategy: Strategy) -> None:
    """With legs, the file's rules speak of the underlying and its trades are the legs' contracts."""
    if not strategy.legs:
        for table, key in (("combined", None), ("size", "lots")):
            if getattr(strategy, table) is not None and (key is None or getattr(strategy.size, key) is not None):
                what = "combined and size.lots belong to [[legs]]; this file has none"
                raise fault(what, table, *([key] if key else []), remedy="add [[legs]], or size what is traded")
        return
    if strategy.size.lots is None:
        given = next(name for name in ("quantity", "value", "percent", "risk") if getattr(strategy.size, name))
        raise fault("with [[legs]] the size is lots", "size", given, remedy="give size.lots")
    if strategy.entry.long is None:
        raise fault("with [[legs]] entry.long opens the group", "entry", remedy="add long")
    for table, keys, does in (
        ("entry", ("short", "add_long", "add_short"), "opens"),
        ("exit", ("short", "reduce_long", "reduce_short"), "closes"),
    ):
        for key in keys:
            if getattr(getattr(strategy, table), key) is not None:
                what = f"with [[legs]] {table}.long {does} the group; it has no other {table}"
                raise fault(what, table, key, remedy="remove it")
    if strategy.stop.model_fields_set:
        what = "with [[legs]] stops stand in the legs and in [combined]"
        raise fault(what, "stop", remedy="remove [stop]")
    for key, allowed in (("product", ("MIS", "NRML")), ("order", ("market",)), ("sides", ("both",))):
        if getattr(strategy.trade, key) not in allowed:
            what = "legs are traded with market orders and product MIS or NRML"
            raise fault(what, "trade", key, remedy=f"write {key} = {' or '.join(map(repr, allowed))}, or remove it")
