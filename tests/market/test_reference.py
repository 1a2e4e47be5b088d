"""What the dump does not tell: freeze quantities by date, members of indices, ISINs and sectors from files."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import orjson
import pytest
from dumps import DAY, market_dump

from atmand.market.instruments import InstrumentError
from atmand.market.kite_dump import parse_kite_dump
from atmand.market.reference import (
    Reference,
    own_reference,
    read_freeze,
    read_members,
    read_shares,
    with_reference,
    with_shares,
)
from atmand.market.tables import load_table
from atmand.sim.universe import COMPANIES, INDICES

OWN = own_reference(DAY, simulated=True)


@pytest.mark.parametrize(
    ("day", "name", "units"),
    [
        ("2023-04-02", "NIFTY", None),
        ("2023-04-03", "BANKNIFTY", 900),
        ("2025-06-30", "BANKNIFTY", 900),
        ("2025-07-01", "BANKNIFTY", 600),
        ("2025-08-31", "BANKNIFTY", 600),
        ("2025-09-01", "BANKNIFTY", 900),
        ("2025-10-01", "BANKNIFTY", 600),
        ("2025-11-30", "FINNIFTY", 1_200),
        ("2026-03-02", "FINNIFTY", 1_200),
        ("2026-04-01", "BANKNIFTY", 900),
        ("2026-05-01", "BANKNIFTY", 600),
        ("2026-08-03", "MIDCPNIFTY", 2_800),
        ("2026-08-03", "SENSEX", None),
    ],
)
def test_the_freeze_quantity_is_the_days_own(day: str, name: str, units: int | None) -> None:
    assert OWN.freeze_on(date.fromisoformat(day)).get(name) == units


def test_every_freeze_quantity_of_the_recorded_table_is_ours_on_its_first_day() -> None:
    data = os.environ.get("ATMAND_TEST_DATA")
    if not data:
        pytest.skip("ATMAND_TEST_DATA is not set")
    for row in orjson.loads((Path(data) / "india" / "exchange.json").read_bytes())["freeze_qty"]:
        units = OWN.freeze_on(date.fromisoformat(row.pop("from")))
        assert {name: units[name] for name in row} == row


def test_a_month_that_was_not_at_hand_has_the_smaller_of_its_neighbours() -> None:
    table = load_table("freeze")["freeze"]
    guessed = [place for place, row in enumerate(table) if row["source"].startswith("not at hand")]

    assert [row["from"] for row in table] == sorted({row["from"] for row in table}) and len(guessed) == 3
    for place in guessed:
        before, here, after = (table[place + step]["units"] for step in (-1, 0, 1))
        assert here == {name: min(units, after[name]) for name, units in before.items()}


def test_our_lists_are_the_generated_markets_and_no_real_ones() -> None:
    for index in (index for index in INDICES if index.members):
        members = [f"{index.exchange}:{COMPANIES[at].symbol}" for at in index.members]
        assert OWN.members_of(index.symbol, DAY) == OWN.members_of(f"{index.exchange}:{index.symbol}", DAY) == members
    assert {OWN.isins[f"BSE:{one.symbol}"] for one in COMPANIES} == {one.isin for one in COMPANIES}
    assert all(OWN.sectors[f"NSE:{one.symbol}"] == one.sector for one in COMPANIES)
    real = own_reference(DAY, simulated=False)
    assert (real.members, real.isins, real.freeze) == ((), {}, OWN.freeze)
    assert real.sectors == OWN.sectors


MEMBERS = """
[[members]]
index = "NIFTY 50"
from = 2026-03-31
symbols = ["TCS", "INFY"]

[[members]]
index = "NIFTY 50"
from = 2026-09-30
file = "ind_nifty50list.csv"
"""
LIST = """Company Name,Industry,Symbol,Series,ISIN Code
Infosys Ltd.,Information Technology,INFY,EQ,INE009A01021
ITC Ltd.,Fast Moving Consumer Goods,ITC,EQ,INE154A01025
"""


def test_a_users_list_holds_from_its_day_and_may_be_the_providers_own_file() -> None:
    reference = Reference(
        members=read_members(MEMBERS, "members.toml", lambda name: {"ind_nifty50list.csv": LIST}[name])
    )

    assert reference.members_of("NIFTY 50", date(2026, 9, 29)) == ["NSE:TCS", "NSE:INFY"]
    assert reference.members_of("NIFTY 50", date(2026, 9, 30)) == ["NSE:INFY", "NSE:ITC"]
    with pytest.raises(InstrumentError, match="its members are known from 2026-03-31 on"):
        reference.members_of("NIFTY 50", date(2026, 3, 30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[members]]\nindex = 5", "not a table of index members"),
        ("[[members]]\nindex = 'X'\nfrom = 2026-01-01\nsymbols = []", "X has no members"),
        ("[[members]]\nindex = 'X'\nfrom = '2026'\nsymbols = ['A']", "'2026' is not a date"),
        ("members = [", "not TOML"),
        ("[[members]]\nindex = 'X'\nfrom = 2026-01-01\nfile = 'a.csv'", "a.csv: its first line names no column Symbol"),
    ],
)
def test_a_malformed_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        read_members(text, "members.toml", lambda name: "SYMBOLS\nA\n")


def test_a_users_freeze_table_replaces_ours_and_a_malformed_one_is_refused() -> None:
    rows, through = read_freeze(
        "through = 2026-12-31\n[[freeze]]\nfrom = 2026-12-01\nunits = { SENSEX = 1000 }", "f.toml"
    )

    assert Reference(freeze=rows).freeze_on(date(2026, 12, 1)) == {"SENSEX": 1_000} and through == date(2026, 12, 31)
    for text in ("x = 1", "[[freeze]]\nfrom = 2026-12-01", "[[freeze]]\nfrom = 5\nunits = { A = 1 }"):
        with pytest.raises(InstrumentError, match=r"f\.toml: not a freeze table"):
            read_freeze(text, "f.toml")


UDIFF = """TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,TtlTradgVol,TtlTrfVal
2026-07-03,2026-07-03,CM,NSE,STK,1594,INE009A01021,INFY,EQ,10,15600.50
2026-07-03,2026-07-03,CM,NSE,STK,9,INE000X01010,SMALL,BE,10,90
"""
FULL = """SYMBOL, SERIES, DATE1, PREV_CLOSE, TURNOVER_LACS, NO_OF_TRADES
INFY, EQ, 03-Jul-2026, 1560.00, 12.34, 100
"""
EQUITY_L = "SYMBOL,NAME OF COMPANY, SERIES, ISIN NUMBER\nTCS,Tata Consultancy,EQ,INE467B01029\n"
OWN_FILE = "exchange,symbol,isin,sector\nBSE,TCS,INE467B01029,SOFTWARE\n"


@pytest.mark.parametrize(
    ("text", "isins", "sectors", "values"),
    [
        (UDIFF, {"NSE:INFY": "INE009A01021", "NSE:SMALL-BE": "INE000X01010"}, {},
         {"NSE:INFY": 15_600, "NSE:SMALL-BE": 90}),
        (FULL, {}, {}, {"NSE:INFY": 1_234_000}),
        (EQUITY_L, {"NSE:TCS": "INE467B01029"}, {}, None),
        (LIST, {"NSE:INFY": "INE009A01021", "NSE:ITC": "INE154A01025"},
         {"NSE:INFY": "Information Technology", "NSE:ITC": "Fast Moving Consumer Goods"}, None),
        (OWN_FILE, {"BSE:TCS": "INE467B01029"}, {"BSE:TCS": "SOFTWARE"}, None),
    ],
)  # fmt: skip
def test_the_exchanges_files_are_read_by_the_names_of_their_columns(
    text: str, isins: dict[str, str], sectors: dict[str, str], values: dict[str, int] | None
) -> None:
    found = read_shares(text, "file.csv")

    assert (found.isins, found.sectors) == (isins, sectors)
    assert (None if found.traded is None else found.traded.values) == values
    assert found.traded is None or found.traded.day == date(2026, 7, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no column SYMBOL"),
        ("a,b\n1,2\n", "names no column SYMBOL"),
        (FULL.replace("12.34", "much"), "file.csv, line 2: 'much' is no value"),
        (FULL.replace("03-Jul-2026", "yesterday"), "'yesterday' is not the day of a daily file"),
    ],
)
def test_a_file_that_tells_nothing_of_shares_is_refused(text: str, message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        read_shares(text, "file.csv")


def test_a_later_file_wins_and_the_newest_day_says_what_traded() -> None:
    older = FULL.replace("03-Jul", "02-Jul").replace("12.34", "99")
    reference = OWN
    for text in (UDIFF, older, OWN_FILE):
        reference = with_shares(reference, read_shares(text, "file.csv"))
    catalogue = with_reference(parse_kite_dump(market_dump()), reference, DAY)

    assert reference.traded is not None and reference.traded.day == date(2026, 7, 3)
    assert catalogue.resolve("NSE:INFY").isin == "INE009A01021"
    assert (catalogue.resolve("BSE:TCS").sector, catalogue.resolve("NSE:TCS").sector) == ("SOFTWARE", "IT")
    assert catalogue.resolve("NSE:FUT:INFY:2026-07-28").sector == "IT"
