"""The shapes of the answers to what was written: a signal, or a command of the operator's."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from atmand.api.shapes import Answer, Shape, Time

__all__ = ["DONE", "BooksDone", "EntriesDone", "ExitDone", "Exiting", "SignalDone"]


class SignalDone(Answer):
    """The answer to `POST /v1/signals/{name}`: `sequence` is the record's."""

    signal: str
    value: float
    instrument: str | None
    valid_until: Time | None


class BooksDone(Answer):
    """The answer to pausing and resuming a strategy."""

    strategy: str
    accounts: list[str]
    paused: bool


class Exiting(Shape):
    strategy: str
    account: str
    instrument: str
    quantity: int
    trade_id: str | None
    """None where an entry was still under way: it is cancelled."""


class ExitDone(Answer):
    """The answer to `POST /v1/exit`: the positions that are being closed."""

    positions: list[Exiting]


class EntriesDone(Answer):
    """The answer to `POST /v1/entries/…`: whether new positions may be opened now, and what else forbids it."""

    allowed: bool
    reason: str | None


DONE: Final[dict[str, type[BaseModel]]] = {
    "signal": SignalDone,
    "books": BooksDone,
    "exit": ExitDone,
    "entries": EntriesDone,
}
