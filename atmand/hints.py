"""What a refusal says beside the place: the wrong value in plain words, and the known names that come nearest.

Every door that takes a model's findings (strategy files, the configuration, parameter documents) words them here.
"""

from __future__ import annotations

import contextlib
import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["below", "did_you_mean", "is_model", "keys_of", "nearest", "plain", "wording"]

_MANY: Final = 8
_A_FEW: Final = 5

_WORDS: Final[dict[str, str]] = {
    "missing": "missing",
    "extra_forbidden": "unknown key",
    "string_type": "should be text, in quotation marks",
    "string_too_short": "should have at least {min_length} character(s)",
    "string_too_long": "should have at most {max_length} characters",
    "string_pattern_mismatch": "should match {pattern}",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "should be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "should be a number"),
    "finite_number": "should be a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), "should be true or false"),
    "greater_than": "should be above {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than": "should be below {lt}",
    "less_than_equal": "should be at most {le}",
    "literal_error": "should be {expected}",
    "enum": "should be {expected}",
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "should be a list, in [brackets]"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type"), "should be a table"),
    "too_short": "should have at least {min_length} of them",
    "too_long": "should have at most {max_length} of them",
    **dict.fromkeys(("time_type", "time_parsing"), "should be a time, such as 09:20"),
    **dict.fromkeys(
        ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"),
        "should be a date, such as 2026-08-03",
    ),
    **dict.fromkeys(
        (
            "datetime_type",
            "datetime_parsing",
            "datetime_from_date_parsing",
            "timezone_aware",
        ),
        "should be a date and time with its zone, such as 2026-07-06T09:15:00+05:30",
    ),
    **dict.fromkeys(("path_type", "path_not_file", "path_not_directory"), "should be a path, in quotation marks"),
    **dict.fromkeys(("url_type", "url_parsing", "url_scheme"), "should be a URL, such as http://127.0.0.1:8080"),
}


def wording(finding: Mapping[str, Any]) -> str:
    """Return what one of a model's findings says, in our words; a message that a model's own check wrote is kept."""
    known = _WORDS.get(finding["type"])
    context = {name: f"{x:g}" if isinstance(x, float) else x for name, x in finding.get("ctx", {}).items()}
    if finding["type"] == "missing" and isinstance(finding.get("input"), list | tuple):
        return "should have more values"
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace("'", '"')
    with contextlib.suppress(KeyError):  # some doors leave the context out
        if known is not None:
            return known.format_map(context)
    said = str(finding["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return said[:1].lower() + said[1:]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like this one; capitals make no difference."""
    names = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), names, n=1)
    return names[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str], all_in: str = "docs/configuration.md") -> str:
    """Return the remedy of an unknown name: the nearest one, all of them if they are few, or some and where all are."""
    names = list(known)
    near = nearest(name, names)
    if near is not None:
        return f"did you mean {near}?"
    if len(names) <= _MANY:
        return f"known are {', '.join(names) or 'none'}"
    few = difflib.get_close_matches(name.lower(), names, n=_A_FEW, cutoff=0.0)
    return f"known are {', '.join(few)} and {len(names) - len(few)} more: see {all_in}"


def below(kind: Any, key: str | int) -> Any:
    """Return the type of what stands under a key of a model, a table of named things or a list; None where nothing."""
    bare = plain(kind)
    if is_model(bare):
        field = bare.model_fields.get(str(key))
        return None if field is None else field.annotation
    if get_origin(bare) is dict and key != "[key]":
        return get_args(bare)[1]
    if get_origin(bare) in (tuple, list) and isinstance(key, int):
        return get_args(bare)[0]
    return None


def keys_of(kind: Any) -> list[str] | None:
    """Return the names that a table may have; none of them for one whose keys are free, None where no table stands."""
    bare = plain(kind)
    if is_model(bare):
        return list(bare.model_fields)
    return [] if get_origin(bare) is dict else None


def plain(kind: Any) -> Any:
    """Take off what a type wears: Annotated, and the None of an optional one."""
    if get_origin(kind) is Annotated:
        return plain(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        rest = [part for part in get_args(kind) if part is not type(None)]
        return plain(rest[0]) if len(rest) == 1 else kind
    return kind


def is_model(kind: Any) -> bool:
    """Say whether a type is a model, whose keys are its fields."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)
