"""Server-sent events: one producer makes a message a second, while somebody listens, and all listeners get the same.

A page that connects asks the resources for what there is, and then lives on the news. A listener that does not read
is dropped; it comes back by itself and asks afresh.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from atmand.api.answers import Refusal
from atmand.api.source import HEALTHS, Document, Source

__all__ = ["Streams"]

log = structlog.get_logger()

_QUEUE: Final = 8
"""Messages that may wait for a listener before it is dropped."""
_HEARTBEAT_S: Final = 15.0
_WRITE_TIMEOUT_S: Final = 30.0
_RETRY: Final = b"retry: 2000\n\n"
_HEARTBEAT: Final = b": heartbeat\n\n"
_TRADES: Final = 200
"""Most trades in a message, and ids that are remembered as sent."""
_ASK_AGAIN: Final = 5
"""Messages for which trades are asked for after their number changed: the ledger's database is a little behind."""
_POINT_NS: Final = 15 * 10**9
"""Market time between two points of equity."""


class Streams:
    """All listeners and their producer; `run` is a task of the server's."""

    def __init__(self, source: Source, *, limit: int = 32, interval_s: float = 1.0) -> None:
        self._news = _News(source)
        self._limit = limit
        self._interval_s = interval_s
        self._listeners: set[_Listener] = set()
        self._wanted = asyncio.Event()
        self._closed = False

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def run(self) -> None:
        """Make messages while somebody listens, until cancelled."""
        failing = False
        while True:
            await self._wanted.wait()
            try:
                message = await self._news.message()
            except Exception:
                if not failing:
                    log.exception("api_failed", path="/v1/stream")
                failing = True
            else:
                failing = False
                self._send(message)
            await asyncio.sleep(self._interval_s)

    def close(self) -> None:
        """End all streams and take no new one."""
        self._closed = True
        self._send(None)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Stream to one listener until it leaves, is dropped, or the server stops."""
        if self._closed or len(self._listeners) >= self._limit:
            what = f"{self._limit} pages listen already" if not self._closed else "the daemon is stopping"
            raise Refusal(503, request.path, what, "close one, or try again later", {"Retry-After": "5"})
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "Content-Type": "text/event-stream"})
        listener = _Listener(request.transport)
        self._listeners.add(listener)
        self._wanted.set()
        try:
            await response.prepare(request)
            await response.write(_RETRY)
            while (message := await listener.next()) is not None:
                async with asyncio.timeout(_WRITE_TIMEOUT_S):
                    await response.write(message)
        except (ConnectionError, TimeoutError):
            listener.abort()
        finally:
            self._leave(listener)
        return response

    def _send(self, message: bytes | None) -> None:
        for listener in list(self._listeners):
            if not listener.put(message):
                log.debug("api_stream_dropped", waiting=_QUEUE)
                listener.abort()
                self._leave(listener)

    def _leave(self, listener: _Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners:
            self._wanted.clear()


class _Listener:
    """One connection and what waits for it."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)

    def put(self, message: bytes | None) -> bool:
        """Queue a message, None for the end; False where the listener is too slow."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    async def next(self) -> bytes | None:
        """Return the next message, or a heartbeat where there is none for a while; None at the end."""
        try:
            async with asyncio.timeout(_HEARTBEAT_S):
                return await self._queue.get()
        except TimeoutError:
            return _HEARTBEAT

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _News:
    """What is new since the message before."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._trades: int | None = None
        self._asks = 0
        self._sent: dict[str, None] = {}
        self._point_ns = 0
        self._ledger_failing = False

    async def message(self) -> bytes:
        """Make one message: always `status`; `equity` and `trades` where there is something."""
        source = self._source
        status, params = source.status(), source.params()
        news: Document = {
            "status": status,
            "positions": source.positions()["positions"],
            "health": {name: source.health(name) for name in HEALTHS},
            "params": {"seq": params["seq"], "refused": params["refused"]},
        }
        parts = [_event("status", news)]
        if points := self._equity(status):
            parts.append(_event("equity", points))
        if trades := await self._new_trades(status):
            parts.append(_event("trades", trades))
        return b"".join(parts)

    def _equity(self, status: Document) -> Document | None:
        """Return a point of each account and strategy, taken from the status itself: no query a second."""
        time_ns = status["market_time_ns"]
        if status["phase"] == "starting" or abs(time_ns - self._point_ns) < _POINT_NS:
            return None
        self._point_ns = time_ns
        kinds = (("account", status["accounts"]), ("strategy", status["strategies"]))
        series = [
            {"name": book["name"], "kind": kind, "points": [[time_ns, book["equity_paise"], 0]]}
            for kind, books in kinds
            for book in books
        ]
        return {"sequence": status["sequence"], "market_time": status["market_time"], "series": series}

    async def _new_trades(self, status: Document) -> Document | None:
        """Return trades that were not sent before. After a pause these are old ones too: the page knows them by id."""
        count = sum(book["trades"] for book in status["accounts"])
        if count != self._trades:
            self._trades, self._asks = count, _ASK_AGAIN
        if self._asks == 0:
            return None
        self._asks -= 1
        try:
            answer = await self._source.trades(limit=_TRADES, before=None, strategy=None, past=False)
        except Exception:
            # A damaged ledger must not silence the rest of the page.
            if not self._ledger_failing:
                log.exception("api_failed", path="/v1/stream")
            self._ledger_failing = True
            return None
        self._ledger_failing = False
        new = [trade for trade in answer["trades"] if trade["trade_id"] not in self._sent]
        self._sent = dict.fromkeys(trade["trade_id"] for trade in answer["trades"])
        return {**answer, "trades": new} if new else None


def _event(name: str, document: Any) -> bytes:
    data = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
