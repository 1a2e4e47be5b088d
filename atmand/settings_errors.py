"""How a wrong setting is told: where it was written, its dotted path, what is wrong, and what to write instead.

Only `settings` calls it, with pydantic's findings; the tree of models is the vocabulary for the nearest known name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from atmand.errors import AtmandError, ExitCode
from atmand.hints import below, did_you_mean, is_model, keys_of, plain, wording
from atmand.logs import is_secret_name

__all__ = ["Layer", "Problem", "SettingsError", "explain", "missing_file", "problem_at", "unknown"]

KeyPath = tuple[str, ...]


class Problem(NamedTuple):
    """One thing that is wrong, in the three parts of every refusal."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


class SettingsError(AtmandError):
    """The configuration is refused; the message has one line for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(*problems[0])
        self.problems = tuple(problems)
        self.args = ("\n".join(str(problem) for problem in problems),)

    @classmethod
    def of(cls, where: str, what: str, remedy: str) -> SettingsError:
        """Make the error of a single problem."""
        return cls([Problem(where, what, remedy)])


class NoSettingsFileError(SettingsError):
    """There is no such file: whoever named it used the command line, or ATMAND_CONFIG, wrongly."""

    exit_code = ExitCode.USAGE


class Layer(NamedTuple):
    """What one source says, and the source's name: `ATMAND_`, a folder with a slash, a file, or words."""

    source: str
    values: dict[str, Any]

    def where(self, path: KeyPath) -> str:
        """Name a setting as it is written in this source."""
        if self.source == "ATMAND_":
            return self.source + "__".join(path).upper()
        if self.source.endswith("/"):
            return self.source + "__".join(path)
        return f"{self.source}: {'.'.join(path)}"


def explain(error: ValidationError, tree: type[BaseModel], layers: Sequence[Layer]) -> list[Problem]:
    """Turn pydantic's findings into problems, one for each setting, in the order of the tree."""
    grouped: dict[KeyPath, list[Any]] = {}
    for finding in error.errors(include_url=False):
        if finding["type"] != "default_factory_not_called":
            path = _setting_path(tree, tuple(str(part) for part in finding["loc"]))
            grouped.setdefault(path, []).append(finding)
    problems: list[Problem] = []
    for path, findings in grouped.items():
        if findings[0]["type"] == "extra_forbidden":
            layer = _layer_of(path, layers)
            problems += [unknown(tree, layer, leaf) for leaf in _leaf_paths(path, findings[0]["input"])]
        else:
            problems.append(_wrong(path, findings, tree, layers))
    return problems


def problem_at(path: KeyPath, layers: Sequence[Layer], what: str, remedy: str) -> Problem:
    """Make a problem of a setting, named as the strongest layer that has it wrote it."""
    return Problem(_layer_of(path, layers).where(path), what, remedy)


def missing_file(path: KeyPath, file: Path, layers: Sequence[Layer]) -> list[Problem]:
    """Return the problem of a file that is not there, or nothing."""
    if file.is_file():
        return []
    return [
        problem_at(path, layers, f"{file} is not a file", "relative paths start at the configuration file's folder")
    ]


def unknown(tree: type[BaseModel], layer: Layer, path: KeyPath) -> Problem:
    """Make the problem of a key that nobody knows, with the nearest one that somebody does."""
    near, siblings = _nearest(tree, path)
    if near:
        written = layer.where(near) if layer.source == "ATMAND_" else ".".join(near)
        return Problem(layer.where(path), "unknown key", f"did you mean {written}?")
    return Problem(layer.where(path), "unknown key", did_you_mean(path[-1], siblings))


def _wrong(
    path: KeyPath, findings: Sequence[Mapping[str, Any]], tree: type[BaseModel], layers: Sequence[Layer]
) -> Problem:
    first = findings[0]
    if first["type"] == "missing" and not any(_has(layer.values, path) for layer in layers):
        variable = "ATMAND_" + "__".join(path).upper()
        return problem_at(path, layers, "not set", f"put it in {variable} or in the configuration file")
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return problem_at(path, layers, "should be a table", f"write [{'.'.join(path)}] and its keys below it")
    remedy = first.get("ctx", {}).get("remedy") or _expected(tree, path)
    what = (wording(first) if len(findings) == 1 else "not accepted") + _got(path, first["input"])
    return problem_at(path, layers, what, remedy)


def _got(path: KeyPath, value: Any) -> str:
    if is_secret_name(path[-1]) or isinstance(value, Mapping):
        return ""
    return f", got {value!r:.80}"


def _expected(tree: type[BaseModel], path: KeyPath) -> str:
    field = _field(tree, path)
    if field is None:
        return "see the commented configurations that ship with atmand"
    if field.description:
        words = " ".join(field.description.split()).rstrip(".")
        return f"expected: {words[0].lower()}{words[1:]}"
    return (
        "put a value there"
        if field.is_required()
        else f"the default is {field.get_default(call_default_factory=False)}"
    )


def _layer_of(path: KeyPath, layers: Sequence[Layer]) -> Layer:
    """Return the strongest layer that says something at this path; the file, which is the last, for a missing one."""
    return next((layer for layer in layers if _has(layer.values, path)), layers[-1])


def _has(values: Any, path: KeyPath) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _leaf_paths(path: KeyPath, value: Any) -> list[KeyPath]:
    if not isinstance(value, Mapping) or not value:
        return [path]
    return [leaf for key, inner in value.items() for leaf in _leaf_paths((*path, str(key)), inner)]


def _setting_path(tree: type[BaseModel], loc: KeyPath) -> KeyPath:
    """Cut pydantic's location at the setting: what follows names a union's branch, an element or a wrong key."""
    kind: Any = tree
    for index, part in enumerate(loc):
        inner = below(kind, part)
        if inner is None:
            return loc[: index + 1] if keys_of(kind) is not None and part != "[key]" else loc[:index]
        kind = inner
    return loc


def _nearest(tree: type[BaseModel], path: KeyPath) -> tuple[KeyPath, list[str]]:
    """Return the known path that looks most like this one, or nothing and the names known where it went astray."""
    kind: Any = tree
    near: KeyPath = ()
    for part in path:
        known = keys_of(kind)
        if known is None:
            break
        match = part if below(kind, part) is not None else _similar(part, known)
        if match is None:
            return (), known
        near = (*near, match)
        kind = below(kind, match)
    return near, []


def _similar(part: str, known: Iterable[str]) -> str | None:
    names = list(known)
    starting = [name for name in names if name.startswith(part) or part.startswith(name)]
    return next(iter(starting or difflib.get_close_matches(part, names, n=1)), None)


def _field(tree: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    kind: Any = tree
    for part in path[:-1]:
        kind = below(kind, part)
    model = plain(kind)
    return model.model_fields.get(path[-1]) if is_model(model) else None
