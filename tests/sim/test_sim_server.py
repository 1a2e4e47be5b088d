"""The server over real sockets: data, control and grants, REST, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json

import aiohttp
import pytest
from sim_running import INFY, NIFTY, number, packets, receive, receive_frame, running

from atmand.market.sessions import IST, ns

DAY = dt.date(2026, 7, 6)
SECOND = 1_000_000_000
FULL_INFY = json.dumps({"a": "mode", "v": ["full", [INFY, NIFTY]]})


@pytest.mark.parametrize("query", [{"access_token": "stale"}, {"api_key": "other"}])
async def test_a_bad_token_fails_the_upgrade_with_403(query: dict[str, str]) -> None:
    async with running() as sim:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await sim.data(**query)
        assert refusal.value.status == 403


async def test_bad_requests_are_answered_by_an_error_text_and_the_connection_lives() -> None:
    async with running(speed=60) as sim, sim.data() as socket:
        assert (await receive(socket, "instruments_meta"))["data"]["count"] == 104
        for text in ("not json", '{"a": "mode", "v": ["wrong", [408065]]}', '{"a": "dance"}'):
            await socket.send_str(text)
            assert (await receive(socket, "error"))["data"]
        await socket.send_bytes(b"\x00\x01")
        await socket.send_str(json.dumps({"a": "subscribe", "v": [1, INFY]}))
        data = await receive_frame(socket)
        assert [number(packet, 0) for packet in packets(data)] == [INFY]


async def test_a_message_of_ten_megabytes_ends_that_connection_only() -> None:
    async with running(speed=60) as sim, sim.data() as other:
        async with sim.data() as socket:
            await receive(socket, "instruments_meta")
            with contextlib.suppress(ConnectionError):
                await socket.send_str("x" * 10_000_000)
            async with asyncio.timeout(20):
                while not socket.closed:
                    await socket.receive()
        await other.send_str(FULL_INFY)
        assert packets(await receive_frame(other))


async def test_an_idle_connection_gets_heartbeats_and_pings_are_answered() -> None:
    async with running(parent_control=True) as sim, sim.data(autoping=False) as socket:
        await receive(socket, "instruments_meta")
        await socket.ping(b"2500")
        async with asyncio.timeout(20):
            pong, heartbeat = await socket.receive(), await socket.receive()
        assert (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"2500")
        assert (heartbeat.type, heartbeat.data) == (aiohttp.WSMsgType.BINARY, b"\x00")


async def test_the_control_socket_wants_its_own_token() -> None:
    async with running() as sim:
        for token in ("", "wrong", sim.settings.access_token.get_secret_value()):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await sim.control(token)
            assert refusal.value.status == 403


async def test_market_time_never_passes_an_unapplied_grant_and_frames_are_counted() -> None:
    fields = {"parent_control": True, "quote_per_second": 1000}
    async with running(**fields) as sim, sim.control() as control, sim.data() as socket:
        anchor = await receive(control, "anchor")
        assert anchor["market_time_ns"] == ns(DAY, "09:15") - SECOND
        assert (anchor["mode"], anchor["session"], anchor["bar_path"]) == ("granted", "2026-07-06", False)
        await receive(socket, "instruments_meta")
        await socket.send_str(FULL_INFY)
        # Served in order on one socket: when the error is back, the subscription has been taken.
        await socket.send_str("?")
        await receive(socket, "error")
        port = str(socket.get_extra_info("sockname")[1])
        await control.send_json({"type": "granted"})
        for step in range(20):
            grant = await receive(control, "grant")
            assert grant["t"] == ns(DAY, "09:15") + step * SECOND
            assert grant["frames"] == {port: step + 1}
            data = await receive_frame(socket)
            assert (
                max(number(packet, 60 if len(packet) == 184 else 28) for packet in packets(data)) * SECOND == grant["t"]
            )
            assert (await sim.get("/quote/ltp", i="NSE:INFY"))[0] == 200
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await control.receive()
            await control.send_json({"type": "applied", "t": grant["t"]})


async def test_two_granted_runs_send_the_same_bytes() -> None:
    async def run() -> list[bytes]:
        async with running(parent_control=True, seed=3) as sim, sim.control() as control, sim.data() as socket:
            await socket.send_str(FULL_INFY)
            await socket.send_str("?")
            await receive(socket, "error")
            await control.send_json({"type": "granted"})
            sent = []
            while len(sent) < 60:
                grant = await receive(control, "grant")
                sent.append(await receive_frame(socket))
                await control.send_json({"type": "applied", "t": grant["t"]})
            return sent

    assert await run() == await run()


async def test_an_embedded_exchange_ends_with_its_control_client() -> None:
    async with running(parent_control=True) as sim, sim.data() as socket:
        async with sim.control() as control:
            await control.send_json({"type": "granted"})
            await receive(control, "grant")
        async with asyncio.timeout(20):
            async for message in socket:
                assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


async def test_a_stand_alone_exchange_runs_free_when_its_control_client_leaves() -> None:
    async with running(speed=600) as sim, sim.data() as socket:
        await socket.send_str(FULL_INFY)
        async with sim.control() as control:
            assert (await receive(control, "anchor"))["mode"] == "free"
            await control.send_json({"type": "granted"})
            await receive(control, "grant")
        for _ in range(20):
            assert packets(await receive_frame(socket))


async def test_a_cut_drops_data_sockets_and_refuses_new_ones_until_its_market_time_is_over() -> None:
    async with running(parent_control=True, speed=600) as sim, sim.control() as control, sim.data() as socket:
        await receive(control, "anchor")
        await control.send_json({"type": "cut", "market_seconds": 30})
        async with asyncio.timeout(20):
            async for _ in socket:
                pass
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await sim.data()
        assert refusal.value.status == 503
        await control.send_json({"type": "granted"})
        while (grant := await receive(control, "grant"))["t"] < ns(DAY, "09:15:30"):
            assert grant["frames"] == {}
            await control.send_json({"type": "applied", "t": grant["t"]})
        async with sim.data() as again:
            await receive(again, "instruments_meta")


async def test_pause_speed_text_and_stop_are_obeyed() -> None:
    async with running(parent_control=True) as sim, sim.control() as control, sim.data() as socket:
        await receive(control, "anchor")
        await control.send_json({"type": "text", "data": {"type": "order", "data": {"order_id": "7"}}})
        assert (await receive(socket, "order"))["data"] == {"order_id": "7"}
        await control.send_json({"type": "speed", "value": 500})
        await control.send_json({"type": "pause"})
        await control.send_json({"type": "granted"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await control.receive()
        await control.send_json({"type": "resume"})
        assert (await receive(control, "grant"))["t"] == ns(DAY, "09:15")
        await control.send_json({"type": "stop"})
        async with asyncio.timeout(20):
            async for _ in control:
                pass


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "[]",
        "{}",
        '{"type": "speed", "value": -1}',
        '{"type": "speed", "value": true}',
        '{"type": "speed", "value": NaN}',
        '{"type": "cut"}',
        '{"type": "applied", "t": 1}',
    ],
)
async def test_a_bad_command_is_answered_by_an_error(text: str) -> None:
    async with running(parent_control=True) as sim, sim.control() as control:
        await receive(control, "anchor")
        await control.send_str(text)
        assert (await receive(control, "error"))["data"]


async def test_only_one_client_takes_the_grants_and_only_granted_time_is_applied() -> None:
    async with running(parent_control=True) as sim, sim.control() as control, sim.control() as other:
        await control.send_json({"type": "granted"})
        grant = await receive(control, "grant")
        await other.send_json({"type": "granted"})
        assert "another client" in (await receive(other, "error"))["data"]
        await control.send_json({"type": "applied", "t": grant["t"] + SECOND})
        assert "granted" in (await receive(control, "error"))["data"]


async def test_a_login_proves_the_secret_and_a_logout_ends_the_token() -> None:
    async with running(calls_per_second=100) as sim:
        token = {"api_key": "sim_api_key", "access_token": "sim_access_token"}
        async with sim.http.delete(sim.url + "/session/token", params=token) as answer:
            assert await answer.json() == {"status": "success", "data": True}
        status, body = await sim.get("/user/profile")
        assert (status, body["error_type"], body["data"]) == (403, "TokenException", None)
        form = {"api_key": "sim_api_key", "request_token": "sim_request_token", "checksum": "0" * 64}
        async with sim.http.post(sim.url + "/session/token", data=form) as answer:
            assert (answer.status, (await answer.json())["error_type"]) == (403, "TokenException")
        form["checksum"] = hashlib.sha256(b"sim_api_keysim_request_tokensim_api_secret").hexdigest()
        async with sim.http.post(sim.url + "/session/token", data=form) as answer:
            assert (await answer.json())["data"]["access_token"] == "sim_access_token"
        assert (await sim.get("/user/profile"))[0] == 200


async def test_candles_reach_to_the_granted_second_and_show_nothing_of_the_future() -> None:
    start = dt.datetime(2026, 7, 6, 11, 30, 30, tzinfo=IST)
    async with running(parent_control=True, start=start, historical_per_second=100) as sim:
        path = f"/instruments/historical/{INFY}"
        span = {"from": "2026-07-03 15:28:00", "to": "2026-07-06 15:30:00"}
        minutes = (await sim.get(f"{path}/minute", **span))[1]["data"]["candles"]
        assert [row[0] for row in minutes[:3]] == [
            "2026-07-03T15:28:00+0530",
            "2026-07-03T15:29:00+0530",
            "2026-07-06T09:15:00+0530",
        ]
        assert minutes[-1][0] == "2026-07-06T11:30:00+0530"
        today = minutes[2:]
        day = (await sim.get(f"{path}/day", **span, oi=1))[1]["data"]["candles"][-1]
        assert day == [
            "2026-07-06T00:00:00+0530",
            today[0][1],
            max(row[2] for row in today),
            min(row[3] for row in today),
            today[-1][4],
            sum(row[5] for row in today),
            0,
        ]
        hours = (await sim.get(f"{path}/60minute", **span))[1]["data"]["candles"]
        assert [row[0][11:16] for row in hours[-3:]] == ["09:15", "10:15", "11:15"]
        finished = (await sim.get(f"{path}/minute", **span | {"from": "2026-07-06 11:29:00"}))[1]["data"]["candles"]
        assert finished[0][5] > 0


async def test_before_the_opening_todays_candles_are_not_there() -> None:
    async with running(parent_control=True, historical_per_second=100) as sim:
        for interval in ("minute", "day", "60minute"):
            span = {"from": "2026-07-06 00:00:00", "to": "2026-07-07 00:00:00"}
            assert (await sim.get(f"/instruments/historical/{INFY}/{interval}", **span))[1]["data"]["candles"] == []


@pytest.mark.parametrize(
    ("path", "query", "status", "kind"),
    [
        (f"/instruments/historical/{INFY}/fortnight", {"from": "2026-07-01", "to": "2026-07-02"}, 400, "Input"),
        ("/instruments/historical/77/minute", {"from": "2026-07-01", "to": "2026-07-02"}, 400, "Input"),
        (f"/instruments/historical/{INFY}/minute", {"from": "x", "to": "2026-07-02"}, 400, "Input"),
        (f"/instruments/historical/{INFY}/minute", {"from": "2026-07-03", "to": "2026-07-02"}, 400, "Input"),
        (f"/instruments/historical/{INFY}/minute", {"from": "2025-07-03", "to": "2026-07-02"}, 400, "Input"),
        ("/instruments/NYSE", {}, 400, "Input"),
        ("/quote", {}, 400, "Input"),
        ("/positions/yesterday", {}, 404, "General"),
    ],
)
async def test_a_bad_call_gets_the_brokers_error(path: str, query: dict[str, str], status: int, kind: str) -> None:
    async with running(parent_control=True) as sim:
        answer_status, body = await sim.get(path, **query)
        assert answer_status == status
        assert body["status"] == "error"
        assert body["error_type"] == f"{kind}Exception"


async def test_a_call_too_many_is_answered_429() -> None:
    async with running(parent_control=True, historical_per_second=0.001) as sim:
        span = {"from": "2026-07-03 15:29:00", "to": "2026-07-03 15:30:00"}
        answers = [await sim.get(f"/instruments/historical/{INFY}/minute", **span) for _ in range(2)]
        assert [status for status, _ in answers] == [200, 429]
        assert answers[1][1]["message"] == "Too many requests"
