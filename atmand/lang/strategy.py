"""A strategy file: its tables as frozen models, read from TOML, refused with file, line and column.

What an expression means is `expressions.py`'s; here it is text.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Sequence
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from atmand.errors import AtmandError
from atmand.lang.legs import MAX_LEGS, Combined, Leg, amount_error
from atmand.lang.source import Place, SourceText, StrategyError
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
_NAME: Final = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
_RESERVED: Final = {"open", "high", "low", "close", "volume", "and", "or", "not", "if", "else", "true", "false"}
_MAX_PARAMS: Final = 62
_MAX_BYTES: Final = 262_144


def _text_of(value: Any) -> Any:
    """Take a number where an expression is wanted: `quantity = 10` and `quantity = "10"` are the same."""
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Expression = Annotated[str, BeforeValidator(_text_of), Field(min_length=1, max_length=4096)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
        if not low <= self.default <= high:
            raise ValueError(f"default {self.default:g} is outside the range {low:g} to {high:g}")
        if self.unit == "bars" and (low < 1 or high > 5000 or any(x != int(x) for x in (low, high, self.default))):
            raise ValueError("a parameter in bars needs whole numbers from 1 to 5000 as default and range")
        return self


class SessionWindow(_Table):
    """When the strategy may enter, and when it must be flat, in market time."""

    entry_from: time = time(9, 15)
    entry_to: time | None = None
    square_off: time | None = None


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
            raise ValueError("trail_after without trail: say how far behind the stop follows")
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
            raise ValueError(
                "give one of quantity (units), value (rupees), percent (of the equity), risk (rupees at the stop), "
                "lots (with [[legs]])"
            )
        return self


class Trade(_Table):
    """What orders are made of, and how often."""

    product: Literal["MIS", "CNC", "NRML"] = "MIS"
    sides: Literal["both", "long", "short"] = "both"
    max_trades_a_day: int = Field(default=0, ge=0, le=100_000)
    cooldown: int = Field(default=0, ge=0, le=100_000)
    max_adds: int = Field(default=1, ge=1, le=100)
    participation: float = Field(default=0.0, ge=0.0, le=1.0)
    order: Literal["market", "limit"] = "market"
    limit: Expression | None = None
    wait: float = Field(default=0.0, ge=0.0, le=86_400.0)
    rank: Expression | None = None

    @model_validator(mode="after")
    def _limit_there(self) -> Trade:
        if (self.order == "limit") != (self.limit is not None):
            raise ValueError('order = "limit" and limit (a price in rupees) belong together')
        return self


class Strategy(_Table):
    """A whole strategy file."""

    name: str
    summary: str = ""
    universe: tuple[str, ...] = Field(min_length=1)
    bar: str = "1m"
    trade: Trade = Trade()
    session: SessionWindow = SessionWindow()
    params: dict[str, Parameter] = {}
    signals: dict[str, Expression] = {}
    entry: EntryRules
    exit: ExitRules = ExitRules()
    stop: Stop = Stop()
    size: Size
    legs: tuple[Leg, ...] = Field(default=(), max_length=MAX_LEGS)
    combined: Combined | None = None

    @field_validator("universe")
    @classmethod
    def _selectors(cls, universe: tuple[str, ...]) -> tuple[str, ...]:
        for text in universe:
            try:
                selector_of(text)
            except SelectorError as error:
                raise ValueError(str(error)) from None
        return universe

    @property
    def period_ns(self) -> int:
        match = _BAR.match(self.bar)
        assert match is not None
        return int(match[1]) * 60_000_000_000

    @model_validator(mode="after")
    def _names(self) -> Strategy:
        if not _NAME.match(self.name):
            raise ValueError(f"name {self.name!r} must be lower case letters, digits and _, at most 31")
        if not _BAR.match(self.bar):
            raise ValueError(f"bar {self.bar!r} must be whole minutes, such as 1m or 15m")
        if self.entry.long is None and self.entry.short is None:
            raise ValueError("entry has neither long nor short: the strategy would never trade")
        if self.trade.product == "CNC" and self.entry.short is not None and self.trade.sides != "long":
            raise ValueError("a CNC (delivery) strategy cannot sell short; use product MIS or remove entry.short")
        if self.trade.sides != "both" and getattr(self.entry, self.trade.sides) is None:
            raise ValueError(f"trade.sides allows {self.trade.sides} only, and entry has no {self.trade.sides}")
        self._check_parts()
        self._check_legs()
        if len(self.params) > _MAX_PARAMS:
            raise ValueError(f"more than {_MAX_PARAMS} parameters")
        for name in (*self.params, *self.signals):
            if not is_usable_name(name):
                raise ValueError(f"{name!r} cannot name a parameter or signal")
        both = set(self.params) & set(self.signals)
        if both:
            raise ValueError(f"{min(both)!r} is a parameter and a signal")
        return self

    def _check_parts(self) -> None:
        """Additions, reductions and a size by risk need what they are reckoned from."""
        if self.size.risk is not None and self.stop.loss is None:
            raise ValueError("size.risk needs stop.loss: the risk is spread over its distance")
        for side in ("long", "short"):
            if getattr(self.entry, f"add_{side}") is not None and getattr(self.entry, side) is None:
                raise ValueError(f"entry.add_{side} without entry.{side}: there would be nothing to add to")
            if getattr(self.exit, f"reduce_{side}") is not None and self.size.reduce is None:
                raise ValueError(f"exit.reduce_{side} needs size.reduce: the share to take off, 0 to 1")

    def _check_legs(self) -> None:
        """With legs, the file's rules speak of the underlying and its trades are the legs' contracts."""
        if not self.legs:
            if self.combined is not None or self.size.lots is not None:
                raise ValueError("combined and size.lots belong to [[legs]]; this file has none")
            return
        if self.size.lots is None:
            raise ValueError("with [[legs]] the size is lots: give size.lots")
        if self.entry.long is None or any(
            getattr(self.entry, name) is not None for name in ("short", "add_long", "add_short")
        ):
            raise ValueError("with [[legs]] entry.long opens the group; it has no other entry")
        if any(getattr(self.exit, name) is not None for name in ("short", "reduce_long", "reduce_short")):
            raise ValueError("with [[legs]] exit.long closes the group; it has no other exit")
        if self.stop.model_fields_set:
            raise ValueError("with [[legs]] stops stand in the legs and in [combined]; remove [stop]")
        if self.trade.product == "CNC" or self.trade.order != "market" or self.trade.sides != "both":
            raise ValueError("legs are traded with market orders and product MIS or NRML")


class StrategyFile:
    """A strategy with the text that it came from, for messages, and the hash that identifies it."""

    def __init__(self, strategy: Strategy, source: SourceText) -> None:
        self.strategy = strategy
        self.source = source
        self.sha256 = hashlib.sha256(source.text.encode()).hexdigest()


def is_usable_name(name: str) -> bool:
    """Say whether a parameter or signal may be called so."""
    return _NAME.match(name) is not None and name not in _RESERVED


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
        match = re.search(r"line (\d+), column (\d+)", str(error))
        place = Place(int(match[1]), int(match[2])) if match else Place(max(1, text.rstrip().count("\n") + 1), 1)
        what = str(error).split(" (at")[0]
        raise StrategyError(source, place, f"not TOML: {what}", "correct the line") from None
    return strategy_of(document, source)


def strategy_of(document: dict[str, Any], source: SourceText) -> StrategyFile:
    """Check a strategy's tables, which were read from `source`."""
    try:
        strategy = Strategy.model_validate(document)
    except ValidationError as error:
        raise _refusal(source, error) from None
    wrong = amount_error(strategy.legs, strategy.combined, strategy.params)
    if wrong is not None:
        place = source.find(*wrong.path, nth=wrong.nth)
        raise StrategyError(source, place, f"{'.'.join(wrong.path)}: {wrong.what}", "see docs/legs.md")
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
        place = file.source.find_item(name, "universe", nth=1 if same else 0)
        if place is None:  # the names are the command line's
            raise AtmandError(f"strategy {file.strategy.name}", what, "name it once")
        raise StrategyError(file.source, place, what, "name it once")


def _check_product(strategy: Strategy, source: SourceText) -> None:
    """Refuse a universe that cannot be held under the product, where its names say so; with legs, contracts are."""
    for nth, name in enumerate(() if strategy.legs else strategy.universe):
        kind = kind_of_name(name)
        refusal = product_refusal(strategy.trade.product, name, is_derivative=kind == "derivative") if kind else None
        if refusal is not None:
            raise StrategyError(source, source.find("trade", "product"), f"universe[{nth}]: {refusal[0]}", refusal[1])


def _refusal(source: SourceText, error: ValidationError) -> StrategyError:
    """Turn a model's first error into a place in the file and a remedy."""
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"] if not isinstance(part, int))
    nth = next((part for part in first["loc"] if isinstance(part, int)), 0)
    what = first["msg"].removeprefix("Value error, ")
    dotted = ".".join(path) or "strategy"
    if first["type"] == "extra_forbidden":
        if path == ("product",):
            return StrategyError(source, source.find(*path, nth=nth), "product: stands in [trade]", "move it there")
        known = _known_keys(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return StrategyError(source, source.find(*path, nth=nth), f"{dotted}: unknown key", remedy)
    if first["type"] == "missing":
        return StrategyError(source, source.find(*path, nth=nth), f"{dotted}: missing", f"add {path[-1]} to the file")
    if first["type"] == "too_long" and "max_length" in first.get("ctx", {}):
        what = f"longer than {first['ctx']['max_length']} characters"
        return StrategyError(source, source.find(*path, nth=nth), f"{dotted}: {what}", "split it into signals")
    return StrategyError(source, source.find(*path, nth=nth), f"{dotted}: {what}", "see docs/strategies.md")


def _known_keys(path: tuple[str, ...]) -> list[str]:
    """List the keys that the model at a path knows."""
    model: Any = Strategy
    for part in path:
        if model is None or part not in getattr(model, "model_fields", {}):
            model = Parameter if model is None or path[0] == "params" else model
            break
        annotation = model.model_fields[part].annotation
        if part != "params":
            kinds = [kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
            annotation = kinds[0] if kinds else annotation
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
        if model is None and part == "params":
            model = get_args(annotation)[1]
    return list(getattr(model, "model_fields", {}))
