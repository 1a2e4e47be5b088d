"""A strategy's life on a change: who keeps the open positions of one whose rules changed or that was removed.

What runs is kept in the state directory with its text, so that a strategy's old rules can lead its positions to their
exits after its file has changed, over any number of restarts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from atmand.errors import AtmandError
from atmand.lang.program import Deployment
from atmand.lang.strategy import StrategyFile, parse_strategy
from atmand.lang.structure import compile_structure
from atmand.universe import chosen_by_rule

__all__ = [
    "RunOff",
    "deployed_files",
    "finished",
    "keep_deployed",
    "last_deployed",
    "names_of",
    "open_places",
    "run_offs",
]

_FILE: Final = "deployed.json"
_SCHEMA: Final = 1

Places = frozenset[tuple[str, str]]
"""Open positions: (`strategy@account`, instrument key)."""


@dataclass(frozen=True)
class RunOff:
    """A deployment that takes open positions over, and why: changed, removed, or its instrument was."""

    deployment: Deployment
    why: str


def open_places(books: Mapping[str, Any] | None) -> Places:
    """Return where a document of books holds something."""
    rows = () if books is None else books["pairs"]
    return frozenset((row["book"], row["instrument"]) for row in rows if row["quantity"])


def run_offs(
    before: Sequence[Deployment], after: Sequence[Deployment], held: Places, on_change: Mapping[str, str]
) -> list[RunOff]:
    """Return the deployments that must be added to `after`, so that every open position keeps rules that exit it.

    `on_change` says by name what the operator wants; a strategy that is gone can be adopted by nobody.
    """
    coming = {(one.book, one.account): one for one in after}
    used = [one.book for one in before]
    found = []
    for one in before:
        keys = {key for book, key in held if book == f"{one.book}@{one.account}"}
        if not keys:
            continue
        if one.origin:
            found.append(RunOff(one, "goes on"))
            continue
        next_one = coming.get((one.book, one.account))
        if next_one is None:
            why = "removed"
        elif _is_changed(one, next_one) and on_change.get(one.book, "run_off") != "adopt":
            why = "changed"
        else:
            why = "instrument removed"
            keys = {key for key in keys if not names_of(key) & set(next_one.file.strategy.universe)}
            if not keys or chosen_by_rule(next_one):  # what a rule chose stays with its book when the rule goes on
                continue
        name = _free_name(one.book, used)
        used.append(name)
        found.append(RunOff(replace(one, name=name, origin=one.book, universe=tuple(sorted(keys))), why))
    return found


def finished(deployments: Iterable[Deployment], busy: Iterable[str]) -> list[Deployment]:
    """Return the run-off deployments that have nothing left to do; `busy` names the books that have."""
    at_work = set(busy)
    return [one for one in deployments if one.origin and f"{one.book}@{one.account}" not in at_work]


def names_of(key: str) -> set[str]:
    """Return the names that a strategy file may give an instrument: its key, and EXCHANGE:SYMBOL of a share."""
    parts = key.split(":")
    return {key, f"{parts[0]}:{parts[2]}"} if len(parts) == 3 else {key}


def keep_deployed(state: Path, deployments: Iterable[Deployment], values: Mapping[str, Mapping[str, float]]) -> None:
    """Write down what runs from here on, with the values in force, before the journal says so."""
    rows = [
        {
            "name": one.book,
            "account": one.account,
            "file": one.file.source.name,
            "text": one.file.source.text,
            "values": dict(values.get(one.book, one.values)),
            "origin": one.origin,
            "universe": one.universe,
        }
        for one in deployments
    ]
    path = state / _FILE
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(orjson.dumps({"schema": _SCHEMA, "deployed": rows}, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def last_deployed(state: Path, held: Places) -> list[Deployment]:
    """Return what ran last and still holds something; an old text that is refused now cannot lead it out."""
    busy = {book for book, _ in held}
    return [
        Deployment(
            parse_strategy(row["text"], row["file"]),
            row["account"],
            row["values"],
            row["name"],
            row["origin"],
            tuple(row["universe"]),
        )
        for row in _rows(state)
        if f"{row['name']}@{row['account']}" in busy
    ]


def deployed_files(state: Path) -> Iterator[tuple[str, StrategyFile]]:
    """Yield the strategies that ran last in a state directory by name, with the text that they ran by."""
    for row in _rows(state):
        with suppress(AtmandError):  # it was good for the version that ran it
            yield row["name"], parse_strategy(row["text"], row["file"])


def _rows(state: Path) -> list[dict[str, Any]]:
    path = state / _FILE
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise AtmandError(str(path), f"cannot be read: {error}", "remove it; changed strategies are adopted") from None
    if document.get("schema") != _SCHEMA:
        raise AtmandError(str(path), "written by another version", "remove it; changed strategies are adopted")
    rows: list[dict[str, Any]] = document["deployed"]
    return rows


def _is_changed(before: Deployment, after: Deployment) -> bool:
    """Say whether the rules or legs are others, or the product that positions are held under."""
    if before.file.sha256 == after.file.sha256:
        return False
    old, new = before.file.strategy, after.file.strategy
    if old.trade.product != new.trade.product or old.legs != new.legs:
        return True
    return compile_structure(before.file).name != compile_structure(after.file).name


def _free_name(strategy: str, used: Iterable[str]) -> str:
    numbers = [int(name.rpartition("~")[2]) for name in used if name.startswith(f"{strategy}~")]
    return f"{strategy}~{max(numbers, default=0) + 1}"
