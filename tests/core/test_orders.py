"""An order's life and what its fills do to positions, cash and costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_market import DAY, Book, Market, share, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.core import orders
from atmand.core.orders import ALLOWED
from atmand.core.records import Command, Kind
from atmand.core.words import OrderState, Purpose, Reason
from atmand.market.costs import cost_rows, order_costs

EAGER = {"long_above": 1.0}
S = OrderState
ARROWS = {
    S.FREE: {S.INTENT},
    S.INTENT: {S.HELD, S.SENT, S.REJECTED, S.CANCELLED, S.EXPIRED},
    S.HELD: {S.SENT, S.REJECTED, S.CANCELLED, S.EXPIRED},
    S.SENT: {S.OPEN, S.PARTIAL, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED},
    S.OPEN: {S.OPEN, S.PARTIAL, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED},
    S.PARTIAL: {S.HELD, S.PARTIAL, S.FILLED, S.CANCELLED, S.EXPIRED},
    S.CANCELLED: {S.PARTIAL, S.FILLED},
    S.EXPIRED: {S.PARTIAL, S.FILLED},
    S.FILLED: set(),
    S.REJECTED: set(),
}


@pytest.mark.parametrize("before", OrderState)
@pytest.mark.parametrize("after", OrderState)
def test_every_transition_follows_the_table_and_an_illegal_one_is_counted_and_ignored(
    before: OrderState, after: OrderState, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted: list[tuple[Any, ...]] = []
    header = SimpleNamespace(illegal_transitions=0)
    monkeypatch.setattr(orders, "emit", lambda *row: emitted.append(row))
    monkeypatch.setattr(orders, "header_of", lambda arena: header)
    monkeypatch.setattr(orders, "instrument_at", lambda arena, index: SimpleNamespace(calm=1))
    monkeypatch.setattr(orders, "tag", lambda arena, group: None)
    fields = dict.fromkeys(
        ("book", "instrument", "id", "trade", "side", "filled", "limit", "value", "costs", "group"), 0
    )
    order = SimpleNamespace(state=int(before), reason=int(Reason.RULE), **fields)
    step = getattr(orders.transition, "py_func", orders.transition)
    moved = step(None, order, int(after), 0)
    legal = after in ARROWS[before]
    assert bool(ALLOWED[before, after]) == legal == moved
    assert order.state == (after if legal else before)
    assert header.illegal_transitions == (not legal)
    assert len(emitted) == legal
    assert order.reason == Reason.RULE


def entered(market: Market, price: int = 100_000, **quote: Any) -> None:
    """Make the eager book of a market enter at the close of minute 0, and fill it at 65 seconds."""
    market.minute(0, price)
    market.tick(65, price, **quote)


def test_an_order_passes_through_intent_sent_open_and_filled() -> None:
    market = Market([Book(values=EAGER)])
    entered(market)
    states = market.audit(Kind.AUDIT_ORDER)["state"]
    assert list(states) == [OrderState.INTENT, OrderState.SENT, OrderState.OPEN, OrderState.FILLED]
    intent = market.audit(Kind.AUDIT_INTENT)[0]
    assert (intent["quantity"], intent["state"], intent["reason"]) == (10, Purpose.ENTRY, Reason.RULE)
    assert len(market.working()) == 0
    assert market.header["illegal_transitions"] == 0


def test_the_key_of_an_audit_row_is_its_cause_and_its_place() -> None:
    market = Market([Book(values=EAGER)])
    entered(market)
    rows = market.audit()
    keys = list(zip(rows["cause"].tolist(), rows["index"].tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert keys == sorted(keys)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=14), price=st.integers(1_000, 90_000))
def test_an_orders_costs_do_not_depend_on_how_it_was_cut(cuts: list[int], price: int) -> None:
    price *= 5
    market = Market([Book(values=EAGER | {"units": sum(cuts)})])
    market.minute(0, price)
    for second in range(0, len(cuts), 5):
        market.tick(65 + second, price, ask=[(price + 5, cut) for cut in cuts[second : second + 5]])
    fills = market.audit(Kind.AUDIT_FILL)
    assert list(fills["quantity"]) == cuts
    value = sum(cuts) * (price + 5)
    assert fills["costs"].sum() == order_costs(cost_rows(DAY)[0], 1, value)
    assert (fills["costs"] >= 0).all()
    assert market.pair()["value_paise"] == fills["value"].sum() == value


def test_a_positions_value_is_the_sum_of_its_trades_values_never_average_times_quantity() -> None:
    market = Market([Book(values=EAGER)])
    entered(market, ask=[(100_005, 3), (100_010, 3), (100_020, 4)])
    paid = 3 * 100_005 + 3 * 100_010 + 4 * 100_020
    assert market.pair()["value_paise"] == paid
    market.command(70, Command.EXIT_POSITION)
    market.tick(71, 100_000, bid=[(99_995, 3)])
    assert market.pair()["value_paise"] == paid - paid * 3 // 10
    market.tick(72, 100_000, bid=[(99_990, 7)])
    assert market.pair()["value_paise"] == market.pair()["quantity"] == 0
    assert market.book()["realised_paise"] == 3 * 99_995 + 7 * 99_990 - paid


LAW_BOOKS = (
    Book("steer", "alpha", "one", {"long_above": 1_000.0, "short_below": 990.0, "loss": 8.0, "aim": 6.0, "units": 30}),
    Book(
        "steer",
        "beta",
        "one",
        {"short_below": 1_010.0, "long_out_below": 0.0, "loss": 4.0, "aim": 9.0},
        instruments=(0, 1),
    ),
    Book("keep", "gamma", "two", {"long_above": 995.0, "long_out_below": 1_005.0, "rupees": 25_000}),
    Book("quick", "delta", "two", {}, instruments=(1,)),
)  # fmt: skip


def check_cash_law(market: Market) -> None:
    """Check, book by book, that money is neither made nor lost between cash, positions and costs."""
    pairs, books = market.engine.table("pairs"), market.engine.table("books")
    accounts, instruments = market.engine.table("accounts"), market.engine.table("instruments")
    for index, book in enumerate(books):
        own = pairs[pairs["book"] == index]
        worth = int((own["quantity"] * instruments["last_price"][own["instrument"]]).sum())
        equity = int(book["cash_paise"]) + worth
        unrealised = worth - int(own["value_paise"].sum())
        gained = int(book["realised_paise"]) + unrealised - int(book["costs_paise"])
        assert gained == equity - int(book["capital_paise"])
        assert book["positions"] == (own["quantity"] != 0).sum()
        assert book["working"] == (market.working()["book"] == index).sum()
        flat = own[own["quantity"] == 0]
        assert not flat["value_paise"].any()
    for index, account in enumerate(accounts):
        for name in ("cash_paise", "costs_paise", "realised_paise"):
            assert account[name] == books[books["account"] == index][name].sum()
    marks = market.rows[-1]
    marks = marks[marks["kind"] == Kind.AUDIT_MARK]
    for mark in marks[-len(books) :]:
        assert mark["value"] == books["equity_paise"][mark["book"]]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 25), min_size=5, max_size=20),
    seconds=st.integers(3, 31),
    latency=st.integers(0, 5_000_000_000),
)
def test_cash_positions_and_costs_add_up_after_every_record(
    seed: int, sizes: list[int], seconds: int, latency: int
) -> None:
    market = Market(LAW_BOOKS, latency_ns=(0, latency), seed=seed)
    prices = (walk(seed, 250, spread=300), walk(seed + 1, 250, spread=300))
    for place in range(250):
        last = prices[place % 2][place]
        levels = [sizes[(place + level) % len(sizes)] for level in range(5)]
        market.tick(
            place * seconds,
            last,
            place=place % 2,
            bid=[(last - 5 - 5 * level, size) for level, size in enumerate(levels)],
            ask=[(last + 5 + 5 * level, size) for level, size in enumerate(levels)],
        )
        check_cash_law(market)
    assert market.header["illegal_transitions"] == market.header["outputs_lost"] == 0
    fills = market.audit(Kind.AUDIT_FILL)
    assert fills["costs"].sum() == market.engine.table("books")["costs_paise"].sum()
    assert len(fills) == market.header["fills"]


def test_the_random_market_of_the_cash_law_does_trade() -> None:
    market = Market(LAW_BOOKS)
    for place, last in enumerate(walk(5, 250, spread=300)):
        market.tick(place * 20, last, place=place % 2)
    assert {int(book) for book in market.audit(Kind.AUDIT_FILL)["book"]} == {0, 1, 2, 3}
    reasons = {int(reason) for reason in market.audit(Kind.AUDIT_FILL)["reason"]}
    assert {Reason.RULE, Reason.STOP, Reason.TARGET} <= reasons


def test_a_full_order_table_refuses_entries_and_keeps_a_reserve_for_exits() -> None:
    shares = [share(place) for place in range(5)]
    market = Market([Book(values=EAGER, instruments=(0, 1, 2, 3, 4))], shares, orders_per_book=4)
    market.tick(30, 100_000, place=0)
    market.timer(61)
    market.tick(62, 100_000, place=0)
    assert market.pair(0)["quantity"] == 10
    for place in range(1, 5):
        market.tick(90, 100_000, place=place, ask=[])
        market.tick(91, 100_000, place=place)
    market.timer(121)
    refused = market.audit(Kind.AUDIT_DECISION)
    refused = refused[refused["reason"] == Reason.CAPACITY]
    assert len(refused) == 1
    assert len(market.working()) == 3
    market.command(122, Command.EXIT_POSITION, instrument=0)
    assert market.working()["purpose"].tolist().count(Purpose.EXIT) == 1
    market.tick(123, 100_000, place=0)
    assert market.pair(0)["quantity"] == 0


def test_an_exit_that_finds_no_row_is_made_on_a_later_tick() -> None:
    market = Market([Book(values=EAGER)], orders_per_book=4)
    entered(market)
    market.engine.table("orders")["state"] = OrderState.OPEN
    market.command(70, Command.EXIT_POSITION)
    assert market.pair()["exit_order"] == -1
    market.engine.table("orders")["state"] = OrderState.FREE
    market.tick(71, 100_000)
    market.tick(72, 100_000)
    assert market.pair()["quantity"] == 0
    assert market.audit(Kind.AUDIT_FILL)[-1]["reason"] == Reason.COMMAND


def test_every_audit_row_fits_the_outputs_of_a_busy_record() -> None:
    market = Market(LAW_BOOKS)
    for place, last in enumerate(walk(6, 400, spread=300)):
        market.tick(place * 20, last, place=place % 2)
    assert max(len(rows) for rows in market.rows) < len(market.engine.table("outputs"))
    assert np.concatenate(market.rows)["time_ns"].min() > 0
