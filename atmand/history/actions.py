"""Corporate actions by date: splits, bonuses and changes of symbol, from a file that the user keeps beside the bars.

The daemon turns them into records on their ex-date, back-tests between two sessions: from that day on, and not before,
are older prices seen in the new units. Pure but for `load_actions`; no polars, because the daemon imports it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import gcd
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from atmand.core.opening import Draft
from atmand.core.records import CORPORATE_ACTION_HEAD, CORPORATE_ACTION_ROW, Kind, body_of
from atmand.hints import wording
from atmand.history.bars import Bars, HistoryError
from atmand.market.sessions import ns

__all__ = [
    "ACTIONS",
    "Action",
    "action_drafts",
    "adjusted",
    "due",
    "load_actions",
    "newest_names",
    "parse_actions",
    "renamed",
    "renames",
]

ACTIONS: Final = "actions.toml"
"""The file's name in a store's directory."""

_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Action:
    """One corporate action: `new` units stand for `old` ones from `ex_date` on; a change of symbol has `to`."""

    instrument: str
    ex_date: date
    new: int = 1
    old: int = 1
    to: str = ""

    @property
    def ex_ns(self) -> int:
        """When it takes effect: the ex-date's midnight in India."""
        return ns(self.ex_date, "00:00")


def _ratio(text: str) -> str:
    first, colon, second = text.partition(":")
    if not (colon and first.isdecimal() and second.isdecimal() and int(first) and int(second)):
        raise ValueError(f"{text!r} is no ratio such as 5:1")
    return text


def _key(text: str) -> str:
    if len(text.split(":")) < 3 or not all(text.split(":")):
        raise ValueError(f"{text!r} is no durable key such as NSE:EQ:INFY")
    return text


class _Row(BaseModel):
    """A row of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["split", "bonus", "symbol", "isin"]
    instrument: Annotated[str, AfterValidator(_key)]
    ex_date: date
    ratio: Annotated[str, AfterValidator(_ratio)] | None = None
    to: str | None = None
    isin: str = ""
    source: str = ""

    @model_validator(mode="after")
    def _complete(self) -> _Row:
        by_ratio = self.kind in ("split", "bonus")
        if by_ratio != (self.ratio is not None) or by_ratio == (self.to is not None):
            raise ValueError(f"a {self.kind} has {'a ratio and no to' if by_ratio else 'a to and no ratio'}")
        if self.kind == "symbol":
            _key(self.to or "")
        return self

    def action(self) -> Action:
        if self.kind == "symbol":
            return Action(self.instrument, self.ex_date, to=self.to or "")
        if self.ratio is None:
            return Action(self.instrument, self.ex_date)
        new, old = map(int, self.ratio.split(":"))
        if self.kind == "bonus":  # free units for held ones
            new += old
        whole = gcd(new, old)
        return Action(self.instrument, self.ex_date, new // whole, old // whole)


def load_actions(directory: Path) -> tuple[Action, ...]:
    """Read the actions of a store's directory, by date; none where there is no file."""
    path = directory / ACTIONS
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise HistoryError(str(path), f"cannot be read: {error}", "write the file again") from None
    return parse_actions(text, str(path))


def parse_actions(text: str, where: str) -> tuple[Action, ...]:
    """Read the text of a file of actions; HistoryError names the row that is refused."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HistoryError(where, str(error), "correct the file") from None
    if set(document) - {"action"} or not isinstance(document.get("action", []), list):
        raise HistoryError(where, "holds something else than [[action]] tables", "see docs/history.md")
    actions: list[Action] = []
    seen: set[tuple[str, date, bool]] = set()
    for number, row in enumerate(document.get("action", []), 1):
        try:
            action = _Row.model_validate(row).action()
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "row"
            raise HistoryError(f"{where}: action {number}: {place}", wording(first), "correct the row") from None
        name = (action.instrument, action.ex_date, bool(action.to))
        if name in seen and (action.to or action.new != action.old):
            raise HistoryError(f"{where}: action {number}", f"{action.instrument} has two on that day", "join them")
        seen.add(name)
        if action.to or action.new != action.old:
            actions.append(action)
    return tuple(sorted(actions, key=lambda action: (action.ex_date, action.instrument)))


def due(actions: Iterable[Action], after: date | None, until: date) -> list[Action]:
    """Return the actions that take effect after a session's day, up to another's; none before the first session."""
    return [] if after is None else [action for action in actions if after < action.ex_date <= until]


def renames(actions: Iterable[Action], after: date | None, until: date) -> dict[str, str]:
    """Return by old key the key that it has on `until`, of what changed its symbol after `after`."""
    found: dict[str, str] = {}
    for action in due(actions, after, until):
        if action.to:
            for old, new in found.items():
                if new == action.instrument:
                    found[old] = action.to
            found[action.instrument] = action.to
    return found


def newest_names(actions: Iterable[Action], until: date) -> dict[str, str]:
    """Return by every name of a former symbol, `NSE:OLD` or its key, the key that the instrument has on `until`."""
    found: dict[str, str] = {}
    for old, new in renames(actions, date.min, until).items():
        exchange, _, symbol = old.split(":", 2)
        found[old] = found[f"{exchange}:{symbol}"] = new
    return found


def renamed(books: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a document of books in which instruments have other keys."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                names.get(name, name): names.get(one, one) if name == "instrument" else walk(one)
                for name, one in value.items()
            }
        return [walk(one) for one in value] if isinstance(value, list) else value

    return dict(walk(books))


def action_drafts(actions: Iterable[Action], keys: Sequence[str]) -> list[Draft]:
    """Write the CORPORATE_ACTION records of splits and bonuses, one an ex-date, for a session's instruments."""
    places = {key: place for place, key in enumerate(keys)}
    by_day: dict[date, list[tuple[int, int, int]]] = {}
    for action in actions:
        if action.instrument in places and action.new != action.old:
            by_day.setdefault(action.ex_date, []).append((places[action.instrument], action.new, action.old))
    drafts = []
    for day, rows in sorted(by_day.items()):
        head = np.zeros(1, CORPORATE_ACTION_HEAD)
        head["ex_ns"] = ns(day, "00:00")
        body = body_of(Kind.CORPORATE_ACTION, head, np.array(rows, CORPORATE_ACTION_ROW))
        drafts.append(Draft(Kind.CORPORATE_ACTION, body, len(rows)))
    return drafts


def adjusted(bars: Bars) -> Bars:
    """Return bars in the units of their last day: for figures that look back from the end, never for a decision."""
    if not bars.actions:
        return bars
    series = {symbol: _in_last_units(rows, bars.actions_of(symbol)) for symbol, rows in bars.series.items()}
    return replace(bars, series=series)


def _in_last_units(rows: NDArray[Any], actions: Sequence[Action]) -> NDArray[Any]:
    rows = rows.copy()
    for action in actions:
        if not len(rows) or action.ex_ns > int(rows["start_ns"][-1]):
            continue
        before = rows["start_ns"] < action.ex_ns
        for name in _PRICES:
            price = rows[name][before]
            rows[name][before] = np.maximum(1, (2 * price * action.old + action.new) // (2 * action.new))
        rows["volume"][before] = rows["volume"][before] * action.new // action.old
    rows.flags.writeable = False
    return rows
