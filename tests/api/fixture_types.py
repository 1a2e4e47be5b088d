"""What the fixtures of `conftest.py` are called as."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from playwright.async_api import Page

from atmand.api.server import ApiServer

__all__ = ["OpenPage", "Serve"]

OpenPage = Callable[..., Awaitable[Page]]
Serve = Callable[..., Awaitable[ApiServer]]
