"""The simulated exchange's server: data sockets, and the loop that moves market time.

A thin shell round `Exchange`: the REST calls and the control socket are in their own files.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from aiohttp import WSMsgType, web

from atmand.clocks import monotonic_ns
from atmand.market.sessions import calendar_with, ns, use_calendar
from atmand.sim.broker import Broker
from atmand.sim.control import Control
from atmand.sim.exchange import Exchange, RequestError, Subscription
from atmand.sim.generator import SeededMarket
from atmand.sim.market_day import Market
from atmand.sim.orders_rest import order_row
from atmand.sim.pace import Pace
from atmand.sim.rest import Login, error_body, rest_routes
from atmand.sim.settings import SimSettings
from atmand.sim.wire import HEARTBEAT, text_message

__all__ = ["Server", "serve"]

log = structlog.get_logger()

_SECOND: Final = 1_000_000_000
_HEARTBEAT_S: Final = 1.0
_POLL_S: Final = 0.1
_MESSAGE_LIMIT: Final = 1 << 20
_BACKLOG_LIMIT: Final = 8 << 20
"""Bytes that may wait for a client that does not read, before it is dropped."""


async def serve(settings: SimSettings, ready: Callable[[int], None]) -> None:
    """Run the exchange until cancelled, stopped by its control socket, or left by its parent.

    `ready` is called once with the port that was bound. SimulatorError for a market that cannot be made; OSError for a
    port that cannot be bound.
    """
    server = Server(settings, await asyncio.to_thread(_open_market, settings))
    async with server.listening() as port:
        ready(port)
        await server.run()


def _open_market(settings: SimSettings) -> Market:
    if settings.sessions_file is not None:
        text = settings.sessions_file.read_text("utf-8", "replace")
        use_calendar(calendar_with(text, str(settings.sessions_file)))
    if settings.bars is None:
        return SeededMarket(settings.seed, settings.options, settings.corporate_actions)
    # Bars need polars and numba, which the seeded market starts without.
    from atmand.sim.bar_market import BarMarket

    return BarMarket(settings.bars)


class _Client:
    """One data socket and what it subscribed."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport, given: Subscription) -> None:
        self.socket = socket
        self.transport = transport
        self.subscription = given
        self.port = str(transport.get_extra_info("peername")[1])
        self.last_write_ns = monotonic_ns()

    @property
    def alive(self) -> bool:
        return not (self.socket.closed or self.transport.is_closing())


class Server:
    """Sockets round one exchange. Market time moves in `run`, everything else answers at the time that it finds."""

    def __init__(self, settings: SimSettings, market: Market) -> None:
        self.settings = settings
        self.exchange = Exchange(market, int(settings.start.timestamp()) * _SECOND)
        self.broker = Broker(self.exchange)
        self.pace = Pace(settings.speed)
        self.paused = False
        self.stopped = asyncio.Event()
        self._clients: dict[Subscription, _Client] = {}
        self._refuse_until_ns = 0
        self._login = Login(settings)
        self._control = Control(self)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Accept connections while the context lasts; yields the port."""
        app = web.Application(middlewares=[error_body])
        app.add_routes([web.get("/", self._data_socket), web.get("/ws", self._data_socket)])
        app.add_routes([web.get("/control", self._control.socket)])
        app.add_routes(rest_routes(self.exchange, self.broker, self._login, self.settings))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.settings.host, self.settings.port)
            await site.start()
            yield runner.addresses[0][1]
        finally:
            self.drop_clients()
            await runner.cleanup()

    async def run(self) -> None:
        """Move market time until stopped."""
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(self._move_market()), tasks.create_task(self._heartbeats())]
            await self.stopped.wait()
            for loop in loops:
                loop.cancel()

    def cut(self, market_seconds: float) -> None:
        """Drop all data sockets at once and refuse new ones for so many seconds of market time."""
        self._refuse_until_ns = self.exchange.now_ns + int(market_seconds * _SECOND)
        self.drop_clients()
        log.info("data_sockets_cut", market_seconds=market_seconds)

    def drop_clients(self) -> None:
        for client in self._clients.values():
            client.transport.abort()

    async def broadcast(self, text: str) -> None:
        """Send a text message to all data sockets."""
        for client in list(self._clients.values()):
            if client.alive:
                await self._write(client, text)

    def frame_counts(self) -> dict[str, int]:
        """Return the data frames written so far by client port; a dead socket counts as delivered and is left out."""
        return {client.port: client.subscription.frames for client in self._clients.values() if client.alive}

    def speed_now(self) -> float:
        connections = sum(client.alive for client in self._clients.values())
        return self.pace.rate(granted=self._control.granting, connections=connections)

    async def _move_market(self) -> None:
        while True:
            step_ns = await self._next_due()
            if step_ns is None:
                if not self.settings.parent_control:  # a parent is told, and says so itself
                    log.info("market_over")
                await self._control.market_over(self.exchange.now_ns)
                return
            frames = self.exchange.advance(step_ns)
            await self._control.grant(step_ns)
            for subscription, data in frames:
                client = self._clients.get(subscription)
                if client is not None and client.alive:
                    await self._write(client, data)
            for order in self.broker.step():
                await self.broadcast(text_message("order", order_row(order)))
            await self._control.applied(step_ns)
            # Readers of the sockets get their turn even when every step is overdue.
            await asyncio.sleep(0)

    async def _next_due(self) -> int | None:
        """Wait until the next step is due and return its time; what a new subscription changes is seen in time."""
        while True:
            if self.paused or (self.settings.parent_control and not self._control.granting):
                self.pace.restart()
                await asyncio.sleep(_POLL_S / 4)
                continue
            step_ns = self.exchange.next_ns()
            if step_ns is None:
                return None
            wait_ns = self.pace.wait_ns(self.exchange.now_ns, step_ns, monotonic_ns(), self.speed_now())
            if wait_ns <= 0:
                return step_ns
            await asyncio.sleep(min(wait_ns / _SECOND, _POLL_S))

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S / 2)
            idle_since = monotonic_ns() - int(_HEARTBEAT_S * _SECOND)
            for client in list(self._clients.values()):
                if client.alive and client.last_write_ns <= idle_since:
                    await self._write(client, HEARTBEAT)

    async def _data_socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.json_response({"status": "success", "data": {"service": "atmand sim"}})
        if not self._login.allows(request.query.get("api_key", ""), request.query.get("access_token", "")):
            raise web.HTTPForbidden(text="Incorrect `api_key` or `access_token`.")
        if self.exchange.now_ns < self._refuse_until_ns:
            raise web.HTTPServiceUnavailable(text="The ticker is down.")
        # A write never waits: the backlog is checked instead, so that one slow client does not hold up the market.
        socket = web.WebSocketResponse(max_msg_size=_MESSAGE_LIMIT, compress=False, writer_limit=sys.maxsize)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        client = _Client(socket, transport, self.exchange.attach())
        self._clients[client.subscription] = client
        try:
            await self._serve_client(client)
        finally:
            del self._clients[client.subscription]
            self.exchange.detach(client.subscription)
        return socket

    async def _serve_client(self, client: _Client) -> None:
        count = len(self.exchange.market.listings)
        session = self.exchange.session or self.exchange.market.first_session()
        await self._write(client, text_message("instruments_meta", {"count": count, "etag": str(ns(session, "00:00"))}))
        async for message in client.socket:
            if message.type != WSMsgType.TEXT:
                continue
            try:
                self.exchange.request(client.subscription, message.data)
            except RequestError as error:
                await self._write(client, text_message("error", str(error)))

    async def _write(self, client: _Client, data: bytes | str) -> None:
        if client.transport.get_write_buffer_size() > _BACKLOG_LIMIT:
            log.warning("slow_client_dropped", port=client.port)
            client.transport.abort()
            return
        client.last_write_ns = monotonic_ns()
        with contextlib.suppress(ConnectionError):
            if isinstance(data, bytes):
                await client.socket.send_bytes(data)
            else:
                await client.socket.send_str(data)
