"""The portfolio: the account's limits, the order of entries when something is short, and netting between books."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from core_market import CLOSE, MINUTE, RICH, SECOND, Book, Market, share, walk
from core_market import OPEN as OPEN_NS
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.core.layout import proposal_at
from atmand.core.netting import mid_price
from atmand.core.opening import PortfolioLimits, limits_draft
from atmand.core.portfolio import propose, take_proposals, withdraw
from atmand.core.records import LIMITS_HEAD_1, LIMITS_ROW, Command, Kind, Record, upgraded
from atmand.core.words import OrderState, Purpose, Reason

EAGER = {"long_above": 1.0}
SHORT = {"short_below": 1e6}
TRIO = (share(0, sector="BANK"), share(1, sector="BANK"), share(2, sector="IT"))
OPEN = PortfolioLimits(netting=False)


def decided(market: Market) -> list[tuple[int, int, int]]:
    """List (book, instrument, reason) of the entries that were decided, in their order."""
    rows = market.audit(Kind.AUDIT_DECISION)
    return [(int(row["book"]), int(row["instrument"]), int(row["reason"])) for row in rows]


def close_all(market: Market, price: int = 100_000) -> None:
    """Close one bar of every share by one record."""
    for place in range(len(market.shares)):
        market.tick(30, price, place=place)
    market.timer(61)


@pytest.mark.parametrize(
    ("limit", "blocked"),
    [
        ({"account_positions": 2}, {2: Reason.ACCOUNT_POSITIONS}),
        ({"sector_positions": 1}, {1: Reason.SECTOR_POSITIONS}),
        ({"gross_paise": 20 * 101_010}, {2: Reason.GROSS_EXPOSURE}),
        ({"net_paise": 20 * 101_010}, {2: Reason.NET_EXPOSURE}),
        ({"gross_of_equity": 5_000}, {1: Reason.GROSS_EXPOSURE, 2: Reason.GROSS_EXPOSURE}),
    ],
)
def test_a_limit_of_the_account_keeps_the_entry_that_would_break_it_out(
    limit: dict[str, int], blocked: dict[int, Reason]
) -> None:
    book = Book(values=EAGER, instruments=(0, 1, 2), limits=replace(RICH, capital_paise=40 * 101_010))
    market = Market([book], TRIO, portfolio=replace(OPEN, **limit))
    close_all(market)
    assert decided(market) == [(0, place, blocked.get(place, 0)) for place in range(3)]
    assert len(market.working()) == 3 - len(blocked)


def test_the_limits_count_all_books_of_an_account_and_no_other_account() -> None:
    books = [
        Book(values=EAGER, name="alpha"),
        Book(values=EAGER, name="beta"),
        Book(values=EAGER, name="gamma", account="two"),
    ]
    market = Market(books, portfolio=replace(OPEN, underlying_positions=1))
    close_all(market)
    assert decided(market) == [(0, 0, 0), (1, 0, Reason.UNDERLYING_POSITIONS), (2, 0, 0)]


def test_a_short_is_not_refused_for_the_net_exposure_that_it_lowers() -> None:
    books = [Book(values=EAGER, name="alpha"), Book(values=SHORT, name="beta", instruments=(1,))]
    market = Market(books, portfolio=replace(OPEN, net_paise=11 * 101_010))
    close_all(market)
    market.command(62, Command.ENTRIES_OFF)
    assert decided(market) == [(0, 0, 0), (1, 1, 0)]


@given(
    st.lists(st.tuples(st.floats(allow_nan=True), st.integers(0, 2)), min_size=3, max_size=6),
    st.lists(st.integers(0, 17), max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_proposals_are_taken_by_rank_then_instrument_then_book(
    given_ranks: list[tuple[float, int]], order: list[int]
) -> None:
    books = [Book(name=f"b{n}", instruments=(0, 1, 2)) for n in range(len(given_ranks))]
    market = Market(books, TRIO)
    from atmand.core.jit import JIT, address_of

    if JIT:
        pytest.skip("calls kernels with the arena itself")
    arena = address_of(market.engine.layout.arena)
    pairs = market.engine.layout.pairs
    chosen: dict[int, float] = {}
    for step, place in enumerate(order):
        index = place % len(pairs)
        rank = given_ranks[step % len(given_ranks)][0]
        if step % 5 == 4:
            withdraw(arena, index)
            chosen.pop(index, None)
        else:
            propose(arena, index, rank)
            chosen[index] = -np.inf if np.isnan(rank) else rank
    taken = [int(proposal_at(arena, place).row) for place in range(int(take_proposals(arena)))]
    assert taken == sorted(chosen, key=lambda index: (-chosen[index], pairs[index][1], pairs[index][0]))
    assert int(market.header["proposed"]) == 0
    assert not market.engine.table("pairs")["proposed"].any()


def test_short_cash_goes_to_the_instrument_that_comes_first_whatever_closed_first() -> None:
    book = Book(values=EAGER, instruments=(2, 1, 0), limits=replace(RICH, capital_paise=11 * 101_010))
    market = Market([book], TRIO)
    close_all(market)
    assert decided(market) == [(0, 0, 0), (0, 1, Reason.CASH), (0, 2, Reason.CASH)]


@pytest.mark.parametrize(
    ("bid", "ask", "tick", "mid"),
    [
        (100, 110, 5, 105),
        (100, 105, 5, 100),
        (105, 110, 5, 110),
        (100, 103, 1, 102),
        (99, 100, 1, 100),
        (100, 101, 1, 100),
        (0, 100, 5, 0),
    ],
)
def test_the_mid_lies_on_the_grid_and_half_a_tick_goes_to_the_even_one(bid: int, ask: int, tick: int, mid: int) -> None:
    assert int(mid_price(bid, ask, tick)) == mid


def netted_pair(buys: int, sells: int, **sides: Any) -> Market:
    books = [
        Book(values=EAGER | {"units": buys}, name="alpha", **sides.get("buyer", {})),
        Book(values=SHORT | {"units": sells}, name="beta", **sides.get("seller", {})),
    ]
    market = Market(books, portfolio=PortfolioLimits(**sides.get("portfolio", {})))
    market.tick(30, 100_000, bid=99_990, ask=100_010)
    market.timer(61)
    return market


def test_opposite_entries_settle_between_the_books_at_the_mid_without_costs_and_the_rest_leaves() -> None:
    market = netted_pair(10, 4)
    fills = market.audit(Kind.AUDIT_FILL)
    assert [(int(f["book"]), int(f["side"]), int(f["quantity"])) for f in fills] == [(0, 1, 4), (1, -1, 4)]
    assert set(fills["reason"]) == {Reason.NETTED} and set(fills["price"]) == {100_000} and not fills["costs"].any()
    (rest,) = market.working()
    assert (rest["book"], rest["quantity"] - rest["filled"]) == (0, 6)
    assert rest["state"] == OrderState.PARTIAL
    market.tick(62, 100_000)
    alpha, beta = market.engine.table("pairs")
    assert (alpha["quantity"], beta["quantity"]) == (10, -4)
    alone = Market([Book(values=EAGER | {"units": 6})])
    alone.minute(0, 100_000)
    alone.tick(62, 100_000)
    # The rest costs what an order of its size alone costs.
    assert market.book(0)["costs_paise"] == alone.book(0)["costs_paise"] > 0
    assert market.book(1)["costs_paise"] == 0


def test_no_timer_is_asked_for_an_entry_that_ended_in_the_record_that_made_it() -> None:
    assert netted_pair(10, 4).header["next_due_ns"] == OPEN_NS + 91 * SECOND
    assert netted_pair(10, 10).header["next_due_ns"] == CLOSE - 15 * MINUTE  # when MIS is squared off


def test_an_exit_meets_another_books_entry_and_both_books_know_their_stops() -> None:
    books = [
        Book(values=EAGER, name="alpha"),
        Book(values=EAGER | {"long_above": 100_500 / 100, "loss": 5}, name="beta"),
    ]
    market = Market(books, portfolio=PortfolioLimits())
    market.minute(0, 100_000)
    market.tick(62, 100_000)
    market.set(63, 0, long_above=1e6, long_out_below=1e6)
    rows = market.minute(1, 101_000)
    fills = rows[rows["kind"] == Kind.AUDIT_FILL]
    assert [(int(f["book"]), Purpose(int(f["state"]))) for f in fills] == [(0, Purpose.EXIT), (1, Purpose.ENTRY)]
    alpha, beta = market.engine.table("pairs")
    assert (alpha["quantity"], beta["quantity"], beta["stop_price"]) == (0, 10, 101_000 - 500)
    assert not len(market.working())


@pytest.mark.parametrize(
    "sides",
    [
        {"portfolio": {"netting": False}},
        {"seller": {"account": "two"}},
        {"buyer": {"plan": {"delivery": True}}},
        {"seller": {"limits": replace(RICH, order_value_paise=10 * 99_500)}},
    ],
    ids=["switched off", "another account", "another product", "a limit of the seller's"],
)
def test_what_must_not_meet_is_not_netted(sides: dict[str, Any]) -> None:
    market = netted_pair(10, 10, **sides)
    assert len(market.working()) == 2
    assert not (market.audit(Kind.AUDIT_FILL)["reason"] == Reason.NETTED).any()


def test_exits_of_opposite_positions_by_one_command_are_netted() -> None:
    books = [Book(values=EAGER, name="alpha"), Book(values=SHORT, name="beta")]
    market = Market(books, portfolio=PortfolioLimits())
    market.minute(0, 100_000)
    market.command(62, Command.EXIT_POSITION)
    assert not len(market.working())
    assert market.audit(Kind.AUDIT_FILL)["reason"].tolist() == [Reason.NETTED] * 4
    assert market.engine.table("books")["cash_paise"].tolist() == [RICH.capital_paise] * 2


@given(st.integers(0, 10_000), st.lists(st.sampled_from(["EAGER", "SHORT", "quick"]), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None)
def test_the_books_cash_sums_to_the_accounts_after_every_record(seed: int, kinds: list[str]) -> None:
    draw = np.random.default_rng(seed)
    values = {"EAGER": EAGER | {"loss": 3, "aim": 4}, "SHORT": SHORT | {"loss": 2}}
    books = [
        Book("steer", f"b{n}", values=values[kind] | {"units": int(draw.integers(1, 30))})
        if kind in values
        else Book("quick", f"b{n}")
        for n, kind in enumerate(kinds)
    ]
    market = Market(books, portfolio=PortfolioLimits())
    for number, price in enumerate(walk(seed, 25)):
        market.tick(number * 60 + 30, price, quantity=int(draw.integers(1, 40)))
        if draw.random() < 0.2:
            market.command(number * 60 + 40, Command.EXIT_POSITION, book=int(draw.integers(0, len(books))))
        market.timer((number + 1) * 60 + 1)
        cash = market.engine.table("books")["cash_paise"].sum()
        assert cash == market.engine.table("accounts")["cash_paise"][0]
    fills = market.audit(Kind.AUDIT_FILL)
    netted = fills[fills["reason"] == Reason.NETTED]
    assert (netted["side"] * netted["value"]).sum() == 0
    assert int(market.header["illegal_transitions"]) == 0


def test_limits_of_a_journal_before_portfolios_are_read_as_none() -> None:
    rows = np.zeros(1, LIMITS_ROW)
    rows["capital_paise"], rows["open_positions"] = 5, 3
    head = np.ones(1, LIMITS_HEAD_1)
    old = Record(Kind.LIMITS, 9, 9, head.tobytes() + rows.tobytes(), 1, 1)
    new = limits_draft([replace(RICH, capital_paise=5)], PortfolioLimits(netting=False))
    read = upgraded(old)
    assert (read.version, len(read.body)) == (new.version, len(new.body))
    assert read.body[:72] == new.body[:72]
    assert read.body[72:] == rows.tobytes()
