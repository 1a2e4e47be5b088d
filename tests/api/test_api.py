"""The API over real sockets: every route, what it refuses and how, and that a defect stays inside its answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession
from growing_day import GrowingDay
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from structlog.testing import capture_logs

from atmand.api.answers import BODY_LIMIT
from atmand.api.metrics import METRICS
from atmand.api.resources import SHAPES, check
from atmand.api.server import ApiError, ApiServer
from atmand.api.settings import ApiSettings
from atmand.errors import AtmandError, UsageError
from atmand.ledger.trades import Trade

RESOURCES = ("status", "positions", "orders", "trades", "equity", "params", "reload")


async def refused(client: ClientSession, path: str, status: int, method: str = "GET", **more: Any) -> dict[str, str]:
    """Ask for what must be refused; returns the explanation."""
    async with client.request(method, path, **more) as answer:
        document = await answer.json()
        assert answer.status == status, document
        check("failure", document)
        return dict(document["error"]) | {"allow": answer.headers.get("Allow", "")}


# Answers.


@pytest.mark.parametrize("resource", RESOURCES)
async def test_every_resource_has_its_shape_and_names_its_sequence(
    client: ClientSession, day: GrowingDay, resource: str
) -> None:
    async with client.get(f"/v1/{resource}") as answer:
        document = await answer.json()
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert answer.headers["Cache-Control"] == "no-store"
    check(resource, document)
    assert document["sequence"] == day.sequence
    assert document["market_time"] == "2026-07-06T11:42:08.000+05:30"


async def test_trades_come_in_pages_that_join_without_a_gap(client: ClientSession, day: GrowingDay) -> None:
    whole = (await (await client.get("/v1/trades?limit=500")).json())["trades"]
    found: list[Any] = []
    path = "/v1/trades?limit=7"
    while path:
        page = await (await client.get(path)).json()
        found += page["trades"]
        path = f"/v1/trades?limit=7&before={page['next']}" if page["next"] else ""
    assert found == whole and len(found) > 100
    chosen = await (await client.get("/v1/trades?past=false&strategy=ema_trend")).json()
    assert {(trade["past"], trade["strategy"]) for trade in chosen["trades"]} == {(False, "ema_trend")}


async def test_a_trade_is_told_with_its_fills(client: ClientSession) -> None:
    newest = (await (await client.get("/v1/trades?limit=1")).json())["trades"][0]
    async with client.get(f"/v1/trades/{newest['trade_id']}") as answer:
        story = await answer.json()
    check("trade", story)
    assert story["trade"] == newest
    assert [fill["purpose"] for fill in story["fills"]] == ["entry", "exit"]


async def test_equity_gives_as_many_points_as_were_asked_for(client: ClientSession) -> None:
    document = await (await client.get("/v1/equity?points=50")).json()
    check("equity", document)
    assert {len(series["points"]) <= 50 for series in document["series"]} == {True}
    assert document["series"][0]["points"][-1][2] == 0


@pytest.mark.parametrize("name", ["live", "startup", "ready", "trading"])
async def test_health_gives_its_reasons(client: ClientSession, day: GrowingDay, name: str) -> None:
    async with client.get(f"/health/{name}") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok", "reasons": []})
    day.unwell[name] = ["the feed is lost"]
    async with client.get(f"/health/{name}") as answer:
        document = await answer.json()
        assert (answer.status, document) == (503, {"status": "unwell", "reasons": ["the feed is lost"]})
        check("health", document)


async def test_head_is_answered_like_get_without_a_body(client: ClientSession) -> None:
    async with client.head("/health/live") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_large_answers_are_compressed_for_those_who_ask(client: ClientSession) -> None:
    async with client.get("/v1/equity", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        check("equity", await answer.json())


# Metrics.


async def test_metrics_are_complete_and_parse(client: ClientSession, day: GrowingDay) -> None:
    day.unwell["trading"] = ["entries are off"]
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {metric.name for metric in METRICS} <= families.keys()
    assert families.keys() - {metric.name for metric in METRICS} <= {
        name for name in families if name.startswith("process_")
    }
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["atmand_records_total",] == day.sequence
    assert samples["atmand_health", "trading"] == 0 and samples["atmand_health", "ready"] == 1
    assert samples["atmand_loop_lag_seconds_bucket", "0.005"] == 98
    assert samples["atmand_loop_lag_seconds_count",] == 100
    assert samples["atmand_strategy_equity_paise", "rsi_macd"] == 100_140_000
    assert samples["atmand_phase", "running"] == 1 and samples["atmand_phase", "starting"] == 0
    assert families["atmand_apply_seconds"].samples == []


async def test_requests_are_counted_by_their_code(client: ClientSession) -> None:
    for _ in range(3):
        await client.get("/nothing")
    text = await (await client.get("/metrics")).text()
    assert 'atmand_api_requests_total{code="404"} 3.0' in text


# What is refused.


@pytest.mark.parametrize("path", ["/", "/metrics", "/health/live", "/v1/status", "/v1/trades/1-1", "/v1/stream"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_than_get_is_refused_with_those_allowed(
    client: ClientSession, path: str, method: str
) -> None:
    error = await refused(client, path, 405, method)
    assert "GET" in error["allow"] and method in error["what"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/", "/v2/status", "/health/", "/health/well", "/static/x/page.js", "/..%2f..%2fetc"]
)
async def test_an_unknown_path_is_not_found(client: ClientSession, path: str) -> None:
    assert (await refused(client, path, 404))["remedy"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("trades?limit=abc", "limit"),
        ("trades?limit=0", "limit"),
        ("trades?limit=501", "limit"),
        ("trades?limit=1e3", "limit"),
        (f"trades?limit={10**30}", "limit"),
        ("trades?past=perhaps", "past"),
        ("trades?before=", "before"),
        (f"trades?strategy={'x' * 65}", "strategy"),
        ("trades?order=asc", "order"),
        ("equity?points=5001", "points"),
        ("equity?points=-1", "points"),
        ("status?x=1", "x"),
        ("stream?since=3", "since"),
    ],
)
async def test_a_bad_query_is_refused_by_the_name_of_its_parameter(
    client: ClientSession, query: str, named: str
) -> None:
    error = await refused(client, f"/v1/{query}", 400)
    assert error["where"].endswith(f": {named}") and error["remedy"].startswith("its parameters: ")


@pytest.mark.parametrize("trade_id", ["0-0", "x", "..", "%00", "%27%20OR%201=1", "x" * 2_000])
async def test_an_unknown_trade_is_not_found(client: ClientSession, trade_id: str) -> None:
    await refused(client, f"/v1/trades/{trade_id}", 404)


async def test_a_large_body_is_refused_whether_it_says_so_or_not(client: ClientSession) -> None:
    await refused(client, "/v1/status", 413, data=b"x" * (BODY_LIMIT + 1))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 1024 + 1):
            yield b"x" * 1024

    await refused(client, "/v1/status", 413, "POST", data=chunks())
    async with client.get("/v1/status", data=b"x" * 100) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8464", 200),
        ("127.0.0.1", 200),
        ("localhost:9000", 200),
        ("LOCALHOST", 200),
        ("[::1]:1", 200),
        ("evil.example", 403),
        ("evil.example:8464", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("evil.example@127.0.0.1", 403),
        ("10.0.0.1", 403),
        ("0.0.0.0", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_only_names_of_the_loopback_address_are_answered(client: ClientSession, host: str, status: int) -> None:
    for path in ("/v1/status", "/", "/nothing"):
        async with client.get(path, headers={"Host": host}) as answer:
            assert answer.status == (404 if status == 200 and path == "/nothing" else status)


async def test_a_script_of_another_site_is_refused_and_a_link_is_not(client: ClientSession) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    await refused(client, "/v1/stream", 403, headers=foreign)
    async with client.get("/", headers=foreign | {"Sec-Fetch-Mode": "navigate"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/v1/status", "/nothing", "/metrics"])
async def test_every_answer_carries_the_security_headers(client: ClientSession, path: str) -> None:
    async with client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Server" not in answer.headers


async def test_a_torn_request_hurts_nobody_else(client: ClientSession, server: ApiServer) -> None:
    for torn in (b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET " + b"/" * 20_000, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(torn)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
    async with client.get("/health/live") as answer:
        assert answer.status == 200


# Failures inside.


async def test_a_defect_is_logged_and_shows_nothing_of_the_inside(client: ClientSession, day: GrowingDay) -> None:
    day.failing.add("status")
    with capture_logs() as events:
        error = await refused(client, "/v1/status", 500)
    assert "defect in status" not in json.dumps(error)
    assert [(event["event"], event["path"]) for event in events] == [("api_failed", "/v1/status")]
    day.failing.clear()
    async with client.get("/v1/status") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(AtmandError("ledger.db", "the database is locked", "end the other process"), 503), (UsageError("x", "y"), 400)],
)
async def test_what_the_daemon_refuses_keeps_its_words(
    client: ClientSession, day: GrowingDay, monkeypatch: pytest.MonkeyPatch, error: AtmandError, status: int
) -> None:
    async def refuse(**asked: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(day, "trades", refuse)
    told = await refused(client, "/v1/trades", status)
    assert (told["where"], told["what"], told["remedy"]) == (error.where, error.what, error.remedy)


# The page's files.


async def test_files_are_kept_for_ever_under_a_name_of_their_version(client: ClientSession) -> None:
    async with client.get("/") as answer:
        page = await answer.text()
        assert answer.headers["Cache-Control"] == "no-cache"
        tag = answer.headers["ETag"]
    async with client.get("/", headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    digest = page.split("/static/")[1].split("/")[0]
    kinds = {
        "page.js": "text/javascript",
        "page.css": "text/css",
        "favicon.svg": "image/svg+xml",
        "plotly.min.js": "text/javascript",
    }
    for name, kind in kinds.items():
        async with client.get(f"/static/{digest}/{name}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["Content-Encoding"] == "gzip"
            packed, tag = await answer.read(), answer.headers["ETag"]
        async with client.get(f"/static/{digest}/{name}", headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.read() == packed
        async with client.get(f"/static/{digest}/{name}", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
    await refused(client, f"/static/{digest}/index.html", 404)
    await refused(client, f"/static/{digest}/..%2f..%2fsettings.py", 404)


# Start and stop.


async def test_a_port_in_use_is_named_with_its_remedy(server: ApiServer, day: GrowingDay) -> None:
    second = ApiServer(ApiSettings(port=server.port), day, day.tokens, day.submit)
    with pytest.raises(ApiError, match=rf"port {server.port} is in use; --port 0 .*\[api\] port"):
        await second.start()
    await second.stop()


async def test_a_stopped_server_frees_its_port_and_starts_again(day: GrowingDay) -> None:
    first = ApiServer(ApiSettings(port=0), day, day.tokens, day.submit)
    port = await first.start()
    assert first.url == f"http://127.0.0.1:{port}/"
    await first.stop()
    await first.stop()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
    again = ApiServer(ApiSettings(port=port), day, day.tokens, day.submit)
    assert await again.start() == port
    await again.stop()


@pytest.mark.parametrize(
    "settings", [{"host": "example.com"}, {"host": ""}, {"signal_sources": ["10.0.0.1/8"]}, {"trusted_proxies": ["x"]}]
)
def test_addresses_that_are_none_are_refused_with_a_remedy(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        ApiSettings.model_validate(settings)
    assert refusal.value.errors()[0]["ctx"]["remedy"]
    assert ApiSettings(host="localhost").host == "127.0.0.1"


# Shapes.


def test_a_trade_has_the_keys_that_every_verb_prints() -> None:
    printed = Trade("1-1", "s", "a", "MIS", "NSE:EQ:X", "BUY", 1, 0, 100, 1, 100, 5, "stop", "s1", "ab").to_json()
    check(
        "trades",
        {"sequence": 1, "market_time": printed["exit_time"], "trades": [printed | {"past": True}], "next": None},
    )


@pytest.mark.parametrize(
    ("resource", "change"),
    [
        ("status", {"phase": "asleep"}),
        ("status", {"sequence": -1}),
        ("status", {"market_time": "2026-07-06T11:42:08"}),
        ("status", {"more": 1}),
        ("positions", {"positions": [{"strategy": "x"}]}),
        ("params", {"source": "elsewhere"}),
    ],
)
def test_a_wrong_answer_has_not_its_shape(day: GrowingDay, resource: str, change: dict[str, Any]) -> None:
    right = getattr(day, resource)()
    check(resource, right)
    with pytest.raises(ValidationError):
        check(resource, right | change)


async def test_numpy_numbers_are_written_as_numbers(
    client: ClientSession, day: GrowingDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = day.positions()
    right["positions"][0] |= {"quantity": np.int64(78), "last_price": np.float64(1_274.5), "stop_price": float("nan")}
    monkeypatch.setattr(day, "positions", lambda: right)
    document = await (await client.get("/v1/positions")).json()
    check("positions", document)
    first = document["positions"][0]
    assert (first["quantity"], first["last_price"], first["stop_price"]) == (78, 1_274.5, None)


def test_every_shape_can_be_published_as_json_schema() -> None:
    assert all(model.model_json_schema()["title"] for model in SHAPES.values())
