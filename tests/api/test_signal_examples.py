"""The examples of docs/signals.md, sent as they are written to a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from aiohttp import ClientSession
from growing_day import GrowingDay

from atmand.api.door import Signal
from atmand.api.server import ApiServer
from atmand.api.settings import ApiSettings

PAGE = (Path(__file__).parents[2] / "docs" / "signals.md").read_text("utf-8")
PLACEHOLDERS = {
    "plot_0": "0.4", "exchange": "NSE", "ticker": "INFY", "interval": "15", "timenow": "2026-07-06T04:12:00Z",
}  # fmt: skip


def example(title: str, language: str) -> str:
    """Return the first block of a language under a heading."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return str(re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[0])


@pytest.fixture
def secret(day: GrowingDay) -> str:
    return day.tokens.add("sender", "signal")[1]


async def run(*words: str, **environment: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *words, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, out + errors
    return out.decode()


async def test_the_alert_of_tradingview(client: ClientSession, day: GrowingDay, secret: str) -> None:
    message = example("TradingView", "json").replace("atmand_YOUR_TOKEN", secret)
    message = re.sub(r"\{\{(\w+)\}\}", lambda found: PLACEHOLDERS[found[1]], message)
    for kind in ("application/json", "text/plain; charset=utf-8"):
        async with client.post("/v1/signals/mood", data=message, headers={"Content-Type": kind}) as answer:
            assert answer.status == 200, await answer.text()
    assert {write for write, _ in day.written} == {Signal("mood", 0.4, "NSE:INFY", 900.0)}
    assert {sender.key for _, sender in day.written} == {"INFY-15-2026-07-06T04:12:00Z"}


def test_the_settings_for_tradingview() -> None:
    settings = ApiSettings.model_validate(tomllib.loads(example("TradingView", "toml"))["api"])
    assert settings.trusted_proxies == ("127.0.0.1/32",) and len(settings.signal_sources) == 5


async def test_the_python_script(server: ApiServer, day: GrowingDay, secret: str, tmp_path: Path) -> None:
    script = tmp_path / "send.py"
    script.write_text(example("A Python script", "python"))
    url = server.url.rstrip("/")
    assert await run(sys.executable, str(script), ATMAND_URL=url, ATMAND_TOKEN=secret) == f"{day.sequence}\n"
    assert [write for write, _ in day.written] == [Signal("mood", 0.4, "NSE:INFY", 900.0)]


async def test_the_curl_command(server: ApiServer, day: GrowingDay, secret: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not there")
    command = example("curl", "sh").replace("http://127.0.0.1:8464", server.url.rstrip("/"))
    answer = json.loads(await run("sh", "-c", command, ATMAND_TOKEN=secret))
    assert answer["sequence"] == day.sequence
    (sent,) = day.written
    assert sent[0] == Signal("mood", 0.4, "NSE:INFY", 900.0) and sent[1].key == "mood-2026-07-06-0942"
