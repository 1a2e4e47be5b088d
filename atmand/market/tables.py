"""Reads the room's own dated tables, which are data files of the package."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

__all__ = ["load_table"]


def load_table(name: str) -> dict[str, Any]:
    """Return the parsed content of `data/<name>.toml`."""
    return tomllib.loads((files("atmand.market") / "data" / f"{name}.toml").read_text("utf-8"))
