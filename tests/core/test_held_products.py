"""Products in the core: deliveries over days, MIS flat in time, what each instrument is charged under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from core_market import DAY, OPEN, Book, Market, next_day, share

from atmand.core.hours import book_hours, flat_by
from atmand.core.opening import SessionTerms, instruments_draft, session_draft
from atmand.core.records import SESSION_HEAD, SESSION_HEAD_1, Command, Kind, Record, head_and_rows
from atmand.core.words import Reason
from atmand.market.costs import COST_GROUPS, NSE_DELIVERY, NSE_INTRADAY, cost_rows, order_costs
from atmand.market.instruments import Instrument
from atmand.market.sessions import ns

KEEP = Book("keep", values={"long_above": 1.0})
EAGER = Book(values={"long_above": 1.0})
INTRADAY, DELIVERY = cost_rows(DAY)[NSE_INTRADAY], cost_rows(DAY)[NSE_DELIVERY]
BUY, SELL = 1, -1


def bought(*books: Book, **terms: Any) -> Market:
    """Let the books buy at the close of minute 0; their orders are filled at 65 seconds."""
    market = Market(books, **terms)
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    assert all(market.pair(place)["quantity"] > 0 for place in range(len(books)))
    return market


def overnight(market: Market) -> None:
    market.timer(375 * 60 + 1)
    market.open_session(next_day(DAY), books_sha=market.carry_books())


def sell(market: Market, at: float, price: int = 100_000, *, book: int = -1, bids: Sequence[int] = ()) -> None:
    market.command(at, Command.EXIT_POSITION, book=book)
    market.tick(at + 1, price, bid=[(price - 5, units) for units in bids] or None)


def values(market: Market, side: int) -> int:
    fills = market.audit(Kind.AUDIT_FILL)
    return int(fills["value"][fills["side"] == side].sum())


def costs(market: Market) -> int:
    return int(market.audit(Kind.AUDIT_FILL)["costs"].sum())


def test_shares_sold_on_the_day_they_were_bought_pay_as_intraday_however_the_sale_was_cut() -> None:
    market = bought(KEEP)
    units = int(market.pair()["quantity"])
    sell(market, 70, 101_000, bids=(4, units))

    assert len(market.audit(Kind.AUDIT_FILL)) == 3
    expected = order_costs(INTRADAY, BUY, values(market, BUY)) + order_costs(INTRADAY, SELL, values(market, SELL))
    assert costs(market) == market.book()["costs_paise"] == expected


def test_shares_sold_on_a_later_day_are_holdings_and_pay_the_depository_once() -> None:
    market = bought(KEEP)
    units = int(market.pair()["quantity"])
    assert market.pair()["holding"] == 0
    overnight(market)
    assert market.pair()["holding"] == market.pair()["quantity"] == units
    market.tick(5, 101_000)
    sell(market, 6, 101_000, bids=(4, units))

    expected = order_costs(DELIVERY, BUY, values(market, BUY)) + order_costs(DELIVERY, SELL, values(market, SELL))
    assert costs(market) == expected + DELIVERY["dp_paise"]


def test_what_is_sold_and_bought_again_within_a_day_is_not_delivered() -> None:
    market = bought(KEEP)
    overnight(market)
    market.tick(5, 100_000)
    sell(market, 6)
    delivered = costs(market)
    market.timer(62)
    market.tick(65, 100_000)

    assert market.pair()["quantity"] == market.pair()["bought_today"] == market.pair()["sold_today"] > 0
    back = market.audit(Kind.AUDIT_FILL)[-1]
    fresh = order_costs(INTRADAY, BUY, int(back["value"]))
    as_sold = order_costs(INTRADAY, SELL, values(market, SELL)) - order_costs(DELIVERY, SELL, values(market, SELL))
    assert back["costs"] == fresh + as_sold - DELIVERY["dp_paise"] < 0
    assert costs(market) == delivered + back["costs"]


def test_two_books_of_an_account_pay_the_depository_once_and_two_accounts_twice() -> None:
    for account, charged in (("one", 1), ("two", 2)):
        market = bought(KEEP, replace(KEEP, name="beta", account=account))
        overnight(market)
        market.tick(5, 100_000)
        sell(market, 6)
        fills = market.audit(Kind.AUDIT_FILL)
        own = [order_costs(DELIVERY, int(fill["side"]), int(fill["value"])) for fill in fills]
        assert len(own) == 4
        assert costs(market) == sum(own) + charged * DELIVERY["dp_paise"]


@pytest.mark.parametrize(
    ("plan", "out"),
    [({}, True), ({"carried": True}, False), ({"delivery": True}, False), ({"square_off_ns": 9 * 3600 * 10**9}, True)],
)
def test_mis_is_flat_fifteen_minutes_before_the_close_and_other_products_stay(plan: dict[str, Any], out: bool) -> None:
    market = bought(EAGER) if plan.get("square_off_ns") else bought(replace(EAGER, plan=plan))
    market.tick(359 * 60, 100_000)
    assert market.pair()["quantity"] == 10
    market.timer(360 * 60)
    market.tick(360 * 60 + 1, 100_000)

    assert (market.pair()["quantity"] == 0) == out
    reasons = market.audit(Kind.AUDIT_ORDER)["reason"]
    assert (Reason.SQUARE_OFF in reasons) == out
    market.minute(361, 100_000)
    market.tick(362 * 60 + 5, 100_000)
    assert market.book()["positions"] == (not out)


def test_a_position_under_mis_that_outlived_its_day_goes_at_the_first_touch() -> None:
    market = bought(EAGER)
    market.open_session(next_day(DAY), books_sha=market.carry_books())
    assert market.pair()["quantity"] == 10
    market.tick(5, 100_000)
    market.tick(6, 100_000)

    assert market.pair()["quantity"] == 0
    assert market.audit(Kind.AUDIT_FILL)[-1]["reason"] == Reason.SQUARE_OFF


@pytest.mark.parametrize(
    ("day", "traded", "clock"),
    [
        (date(2026, 7, 31), [("EQ", 0)], "15:15"), (date(2026, 7, 31), [("OPT", 2)], "15:20"),
        (date(2026, 8, 3), [("EQ", 1)], "15:10"), (date(2026, 8, 3), [("EQ", 0), ("FUT", 2)], "15:15"),
        (date(2026, 8, 3), [("FUT", 2)], "15:20"),
    ],
)  # fmt: skip
def test_a_book_is_flat_by_the_earliest_of_its_segments(day: date, traded: list[tuple[str, int]], clock: str) -> None:
    since = day >= date(2026, 8, 3)
    closes = {0: ns(day, "15:30"), 1: ns(day, "15:15" if since else "15:30"), 2: ns(day, "15:40" if since else "15:30")}

    assert flat_by(day, closes, traded) == ns(day, clock)


def test_an_evening_session_keeps_the_distance_to_its_close() -> None:
    day = date(2024, 11, 1)
    plan = bought(EAGER).engine.layout.manifest.books[0]
    flat_ns = flat_by(day, {0: ns(day, "19:00")}, [("EQ", 0)])

    assert book_hours(plan, ns(day, "18:00"), ns(day, "19:00"), flat_ns)[2] == ns(day, "18:45")
    assert book_hours(replace(plan, delivery=True), ns(day, "18:00"), ns(day, "19:00"), flat_ns)[2] == 0


@pytest.mark.parametrize(
    ("changes", "group"),
    [
        ({}, ("NSE", "EQ_INTRADAY")),
        ({"exchange": "BSE", "key": "BSE:EQ:AAA"}, ("BSE", "EQ_INTRADAY")),
        ({"segment": "FUT", "name": "NIFTY"}, ("NSE", "FUT")),
        ({"segment": "OPT", "name": "NIFTY"}, ("NSE", "OPT")),
        ({"segment": "OPT", "name": "SENSEX", "key": "BSE:OPT:SENSEX"}, ("BSE", "OPT_SENSEX_BANKEX")),
        ({"segment": "OPT", "name": "RELIANCE", "key": "BSE:OPT:RELIANCE"}, ("BSE", "OPT")),
    ],
)
def test_an_instrument_is_charged_in_its_own_segment(changes: dict[str, Any], group: tuple[str, str]) -> None:
    listed: Instrument = share(0, **changes)
    draft = instruments_draft([(listed, 0)])
    _, rows = head_and_rows(Record(draft.kind, 1, 1, draft.body, draft.rows, draft.version))

    assert COST_GROUPS[int(rows["cost_group"][0])] == group


def test_a_session_is_charged_by_its_brokerage_plan() -> None:
    assert costs(bought(EAGER)) == order_costs(INTRADAY, BUY, 10 * 100_005)
    assert costs(bought(EAGER, brokerage="free")) == order_costs(cost_rows(DAY, "free")[0], BUY, 10 * 100_005)


def test_a_session_recorded_before_there_were_plans_was_zerodhas() -> None:
    draft = session_draft(SessionTerms(DAY, (), brokerage="flat_20"))
    old = draft.body[: SESSION_HEAD_1.itemsize] + draft.body[SESSION_HEAD.itemsize :]
    heads = [head_and_rows(Record(Kind.SESSION, 1, OPEN, body, 0, n))[0] for body, n in ((draft.body, 2), (old, 1))]

    assert [head["brokerage"][0] for head in heads] == [b"flat_20", b"zerodha"]
    assert heads[0]["costs_date"] == heads[1]["costs_date"] == 20260706
