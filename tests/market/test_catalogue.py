"""The table of a day's instruments: one row each, found by key, name, token, underlying and ISIN."""

from __future__ import annotations

import io
import time
from datetime import date
from typing import Any

import numpy as np
import pytest
from dumps import DAY, chain, dump_of, market_dump, share
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.market.catalogue import Catalogue
from atmand.market.instruments import InstrumentError
from atmand.market.kite_dump import parse_kite_dump
from atmand.market.reference import own_reference, with_reference

CATALOGUE = parse_kite_dump(market_dump())
FILLED = with_reference(CATALOGUE, own_reference(DAY, simulated=True), DAY)


def test_a_row_carries_every_fact_of_its_contract() -> None:
    option = FILLED.resolve("NSE:OPT:NIFTY:2026-07-14:24050:CE")

    assert (option.lot, option.tick, option.freeze, option.strike, option.right) == (65, 5, 1_800, 2_405_000, 1)
    assert (option.underlying, option.expiry, option.segment) == ("NSE:INDEX:NIFTY 50", date(2026, 7, 14), "OPT")
    future = FILLED.resolve("NFO:INFY26JULFUT")
    assert (future.sector, future.freeze, future.isin) == ("IT", 0, "")  # a stock's freeze quantity is not known


@pytest.mark.parametrize("place", [0, 5, 11, 40, len(CATALOGUE) - 1])
def test_each_row_is_found_by_key_token_and_name(place: int) -> None:
    one = CATALOGUE.instrument(place)

    assert CATALOGUE.row_of_key(one.key) == CATALOGUE.row_of_token(one.token) == place
    assert CATALOGUE.row_of_name(f"{one.exchange}:{one.symbol}") == place
    assert CATALOGUE.resolve(one.key) == one


@pytest.mark.parametrize("token", [0, -1, 1, 2**40])
def test_what_is_not_listed_is_not_found(token: int) -> None:
    assert CATALOGUE.row_of_token(token) == CATALOGUE.row_of_key("NSE:EQ:NONE") == -1
    assert not len(CATALOGUE.rows_of_underlying("NSE:EQ:ITC")) and not len(CATALOGUE.rows_of_underlying(""))
    assert Catalogue(CATALOGUE.rows[:0]).row_of_token(token) == -1


def test_an_isin_finds_both_listings_of_a_share() -> None:
    isin = FILLED.resolve("NSE:INFY").isin

    assert len(isin) == 12
    assert [FILLED.instrument(row).key for row in FILLED.rows_of_isin(isin)] == ["NSE:EQ:INFY", "BSE:EQ:INFY"]
    assert not len(FILLED.rows_of_isin("")) and not len(CATALOGUE.rows_of_isin(isin))


def test_contracts_come_by_expiry_and_strike_and_without_the_expired() -> None:
    rows = CATALOGUE.rows[CATALOGUE.contracts("NSE:INDEX:NIFTY 50", "OPT", -1, date(2026, 7, 8))]

    assert date.fromordinal(int(rows["expiry"][0])) == date(2026, 7, 14) and set(rows["right"]) == {-1}
    order = list(zip(rows["expiry"].tolist(), rows["strike"].tolist(), strict=True))
    assert order == sorted(order) and len(order) == 4 * 81


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NSE:OPT:NIFTY:2026-07-14:24025:CE", r"no strike 24025 on 2026-07-14; the nearest are 24000 and 24050$"),
        ("NSE:OPT:NIFTY:2026-07-15:24000:CE", r"no contract expires on 2026-07-15; listed are 2026-07-07, 2026-07-14"),
        ("NSE:FUT:NIFTY:2026-06-30", r"has expired; listed are 2026-07-28, 2026-08-25, 2026-09-29$"),
        ("NSE:FUT:NIFTYY:2026-07-28", r"not known; the nearest known one is NSE:FUT:NIFTY:2026-07-28$"),
        ("NFO:NIFTY26AUGFUTX", r"not known; the nearest known one is NFO:NIFTY26AUGFUT$"),
    ],
)
def test_a_contract_that_is_not_listed_is_refused_with_what_is(name: str, message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        CATALOGUE.resolve(name, DAY)


def test_a_contract_past_its_expiry_is_refused_although_an_old_dump_lists_it() -> None:
    later = date(2026, 7, 8)

    with pytest.raises(InstrumentError, match=r"expired on 2026-07-07; listed are 2026-07-14, 2026-07-21"):
        CATALOGUE.resolve("NSE:OPT:NIFTY:2026-07-07:24000:CE", later)
    assert CATALOGUE.resolve("NSE:OPT:NIFTY:2026-07-07:24000:CE", date(2026, 7, 7)).strike == 2_400_000


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("infy", "NSE:EQ:INFY"),
        ("nifty 24500 ce", "NSE:OPT:NIFTY:2026-07-07:24500:CE"),
        ("256001", "NSE:EQ:RELIANCE"),
        ("sensex", "BSE:INDEX:SENSEX"),
    ],
)
def test_people_find_what_they_mean_first(text: str, first: str) -> None:
    found = FILLED.search(text)
    assert FILLED.instrument(found[0]).key == first and len(found) <= 20


def test_search_knows_isins_and_says_nothing_of_what_is_not_there() -> None:
    isin = FILLED.resolve("BSE:TCS").isin
    assert {FILLED.instrument(row).symbol for row in FILLED.search(isin)} == {"TCS"}
    assert FILLED.search("no such thing") == []


def test_a_doubled_name_is_refused_with_all_that_it_may_mean() -> None:
    twice = parse_kite_dump(dump_of([share(1, "AAA"), share(2, "AAA"), share(3, "BBB")]))

    with pytest.raises(InstrumentError, match=r"any of NSE:EQ:AAA \(token 257\), NSE:EQ:AAA \(token 513\)"):
        twice.resolve("NSE:AAA")
    assert twice.resolve("NSE:BBB").token == 769


def large_dump() -> str:
    """Return a dump of 100,000 rows: 20,000 shares, and options on 200 of them."""
    rows = [share(at + 1, f"SYM{at}", price=at % 3_000 / 20) for at in range(20_000)]
    for at in range(200):
        rows += chain(f"SYM{at}", (date(2026, 7, 28), date(2026, 8, 25)), range(100, 600, 5), first=100_000 + at * 500)
    return dump_of(rows)


def test_a_dump_of_a_hundred_thousand_rows_is_read_and_loaded(record_property: Any) -> None:
    """The times are recorded, not judged: `benchmarks/instruments.py` measures them on a quiet machine."""
    text = large_dump()
    began = time.process_time()
    found = parse_kite_dump(text)
    record_property("parse_seconds", time.process_time() - began)
    kept = io.BytesIO()
    np.save(kept, found.rows)
    kept.seek(0)
    loaded = Catalogue(np.load(kept, allow_pickle=False))

    assert len(loaded) == text.count("\n") - 1 == 100_000
    assert loaded.resolve("NSE:SYM19999").token == 20_000 << 8 | 1
    assert len(loaded.contracts("NSE:EQ:SYM199", "OPT", 1, DAY)) == 200
    assert loaded.row_of_token(100_399 << 8 | 2) == found.row_of_token(100_399 << 8 | 2) > 0


WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters='\x00,"\r\n'), min_size=1, max_size=12)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 2**22), WORDS), min_size=1, max_size=8, unique_by=lambda row: row[0]))
def test_whatever_shares_are_called_each_is_one_row_that_says_the_same(listed: list[tuple[int, str]]) -> None:
    found = parse_kite_dump(dump_of(share(number, name) for number, name in listed))

    assert [(one.token, one.symbol) for one in found.instruments()] == [(n << 8 | 1, name) for n, name in listed]
    for place, (number, _) in enumerate(listed):
        assert found.row_of_token(number << 8 | 1) == place
