"""A session's universe out of strategies and the day's listing, and the strikes that are subscribed of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

sys.path.append(str(Path(__file__).parent / "market"))

from dumps import DAY, market_dump

from atmand.core.layout import PAIR
from atmand.errors import AtmandError
from atmand.lang.program import Deployment
from atmand.lang.source import StrategyError
from atmand.lang.strategy import load_strategy, parse_strategy
from atmand.market.kite_dump import parse_kite_dump
from atmand.market.reference import own_reference, with_reference
from atmand.market.universe import Listing
from atmand.strategy_life import run_offs
from atmand.subscription import StrikeWindows, places_in_use
from atmand.universe import Universe, chosen_by_rule, tell_rolls, universe_of

OPTIONS = Path(__file__).parents[1] / "configs" / "strategies" / "options"
OWN = own_reference(DAY, simulated=True)
LISTING = Listing(with_reference(parse_kite_dump(market_dump()), OWN, DAY), DAY, OWN, chain_strikes=20)
NIFTY = "NSE:INDEX:NIFTY 50"


def trader(*names: str, name: str = "one", **more: str) -> Deployment:
    quoted = ", ".join(f'"{each}"' for each in names)
    text = f'name = "{name}"\nuniverse = [{quoted}]\n[entry]\nlong = "close > 1"\n[size]\nquantity = 1\n'
    return Deployment(parse_strategy(text, "one.toml"), "paper", {}, name, more.get("origin", ""))


def legs(name: str) -> Deployment:
    return Deployment(load_strategy(OPTIONS / f"{name}.toml"), "paper", {}, name)


def resolved(*deployments: Deployment, listing: Listing = LISTING, held: Sequence[tuple[str, str]] = ()) -> Universe:
    return universe_of(deployments, listing, lenient=False, held=held)


def paired(universe: Universe) -> list[tuple[int, str]]:
    return [(book, universe.instruments[place][0].key) for book, place in universe.pairs]


def test_selectors_of_several_strategies_become_rows_of_one_session() -> None:
    universe = resolved(trader("INDEX:NIFTY 50", "NSE:INFY"), trader("NFO:NIFTY:FUT:near", name="two"))
    tokens = [one.token for one, _ in universe.instruments]

    assert paired(universe)[-1] == (1, "NSE:FUT:NIFTY:2026-07-28") and len(universe.pairs) == 6
    assert tokens == sorted(set(tokens)) == universe.tokens
    assert universe.dump == parse_kite_dump(market_dump()).sha256
    assert NIFTY in {one.key for one, _ in universe.instruments}  # a contract's underlying has a row, and is not traded


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["NSE:NIFTY 50"],
            "NSE:INDEX:NIFTY 50 cannot be traded; trade its future or option, such as NFO:NIFTY:FUT:near",
        ),
        (["NFO:NIFTY:CE:24525:weekly"], "no strike 24525 on 2026-07-07; the nearest are 24500 and 24550"),
        (["NSE:FUT:NIFTY:2026-06-30"], "has expired; listed are 2026-07-28"),
    ],
)
def test_what_cannot_be_traded_is_refused_with_what_can(names: list[str], message: str) -> None:
    with pytest.raises(AtmandError, match=message):
        resolved(trader(*names))


def test_a_malformed_selector_is_refused_where_it_stands_in_the_file() -> None:
    with pytest.raises(StrategyError, match=r"one\.toml:2.*'soon' is no expiry: near, next, far or a date"):
        trader("NFO:NIFTY:FUT:soon")


def test_legs_list_the_chain_of_their_underlying_and_trade_no_index() -> None:
    universe = resolved(legs("iron_condor"))
    (chain,) = universe.chains

    assert paired(universe) == [(0, NIFTY)]
    assert (universe.instruments[chain.underlying][0].key, chain.price) == (NIFTY, 2_401_240)
    contracts = [universe.instruments[place][0] for place in chain.places]
    assert {one.underlying for one in contracts} == {NIFTY} and {one.right for one in contracts} >= {1, -1}
    assert universe.bar_tokens == [256265]  # bars are made of the underlying; nobody asks for candles of a chain


def test_two_strategies_share_a_chain_that_is_wide_enough_for_both() -> None:
    one, two = (resolved(legs(name)).chains[0] for name in ("straddle_0920", "strangle_premium"))
    (both,) = resolved(legs("straddle_0920"), legs("strangle_premium")).chains

    assert len(both.places) >= max(len(one.places), len(two.places))
    assert both.need.rights == one.need.rights | two.need.rights


def test_a_contract_that_its_selector_has_left_stays_with_the_book_that_holds_it() -> None:
    old = "NSE:FUT:NIFTY:2026-07-28"
    later = replace(LISTING, day=date(2026, 7, 28), roll_sessions=1)
    future = trader("NFO:NIFTY:FUT:near")

    assert paired(resolved(future, listing=later)) == [(0, "NSE:FUT:NIFTY:2026-08-25")]
    assert paired(resolved(future, listing=later, held=[("one@paper", old)])) == [
        (0, "NSE:FUT:NIFTY:2026-08-25"), (0, old),
    ]  # fmt: skip
    # One that the listing does not know any more has no row; a list of names keeps nothing that it does not name.
    assert len(resolved(future, listing=later, held=[("one@paper", "NSE:FUT:NIFTY:2026-06-30")]).pairs) == 1
    assert len(resolved(trader("NSE:INFY"), held=[("one@paper", "NSE:EQ:TCS")]).pairs) == 1


def test_a_run_off_takes_what_it_leads_out_from_the_strategy_that_goes_on() -> None:
    old = "NSE:FUT:NIFTY:2026-07-28"
    after = replace(trader("NFO:NIFTY:FUT:next"), values={})
    leading = replace(after, name="one~1", origin="one", universe=(old,))

    assert paired(resolved(after, leading, held=[("one@paper", old)])) == [
        (0, "NSE:FUT:NIFTY:2026-08-25"), (1, old),
    ]  # fmt: skip


def test_a_held_leg_is_listed_although_the_band_has_moved_away() -> None:
    far = "NSE:OPT:NIFTY:2026-07-07:22000:PE"
    straddle = legs("straddle_0920")

    assert far not in {one.key for one, _ in resolved(straddle).instruments}
    universe = resolved(straddle, held=[("straddle_0920@paper", far)])
    assert far in {one.key for one, _ in universe.instruments} and paired(universe) == [(0, NIFTY)]


def test_what_a_rule_chose_is_no_removed_instrument() -> None:
    held = frozenset({("one@paper", "NSE:FUT:NIFTY:2026-07-28")})
    rule, names = trader("NFO:NIFTY:FUT:near"), trader("NSE:INFY")

    assert chosen_by_rule(rule) and chosen_by_rule(legs("iron_condor")) and not chosen_by_rule(names)
    assert run_offs([rule], [rule], held, {"one": "adopt"}) == []
    assert [one.why for one in run_offs([names], [names], held, {"one": "adopt"})] == ["instrument removed"]


@pytest.mark.parametrize(
    ("day", "told"), [("2026-07-23", []), ("2026-07-27", ["roll_due"]), ("2026-07-28", ["roll_due"])]
)
def test_a_roll_is_told_on_the_days_before_it(day: str, told: list[str]) -> None:
    today = date.fromisoformat(day)
    universe = resolved(trader("NFO:NIFTY:FUT:near"), listing=replace(LISTING, day=today))
    with capture_logs() as events:
        tell_rolls(universe, today)

    assert [one["event"] for one in events] == told
    if told:
        assert (events[0]["was"], events[0]["to"], events[0]["day"]) == (
            "NSE:FUT:NIFTY:2026-07-28", "NSE:FUT:NIFTY:2026-08-25", "2026-07-29",
        )  # fmt: skip


STRADDLE = resolved(legs("straddle_0920"))
CHAIN = STRADDLE.chains[0]


def prices(nifty: int) -> np.ndarray:
    found = np.zeros(len(STRADDLE.instruments), np.int64)
    found[CHAIN.underlying] = nifty
    return found


def subscribed(windows: StrikeWindows) -> list[int]:
    """Return the strikes in rupees that are subscribed, by the day's first expiry and calls."""
    by_token = {one.token: one for one, _ in STRADDLE.instruments}
    found = [by_token[token] for token in windows.tokens]
    return [one.strike // 100 for one in found if one.right > 0 and one.expiry == date(2026, 7, 7)]


def test_the_window_begins_round_the_days_price_and_follows_the_underlying() -> None:
    windows = StrikeWindows(STRADDLE, 6)

    assert subscribed(windows) == list(range(23_700, 24_301, 50))
    assert 256265 in windows.tokens and len(windows.tokens) < len(STRADDLE.tokens)
    assert not windows.follow(prices(2_407_400), [])  # a strike away: it stays
    with capture_logs() as told:
        assert windows.follow(prices(2_411_000), [])
    assert subscribed(windows) == list(range(23_800, 24_401, 50))
    assert [(one["event"], one["instrument"], one["low"], one["high"]) for one in told] == [
        ("strikes_recentred", NIFTY, 23_800.0, 24_400.0)
    ]
    assert not windows.follow(prices(2_405_000), []) and not windows.follow(prices(0), [])
    assert windows.follow(prices(2_390_000), []) and subscribed(windows) == list(range(23_600, 24_201, 50))


def test_a_window_that_wanders_off_the_band_keeps_to_what_is_listed() -> None:
    windows = StrikeWindows(STRADDLE, 6)

    assert windows.follow(prices(9_999_900), [])
    assert subscribed(windows) == list(range(24_700, 25_001, 50))
    assert not windows.follow(prices(9_999_999), [])


def test_what_is_in_use_stays_subscribed_until_it_is_not() -> None:
    windows = StrikeWindows(STRADDLE, 6)
    low = next(
        place for place, (one, _) in enumerate(STRADDLE.instruments) if one.strike == 2_370_000 and one.right > 0
    )
    token = STRADDLE.instruments[low][0].token
    pairs = np.zeros(2, PAIR)
    pairs["entry_order"] = pairs["exit_order"] = -1
    pairs["instrument"], pairs["quantity"] = (low, 0), (-65, 0)

    assert places_in_use(pairs) == {low}
    windows.follow(prices(2_430_000), places_in_use(pairs))
    assert token in windows.tokens and 23_750 not in subscribed(windows)
    pairs["quantity"] = 0
    windows.follow(prices(2_450_000), places_in_use(pairs))
    assert token not in windows.tokens


@given(st.lists(st.integers(1, 5_000_000), max_size=12), st.integers(1, 25))
def test_wherever_the_underlying_goes_its_money_is_subscribed_and_nothing_else_decides(
    path: list[int], width: int
) -> None:
    windows, other = StrikeWindows(STRADDLE, width), StrikeWindows(STRADDLE, width)
    listed = {one.strike for one, _ in STRADDLE.instruments if one.right > 0}
    for price in path:
        windows.follow(prices(price), [])
        nearest = min(abs(strike - price) for strike in listed)
        assert min(abs(strike * 100 - price) for strike in subscribed(windows)) == nearest
        assert len(subscribed(windows)) <= 2 * width + 1
    for price in path:
        other.follow(prices(price), [])
    assert other.tokens == windows.tokens  # the same prices, the same subscription: nothing else decides
