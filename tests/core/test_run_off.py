"""Run-off: positions of a changed strategy go on under their old rules in a book of their own; money only moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from core_market import DAY, RICH, Book, Market, next_day, share

from atmand.core.records import Command, Kind
from atmand.core.run_off import heir_of
from atmand.core.words import Reason

EAGER = {"long_above": 1.0}
OLD = Book(values=EAGER | {"long_out_below": 900.0, "loss": 20}, instruments=(0, 1))
NEW = Book(strategy="keep", values=EAGER, instruments=(0, 1))
LEAVING = replace(OLD, name="alpha~1", plan={"run_off": True, "origin": "alpha"})


def in_trade(book: Book = OLD) -> Market:
    """A market in which a book holds one share, and not the other."""
    market = Market([book], (share(0), share(1)))
    market.minute(0, 100_000)
    market.tick(62, 100_000)
    return market


def cash(market: Market) -> tuple[int, int]:
    return int(market.engine.table("books")["cash_paise"].sum()), int(market.engine.table("accounts")["cash_paise"][0])


def test_positions_move_with_stop_and_money_and_the_new_rules_begin_flat() -> None:
    market = in_trade()
    before, money = market.pair(0).copy(), cash(market)
    market.install([NEW, LEAVING], 63, copies=[-1, -1, 0, 1])
    pairs = market.engine.table("pairs")
    assert pairs["quantity"].tolist() == [0, 0, 10, 0]
    for name in ("value_paise", "stop_price", "entry_ns", "trade", "entry_value", "costs_paise"):
        assert pairs[name][2] == before[name]
    books = market.engine.table("books")
    assert books["capital_paise"].tolist() == [RICH.capital_paise - before["value_paise"], before["value_paise"]]
    assert books["positions"].tolist() == [0, 1]
    assert cash(market) == money and money[0] == money[1]


def test_a_run_off_book_exits_by_its_old_rules_and_enters_nothing() -> None:
    market = in_trade()
    market.install([NEW, LEAVING], 63, copies=[-1, -1, 0, 1])
    market.tick(90, 95_000, place=1)
    market.minute(1, 89_000)  # below the old rule's exit; the new rules would enter
    market.tick(125, 89_000)
    assert market.engine.table("pairs")["quantity"][2] == 0
    refused = market.audit(Kind.AUDIT_DECISION)
    assert Reason.RUN_OFF in refused["reason"][refused["book"] == 1]


def test_a_short_takes_its_margin_along() -> None:
    market = in_trade(Book(values={"short_below": 1e6}))
    assert market.pair(0)["quantity"] < 0
    leaving = replace(LEAVING, values={"short_below": 1e6})
    market.install([Book(), leaving], 63)
    book = market.book(1)
    assert book["cash_paise"] == 2 * book["capital_paise"] > 0
    assert cash(market)[0] == cash(market)[1]


def test_what_a_finished_book_made_is_its_origins_and_nothing_is_lost() -> None:
    market = in_trade()
    market.install([NEW, LEAVING], 63, copies=[-1, -1, 0, 1])
    market.tick(64, 98_000 - 500)  # through the stop
    market.tick(65, 97_500)
    assert market.engine.table("pairs")["quantity"].tolist()[2] == 0
    money = cash(market)
    market.install([NEW], 66)
    assert cash(market) == money
    assert market.book(0)["capital_paise"] == RICH.capital_paise
    assert market.book(0)["cash_paise"] == money[0]


def test_the_opening_of_a_session_moves_the_positions_too() -> None:
    market = in_trade()
    sha = market.carry_books()
    market.books_of_test = (NEW, LEAVING)
    market.open_session(opened=100, books_sha=sha)
    assert market.engine.table("pairs")["quantity"].tolist() == [0, 0, 10, 0]


def test_instruments_that_join_inside_a_session_leave_bars_and_positions_as_they_are() -> None:
    market = in_trade(replace(OLD, instruments=(0,)))
    before, bars = market.pair(0).copy(), market.bars(0).copy()
    from atmand.core.opening import instruments_draft

    market.shares = (share(2), share(0), share(1))
    market.put(instruments_draft([(one, 0) for one in market.shares]), 70)
    market.install([replace(OLD, instruments=(1, 0))], 70, copies=[0, -1])
    pair = market.pair(0)
    assert (pair["quantity"], pair["stop_price"]) == (before["quantity"], before["stop_price"])
    np.testing.assert_array_equal(market.bars(int(pair["series"])), bars)
    joined = market.engine.table("instruments")[0]
    assert joined["gap_ns"] == market.engine.time_ns and not joined["volume_known"]


def test_only_a_numbered_book_has_an_heir() -> None:
    assert heir_of("alpha~12@one") == "alpha@one"
    assert heir_of("alpha@one") is None


def test_a_paused_book_stays_paused_over_the_next_opening_and_a_change_of_rules() -> None:
    market = in_trade()
    market.command(63, Command.PAUSE_BOOK, book=0)
    market.open_session(next_day(DAY), books_sha=market.carry_books())
    assert market.book(0)["paused"]
    market.install([NEW, LEAVING], 1)
    assert market.engine.table("books")["paused"].tolist() == [1, 0]
