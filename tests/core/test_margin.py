"""What futures and options block of a book's money, and which entries there is money for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from core_market import RICH, Book, Market, share
from test_legs import INDEX, LOT, SPOT, WEEKS, Options, entered, option, wide

from atmand.core.jit import address_of, routine
from atmand.core.margin import margin_of
from atmand.core.opening import BookLimits
from atmand.core.records import Command, Kind
from atmand.core.words import Reason

FUTURE = share(
    1, key="NSE:FUT:NIFTY:2026-07-30", symbol="NIFTY26JULFUT", token=9_900, lot=LOT, underlying="NSE:INDEX:NIFTY 50",
    expiry=WEEKS[2], segment="FUT",
)  # fmt: skip


@routine
def blocked(arena, book):  # type: ignore[no-untyped-def]
    return margin_of(address_of(arena), book)


def margin(market: Market, book: int = 0) -> float:
    """Return what a book blocks, in rupees."""
    market.engine.header["valued"] = 0
    return int(blocked(market.engine.layout.arena, book)) / 100


def futures(capital: float, **values: float) -> Market:
    """An engine whose book buys `units` of a NIFTY future at 24,000 on its first bar."""
    limits = replace(RICH, capital_paise=round(capital * 100))
    values = {"long_above": 1.0, "units": LOT, **values}
    book = Book(values=values, limits=limits, instruments=(1,))
    market = Market([book], [INDEX, FUTURE])
    market.tick(10, SPOT, packet=32)
    market.minute(0, SPOT, place=1)
    market.tick(62, SPOT, place=1)
    return market


NOTIONAL = LOT * SPOT / 100


def test_a_future_blocks_its_margin_and_not_its_value() -> None:
    market = futures(200_000)
    assert market.pair()["quantity"] == LOT
    assert margin(market) == pytest.approx(NOTIONAL * 0.113, rel=1e-6)


@pytest.mark.parametrize(("capital", "reason"), [(177_000, Reason.NONE), (176_000, Reason.CASH)])
def test_a_future_is_refused_where_its_margin_is_not_there(capital: float, reason: Reason) -> None:
    """11.3 per cent of 15.6 lakh are 1,76,280 rupees; the entry's protection is not blocked beside it."""
    assert futures(capital).audit(Kind.AUDIT_DECISION)[0]["reason"] == reason


def test_a_futures_loss_is_gone_before_it_is_realised() -> None:
    """A second lot finds its margin while the first has lost nothing, and none any more when that has."""
    for last, reason in ((SPOT, Reason.NONE), (SPOT - 30_000, Reason.CASH)):
        market = Market(
            [
                Book(
                    "manage", values={"long_above": 1.0, "add_above": 1.0, "loss": 50, "risk": LOT * 12_100.0},
                    limits=replace(RICH, capital_paise=255_000_00), instruments=(1,),
                )
            ],
            [INDEX, replace(FUTURE, lot=LOT // 5)],
        )  # fmt: skip
        market.tick(10, SPOT, packet=32)
        market.minute(0, SPOT, place=1)
        market.tick(62, SPOT, place=1)
        assert market.pair()["quantity"] == LOT
        market.minute(1, last, place=1)
        assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == reason


def test_nothing_is_blocked_once_a_future_is_left() -> None:
    market = futures(200_000)
    market.command(70, Command.EXIT_POSITION)
    market.tick(71, SPOT, place=1)
    assert (market.pair()["quantity"], margin(market)) == (0, 0.0)
    assert market.book()["cash_paise"] == 200_000_00 - market.book()["costs_paise"] - 10 * LOT


def test_a_condor_blocks_its_exposure_and_little_more() -> None:
    market = wide()
    exposure = 2 * LOT * SPOT / 100 * 0.02
    assert exposure < margin(market) < 1.01 * exposure + 200 * LOT
    market.command(3000, Command.EXIT_POSITION, instrument=market.place_of(24_400, 1))
    market.quote(3001, 24_400, 1, 40.0)
    assert margin(market) > exposure + 0.05 * NOTIONAL, "the sold call is uncovered now"


def test_the_sold_legs_of_a_hedged_group_are_not_asked_for_margins_of_their_own() -> None:
    strikes = tuple(range(23_500, 24_501, 100))
    chain = [option(9_000 + n, WEEKS[0], *pair) for n, pair in enumerate(itertools.product(strikes, (1, -1)))]
    for capital, reasons in ((85_000_00, [Reason.NONE]), (50_000_00, [Reason.CASH])):
        market = Options("iron_condor", chain=chain, limits=BookLimits(capital))
        for place in range(1, len(market.shares)):
            strike, right = market.shares[place].strike // 100, market.shares[place].right
            market.tick(1820, round(100 * (120.0 - (strike - SPOT // 100) * right / 5)), place=place)
        market.tick(1900, SPOT, packet=32)
        market.timer(35 * 60 + 1)
        assert market.reasons() == reasons
    naked = 0.093 * NOTIONAL
    assert naked > 85_000, "either sold leg alone would have been refused"


def test_a_straddle_blocks_its_worse_side_and_the_exposure_of_both() -> None:
    market = entered()
    assert margin(market) == pytest.approx(NOTIONAL * (0.093 + 2 * 0.02), rel=0.08)


def test_the_last_day_of_an_index_option_asks_for_two_per_cent_more() -> None:
    """support.zerodha.com, additional ELM for index expiry: 2 % of the underlying's price times the lot."""

    def on(day: date) -> Any:
        market = Options("straddle_0920", day=day)
        market.chain_at(320)
        market.minute(5, SPOT, packet=32)
        market.chain_at(362)
        assert len(market.held()) == 2
        return margin(market)

    before, last = on(date(2026, 7, 8)), on(date(2026, 7, 9))
    assert last - before == pytest.approx(2 * 0.02 * NOTIONAL, rel=0.1)
