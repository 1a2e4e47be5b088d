"""The market data feed over Kite Connect's WebSocket: the thin shell that owns sockets, timeouts and reconnects.

The daemon builds one `KiteFeed` for each api_key and runs it in its TaskGroup; the rules are `kite_protocol`'s, the
decoder is `kite_decode`'s. A URL is only ever logged without its query, which carries the access token.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import aiohttp
import structlog
from aiohttp import WSMsgType
from yarl import URL

from atmand.clocks import MarketClock, monotonic_ns
from atmand.core.records import FeedState, Source
from atmand.feed.kite_protocol import (
    Backoff,
    KiteFeedSettings,
    TokenSource,
    Verdict,
    Watchdog,
    allocate,
    parse_text,
    requests_for,
)
from atmand.feed.protocol import FeedNotice, Frame, FrameKind, LoginNeededError, OnFrame, OnNotice

__all__ = ["FeedStats", "KiteFeed", "KiteFeedSettings"]

log = structlog.get_logger()

_MAX_MESSAGE: Final = 4 << 20
"""Bytes; 3,000 full packets of 186 bytes are 558,002. A larger message ends the connection."""

_FORBIDDEN: Final = 403
_ABNORMAL_CLOSE: Final = 1006
_TEXT_LOGGED: Final = 200
_NS: Final = 1_000_000_000

_Socket = aiohttp.ClientWebSocketResponse[bool]


@dataclass(slots=True)
class FeedStats:
    """What a feed has seen since it was built, over all its connections."""

    frames: int = 0
    """BINARY messages with market data."""
    bytes: int = 0
    """Of all messages' payloads."""
    heartbeats: int = 0
    texts: int = 0
    reconnects: int = 0
    """Attempts to connect after the first of each connection."""
    refused: int = 0
    """Attempts that the server answered with 403."""


class _SilenceError(Exception):
    """The watchdog's verdict, on its way out of a connection."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.value)
        self.verdict = verdict


class KiteFeed:
    """Market data of up to 9,000 instruments, spread over the three connections that an api_key may hold."""

    def __init__(
        self,
        settings: KiteFeedSettings,
        token_source: TokenSource,
        tokens: Iterable[int],
        clock: MarketClock,
        on_frame: OnFrame,
        on_notice: OnNotice,
        is_open: Callable[[int], bool],
        *,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = settings
        self.stats = FeedStats()
        self.clock = clock
        self.on_frame = on_frame
        self.on_notice = on_notice
        self.token_source = token_source
        self.moved = asyncio.Event()
        rng = rng or random.Random()
        self._links = [_Link(self, number, is_open, rng) for number in range(settings.connections)]
        self._assign(tokens)

    async def run(self) -> None:
        """Stay connected and push until cancelled; an exception of a callback ends the run."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for link in self._links:
                group.create_task(link.run(session), name=f"kite-feed-{link.number}")

    async def set_tokens(self, tokens: Iterable[int]) -> None:
        """Subscribe and unsubscribe the difference, on live sockets at once; FeedError where there are too many."""
        self._assign(tokens)
        for link in self._links:
            await link.synchronise()

    def connections(self) -> dict[int, int]:
        """Return, for each live socket, its local TCP port and how many messages with market data came over it."""
        return {link.port: link.received for link in self._links if link.port is not None}

    async def delivered(self, counts: Mapping[int, int]) -> None:
        """Return when each named local port has received so many messages with market data, or its socket is gone.

        What was received has been through `on_frame`. There is no timeout here: the watchdog ends a dead socket.
        """
        while any(received < counts.get(port, 0) for port, received in self.connections().items()):
            self.moved.clear()
            await self.moved.wait()

    def last_data_ns(self) -> dict[int, int]:
        """Return the market time of each connection's last market data, 0 before the first."""
        return {link.number: link.watchdog.last_data_ns for link in self._links if link.wanted}

    def _assign(self, tokens: Iterable[int]) -> None:
        shares = allocate(tokens, [link.wanted for link in self._links], self.settings.instruments_per_connection)
        for link, share in zip(self._links, shares, strict=True):
            link.want(share)


class _Link:
    """One connection's life: connect, subscribe, read until it ends or falls silent, wait, again.

    The first connection is always open, for order texts come over it; the others as soon as they carry instruments.
    """

    def __init__(self, feed: KiteFeed, number: int, is_open: Callable[[int], bool], rng: random.Random) -> None:
        settings = feed.settings
        self.number = number
        self.wanted: frozenset[int] = frozenset()
        self.port: int | None = None
        self.received = 0
        self.watchdog = Watchdog(int(settings.dead_after_s * _NS), int(settings.stale_after_s * _NS), is_open)
        self._feed = feed
        self._settings = settings
        self._backoff = Backoff(settings.backoff_start_s, settings.backoff_cap_s, rng)
        self._needed = asyncio.Event()
        self._sending = asyncio.Lock()
        self._socket: _Socket | None = None
        self._subscribed: frozenset[int] = frozenset()
        self._refused_token: str | None = None

    def want(self, tokens: frozenset[int]) -> None:
        self.wanted = tokens
        if tokens or self.number == 0:
            self._needed.set()

    async def run(self, session: aiohttp.ClientSession) -> None:
        await self._needed.wait()
        for attempt in itertools.count():
            access_token = await self._access_token()
            self._feed.stats.reconnects += attempt > 0
            socket = await self._connect(session, access_token)
            if socket is not None:
                await self._live(socket)
            if self._refused_token != access_token:
                await asyncio.sleep(self._backoff.next_s())

    async def _access_token(self) -> str:
        """Return an access token that was not refused yet, reading the source again until there is one."""
        missing = False
        while True:
            try:
                token = self._feed.token_source()
            except LoginNeededError as error:
                if not missing:
                    missing = True
                    log.error("feed_token_missing", feed="kite", connection=self.number, error=str(error))
                    self._notice(FeedState.REFUSED)
            else:
                if token != self._refused_token:
                    return token
            await asyncio.sleep(self._settings.token_poll_s)

    async def _connect(self, session: aiohttp.ClientSession, access_token: str) -> _Socket | None:
        settings = self._settings
        self._notice(FeedState.CONNECTING)
        log.info("feed_connecting", feed="kite", connection=self.number, url=settings.ws_url)
        query = {"api_key": settings.api_key.get_secret_value(), "access_token": access_token}
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                return await session.ws_connect(
                    URL(settings.ws_url).with_query(query),
                    headers={"X-Kite-Version": "3"},
                    timeout=aiohttp.ClientWSTimeout(ws_close=settings.close_timeout_s),
                    max_msg_size=_MAX_MESSAGE,
                    compress=0,
                    decode_text=False,
                )
        except aiohttp.WSServerHandshakeError as error:
            self._refused(error.status, access_token)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("feed_unreachable", feed="kite", connection=self.number, error=type(error).__name__)
        return None

    def _refused(self, status: int, access_token: str) -> None:
        """Note a refused upgrade: 403 is final for this access token, anything else passes."""
        if status == _FORBIDDEN:
            self._refused_token = access_token
            self._feed.stats.refused += 1
        path = self._settings.access_token_file
        remedy = f"log in again and write the new token to {path}" if status == _FORBIDDEN else ""
        log.error("feed_refused", feed="kite", connection=self.number, status=status, remedy=remedy)
        self._notice(FeedState.REFUSED, status)

    async def _live(self, socket: _Socket) -> None:
        """Read a fresh socket until it closes or the watchdog gives it up, and close it."""
        opened_ns = monotonic_ns()
        verdict = Verdict.ALIVE
        self._open(socket)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                await self.synchronise()
                await self._read(socket)
                watch.cancel()
        except* _SilenceError as silence:
            verdict = next(error.verdict for error in silence.exceptions if isinstance(error, _SilenceError))
        finally:
            await self._closed(socket)
        code = socket.close_code if verdict is Verdict.ALIVE else None
        log.warning("feed_lost", feed="kite", connection=self.number, code=code, verdict=verdict.value)
        self._notice(FeedState.LOST, code or _ABNORMAL_CLOSE)
        lasted_s = (monotonic_ns() - opened_ns) / _NS
        if self.received or (verdict is Verdict.ALIVE and lasted_s > self._settings.backoff_cap_s):
            self._backoff.reset()

    def _open(self, socket: _Socket) -> None:
        self._socket = socket
        self._subscribed = frozenset()
        self.received = 0
        self.port = (socket.get_extra_info("sockname") or (None, None))[1]
        self.watchdog.opened(monotonic_ns(), self._feed.clock.now_ns())
        log.info("feed_connected", feed="kite", connection=self.number)
        self._notice(FeedState.CONNECTED)

    async def _closed(self, socket: _Socket) -> None:
        if self._socket is socket:
            self._socket = self.port = None
            self._feed.moved.set()
        try:
            async with asyncio.timeout(self._settings.close_timeout_s):
                await socket.close()
        except TimeoutError:
            log.debug("feed_close_timeout", feed="kite", connection=self.number)

    async def synchronise(self) -> None:
        """Send what takes the live socket from its subscription to the wanted one; close it if it does not take it."""
        async with self._sending:
            socket, wanted = self._socket, self.wanted
            if socket is None or self._subscribed == wanted:
                return
            try:
                for request in requests_for(self._subscribed, wanted, self._settings.mode):
                    async with asyncio.timeout(self._settings.send_timeout_s):
                        await socket.send_str(request)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning("feed_send_failed", feed="kite", connection=self.number, error=type(error).__name__)
                await self._closed(socket)
                return
            if self._socket is not socket:
                return  # lost meanwhile; the next socket starts from nothing
            self._subscribed = wanted
            self.watchdog.subscribed_ns = self._feed.clock.now_ns()
        log.info("feed_subscribed", feed="kite", connection=self.number, instruments=len(wanted))
        self._notice(FeedState.SUBSCRIBED)

    async def _read(self, socket: _Socket) -> None:
        """Push each message on as it comes; return when the socket has ended."""
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.BINARY:
                self._binary(message.data)
            elif message.type is WSMsgType.TEXT:
                self._text(bytes(message.data))
            else:
                return

    def _binary(self, payload: bytes) -> None:
        feed, watchdog = self._feed, self.watchdog
        watchdog.last_bytes_ns = monotonic_ns()
        feed.stats.bytes += len(payload)
        if len(payload) <= 1:
            feed.stats.heartbeats += 1
            return
        feed.stats.frames += 1
        watchdog.last_data_ns = now_ns = feed.clock.now_ns()
        feed.on_frame(Frame(Source.KITE, self.number, FrameKind.BINARY, now_ns, bytes(payload)))
        self.received += 1
        feed.moved.set()

    def _text(self, payload: bytes) -> None:
        feed = self._feed
        self.watchdog.last_bytes_ns = monotonic_ns()
        feed.stats.bytes += len(payload)
        feed.stats.texts += 1
        text = parse_text(payload)
        if text.kind in ("error", "unknown"):
            words = repr(text.data if text.kind == "error" else payload[:_TEXT_LOGGED])[:_TEXT_LOGGED]
            say = log.warning if text.kind == "error" else log.debug
            say("feed_text", feed="kite", connection=self.number, type=text.kind, text=words)
        feed.on_frame(Frame(Source.KITE, self.number, FrameKind.TEXT, feed.clock.now_ns(), payload))

    async def _watch(self) -> NoReturn:
        """Ask the watchdog at its interval; raise its verdict when the connection has to go."""
        while True:
            await asyncio.sleep(self.watchdog.interval_ns / _NS)
            verdict = self.watchdog.verdict(monotonic_ns(), self._feed.clock.now_ns(), len(self._subscribed))
            if verdict is Verdict.STALE:
                log.warning("feed_stale", feed="kite", connection=self.number, last_data_ns=self.watchdog.last_data_ns)
                self._notice(FeedState.STALE)
            if verdict is not Verdict.ALIVE:
                raise _SilenceError(verdict)

    def _notice(self, state: FeedState, code: int = 0) -> None:
        self._feed.on_notice(FeedNotice(state, self.number, len(self.wanted), code))
