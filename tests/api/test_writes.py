"""Writing over real sockets: bodies, keys, what is refused, and what reaches the door."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import ClientSession
from growing_day import GrowingDay
from structlog.testing import capture_logs

from atmand.api.door import KeyReusedError, NotWrittenError, Operation, Sender, Signal, UnknownNameError
from atmand.api.resources import check
from atmand.core.records import Command

MOOD = "/v1/signals/mood"
JSON = "application/json"


@pytest.fixture
def secret(day: GrowingDay) -> str:
    return day.tokens.add("sender", "operate")[1]


async def post(client: ClientSession, path: str, body: Any, secret: str | None = None, **headers: str) -> Any:
    """Post what is text or bytes as it is, and all else as JSON; returns (status, document, headers)."""
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    sent = {"Content-Type": JSON, **headers} | ({} if secret is None else {"Authorization": f"Bearer {secret}"})
    async with client.post(path, data=raw, headers=sent) as answer:
        document = await answer.json()
        if answer.status >= 400:
            check("failure", document)
        return answer.status, document, answer.headers


@pytest.mark.parametrize(
    ("body", "signal"),
    [
        ({"value": 1.5}, Signal("mood", 1.5)),
        ({"value": -3}, Signal("mood", -3.0)),
        ({"value": True}, Signal("mood", 1.0)),
        ({"value": False, "instrument": None}, Signal("mood", 0.0)),
        ({"value": 0, "instrument": "NSE:INFY", "valid_s": 90}, Signal("mood", 0.0, "NSE:INFY", 90.0)),
    ],
)
async def test_a_signal_reaches_the_door(
    client: ClientSession, day: GrowingDay, secret: str, body: Any, signal: Signal
) -> None:
    status, document, headers = await post(client, MOOD, body, secret)
    assert (status, document["sequence"]) == (200, day.sequence)
    assert document["market_time"] == "2026-07-06T11:42:08.000+05:30"
    assert "Idempotent-Replayed" not in headers
    actor = day.tokens.all()[0].actor
    assert day.written == [(signal, Sender(actor, "sender", None))]


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", JSON])
async def test_a_token_in_the_body_serves_for_signals_alone_and_goes_no_further(
    client: ClientSession, day: GrowingDay, secret: str, kind: str
) -> None:
    with capture_logs() as told:
        status, document, _ = await post(client, MOOD, {"token": secret, "value": 2}, **{"Content-Type": kind})
        assert status == 200
        status, _, _ = await post(client, "/v1/exit", {"token": secret, "trade": "1-1"})
        assert status == 401
    assert [write for write, _ in day.written] == [Signal("mood", 2.0)]
    assert secret not in json.dumps([told, document], default=str) + repr(day.written)


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ("", 400, "value"),
        ("{}", 400, "value"),
        ("nonsense", 400, "JSON"),
        ("[1]", 400, "object"),
        ("1", 400, "object"),
        (b"\xff\xfe", 400, "JSON"),
        ('{"value": NaN}', 400, "JSON"),
        ('{"value": Infinity}', 400, "JSON"),
        ('{"value": 1e999}', 400, ""),
        ('{"value": "1.5"}', 400, "value"),
        ('{"value": null}', 400, "value"),
        ('{"value": [1]}', 400, "value"),
        ('{"value": 1, "instrument": 7}', 400, "instrument"),
        ('{"value": 1, "instrument": ""}', 400, "instrument"),
        ('{"value": 1, "valid_s": 0}', 400, "valid_s"),
        ('{"value": 1, "valid_s": true}', 400, "valid_s"),
        ('{"value": 1, "valid_s": "60"}', 400, "valid_s"),
        ('{"value": 1, "id": ""}', 400, "id"),
        ('{"value": 1, "more": 2}', 400, "more"),
        (json.dumps({"value": 1, "id": "x" * 9_000}), 413, ""),
    ],
)
async def test_a_body_that_does_not_do_is_refused_by_its_key(
    client: ClientSession, day: GrowingDay, secret: str, body: str | bytes, status: int, named: str
) -> None:
    found, document, _ = await post(client, MOOD, body, secret)
    assert found == status, document
    assert named in json.dumps(document)
    assert day.written == []


async def test_a_refusal_repeats_nothing_that_may_be_secret(client: ClientSession, secret: str) -> None:
    for body in ({"value": secret}, {"value": 1, "token": secret, secret: 1}, {"value": 1, "id": [secret]}):
        status, document, _ = await post(client, MOOD, body, secret)
        assert status == 400
        assert secret not in json.dumps(document)


async def test_other_kinds_of_content_are_refused(client: ClientSession, secret: str) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "application/xml"):
        status, document, _ = await post(client, MOOD, '{"value": 1}', secret, **{"Content-Type": kind})
        assert status == 415 and "Content-Type" in document["error"]["remedy"]


async def test_a_key_comes_in_the_header_or_the_body_and_a_repeat_is_said_in_a_header(
    client: ClientSession, day: GrowingDay, secret: str
) -> None:
    first = await post(client, MOOD, {"value": 1, "id": "k1"}, secret)
    again = await post(client, MOOD, {"value": 1, "id": "k1"}, secret)
    assert (first[0], again[0]) == (200, 200) and first[1] == again[1]
    assert again[2]["Idempotent-Replayed"] == "true"
    await post(client, MOOD, {"value": 1, "id": "body"}, secret, **{"Idempotency-Key": "header"})
    assert [sender.key for _, sender in day.written] == ["k1", "k1", "header"]
    for key in ("", "x" * 201):
        assert (await post(client, MOOD, {"value": 1}, secret, **{"Idempotency-Key": key}))[0] == 400
    text = await (await client.get("/metrics")).text()
    assert 'atmand_api_writes_total{kind="signal"} 2.0' in text


@pytest.mark.parametrize(
    ("path", "body", "operation"),
    [
        ("/v1/strategies/rsi_macd/pause", "", Operation(Command.PAUSE_BOOK, strategy="rsi_macd")),
        ("/v1/strategies/rsi_macd/resume", "{}", Operation(Command.RESUME_BOOK, strategy="rsi_macd")),
        ("/v1/entries/on", {"id": "k"}, Operation(Command.ENTRIES_ON)),
        ("/v1/entries/off", "", Operation(Command.ENTRIES_OFF)),
        ("/v1/exit", {"trade": "1042-3"}, Operation(Command.EXIT_POSITION, trade="1042-3")),
        (
            "/v1/exit",
            {"instrument": "NSE:INFY", "strategy": "s"},
            Operation(Command.EXIT_POSITION, "s", "NSE:INFY"),
        ),
    ],
)
async def test_an_operators_command_reaches_the_door(
    client: ClientSession, day: GrowingDay, secret: str, path: str, body: Any, operation: Operation
) -> None:
    assert (await post(client, path, body, secret))[0] == 200
    assert [write for write, _ in day.written] == [operation]
    text = await (await client.get("/metrics")).text()
    assert 'atmand_api_writes_total{kind="command"} 1.0' in text


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/exit", {}, 400),
        ("/v1/exit", {"trade": "1-1", "instrument": "NSE:INFY"}, 400),
        ("/v1/exit", {"trade": "1-1", "all": True}, 400),
        ("/v1/entries/off", {"value": 1}, 400),
        ("/v1/entries/perhaps", {}, 404),
        ("/v1/strategies/rsi_macd/stop", {}, 404),
        ("/v1/signals/", {"value": 1}, 404),
        ("/v1/signals/mood/more", {"value": 1}, 404),
    ],
)
async def test_a_command_that_is_none_is_refused(
    client: ClientSession, day: GrowingDay, secret: str, path: str, body: Any, status: int
) -> None:
    assert (await post(client, path, body, secret))[0] == status
    assert day.written == []


async def test_reading_a_route_that_writes_is_refused_with_what_is_allowed(client: ClientSession) -> None:
    async with client.get(MOOD) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (UnknownNameError("signal x", "no strategy reads it", "known are mood"), 404, None),
        (KeyReusedError("Idempotency-Key", "it came before", "send a new key"), 409, None),
        (NotWrittenError("journal", "not yet written", "ask again"), 503, "2"),
    ],
)
async def test_what_the_door_refuses_is_answered_by_its_status(
    client: ClientSession, day: GrowingDay, secret: str, error: Any, status: int, retry: str | None
) -> None:
    day.refusing = error
    found, document, headers = await post(client, MOOD, {"value": 1}, secret)
    assert (found, headers.get("Retry-After")) == (status, retry)
    assert document["error"] == {"where": error.where, "what": error.what, "remedy": error.remedy}


async def test_one_sender_may_not_flood_the_journal(client: ClientSession, day: GrowingDay, secret: str) -> None:
    statuses = [(await post(client, MOOD, {"value": n}, secret))[0] for n in range(202)]
    assert statuses == [200] * 200 + [429] * 2
    day.seconds += 1.0
    assert (await post(client, MOOD, {"value": 1}, secret))[0] == 200
    assert len(day.written) == 201
