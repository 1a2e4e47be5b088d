"""What names and selectors of a universe mean on a day, when contracts roll, and which strikes a session holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from dumps import DAY, market_dump
from hypothesis import given
from hypothesis import strategies as st

from atmand.errors import AtmandError
from atmand.market.instruments import InstrumentError
from atmand.market.kite_dump import parse_kite_dump
from atmand.market.reference import Reference, Traded, own_reference, with_reference
from atmand.market.selectors import Contract, IndexMembers, MostTraded, SelectorError, selector_of
from atmand.market.universe import ChainNeed, Listing, Roll, chain_of, choose, expiry_words, rolls, session_before

OWN = own_reference(DAY, simulated=True)
CATALOGUE = with_reference(parse_kite_dump(market_dump()), OWN, DAY)
TODAY = Listing(CATALOGUE, DAY, OWN)
NIFTY = "NSE:INDEX:NIFTY 50"


def on(day: date, **more: int) -> Listing:
    return replace(TODAY, day=day, **more)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("NSE:INFY", None),
        ("NFO:NIFTY26JULFUT", None),
        ("NSE:OPT:NIFTY:2026-07-14:24000:CE", None),
        ("INDEX:NIFTY 50", IndexMembers("NIFTY 50")),
        ("TOP:20:NSE", MostTraded(20, "NSE", "")),
        ("TOP:5:INDEX:NIFTY BANK", MostTraded(5, "", "NIFTY BANK")),
        ("NFO:NIFTY:FUT:near", Contract("NFO", "NIFTY", 0, "near")),
        ("NFO:M&M:FUT:next", Contract("NFO", "M&M", 0, "next")),
        ("NFO:NIFTY:CE:ATM+2:weekly", Contract("NFO", "NIFTY", 1, "weekly", 2)),
        ("BFO:SENSEX:PE:ATM-1:monthly", Contract("BFO", "SENSEX", -1, "monthly", -1)),
        ("NFO:NIFTY:CE:24500:2026-07-28", Contract("NFO", "NIFTY", 1, date(2026, 7, 28), 0, "24500")),
    ],
)
def test_a_text_is_a_name_or_a_selector(text: str, meaning: object) -> None:
    assert selector_of(text) == meaning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("INDEX:", "names no index; write it as INDEX:NIFTY 50"),
        ("TOP:many:NSE", "'many' is not a number from 1 to 3000"),
        ("TOP:0:NSE", "'0' is not a number"),
        ("TOP:5:NYSE", "'NYSE' is neither NSE, BSE nor an index"),
        ("NFO:NIFTY:FUT", "'' is no expiry: near, next, far or a date"),
        ("NFO:NIFTY:FUT:weekly", "'weekly' is no expiry: near, next, far or a date"),
        ("NFO:NIFTY:FUT:near:1", "a future has one word behind FUT"),
        ("NFO:NIFTY:CE", "an option has a strike and an expiry"),
        ("NFO:NIFTY:CE:OTM:weekly", "'OTM' is no strike: ATM, ATM[+]2, ATM-1 or a price"),
        ("BFO:SENSEX:PE:ATM:soon", "'soon' is no expiry: weekly, nearest, next, monthly or a date"),
    ],
)
def test_a_malformed_selector_says_what_it_lacks(text: str, message: str) -> None:
    with pytest.raises(SelectorError, match=message):
        selector_of(text)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NSE:INFY", "NSE:EQ:INFY"),
        ("NFO:NIFTY:FUT:near", "NSE:FUT:NIFTY:2026-07-28"),
        ("NFO:NIFTY:FUT:next", "NSE:FUT:NIFTY:2026-08-25"),
        ("NFO:NIFTY:FUT:far", "NSE:FUT:NIFTY:2026-09-29"),
        ("NFO:INFY:FUT:near", "NSE:FUT:INFY:2026-07-28"),
        ("NFO:NIFTY:FUT:2026-08-25", "NSE:FUT:NIFTY:2026-08-25"),
        ("NFO:NIFTY:CE:ATM:weekly", "NSE:OPT:NIFTY:2026-07-07:24000:CE"),
        ("NFO:NIFTY:CE:ATM+2:weekly", "NSE:OPT:NIFTY:2026-07-07:24100:CE"),
        ("NFO:NIFTY:PE:ATM-3:next", "NSE:OPT:NIFTY:2026-07-14:23850:PE"),
        ("NFO:NIFTY:PE:ATM:monthly", "NSE:OPT:NIFTY:2026-07-28:24000:PE"),
        ("NFO:BANKNIFTY:CE:ATM:monthly", "NSE:OPT:BANKNIFTY:2026-07-28:55400:CE"),
        ("NFO:BANKNIFTY:CE:ATM:nearest", "NSE:OPT:BANKNIFTY:2026-07-28:55400:CE"),
        ("NFO:NIFTY:CE:24500:2026-07-21", "NSE:OPT:NIFTY:2026-07-21:24500:CE"),
        ("BFO:SENSEX:CE:ATM+1:weekly", "BSE:OPT:SENSEX:2026-07-09:81400:CE"),
    ],
)
def test_a_selector_is_a_row_of_the_dump(name: str, key: str) -> None:
    assert [one.key for one in choose(name, TODAY)] == [key]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NFO:NIFTI:FUT:near", r"no FUT of NIFTI is listed on NFO; did you mean NIFTY\?"),
        ("NFO:INFY:CE:ATM:monthly", r"no CE of INFY is listed on NFO"),
        ("NFO:NIFTY:CE:24525:weekly", r"no strike 24525 on 2026-07-07; the nearest are 24500 and 24550$"),
        ("NFO:NIFTY:CE:ATM+99:weekly", r"ends before \+99 strikes from the money; strikes run from 22000 to 26000$"),
        ("NFO:NIFTY:CE:ATM:2026-07-15", r"no contract expires on 2026-07-15; listed are 2026-07-07, 2026-07-14"),
        ("NFO:NIFTY:FUT:2026-06-30", r"has expired; listed are 2026-07-28, 2026-08-25, 2026-09-29$"),
        ("NFO:BANKNIFTY:CE:ATM:weekly", r"BANKNIFTY has no weekly contracts; write monthly; listed are 2026-07-28"),
        ("INDEX:NIFTY 500", r"its members are not known; known are those of NIFTY 50, NIFTY BANK, SENSEX; write its"),
        ("TOP:2:NSE", r"no file says what shares traded for; name the exchange's newest daily file"),
    ],
)
def test_what_a_selector_does_not_find_is_refused_with_what_there_is(name: str, message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        choose(name, TODAY)


def test_no_strike_is_at_the_money_where_the_price_is_not_known() -> None:
    rows = CATALOGUE.rows.copy()
    rows["last_price"][CATALOGUE.row_of_key(NIFTY)] = 0
    blind = replace(TODAY, catalogue=replace(CATALOGUE, rows=rows))

    with pytest.raises(InstrumentError, match="price of NSE:INDEX:NIFTY 50: not known"):
        choose("NFO:NIFTY:CE:ATM:weekly", blind)
    assert choose("NFO:NIFTY:CE:24000:weekly", blind)[0].strike == 2_400_000


def test_an_index_is_its_members_that_the_dump_lists_in_the_lists_order() -> None:
    assert [one.symbol for one in choose("INDEX:NIFTY 50", TODAY)] == ["RELIANCE", "TCS", "HDFCBANK", "INFY", "ITC"]
    assert [one.key for one in choose("INDEX:SENSEX", TODAY)][:1] == ["BSE:EQ:RELIANCE"]
    with pytest.raises(InstrumentError, match="known are those of none"):
        choose("INDEX:NIFTY 50", replace(TODAY, reference=own_reference(DAY, simulated=False)))


def test_the_most_traded_come_largest_first_from_one_days_file() -> None:
    values = {"NSE:ITC": 500, "NSE:TCS": 900, "NSE:INFY": 500, "BSE:TCS": 9_999, "NSE:GONE": 10_000, "NSE:RELIANCE": 0}
    listing = replace(TODAY, reference=replace(OWN, traded=Traded(date(2026, 7, 3), "cm03JUL.csv", values)))

    assert [one.key for one in choose("TOP:2:NSE", listing)] == ["NSE:EQ:TCS", "NSE:EQ:INFY"]
    assert [one.symbol for one in choose("TOP:3:INDEX:NIFTY 50", listing)] == ["TCS", "INFY", "ITC"]
    with pytest.raises(InstrumentError, match=r"cm03JUL.csv and the dump have 3 such shares, not 4; ask for fewer"):
        choose("TOP:4:NSE", listing)
    for day in (date(2026, 7, 3), date(2026, 7, 14)):
        with pytest.raises(InstrumentError, match=r"cm03JUL\.csv is of 2026-07-03, and .* at most 10 days before"):
            choose("TOP:2:NSE", replace(listing, day=day))


@pytest.mark.parametrize(
    ("day", "sessions", "near", "rolls_on"),
    [
        ("2026-07-27", 0, "2026-07-28", "2026-07-29"),
        ("2026-07-28", 0, "2026-07-28", "2026-07-29"),
        ("2026-07-29", 0, "2026-08-25", "2026-08-26"),
        ("2026-07-27", 1, "2026-07-28", "2026-07-28"),
        ("2026-07-28", 1, "2026-08-25", "2026-08-25"),
        ("2026-07-23", 3, "2026-07-28", "2026-07-24"),
        ("2026-07-24", 3, "2026-08-25", "2026-08-21"),
    ],
)
def test_a_future_rolls_after_its_expiry_day_or_so_many_sessions_before(
    day: str, sessions: int, near: str, rolls_on: str
) -> None:
    """2026-07-28 is a Tuesday; three sessions before it is the Thursday, over a weekend."""
    listing = on(date.fromisoformat(day), roll_sessions=sessions)
    (roll,) = rolls(["NSE:INFY", "NFO:NIFTY:FUT:near"], listing)

    assert choose("NFO:NIFTY:FUT:near", listing)[0].key == roll.was == f"NSE:FUT:NIFTY:{near}"
    assert str(roll.day) == rolls_on and roll.to > roll.was
    assert choose("NFO:NIFTY:FUT:near", on(roll.day, roll_sessions=sessions))[0].key == roll.to


def test_the_soonest_roll_comes_first_and_one_without_a_successor_says_so() -> None:
    names = [
        "NFO:NIFTY:FUT:far",
        "NFO:NIFTY:CE:ATM:weekly",
        "NFO:NIFTY:CE:ATM:monthly",
        "NFO:NIFTY:CE:24000:2026-07-14",
    ]
    found = rolls(names, TODAY)

    assert found[0] == Roll(
        "NFO:NIFTY:CE:ATM:weekly", "NSE:OPT:NIFTY:2026-07-07:24000:CE", "NSE:OPT:NIFTY:2026-07-14:24000:CE",
        date(2026, 7, 8),
    )  # fmt: skip
    assert [(roll.selector[4:], str(roll.day), roll.to) for roll in found[1:]] == [
        ("NIFTY:CE:ATM:monthly", "2026-07-29", "NSE:OPT:NIFTY:2026-08-25:24000:CE"),
        ("NIFTY:FUT:far", "2026-07-29", ""),
    ]


def test_sessions_are_counted_over_holidays_and_by_weekdays_past_the_calendar() -> None:
    assert session_before(date(2026, 6, 29), 1) == date(2026, 6, 25)  # the 26th is a holiday
    assert session_before(date(2031, 7, 7), 1) == date(2031, 7, 4)


def strikes_of(need: ChainNeed, **more: int) -> dict[tuple[str, int], tuple[int, int, int]]:
    """Return (first, last, number) of the strikes in rupees, by expiry and right."""
    found: dict[tuple[str, int], list[int]] = {}
    for one in chain_of(NIFTY, need, replace(TODAY, **more)):
        found.setdefault((str(one.expiry), one.right), []).append(one.strike // 100)
    return {key: (min(strikes), max(strikes), len(strikes)) for key, strikes in found.items()}


def need(*expiries: str, rights: tuple[int, ...] = (1, -1), steps: int = 0, percent: float = 0.0) -> ChainNeed:
    return ChainNeed(frozenset(rights), frozenset(expiries), steps, percent)


@pytest.mark.parametrize(
    ("wanted", "expiries"),
    [
        (need("nearest"), ["2026-07-07"]),
        (need("next"), ["2026-07-07", "2026-07-14"]),
        (need("dte >= 10"), ["2026-07-07", "2026-07-14", "2026-07-21"]),
        (need("nearest", "monthly"), ["2026-07-07", "2026-07-14", "2026-07-21", "2026-07-28"]),
    ],
)
def test_a_session_holds_whole_expiries_up_to_the_last_that_a_rule_means(
    wanted: ChainNeed, expiries: list[str]
) -> None:
    held = strikes_of(wanted, chain_strikes=5)

    assert sorted({expiry for expiry, right in held if right}) == expiries
    assert all(found == (23_750, 24_250, 11) for (_, right), found in held.items() if right)
    assert ("2026-07-28", 0) in held or expiries[-1] < "2026-07-28"


def test_legs_far_from_the_money_widen_what_is_held() -> None:
    assert strikes_of(need("nearest", steps=4), chain_strikes=5)["2026-07-07", 1] == (23_550, 24_450, 19)
    low, high, _ = strikes_of(need("nearest", percent=4.0), chain_strikes=5)["2026-07-07", -1]
    assert low < 24_000 * 0.96 and high > 24_000 * 1.04
    with pytest.raises(InstrumentError, match="no contract of it is listed"):
        chain_of("NSE:EQ:ITC", need("nearest"), TODAY)


DAYS = st.integers(0, 400).map(lambda n: date(2026, 7, 6) + timedelta(days=n))


@given(st.lists(DAYS, max_size=8), DAYS)
def test_expiry_words_name_living_expiries_in_order(listed: list[date], today: date) -> None:
    words = dict(expiry_words(listed, today))

    assert all(day in listed and day >= today for day in words.values())
    if len(words) > 1 and "next" in words:
        assert words["nearest"] < words["next"]
    if "monthly" in words:
        month = (words["monthly"].year, words["monthly"].month)
        assert words["monthly"] == max(day for day in listed if (day.year, day.month) == month)


@given(st.integers(1, 10**7), st.integers(1, 40), st.sampled_from([1, -1]))
def test_the_money_lies_inside_every_band_that_the_list_allows(price: int, width: int, right: int) -> None:
    rows = CATALOGUE.rows.copy()
    rows["last_price"][CATALOGUE.row_of_key(NIFTY)] = price
    listing = replace(TODAY, catalogue=replace(CATALOGUE, rows=rows), chain_strikes=width)
    held = [one.strike for one in chain_of(NIFTY, need("nearest", rights=(right,)), listing)]
    listed = CATALOGUE.rows["strike"][CATALOGUE.contracts(NIFTY, "OPT", right, DAY)]

    assert min(abs(strike - price) for strike in held) == min(abs(int(strike) - price) for strike in listed)
    assert len(held) <= 2 * width + 1


def test_errors_of_a_universe_are_refusals() -> None:
    with pytest.raises(AtmandError) as refused:
        choose("TOP:2:NSE", Listing(CATALOGUE, DAY, Reference()))
    assert refused.value.exit_code == 3
