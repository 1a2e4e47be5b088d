"""Corporate actions in the daemon: what took effect between two sessions, as the new one opens.

The file beside the bar store is read again for every session. One that is refused then is told and the last good one
holds: a session must open, and open positions must be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import structlog

from atmand.core.opening import Draft
from atmand.core.state import day_of
from atmand.errors import AtmandError
from atmand.history.actions import Action, action_drafts, due, load_actions, newest_names, renamed, renames

__all__ = ["CorporateActions", "Overnight"]

log = structlog.get_logger()


@dataclass(frozen=True)
class Overnight:
    """What took effect since the session before `day`."""

    day: date
    actions: Sequence[Action] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """By an instrument's old key its new one."""

    def books(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the books that go on, under the keys that hold now; splits are applied by their record."""
        return renamed(document, self.names) if self.names else document

    def old_keys(self, keys: Sequence[str]) -> list[str]:
        """Return what the session before called the instruments."""
        before = {new: old for old, new in self.names.items()}
        return [before.get(key, key) for key in keys]

    def drafts(self, keys: Sequence[str]) -> list[Draft]:
        """Write the records of splits and bonuses, for a session with these instruments."""
        return action_drafts([action for action in self.actions if not action.to], keys)

    def tell(self) -> None:
        """Say what took effect."""
        for one in self.actions:
            log.info(
                "corporate_action", instrument=one.instrument, day=one.ex_date.isoformat(), new=one.new, old=one.old,
                to=one.to or None,
            )  # fmt: skip


class CorporateActions:
    """The file of actions of a bar store. AtmandError where it is refused as the daemon starts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known = load_actions(directory)

    def newest_names(self, day: date) -> dict[str, str]:
        """Return the keys of a day by the names of former symbols."""
        return newest_names(self._known, day)

    def until(self, day: date, books: Mapping[str, Any]) -> Overnight:
        """Return what takes effect on `day`, or has since the books' own day."""
        try:
            self._known = load_actions(self._directory)
        except AtmandError as error:
            log.error("actions_refused", error=str(error))
        before = day_of(int(books["date"]))
        names = renames(self._known, before, day)
        found = [_now(action, names) for action in due(self._known, before, day)]
        return Overnight(day, found, names)


def _now(action: Action, names: Mapping[str, str]) -> Action:
    """Name a split's instrument by the key that it has now."""
    if action.to or action.instrument not in names:
        return action
    return Action(names[action.instrument], action.ex_date, action.new, action.old)
