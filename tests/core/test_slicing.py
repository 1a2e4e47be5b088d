"""Intents above the freeze quantity: slices of whole lots, each an order with its own costs, and at most ten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from core_market import RICH, Book, Market, share
from hypothesis import given
from hypothesis import strategies as st

from atmand.core.books import load_books
from atmand.core.records import Command, Kind
from atmand.core.words import OrderState, Purpose, Reason


def market_of(units: float, freeze: int = 25, lot: int = 10, **book: Any) -> Market:
    """An engine whose first bar asks for `units` of an instrument with a freeze quantity."""
    values = {"long_above": 1.0, "units": units, **book.pop("values", {})}
    return Market([Book(values=values, **book)], [share(0, freeze=freeze, lot=lot), share(1)])


def quantities(market: Market, purpose: Purpose | None = None) -> list[int]:
    rows = market.working()
    return [int(row["quantity"]) for row in rows if purpose is None or row["purpose"] == purpose]


@pytest.mark.parametrize(
    ("units", "slices"),
    [(20, [20]), (30, [20, 10]), (40, [20, 20]), (200, [20] * 10), (210, []), (20.9, [20]), (9, [])],
)
def test_an_entry_is_cut_into_whole_lots_within_the_freeze_quantity(units: float, slices: Sequence[int]) -> None:
    market = market_of(units)
    market.minute(0, 100_000)
    assert quantities(market) == slices
    if units == 210:
        assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == Reason.FREEZE


def test_a_freeze_quantity_below_one_lot_refuses_every_entry() -> None:
    market = market_of(10, freeze=9)
    market.minute(0, 100_000)
    assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == Reason.FREEZE


def test_each_slice_fills_and_pays_for_itself_and_all_are_one_trade() -> None:
    sliced, whole = market_of(500, freeze=200), market_of(500, freeze=0)
    for market in (sliced, whole):
        market.minute(0, 100_000)
        market.tick(61.5, 100_000)
        market.tick(62, 100_000)
        assert market.pair()["quantity"] == 500
    fills = sliced.audit(Kind.AUDIT_FILL)
    assert (fills["quantity"].tolist(), len(set(fills["order"].tolist()))) == ([200, 200, 100], 3)
    assert set(fills["trade"].tolist()) == {1}
    orders = sliced.audit(Kind.AUDIT_ORDER)
    assert set(orders[orders["state"] == OrderState.FILLED]["trade"].tolist()) == {1}
    assert sliced.book()["costs_paise"] > whole.book()["costs_paise"], "brokerage is an order's"
    assert sliced.book()["orders_today"] == 3


def test_the_exit_is_sliced_too_and_comes_to_nothing_left() -> None:
    market = market_of(50)
    market.minute(0, 100_000)
    market.tick(62, 100_000)
    market.command(70, Command.EXIT_POSITION, instrument=0)
    assert quantities(market, Purpose.EXIT) == [20, 20, 10]
    market.command(71, Command.EXIT_POSITION, instrument=0)
    assert quantities(market, Purpose.EXIT) == [20, 20, 10], "asked for once"
    market.tick(72, 99_000)
    assert (market.pair()["quantity"], market.pair()["exit_order"], market.working().size) == (0, -1, 0)


def test_what_ten_slices_do_not_hold_is_left_by_the_next_ones() -> None:
    market = market_of(200)
    market.minute(0, 100_000)
    market.tick(62, 100_000)
    market.engine.table("instruments")["freeze"] = 15
    market.command(70, Command.EXIT_POSITION, instrument=0)
    assert quantities(market, Purpose.EXIT) == [10] * 10
    market.tick(71, 100_000)
    assert quantities(market, Purpose.EXIT) == [10] * 10
    market.tick(72, 100_000)
    assert market.pair()["quantity"] == 0


def test_a_target_is_sliced_and_withdrawn_as_one() -> None:
    market = market_of(50, values={"aim": 100.0, "long_out_below": 900.0})
    market.minute(0, 100_000)
    market.tick(62, 100_000)
    market.tick(63, 100_000)
    assert quantities(market, Purpose.TARGET) == [20, 20, 10]
    market.tick(64, 110_100, bid=[(110_005, 25)], ask=[(110_100, 9)])
    market.tick(65, 110_100, bid=[], ask=[(110_100, 9)])
    assert market.pair()["quantity"] == 25
    market.command(66, Command.EXIT_POSITION, instrument=0)
    market.tick(67, 110_000)
    market.tick(68, 110_000)
    assert (market.pair()["quantity"], market.working().size) == (0, 0)


def test_orders_a_day_and_room_in_the_table_count_slices() -> None:
    for slices, reason in ((2, Reason.ORDERS_A_DAY), (3, Reason.NONE)):
        market = market_of(50, limits=replace(RICH, orders_a_day=slices))
        market.minute(0, 100_000)
        assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == reason
    values = {"long_above": 1.0, "units": 50.0}
    market = Market([Book(values=values)], [share(0, freeze=25, lot=10), share(1)], orders_per_book=3)
    market.minute(0, 100_000)
    assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == Reason.NONE
    market = Market([Book(values=values)], [share(0, freeze=25, lot=10), share(1)], orders_per_book=2)
    market.minute(0, 100_000)
    assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == Reason.CAPACITY


def test_cash_is_spoken_for_by_all_slices_until_they_end() -> None:
    market = market_of(50)
    market.minute(0, 100_000)
    limit = int(market.working()[0]["limit"])
    market.command(62, Command.EXIT_POSITION, instrument=0)
    assert market.working().size == 0
    market = market_of(50, limits=replace(RICH, capital_paise=50 * limit))
    market.minute(0, 100_000)
    assert len(quantities(market)) == 3
    market = market_of(50, limits=replace(RICH, capital_paise=50 * limit - 1))
    market.minute(0, 100_000)
    assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == Reason.CASH


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(10, 60))
def test_position_and_orders_agree_however_the_slices_are_filled(depths: list[int], freeze: int) -> None:
    market = market_of(100, freeze=freeze)
    market.minute(0, 100_000)
    for second, depth in enumerate(depths):
        market.tick(62 + second, 100_000, ask=[(100_005, depth)], bid=[(99_995, 1)])
        open_units = sum(int(row["quantity"] - row["filled"]) for row in market.working())
        assert market.pair()["quantity"] + open_units == 100
        assert (market.pair()["entry_order"] < 0) == (open_units == 0)
    market.command(90, Command.EXIT_POSITION, instrument=0)
    for second in range(3):
        market.tick(91 + second, 100_000)
    assert (market.pair()["quantity"], market.working().size) == (0, 0)


def test_slices_go_on_after_the_books_were_carried_over() -> None:
    market = market_of(50)
    market.minute(0, 100_000)
    market.tick(62, 100_000, ask=[(100_005, 25)])
    sha = market.carry_books()
    again = market_of(50)
    load_books(again.engine.layout, market.carried[sha])
    assert quantities(again) == [20, 10]
    again.tick(69, 100_000, ask=[])
    again.command(70, Command.EXIT_POSITION, instrument=0)
    assert quantities(again, Purpose.ENTRY) == [], "the chain was put together again, and ends as one"
    assert quantities(again, Purpose.EXIT) == [20, 5]
