"""The doors of a feed: what it pushes into the daemon, and how it is run; every feed's file and the daemon use these.

A feed pushes: it calls `on_frame` for each message in the order of arrival, so that no queue costs a wake-up a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from atmand.core.records import FeedState, Source
from atmand.errors import AtmandError, ExitCode

__all__ = [
    "Feed",
    "FeedError",
    "FeedNotice",
    "FeedUnreachableError",
    "Frame",
    "FrameKind",
    "LoginNeededError",
    "OnFrame",
    "OnNotice",
]


class FeedError(AtmandError):
    """A feed or its history service was asked for something that it refuses."""


class LoginNeededError(FeedError):
    """The access token is missing, dead or not accepted: a person has to log in."""


class FeedUnreachableError(FeedError):
    """The feed's server did not answer, or its answer made no sense."""

    exit_code = ExitCode.UNREACHABLE


class FrameKind(IntEnum):
    """What a message is: TEXT goes to the execution room (order pushes share the socket), BINARY to the decoder."""

    TEXT = 1
    BINARY = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it came from the wire; `receive_ns` is market time in nanoseconds UTC."""

    source: Source
    connection: int
    kind: FrameKind
    receive_ns: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class FeedNotice:
    """A change in a connection's life.

    `instruments` is how many the connection carries; `code` is the HTTP status of a refusal, the WebSocket close
    code of a loss, and 0 otherwise.
    """

    state: FeedState
    connection: int
    instruments: int
    code: int = 0


OnFrame = Callable[[Frame], None]
OnNotice = Callable[[FeedNotice], None]


class Feed(Protocol):
    """A source of market data, built with its `OnFrame` and `OnNotice`."""

    async def run(self) -> None:
        """Stay connected and push until cancelled; an exception of a callback ends the run."""
        ...

    async def set_tokens(self, tokens: list[int]) -> None:
        """Subscribe and unsubscribe the difference to what is subscribed now."""
        ...
