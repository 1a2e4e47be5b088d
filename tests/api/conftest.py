"""A real API server over a growing day, and pages of it in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from fixture_types import OpenPage, Serve
from growing_day import GrowingDay
from playwright.async_api import Browser, Page

from atmand.api.server import ApiServer
from atmand.api.settings import ApiSettings
from atmand.api.tokens import TOKENS, Tokens


@pytest.fixture
def day(tmp_path: Path) -> GrowingDay:
    return GrowingDay(tokens=Tokens(tmp_path / TOKENS))


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers, with news ten times a second; what still runs at the end is stopped."""
    servers: list[ApiServer] = []

    async def serve_one(day: GrowingDay, port: int = 0, **settings: Any) -> ApiServer:
        chosen = ApiSettings(port=port, **settings)
        servers.append(ApiServer(chosen, day, day.tokens, day.submit, news_every_s=0.1, clock=lambda: day.seconds))
        await servers[-1].start()
        return servers[-1]

    yield serve_one
    for server in servers:
        await server.stop()


@pytest.fixture
async def server(day: GrowingDay, serve: Serve) -> ApiServer:
    return await serve(day)


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[ClientSession]:
    async with ClientSession(server.url) as session:
        yield session


@pytest.fixture
async def open_page(chromium: Browser) -> AsyncIterator[OpenPage]:
    """Opens a page by its address; at the end no request may have left this machine, and no error been logged.

    `console_errors=False` is for a test that takes the server away, which a browser logs.
    """
    asked: list[str] = []
    errors: list[str] = []

    async def open_one(url: str, *, console_errors: bool = True, width: int = 1280, dark: bool = False) -> Page:
        context = await chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        page = await context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        if console_errors:
            page.on("console", lambda message: errors.append(message.text) if message.type != "log" else None)
        await page.goto(url)
        return page

    yield open_one
    assert errors == []
    assert asked
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:"))] == []
