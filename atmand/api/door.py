"""The writing door: what may be asked over the API to be recorded, and what is answered when it is.

The daemon implements `Submit`. A write is journaled, applied, and answered when the journal has written it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from atmand.core.records import Command
from atmand.errors import AtmandError

__all__ = [
    "Ack",
    "KeyReusedError",
    "NotWrittenError",
    "Operation",
    "Sender",
    "Signal",
    "Submit",
    "UnknownNameError",
    "Write",
    "WriteError",
]


@dataclass(frozen=True)
class Signal:
    """A value of an external signal, for one instrument or for all, for ever or for so many market seconds."""

    name: str
    value: float
    instrument: str | None = None
    valid_s: float | None = None


@dataclass(frozen=True)
class Operation:
    """An operator's command: to a strategy, to the positions of a trade or an instrument, or to all entries."""

    code: Command
    strategy: str | None = None
    instrument: str | None = None
    trade: str | None = None


Write: TypeAlias = Signal | Operation


@dataclass(frozen=True)
class Sender:
    """Who asks: a token's number and name, and the key by which he recognises the same request."""

    actor: int
    name: str
    key: str | None = None


@dataclass(frozen=True)
class Ack:
    """A write that the journal has: the sequence of its (last) record, and what was done."""

    sequence: int
    time_ns: int
    done: Mapping[str, Any]
    repeated: bool = False
    """Whether the same key had brought it before: nothing was done again."""


class Submit(Protocol):
    """The one way in. Raises a WriteError where nothing was done, or where it is not known to be written."""

    async def __call__(self, write: Write, sender: Sender) -> Ack: ...


class WriteError(AtmandError):
    """A write was refused; `status` is the answer's, `retry_s` says when it may be tried again."""

    status: ClassVar[int] = 400
    retry_s: ClassVar[int | None] = None


class UnknownNameError(WriteError):
    """It names a signal, strategy, instrument or trade that there is none of."""

    status = 404


class KeyReusedError(WriteError):
    """The same key came with another request."""

    status = 409


class NotWrittenError(WriteError):
    """The daemon cannot take it now, or the journal has not written it in time; trying again is safe with a key."""

    status = 503
    retry_s = 2
