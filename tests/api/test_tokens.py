"""Tokens: the file of hashes and what it survives, and who is let in over real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from fixture_types import Serve
from growing_day import GrowingDay
from structlog.testing import capture_logs

from atmand.api.guard import Bucket
from atmand.api.resources import check
from atmand.api.tokens import LOCAL, SCOPES, TOKENS, Scope, TokenError, Tokens, local_token
from atmand.errors import UsageError

DAY_NS = 24 * 3_600 * 10**9
SIGNAL = "/v1/signals/mood"
READS = ("/v1/status", "/metrics", "/", "/v1/stream?x=1", "/nothing")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def told() -> Iterator[list[Any]]:
    with capture_logs() as events:
        yield events


async def status_of(client: ClientSession, path: str, method: str = "GET", **more: Any) -> int:
    async with client.request(method, path, **more) as answer:
        if answer.status >= 400 and not path.startswith("/health"):
            check("failure", await answer.json())
        return answer.status


# The file.


def test_a_token_is_kept_as_a_hash_in_a_private_file_and_found_by_its_secret(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / TOKENS)
    token, secret = tokens.add("feed", "signal", 90 * DAY_NS)
    assert secret.startswith("atmand_") and len(secret) > 40
    assert (tmp_path / TOKENS).stat().st_mode & 0o777 == 0o600
    assert secret not in (tmp_path / TOKENS).read_text() and secret[7:] not in (tmp_path / TOKENS).read_text()
    assert tokens.find(secret) == token and not token.expired
    for wrong in ("", secret[:-1], secret + "x", token.sha256, token.id, "\ud800"):
        assert tokens.find(wrong) is None
    assert {path.name for path in tmp_path.iterdir()} == {TOKENS, f".{TOKENS}.lock"}


def test_another_process_makes_and_revokes_and_the_next_look_knows(tmp_path: Path) -> None:
    running, outside = Tokens(tmp_path / TOKENS), Tokens(tmp_path / TOKENS)
    _, first = outside.add("one", "read")
    assert running.find(first)
    _, second = outside.add("two", "operate")
    assert running.find(second) and running.find(first)
    outside.revoke("one")
    assert running.find(first) is None and running.find(second)
    outside.revoke(outside.all()[0].id)
    assert running.find(second) is None
    with pytest.raises(UsageError, match="known are none"):
        outside.revoke("two")


def test_a_name_is_used_once_and_parallel_makers_lose_nothing(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from atmand.api.tokens import Tokens; "
    code += "[Tokens(Path(sys.argv[1])).add(f'{sys.argv[2]}{n}', 'read') for n in range(10)]"
    makers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / TOKENS), name]) for name in "abc"]
    assert [maker.wait(60) for maker in makers] == [0, 0, 0]
    tokens = Tokens(tmp_path / TOKENS)
    assert len({token.id for token in tokens.all()}) == 30
    with pytest.raises(UsageError, match="there is one"):
        tokens.add("a1", "read")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 2, "tokens": []}', '{"schema": 1, "tokens": [{"id": "1"}]}', '{"schema": 1}'],
)
def test_a_damaged_file_lets_nobody_in_and_is_not_written_over(tmp_path: Path, text: str, told: list[Any]) -> None:
    tokens = Tokens(tmp_path / TOKENS)
    _, secret = tokens.add("one", "read")
    assert tokens.find(secret)
    (tmp_path / TOKENS).write_text(text)
    assert tokens.find(secret) is None and tokens.find(secret) is None
    assert [entry["event"] for entry in told] == ["tokens_loaded", "tokens_refused"]
    with pytest.raises(TokenError):
        tokens.add("two", "read")
    assert (tmp_path / TOKENS).read_text() == text


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    tokens = Tokens(tmp_path / TOKENS)
    _, secret = tokens.add("one", "operate")
    (tmp_path / TOKENS).chmod(mode)
    assert tokens.find(secret) is None
    with pytest.raises(TokenError, match="chmod 600"):
        tokens.all()


def test_the_token_of_this_machines_verbs_lives_as_long_as_the_daemon(tmp_path: Path) -> None:
    with local_token(tmp_path) as (token, path):
        assert path == tmp_path / LOCAL and path.stat().st_mode & 0o777 == 0o600
        secret = path.read_text().strip()
        assert Tokens(tmp_path / TOKENS, token).find(secret) is token
        assert (token.scope, token.actor) == ("operate", 1)
    assert not path.exists()
    with local_token(tmp_path) as (_, path):
        assert path.read_text().strip() != secret


# Who is let in.


@pytest.mark.parametrize("held", SCOPES)
@pytest.mark.parametrize("kept_open", [True, False])
async def test_a_scope_lets_do_what_it_covers(day: GrowingDay, serve: Serve, held: Scope, kept_open: bool) -> None:
    server = await serve(day, open_reads=kept_open)
    _, secret = day.tokens.add("one", held)
    reads = held in ("read", "write", "operate")
    expected = {
        ("GET", "/v1/status"): 200 if reads or kept_open else 403,
        ("POST", SIGNAL): 403 if held == "read" else 200,
        ("POST", "/v1/entries/off"): 200 if held == "operate" else 403,
        ("POST", "/v1/strategies/s/pause"): 200 if held == "operate" else 403,
    }
    async with ClientSession(server.url, headers=bearer(secret)) as client:
        for (method, path), status in expected.items():
            body = {"json": {"value": 1} if path == SIGNAL else {}} if method == "POST" else {}
            assert await status_of(client, path, method, **body) == status, path
    assert all(sender.name == "one" for _, sender in day.written)


async def test_without_a_token_only_reading_on_loopback_is_open(day: GrowingDay, serve: Serve) -> None:
    closed = await serve(day, open_reads=False)
    opened = await serve(day)
    async with ClientSession(closed.url) as client:
        assert [await status_of(client, path) for path in READS] == [401] * 5
        assert await status_of(client, "/health/live") == 200
        async with client.get("/v1/status") as answer:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    async with ClientSession(opened.url) as client:
        assert await status_of(client, "/v1/status") == 200
        assert await status_of(client, SIGNAL, "POST", json={"value": 1}) == 401
        assert await status_of(client, "/v1/exit", "POST", json={"instrument": "x"}) == 401
        for header in ("X-Forwarded-For", "Forwarded"):
            assert await status_of(client, "/v1/status", headers={header: "8.8.8.8"}) == 401
        assert await status_of(client, "/v1/status", headers=bearer("wrong")) == 401
        assert await status_of(client, "/v1/status", headers={"Authorization": "Basic eDp5"}) == 401
        assert await status_of(client, "/v1/status?token=atmand_x") == 400
    assert day.written == []


async def test_off_loopback_everything_but_health_needs_a_token_and_any_name_does(
    day: GrowingDay, serve: Serve
) -> None:
    server = await serve(day, host="0.0.0.0")
    _, secret = day.tokens.add("one", "read")
    async with ClientSession(f"http://127.0.0.1:{server.port}/", headers={"Host": "atmand.example"}) as client:
        assert [await status_of(client, path) for path in READS] == [401] * 5
        assert await status_of(client, "/health/ready") == 200
        assert await status_of(client, "/v1/status", headers=bearer(secret)) == 200


async def test_a_good_token_makes_up_for_a_proxys_name_and_not_for_a_foreign_script(
    client: ClientSession, day: GrowingDay
) -> None:
    _, secret = day.tokens.add("one", "operate")
    away = bearer(secret) | {"Host": "atmand.example"}
    assert await status_of(client, "/v1/status", headers=away) == 200
    assert await status_of(client, SIGNAL, "POST", json={"value": 1}, headers=away) == 200
    for mode in ("cors", "navigate"):
        foreign = away | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
        assert await status_of(client, SIGNAL, "POST", json={"value": 1}, headers=foreign) == 403


async def test_failures_are_counted_told_without_the_token_and_limited(
    client: ClientSession, day: GrowingDay, told: list[Any]
) -> None:
    token, good = day.tokens.add("one", "signal")
    _, old = day.tokens.add("old", "signal", 1)
    wrong = "atmand_" + "w" * 43
    codes = []
    for secret in (wrong, old, *[wrong] * 12):
        codes.append(await status_of(client, SIGNAL, "POST", json={"value": 1}, headers=bearer(secret)))
    assert codes == [401] * 10 + [429] * 4
    async with client.post(SIGNAL, json={"value": 1}) as answer:
        assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    day.seconds += 6.0
    assert await status_of(client, SIGNAL, "POST", json={"value": 1}) == 401
    # Whoever has a good token is not locked out by a flood from his address.
    assert await status_of(client, SIGNAL, "POST", json={"value": 1}, headers=bearer(good)) == 200
    failed = [entry for entry in told if entry["event"] == "api_auth_failed"]
    assert [entry["reason"] for entry in failed] == ["unknown", "expired", *["unknown"] * 8, "missing"]
    assert failed[0]["address"] == "127.0.0.1" and failed[0]["path"] == "/v1/signals/{name}"
    assert not any(secret in json.dumps(told, default=str) for secret in (wrong, old, good, token.sha256))
    text = await (await client.get("/metrics")).text()
    assert 'atmand_api_auth_failures_total{reason="unknown"} 13.0' in text
    assert 'atmand_api_auth_failures_total{reason="missing"} 2.0' in text
    assert 'atmand_api_writes_total{kind="signal"} 1.0' in text


@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        ([], None, 403),
        ([], "52.89.214.238", 403),  # anybody may write this header
        (["127.0.0.1"], "52.89.214.238", 200),
        (["127.0.0.1"], "::ffff:52.89.214.238", 200),
        (["127.0.0.1"], "52.89.214.238, 10.1.1.1", 403),  # what the client wrote stands before what the proxy adds
        (["127.0.0.1", "10.0.0.0/8"], "52.89.214.238, 10.1.1.1", 200),
        (["127.0.0.1"], "8.8.8.8", 403),
        (["127.0.0.1"], "nonsense", 403),
        (["127.0.0.1"], None, 403),
    ],
)
async def test_signals_come_from_the_addresses_that_the_settings_name(
    day: GrowingDay, serve: Serve, trusted: list[str], forwarded: str | None, status: int
) -> None:
    server = await serve(day, signal_sources=["52.89.214.238", "34.212.75.0/24"], trusted_proxies=trusted)
    _, secret = day.tokens.add("one", "signal")
    headers = bearer(secret) | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
    async with ClientSession(server.url) as client:
        assert await status_of(client, SIGNAL, "POST", json={"value": 1}, headers=headers) == status


def test_a_bucket_gives_so_many_at_once_then_one_every_so_often_and_keeps_few_names() -> None:
    now = [0.0]
    bucket = Bucket(3, 2.0, lambda: now[0])
    assert [bucket.take("a") for _ in range(5)] == [0, 0, 0, 2.0, 2.0]
    assert bucket.take("b") == 0
    now[0] = 2.0
    assert [bucket.take("a") for _ in range(2)] == [0, 2.0]
    now[0] = 100.0
    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 2.0]
    for number in range(2_000):
        bucket.take(str(number))
    assert bucket.take("a") == 0


def test_a_tokens_file_may_be_made_where_no_daemon_ran_yet(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "state" / TOKENS)
    assert tokens.all() == ()
    tokens.add("early", "signal")
    assert os.stat(tmp_path / "state").st_mode & 0o077 == 0
