"""What is recorded: names, patterns over the dump, the nearest expiries of a chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from atmand.history.recording import recorded
from atmand.history.settings import RecordSettings
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.market.instruments import Instrument, InstrumentError
from atmand.opening import universe_of

SHARE = Instrument(
    key="NSE:EQ:INFY", isin="", token=257, exchange="NSE", segment="EQ", symbol="INFY", name="INFOSYS", price_scale=100,
    tick=5, lot=1, freeze=0, lower_band=0, upper_band=0, tradable=True, sector="",
)  # fmt: skip
EXPIRIES = (date(2026, 7, 7), date(2026, 7, 14), date(2026, 7, 28))


def option(strike: int, right: str, expiry: date) -> Instrument:
    key = f"NSE:OPT:NIFTY:{expiry}:{strike}:{right}"
    return replace(SHARE, key=key, exchange="NFO", segment="OPT", underlying="NSE:INDEX:NIFTY 50", expiry=expiry)


CHAIN = [option(strike, right, day) for day in EXPIRIES for strike in (24_400, 24_500) for right in ("CE", "PE")]
LISTED = [SHARE, replace(SHARE, key="NSE:EQ:TCS", symbol="TCS"), *CHAIN]


@pytest.mark.parametrize(
    ("universe", "expiries", "keys"),
    [
        (["NSE:INFY", "NSE:EQ:INFY"], 1, ["NSE:EQ:INFY"]),
        (["NSE:EQ:*"], 1, ["NSE:EQ:INFY", "NSE:EQ:TCS"]),
        (["NSE:OPT:NIFTY:*"], 1, [one.key for one in CHAIN[:4]]),
        (["NSE:OPT:NIFTY:*:CE"], 2, [one.key for one in CHAIN[:8] if one.key.endswith("CE")]),
        (["NSE:OPT:NIFTY:2026-07-28:*"], 1, [one.key for one in CHAIN[8:]]),
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
        (["NSE:*"], "finds 6 instruments; narrow it, or raise record.most from 5"),
        (["NSE:NOBODY"], "not known"),
    ],
)
def test_a_pattern_that_finds_nothing_or_too_much_is_refused(universe: list[str], message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        recorded(universe, LISTED, expiries=1, most=5)


DUMP = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,instrument_type,"
    "segment,exchange\n408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"
)


def test_a_recorder_without_strategies_has_instruments_and_nothing_that_trades_them() -> None:
    universe = universe_of([], DUMP, lenient=False, record=RecordSettings(universe=("NSE:INFY",)))
    assert (universe.tokens, universe.pairs) == ([408065], ())


def test_a_strategy_that_names_a_former_symbol_trades_the_new_one() -> None:
    text = 'name = "s"\nuniverse = ["NSE:OLD"]\n[entry]\nlong = "close > 1"\n[size]\nquantity = 1\n'
    deployment = Deployment(parse_strategy(text, Path("s.toml")))
    universe = universe_of([deployment], DUMP, lenient=False, newest={"NSE:OLD": "NSE:EQ:INFY"})
    assert (universe.tokens, universe.pairs) == ([408065], ((0, 0),))
