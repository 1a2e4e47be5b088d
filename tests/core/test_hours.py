"""Every segment keeps its own hours in the core: what is outside continuous trading quotes, and nothing else."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from core_market import MINUTE, Book, Market, share

from atmand.core.records import Command, Kind
from atmand.core.words import Reason
from atmand.market.sessions import FUTURES, OPTIONS, WITH_DERIVATIVES, WITHOUT_DERIVATIVES, ns

DAY = date(2026, 8, 10)
"""Shares with derivatives trade to 15:15 and close by an auction, other shares to 15:30, derivatives to 15:40."""

GROUPS = (WITHOUT_DERIVATIVES, WITH_DERIVATIVES, FUTURES, OPTIONS)
EAGER = {"long_above": 1.0}
OVERNIGHT = {"carried": True}
"""Under MIS a book is flat some minutes before its segments close; here the segments' own hours count."""


def mixed(**values: float) -> Market:
    book = Book(values=EAGER | values, instruments=(0, 1, 2, 3), plan=OVERNIGHT)
    return Market([book], [share(place) for place in range(4)], day=DAY, groups=GROUPS)


def trade_minute(market: Market, number: int) -> dict[int, int]:
    """Trade every instrument in a minute after 09:15; return each one's decision as its bar closes."""
    for place in range(4):
        market.tick(number * 60 + 30, 100_000, place=place)
    before = len(market.audit(Kind.AUDIT_DECISION))
    market.timer((number + 1) * 60 + 1)
    rows = market.audit(Kind.AUDIT_DECISION)[before:]
    return dict(zip(rows["instrument"].tolist(), rows["reason"].tolist(), strict=True))


@pytest.mark.parametrize(
    ("minute", "entered"),
    [(358, {0, 1, 2, 3}), (359, {0, 2, 3}), (373, {0, 2, 3}), (374, {2, 3}), (383, {2, 3}), (384, set())],
)
def test_the_bar_that_ends_a_segments_trading_enters_nothing(minute: int, entered: set[int]) -> None:
    decisions = trade_minute(mixed(), minute)
    assert {place for place, reason in decisions.items() if reason != Reason.OUTSIDE_WINDOW} == entered


def test_a_day_ends_with_the_last_of_the_segments_that_are_traded() -> None:
    market = mixed()
    assert market.header["session_close_ns"] == ns(DAY, "15:40")
    closes = market.engine.table("instruments")["close_ns"].tolist()
    assert closes == [ns(DAY, clock) for clock in ("15:30", "15:15", "15:40", "15:40")]
    alone = Market(day=DAY, groups=(WITH_DERIVATIVES, WITH_DERIVATIVES))
    assert alone.header["session_close_ns"] == ns(DAY, "15:15")


def test_quotes_of_pre_open_and_auction_make_no_bar_and_fill_no_order() -> None:
    market = Market(
        [Book(values=EAGER, plan=OVERNIGHT)],
        [share(0)],
        day=DAY,
        groups=(WITH_DERIVATIVES,),
        opened=-1200,
        entry_wait_ns=3600 * 10**9,
    )
    market.tick(-600, 99_000)  # 09:05
    assert (market.header["outside_ticks"], len(market.bars())) == (1, 0)
    assert market.engine.table("instruments")["quoted"][0] == 1
    market.minute(357, 100_000)
    market.tick(358 * 60 + 10, 100_000)
    assert market.pair()["quantity"] > 0
    market.command(360 * 60 - 0.5, Command.EXIT_POSITION)
    fills = len(market.audit(Kind.AUDIT_FILL))
    for second in (360 * 60 + 300, 375 * 60 + 30):  # 15:20, and the auction's trade after 15:30
        market.tick(second, 101_000)
    assert len(market.audit(Kind.AUDIT_FILL)) == fills
    assert market.engine.table("instruments")["last_price"][0] == 101_000
    assert np.all(market.bars()["start_ns"] < market.open_ns + 360 * MINUTE)
