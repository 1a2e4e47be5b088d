"""`[[legs]]` and `[combined]` in a strategy file: what is accepted, and refusals with line and caret."""

from __future__ import annotations

from pathlib import Path

import pytest

from atmand.core.manifest import Amount, Manifest
from atmand.core.words import ExpiryRule, StrikeRule
from atmand.lang.program import Deployment, generate
from atmand.lang.source import StrategyError
from atmand.lang.strategy import load_strategy, parse_strategy
from atmand.market.selectors import selector_of

FOLDER = Path(__file__).parents[2] / "configs" / "strategies" / "options"
GOOD = """name = "mine"
universe = ["NSE:NIFTY 50"]
[params]
width = { default = 25, range = [5, 100] }
[entry]
long = "close > open"
[size]
lots = 1
[[legs]]
side = "sell"
right = "call"
strike = "atm"
loss = "width%"
[[legs]]
side = "buy"
right = "put"
strike = "delta 0.25"
expiry = "dte >= 7"
ratio = 2
target = 40
[combined]
loss = "width"
"""


def test_legs_become_plans_for_the_kernel() -> None:
    manifest = generate([Deployment(parse_strategy(GOOD, "mine.toml"))]).manifest
    sold, bought = manifest.books[0].legs
    assert (sold.side, sold.right, sold.strike_rule, sold.strike_value) == (-1, 1, StrikeRule.ATM, 0.0)
    assert (sold.loss, sold.target) == (Amount(0.0, 0, True), Amount())
    assert (bought.side, bought.right, bought.strike_rule, bought.strike_value) == (1, -1, StrikeRule.DELTA, 0.25)
    assert (bought.expiry_rule, bought.expiry_days, bought.ratio) == (ExpiryRule.DAYS, 7, 2)
    assert bought.target == Amount(40.0, -1, False)
    assert manifest.books[0].combined == (Amount(0.0, 0, False), Amount(), Amount())
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_the_worked_files_compile(path: Path) -> None:
    file = load_strategy(path)
    legs = generate([Deployment(file)]).manifest.books[0].legs
    assert legs or all(selector_of(name) for name in file.strategy.universe)
    assert file.strategy.name == path.stem


@pytest.mark.parametrize(
    ("before", "after", "place", "said"),
    [
        ('strike = "atm"', 'strike = "itm"', "12:10", "leg 1: strike: 'itm' is no rule; write atm, atm+2"),
        ('"delta 0.25"', '"delta 1.5"', "17:10", "a delta lies between 0 and 1"),
        (
            '"dte >= 7"',
            '"weekly"',
            "18:10",
            "leg 2: expiry: 'weekly' is no rule; write nearest, next, monthly or dte >= 7",
        ),
        ('side = "sell"', 'side = "short"', "10:8", 'leg 1: side: should be "buy" or "sell", got "short"'),
        ("ratio = 2", "ratio = 0", "19:9", "leg 2: ratio: should be at least 1, got 0"),
        ('right = "call"', 'right = "future"', "12:10", "leg 1: strike: a future has no strike"),
        ('loss = "width%"', 'loss = "wide%"', "13:8", "names no parameter; did you mean width?"),
        ('loss = "width%"', 'loss = "-3"', "13:8", "'-3' is no amount"),
        ('loss = "width%"', "loss = 0", "13:8", "must be above zero"),
        ('loss = "width%"', "reentry = 1", "13:11", "reentry follows a leg's stop"),
        ('loss = "width%"', 'los = "width%"', "13:1", "leg 1: los: unknown key; did you mean loss?"),
        (
            '[combined]\nloss = "width"',
            '[combined]\nloss = "5%"',
            "22:8",
            "combined.loss: combined amounts are rupees",
        ),
        ("[size]\nlots = 1", "[size]\nvalue = 1", "8:9", "size.value: with [[legs]] the size is lots"),
        ('long = "close > open"', 'short = "close > open"', "5:1", "entry.long opens the group"),
        ("[size]", '[exit]\nshort = "close > 1"\n[size]', "8:9", "exit.long closes the group"),
        ("[size]", "[stop]\nloss = 3\n[size]", "7:1", "stops stand in the legs and in [combined]"),
        ("[size]", '[trade]\nproduct = "CNC"\n[size]', "8:11", "market orders and product MIS"),
    ],
)
def test_a_refusal_names_the_leg_and_what_to_do(before: str, after: str, place: str, said: str) -> None:
    assert before in GOOD
    with pytest.raises(StrategyError) as refused:
        parse_strategy(GOOD.replace(before, after), "mine.toml")
    message = str(refused.value)
    assert said in message
    assert message.startswith(f"mine.toml:{place}"), message
    assert message.splitlines()[-1].strip() == "^"


def test_more_than_eight_legs_are_refused() -> None:
    text = GOOD + '[[legs]]\nside = "buy"\nright = "future"\n' * 7
    with pytest.raises(StrategyError, match="legs"):
        parse_strategy(text, "mine.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[combined]\nloss = 5\n[size]\nquantity = 1\n", "belong to [[legs]]"),
        ("[size]\nlots = 1\n", "belong to [[legs]]"),
        ("[size]\nrisk = 500\n", "size.risk needs stop.loss"),
        ("[stop]\ntrail_after = 2\n[size]\nquantity = 1\n", "trail_after without trail"),
        ('[exit]\nreduce_long = "close > 2"\n[size]\nquantity = 1\n', "needs size.reduce"),
        ('[trade]\norder = "limit"\n[size]\nquantity = 1\n', "belong together"),
        ('[trade]\nsides = "short"\n[size]\nquantity = 1\n', "entry has no short"),
        ("[size]\nquantity = 1\npercent = 3\n", "give one of quantity"),
        ('[stop]\nloss = "% 3"\n[size]\nquantity = 1\n', "not an expression"),
        ('[size]\nquantity = "3%"\n', "only behind a distance of [stop]"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(text: str, said: str) -> None:
    from atmand.lang.structure import compile_structure

    head = 'name = "mine"\nuniverse = ["NSE:AAA"]\n[entry]\nlong = "close > 1"\n'
    with pytest.raises(StrategyError) as refused:
        compile_structure(parse_strategy(head + text, "mine.toml"))
    assert said in str(refused.value)
