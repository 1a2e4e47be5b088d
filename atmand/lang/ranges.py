"""What sizes, stops and times may be: refused where no value that they can take would ever trade as it says.

A parameter's whole range has to lie outside for that: a zero at its end is a usual way to switch a distance off.
"""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING, Final, NamedTuple

from atmand.lang.types import Value
from atmand.market.products import kind_of_name

if TYPE_CHECKING:
    from atmand.lang.compiler import Compiler
    from atmand.lang.strategy import Strategy

__all__ = ["check_ways_out", "refuse_amount"]

_ENDLESS: Final = float("inf")
_OPEN: Final = time(9, 15)
_CLOSE: Final = time(15, 30)
_DERIVATIVES_CLOSE: Final = time(15, 40)
"""NSE/FAOP/74467: derivatives trade to 15:40; shares to 15:30, the closing auction's end."""


class _Range(NamedTuple):
    """The numbers that are allowed: above `low`, or from it on, up to `high`."""

    low: float
    is_above: bool
    high: float
    said: str
    """The same in words, with the unit."""

    def excludes(self, value: Value) -> bool:
        return value.high < self.low or (self.is_above and value.high <= self.low) or value.low > self.high


_RANGES: Final[dict[tuple[str, str], _Range]] = {
    ("size", "quantity"): _Range(1.0, False, _ENDLESS, "1 or more units"),
    ("size", "value"): _Range(0.0, True, _ENDLESS, "rupees above 0"),
    ("size", "percent"): _Range(0.0, True, 100.0, "above 0 to 100 percent: a book has no more than its equity"),
    ("size", "risk"): _Range(0.0, True, _ENDLESS, "rupees above 0"),
    ("size", "lots"): _Range(1.0, False, _ENDLESS, "1 or more lots"),
    ("size", "add"): _Range(0.0, True, _ENDLESS, "a share of the size above 0"),
    ("size", "reduce"): _Range(0.0, True, 1.0, "a share of the position, above 0 to 1"),
    ("stop", "bars"): _Range(1.0, False, _ENDLESS, "1 or more bars"),
    ("trade", "limit"): _Range(0.0, True, _ENDLESS, "a price above 0"),
    **{
        ("stop", name): _Range(0.0, True, _ENDLESS, "a distance above 0; leave it out for none")
        for name in ("loss", "target", "trail", "trail_after", "breakeven")
    },
}
_PART_OF_PRICE: Final = _Range(0.0, True, 99.99, "above 0 and below 100 percent of the entry's price")


def refuse_amount(
    compiler: Compiler, strategy: Strategy, path: tuple[str, str], value: Value, *, in_percent: bool
) -> None:
    """Refuse an amount that can never be meant, with the range that it may have."""
    allowed = _RANGES.get(path)
    if in_percent and (path[1] in ("loss", "trail") or (path[1] == "target" and _is_short(strategy))):
        allowed = _PART_OF_PRICE
    if allowed is None or not allowed.excludes(value):
        return
    sign = "%" if in_percent else ""
    what = f"{value.low:g}{sign} to {value.high:g}{sign}" if value.constant is None else f"{value.constant:g}{sign}"
    compiler.refuse(path, 0, f"{what} is out of range", f"write {allowed.said}")


def check_ways_out(compiler: Compiler, strategy: Strategy) -> None:
    """Refuse a square-off that never comes; warn of intraday positions that only our own square-off closes."""
    close = _CLOSE
    if strategy.legs or any(kind_of_name(name) != "share" for name in strategy.universe):
        close = _DERIVATIVES_CLOSE
    at = strategy.session.square_off
    if at is not None and not _OPEN < at <= close:
        what = f"{at:%H:%M} lies outside the session: nothing would be closed at it"
        compiler.refuse(("session", "square_off"), 0, what, f"write a time after {_OPEN:%H:%M}, up to {close:%H:%M}")
    if _has_no_exit(strategy):
        path = ("trade", "product") if "product" in strategy.trade.model_fields_set else ("entry",)
        compiler.warn(path, 0, "no exit, stop or square_off: MIS is left only as the broker's square-off comes near")


def _has_no_exit(strategy: Strategy) -> bool:
    if strategy.trade.product != "MIS" or strategy.session.square_off is not None:
        return False
    rules = [strategy.exit.long, strategy.exit.short, strategy.exit.reduce_long, strategy.exit.reduce_short]
    tables = [strategy.stop, *strategy.legs, *([strategy.combined] if strategy.combined else [])]
    ways = [getattr(table, name, None) for table in tables for name in ("loss", "target", "trail", "breakeven", "bars")]
    return all(way is None for way in (*rules, *ways))


def _is_short(strategy: Strategy) -> bool:
    """Say whether the file only sells short: a price cannot fall by more than all of itself."""
    return strategy.trade.sides == "short" or (strategy.trade.sides == "both" and strategy.entry.long is None)
