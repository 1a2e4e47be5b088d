"""Kite Connect's streaming protocol without its sockets: settings, requests, texts, backoff and the watchdog's rule.

`feed/kite.py` is the shell around it. The wire is described at kite.trade/docs/connect/v3/websocket, its timing in
the official SDK (pykiteconnect, `kiteconnect/ticker.py`: reconnects from 2 s doubling to 60 s).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from atmand.feed.protocol import FeedError, LoginNeededError

__all__ = [
    "Backoff",
    "KiteFeedSettings",
    "KiteText",
    "Spacing",
    "TokenSource",
    "Verdict",
    "Watchdog",
    "allocate",
    "parse_text",
    "price_scale",
    "requests_for",
    "token_from_file",
]

TokenSource = Callable[[], str]
"""Returns today's access token; raises LoginNeededError where there is none."""

_BATCH: Final = 500
"""Tokens a request: well under any message limit, and a refused request costs few instruments."""

_TOKEN_LIMIT: Final = 4096
"""Characters of an access token; a larger file is not one."""

_SEGMENT_CDS: Final = 3
_SEGMENT_BCD: Final = 6
_SEGMENT_NCO: Final = 12

_Positive = Annotated[float, Field(gt=0, le=86_400)]


class KiteFeedSettings(BaseModel):
    """How to reach Kite Connect; `_s` are seconds: of market time for `stale_after_s`, of machine time for the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: SecretStr
    api_secret: SecretStr | None = None
    """Only the login exchange needs it."""
    access_token_file: Path
    ws_url: str = Field(default="wss://ws.kite.trade", pattern=r"^wss?://[^?#@\s]+$")
    rest_url: str = Field(default="https://api.kite.trade", pattern=r"^https?://[^?#@\s]+$")
    mode: Literal["ltp", "quote", "full"] = "full"
    connections: Annotated[int, Field(ge=1, le=3)] = 3
    """Kite allows 3 an api_key."""
    instruments_per_connection: Annotated[int, Field(ge=1, le=3000)] = 3000
    stale_after_s: _Positive = 30.0
    """No market data for so long in an open market makes a connection stale, heartbeats or not."""
    dead_after_s: _Positive = 10.0
    """No byte at all for so long makes a socket dead; the server's heartbeat comes every 1 to 2 s."""
    connect_timeout_s: _Positive = 30.0
    send_timeout_s: _Positive = 5.0
    close_timeout_s: _Positive = 1.0
    token_poll_s: _Positive = 3.0
    """How often a refused access token is read again."""
    backoff_start_s: _Positive = 2.0
    backoff_cap_s: _Positive = 60.0
    rest_timeout_s: _Positive = 7.0
    rest_attempts: Annotated[int, Field(ge=1, le=20)] = 6
    historical_per_s: _Positive = 3.0


def token_from_file(path: Path) -> TokenSource:
    """Return a source that reads the access token from a file, anew at each call."""

    def read() -> str:
        try:
            text = path.read_bytes()[: _TOKEN_LIMIT + 1].decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = "not readable" if isinstance(error, OSError) else "not an access token"
            raise LoginNeededError(f"access_token_file {path}", what, _LOGIN) from error
        if not text or len(text) > _TOKEN_LIMIT or not text.isprintable():
            raise LoginNeededError(f"access_token_file {path}", "holds no access token", _LOGIN)
        return text

    return read


_LOGIN: Final = "log in and write the day's access token there"


def price_scale(token: int) -> int:
    """Return the integer price units in a rupee of a Kite instrument token, whose low byte is the segment."""
    segment = token & 0xFF
    if segment == _SEGMENT_CDS:
        return 10_000_000
    return 10_000 if segment in (_SEGMENT_BCD, _SEGMENT_NCO) else 100


def allocate(tokens: Iterable[int], current: Sequence[frozenset[int]], capacity: int) -> list[frozenset[int]]:
    """Spread tokens over connections: those subscribed stay where they are, new ones fill the first with room.

    Raises FeedError when there are more tokens than `len(current) * capacity`, or one is not a 32-bit number.
    """
    wanted = frozenset(tokens)
    if len(wanted) > len(current) * capacity:
        where = f"feed.kite: {len(wanted)} instruments"
        raise FeedError(where, f"{len(current)} connections carry {capacity} each", "make the universe smaller")
    if any(not 0 < token < 1 << 32 for token in wanted):
        raise FeedError("feed.kite: instrument token", "not a positive 32-bit number", "take it from the day's dump")
    kept = [held & wanted for held in current]
    new = iter(sorted(wanted.difference(*kept)))
    return [held | frozenset(islice(new, capacity - len(held))) for held in kept]


def requests_for(subscribed: frozenset[int], wanted: frozenset[int], mode: str) -> Iterator[str]:
    """Yield the text messages that take a connection from one subscription to another, in batches, lowest token first.

    A bare subscription means mode quote, so a mode request follows each one.
    """
    for batch in _batches(subscribed - wanted):
        yield _request("unsubscribe", batch)
    for batch in _batches(wanted - subscribed):
        yield _request("subscribe", batch)
        yield _request("mode", [mode, batch])


def _batches(tokens: frozenset[int]) -> Iterator[list[int]]:
    ordered = sorted(tokens)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


def _request(action: str, value: list[Any]) -> str:
    return orjson.dumps({"a": action, "v": value}).decode()


@dataclass(frozen=True, slots=True)
class KiteText:
    """A TEXT message: `data` is an order's fields for `order`, the server's words for `error` and `message`."""

    kind: Literal["order", "error", "message", "unknown"]
    data: Any = None


def parse_text(payload: bytes) -> KiteText:
    """Read a TEXT message; whatever is not one of the documented types is `unknown` and never an error.

    An order without its `data` wrapper is read too: users have seen such.
    """
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return KiteText("unknown")
    if not isinstance(message, dict):
        return KiteText("unknown")
    kind, data = message.get("type"), message.get("data")
    if kind == "order" or (kind is None and "order_id" in message):
        order = data if isinstance(data, dict) else message
        return KiteText("order", order) if "order_id" in order else KiteText("unknown")
    return KiteText(kind, data) if kind in ("error", "message") else KiteText("unknown")


class Backoff:
    """Waits that double up to a cap, each drawn from zero to its ceiling (full jitter), until `reset`."""

    def __init__(self, start_s: float, cap_s: float, rng: random.Random) -> None:
        self._start_s = start_s
        self._cap_s = cap_s
        self._rng = rng
        self.attempts = 0

    def next_s(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        doublings = min(self.attempts, 32)  # 2.0 ** 32 is beyond any cap, and no overflow after a long outage
        self.attempts += 1
        return self._rng.uniform(0.0, min(self._cap_s, self._start_s * 2.0**doublings))

    def reset(self) -> None:
        self.attempts = 0


class Spacing:
    """Turns that are at least `1 / per_s` seconds apart, given out in the order of asking."""

    def __init__(self, per_s: float) -> None:
        self._apart_s = 1.0 / per_s
        self._next_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Take the next turn, and return how many seconds after `now_s` it is."""
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + self._apart_s
        return turn_s - now_s


class Verdict(Enum):
    """What the watchdog thinks of a connection."""

    ALIVE = "alive"
    DEAD = "dead"
    STALE = "stale"


@dataclass(slots=True)
class Watchdog:
    """Tells a dead socket from a mute one and from a silent market. Machine time for bytes, market time for data."""

    dead_after_ns: int
    stale_after_ns: int
    is_open: Callable[[int], bool]
    last_bytes_ns: int = 0
    last_data_ns: int = 0
    subscribed_ns: int = 0
    _checked_ns: int = 0

    @property
    def interval_ns(self) -> int:
        """How often to ask for a verdict, in machine time."""
        return min(self.dead_after_ns, self.stale_after_ns) // 4

    def opened(self, machine_ns: int, market_ns: int) -> None:
        """A socket was opened or its subscription changed: all waits begin now."""
        self.last_bytes_ns = self._checked_ns = machine_ns
        self.subscribed_ns = market_ns

    def verdict(self, machine_ns: int, market_ns: int, instruments: int) -> Verdict:
        """Judge a connection that carries so many instruments.

        Stale needs an open market at both ends of the silence, so that the first tick of a session is waited for. A
        check that comes late (the machine slept, the loop was blocked) judges nothing: what arrived is not read yet.
        """
        late = machine_ns - self._checked_ns > 2 * self.interval_ns
        self._checked_ns = machine_ns
        if late:
            return Verdict.ALIVE
        if machine_ns - self.last_bytes_ns >= self.dead_after_ns:
            return Verdict.DEAD
        since_ns = market_ns - self.stale_after_ns
        if instruments == 0 or max(self.last_data_ns, self.subscribed_ns) > since_ns:
            return Verdict.ALIVE
        return Verdict.STALE if self.is_open(since_ns) and self.is_open(market_ns) else Verdict.ALIVE
