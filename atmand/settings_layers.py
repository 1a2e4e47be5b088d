"""Where settings are read from: a TOML file, the environment, a directory of secrets, the command line.

Only `settings.load` calls it; every value keeps the name of its source, so that an error can say where it was written.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, NestedSecretsSettingsSource, SecretsSettingsSource
from pydantic_settings import SettingsError as SourceError

from atmand.settings_errors import Layer, NoSettingsFileError, SettingsError, unknown

__all__ = ["merged", "read_layers"]


def read_layers(tree: type[BaseSettings], file: Path, overrides: Mapping[str, Any]) -> list[Layer]:
    """Read all sources, the strongest first: command line, secrets, environment, file."""
    return [Layer("command line", dict(overrides)), *_surroundings(tree), Layer(str(file), _read(file))]


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """Lay the sources over each other, key by key; the layers themselves stay as they are."""
    result: dict[str, Any] = {}
    for layer in reversed(layers):
        _merge(result, layer.values)
    return result


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        remedy = "name a readable file with --config PATH or ATMAND_CONFIG"
        kind = NoSettingsFileError if isinstance(error, FileNotFoundError) else SettingsError
        raise kind.of(str(file), (error.strerror or "not readable").lower(), remedy) from None
    except ValueError as error:
        raise SettingsError.of(str(file), f"not valid TOML: {error}", "mend the line that is named") from None


def _surroundings(tree: type[BaseSettings]) -> list[Layer]:
    """Read the layers of the secrets directory and the environment, the stronger first."""
    secrets = os.environ.get("ATMAND_SECRETS_DIR") or os.environ.get("CREDENTIALS_DIRECTORY") or ""
    layers = []
    try:
        if secrets:
            found = SecretsSettingsSource(tree, secrets_dir=secrets)
            source = NestedSecretsSettingsSource(found, secrets_dir_missing="error", secrets_nested_delimiter="__")
            layers.append(Layer(f"{secrets}/", source()))
        environment = EnvSettingsSource(tree, env_prefix="ATMAND_", env_nested_delimiter="__", env_ignore_empty=True)
        layers.append(Layer("ATMAND_", environment()))
    except (SourceError, OSError, UnicodeDecodeError) as error:
        where = f"secrets directory {secrets}" if secrets and not isinstance(error, SourceError) else "environment"
        raise SettingsError.of(where, str(error), "write lists and tables as JSON there") from None
    strangers = [
        unknown(tree, layers[-1], tuple(name[len("ATMAND_") :].lower().split("__")))
        for name in sorted(os.environ)
        if name.startswith("ATMAND_") and "__" in name and _section_of(name) not in tree.model_fields
    ]
    if strangers:
        raise SettingsError(strangers)
    return layers


def _section_of(variable: str) -> str:
    return variable.removeprefix("ATMAND_").lower().split("__")[0]


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if not isinstance(value, Mapping):
            into[key] = value
            continue
        if not isinstance(into.get(key), dict):
            into[key] = {}
        _merge(into[key], value)
