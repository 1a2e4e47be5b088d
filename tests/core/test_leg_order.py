"""In which order a group's legs go in and out, how an entry is chased, and what is undone when one leg stays out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from core_market import Market
from test_legs import LOT, SPOT, STRADDLE, Options, wide

from atmand.core.books import books_document, load_books
from atmand.core.opening import BookLimits
from atmand.core.records import Command, Kind
from atmand.core.words import LegState, Reason

BOUGHT = {(24_400, 1): LOT, (23_600, -1): LOT}
SOLD = {(24_200, 1): -LOT, (23_800, -1): -LOT}
ENTRY_NS = 10_000_000_000
AT = 35 * 60 + 1
"""The second of the bar's close on which the condor is decided."""


def decided(**more: Any) -> Options:
    """Return a market that has just decided to enter the condor; nothing has filled yet."""
    market = Options("iron_condor", chain=wide().shares[1:], entry_wait_ns=ENTRY_NS, **more)
    for place in range(1, len(market.shares)):
        market.tick(AT - 280, 10_000, place=place)
    market.tick(AT - 200, SPOT, packet=32)
    market.timer(AT)
    return market


def trade(market: Options, at: float, contracts: Iterable[tuple[int, int]], price: float = 100.0, **quote: Any) -> None:
    """Tick some contracts, by strike and right."""
    for strike, right in contracts:
        market.quote(at, strike, right, price, **quote)


def intents(market: Market) -> list[tuple[int, int]]:
    """Return every intent so far as (side, what for)."""
    rows = market.audit(Kind.AUDIT_INTENT)
    return [(int(row["side"]), int(row["state"])) for row in rows]


def test_sold_legs_are_sent_when_every_bought_one_is_in() -> None:
    market = decided()
    assert intents(market) == [(1, 1), (1, 1)]
    trade(market, AT + 1, [*SOLD, (24_400, 1)])
    assert market.held() == {(24_400, 1): LOT}
    assert len(intents(market)) == 2
    trade(market, AT + 2, [(23_600, -1)])
    assert market.held() == BOUGHT
    assert intents(market)[2:] == [(-1, 1), (-1, 1)]
    trade(market, AT + 3, SOLD)
    assert market.held() == BOUGHT | SOLD
    assert market.audit(Kind.AUDIT_INTENT)["group"].tolist() == [1, 1, 1, 1]


def test_a_bought_leg_that_stays_out_ends_the_group_before_anything_is_sold() -> None:
    market = decided()
    trade(market, AT + 1, [(24_400, 1)])
    trade(market, AT + 1, [(23_600, -1)], ask=[])
    market.timer(AT + 10.1)
    trade(market, AT + 11, [(24_400, 1)])
    assert (market.held(), market.group()["id"]) == ({}, 0)
    assert market.exits() == [Reason.LEG_FAILED]
    assert {side for side, purpose in intents(market) if purpose == 1} == {1}


def test_a_sold_leg_that_finds_no_quote_in_its_time_undoes_what_was_bought() -> None:
    market = decided()
    trade(market, AT + 1, [(24_200, 1)], bid=[])
    trade(market, AT + 2, BOUGHT)
    trade(market, AT + 3, [(23_800, -1)])
    assert market.held() == BOUGHT | {(23_800, -1): -LOT}
    market.timer(AT + 11.9)
    assert market.group()["leaving"] == 0
    market.timer(AT + 12.1)
    assert market.group()["leaving"] == Reason.LEG_FAILED
    trade(market, AT + 13, BOUGHT)
    assert market.held() == BOUGHT | {(23_800, -1): -LOT}, "what covers the sold leg stays until that is back"
    trade(market, AT + 14, [(23_800, -1)])
    assert market.held() == BOUGHT
    trade(market, AT + 15, BOUGHT)
    assert (market.held(), market.group()["id"]) == ({}, 0)


@pytest.mark.parametrize("stop", [Command.ENTRIES_OFF, Command.PAUSE_BOOK])
def test_a_group_is_not_completed_once_entries_are_off(stop: Command) -> None:
    market = decided()
    market.command(AT + 1, stop, book=0)
    trade(market, AT + 2, BOUGHT)
    trade(market, AT + 3, [*BOUGHT, *SOLD])
    assert (market.held(), market.group()["id"]) == ({}, 0)
    assert -1 not in {side for side, purpose in intents(market) if purpose == 1}


@pytest.mark.parametrize("reason", [Reason.COMMAND, Reason.SQUARE_OFF])
def test_sold_legs_are_left_before_the_bought_ones_whoever_asks(reason: Reason) -> None:
    at = (15 - 9.25) * 3600 + 1
    market = decided(plan={"square_off_ns": 15 * 3600 * 1_000_000_000})
    trade(market, AT + 1, BOUGHT)
    trade(market, AT + 2, SOLD)
    if reason == Reason.COMMAND:
        at = AT + 6
        market.command(at - 1, Command.EXIT_POSITION)
    else:
        market.timer(at - 1)
    assert intents(market)[4:] == [(1, 2), (1, 2)]
    trade(market, at, [*BOUGHT, (24_200, 1)])
    assert market.held() == BOUGHT | {(23_800, -1): -LOT}
    trade(market, at + 1, [(23_800, -1)])
    assert intents(market)[6:] == [(-1, 2), (-1, 2)]
    trade(market, at + 2, BOUGHT)
    assert (market.held(), market.exits()) == ({}, [reason] * 4)


def test_one_leg_alone_may_still_be_left_by_command() -> None:
    market = wide()
    market.command(AT + 100, Command.EXIT_POSITION, instrument=market.place_of(24_400, 1))
    trade(market, AT + 101, [(24_400, 1)], price=80.0)
    assert market.held() == SOLD | {(23_600, -1): LOT}


def test_the_underlyings_exit_is_that_of_its_group() -> None:
    market = wide()
    market.command(AT + 100, Command.EXIT_POSITION, instrument=0)
    assert market.group()["leaving"] == Reason.COMMAND


def test_an_unfilled_leg_is_chased() -> None:
    market = Options("straddle_0920")
    market.chain_at(320)
    market.minute(5, SPOT, packet=32)
    trade(market, 362, [(24_000, 1)])
    trade(market, 363, [(24_000, -1)], price=80.0)
    assert market.held() == STRADDLE, "the bid had fallen far below the first limit"


def test_a_leg_is_chased_no_further_than_the_cash_goes() -> None:
    market = decided(limits=BookLimits(100_000_00))
    trade(market, AT + 1, [(24_400, 1)], price=130.0)
    assert market.held() == {(24_400, 1): LOT}
    trade(market, AT + 2, [(23_600, -1)], price=2_000.0)
    assert market.held() == {(24_400, 1): LOT}


def test_a_plan_goes_on_after_a_restart() -> None:
    market = decided()
    trade(market, AT + 1, [(24_400, 1)])
    again = decided()
    load_books(again.engine.layout, books_document(market.engine.layout))
    states = again.engine.table("legs")["state"].tolist()
    assert sorted(states) == sorted([LegState.OPEN, LegState.ENTERING, LegState.PLANNED, LegState.PLANNED])
    trade(again, AT + 2, [(23_600, -1)])
    trade(again, AT + 3, SOLD)
    assert again.held() == BOUGHT | SOLD
