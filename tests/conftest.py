"""What tests share: the compiler's cache, set before numba is imported, the folder of optional data, a browser."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atmand.start import prepare_compiler

if TYPE_CHECKING:
    from playwright.async_api import Browser

prepare_compiler(None)

CHROMIUM = Path(os.environ.get("ATMAND_CHROMIUM", "/usr/bin/chromium"))
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of recorded data, named by ATMAND_TEST_DATA; a test that needs it is skipped without it."""
    named = os.environ.get("ATMAND_TEST_DATA")
    if not named:
        pytest.skip("ATMAND_TEST_DATA is not set")
    return Path(named)


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser with a profile of its own; without one a test is skipped, but not where CI is true."""
    from playwright.async_api import async_playwright

    if not CHROMIUM.exists():
        message = f"{CHROMIUM} is not there; ATMAND_CHROMIUM names another"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    async with async_playwright() as playwright:
        arguments = list(CHROMIUM_ARGUMENTS)
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, headless=True)
        yield browser
        await browser.close()
