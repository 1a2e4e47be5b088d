"""A strategy file: its tables as frozen models, read from TOML, refused with file, line and column.

What an expression means is `expressions.py`'s; here it is text.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from atmand.errors import AtmandError
from atmand.lang.source import Place, SourceText, StrategyError

__all__ = ["Parameter", "Strategy", "StrategyFile", "is_usable_name", "load_strategy", "parse_strategy", "strategy_of"]

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


class Stop(_Table):
    """Distances from the entry's average price, in rupees."""

    loss: Expression | None = None
    target: Expression | None = None


class Size(_Table):
    """How much to trade: units, or rupees."""

    quantity: Expression | None = None
    value: Expression | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Size:
        if (self.quantity is None) == (self.value is None):
            raise ValueError("give either quantity (units) or value (rupees)")
        return self


class Strategy(_Table):
    """A whole strategy file."""

    name: str
    summary: str = ""
    universe: tuple[str, ...] = Field(min_length=1)
    bar: str = "1m"
    product: Literal["MIS", "CNC"] = "MIS"
    session: SessionWindow = SessionWindow()
    params: dict[str, Parameter] = {}
    signals: dict[str, Expression] = {}
    entry: Rules
    exit: Rules = Rules()
    stop: Stop = Stop()
    size: Size

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
        if self.product == "CNC" and self.entry.short is not None:
            raise ValueError("a CNC (delivery) strategy cannot sell short; use product MIS or remove entry.short")
        if len(self.params) > _MAX_PARAMS:
            raise ValueError(f"more than {_MAX_PARAMS} parameters")
        for name in (*self.params, *self.signals):
            if not is_usable_name(name):
                raise ValueError(f"{name!r} cannot name a parameter or signal")
        both = set(self.params) & set(self.signals)
        if both:
            raise ValueError(f"{min(both)!r} is a parameter and a signal")
        return self


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
        return StrategyFile(Strategy.model_validate(document), source)
    except ValidationError as error:
        raise _refusal(source, error) from None


def _refusal(source: SourceText, error: ValidationError) -> StrategyError:
    """Turn a model's first error into a place in the file and a remedy."""
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"] if not isinstance(part, int))
    what = first["msg"].removeprefix("Value error, ")
    dotted = ".".join(path) or "strategy"
    if first["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return StrategyError(source, source.find(*path), f"{dotted}: unknown key", remedy)
    if first["type"] == "missing":
        return StrategyError(source, source.find(*path), f"{dotted}: missing", f"add {path[-1]} to the file")
    if first["type"] == "too_long" and "max_length" in first.get("ctx", {}):
        what = f"longer than {first['ctx']['max_length']} characters"
        return StrategyError(source, source.find(*path), f"{dotted}: {what}", "split it into signals")
    return StrategyError(source, source.find(*path), f"{dotted}: {what}", "see docs/strategies.md")


def _known_keys(path: tuple[str, ...]) -> list[str]:
    """List the keys that the model at a path knows."""
    model: Any = Strategy
    for part in path:
        if model is None or part not in getattr(model, "model_fields", {}):
            model = Parameter if model is None or path[0] == "params" else model
            break
        annotation = model.model_fields[part].annotation
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
        if model is None and part == "params":
            model = get_args(annotation)[1]
    return list(getattr(model, "model_fields", {}))
