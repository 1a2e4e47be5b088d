"""A strategy file's models find a fault; here it becomes a place in the file, plain words and a remedy.

The models raise `fault` for what no type can say; `refusal` takes everything that they found.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from atmand.hints import below, did_you_mean, is_model, keys_of, nearest, plain, wording
from atmand.lang.source import Place, SourceText, StrategyError
from atmand.lang.toml_places import Path

__all__ = ["Table", "fault", "path_words", "refusal", "toml_refusal"]

_FAULT: Final = "fault"
_GUIDE: Final = "docs/strategies.md"
_EXAMPLES: Final = {
    "name": 'name = "my_strategy"',
    "universe": 'universe = ["NSE:INFY"]',
    "entry": '[entry] with long = "close > sma(20)"',
    "size": "[size] with value = 100000",
    "side": 'side = "sell"',
    "right": 'right = "call"',
    "default": "default = 14",
    "range": "range = [5, 30]",
}


class Table(BaseModel):
    """A table of a strategy file: its keys are fixed, it does not change, and none of its keys is a switch."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    part: ClassVar[str] = "strategy"

    @field_validator("*", mode="before")
    @classmethod
    def _no_switches(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise fault(f"should not be {str(value).lower()}: no key of a {cls.part} is a switch")
        return value


def fault(what: str, *path: str | int, remedy: str = "", is_key: bool = False) -> PydanticCustomError:
    """Make the error that a model's check raises; `path` leads from the model to the value, or key, that is wrong."""
    context = {"what": what, "path": list(path), "remedy": remedy, "is_key": is_key}
    return PydanticCustomError(_FAULT, "{what}", context)


def path_words(path: Sequence[str | int]) -> str:
    """Write a path as people do: `entry.long`, `universe[0]`, `leg 2: strike`."""
    if path[:1] == ("legs",) and len(path) > 1 and isinstance(path[1], int):
        return ": ".join([f"leg {path[1] + 1}", *([path_words(path[2:])] if path[2:] else [])])
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def refusal(source: SourceText, error: ValidationError, tree: type[BaseModel]) -> StrategyError:
    """Turn what a model found first into a refusal; an unknown key goes first, as it is mostly a known one misspelt."""
    findings = error.errors(include_url=False)
    first = next((one for one in findings if one["type"] == "extra_forbidden"), findings[0])
    path = tuple(first["loc"])
    context = first.get("ctx", {})
    if first["type"] == _FAULT:
        path = (*path, *context["path"])
        find = source.find_key if context["is_key"] else source.find
        return _told(source, path, context["what"], context["remedy"], find)
    if first["type"] == "extra_forbidden":
        return StrategyError(source, source.find_key(*path), *_unknown(path, tree))
    if first["type"] == "missing" and isinstance(path[-1], int):
        return _told(source, path[:-1], "should have two values", f"write {_EXAMPLES['range']}")
    if first["type"] == "missing":
        return _told(source, path, "missing", f"add {_EXAMPLES.get(str(path[-1]), path[-1])}")
    return _told(source, path, *_wrong(path, first, tree))


def toml_refusal(source: SourceText, error: tomllib.TOMLDecodeError) -> StrategyError:
    """Turn what tomllib says of a text that is no TOML into a refusal."""
    said, _, where = str(error).partition(" (at ")
    lines = source.text.split("\n")
    match = re.search(r"line (\d+), column (\d+)", where)
    place = Place(int(match[1]), int(match[2])) if match else Place(max(1, source.text.rstrip().count("\n") + 1), 1)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    twice = Place(place.line, len(line) - len(line.lstrip()) + 1)
    escape = Place(place.line, max(0, line.rfind("\\", 0, place.column)) + 1)
    for begins, at, what, remedy in (
        ("Cannot overwrite", twice, "this key stands twice", "keep one of them"),
        ("Cannot declare", twice, "this table stands twice", "write its keys under one header"),
        ("Invalid value", place, "no value that TOML knows", "put text in quotation marks"),
        ("Illegal character '\\n'", place, "the text is not closed on its line", "write the quotation mark at its end"),
        (
            "Unescaped '\\'",
            escape,
            f"{line[escape.column - 1 : escape.column + 1]} means nothing in such text",
            "write \\\\, or put the text in 'single quotation marks'",
        ),
    ):
        if said.startswith(begins):
            return StrategyError(source, at, f"not TOML: {what}", remedy)
    return StrategyError(source, place, f"not TOML: {said}", "correct the line")


def _told(
    source: SourceText, path: Path, what: str, remedy: str, find: Callable[..., Place] | None = None
) -> StrategyError:
    said = path_words(path)
    return StrategyError(
        source, (find or source.find)(*path), f"{said}: {what}" if said else what, remedy or _guide(path)
    )


def _unknown(path: Path, tree: type[BaseModel]) -> tuple[str, str]:
    """Say of an unknown key which known one it may be, or in which table it stands."""
    key = str(path[-1])
    kind: Any = tree
    for part in path[:-1]:
        kind = below(kind, part)
    known = keys_of(kind) or []
    homes = [home for home in _tables(tree) if home != path[:-1] and key in (keys_of(_kind(tree, home)) or [])]
    if homes and nearest(key, known) is None:
        where = " or ".join(f"[{path_words(home)}]" if home else "the top of the file" for home in homes)
        return f"{path_words(path)}: stands in {where}", "move it there"
    return f"{path_words(path)}: unknown key", did_you_mean(key, known, _guide(path).removeprefix("see "))


def _tables(tree: type[BaseModel]) -> list[Path]:
    """List the tables of a file that have fixed keys; the top of the file is the empty path."""
    return [(), *((name,) for name, field in tree.model_fields.items() if is_model(plain(field.annotation)))]


def _kind(tree: type[BaseModel], path: Path) -> Any:
    return below(tree, path[0]) if path else tree


def _wrong(path: Path, finding: Mapping[str, Any], tree: type[BaseModel]) -> tuple[str, str]:
    """Word a value that a field's type refuses, and what to write instead."""
    value, kind = finding["input"], finding["type"]
    if kind in ("too_long", "too_short", "string_too_long", "string_too_short") and isinstance(value, str):
        if value.strip() == "":
            return "is empty", "write something there, or leave the key out"
        return f"longer than {finding['ctx']['max_length']} characters", "split it into signals"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        if isinstance(value, list):
            return "should be one table, not a list of them", f"write [{path_words(path)}]"
        return "should be a table", f"write [{path_words(path)}] and its keys below it"
    if kind == "tuple_type" and path == ("legs",):
        return "should be tables in a list", "write [[legs]], once for each leg"
    got = "" if isinstance(value, dict | list) else f", got {_written(value)}"
    return wording(finding) + got, f"write {example}" if (example := _EXAMPLES.get(str(path[-1]))) else _guide(path)


def _written(value: Any) -> str:
    """Write a value as TOML does."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value:.60}"' if isinstance(value, str) else f"{value!s:.60}"


def _guide(path: Path) -> str:
    return f"see {'docs/legs.md' if path[:1] in (('legs',), ('combined',)) else _GUIDE}"
