"""A strategy file: its tables as frozen models, read from TOML, refused with file, line and column.

What an expression means is `expressions.py`'s; here it is text.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from atmand.errors import AtmandError
from atmand.lang.legs import MAX_LEGS, Combined, Leg, amount_error
from atmand.lang.refusals import Table, fault, path_words, refusal, toml_refusal
from atmand.lang.source import SourceText, StrategyError
from atmand.lang.together import NAME, check_together, is_usable_name
from atmand.market.products import kind_of_name, product_refusal
from atmand.market.selectors import SelectorError, selector_of

__all__ = [
    "Parameter",
    "Strategy",
    "StrategyFile",
    "is_usable_name",
    "load_strategy",
    "parse_strategy",
    "refuse_repeated",
    "strategy_of",
]

_BAR: Final = re.compile(r"^([1-9][0-9]{0,2})m$")
_MAX_BYTES: Final = 262_144


def _text_of(value: Any) -> Any:
    """Take a number where an expression is wanted: `quantity = 10` and `quantity = "10"` are the same."""
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Expression = Annotated[str, BeforeValidator(_text_of), Field(min_length=1, max_length=4096)]


class _Table(Table):
    model_config = ConfigDict(allow_inf_nan=False)


class Parameter(_Table):
    """A number that may change while the strategy runs, inside its range."""

    default: float
    range: tuple[float, float]
    step: float = Field(default=0.0, ge=0)
    unit: Literal["", "bars", "rupees", "percent", "ratio"] = ""
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _default_in_range(self) -> Parameter:
        low, high = self.range
        if low > high:
            what = f"the range is written in reverse: {low:g} is above {high:g}"
            raise fault(what, "range", remedy=f"write [{high:g}, {low:g}]")
        if not low <= self.default <= high:
            what = f"default {self.default:g} is outside the range {low:g} to {high:g}"
            raise fault(what, "default", remedy="choose one inside, or widen the range")
        if self.unit == "bars":
            for name, values in (("range", self.range), ("default", (self.default,))):
                if any(not 1 <= value <= 5000 or value != int(value) for value in values):
                    raise fault("a parameter in bars needs whole numbers from 1 to 5000 as default and range", name)
        return self


class SessionWindow(_Table):
    """When the strategy may enter, and when it must be flat, in market time."""

    entry_from: time = time(9, 15)
    entry_to: time | None = None
    square_off: time | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _of_the_day(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise fault("should be a time of the day", remedy='write "09:20" or 09:20:00')
        return value

    @field_validator("*")
    @classmethod
    def _of_india(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise fault("should be a time without a zone", remedy="times are India's: write 09:20")
        return value


class Rules(_Table):
    """One expression for each side; an absent side is never traded (entry) or left to the stops (exit)."""

    long: Expression | None = None
    short: Expression | None = None


class EntryRules(Rules):
    """When to enter, and when to add to what is open."""

    add_long: Expression | None = None
    add_short: Expression | None = None


class ExitRules(Rules):
    """When to leave, and when to take a part off."""

    reduce_long: Expression | None = None
    reduce_short: Expression | None = None
    max_reduces: int = Field(default=1, ge=1, le=100)


class Stop(_Table):
    """Distances from the entry's average price, in rupees or, with a `%` behind the expression, in percent of it."""

    loss: Expression | None = None
    target: Expression | None = None
    trail: Expression | None = None
    trail_after: Expression | None = None
    breakeven: Expression | None = None
    bars: Expression | None = None

    @model_validator(mode="after")
    def _trail_there(self) -> Stop:
        if self.trail_after is not None and self.trail is None:
            raise fault(
                "trail_after without trail", "trail_after", remedy="say with trail how far behind the stop follows"
            )
        return self


class Size(_Table):
    """How much to trade: units, rupees, percent of the equity, rupees at risk, or lots of a group of legs."""

    quantity: Expression | None = None
    value: Expression | None = None
    percent: Expression | None = None
    risk: Expression | None = None
    lots: Expression | None = None
    add: Expression | None = None
    reduce: Expression | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Size:
        given = [name for name in ("quantity", "value", "percent", "risk", "lots") if getattr(self, name) is not None]
        if len(given) != 1:
            what = "; ".join(given[1:]) and f"{' and '.join(given)} are given together"
            remedy = (
                "give one of quantity (units), value (rupees), percent (of the equity), risk (rupees at the stop), "
                "lots (with [[legs]])"
            )
            raise fault(what or "no size is given", *given[1:2], remedy=remedy)
        return self


class Trade(_Table):
    """What orders are made of, and how often."""

    product: Literal["MIS", "CNC", "NRML"] = "MIS"
    sides: Literal["both", "long", "short"] = "both"
    max_trades_a_day: int = Field(default=0, ge=1, le=100_000)
    cooldown: int = Field(default=0, ge=0, le=100_000)
    max_adds: int = Field(default=1, ge=1, le=100)
    participation: float = Field(default=0.0, gt=0.0, le=1.0)
    order: Literal["market", "limit"] = "market"
    limit: Expression | None = None
    wait: float = Field(default=0.0, ge=0.0, le=86_400.0)
    rank: Expression | None = None

    @model_validator(mode="after")
    def _limit_there(self) -> Trade:
        if (self.order == "limit") != (self.limit is not None):
            what = 'order = "limit" and limit (a price in rupees) belong together'
            raise fault(what, "order" if self.limit is None else "limit", remedy="write both, or neither")
        return self


class Strategy(_Table):
    """A whole strategy file."""

    name: str
    summary: str = ""
    universe: tuple[str, ...]
    bar: str = "1m"
    trade: Trade = Trade()
    session: SessionWindow = SessionWindow()
    params: dict[str, Parameter] = Field(default_factory=dict)
    signals: dict[str, Expression] = Field(default_factory=dict)
    entry: EntryRules
    exit: ExitRules = ExitRules()
    stop: Stop = Stop()
    size: Size
    legs: tuple[Leg, ...] = Field(default=(), max_length=MAX_LEGS)
    combined: Combined | None = None

    @field_validator("universe", mode="before")
    @classmethod
    def _listed(cls, universe: Any) -> Any:
        if isinstance(universe, str):
            raise fault("should be a list of names", remedy=f'write ["{universe:.40}"]')
        return universe

    @field_validator("universe")
    @classmethod
    def _selectors(cls, universe: tuple[str, ...]) -> tuple[str, ...]:
        if not universe:
            raise fault("names nothing to trade", remedy='write ["NSE:INFY"], or a selector of docs/instruments.md')
        for nth, text in enumerate(universe):
            try:
                selector_of(text)
            except SelectorError as error:
                raise fault(error.what, nth, remedy=error.remedy) from None
        return universe

    @property
    def period_ns(self) -> int:
        match = _BAR.match(self.bar)
        assert match is not None
        return int(match[1]) * 60_000_000_000

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.match(name):
            raise fault(f"{name!r} must be lower case letters, digits and _, at most 31")
        return name

    @field_validator("bar")
    @classmethod
    def _minutes(cls, bar: str) -> str:
        if not _BAR.match(bar):
            raise fault(f"{bar!r} must be whole minutes, such as 1m or 15m", remedy="1m to 999m")
        return bar

    @model_validator(mode="after")
    def _whole(self) -> Strategy:
        check_together(self)
        return self


class StrategyFile:
    """A strategy with the text that it came from, for messages, and the hash that identifies it."""

    def __init__(self, strategy: Strategy, source: SourceText) -> None:
        self.strategy = strategy
        self.source = source
        self.sha256 = hashlib.sha256(source.text.encode()).hexdigest()


def load_strategy(path: Path) -> StrategyFile:
    """Read a strategy file; AtmandError where it cannot be read, StrategyError where it is refused."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise AtmandError(
            str(path), error.strerror or "cannot be read", "check the path in the configuration"
        ) from None
    if len(raw) > _MAX_BYTES:
        raise AtmandError(str(path), f"{len(raw)} bytes is no strategy file", f"keep it under {_MAX_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise AtmandError(str(path), f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    return parse_strategy(text, str(path))


def parse_strategy(text: str, name: str) -> StrategyFile:
    """Parse and check a strategy file's text; expressions are checked when it is compiled."""
    source = SourceText(name, text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise toml_refusal(source, error) from None
    return strategy_of(document, source)


def strategy_of(document: dict[str, Any], source: SourceText) -> StrategyFile:
    """Check a strategy's tables, which were read from `source`."""
    try:
        strategy = Strategy.model_validate(document)
    except ValidationError as error:
        raise refusal(source, error, Strategy) from None
    wrong = amount_error(strategy.legs, strategy.combined, strategy.params)
    if wrong is not None:
        raise StrategyError(source, source.find(*wrong.path), f"{path_words(wrong.path)}: {wrong.what}", wrong.remedy)
    _check_product(strategy, source)
    file = StrategyFile(strategy, source)
    refuse_repeated(file, [(name, name) for name in strategy.universe])
    return file


def refuse_repeated(file: StrategyFile, named: Sequence[tuple[str, str]]) -> None:
    """Refuse a universe that names an instrument twice: it would be traded twice, as two positions.

    `named` are the names with what each means: itself while no list of the market is at hand, then its durable key.
    """
    known: dict[str, str] = {}
    for name, key in named:
        if key not in known:
            known[key] = name
            continue
        same = known[key] == name
        what = f"universe: {name} stands twice" if same else f"universe: {known[key]} and {name} are both {key}"
        here = [nth for nth, each in enumerate(file.strategy.universe) if each == name]
        if len(here) <= same:  # the names are the command line's
            raise AtmandError(f"strategy {file.strategy.name}", what, "name it once")
        raise StrategyError(file.source, file.source.find("universe", here[same]), what, "name it once")


def _check_product(strategy: Strategy, source: SourceText) -> None:
    """Refuse a universe that cannot be held under the product, where its names say so; with legs, contracts are."""
    for nth, name in enumerate(() if strategy.legs else strategy.universe):
        kind = kind_of_name(name)
        refusal = product_refusal(strategy.trade.product, name, is_derivative=kind == "derivative") if kind else None
        if refusal is not None:
            raise StrategyError(source, source.find("trade", "product"), f"universe[{nth}]: {refusal[0]}", refusal[1])
