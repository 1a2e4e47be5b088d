"""The control socket: anchors, grants of market time, and commands of whoever drives the simulation.

A granting client names every step that it has applied before the next one is made, so that a slow machine slows the
market and loses nothing. All messages are JSON objects with a `type`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import WSMsgType, web

from atmand.sim.rest import same_secret

if TYPE_CHECKING:
    from atmand.sim.server import Server

__all__ = ["Control"]

log = structlog.get_logger()

_PING_S: Final = 60.0
_MESSAGE_LIMIT: Final = 1 << 16


class _CommandError(ValueError):
    """A control message that cannot be obeyed; its text is the answer."""


class _Granter:
    """The control connection that market time waits for."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.granted_ns = 0
        self.applied_ns = 0
        self.moved = asyncio.Event()


class Control:
    """Control connections of one server; at most one of them is the granter."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._granter: _Granter | None = None

    @property
    def granting(self) -> bool:
        """Whether a client takes grants."""
        return self._granter is not None

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Serve one control connection: the anchor first, then commands, and grants if it asks for them."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not same_secret(token, self._server.settings.control_token.get_secret_value()):
            raise web.HTTPForbidden(text="the control token is missing or wrong")
        socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=_MESSAGE_LIMIT, compress=False)
        await socket.prepare(request)
        await socket.send_json(self._anchor())
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._obey(socket, message.data)
        finally:
            self._left(socket)
        return socket

    async def grant(self, time_ns: int) -> None:
        """Announce a step and what has been written to each connection, the step's own frames included."""
        granter = self._granter
        if granter is None:
            return
        granter.granted_ns = time_ns
        granter.moved.clear()
        await self._send(granter, {"type": "grant", "t": time_ns, "frames": self._server.frame_counts()})

    async def applied(self, time_ns: int) -> None:
        """Wait until the granter has applied a step that was granted to it, or is gone."""
        granter = self._granter
        while granter is not None and granter.granted_ns >= time_ns > granter.applied_ns:
            await granter.moved.wait()
            granter.moved.clear()
            if granter is not self._granter:
                return

    async def market_over(self, time_ns: int) -> None:
        """Tell the granter that no step follows."""
        if self._granter is not None:
            await self._send(self._granter, {"type": "end", "t": time_ns})

    def _anchor(self) -> dict[str, Any]:
        exchange, settings = self._server.exchange, self._server.settings
        return {
            "type": "anchor",
            "market_time_ns": exchange.now_ns,
            "speed": self._server.speed_now(),
            "mode": "granted" if settings.parent_control or self.granting else "free",
            "session": None if exchange.session is None else exchange.session.isoformat(),
            "bar_path": exchange.market.bar_path,
            "seed": exchange.market.seed,
        }

    async def _send(self, granter: _Granter, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            await granter.socket.send_json(message)

    def _left(self, socket: web.WebSocketResponse) -> None:
        granter = self._granter
        if granter is None or granter.socket is not socket:
            return
        self._granter = None
        granter.moved.set()
        if self._server.settings.parent_control:
            self._server.stopped.set()  # the end of the parent that owns it: nobody is left to be told
        else:
            log.info("control_client_left", market_time_ns=self._server.exchange.now_ns)

    async def _obey(self, socket: web.WebSocketResponse, text: str) -> None:
        try:
            message = json.loads(text)
            if not isinstance(message, dict):
                raise _CommandError("a command is a JSON object")
            await self._command(socket, message)
        except (ValueError, RecursionError) as error:
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": "error", "data": str(error)})

    async def _command(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        server = self._server
        match message.get("type"):
            case "applied":
                self._note_applied(socket, message.get("t"))
            case "granted":
                if self._granter is not None and self._granter.socket is not socket:
                    raise _CommandError("another client takes the grants")
                self._granter = self._granter or _Granter(socket)
            case "speed":
                server.pace.speed = "auto" if message.get("value") == "auto" else _positive(message, "value")
                server.pace.restart()
            case "pause":
                server.paused = True
            case "resume":
                server.paused = False
            case "cut":
                server.cut(_positive(message, "market_seconds"))
            case "text":
                await server.broadcast(json.dumps(message.get("data")))
            case "stop":
                server.stopped.set()
            case _:
                raise _CommandError("unknown type; known are applied, granted, speed, pause, resume, cut, text, stop")

    def _note_applied(self, socket: web.WebSocketResponse, time_ns: Any) -> None:
        granter = self._granter
        if granter is None or granter.socket is not socket:
            raise _CommandError("applied comes from the client that takes the grants")
        if not isinstance(time_ns, int) or time_ns > granter.granted_ns:
            raise _CommandError("applied names a time that was granted")
        granter.applied_ns = max(granter.applied_ns, time_ns)
        granter.moved.set()


def _positive(message: dict[str, Any], name: str) -> float:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
        raise _CommandError(f"{name} is not a positive number")
    return float(value)
