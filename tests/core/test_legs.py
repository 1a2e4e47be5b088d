"""Groups of legs on planted option quotes: the worked files of `configs/strategies/options`, and what may go wrong."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from core_market import DAY, MINUTE, RICH, Book, Market, share

from atmand.core.books import books_document, load_books
from atmand.core.opening import PortfolioLimits
from atmand.core.records import Command, Kind
from atmand.core.words import ExpiryRule, LegState, OrderState, Reason, StrikeRule
from atmand.lang.strategy import StrategyFile, load_strategy
from atmand.market.instruments import Instrument
from atmand.market.option_pricing import YEAR_NS, black_price

FOLDER = Path(__file__).parents[2] / "configs" / "strategies" / "options"
NAMES = ("straddle_0920", "strangle_premium", "iron_condor")
SPOT = 2_400_000
STRIKES = tuple(range(23_700, 24_301, 100))
WEEKS = (date(2026, 7, 9), date(2026, 7, 16), date(2026, 7, 30), date(2026, 8, 6))
LOT = 65


@functools.cache
def files() -> Mapping[str, StrategyFile]:
    return {name: load_strategy(FOLDER / f"{name}.toml") for name in NAMES}


def option(token: int, expiry: date, strike: int, right: int) -> Instrument:
    word = "CE" if right > 0 else "PE"
    return share(
        1, key=f"NSE:OPT:NIFTY:{expiry}:{strike}:{word}", symbol=f"{expiry}{strike}{word}", token=token, lot=LOT,
        underlying="NSE:INDEX:NIFTY 50", expiry=expiry, strike=strike * 100, right=right, segment="OPT",
    )  # fmt: skip


INDEX = share(0, key="NSE:INDEX:NIFTY 50", symbol="NIFTY 50", segment="INDEX", tradable=False)
CHAIN = [
    option(9_000 + place, expiry, strike, right)
    for place, (expiry, strike, right) in enumerate(itertools.product(WEEKS[:2], STRIKES, (1, -1)))
]


class Options(Market):
    """A session in which the index ticks and the options are quoted where a test puts them. Prices are rupees."""

    def __init__(
        self, strategy: str, plan: Mapping[str, Any] | None = None, chain: Sequence[Instrument] = CHAIN, **more: Any
    ):
        limits = more.pop("limits", RICH)
        values = more.pop("values", None)
        super().__init__(
            [Book(strategy, values=values, plan=plan, limits=limits)], [INDEX, *chain], files=files(), **more
        )

    def place_of(self, strike: int, right: int, expiry: date = WEEKS[0]) -> int:
        return next(
            place
            for place, one in enumerate(self.shares)
            if (one.strike, one.right, one.expiry) == (strike * 100, right, expiry)
        )

    def quote(self, at: float, strike: int, right: int, price: float, **more: Any) -> Any:
        expiry = more.pop("expiry", WEEKS[0])
        return self.tick(at, round(price * 100), place=self.place_of(strike, right, expiry), **more)

    def chain_at(self, at: float, price_of: Any = None, expiry: date = WEEKS[0]) -> None:
        """Quote every option of an expiry: 100 rupees less a fifth of its distance out of the money."""
        for strike in STRIKES:
            for right in (1, -1):
                out = (strike - SPOT // 100) * right
                self.quote(at, strike, right, price_of(strike, right) if price_of else 100.0 - out / 5, expiry=expiry)

    def held(self) -> dict[tuple[int, int], int]:
        """Return the positions by (strike, right)."""
        return {
            (self.shares[int(pair["instrument"])].strike // 100, self.shares[int(pair["instrument"])].right): int(
                pair["quantity"]
            )
            for pair in self.engine.table("pairs")
            if pair["quantity"]
        }

    def reasons(self) -> list[int]:
        return [int(reason) for reason in self.audit(Kind.AUDIT_DECISION)["reason"]]

    def exits(self) -> list[int]:
        rows = self.audit(Kind.AUDIT_FILL)
        return [int(row["reason"]) for row in rows if row["state"] != 1]

    def group(self) -> Any:
        return self.engine.table("groups")[0]


def entered(strategy: str = "straddle_0920", minute: int = 5, **more: Any) -> Options:
    """Return a market whose group was entered on the bar of a minute, and filled."""
    market = Options(strategy, **more)
    market.chain_at(minute * 60 + 20)
    market.tick(minute * 60 + 30, SPOT, packet=32)
    market.tick(minute * 60 + 300.5, SPOT, packet=32) if strategy == "iron_condor" else None
    closing = minute * 60 + (301 if strategy == "iron_condor" else 61)
    market.timer(closing)
    market.chain_at(closing + 1)
    return market


STRADDLE = {(24_000, 1): -LOT, (24_000, -1): -LOT}


def test_the_0920_straddle_sells_both_at_the_money_in_one_record() -> None:
    market = Options("straddle_0920")
    market.chain_at(20)
    market.minute(1, SPOT, packet=32)
    assert market.reasons() == [Reason.OUTSIDE_WINDOW]
    market.chain_at(320)
    rows = market.minute(5, SPOT, packet=32)
    intents = rows[rows["kind"] == Kind.AUDIT_INTENT]
    assert len(intents) == 2 and len(set(intents["cause"])) == 1
    assert set(intents["group"]) == {1}
    market.chain_at(362)
    assert market.held() == STRADDLE
    fills = market.audit(Kind.AUDIT_FILL)
    assert set(fills["group"]) == {1} and set(fills["price"]) == {9_995}
    market.minute(6, SPOT, packet=32)
    assert len(market.audit(Kind.AUDIT_INTENT)) == 2


def test_a_leg_of_the_straddle_is_stopped_alone_and_the_other_goes_on_to_the_exit_time() -> None:
    market = entered()
    pair = market.engine.table("pairs")
    stop = next(int(row["stop_price"]) for row in pair if row["quantity"])
    assert stop == 12_495  # 25 percent above 99.95, on the grid
    market.quote(400, 24_000, 1, 124.90)
    assert market.held() == STRADDLE
    market.quote(401, 24_000, 1, 125.0)
    market.quote(402, 24_000, 1, 125.0)
    assert market.held() == {(24_000, -1): -LOT}
    assert market.exits() == [Reason.STOP]
    market.quote(6 * 3600 - 1, 24_000, -1, 80.0)
    market.timer(6 * 3600)
    market.quote(6 * 3600 + 1, 24_000, -1, 80.0)
    assert market.held() == {}
    assert market.exits() == [Reason.STOP, Reason.SQUARE_OFF]
    assert market.group()["id"] == 0
    market.minute(361, SPOT, packet=32)
    assert market.reasons()[-1] in (0, Reason.TRADES_A_DAY, Reason.OUTSIDE_WINDOW)
    assert len(market.audit(Kind.AUDIT_INTENT)) == 4


def test_the_strangle_sells_the_premium_nearest_to_what_is_wanted_in_a_later_expiry() -> None:
    market = Options("strangle_premium")
    market.chain_at(15 * 60 + 20, expiry=WEEKS[0])
    market.minute(15, SPOT, packet=32)
    market.chain_at(15 * 60 + 62)
    assert market.held() == {(24_200, 1): -2 * LOT, (23_800, -1): -2 * LOT}


def test_a_strike_that_is_not_subscribed_any_more_is_not_chosen_by_its_last_quote() -> None:
    """At 60 rupees stood 24,200; its quote is older than `stale_after_s`, and the next best that ticks is taken."""
    market = Options("strangle_premium", stale_ns=60_000_000_000)
    market.quote(15 * 60 - 40, 24_200, 1, 60.0)
    for strike, right, price in ((24_100, 1, 80.0), (24_300, 1, 45.0), (23_800, -1, 60.0)):
        market.quote(15 * 60 + 20, strike, right, price)
    market.minute(15, SPOT, packet=32)
    for strike, right, price in ((24_200, 1, 60.0), (24_300, 1, 45.0), (23_800, -1, 60.0)):
        market.quote(15 * 60 + 62, strike, right, price)
    assert market.held() == {(24_300, 1): -2 * LOT, (23_800, -1): -2 * LOT}


def strangle() -> Options:
    market = Options("strangle_premium")
    market.chain_at(15 * 60 + 20)
    market.minute(15, SPOT, packet=32)
    market.chain_at(15 * 60 + 62)
    return market


def test_a_stopped_leg_is_sold_again_at_cost_as_often_as_the_file_says() -> None:
    market = strangle()
    at = 1000.0
    for _ in range(3):
        market.quote(at, 24_200, 1, 84.0)
        market.quote(at + 1, 24_200, 1, 84.0)
        assert (24_200, 1) not in market.held()
        market.quote(at + 2, 24_200, 1, 61.0)
        assert (24_200, 1) not in market.held()
        market.quote(at + 3, 24_200, 1, 59.95)
        market.quote(at + 4, 24_200, 1, 59.95)
        at += 5
    assert market.held() == {(23_800, -1): -2 * LOT}
    entries = market.audit(Kind.AUDIT_INTENT)
    assert entries[entries["state"] == 1]["reason"].tolist() == [Reason.RULE] * 2 + [Reason.REENTRY] * 2


def test_a_legs_trail_follows_its_lowest_price() -> None:
    market = strangle()
    market.quote(1000, 24_200, 1, 20.0)
    market.quote(1001, 24_200, 1, 49.0)
    assert (24_200, 1) in market.held()
    market.quote(1002, 24_200, 1, 50.0)
    market.quote(1003, 24_200, 1, 50.0)
    assert (24_200, 1) not in market.held()
    assert market.exits() == [Reason.TRAIL]


CONDOR = {(24_200, 1): -LOT, (24_300, 1): 0, (23_800, -1): -LOT}


def wide(plan: Mapping[str, Any] | None = None, sector: str = "", **more: Any) -> Options:
    """Return a condor on a chain that reaches far enough for its wings."""
    strikes = tuple(range(23_500, 24_501, 100))
    chain = [
        replace(option(9_000 + place, WEEKS[0], strike, right), sector=sector)
        for place, (strike, right) in enumerate(itertools.product(strikes, (1, -1)))
    ]
    market = Options("iron_condor", plan, chain, **more)
    for at in (30 * 60 + 20, 35 * 60 + 22, 35 * 60 + 23):
        for strike in strikes:
            for right in (1, -1):
                out = (strike - SPOT // 100) * right
                market.quote(at, strike, right, 120.0 - out / 5)
        if at == 30 * 60 + 20:
            market.tick(30 * 60 + 30, SPOT, packet=32)
            market.timer(35 * 60 + 1)
    return market


def test_an_iron_condor_is_left_together_at_its_combined_target() -> None:
    market = wide()
    assert market.held() == {(24_200, 1): -LOT, (24_400, 1): LOT, (23_800, -1): -LOT, (23_600, -1): LOT}
    market.quote(2200, 24_200, 1, 65.0)  # 15 rupees won on 65 units
    market.quote(2201, 23_800, -1, 72.0)
    assert len(market.held()) == 4
    market.quote(2202, 23_800, -1, 71.0)
    assert len(market.held()) == 4
    market.quote(2203, 23_800, -1, 71.0 - 0.1)
    assert market.group()["leaving"] == Reason.COMBINED_TARGET
    for at, strike, right in ((2204, 24_200, 1), (2205, 23_800, -1), (2206, 24_400, 1), (2207, 23_600, -1)):
        market.quote(at, strike, right, 40.0)
    assert market.held() == {}
    assert set(market.exits()) == {Reason.COMBINED_TARGET}
    assert market.pair()["cooling"] == 3


@pytest.mark.parametrize(
    ("moves", "reason"),
    [([(24_200, 1, 112.0)], Reason.COMBINED_STOP), ([(24_200, 1, 65.0), (24_200, 1, 95.0)], Reason.COMBINED_TRAIL)],
)
def test_a_condors_sum_has_a_loss_and_a_trail(moves: list[tuple[int, int, float]], reason: Reason) -> None:
    market = wide(values={"target": 20_000.0})
    for at, (strike, right, price) in enumerate(moves):
        market.quote(2200 + at, strike, right, price)
    assert market.group()["leaving"] == reason


def test_the_files_exit_closes_the_group() -> None:
    market = wide()
    market.tick(40 * 60 + 30, SPOT, packet=32)
    market.tick(40 * 60 + 40, SPOT + 30_000, packet=32)
    market.timer(45 * 60 + 1)
    assert market.group()["leaving"] == Reason.RULE


def test_a_leg_that_cannot_be_entered_refuses_the_whole_group() -> None:
    market = Options("straddle_0920")
    market.chain_at(320)
    market.quote(321, 24_000, -1, 100.0, bid=[])
    market.minute(5, SPOT, packet=32)
    assert market.reasons() == [] and market.pair()["blocked"] == Reason.NO_QUOTE
    market.timer(361 + 29.9)
    assert market.reasons() == []
    market.timer(361 + 30.1)
    assert market.reasons() == [Reason.NO_QUOTE]
    assert len(market.audit(Kind.AUDIT_INTENT)) == 0
    assert market.pair()["blocked"] == Reason.NO_QUOTE
    market.chain_at(400)
    assert len(market.audit(Kind.AUDIT_INTENT)) == 0


@pytest.mark.parametrize("missing", ["bid", "ask"])
def test_a_group_waits_until_its_legs_are_quoted_on_both_sides(missing: str) -> None:
    """Both legs are sold at the bid; without an ask there is no telling what leaving again would cost."""
    market = Options("straddle_0920")
    market.chain_at(320)
    market.quote(321, 24_000, -1, 100.0, **{missing: []})
    market.minute(5, SPOT, packet=32)
    market.quote(370, 24_000, 1, 101.0)  # the other leg's ticks change nothing
    assert market.reasons() == [] and market.group()["waits_ns"] > 0
    rows = market.quote(372, 24_000, -1, 100.0)
    intents = rows[rows["kind"] == Kind.AUDIT_INTENT]
    assert len(intents) == 2 and market.group()["waits_ns"] == 0
    (decision,) = market.audit(Kind.AUDIT_DECISION)
    assert decision["reason"] == Reason.NONE and decision["cause"] == intents["cause"][0]
    market.chain_at(375)
    assert market.held() == STRADDLE


def test_a_bar_that_closes_ends_the_wait_of_the_one_before() -> None:
    market = Options("straddle_0920", entry_wait_ns=600_000_000_000)
    market.chain_at(320)
    market.quote(321, 24_000, -1, 100.0, bid=[])
    market.minute(5, SPOT, packet=32)
    waits_ns = int(market.group()["waits_ns"])
    market.minute(6, SPOT, packet=32)
    assert market.reasons()[0] == Reason.NO_QUOTE
    assert market.group()["waits_ns"] in (0, waits_ns + MINUTE)


def test_a_group_that_waits_goes_on_after_a_restart() -> None:
    market = Options("straddle_0920")
    market.chain_at(320)
    market.quote(321, 24_000, -1, 100.0, bid=[])
    market.minute(5, SPOT, packet=32)
    document = books_document(market.engine.layout)
    waited = {name: int(market.group()[name]) for name in market.group().dtype.names if name.startswith("wa")}

    again = Options("straddle_0920")
    load_books(again.engine.layout, document)
    assert {name: int(again.group()[name]) for name in waited} == waited and waited["wanted_units"] == 1
    assert again.group()["id"] == 0


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"open_positions": 1}, Reason.OPEN_POSITIONS),
        ({"orders_a_day": 1}, Reason.ORDERS_A_DAY),
        ({"capital_paise": 1_000_000}, Reason.CASH),
    ],
)
def test_limits_hold_for_all_legs_together(limits: dict[str, int], reason: Reason) -> None:
    market = Options("straddle_0920", limits=replace(RICH, **limits))
    market.chain_at(320)
    market.minute(5, SPOT, packet=32)
    assert market.reasons() == [reason]
    assert len(market.audit(Kind.AUDIT_INTENT)) == 0


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"gross_paise": 0}, 0),
        ({"gross_paise": -1}, Reason.GROSS_EXPOSURE),
        ({"net_paise": 0}, 0),
        ({"net_paise": -1}, Reason.NET_EXPOSURE),
        ({"account_positions": 4, "underlying_positions": 4, "sector_positions": 4}, 0),
        ({"account_positions": 3}, Reason.ACCOUNT_POSITIONS),
        ({"underlying_positions": 3}, Reason.UNDERLYING_POSITIONS),
        ({"sector_positions": 3}, Reason.SECTOR_POSITIONS),
    ],
)
def test_the_accounts_limits_are_asked_of_all_legs_together(limits: dict[str, int], reason: int) -> None:
    """Amounts are counted from what the four legs come to: on the limit they go in, a paisa below it none does."""
    intents = wide().audit(Kind.AUDIT_INTENT)
    exact = {
        "gross_paise": int(intents["value"].sum()),
        "net_paise": abs(int((intents["side"] * intents["value"]).sum())),
    }
    assert exact["net_paise"] < intents["value"].max()  # a short leg alone would break it
    given = {name: exact.get(name, 0) + amount for name, amount in limits.items()}
    market = wide(portfolio=PortfolioLimits(netting=False, **given), sector="INDEX")
    assert market.reasons() == [reason]
    assert len(market.audit(Kind.AUDIT_INTENT)) == (0 if reason else 4)


def test_a_leg_that_expires_unfilled_unwinds_the_others() -> None:
    market = Options("straddle_0920", entry_wait_ns=10_000_000_000)
    market.chain_at(320)
    market.minute(5, SPOT, packet=32)
    market.quote(362, 24_000, 1, 100.0)
    market.quote(363, 24_000, -1, 80.0, bid=[])
    assert market.held() == {(24_000, 1): -LOT}
    market.timer(371.1)
    market.quote(372, 24_000, 1, 100.0)
    assert market.held() == {}
    assert market.exits() == [Reason.LEG_FAILED]
    assert market.group()["id"] == 0


def test_two_legs_that_choose_one_contract_are_refused() -> None:
    legs = files()["straddle_0920"].strategy.legs
    from atmand.lang.legs import leg_plans

    market = Options("straddle_0920", {"legs": leg_plans((legs[0], legs[0]), ("leg_stop",))})
    market.chain_at(320)
    market.minute(5, SPOT, packet=32)
    assert market.reasons() == [Reason.LEG_CLASH]


def test_a_rule_beyond_the_list_finds_no_contract() -> None:
    market = Options("iron_condor")  # the list ends three strikes from the money
    market.chain_at(30 * 60 + 20)
    market.tick(30 * 60 + 30, SPOT, packet=32)
    market.timer(35 * 60 + 1)
    assert market.reasons() == [Reason.NO_CONTRACT]


def test_an_operators_exit_of_one_contract_leaves_the_other_leg_open() -> None:
    market = entered()
    market.command(400, Command.EXIT_POSITION, instrument=market.place_of(24_000, 1))
    market.quote(401, 24_000, 1, 100.0)
    market.quote(402, 24_000, 1, 100.0)
    assert market.held() == {(24_000, -1): -LOT}
    assert market.exits() == [Reason.COMMAND]


def test_a_contract_is_left_before_it_ends() -> None:
    market = Options("straddle_0920", {"square_off_ns": 0, "carried": True}, day=WEEKS[0])
    market.chain_at(320)
    market.minute(5, SPOT, packet=32)
    market.chain_at(362)
    assert market.held() == STRADDLE
    end = 375 * 60 - 300
    market.chain_at(end - 2)
    market.timer(end)
    market.chain_at(end + 1)
    assert market.held() == {}
    assert set(market.exits()) == {Reason.EXPIRY}


def test_an_open_group_outlives_a_snapshot() -> None:
    market = entered()
    document = books_document(market.engine.layout)
    group = market.group().copy()
    assert document["groups"][0]["legs"][0]["contract"].endswith(":24000:CE")
    market.install(market.books_of_test, 370)
    assert load_books(market.engine.layout, document) == []
    for name in ("id", "leaving", "realised_paise"):
        assert market.group()[name] == group[name]
    assert market.engine.table("legs")["state"].tolist() == [LegState.OPEN] * 2
    market.quote(401, 24_000, 1, 125.0)
    market.quote(402, 24_000, 1, 125.0)
    assert market.held() == {(24_000, -1): -LOT}
    assert market.engine.table("legs")["state"].tolist() == [LegState.DONE, LegState.OPEN]


RULES = [
    ("atm by a step down", StrikeRule.ATM, -1.0, 1, 23_900),
    ("percent out of the money, call", StrikeRule.PERCENT, 0.8, 1, 24_200),
    ("percent out of the money, put", StrikeRule.PERCENT, 0.8, -1, 23_800),
    ("premium, put", StrikeRule.PREMIUM, 77.0, -1, 23_900),
    ("delta, call", StrikeRule.DELTA, 0.30, 1, 24_200),
    ("delta, put", StrikeRule.DELTA, 0.15, -1, 23_700),
]


@pytest.mark.parametrize(("name", "rule", "value", "right", "strike"), RULES, ids=[row[0] for row in RULES])
def test_a_strike_rule_chooses(name: str, rule: StrikeRule, value: float, right: int, strike: int) -> None:
    from dataclasses import replace

    leg = replace(files_legs("straddle_0920")[0], strike_rule=int(rule), strike_value=value, right=right)
    market = Options("straddle_0920", {"legs": (leg,)})
    years = (market.engine.table("instruments")["expiry_ns"][1] - market.open_ns) / YEAR_NS
    price = getattr(black_price, "py_func", black_price)
    smile = (
        (lambda k, r: max(0.05, round(price(24_010.0, k, years, 0.065, 0.12, r) * 20) / 20))
        if rule is StrikeRule.DELTA
        else None
    )
    market.chain_at(320, smile)
    market.minute(5, SPOT, packet=32)
    market.chain_at(362, smile)
    assert list(market.held()) == [(strike, right)]


def files_legs(name: str) -> Any:
    from core_market import program_for

    return program_for([Book(name)], files()).manifest.books[0].legs


@pytest.mark.parametrize(
    ("rule", "days", "expiry"),
    [(ExpiryRule.NEAREST, 0, 0), (ExpiryRule.NEXT, 0, 1), (ExpiryRule.MONTHLY, 0, 2), (ExpiryRule.DAYS, 3, 0),
     (ExpiryRule.DAYS, 4, 1), (ExpiryRule.DAYS, 11, 2)],
)  # fmt: skip
def test_an_expiry_rule_chooses(rule: ExpiryRule, days: int, expiry: int) -> None:
    from dataclasses import replace

    leg = replace(files_legs("straddle_0920")[0], expiry_rule=int(rule), expiry_days=days)
    chain = [option(9_000 + place, week, 24_000, 1) for place, week in enumerate(WEEKS)]
    market = Options("straddle_0920", {"legs": (leg,)}, chain)
    for week in WEEKS:
        market.quote(320, 24_000, 1, 100.0, expiry=week)
    market.minute(5, SPOT, packet=32)
    for week in WEEKS:
        market.quote(362, 24_000, 1, 100.0, expiry=week)
    held = [int(pair["instrument"]) for pair in market.engine.table("pairs") if pair["quantity"]]
    assert [market.shares[place].expiry for place in held] == [WEEKS[expiry]]
    assert OrderState.FREE == 0 and WEEKS[0] > DAY and MINUTE > 0
