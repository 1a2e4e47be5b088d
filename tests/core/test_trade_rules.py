"""A file's tables `[stop]`, `[trade]`, `[size]`: trails, additions, reductions, limits and shares of the volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_market import MINUTE, SECOND, Book, Market, share

from atmand.core.bar_path import PATH_LAST_NS
from atmand.core.books import books_document
from atmand.core.records import Kind, SessionFlag
from atmand.core.words import OrderState, Purpose, Reason

LONG = {"long_above": 1.0, "loss": 1.0}
SHORT = {"short_below": 1e6, "loss": 1.0}


def held(values: dict[str, float], plan: dict[str, Any] | None = None, price: int = 100_000, **terms: Any) -> Market:
    """Return a market in which the book has entered at 1,000.05 (or 999.95) in minute 1, and enters no more."""
    market = Market([Book("manage", values=values, plan=plan)], **terms)
    market.minute(0, price)
    market.tick(65, price)
    market.set(65.5, long_above=1e6, short_below=0)
    return market


def fills(market: Market) -> list[tuple[int, int, int]]:
    return [(int(row["side"]), int(row["quantity"]), int(row["reason"])) for row in market.audit(Kind.AUDIT_FILL)]


def reasons(market: Market) -> list[int]:
    return [int(reason) for reason in market.audit(Kind.AUDIT_DECISION)["reason"]]


def test_a_risk_in_rupees_is_spread_over_the_stops_distance() -> None:
    market = held(LONG)
    assert fills(market) == [(1, 100, Reason.RULE)]  # 1,000 rupees over 1 percent, in whole paise
    assert market.pair()["stop_price"] == 99_005  # 1 percent below 1,000.05, on the grid


def test_without_a_stop_a_size_by_risk_is_no_size() -> None:
    market = Market([Book("manage", values={"long_above": 1.0})])
    market.minute(0, 100_000)
    assert reasons(market) == [Reason.ZERO_QUANTITY]


@pytest.mark.parametrize(("values", "side"), [(LONG, 1), (SHORT, -1)])
def test_a_trail_follows_the_best_price_and_never_gives_way(values: dict[str, float], side: int) -> None:
    market = held(values | {"trail": 5.0, "after": 8.0})
    average = 100_000 + 5 * side
    market.tick(70, average + 795 * side)
    assert market.pair()["stop_reason"] == Reason.STOP
    market.tick(71, average + 800 * side)
    assert (market.pair()["stop_price"], market.pair()["stop_reason"]) == (average + 300 * side, Reason.TRAIL)
    market.tick(72, average + 305 * side)
    assert market.pair()["stop_price"] == average + 300 * side
    market.timer(121)
    market.set(121.5, trail=50.0)
    market.minute(2, average + 600 * side)
    assert market.pair()["trail_distance"] == 5_000
    market.tick(190, average + 700 * side)
    assert market.pair()["stop_price"] == average + 300 * side
    market.tick(191, average + 300 * side)
    market.tick(192, average + 300 * side)
    assert fills(market)[-1][0::2] == (-side, Reason.TRAIL)


@pytest.mark.parametrize(("values", "side"), [(LONG, 1), (SHORT, -1)])
def test_breakeven_moves_the_stop_to_what_the_entry_paid(values: dict[str, float], side: int) -> None:
    market = held(values | {"even": 4.0})
    average = 100_000 + 5 * side
    market.tick(70, average + 395 * side)
    assert market.pair()["stop_price"] == (99_005 if side > 0 else 100_995)
    market.tick(71, average + 400 * side)
    assert market.pair()["stop_price"] == average
    market.tick(72, average)
    market.tick(73, average)
    assert fills(market)[-1][0::2] == (-side, Reason.BREAKEVEN)


def test_a_trade_that_was_held_long_enough_is_left() -> None:
    market = held(LONG | {"held": 2.0})
    market.minute(1, 100_000)
    assert len(market.working()) == 0
    market.minute(2, 100_000)
    market.tick(182, 100_000)
    assert fills(market)[-1] == (-1, 100, Reason.BARS)


def test_additions_are_a_share_of_the_size_and_stop_at_their_number() -> None:
    market = held(LONG | {"add_above": 1.0})
    for minute in (1, 2, 3):
        market.minute(minute, 100_000)
    assert fills(market) == [(1, 100, Reason.RULE), (1, 50, Reason.ADD), (1, 50, Reason.ADD)]
    pair = market.pair()
    assert (pair["quantity"], pair["adds"], pair["entry_value"]) == (200, 2, 200 * 100_005)
    assert pair["trades_today"] == 1


def test_an_addition_moves_the_stop_only_towards_the_price_and_brings_the_target_back() -> None:
    market = held(LONG | {"add_above": 1.0, "aim": 20.0})
    market.tick(70, 100_000)
    assert market.working()["quantity"].tolist() == [100]
    market.minute(1, 101_000)
    market.tick(125, 101_000)
    market.tick(126, 101_000)
    pair = market.pair()
    average = int(pair["entry_value"]) // int(pair["entry_quantity"])
    assert pair["stop_price"] == (average - average * 10_000 // 1_000_000) // 5 * 5
    resting = market.working()
    assert resting["purpose"].tolist() == [Purpose.TARGET]
    assert resting["quantity"].tolist() == [pair["quantity"]]
    assert resting["limit"].tolist() == [-(-(average + 2_000) // 5) * 5]
    stop = int(pair["stop_price"])
    market.set(127, add_above=1.0)
    market.minute(2, 99_500)
    market.tick(185, 99_500)
    assert market.pair()["stop_price"] == stop


@pytest.mark.parametrize(("values", "side"), [(LONG, 1), (SHORT, -1)])
def test_a_reduction_takes_a_share_off_and_the_target_covers_the_rest(values: dict[str, float], side: int) -> None:
    market = held(values | {"aim": 30.0, "reduce_above": 1.0})
    market.tick(70, 100_000)
    market.minute(1, 100_000)
    market.tick(125, 100_000)
    market.tick(126, 100_000)
    assert fills(market)[-1] == (-side, 40, Reason.REDUCE)
    left = abs(int(market.pair()["quantity"]))
    assert left == 60
    assert market.working()["quantity"].tolist() == [60]
    market.minute(2, 100_000)
    market.minute(3, 100_000)
    market.tick(245, 100_000)
    assert market.pair()["reduces"] == 2
    assert abs(int(market.pair()["quantity"])) == 36


def test_a_stop_goes_before_a_reduction_that_is_still_out() -> None:
    market = held(LONG | {"reduce_above": 1.0})
    market.minute(1, 100_000, bid=[])
    market.tick(122, 100_000)
    market.timer(181)
    assert [int(reason) for reason in market.working()["reason"]] == [Reason.REDUCE]
    market.tick(182, 98_900, bid=[(98_895, 0)])
    assert [int(reason) for reason in market.working()["reason"]] in ([], [Reason.STOP])
    market.tick(183, 98_900)
    market.tick(184, 98_900)
    assert market.pair()["quantity"] == 0
    assert fills(market)[-1] == (-1, 100, Reason.STOP)


def test_a_reduction_counts_in_whole_lots() -> None:
    market = Market([Book("manage", values=LONG | {"risk": 500.0, "reduce_above": 1.0})], [share(0, lot=25), share(1)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    assert market.pair()["quantity"] == 50
    market.minute(1, 100_000)
    market.tick(125, 100_000)
    assert market.pair()["quantity"] == 50  # two fifths of two lots are less than one
    assert market.pair()["reduces"] == 0


def test_after_an_exit_a_book_waits_out_its_cooldown() -> None:
    market = Market([Book("manage", values=LONG | {"held": 1.0}, plan={"cooldown": 2})])
    for minute in range(6):
        market.minute(minute, 100_000)
    # Bars 0: in. 1: out after one bar. 2: the exit fills. 3 and 4 are waited out (2 has the fill), then in again.
    assert reasons(market) == [0, Reason.COOLDOWN, Reason.COOLDOWN, 0]


def test_no_more_trades_a_day_than_the_file_allows() -> None:
    market = Market([Book("manage", values=LONG | {"held": 1.0}, plan={"max_trades": 1})])
    for minute in range(5):
        market.minute(minute, 100_000)
    assert reasons(market)[0] == 0
    assert set(reasons(market)[1:]) == {Reason.TRADES_A_DAY}
    assert len(fills(market)) == 2


def test_an_order_takes_its_share_of_a_minutes_volume_and_no_more() -> None:
    market = Market([Book("manage", values=LONG, plan={"participation_ppm": 100_000})])
    market.minute(0, 100_000, volume=300)
    market.tick(65, 100_000, volume=300)
    assert fills(market) == [(1, 30, Reason.RULE)]
    market.tick(70, 100_000, volume=500)
    assert fills(market)[1:] == []
    market.tick(71, 100_000, volume=700)
    assert fills(market)[1:] == [(1, 10, Reason.RULE)]
    market.tick(125, 100_000, volume=700)
    assert sum(quantity for _, quantity, _ in fills(market)) == 40


def limit_market(**terms: Any) -> Market:
    plan = {"limit_entry": True, "entry_wait_ns": 90 * SECOND}
    market = Market([Book("limits", values={"at": 995.0}, plan=plan)], **terms)
    market.minute(0, 100_000)
    assert market.working()["limit"].tolist() == [99_500]
    return market


def test_a_limit_entry_rests_at_its_price_and_waits_as_long_as_the_file_says() -> None:
    market = limit_market()
    market.tick(65, 99_600)
    assert fills(market) == []
    market.timer(150.9)
    assert len(market.working()) == 1
    rows = market.timer(151)
    ended = rows[(rows["kind"] == Kind.AUDIT_ORDER) & (rows["state"] == OrderState.EXPIRED)]
    assert len(ended) == 1 and len(market.working()) == 0


def test_a_limit_entry_takes_what_is_offered_at_its_price_or_better() -> None:
    market = limit_market()
    market.tick(65, 99_400)
    assert market.audit(Kind.AUDIT_FILL)["price"].tolist() == [99_405]


PATH: dict[str, Any] = {"flags": int(SessionFlag.BAR_PATH), "path_last_ns": PATH_LAST_NS}


@pytest.mark.parametrize(
    ("prices", "paid"),
    [
        ((100_000, 99_400, 100_000, 100_000), [99_500]),  # traded through: at the limit
        ((100_000, 99_500, 100_000, 100_000), []),  # touched only
        ((99_300, 99_400, 99_300, 99_350), [99_305]),  # a gap: the open and half the spread
    ],
)
def test_on_a_bars_path_a_limit_fills_when_traded_through(prices: tuple[int, ...], paid: list[int]) -> None:
    market = limit_market(**PATH)
    for second, price in zip((65, 80, 100, 115), prices, strict=True):
        market.tick(second, price)
    assert market.audit(Kind.AUDIT_FILL)["price"].tolist() == paid


def test_a_distance_in_percent_and_all_that_moved_outlive_a_snapshot() -> None:
    market = held(LONG | {"trail": 5.0, "add_above": 1.0})
    market.tick(70, 101_000)
    market.minute(1, 101_000)
    document = books_document(market.engine.layout)
    before = market.pair().copy()
    market.install(market.books_of_test, 130)
    for name in ("stop_price", "stop_reason", "best_price", "trail_distance", "adds", "trades_today", "stop_distance"):
        assert market.pair()[name] == before[name], name
        assert document["pairs"][0][name] == before[name], name
    assert int(before["stop_distance"]) == -10_000
    assert np.all(market.pair()["best_price"] == 101_000)
    assert MINUTE == 60 * SECOND
