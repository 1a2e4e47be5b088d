"""Pre-trade risk: every reason against an entry can happen, is audited, and keeps the entry out of the market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from core_market import RICH, SECOND, Book, Market, share
from hypothesis import given
from hypothesis import strategies as st

from atmand.core.opening import BookLimits, limits_draft
from atmand.core.records import Command, Kind
from atmand.core.risk import protected_limit, round_to_tick
from atmand.core.words import Reason

EAGER = {"long_above": 1.0}
HOUR = 3600 * SECOND


def limited(**limits: Any) -> Market:
    return Market([Book(values=EAGER, limits=replace(RICH, **limits))])


def closed_bar(market: Market) -> None:
    market.minute(0, 100_000)


def with_entries_off(market: Market) -> None:
    market.command(1, Command.ENTRIES_OFF)
    closed_bar(market)


def with_the_book_paused(market: Market) -> None:
    market.command(1, Command.PAUSE_BOOK, book=0)
    closed_bar(market)


def in_a_gap(market: Market) -> None:
    market.gap(5, since=0)
    closed_bar(market)


def without_depth(market: Market) -> None:
    market.minute(0, 100_000, packet=8)


def without_an_ask(market: Market) -> None:
    market.minute(0, 100_000, ask=[])


def long_after_the_last_tick(market: Market) -> None:
    market.tick(1, 100_000)
    market.timer(62)


def after_a_losing_trade(market: Market) -> None:
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    market.command(70, Command.EXIT_POSITION)
    market.tick(71, 90_000)
    market.minute(1, 90_000)


def with_another_position(market: Market) -> None:
    market.tick(20, 100_000)
    market.timer(61)
    market.tick(62, 100_000)
    market.tick(80, 100_000, place=1)
    market.timer(121)


def with_another_order(market: Market) -> None:
    market.tick(20, 100_000)
    market.tick(21, 100_000, place=1)
    market.timer(61)


REFUSALS: dict[Reason, tuple[Callable[[], Market], Callable[[Market], None]]] = {
    Reason.ENTRIES_OFF: (limited, with_entries_off),
    Reason.PAUSED: (limited, with_the_book_paused),
    Reason.OUTSIDE_WINDOW: (lambda: Market([Book(values=EAGER, plan={"entry_from_ns": 10 * HOUR})]), closed_bar),
    Reason.PARTIAL_BAR: (limited, in_a_gap),
    Reason.NO_QUOTE: (limited, without_an_ask),
    Reason.STALE: (lambda: Market([Book(values=EAGER)], stale_ns=60 * SECOND), long_after_the_last_tick),
    Reason.ZERO_QUANTITY: (lambda: Market([Book(values=EAGER | {"units": 0.5})]), closed_bar),
    Reason.ORDER_VALUE: (lambda: limited(order_value_paise=1_010_049), closed_bar),
    Reason.POSITION_VALUE: (lambda: limited(position_value_paise=1_010_049), closed_bar),
    Reason.DAILY_LOSS: (lambda: limited(daily_loss_paise=50_000), after_a_losing_trade),
    Reason.OPEN_POSITIONS: (
        lambda: Market([Book(values=EAGER, limits=replace(RICH, open_positions=1), instruments=(0, 1))]),
        with_another_position,
    ),
    Reason.ORDERS_A_DAY: (
        lambda: Market([Book(values=EAGER, limits=replace(RICH, orders_a_day=1), instruments=(0, 1))]),
        with_another_order,
    ),
    Reason.CASH: (lambda: limited(capital_paise=1_010_049), closed_bar),
    Reason.CAPACITY: (
        lambda: Market([Book(values=EAGER, instruments=(0, 1))], orders_per_book=1),
        with_another_order,
    ),
    Reason.FREEZE: (lambda: Market([Book(values=EAGER)], [share(0, freeze=9, lot=10), share(1)]), closed_bar),
    Reason.SHORT_DELIVERY: (lambda: Market([Book(values={"short_below": 1e6}, plan={"delivery": True})]), closed_bar),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.name.lower())
def test_each_reason_blocks_an_entry_and_is_audited(reason: Reason) -> None:
    make, drive = REFUSALS[reason]
    market = make()
    drive(market)
    decisions = market.audit(Kind.AUDIT_DECISION)
    assert decisions[-1]["reason"] == reason
    assert decisions[-1]["state"] == 0
    assert market.header["refused"] == (decisions["state"] == 0).sum()
    pair = market.engine.table("pairs")[int(decisions[-1]["instrument"])]
    assert (pair["blocked"], pair["entry_order"], pair["quantity"]) == (reason, -1, 0)
    assert len(market.audit(Kind.AUDIT_INTENT)) == sum(decisions["state"]) + (reason == Reason.DAILY_LOSS)


@pytest.mark.parametrize("reason", [Reason.ORDER_VALUE, Reason.POSITION_VALUE, Reason.CASH])
def test_a_value_just_within_the_limit_is_let_in(reason: Reason) -> None:
    name = {"ORDER_VALUE": "order_value_paise", "POSITION_VALUE": "position_value_paise", "CASH": "capital_paise"}
    market = limited(**{name[reason.name]: 1_010_050})
    closed_bar(market)
    assert market.audit(Kind.AUDIT_DECISION)["reason"].tolist() == [Reason.NONE]


def test_a_share_without_any_depth_has_no_quote() -> None:
    market = limited()
    without_depth(market)
    assert market.audit(Kind.AUDIT_DECISION)["reason"].tolist() == [Reason.NO_QUOTE]


def test_an_instrument_that_cannot_be_traded_is_refused() -> None:
    market = Market([Book(values=EAGER)], [share(0, tradable=False), share(1)])
    closed_bar(market)
    assert market.audit(Kind.AUDIT_DECISION)["reason"].tolist() == [Reason.NO_QUOTE]


def test_nothing_trades_before_limits_are_known() -> None:
    market = Market([Book(values=EAGER, limits=BookLimits(0))])
    closed_bar(market)
    assert market.audit(Kind.AUDIT_DECISION)["reason"].tolist() == [Reason.CASH]


def test_capital_added_within_the_day_is_cash_at_once_and_no_profit() -> None:
    market = limited(capital_paise=1_000)
    market.put(limits_draft([BookLimits(5_000_000)]), 10)
    closed_bar(market)
    assert market.audit(Kind.AUDIT_DECISION)["reason"].tolist() == [Reason.NONE]
    book = market.book()
    assert book["cash_paise"] == book["equity_paise"] == book["day_equity_paise"] == 5_000_000
    assert market.engine.table("accounts")[0]["cash_paise"] == 5_000_000


def test_limits_may_stop_all_entries() -> None:
    market = limited()
    market.put(limits_draft([RICH], entries=False), 10)
    closed_bar(market)
    assert market.audit(Kind.AUDIT_DECISION)["reason"].tolist() == [Reason.ENTRIES_OFF]


def test_a_short_positions_proceeds_cannot_be_spent() -> None:
    books = [Book(values={"short_below": 1e6}, limits=BookLimits(1_500_000), instruments=(0, 1))]
    market = Market(books)
    market.tick(20, 100_000)
    market.timer(61)
    market.tick(62, 100_000)
    assert market.pair(0)["quantity"] == -10
    assert market.book()["cash_paise"] > 2_400_000
    market.tick(80, 100_000, place=1)
    market.timer(121)
    assert market.audit(Kind.AUDIT_DECISION)[-1]["reason"] == Reason.CASH


def test_quantities_are_whole_lots() -> None:
    market = Market([Book(values=EAGER | {"units": 77})], [share(0, lot=25), share(1)])
    closed_bar(market)
    assert market.working()["quantity"].tolist() == [75]


@given(price=st.integers(1, 10**9), tick=st.integers(1, 500), side=st.sampled_from([-1, 1]))
def test_a_rounded_price_is_on_the_grid_and_never_tighter_than_asked(price: int, tick: int, side: int) -> None:
    rounded = getattr(round_to_tick, "py_func", round_to_tick)(price, tick, side)
    assert rounded % tick == 0
    assert 0 <= (rounded - price) * side < tick


@given(
    touch=st.integers(0, 10**7),
    side=st.sampled_from([-1, 1]),
    protection=st.integers(0, 1_000),
    band=st.integers(0, 2_000),
)
def test_a_protected_limit_is_beyond_the_touch_and_inside_the_circuit_band(
    touch: int, side: int, protection: int, band: int
) -> None:
    lower, upper = (
        (touch * (10_000 - band) // 10_000 // 5 * 5, touch * (10_000 + band) // 10_000 // 5 * 5) if band else (0, 0)
    )
    level = [SimpleNamespace(price=touch)]
    instrument = SimpleNamespace(ask=level, bid=level, tick=5, lower_band=lower, upper_band=upper)
    header = SimpleNamespace(protection_bps=protection)
    limit = getattr(protected_limit, "py_func", protected_limit)(header, instrument, side)
    if touch == 0:
        assert limit == 0
        return
    assert lower <= limit and (upper == 0 or limit <= max(upper, lower))
    if not band:
        assert 0 <= (limit - touch) * side <= touch * protection // 10_000 + 5
