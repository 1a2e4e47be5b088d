"""What the strategies trade: their names are resolved through a list of instruments, each of them once."""

from __future__ import annotations

import pytest

from atmand.lang.program import Deployment
from atmand.lang.source import StrategyError
from atmand.lang.strategy import parse_strategy
from atmand.opening import universe_of
from atmand.research.backtest import instruments_of, pairs_of
from atmand.sim.universe import dump_csv, seeded_listings

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


def dump() -> str:
    rows = seeded_listings()
    return dump_csv(rows, [100_000] * len(rows), [5] * len(rows))


@pytest.mark.parametrize("listed", ["the broker's", "the bars'"])
def test_two_names_of_one_instrument_are_refused_at_the_second(listed: str) -> None:
    with pytest.raises(StrategyError) as refused:
        if listed == "the bars'":
            pairs_of(deployed(TEXT), instruments_of(["NSE:TCS", "NSE:INFY"]))
        else:
            universe_of(deployed(TEXT), dump(), lenient=False)
    first, *_, caret = str(refused.value).split("\n")
    assert first == "one.toml:4:5: universe: NSE:TCS and NSE:EQ:TCS are both NSE:EQ:TCS; name it once"
    assert caret == "        ^"


def test_two_strategies_may_trade_one_instrument() -> None:
    once = TEXT.replace('    "NSE:EQ:TCS",\n', "")
    universe = universe_of(deployed(once) + deployed(TEXT.replace('"NSE:TCS", ', "")), dump(), lenient=False)
    assert sorted(book for book, _ in universe.pairs) == [0, 0, 1, 1]
    assert {place for book, place in universe.pairs if book == 0} == {place for book, place in universe.pairs if book}
