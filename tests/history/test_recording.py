"""What is recorded: names, patterns over the dump, the nearest expiries of a chain."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from atmand.history.recording import recorded
from atmand.history.settings import RecordSettings
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.market.instruments import InstrumentError
from atmand.market.kite_dump import KITE_COLUMNS, parse_kite_dump
from atmand.market.universe import Listing
from atmand.universe import universe_of

DAY = date(2026, 7, 6)
EXPIRIES = (date(2026, 7, 7), date(2026, 7, 14), date(2026, 7, 28))


def row(token: int, symbol: str, name: str, *rest: object) -> str:
    return ",".join(map(str, (token, token // 256, symbol, name, 0, *rest)))


def option(token: int, strike: int, right: str, expiry: date) -> str:
    symbol = f"NIFTY{expiry:%y%b%d}{strike}{right}".upper()
    return row(token, symbol, "NIFTY", expiry, strike, 0.05, 75, right, "NFO-OPT", "NFO")


OPTIONS = [(day, strike, right) for day in EXPIRIES for strike in (24_400, 24_500) for right in ("CE", "PE")]
CHAIN = [f"NSE:OPT:NIFTY:{day}:{strike}:{right}" for day, strike, right in OPTIONS]
DUMP = "\n".join(
    [
        ",".join(KITE_COLUMNS),
        row(408_065, "INFY", "INFOSYS", "", 0, 0.05, 1, "EQ", "NSE", "NSE"),
        row(2_953_217, "TCS", "TATA CONSULTANCY", "", 0, 0.05, 1, "EQ", "NSE", "NSE"),
        row(256_265, "NIFTY 50", "NIFTY 50", "", 0, 0, 1, "EQ", "INDICES", "NSE"),
        *(option(256 * (40_000 + at), strike, right, day) for at, (day, strike, right) in enumerate(OPTIONS)),
        "",
    ]
)
LISTED = Listing(parse_kite_dump(DUMP), DAY)


@pytest.mark.parametrize(
    ("universe", "expiries", "keys"),
    [
        (["NSE:INFY", "NSE:EQ:INFY"], 1, ["NSE:EQ:INFY"]),
        (["NSE:EQ:*"], 1, ["NSE:EQ:INFY", "NSE:EQ:TCS"]),
        (["NSE:OPT:NIFTY:*"], 1, CHAIN[:4]),
        (["NSE:OPT:NIFTY:*:CE"], 2, [key for key in CHAIN[:8] if key.endswith("CE")]),
        (["NSE:OPT:NIFTY:2026-07-28:*"], 1, CHAIN[8:]),
    ],
)
def test_names_and_patterns_stand_for_instruments_of_the_dump(
    universe: list[str], expiries: int, keys: list[str]
) -> None:
    assert [one.key for one in recorded(universe, LISTED, expiries=expiries, most=100)] == keys


@pytest.mark.parametrize(
    ("universe", "message"),
    [
        (["NSE:OPT:BANKNIFTY:*"], "finds no instrument"),
        (["NSE:*"], "finds 7 instruments; narrow it, or raise record.most from 5"),
        (["NSE:NOBODY"], "not known"),
    ],
)
def test_a_pattern_that_finds_nothing_or_too_much_is_refused(universe: list[str], message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        recorded(universe, LISTED, expiries=1, most=5)


def test_a_recorder_without_strategies_has_instruments_and_nothing_that_trades_them() -> None:
    universe = universe_of([], LISTED, lenient=False, record=RecordSettings(universe=("NSE:INFY",)))
    assert (universe.tokens, universe.pairs) == ([408065], ())


def test_a_strategy_that_names_a_former_symbol_trades_the_new_one() -> None:
    text = 'name = "s"\nuniverse = ["NSE:OLD"]\n[entry]\nlong = "close > 1"\n[size]\nquantity = 1\n'
    deployment = Deployment(parse_strategy(text, Path("s.toml")))
    universe = universe_of([deployment], LISTED, lenient=False, newest={"NSE:OLD": "NSE:EQ:INFY"})
    assert (universe.tokens, universe.pairs) == ([408065], ((0, 0),))
