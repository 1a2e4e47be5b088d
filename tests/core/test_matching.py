"""The paper venue: when an order meets the market, at which prices, and what ends it."""

from __future__ import annotations

from typing import Any

import pytest
from core_market import Book, Market, share
from numpy.typing import NDArray

from atmand.core.bar_path import PATH_LAST_NS
from atmand.core.records import Command, Kind, SessionFlag
from atmand.core.words import OrderState, Purpose, Reason

EAGER = {"long_above": 1.0}
SHORT = {"short_below": 1e6}


def fills(market: Market) -> list[tuple[int, int, int, int]]:
    """Return every fill so far as (book, side, quantity, price)."""
    rows = market.audit(Kind.AUDIT_FILL)
    return [tuple(int(row[name]) for name in ("book", "side", "quantity", "price")) for row in rows]


def ended(rows: NDArray[Any]) -> list[tuple[int, int]]:
    """Return (state, reason) of the orders that came to a final state other than filled."""
    finals = (OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED)
    return [
        (int(row["state"]), int(row["reason"]))
        for row in rows
        if row["kind"] == Kind.AUDIT_ORDER and row["state"] in finals
    ]


def test_an_order_never_matches_by_the_record_that_made_it() -> None:
    market = Market([Book(values=EAGER)])
    market.tick(30, 100_000)
    market.tick(61.5, 100_000)
    assert market.working()["state"].tolist() == [OrderState.SENT]
    assert fills(market) == []
    market.tick(61.6, 100_000)
    assert fills(market) == [(0, 1, 10, 100_005)]


def test_an_order_waits_out_its_latency() -> None:
    market = Market([Book(values=EAGER)], latency_ns=(2_000_000_000, 2_000_000_000))
    market.minute(0, 100_000)
    market.tick(62.99, 99_000)
    assert fills(market) == []
    market.tick(63.0, 100_500)
    assert fills(market) == [(0, 1, 10, 100_505)]


def test_latency_is_a_hash_of_seed_and_order_and_stays_within_its_bounds() -> None:
    def latencies(seed: int) -> list[int]:
        books = [Book(name=name, values=EAGER) for name in ("alpha", "beta", "gamma", "delta")]
        market = Market(books, latency_ns=(50_000_000, 150_000_000), seed=seed)
        market.minute(0, 100_000)
        return [int(row["active_ns"] - row["created_ns"]) for row in market.working()]

    assert len(set(latencies(1))) == 4
    assert latencies(1) == latencies(1) != latencies(2)
    assert all(50_000_000 <= drawn <= 150_000_000 for drawn in latencies(1))


def test_an_order_takes_the_touch_first_and_then_the_depth_up_to_its_limit() -> None:
    market = Market([Book(values=EAGER | {"units": 50})])
    market.minute(0, 100_000)
    limit = int(market.working()["limit"][0])
    assert limit == 100_005 + 1_000
    market.tick(65, 100_000, ask=[(100_005, 10), (100_010, 15), (limit, 5), (limit + 5, 500)])
    assert fills(market) == [(0, 1, 10, 100_005), (0, 1, 15, 100_010), (0, 1, 5, limit)]
    assert market.working()["state"].tolist() == [OrderState.PARTIAL]
    market.tick(66, 100_000, ask=[(100_000, 500)])
    assert fills(market)[-1] == (0, 1, 20, 100_000)


def test_the_depth_taken_is_shared_until_the_next_packet() -> None:
    market = Market([Book(values=EAGER), Book(name="beta", values=EAGER)])
    market.minute(0, 100_000)
    market.tick(65, 100_000, ask=[(100_005, 12)])
    assert fills(market) == [(0, 1, 10, 100_005), (1, 1, 2, 100_005)]
    market.tick(66, 100_000, packet=8)
    assert len(fills(market)) == 2
    market.tick(67, 100_000, ask=[(100_005, 12)])
    assert fills(market)[-1] == (1, 1, 8, 100_005)


def test_the_older_order_meets_the_market_first() -> None:
    market = Market([Book(), Book(name="beta", values=EAGER)], entry_wait_ns=600_000_000_000)
    market.minute(0, 100_000)
    market.set(62, 0, long_above=1.0)
    market.minute(1, 100_000, ask=200_000)
    assert market.working()["book"].tolist() == [1, 0]
    market.tick(122, 100_000, ask=[(100_005, 10)])
    assert fills(market) == [(1, 1, 10, 100_005)]


def test_an_unfilled_exit_is_repriced_round_the_touch() -> None:
    market = Market([Book(values=EAGER)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    market.command(70, Command.EXIT_POSITION)
    assert market.working()["limit"].tolist() == [99_995 - 1_000]
    market.tick(71, 97_000, bid=[(97_000, 4)])
    assert fills(market)[-1] == (0, -1, 4, 97_000)
    market.tick(72, 90_000, bid=[(90_000, 100)])
    assert fills(market)[-1] == (0, -1, 6, 90_000)


def test_an_exit_without_a_touch_is_asked_for_again() -> None:
    market = Market([Book(values=EAGER)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    market.tick(66, 100_000, bid=[])
    market.command(70, Command.EXIT_POSITION)
    assert len(market.working()) == 0
    market.tick(71, 100_000)
    assert market.working()["reason"].tolist() == [Reason.COMMAND]
    market.tick(72, 100_000)
    assert market.pair()["quantity"] == 0


def test_an_unfilled_entry_expires() -> None:
    market = Market([Book(values=EAGER)], entry_wait_ns=10_000_000_000)
    market.minute(0, 100_000, ask=[(100_005, 5)])
    market.tick(62, 100_000, ask=[])
    assert market.engine.next_due_ns <= market.open_ns + 71_000_000_000
    assert ended(market.timer(70.9)) == []
    assert ended(market.timer(71)) == [(OrderState.EXPIRED, Reason.ENTRY_EXPIRED)]
    assert len(market.working()) == 0


def test_an_entry_that_expired_partly_filled_keeps_what_it_has() -> None:
    market = Market([Book(values=EAGER)], entry_wait_ns=10_000_000_000)
    market.minute(0, 100_000)
    market.tick(62, 100_000, ask=[(100_005, 4)])
    market.timer(71)
    assert market.pair()["quantity"] == 4
    assert market.working().size == 0


def crossing_market(**terms: Any) -> Market:
    """Alpha buys, beta of the same account sells, at the same bar."""
    return Market([Book(values=EAGER), Book(name="beta", values=SHORT)], **terms)


def test_an_order_that_would_meet_our_own_waits_until_that_is_done() -> None:
    market = crossing_market()
    market.minute(0, 100_000)
    assert market.working()["state"].tolist() == [OrderState.SENT, OrderState.HELD]
    market.tick(65, 100_000, ask=[])
    assert market.working()["state"].tolist() == [OrderState.OPEN, OrderState.HELD]
    market.tick(66, 100_000)
    assert fills(market) == [(0, 1, 10, 100_005), (1, -1, 10, 99_995)]


def test_a_held_order_expires_like_any_other_entry() -> None:
    market = crossing_market(entry_wait_ns=10_000_000_000)
    market.minute(0, 100_000)
    market.tick(65, 100_000, ask=[])
    assert ended(market.timer(71)) == [(OrderState.EXPIRED, Reason.ENTRY_EXPIRED)] * 2


def test_orders_of_two_accounts_may_meet() -> None:
    market = Market([Book(values=EAGER), Book(name="beta", account="two", values=SHORT)])
    market.minute(0, 100_000)
    assert market.working()["state"].tolist() == [OrderState.SENT] * 2


def test_orders_of_two_instruments_never_meet() -> None:
    market = Market([Book(values=EAGER), Book(name="beta", values=SHORT, instruments=(1,))])
    market.tick(20, 100_000)
    market.tick(21, 100_000, place=1)
    market.timer(61)
    assert market.working()["state"].tolist() == [OrderState.SENT] * 2


def test_an_exit_takes_a_resting_target_that_it_would_meet_out_of_its_way() -> None:
    market = Market([Book(values=EAGER | {"aim": 2.0}), Book(name="beta", values=SHORT | {"units": 7})])
    market.set(1, 1, short_below=0)
    market.minute(0, 100_000)
    market.tick(62, 100_000)
    market.tick(63, 100_000)
    assert market.working()["purpose"].tolist() == [Purpose.TARGET]
    market.set(64, 1, short_below=1e6)
    market.set(64, 0, long_above=1e6)
    market.minute(1, 100_000)
    market.tick(122, 100_000)
    assert [int(pair["quantity"]) for pair in market.engine.table("pairs")] == [10, -7]
    rows = market.command(125, Command.EXIT_POSITION, book=1)
    assert (OrderState.CANCELLED, Reason.SELF_CROSS) in ended(rows)
    market.tick(126, 100_000)
    assert [int(pair["quantity"]) for pair in market.engine.table("pairs")] == [10, 0]
    market.tick(127, 100_000)
    assert market.working()["purpose"].tolist() == [Purpose.TARGET]
    assert market.working()["limit"].tolist() == [100_205]


@pytest.mark.parametrize(
    ("values", "side", "stop_tick"), [(EAGER | {"loss": 3.0}, 1, 99_705), (SHORT | {"loss": 3.0}, -1, 100_295)]
)
def test_a_stop_leaves_at_the_market_once_the_last_price_reaches_it(
    values: dict[str, float], side: int, stop_tick: int
) -> None:
    market = Market([Book(values=values)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    assert market.pair()["stop_price"] == 100_000 + side * 5 - side * 300
    market.tick(66, stop_tick + side * 5)
    assert len(market.working()) == 0
    market.tick(67, stop_tick)
    assert market.working()["reason"].tolist() == [Reason.STOP]
    market.tick(68, stop_tick - side * 50)
    assert fills(market)[-1] == (0, -side, 10, stop_tick - side * 50 - side * 5)
    assert market.pair()["quantity"] == 0


@pytest.mark.parametrize(("values", "side"), [(EAGER | {"aim": 3.0}, 1), (SHORT | {"aim": 3.0}, -1)])
def test_a_target_rests_as_a_limit_order(values: dict[str, float], side: int) -> None:
    market = Market([Book(values=values)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    aim = 100_000 + side * 5 + side * 300
    resting = market.working()
    assert (resting["purpose"].tolist(), resting["limit"].tolist()) == ([Purpose.TARGET], [aim])
    touch = {"bid": [(aim - 5, 100)]} if side > 0 else {"ask": [(aim + 5, 100)]}
    market.tick(66, aim, **touch)
    assert market.pair()["quantity"] == 10 * side
    reached = {"bid": [(aim, 100)]} if side > 0 else {"ask": [(aim, 100)]}
    market.tick(67, aim, **reached)
    assert fills(market)[-1] == (0, -side, 10, aim)
    assert market.audit(Kind.AUDIT_FILL)[-1]["reason"] == Reason.TARGET


def test_an_exit_rule_cancels_the_resting_target() -> None:
    market = Market([Book(values=EAGER | {"aim": 50.0, "long_out_below": 999.0})])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    rows = market.minute(1, 99_000)
    assert ended(rows) == [(OrderState.CANCELLED, Reason.REPLACED)]
    assert market.working()["reason"].tolist() == [Reason.RULE]


def test_stop_and_target_lie_on_the_instruments_grid_away_from_the_price() -> None:
    market = Market([Book(values=EAGER | {"loss": 1.23, "aim": 1.23})], [share(0, tick=20), share(1)])
    market.minute(0, 100_000)
    market.tick(65, 100_000, ask=[(100_000, 100)])
    assert (market.pair()["stop_price"], market.pair()["target_price"]) == (99_860, 100_140)


def test_square_off_closes_positions_and_lets_nothing_in_afterwards() -> None:
    market = Market([Book(values=EAGER, plan={"square_off_ns": 9 * 3600 * 10**9 + 17 * 60 * 10**9})])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    rows = market.timer(120)
    assert rows[rows["kind"] == Kind.AUDIT_INTENT]["reason"].tolist() == [Reason.SQUARE_OFF]
    market.tick(121, 100_000)
    assert market.pair()["quantity"] == 0
    rows = market.minute(2, 100_000)
    assert rows[rows["kind"] == Kind.AUDIT_DECISION]["reason"].tolist() == [Reason.OUTSIDE_WINDOW]


def test_the_sessions_end_expires_every_order() -> None:
    market = Market([Book(values=EAGER | {"aim": 50.0}, instruments=(0, 1), plan={"carried": True})])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    last = 374 * 60
    market.tick(last + 30, 100_000, place=1, ask=[])
    assert market.working()["purpose"].tolist() == [Purpose.TARGET]
    rows = market.timer(375 * 60 + 1)
    assert ended(rows) == [(OrderState.EXPIRED, Reason.SESSION_END)]
    assert len(market.working()) == 0
    assert market.pair()["quantity"] == 10


def on_path(values: dict[str, float], steps: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """Enter at the first step of minute 1 of a market drawn out of bars; return the fills up to minute 2's end."""
    market = Market([Book(values=values)], flags=int(SessionFlag.BAR_PATH), path_last_ns=PATH_LAST_NS)
    for minute, prices in enumerate([(100_000,) * 4, steps, (100_000,) * 4]):
        for second, price in zip((5, 20, 40, 55), prices, strict=True):
            market.tick(minute * 60 + second, price)
        market.timer(minute * 60 + 61)
        market.set(minute * 60 + 61.5, 0, long_above=1e6, short_below=0)
    return fills(market)


def test_a_stop_and_a_target_in_one_bar_take_the_worse_for_long_and_short() -> None:
    both = {"loss": 3.0, "aim": 3.0}
    for first, second in ((101_000, 99_000), (99_000, 101_000)):
        steps = (100_000, first, second, 100_000)
        assert on_path(EAGER | both, steps)[1] == (0, -1, 10, 98_995)
        assert on_path(SHORT | both, steps)[1] == (0, 1, 10, 101_005)


def test_on_a_bars_path_the_target_fills_at_its_limit_and_only_at_the_last_step() -> None:
    assert on_path(EAGER | {"aim": 3.0}, (100_000, 101_000, 99_000, 100_000))[1] == (0, -1, 10, 100_305)
    assert on_path(SHORT | {"aim": 3.0}, (100_000, 101_000, 99_000, 100_000))[1] == (0, 1, 10, 99_695)
    market = Market([Book(values=EAGER | {"aim": 3.0})], flags=int(SessionFlag.BAR_PATH), path_last_ns=PATH_LAST_NS)
    market.minute(0, 100_000)
    for second, price, held in ((65, 100_000, 10), (80, 101_000, 10), (100, 99_500, 10), (115, 100_000, 0)):
        market.tick(second, price)
        assert market.pair()["quantity"] == held


def test_on_a_bars_path_a_stop_fills_at_the_step_that_reaches_it() -> None:
    assert on_path(EAGER | {"loss": 3.0}, (100_000, 100_100, 99_000, 100_000))[1] == (0, -1, 10, 98_995)
    assert on_path(SHORT | {"loss": 3.0}, (100_000, 100_100, 101_000, 100_000))[1] == (0, 1, 10, 101_005)
