"""The registry of the language: the names it knows and the functions it has. Checks, code and docs are made from it.

A function of the language is a kernel in `core/functions.py` and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from atmand.core.columns import COLUMNS
from atmand.lang.types import FREE, Type

__all__ = ["CROSS_SECTION", "FIELDS", "FUNCTIONS", "NAMES", "PARTS", "SIGNALS", "Function", "Name", "call_of"]

FIELDS: Final = {"open": "open_", "high": "high", "low": "low", "close": "close", "volume": "volume"}
"""Bar fields and the locals that hold them in generated code; prices in rupees."""

_FORGET: Final = 500
"""Bars after which an event is forgotten where the expression does not say."""


@dataclass(frozen=True)
class Name:
    """A name that stands for a number without brackets."""

    name: str
    group: str
    unit: str
    summary: str
    code: str = ""
    """How it is read; `{day}` is the state of the running day, `end_ns` the end of the bar."""
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True)
class Function:
    """A function of the language.

    `takes` tells its arguments: x a number, c a condition, n a look-back in bars. `state` makes what it keeps from bar
    to bar, empty for a function of this bar alone; `reach` tells how many bars that is, given the look-back's top.
    """

    name: str
    takes: str
    step: str
    summary: str
    state: str = ""
    type: Type = Type.NUMBER
    unit: str = "source"
    """Of the result; `source` is that of the first number."""
    reach: Callable[[int], int] = lambda n: 0
    default: int | None = None
    """Of the look-back; it is required where there is none."""
    known: bool = False
    """Whether there is no value before so many bars."""
    alike: bool = False
    """Whether its numbers must be of one unit."""
    most: int = 0
    """How many numbers it takes at most, where it takes more than `takes` says."""


FUNCTIONS: Final[dict[str, Function]] = {
    row.name: row
    for row in (
        Function("abs", "x", "abs", "without its sign"),
        Function("min", "xx", "smaller", "the smallest", alike=True, most=8),
        Function("max", "xx", "larger", "the largest", alike=True, most=8),
        Function("clip", "xxx", "clip", "held between two bounds", alike=True),
        Function("sign", "x", "sign", "1, 0 or -1", unit=FREE),
        Function("floor", "x", "floor", "rounded down"),
        Function("round", "x", "whole", "rounded to the nearest whole number, a half up"),
        Function("sqrt", "x", "square_root", "square root; missing below zero", unit=FREE),
        Function("log", "x", "logarithm", "natural logarithm; missing at and below zero", unit=FREE),
        Function("exp", "x", "exponential", "e to the power", unit=FREE),
        Function(
            "crosses_above", "xx", ">", "above on this bar, at or below on the bar before",
            "CROSSING", Type.BOOL, reach=lambda n: 1, alike=True,
        ),
        Function(
            "crosses_below", "xx", "<", "below on this bar, at or above on the bar before",
            "CROSSING", Type.BOOL, reach=lambda n: 1, alike=True,
        ),
        Function(
            "rising", "xn", "rising", "rose on each of the last `n` bars", "run()", Type.BOOL,
            reach=lambda n: n, default=1,
        ),
        Function(
            "falling", "xn", "falling", "fell on each of the last `n` bars", "run()", Type.BOOL,
            reach=lambda n: n, default=1,
        ),
        Function(
            "change", "xn", "shifted", "this value less that of `n` bars ago", "history({n})",
            reach=lambda n: n, default=1, known=True,
        ),
        Function(
            "count", "cn", "count", "on how many of the last `n` bars it held", "flags({n})", unit="bars",
            reach=lambda n: n,
        ),
        Function(
            "bars_since", "cn", "bars_since", "bars since it last held; missing after more than `n`", "event()",
            unit="bars", reach=lambda n: n + 1, default=_FORGET,
        ),
        Function(
            "valuewhen", "cxn", "valuewhen", "the number when it last held; missing after `n` bars", "event()",
            reach=lambda n: n + 1, default=_FORGET,
        ),
        Function(
            "latch", "ccn", "latch", "from where the first held until the second does, `n` bars at most", "event()",
            Type.BOOL, reach=lambda n: n + 1, default=_FORGET,
        ),
        Function("rank", "x", "cross_rank", "place among the strategy's instruments, 0 to 1", unit="ratio"),
        Function("zscore", "x", "cross_zscore", "distance from their mean in standard deviations", unit=FREE),
        Function("signal_age", "", "column_age", "seconds since an external signal came", unit=FREE),
        Function("signal", "", "column_value", "an external signal's value; missing when it is too old", unit=FREE),
    )
}  # fmt: skip

CROSS_SECTION: Final = ("rank", "zscore")
SIGNALS: Final = ("signal", "signal_age")

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "prev_day": ("open", "high", "low", "close", "volume"),
    "opening_range": ("high", "low"),
    "atman": tuple(column.name.partition(".")[2] for column in COLUMNS if column.name.startswith("atman.")),
}
"""What is only known by its parts."""

NAMES: Final[dict[str, Name]] = {
    row.name: row
    for row in (
        Name("day_open", "the day", "price", "the day's first price", "s.{day}.open"),
        Name("day_high", "the day", "price", "the day's highest so far", "s.{day}.high"),
        Name("day_low", "the day", "price", "the day's lowest so far", "s.{day}.low"),
        Name("gap", "the day", "percent", "the day's first price against the last one of the day before",
             "divide((s.{day}.open - s.{day}.prev_close) * 100.0, s.{day}.prev_close)"),
        *(
            Name(f"prev_day.{part}", "the day", "volume" if part == "volume" else "price",
                 f"{part} of the day before", f"s.{{day}}.prev_{part}")
            for part in PARTS["prev_day"]
        ),
        Name("hour", "time", FREE, "hour of the bar's end", "float(clock_minute(end_ns) // 60)", 0, 23),
        Name("minute", "time", FREE, "minute of the bar's end", "float(clock_minute(end_ns) % 60)", 0, 59),
        Name("weekday", "time", FREE, "0 is Monday", "float(weekday_of(bar.start_ns))", 0, 6),
        Name("minutes_since_open", "time", FREE, "from the session's opening to the bar's end",
             "minutes_since_open(t, end_ns)"),
        Name("minutes_to_close", "time", FREE, "from the bar's end to the end of its continuous trading",
             "minutes_to_close(t, index, end_ns)"),
        Name("days_to_expiry", "time", FREE, "until the instrument expires; missing where it does not",
             "days_to_expiry(t, index, end_ns)"),
        Name("position", "the position", "volume", "units held, negative when short", "position(t, index)"),
        Name("entry_price", "the position", "price", "average price of the entry", "entry_price(t, index)"),
        Name("bars_held", "the position", "bars", "bars since the entry, this one included", "bars_held(t, index)"),
        Name("profit", "the position", "price", "gain of a unit, without costs", "profit(t, index, close)"),
        Name("profit_r", "the position", "ratio", "gain in distances of the stop", "profit_r(t, index, close)"),
        Name("trades_today", "the position", FREE, "trades begun today", "trades_today(t, index)"),
        Name("position_value", "the position", FREE, "worth of the position in rupees",
             "position_value(t, index, close)"),
        *(
            Name(column.name, "columns", column.unit, column.summary,
                 f"column_value(t, pair_at(t, index).instrument, {number})")
            for number, column in enumerate(COLUMNS)
        ),
    )
}  # fmt: skip
"""Every name but the bar's fields."""


def call_of(row: Function) -> str:
    """Write how a function is called."""
    if row.name in SIGNALS:
        return f'{row.name}("name")'
    words = {"x": iter(("x",) if row.takes.count("x") == 1 else ("a", "b", "c")), "c": iter(("cond", "reset"))}
    parts = [(f"n = {row.default}" if row.default else "n") if kind == "n" else next(words[kind]) for kind in row.takes]
    return f"{row.name}({', '.join([*parts, '...'] if row.most else parts)})"
