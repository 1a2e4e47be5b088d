"""Durable keys, Kite's dump, names as people write them, tick sizes."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.market.instruments import (
    InstrumentError,
    price_scale_of,
    resolve,
    resolve_all,
    scaled,
    session_group,
    tick_size,
)
from atmand.market.kite_dump import KITE_COLUMNS, parse_kite_dump

ROWS = {
    "INFY": "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE",
    "INFY@BSE": "128053508,500209,INFY,INFOSYS,0,,0,0.05,1,EQ,BSE,BSE",
    "MM": "519937,2031,M&M,MAHINDRA & MAHINDRA,0,,0,0.10,1,EQ,NSE,NSE",
    "QUOTED": '2953217,11536,TCS,"TATA CONSULTANCY, SERV",0,,0,0.10,1,EQ,NSE,NSE',
    "NIFTY": "256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE",
    "SENSEX": "265,1,SENSEX,SENSEX,0,,0,0,0,EQ,INDICES,BSE",
    "FUT": "13238786,51714,NIFTY26JULFUT,NIFTY,0,2026-07-28,0,0.10,65,FUT,NFO-FUT,NFO",
    "INFYFUT": "13239042,51715,INFY26JULFUT,INFY,0,2026-07-28,0,0.05,400,FUT,NFO-FUT,NFO",
    "CE": "12073986,47164,NIFTY26JUL24500CE,NIFTY,0,2026-07-28,24500.0,0.05,65,CE,NFO-OPT,NFO",
    "PE": "12074242,47165,ITC26JUL432.5PE,ITC,0,2026-07-28,432.50,0.05,1600,PE,NFO-OPT,NFO",
    "USD": "1075203,4200,USDINR26JULFUT,USDINR,0,2026-07-29,0,0.0025,1,FUT,CDS-FUT,CDS",
}


def dump(*names: str, header: str = ",".join(KITE_COLUMNS)) -> str:
    return "\n".join([header, *(ROWS[name] for name in names or ROWS)]) + "\n"


ALL = parse_kite_dump(dump()).instruments()


def test_keys_are_durable_and_made_of_facts_not_of_symbols() -> None:
    assert [instrument.key for instrument in ALL] == [
        "NSE:EQ:INFY",
        "BSE:EQ:INFY",
        "NSE:EQ:M&M",
        "NSE:EQ:TCS",
        "NSE:INDEX:NIFTY 50",
        "BSE:INDEX:SENSEX",
        "NSE:FUT:NIFTY:2026-07-28",
        "NSE:FUT:INFY:2026-07-28",
        "NSE:OPT:NIFTY:2026-07-28:24500:CE",
        "NSE:OPT:ITC:2026-07-28:432.5:PE",
        "CDS:FUT:USDINR:2026-07-29",
    ]


def test_ticks_and_scales_are_exact_integers() -> None:
    facts = {instrument.symbol: instrument for instrument in ALL if instrument.exchange != "BSE"}

    assert (facts["INFY"].price_scale, facts["INFY"].tick, facts["INFY"].lot) == (100, 5, 1)
    assert (facts["NIFTY26JULFUT"].tick, facts["NIFTY26JULFUT"].lot) == (10, 65)
    assert (facts["USDINR26JULFUT"].price_scale, facts["USDINR26JULFUT"].tick) == (10_000_000, 25_000)


def test_a_derivative_knows_its_underlying_expiry_strike_and_right() -> None:
    facts = {
        instrument.symbol: (instrument.underlying, str(instrument.expiry), instrument.strike, instrument.right)
        for instrument in ALL
        if instrument.expiry is not None
    }
    assert facts == {
        "NIFTY26JULFUT": ("NSE:INDEX:NIFTY 50", "2026-07-28", 0, 0),
        "INFY26JULFUT": ("NSE:EQ:INFY", "2026-07-28", 0, 0),
        "NIFTY26JUL24500CE": ("NSE:INDEX:NIFTY 50", "2026-07-28", 2_450_000, 1),
        "ITC26JUL432.5PE": ("NSE:EQ:ITC", "2026-07-28", 43_250, -1),
        "USDINR26JULFUT": ("CDS:EQ:USDINR", "2026-07-29", 0, 0),
    }


def test_only_priced_in_paise_and_no_index_is_tradable() -> None:
    assert {instrument.symbol for instrument in ALL if not instrument.tradable} == {
        "NIFTY 50", "SENSEX", "USDINR26JULFUT",
    }  # fmt: skip


@pytest.mark.parametrize(("segment", "scale"), [(1, 100), (3, 10**7), (6, 10**4), (9, 100), (12, 10**4)])
def test_the_price_scale_is_the_segments(segment: int, scale: int) -> None:
    assert price_scale_of(1594 << 8 | segment) == scale


def test_columns_may_come_in_another_order() -> None:
    text = dump()
    rows = list(csv.DictReader(io.StringIO(text)))
    out = io.StringIO()
    writer = csv.DictWriter(out, sorted(KITE_COLUMNS))
    writer.writeheader()
    writer.writerows(rows)

    assert parse_kite_dump(out.getvalue()).instruments() == ALL


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("408065", "4O8065", r"line 2, column instrument_token: '4O8065' is not a decimal"),
        ("0.05,1,EQ", "0.055,1,EQ", r"line 2, column tick_size: '0.055' is not a whole number of 1/100"),
        ("0.05,1,EQ", "NaN,1,EQ", r"line 2, column tick_size: 'NaN' is not"),
        ("0.05,1,EQ", "0.05,1.5,EQ", r"line 2, column lot_size: '1.5' is not a whole"),
        ("0.05,1,EQ", "0.05,-1,EQ", r"line 2, column lot_size: '-1'"),
        (",EQ,NSE,NSE", ",XX,NSE,NSE", r"line 2, column instrument_type: 'XX' is none of"),
        (",EQ,NSE,NSE", ",EQ,NSE", r"line 2, column exchange: is empty"),
        (",EQ,NSE,NSE", ",EQ,NSE,NSE,1", r"line 2, column after the last: there are more fields"),
        ("INFY,", ",", r"line 2, column tradingsymbol: is empty"),
        ("INFY,INFOSYS", '"INFY,INFOSYS', r"line 2: unexpected end of data"),
    ],
)
def test_a_malformed_share_names_line_and_column(old: str, new: str, message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        parse_kite_dump(dump("INFY").replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2026-07-28", "28-07-2026", r"line 3, column expiry: '28-07-2026' is not a date"),
        ("2026-07-28", "", r"line 3, column expiry: '' is not a date"),
        ("24500.0", "", r"line 3, column strike: '' is not a price"),
        ("24500.0", "-1", r"line 3, column strike: '-1' is not a price"),
    ],
)
def test_a_malformed_option_names_line_and_column(old: str, new: str, message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        parse_kite_dump(dump("INFY", "CE").replace(old, new, 1))


def test_a_dump_without_a_column_is_refused() -> None:
    with pytest.raises(InstrumentError, match="line 1: no column tick_size"):
        parse_kite_dump(dump("INFY", header=",".join(KITE_COLUMNS).replace("tick_size", "ticks")))
    with pytest.raises(InstrumentError, match="line 1: no column instrument_token"):
        parse_kite_dump("")


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail_otherwise_than_with_its_own_error(text: str) -> None:
    try:
        parsed = parse_kite_dump(dump("INFY") + text).instruments()
    except InstrumentError as error:
        assert "instrument dump, line" in str(error)
    else:
        assert parsed[0].key == "NSE:EQ:INFY"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NSE:EQ:INFY", "NSE:EQ:INFY"),
        ("NSE:INFY", "NSE:EQ:INFY"),
        ("BSE:INFY", "BSE:EQ:INFY"),
        ("NSE:NIFTY 50", "NSE:INDEX:NIFTY 50"),
        ("NFO:NIFTY26JULFUT", "NSE:FUT:NIFTY:2026-07-28"),
        ("NSE:OPT:ITC:2026-07-28:432.5:PE", "NSE:OPT:ITC:2026-07-28:432.5:PE"),
    ],
)
def test_a_name_is_a_key_or_an_exchange_and_symbol(name: str, key: str) -> None:
    assert resolve(name, ALL).key == key


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("NSE:INFI", "NSE:INFY"), ("NSE:EQ:INFFY", "NSE:EQ:INFY"), ("BSE:SENSX", "BSE:SENSEX"), ("XXX:TCS", "NSE:TCS")],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name: str, nearest: str) -> None:
    with pytest.raises(InstrumentError, match=f"not known; the nearest known one is {nearest}$"):
        resolve(name, ALL)


def test_a_name_that_fits_two_is_refused_with_both() -> None:
    index = replace(ALL[4], symbol="INFY", key="NSE:INDEX:INFY")

    with pytest.raises(InstrumentError, match=r"any of NSE:EQ:INFY \(token 408065\), NSE:INDEX:INFY"):
        resolve("NSE:INFY", [*ALL, index])
    assert resolve("NSE:EQ:INFY", [*ALL, index]).token == 408065


def test_a_universe_resolves_in_its_own_order() -> None:
    assert [found.token for found in resolve_all(["BSE:SENSEX", "NSE:INFY"], iter(ALL))] == [265, 408065]
    with pytest.raises(InstrumentError, match="dump is empty"):
        resolve("NSE:INFY", [])


def test_shares_with_derivatives_have_their_own_session_group() -> None:
    names = parse_kite_dump(dump()).names_with_derivatives()

    assert names == {"NIFTY", "INFY", "ITC", "USDINR"}
    assert {found.key for found in ALL if session_group(found, names) == 1} == {"NSE:EQ:INFY", "BSE:EQ:INFY"}


@pytest.mark.parametrize(
    ("price", "tick"),
    [
        ("249.99", 1), ("250", 5), ("1000", 5), ("1000.05", 10), ("5000", 10), ("5000.1", 50), ("10000", 50),
        ("10000.5", 100), ("20000", 100), ("20001", 500), ("130000", 500),
    ],
)  # fmt: skip
def test_the_tick_follows_the_price_band(price: str, tick: int) -> None:
    assert tick_size(int(Decimal(price) * 100), date(2025, 4, 15)) == tick


def test_ticks_before_their_table_are_refused() -> None:
    with pytest.raises(InstrumentError, match="begins on 2025-04-15"):
        tick_size(10_000, date(2025, 4, 14))


@given(st.integers(0, 10**12), st.sampled_from([100, 10**4, 10**7]))
def test_scaling_a_decimal_text_loses_nothing(units: int, scale: int) -> None:
    assert scaled(str(Decimal(units) / scale), scale) == units


def test_the_recorded_dumps_parse_into_distinct_keys() -> None:
    data = os.environ.get("ATMAND_TEST_DATA")
    if not data:
        pytest.skip("ATMAND_TEST_DATA is not set")
    for name in ("instruments_all.csv", "instruments_nse.csv"):
        text = (Path(data) / "kite" / name).read_text()
        found = parse_kite_dump(text).instruments()
        assert len({instrument.key for instrument in found}) == len(found) == text.count("\n") - 1
