"""A strategy, its deployments and a store for the tests of the parameter room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.params.document import Document, StrategyPart

LIMITS = {"order_value_rupees": 200_000, "daily_loss_rupees": 20_000, "open_positions": 10}
STRATEGY = """name = "probe"
universe = ["NSE:AAA"]
[params]
period = { default = 14, range = [5, 30], step = 1, unit = "bars" }
level = { default = 45.0, range = [10, 60] }
[entry]
long = "rsi(period) < level"
[size]
quantity = 1
"""
FILE = parse_strategy(STRATEGY, "probe.toml")


def deployments(**values: float) -> list[Deployment]:
    return [Deployment(FILE, "paper", values, "probe"), Deployment(FILE, "paper", {}, "twin")]


def document(*, risk: dict[str, int] | None = None, weight: float = 1.0, **values: float) -> Document:
    part = StrategyPart(sha256=FILE.sha256, params=values, weight=weight)
    return Document(author="tester", strategies={"probe": part}, risk=risk)


def write(path: Path, content: Any) -> None:
    """Write a document's file by hand, as an operator might."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
