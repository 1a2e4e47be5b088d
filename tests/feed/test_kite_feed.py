"""The feed against a real server on loopback: accept, refuse, fall silent, drop, send rubbish."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from atmand.clocks import WallClock
from atmand.core.records import FeedState, Source
from atmand.feed.kite import KiteFeed, KiteFeedSettings
from atmand.feed.kite_protocol import token_from_file
from atmand.feed.protocol import FeedError, FeedNotice, Frame, FrameKind

DATA = b"\x00\x01\x00\x08\x00\x00\x01\x01\x00\x00\x00\x64"


async def until(true: Callable[[], object]) -> None:
    """Wait for something that other tasks bring about; a test that waits in vain fails."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


class Exchange:
    """A server with Kite's manners; what it does on a new socket is `greeting`."""

    def __init__(self) -> None:
        self.good_tokens = {"good"}
        self.beating = True
        self.greeting: bytes | None = None
        self.attempts: list[str] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.requests: list[list[dict]] = []
        self.ports: list[int] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.attempts.append(request.query["access_token"])
        assert request.query["api_key"] == "key-of-mine"
        assert request.headers["X-Kite-Version"] == "3"
        if request.query["access_token"] not in self.good_tokens:
            return web.Response(status=403, text="Forbidden")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        requests: list[dict] = []
        self.sockets.append(socket)
        self.requests.append(requests)
        self.ports.append(request.transport.get_extra_info("peername")[1])
        if self.greeting is not None:
            await socket.send_bytes(self.greeting)
        heart = asyncio.create_task(self._beat(socket))
        try:
            async for message in socket:
                requests.append(orjson.loads(message.data))
        finally:
            heart.cancel()
        return socket

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):
            while True:
                if self.beating:
                    await socket.send_bytes(b"\x00")
                await asyncio.sleep(0.01)

    def subscribed(self, number: int) -> set[int]:
        """The tokens that a socket has asked for in mode full."""
        held: set[int] = set()
        for request in self.requests[number]:
            match request["a"]:
                case "mode":
                    assert request["v"][0] == "full"
                    held |= set(request["v"][1])
                case "unsubscribe":
                    held -= set(request["v"])
        return held


class Spy(random.Random):
    """Keeps the ceilings of the waits, and draws almost none."""

    def __init__(self) -> None:
        super().__init__()
        self.ceilings: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.ceilings.append(b)
        return min(b, 0.001)


class Bench:
    """A running feed and what it pushed."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.frames: list[Frame] = []
        self.notices: list[FeedNotice] = []
        self.rng = Spy()
        self.feed: KiteFeed
        self.task: asyncio.Task[None]

    def states(self, connection: int = 0) -> list[FeedState]:
        return [notice.state for notice in self.notices if notice.connection == connection]

    async def subscribed(self, number: int, tokens: Iterable[int]) -> web.WebSocketResponse:
        wanted = set(tokens)
        await until(lambda: len(self.exchange.sockets) > number and self.exchange.subscribed(number) == wanted)
        return self.exchange.sockets[number]


@asynccontextmanager
async def running(
    tmp_path: Path,
    tokens: Iterable[int] = (257, 513),
    *,
    token: str | None = "good",
    is_open: Callable[[int], bool] = lambda now: False,
    on_frame: Callable[[Frame], None] | None = None,
    prepare: Callable[[Exchange], None] = lambda exchange: None,
    **changes: object,
) -> AsyncIterator[Bench]:
    bench = Bench()
    prepare(bench.exchange)
    application = web.Application()
    application.router.add_get("/", bench.exchange.handle)
    token_file = tmp_path / "token"
    if token is not None:
        token_file.write_text(token)
    async with TestServer(application, host="127.0.0.1") as server:
        settings = KiteFeedSettings.model_validate(
            {
                "api_key": "key-of-mine",
                "access_token_file": token_file,
                "ws_url": f"ws://127.0.0.1:{server.port}",
                "token_poll_s": 0.005,
                "close_timeout_s": 0.2,
                **changes,
            }
        )
        bench.feed = KiteFeed(
            settings,
            token_from_file(token_file),
            tokens,
            WallClock(),
            on_frame or bench.frames.append,
            bench.notices.append,
            is_open,
            rng=bench.rng,
        )
        bench.task = asyncio.create_task(bench.feed.run())
        try:
            yield bench
        finally:
            bench.task.cancel()
            with suppress(asyncio.CancelledError, ExceptionGroup):
                await bench.task


async def test_frames_and_texts_are_pushed_in_order_and_heartbeats_only_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        await socket.send_bytes(DATA)
        await socket.send_str('{"type":"order","data":{"order_id":"1"}}')
        await socket.send_bytes(b"\xff\xff")
        await until(lambda: len(bench.frames) == 3 and bench.feed.stats.heartbeats > 2)
    assert [(frame.kind, frame.payload) for frame in bench.frames] == [
        (FrameKind.BINARY, DATA),
        (FrameKind.TEXT, b'{"type":"order","data":{"order_id":"1"}}'),
        (FrameKind.BINARY, b"\xff\xff"),
    ]
    assert {(frame.source, frame.connection) for frame in bench.frames} == {(Source.KITE, 0)}
    times = [frame.receive_ns for frame in bench.frames]
    assert times == sorted(times)
    stats = bench.feed.stats
    assert (stats.frames, stats.texts, stats.reconnects, stats.refused) == (2, 1, 0, 0)
    assert stats.bytes == sum(len(frame.payload) for frame in bench.frames) + stats.heartbeats
    assert bench.states() == [FeedState.CONNECTING, FeedState.CONNECTED, FeedState.SUBSCRIBED]
    assert bench.notices[-1].instruments == 2
    assert bench.feed.last_data_ns() == {0: times[2]}


async def test_a_dropped_socket_is_opened_and_subscribed_again(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        await socket.close(code=4001)
        await bench.subscribed(1, {257, 513})
        await until(lambda: bench.states()[-1] is FeedState.SUBSCRIBED)
    [lost] = [notice for notice in bench.notices if notice.state is FeedState.LOST]
    assert lost.code == 4001
    assert bench.feed.stats.reconnects == 1


async def test_a_cut_wire_is_a_loss_too(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        socket._req.transport.abort()
        await bench.subscribed(1, {257, 513})
    assert FeedNotice(FeedState.LOST, 0, 2, 1006) in bench.notices


async def test_a_refused_token_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    async with running(tmp_path, token="dead") as bench:
        reads = 0
        source = bench.feed.token_source

        def counted() -> str:
            nonlocal reads
            reads += 1
            return source()

        bench.feed.token_source = counted
        await until(lambda: reads > 10)
        assert bench.exchange.attempts == ["dead"]
        assert bench.notices[-1] == FeedNotice(FeedState.REFUSED, 0, 2, 403)
        (tmp_path / "token").write_text("good")
        await bench.subscribed(0, {257, 513})
        assert bench.exchange.attempts == ["dead", "good"]
    assert bench.feed.stats.refused == 1
    assert bench.rng.ceilings == []


async def test_a_missing_token_file_is_said_once_and_waited_for(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(tmp_path, token=None) as bench:
            await until(lambda: bench.notices)
            assert bench.notices == [FeedNotice(FeedState.REFUSED, 0, 2, 0)]
            (tmp_path / "token").write_text("good")
            await bench.subscribed(0, {257, 513})
    assert [entry["event"] for entry in logs].count("feed_token_missing") == 1


async def test_a_new_token_is_used_at_the_next_connect(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        bench.exchange.good_tokens = {"next"}
        (tmp_path / "token").write_text("next")
        await socket.close()
        await bench.subscribed(1, {257, 513})
    assert bench.exchange.attempts == ["good", "next"]


async def test_a_socket_without_any_byte_is_dead_though_the_market_is_closed(tmp_path: Path) -> None:
    def mute(exchange: Exchange) -> None:
        exchange.beating = False

    async with running(tmp_path, dead_after_s=0.1, prepare=mute) as bench:
        await until(lambda: len(bench.exchange.sockets) >= 2)
    assert FeedNotice(FeedState.LOST, 0, 2, 1006) in bench.notices
    assert FeedState.STALE not in bench.states()


async def test_heartbeats_without_data_in_an_open_market_are_stale_and_reconnects_back_off(tmp_path: Path) -> None:
    async with running(tmp_path, stale_after_s=0.05, is_open=lambda now: True) as bench:
        await until(lambda: len(bench.exchange.sockets) >= 4)
    states = bench.states()
    assert states[:6] == [
        FeedState.CONNECTING,
        FeedState.CONNECTED,
        FeedState.SUBSCRIBED,
        FeedState.STALE,
        FeedState.LOST,
        FeedState.CONNECTING,
    ]
    assert bench.rng.ceilings[:3] == [2.0, 4.0, 8.0]


async def test_data_makes_the_next_reconnect_a_quick_one_again(tmp_path: Path) -> None:
    def greet(exchange: Exchange) -> None:
        exchange.greeting = DATA

    async with running(tmp_path, stale_after_s=0.05, is_open=lambda now: True, prepare=greet) as bench:
        await until(lambda: len(bench.exchange.sockets) >= 4)
    assert bench.rng.ceilings[:3] == [2.0, 2.0, 2.0]


async def test_silence_in_a_closed_market_is_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path, stale_after_s=0.05) as bench:
        await until(lambda: bench.feed.stats.heartbeats > 30)
        assert len(bench.exchange.sockets) == 1
    assert FeedState.STALE not in bench.states()


async def test_new_tokens_are_subscribed_and_old_ones_dropped_on_the_live_socket(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.subscribed(0, {257, 513})
        await bench.feed.set_tokens([513, 769])
        await bench.subscribed(0, {513, 769})
        assert bench.exchange.requests[0][2:] == [
            {"a": "unsubscribe", "v": [257]},
            {"a": "subscribe", "v": [769]},
            {"a": "mode", "v": ["full", [769]]},
        ]
        await bench.exchange.sockets[0].close()
        await bench.subscribed(1, {513, 769})
        with pytest.raises(FeedError, match="connections carry"):
            await bench.feed.set_tokens(range(1, 10_000))
    assert len(bench.exchange.sockets) == 2


async def test_a_request_that_cannot_be_sent_ends_the_socket_and_the_next_one_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: aiohttp.ClientWebSocketResponse, data: str) -> None:
        monkeypatch.undo()
        raise aiohttp.ClientConnectionResetError

    async with running(tmp_path) as bench:
        await bench.subscribed(0, {257, 513})
        monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "send_str", broken)
        await bench.feed.set_tokens([513, 769])
        await bench.subscribed(1, {513, 769})
    assert bench.exchange.subscribed(0) == {257, 513}


async def test_tokens_spread_over_connections_and_more_open_as_they_come(tmp_path: Path) -> None:
    async with running(tmp_path, [1, 2], instruments_per_connection=2) as bench:
        await bench.subscribed(0, {1, 2})
        await bench.feed.set_tokens([1, 2, 3, 4, 5])
        await until(lambda: len(bench.exchange.sockets) == 3)
        await until(lambda: sorted(len(bench.exchange.subscribed(n)) for n in range(3)) == [1, 2, 2])
        assert bench.exchange.subscribed(0) == {1, 2}
        await until(lambda: sorted(bench.feed.connections()) == sorted(bench.exchange.ports))
    assert {notice.connection for notice in bench.notices} == {0, 1, 2}


async def test_delivered_waits_for_the_named_count_on_each_socket(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        [port] = bench.exchange.ports
        assert bench.feed.connections() == {port: 0}
        waiting = asyncio.create_task(bench.feed.delivered({port: 3, 1: 99}))
        for _ in range(2):
            await socket.send_bytes(DATA)
        await until(lambda: len(bench.frames) == 2)
        assert not waiting.done()
        await socket.send_bytes(DATA)
        async with asyncio.timeout(5):
            await waiting
        assert len(bench.frames) == 3
        assert bench.feed.connections() == {port: 3}


async def test_a_socket_that_is_gone_counts_as_delivered(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        waiting = asyncio.create_task(bench.feed.delivered({bench.exchange.ports[0]: 10}))
        await socket.send_bytes(DATA)
        await until(lambda: bench.frames)
        assert not waiting.done()
        await socket.close()
        async with asyncio.timeout(5):
            await waiting
        await bench.subscribed(1, {257, 513})


async def test_rubbish_is_passed_on_and_the_socket_stays(tmp_path: Path) -> None:
    rubbish = [b"\xff" * 70_000, b"\x00\x01", b"\x00\x00\x00"]
    with capture_logs() as logs:
        async with running(tmp_path) as bench:
            socket = await bench.subscribed(0, {257, 513})
            for payload in rubbish:
                await socket.send_bytes(payload)
            await socket.send_str("{not json")
            await socket.send_str('{"type":"error","data":"Invalid instruments"}')
            await until(lambda: len(bench.frames) == 5)
            assert len(bench.exchange.sockets) == 1
    assert [frame.payload for frame in bench.frames[:3]] == rubbish
    assert [entry["type"] for entry in logs if entry["event"] == "feed_text"] == ["unknown", "error"]


async def test_a_message_beyond_all_measure_ends_the_connection_only(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        with suppress(ConnectionError, aiohttp.ClientError):
            await socket.send_bytes(bytes(5 << 20))
        await bench.subscribed(1, {257, 513})
    assert bench.frames == []
    assert FeedNotice(FeedState.LOST, 0, 2, 1009) in bench.notices


async def test_three_thousand_instruments_fit_one_message(tmp_path: Path) -> None:
    payload = b"\x0b\xb8" + (b"\x00\xb8" + bytes(184)) * 3000
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        await socket.send_bytes(payload)
        await until(lambda: bench.frames)
    assert bench.frames[0].payload == payload


async def test_a_server_that_is_not_there_is_tried_with_growing_waits(tmp_path: Path) -> None:
    async with running(tmp_path, ws_url="ws://127.0.0.1:1") as bench:
        await until(lambda: len(bench.rng.ceilings) >= 7)
    assert bench.rng.ceilings[:7] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert set(bench.states()) == {FeedState.CONNECTING}


async def test_an_error_of_the_receiver_ends_the_run(tmp_path: Path) -> None:
    def broken(frame: Frame) -> None:
        raise ZeroDivisionError

    async with running(tmp_path, on_frame=broken) as bench:
        socket = await bench.subscribed(0, {257, 513})
        await socket.send_bytes(DATA)
        with pytest.raises(ExceptionGroup) as error:
            async with asyncio.timeout(5):
                await bench.task
    assert error.group_contains(ZeroDivisionError)


async def test_cancelling_closes_the_sockets(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        socket = await bench.subscribed(0, {257, 513})
        bench.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bench.task
        await until(lambda: socket.closed)
        assert bench.feed.connections() == {}


async def test_no_secret_is_ever_logged(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with running(tmp_path, token="dead") as bench:
            await until(lambda: bench.feed.stats.refused)
            (tmp_path / "token").write_text("good")
            socket = await bench.subscribed(0, {257, 513})
            await socket.close()
            await bench.subscribed(1, {257, 513})
        async with running(tmp_path, ws_url="ws://127.0.0.1:1") as bench:
            await until(lambda: bench.rng.ceilings)
    text = repr(logs)
    assert {"feed_refused", "feed_lost", "feed_unreachable", "feed_connected"} <= {entry["event"] for entry in logs}
    assert "key-of-mine" not in text
    assert "access_token=" not in text
    assert "'dead'" not in text
