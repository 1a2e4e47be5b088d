"""When the market is odd: what bad input does, rule by rule as docs/bad-input.md states them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_market import DAY, MINUTE, Book, Market, candles, next_day, share

from atmand.core.opening import Draft
from atmand.core.records import (
    CORPORATE_ACTION_HEAD,
    CORPORATE_ACTION_ROW,
    Command,
    Kind,
    Record,
    body_of,
)
from atmand.core.words import Reason

EAGER = {"long_above": 1.0}


def fills(market: Market) -> list[tuple[int, int, int]]:
    rows = market.audit(Kind.AUDIT_FILL)
    return [(int(row["side"]), int(row["quantity"]), int(row["price"])) for row in rows]


def reasons(market: Market) -> list[int]:
    return [int(reason) for reason in market.audit(Kind.AUDIT_DECISION)["reason"]]


def entered(**more: Any) -> Market:
    market = Market([Book(values=EAGER | more)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    return market


@pytest.mark.parametrize("price", [0, -5])
def test_a_tick_without_a_price_is_counted_and_changes_nothing(price: int) -> None:
    market = entered(loss=3.0)
    market.tick(66, price, bid=[(5, 10)], ask=[(10, 10)])
    assert market.header["outside_ticks"] == 1
    assert market.engine.table("instruments")["last_price"][0] == 100_000
    assert len(market.working()) == 0


def test_a_tick_from_far_ahead_is_counted_and_changes_nothing() -> None:
    market = entered()
    market.tick(66, 90_000, exchange=66 + 301)
    assert market.header["outside_ticks"] == 1
    assert market.series()["building"]["close"] == 100_000


def test_a_tick_that_a_newer_one_overtook_joins_its_bar_and_moves_no_quote_and_no_stop() -> None:
    market = entered(loss=3.0)
    market.tick(70, 100_100)
    market.tick(71, 99_000, exchange=68)
    bar = market.series()["building"]
    assert (bar["low"], bar["close"]) == (99_000, 100_100)
    instrument = market.engine.table("instruments")[0]
    assert (instrument["last_price"], instrument["bid"][0]["price"]) == (100_100, 100_095)
    assert len(market.working()) == 0
    market.timer(121)
    market.tick(122, 100_000, exchange=121.5)
    market.tick(123, 99_000, exchange=100)
    assert market.header["late_ticks"] == 1
    assert market.bars()[-1]["low"] == 99_000


def test_a_frame_that_came_twice_adds_no_volume_and_no_depth() -> None:
    market = Market([Book(values=EAGER | {"units": 30})])
    market.minute(0, 100_000, volume=50)
    for second in (65, 66):
        market.tick(second, 100_000, ask=[(100_005, 12)], volume=80, exchange=65)
    assert fills(market) == [(1, 12, 100_005)]
    assert market.series()["building"]["volume"] == 30
    market.tick(67, 100_000, ask=[(100_005, 12)], volume=80)
    assert fills(market)[-1] == (1, 12, 100_005)


def test_minutes_without_a_tick_have_no_bar_and_decide_nothing() -> None:
    market = Market([Book(values=EAGER)])
    market.minute(0, 100_000)
    before = market.series()["count"]
    for minute in (1, 2, 3):
        market.timer((minute + 1) * 60 + 1)
    assert market.series()["count"] == before
    assert len(reasons(market)) == 1
    market.minute(4, 100_000)
    assert np.diff(market.bars()["start_ns"]).tolist() == [4 * MINUTE]


def test_a_bar_without_volume_is_a_bar_like_any_other() -> None:
    market = Market([Book(values=EAGER)])
    market.minute(0, 100_000, volume=0)
    assert market.bars()[-1]["volume"] == 0
    assert reasons(market) == [0]


def test_an_indicator_without_a_value_decides_nothing_and_keeps_the_stop() -> None:
    market = Market([Book("quick", values={"level": 0})])
    market.minute(0, 100_000)
    assert len(market.audit(Kind.AUDIT_DECISION)) == 0
    assert market.pair()["ready"] == 0


BANDED = share(0, upper_band=100_000, lower_band=90_000)


@pytest.mark.parametrize(
    ("values", "price", "quote"),
    [(EAGER, 100_000, {"ask": []}), ({"short_below": 1e6}, 90_000, {"bid": []}), (EAGER, 100_000, {})],
)
def test_an_entry_on_the_locked_side_of_a_circuit_is_refused(
    values: dict[str, float], price: int, quote: dict[str, Any]
) -> None:
    market = Market([Book(values=values)], [BANDED, share(1)])
    market.minute(0, price, **quote)
    assert reasons(market) == [Reason.CIRCUIT]


@pytest.mark.parametrize(("values", "price", "side"), [({"short_below": 1e6}, 100_000, -1), (EAGER, 90_000, 1)])
def test_the_other_side_of_a_circuit_may_be_traded(values: dict[str, float], price: int, side: int) -> None:
    market = Market([Book(values=values)], [BANDED, share(1)])
    quote: dict[str, Any] = {"ask": []} if side < 0 else {"bid": []}
    market.minute(0, price, **quote)
    market.tick(65, price, **quote)
    assert fills(market) == [(side, 10, price + 5 * side)]


def test_nothing_fills_outside_the_band_whatever_is_quoted() -> None:
    market = Market([Book(values=EAGER)], [BANDED, share(1)])
    market.minute(0, 99_990)
    assert market.working()["limit"].tolist() == [100_000]
    market.tick(65, 99_990, ask=[(99_995, 4), (100_005, 100)])
    assert fills(market) == [(1, 4, 99_995)]
    market.command(70, Command.EXIT_POSITION)
    market.tick(71, 90_000, bid=[(89_995, 50)])
    assert len(fills(market)) == 1
    market.tick(72, 90_000, bid=[(90_000, 50)])
    assert fills(market)[-1] == (-1, 4, 90_000)


def test_a_halted_instrument_is_not_entered_and_its_exit_waits_for_the_market() -> None:
    market = Market([Book(values=EAGER | {"loss": 3.0}, instruments=(0, 1))], stale_ns=10_000_000_000)
    market.minute(0, 100_000)
    assert reasons(market) == [Reason.STALE]
    market.tick(110, 100_000)
    market.timer(121)
    assert reasons(market)[-1] == Reason.STALE
    market.tick(175, 100_000)
    market.timer(181)
    market.tick(182, 100_000)
    assert market.pair()["quantity"] == 10
    market.command(190, Command.EXIT_POSITION)
    market.timer(3_000)
    assert market.pair()["quantity"] == 10 and len(market.working()) == 1
    market.tick(3_001, 95_000)
    assert fills(market)[-1] == (-1, 10, 94_995)


def split(market: Market, new: int, old: int) -> None:
    head = np.zeros(1, CORPORATE_ACTION_HEAD)
    head["ex_ns"] = market.open_ns
    rows = np.array([(0, new, old), (99, new, old), (1, 0, 1)], CORPORATE_ACTION_ROW)
    market.put(Draft(Kind.CORPORATE_ACTION, body_of(Kind.CORPORATE_ACTION, head, rows), 3), -50)


def test_a_split_overnight_is_taken_into_positions_and_stops() -> None:
    market = entered(loss=30.0, aim=500.0)
    market.tick(70, 100_000)
    market.timer(375 * 60 + 2)
    before = market.pair().copy()
    assert (before["quantity"], before["stop_price"], before["target_price"]) == (10, 97_005, 150_005)
    market.open_session(next_day(DAY), books_sha=market.carry_books())
    split(market, 5, 1)
    pair = market.pair()
    assert (pair["quantity"], pair["entry_quantity"], pair["value_paise"]) == (50, 50, before["value_paise"])
    assert (pair["stop_price"], pair["target_price"], pair["stop_distance"]) == (19_400, 30_000, 600)
    market.tick(10, 20_000)
    assert len(market.working()) == 1
    assert market.working()["quantity"].tolist() == [50]
    market.tick(11, 19_400)
    market.tick(12, 19_400)
    assert market.pair()["quantity"] == 0
    realised = int(market.book()["realised_paise"])
    assert realised == 50 * 19_395 - int(before["value_paise"])


def test_a_split_divides_the_bars_before_it_and_folds_the_indicators_again() -> None:
    market = Market([Book("quick")])
    market.history(candles(-40, [100_000 + 50 * place for place in range(30)]), -55)
    market.timer(-54)
    market.history(candles(0, [30_000]), 61, to=61)
    before = market.bars().copy()
    split(market, 2, 1)
    market.timer(62)
    after = market.bars()
    old = before["start_ns"] < market.open_ns
    assert old.any() and (after["close"][old] == before["close"][old] // 2).all()
    assert (after["volume"][old] == before["volume"][old] * 2).all()
    assert (after["close"][~old] == before["close"][~old]).all()
    assert market.pair()["folded"] == 1


def test_a_corporate_action_before_any_session_is_left_alone() -> None:
    market = Market()
    head, rows = np.zeros(1, CORPORATE_ACTION_HEAD), np.zeros(1, CORPORATE_ACTION_ROW)
    record = Record(Kind.CORPORATE_ACTION, 99, market.open_ns, body_of(Kind.CORPORATE_ACTION, head, rows), 1)
    assert not len(market.engine.apply(record))
    assert not market.engine.table("instruments")["last_price"].any()
