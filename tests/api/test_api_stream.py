"""Server-sent events: one message for all, only while somebody listens, and no listener that holds the others up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import defaultdict
from typing import Any

from aiohttp import ClientResponse, ClientSession
from growing_day import GrowingDay
from structlog.testing import capture_logs

from atmand.api.resources import check
from atmand.api.server import ApiServer

Event = tuple[str, Any]


async def next_event(answer: ClientResponse) -> Event:
    """Return the next event; skips comments and the retry line."""
    name = ""
    while True:
        line = (await asyncio.wait_for(answer.content.readuntil(b"\n"), 10)).decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))


async def wait_for(answer: ClientResponse, name: str) -> Any:
    while True:
        event, data = await next_event(answer)
        if event == name:
            return data


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_listener_gets_status_then_what_is_new(
    client: ClientSession, day: GrowingDay, server: ApiServer
) -> None:
    async with client.get("/v1/stream") as answer:
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readline() == b"retry: 2000\n"
        news = await wait_for(answer, "status")
        check("status", news["status"])
        check("positions", {"sequence": 1, "market_time": day.status()["market_time"], "positions": news["positions"]})
        assert news["params"] == {"seq": 3, "refused": None}
        assert news["health"] == {"live": [], "startup": [], "ready": [], "trading": []}
        old = await wait_for(answer, "trades")
        check("trades", old)
        day.advance(2, trade=True)
        events: defaultdict[str, list[Any]] = defaultdict(list)
        while "trades" not in events:
            name, data = await next_event(answer)
            events[name].append(data)
        (trade,) = events["trades"][0]["trades"]
        assert trade["trade_id"] not in {known["trade_id"] for known in old["trades"]}
        check("equity", events["equity"][0])
        assert {(one["name"], len(one["points"])) for one in events["equity"][0]["series"]} == {
            ("paper", 1),
            ("rsi_macd", 1),
            ("ema_trend", 1),
        }
        assert events["equity"][0]["series"][0]["points"][0][1] == day.status()["accounts"][0]["equity_paise"]


async def test_all_listeners_get_the_same_bytes(client: ClientSession, day: GrowingDay) -> None:
    async with client.get("/v1/stream") as one, client.get("/v1/stream") as other:
        for answer in (one, other):
            await wait_for(answer, "status")
        await wait_for(one, "trades")
        day.advance(3, trade=True)
        first, second = [await wait_for(answer, "trades") for answer in (one, other)]
    assert first == second
    assert [trade["past"] for trade in first["trades"]] == [False]


async def test_nothing_is_made_while_nobody_listens(client: ClientSession, day: GrowingDay, server: ApiServer) -> None:
    asked = []
    status = day.status
    day.status = lambda: asked.append(1) or status()  # type: ignore[method-assign, func-returns-value]
    async with client.get("/v1/stream") as answer:
        await wait_for(answer, "status")
        assert server.streams == 1
    await until(lambda: server.streams == 0)
    await asyncio.sleep(0.15)
    count = len(asked)
    await asyncio.sleep(0.3)
    assert len(asked) == count > 0


async def test_a_listener_that_does_not_read_is_dropped_and_the_others_go_on(
    day: GrowingDay, client: ClientSession, server: ApiServer
) -> None:
    day.padding = 1_000_000
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, ("127.0.0.1", server.port))
    with capture_logs() as events:
        await loop.sock_sendall(slow, b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: server.streams == 1)
        await until(lambda: server.streams == 0)
    assert [event["event"] for event in events] == ["api_stream_dropped"]
    day.padding = 0
    async with client.get("/v1/stream") as answer:
        await wait_for(answer, "status")
    slow.close()


async def test_one_listener_too_many_is_sent_away(client: ClientSession, server: ApiServer) -> None:
    answers = [await client.get("/v1/stream") for _ in range(32)]
    async with client.get("/v1/stream") as refused:
        document = await refused.json()
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        check("failure", document)
    answers.pop().close()
    await until(lambda: server.streams == 31)
    async with client.get("/v1/stream") as answer:
        await wait_for(answer, "status")
    for one in answers:
        one.close()


async def test_a_defect_in_the_news_is_said_once_and_passes(client: ClientSession, day: GrowingDay) -> None:
    day.failing.add("params")
    with capture_logs() as events:
        async with client.get("/v1/stream") as answer:
            await asyncio.sleep(0.5)
            day.failing.clear()
            await wait_for(answer, "status")
    assert [event["event"] for event in events] == ["api_failed"]


async def test_a_ledger_that_fails_does_not_silence_the_status(client: ClientSession, day: GrowingDay) -> None:
    day.failing.add("trades")
    with capture_logs() as events:
        async with client.get("/v1/stream") as answer:
            for _ in range(3):
                await wait_for(answer, "status")
            day.failing.clear()
            await wait_for(answer, "trades")
    assert [event["event"] for event in events] == ["api_failed"]


async def test_stopping_ends_the_streams(client: ClientSession, server: ApiServer) -> None:
    async with client.get("/v1/stream") as answer:
        await wait_for(answer, "status")
        await asyncio.wait_for(server.stop(), 10)
        assert (await answer.content.read())[-2:] in (b"\n\n", b"")
        assert answer.content.at_eof()
