"""Pages of research in a real browser: charts are drawn, nothing is asked of a network, no text becomes markup."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from playwright.async_api import Browser, Page, expect
from test_study import ran

from atmand.errors import AtmandError
from atmand.research.pages import heat_map, note, table, write_page
from atmand.research.report import _bucket, _candle_minutes  # the two rules that choose what a candle is

pytestmark = pytest.mark.process
MINUTE = 60 * 10**9


async def opened(chromium: Browser, path: Path) -> tuple[Page, list[str]]:
    """Open a file; return the page and everything that it logged or asked for, itself left out."""
    page = await chromium.new_page()
    page.set_default_timeout(20_000)
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text))
    page.on("request", lambda request: told.append(request.url))
    await page.goto(path.as_uri())
    return page, [line for line in told if line != path.as_uri()]


async def test_a_back_test_is_drawn_and_its_instruments_can_be_chosen(chromium: Browser, tmp_path: Path) -> None:
    run = ran(tmp_path)
    page, told = await opened(chromium, run.html(tmp_path / "page.html"))
    await expect(page).to_have_title("probe: back-test")
    await expect(page.locator(".chart").first.locator(".scatterlayer .trace")).to_have_count(4)
    candles = page.locator(".chart").last
    await expect(candles.locator(".boxlayer .trace")).to_have_count(1)
    await expect(candles.locator(".scatterlayer .trace").first).to_be_attached()
    drawn = await candles.locator(".boxlayer .trace path").first.get_attribute("d")
    await expect(page.locator("select option")).to_have_count(2)
    await page.locator("select").select_option(index=1)
    await expect(candles.locator(".boxlayer .trace path").first).not_to_have_attribute("d", drawn or "")
    await expect(page.locator("main")).to_contain_text("Sharpe ratio, 95 % interval")
    await expect(page.locator("main")).to_contain_text("net at 2 times")
    assert [line for line in told if not line.startswith("data:")] == []


async def test_a_sweep_is_a_map_and_no_text_of_it_is_markup(chromium: Browser, tmp_path: Path) -> None:
    grid = itertools.product((3, 5), (4, 8), (0, 1))
    rows = [{"fast": fast, "slow": slow, "other": other, "net": fast - slow + other} for fast, slow, other in grid]
    wicked = "</script><img src=x onerror=alert(1)>{plotly}"
    sections = [
        note(wicked),
        table(wicked, ["", wicked], [["a", (wicked, -1)]]),
        heat_map(pl.DataFrame(rows), x="fast", y="slow", value="net"),
        heat_map(pl.DataFrame(rows), x="fast", y=None, value="net"),
    ]
    page, told = await opened(chromium, write_page(tmp_path / "p.html", wicked, wicked, sections))
    await expect(page.locator("h1")).to_have_text(wicked)
    await expect(page.locator(".note")).to_have_text(wicked)
    await expect(page.locator("td.bad")).to_have_text(wicked)
    await expect(page.locator(".chart").first.locator(".heatmaplayer image")).to_have_count(1)
    await expect(page.locator(".chart").last.locator(".scatterlayer .trace")).to_have_count(1)
    assert [line for line in told if not line.startswith("data:")] == []


def test_a_cell_of_the_map_is_the_mean_over_the_rest() -> None:
    frame = pl.DataFrame({"fast": [3, 3, 5], "slow": [4, 4, 8], "other": [0, 1, 0], "net": [1.0, 3.0, -7.0]})
    trace: Any = heat_map(frame, x="fast", y="slow", value="net")["traces"][0]
    assert (trace["x"], trace["y"], trace["z"]) == (["3", "5"], ["4", "8"], [[2.0, None], [None, -7.0]])
    assert trace["zmid"] == 0
    with pytest.raises(AtmandError, match="no column sharpe; there are fast, slow, other, net"):
        heat_map(frame, x="fast", y="slow", value="sharpe")


def test_long_histories_get_longer_candles() -> None:
    assert [_candle_minutes(np.zeros(n)) for n in (375, 3_000, 94_000, 940_000)] == [1, 3, 1_440, 1_440]
    opening = 1_783_309_500_000_000_000  # 2026-07-06 09:15 in India
    times = np.array([opening, opening + 14 * MINUTE, opening + 15 * MINUTE], np.int64)
    assert np.diff(_bucket(times, 15)).tolist() == [0, 15]
    assert np.ptp(_bucket(times, 1_440)) == 0
