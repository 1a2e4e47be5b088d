"""What the strategies trade, and what the daemon refuses as it opens a session.

Names are resolved through a list of instruments, each of them once; products and costs must fit them.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from atmand.errors import AtmandError
from atmand.lang.program import Deployment
from atmand.lang.source import StrategyError
from atmand.lang.strategy import parse_strategy
from atmand.market.costs import CostsError
from atmand.market.kite_dump import KITE_COLUMNS, parse_kite_dump
from atmand.market.universe import Listing
from atmand.opening import check_costs, terms_of
from atmand.research.backtest import instruments_of, pairs_of
from atmand.settings import load
from atmand.sim.universe import dump_csv, seeded_listings
from atmand.universe import universe_of

TEXT = """name = "one"
universe = [
    "NSE:TCS", "NSE:INFY",
    "NSE:EQ:TCS",
]
[entry]
long = "close > open"
[size]
quantity = 1
"""


def deployed(text: str) -> list[Deployment]:
    return [Deployment(parse_strategy(text, "one.toml"))]


def listing_of(dump: str) -> Listing:
    return Listing(parse_kite_dump(dump), date(2026, 7, 6))


def seeded() -> Listing:
    rows = seeded_listings()
    return listing_of(dump_csv(rows, [100_000] * len(rows), [5] * len(rows)))


@pytest.mark.parametrize("listed", ["the broker's", "the bars'"])
def test_two_names_of_one_instrument_are_refused_at_the_second(listed: str) -> None:
    with pytest.raises(StrategyError) as refused:
        if listed == "the bars'":
            pairs_of(deployed(TEXT), instruments_of(["NSE:TCS", "NSE:INFY"]))
        else:
            universe_of(deployed(TEXT), seeded(), lenient=False)
    first, *_, caret = str(refused.value).split("\n")
    assert first == "one.toml:4:5: universe: NSE:TCS and NSE:EQ:TCS are both NSE:EQ:TCS; name it once"
    assert caret == "        ^"


def test_two_strategies_may_trade_one_instrument() -> None:
    once = TEXT.replace('    "NSE:EQ:TCS",\n', "")
    universe = universe_of(deployed(once) + deployed(TEXT.replace('"NSE:TCS", ', "")), seeded(), lenient=False)
    assert sorted(book for book, _ in universe.pairs) == [0, 0, 1, 1]
    assert {place for book, place in universe.pairs if book == 0} == {place for book, place in universe.pairs if book}


DUMP = "\n".join(
    [
        ",".join(KITE_COLUMNS),
        "408065,1594,INFY,INFOSYS,0,,0,0.1,1,EQ,NSE,NSE",
        "15104258,59001,INFY26AUGFUT,INFY,0,2026-08-25,0,0.1,400,FUT,NFO-FUT,NFO",
        "",
    ]
)
HELD = """
name = "one"
universe = ["NSE:INFY"]
[trade]
product = "{product}"
[entry]
long = "close > 1"
[size]
quantity = 1
"""
FUTURE = "NSE:FUT:INFY:2026-08-25"


def deployment(product: str, *universe: str) -> Deployment:
    """Deploy over the operator's universe, which no strategy file's check has seen."""
    file = parse_strategy(HELD.format(product="MIS"), "one.toml")
    trade = file.strategy.trade.model_copy(update={"product": product})
    file.strategy = file.strategy.model_copy(update={"trade": trade})
    return Deployment(file, "paper", {}, "one", universe=universe)


@pytest.mark.parametrize(
    ("product", "name", "refused"),
    [
        ("MIS", "NSE:INFY", ""), ("CNC", "NSE:INFY", ""), ("MIS", FUTURE, ""), ("NRML", FUTURE, ""),
        ("NRML", "NSE:INFY", "strategy one: trade.product: NRML carries futures and options, and NSE:EQ:INFY is"),
        ("CNC", FUTURE, f"strategy one: trade.product: CNC takes shares into delivery, and {FUTURE} is a derivative"),
    ],
)  # fmt: skip
def test_the_dump_decides_what_a_product_may_hold(product: str, name: str, refused: str) -> None:
    if not refused:
        assert len(universe_of([deployment(product, name)], listing_of(DUMP), lenient=False).pairs) == 1
        return
    with pytest.raises(AtmandError) as error:
        universe_of([deployment(product, name)], listing_of(DUMP), lenient=False)
    assert str(error.value).startswith(refused)


def test_a_session_is_traded_under_the_configurations_plan(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text('[market]\nbrokerage = "groww"\n')
    settings = load(config)

    terms = terms_of(settings, date(2026, 7, 6), simulated=True, bar_path=False, seed=1)
    assert terms.brokerage == "groww"
    check_costs(settings, date(2025, 6, 21))
    with pytest.raises(CostsError, match="plan groww"):
        check_costs(settings, date(2025, 6, 20))
