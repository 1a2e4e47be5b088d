"""The page in a real browser: what a person sees, on a desk and on a phone, in good and bad moments.

The `open_page` fixture also asserts that nothing was asked of another host and that the console has no error.
"""

from __future__ import annotations

import re

import pytest
from fixture_types import OpenPage, Serve
from growing_day import GrowingDay
from playwright.async_api import Page, expect

from atmand.api.server import ApiServer

pytestmark = pytest.mark.process
expect.set_options(timeout=20_000)


async def overflows(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def figure(page: Page, title: str):  # type: ignore[no-untyped-def]
    return page.locator("#figures > div", has=page.get_by_text(title, exact=True)).locator("dd > span")


async def test_a_newcomer_sees_what_this_is_and_how_it_stands(
    server: ApiServer, day: GrowingDay, open_page: OpenPage
) -> None:
    page = await open_page(server.url)
    await expect(page).to_have_title("demo · atmand")
    await expect(page.locator("#badge")).to_have_text("Paper money · simulated market")
    await expect(page.locator("#clock")).to_have_text("Mon 6 Jul 2026, 11:42:08 IST")
    await expect(page.locator("#speed")).to_have_text("60\u00d7")
    await expect(page.locator("#health-word")).to_have_text("Trading")
    await expect(figure(page, "Equity")).to_have_text(re.compile(r"^₹\d{1,2},\d\d,\d{3}\.\d\d$"))
    await expect(figure(page, "Win rate")).to_have_text(re.compile(r"^\d+\.\d\d %$"))
    await expect(page.locator("#plot .scatterlayer .trace")).to_have_count(2)
    await expect(page.locator("#plot .annotation")).to_have_text("simulated past")
    await expect(page.locator("#strategies")).to_contain_text("In trade: long 78 RELIANCE, +215.51")
    await expect(page.locator("#strategies")).to_contain_text("Waiting for: long when crosses_above(quick, calm)")
    await expect(page.locator("#positions tbody tr")).to_have_count(2)
    await expect(page.locator("#trades tr.past").first).to_contain_text("past")
    await expect(page.locator("#feed-state")).to_have_text("connected")
    await expect(page.locator("#journal-state")).to_have_text("recording")
    await expect(page.locator("#params-tables")).to_contain_text("rsi_low")
    await expect(page.locator("footer")).to_contain_text("costs as of 2026-04-01")
    await expect(page.locator("footer")).to_contain_text("Not advice")
    await expect(page.locator("#banner")).to_be_hidden()


async def test_figures_trades_and_plot_move_by_themselves(
    server: ApiServer, day: GrowingDay, open_page: OpenPage
) -> None:
    page = await open_page(server.url)
    first = page.locator("#trades tbody tr").first
    await expect(first).not_to_have_class("past")
    before = await first.inner_text()
    line = page.locator("#plot .scatterlayer .trace path.js-line").last
    drawn = await line.get_attribute("d")
    day.advance(30, trade=True)
    await expect(page.locator("#clock")).to_have_text("Mon 6 Jul 2026, 12:12:08 IST")
    await expect(first).to_contain_text("6 Jul 12:12")
    assert await first.inner_text() != before
    await expect(line).not_to_have_attribute("d", drawn or "")


async def test_what_does_not_change_is_not_touched(server: ApiServer, day: GrowingDay, open_page: OpenPage) -> None:
    page = await open_page(server.url)
    await expect(page.locator("#trades tbody tr").first).to_be_visible()
    await expect(page.locator("#params-tables")).to_contain_text("rsi_low")
    await page.evaluate(
        """() => {
          window.touched = [];
          const home = ({ target }) => target.parentElement?.closest("[id]")?.id;
          new MutationObserver((seen) => touched.push(...seen.map(home)))
            .observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    day.advance(1)
    await expect(page.locator("#clock")).to_have_text("Mon 6 Jul 2026, 11:43:08 IST")
    touched = set(await page.evaluate("touched"))
    assert not touched & {"trades", "params-tables", "feed-state", "badge"}


async def test_a_phone_needs_no_sideways_scrolling(server: ApiServer, open_page: OpenPage) -> None:
    page = await open_page(server.url, width=360)
    await expect(page.locator("#plot .scatterlayer .trace").first).to_be_attached()
    await expect(page.locator("#trades tbody tr").first).to_be_visible()
    await expect(page.locator("#params-tables tbody tr").first).to_be_visible()
    assert not await overflows(page)
    for details in await page.locator("#strategies summary").all():
        await details.click()
    await page.locator("#health summary").click()
    assert not await overflows(page)
    await page.locator("#trades .link").first.click()
    await expect(page.locator("#trade")).to_contain_text("Fills")
    assert not await overflows(page)


async def test_dark_is_dark_and_light_is_light(server: ApiServer, open_page: OpenPage) -> None:
    grounds = []
    for dark in (False, True):
        page = await open_page(server.url, dark=dark)
        await expect(page.locator("#plot .scatterlayer .trace").first).to_be_attached()
        colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds.append(sum(map(int, re.findall(r"\d+", colour)[:3])) / 3)
    assert grounds[0] > 200 and grounds[1] < 60


async def test_ranges_and_strategies_change_the_plot(server: ApiServer, open_page: OpenPage) -> None:
    page = await open_page(server.url)
    traces = page.locator("#plot .scatterlayer .trace")
    await expect(traces).to_have_count(2)
    await page.get_by_role("button", name="rsi_macd", exact=True).click()
    await expect(traces).to_have_count(4)
    await expect(page.locator("#equity-title")).to_have_text("Profit since the plot's beginning, ₹")
    await page.get_by_role("button", name="Today").click()
    await expect(traces).to_have_count(2)
    await expect(page.locator("#plot .annotation")).to_have_count(0)
    await page.get_by_role("button", name="paper", exact=True).click()
    await expect(page.locator("#equity-title")).to_have_text("Equity")


async def test_a_trade_opens_and_tells_how_it_came_about(
    server: ApiServer, day: GrowingDay, open_page: OpenPage
) -> None:
    page = await open_page(server.url)
    await page.locator("#trades .link").first.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#trade")).to_contain_text("How it came about")
    await expect(page.locator("#trade")).to_contain_text("crosses_above(momentum, 0)")
    await expect(page.locator("#trade table tbody tr")).to_have_count(2)
    await page.keyboard.press("Escape")
    await expect(page.locator("#trade")).to_be_hidden()


async def test_trades_are_filtered_and_older_ones_follow(server: ApiServer, open_page: OpenPage) -> None:
    page = await open_page(server.url)
    rows = page.locator("#trades tbody tr")
    await expect(rows).to_have_count(15)
    await page.get_by_role("button", name="Older trades").click()
    await expect(rows).to_have_count(65)
    await page.get_by_label("Strategy").select_option("ema_trend")
    await expect(rows).to_have_count(15)
    await expect(page.locator("#trades")).not_to_contain_text("rsi_macd")
    await page.get_by_label("simulated past").uncheck()
    await expect(page.locator("#trades tr.past")).to_have_count(0)
    await expect(page.get_by_role("button", name="Older trades")).to_be_hidden()


async def test_a_start_says_what_goes_on_and_then_shows_the_past(
    server: ApiServer, day: GrowingDay, open_page: OpenPage
) -> None:
    day.phase, day.starting = "starting", "compiling 2 strategies"
    page = await open_page(server.url)
    await expect(page.locator("#starting")).to_contain_text("compiling 2 strategies")
    await expect(page.locator("#health-word")).to_have_text("Starting")
    day.phase, day.starting = "running", None
    await expect(page.locator("#starting")).to_be_hidden()
    await expect(page.locator("#positions tbody tr")).to_have_count(2)


async def test_bad_moments_are_said_in_words(server: ApiServer, day: GrowingDay, open_page: OpenPage) -> None:
    day.blocked_by, day.feed_state = "daily_loss", "lost"
    day.unwell["ready"] = ["the feed is lost"]
    day.refused = {"seq": 4, "reason": "strategies.rsi_macd.rsi_low: 700 is above 60"}
    page = await open_page(server.url)
    await expect(page.locator("#strategies")).to_contain_text("Blocked by: daily loss limit")
    await expect(page.locator("#health-word")).to_have_text("Not ready")
    await page.locator("#health summary").click()
    await expect(page.locator("#health-reasons")).to_contain_text("the feed is lost")
    await expect(page.locator("#feed-state")).to_have_text("lost")
    await expect(page.locator("#params-refused")).to_have_text(
        "Document 4 was refused: strategies.rsi_macd.rsi_low: 700 is above 60"
    )
    day.blocked_by, day.warming = None, {"have": 12, "need": 300}
    await expect(page.locator("#strategies").first).to_contain_text("Warming up: 12 of 300 bars")
    await expect(page.locator("#strategies progress").first).to_have_attribute("value", "12")


async def test_a_lost_connection_is_said_and_comes_back_by_itself(
    day: GrowingDay, serve: Serve, open_page: OpenPage
) -> None:
    first = await serve(day)
    port = first.port
    page = await open_page(first.url, console_errors=False)
    await expect(page.locator("#health-word")).to_have_text("Trading")
    await first.stop()
    await expect(page.locator("#banner")).to_contain_text("Connection lost")
    await expect(page.locator("#banner")).to_contain_text("Mon 6 Jul 2026, 11:42:08 IST")
    await expect(page.locator("#health-word")).to_have_text("Offline")
    day.advance(18, trade=True)
    await serve(day, port)
    await expect(page.locator("#banner")).to_be_hidden()
    await expect(page.locator("#clock")).to_have_text("Mon 6 Jul 2026, 12:00:08 IST")
    await expect(page.locator("#trades tbody tr").first).to_contain_text("6 Jul 12:00")


async def test_names_that_look_like_markup_are_shown_as_text(serve: Serve, open_page: OpenPage) -> None:
    hostile = "<script>document.title='taken'</script><img src=x onerror=alert(1)>"
    day = GrowingDay(names=(hostile, "ema_trend"))
    day.refused = {"seq": None, "reason": hostile}
    page = await open_page((await serve(day)).url, width=360)
    await expect(page.locator("#strategies h3").first).to_have_text(hostile)
    await expect(page.locator("#params-refused")).to_contain_text(hostile)
    await expect(page.locator("#positions")).to_contain_text(hostile)
    await expect(page.get_by_label("Strategy")).to_contain_text(hostile)
    await page.locator("#series button").nth(1).click()
    await expect(page.locator("#plot .scatterlayer .trace").first).to_be_attached()
    await page.locator("#plot .nsewdrag").hover()
    await page.locator("#trades .link").first.click()
    await expect(page.locator("#trade")).to_contain_text("Fills")
    assert await page.locator("main script, main img, dialog img, #plot img").count() == 0
    assert await page.title() == "demo · atmand"
    assert not await overflows(page)


async def test_every_control_has_a_name(server: ApiServer, open_page: OpenPage) -> None:
    page = await open_page(server.url)
    await expect(page.locator("#trades tbody tr").first).to_be_visible()
    nameless = await page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, progress, summary")]
             .filter((one) => one.checkVisibility())
             .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
             .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert await page.locator("[aria-live]").count() == 1
