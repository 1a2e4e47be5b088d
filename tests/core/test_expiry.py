"""The last day of contracts: cash for those on an index, the way out of the market for those on a share."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from core_market import CLOSE, DAY, OPEN, SECOND, Book, Market, candles, share

from atmand.core.records import Kind
from atmand.core.words import Purpose, Reason
from atmand.market.costs import cost_group, cost_rows, delivered_costs, exercise_costs, settled_costs
from atmand.market.instruments import Instrument

EAGER = {"long_above": 1.0}
SHORT = {"short_below": 1_000_000.0}
LATER = date(2026, 7, 28)
HALF_HOUR_LEFT = (CLOSE - OPEN) // SECOND - 1800
"""Seconds after the opening at which 30 minutes are left to the close."""
LAST = (CLOSE - OPEN) // SECOND - 10

INDEX = share(0, key="NSE:INDEX:NIFTY 50", symbol="NIFTY 50", segment="INDEX", tradable=False)
SHARE = share(1)


def contract(on: Instrument, expiry: date = DAY, strike: int = 0, right: int = 0) -> Instrument:
    word = "OPT" if right else "FUT"
    return share(
        2, key=f"NSE:{word}:X:{expiry}:{strike}:{right}", symbol="X", segment=word, underlying=on.key, expiry=expiry,
        strike=strike, right=right,
    )  # fmt: skip


def held(instrument: Instrument, values: dict[str, float] | None = None) -> Market:
    """A market whose book holds ten of a contract from the first minutes, under NRML, at 1000 rupees."""
    book = Book(values=values or EAGER, instruments=(2,), plan={"carried": True})
    market = Market([book], [INDEX, SHARE, instrument], stale_ns=3600 * 24 * SECOND)
    market.minute(0, 100_000, place=2)
    market.tick(65, 100_000, place=2)
    assert abs(market.pair()["quantity"]) == 10
    return market


def end(market: Market, underlying: int = 0, place: int = 0) -> Any:
    """Let the underlying trade last at a price, and the session end; return the newest fill."""
    if underlying:
        market.tick(LAST, underlying, place=place)
    market.timer(LAST + 60)
    return market.audit(Kind.AUDIT_FILL)[-1]


@pytest.mark.parametrize(
    ("strike", "right", "values", "underlying", "price", "charged"),
    [
        (0, 0, EAGER, 2_500_000, 2_500_000, settled_costs),
        (0, 0, EAGER, 0, 100_000, settled_costs),  # nothing is known of the index: its own last price
        (2_400_000, 1, EAGER, 2_500_000, 100_000, exercise_costs),
        (2_400_000, 1, SHORT, 2_500_000, 100_000, settled_costs),
        (2_600_000, -1, EAGER, 2_500_000, 100_000, exercise_costs),
        (2_600_000, 1, EAGER, 2_500_000, 0, settled_costs),
        (2_600_000, 1, SHORT, 2_500_000, 0, settled_costs),
    ],
)
def test_a_contract_on_an_index_is_settled_in_cash_as_the_session_ends(
    strike: int, right: int, values: dict[str, float], underlying: int, price: int, charged: Any
) -> None:
    market = held(contract(INDEX, strike=strike, right=right), values)
    before = market.engine.table("books")[0].copy()
    side = -market.pair()["quantity"] // 10
    fill = end(market, underlying)
    assert (fill["side"], fill["quantity"], fill["price"], fill["reason"]) == (side, 10, price, Reason.EXPIRY)
    assert fill["state"] == Purpose.EXIT
    row = cost_rows(DAY)[cost_group("NSE", "OPT" if right else "FUT")]
    assert fill["costs"] == charged(row, 10 * price)
    after = market.engine.table("books")[0]
    assert after["cash_paise"] - before["cash_paise"] == -side * 10 * price - fill["costs"]
    assert (market.pair()["quantity"], after["positions"], len(market.working())) == (0, 0, 0)
    assert market.header["illegal_transitions"] == 0


def test_a_contract_that_lives_on_is_kept() -> None:
    market = held(contract(INDEX, LATER))
    end(market, 2_500_000)
    assert market.pair()["quantity"] == 10


def test_a_contract_on_a_share_is_left_half_an_hour_before_its_end_and_not_entered_again() -> None:
    market = held(contract(SHARE))
    assert market.header["next_due_ns"] <= OPEN + HALF_HOUR_LEFT * SECOND
    market.tick(HALF_HOUR_LEFT - 5, 100_000, place=2)
    assert not len(market.working())
    market.timer(HALF_HOUR_LEFT)
    (exit_order,) = market.working()
    assert exit_order["reason"] == Reason.EXPIRY
    market.tick(HALF_HOUR_LEFT + 5, 100_100, place=2)
    assert market.pair()["quantity"] == 0
    market.tick(HALF_HOUR_LEFT + 30, 100_100, place=2)
    market.timer(HALF_HOUR_LEFT + 121)
    assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == Reason.OUTSIDE_WINDOW
    assert market.pair()["quantity"] == 0


@pytest.mark.parametrize(("strike", "right", "price", "at"), [(0, 0, 120_000, 120_000), (110_000, 1, 10_000, 110_000)])
def test_what_found_no_way_out_costs_a_delivery(strike: int, right: int, price: int, at: int) -> None:
    market = held(contract(SHARE, strike=strike, right=right))
    fill = end(market, 120_000, place=1)
    assert (fill["price"], fill["reason"]) == (price, Reason.EXPIRY)
    row = cost_rows(DAY)[cost_group("NSE", "OPT" if right else "FUT")]
    assert fill["costs"] == delivered_costs(row, 10 * at) > 0
    assert market.pair()["quantity"] == 0


@pytest.mark.parametrize(("older", "price"), [(True, 2_450_000), (False, 2_500_000)])
def test_a_contract_that_ended_while_nobody_watched_is_settled_at_the_next_opening(older: bool, price: int) -> None:
    """By the underlying's last bar before its end, where one is kept; else by the first price that comes."""
    market = held(contract(INDEX))
    sha = market.carry_books()
    market.shares = (INDEX, SHARE, replace(market.shares[2], token=-1))
    tomorrow = date(2026, 7, 7)
    market.books_of_test = (replace(market.books_of_test[0], instruments=(2, 0)),)
    market.open_session(tomorrow, books_sha=sha)
    assert market.pair(0)["quantity"] == 10
    if older:
        rows = candles(0, [2_450_000], instrument=0)
        rows["start_ns"] = CLOSE - 60 * SECOND
        market.history(rows, -30)
    market.tick(10, 2_500_000, place=0)
    market.timer(61)
    fill = market.audit(Kind.AUDIT_FILL)[-1]
    assert (fill["price"], fill["quantity"], fill["reason"]) == (price, 10, Reason.EXPIRY)
    row = cost_rows(tomorrow)[cost_group("NSE", "FUT")]
    assert fill["costs"] == settled_costs(row, 10 * price)
    assert (market.pair(0)["quantity"], market.book()["positions"]) == (0, 0)
