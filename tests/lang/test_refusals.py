"""Tables of wrong strategy files: where each is refused, and in which words. They grow with every mistake met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from atmand.hints import did_you_mean, is_model, plain, wording
from atmand.lang.source import StrategyError
from atmand.lang.strategy import Strategy, parse_strategy
from atmand.lang.structure import Structure, compile_structure
from atmand.settings import Settings

BASE = """name = "mine"
universe = ["NSE:AAA"]
[params]
fast = { default = 5, range = [2, 9], unit = "bars" }
off = { default = 1, range = [0, 3] }
[entry]
long = "close > sma(fast)"
[stop]
loss = "2%"
[size]
quantity = 1
"""
LEG = '[[legs]]\nside = "sell"\nright = "call"\nstrike = "atm"\n'
LEGS = BASE.replace('[stop]\nloss = "2%"\n', "").replace("quantity = 1", "lots = 1") + LEG + LEG.replace("sell", "buy")
SHORT = BASE.replace("long =", "short =")


def compiled(text: str) -> Structure:
    return compile_structure(parse_strategy(text, "f"))


def check(text: str, place: str, words: str) -> None:
    with pytest.raises(StrategyError) as refused:
        compiled(text)
    first, *_, line, caret = str(refused.value).splitlines()
    assert first.startswith(f"f:{place}: "), first
    assert words in first, first
    assert ";" in first
    row, column = (int(number) for number in place.split(":"))
    assert line == "    " + text.split("\n")[row - 1]
    assert caret.index("^") == 4 + column - 1


@pytest.mark.parametrize(
    ("before", "after", "place", "words"),
    [
        # where a file's own faults stand
        ('"mine"', "5", "1:8", "name: should be text, in quotation marks, got 5"),
        ('["NSE:AAA"]', '"NSE:AAA"', "2:12", 'universe: should be a list of names; write ["NSE:AAA"]'),
        ('["NSE:AAA"]', '[\n "NSE:AAA",\n "TOP:x:NSE"]', "4:2", "universe[1]: 'x' is not a number from 1 to 3000"),
        ('["NSE:AAA"]', '["NSE:AAA", 3]', "2:24", "universe[1]: should be text"),
        ("[entry]", '[exit]\nreduce_long = "close < 1"\n[entry]', "7:15", "exit.reduce_long needs size.reduce"),
        ("[entry]", '[entry]\nadd_short = "close > 1"', "7:13", "without entry.short: there would be nothing"),
        ("[stop]", "[stop]\ntrail_after = 3", "9:15", "trail_after without trail"),
        ("[stop]", '[trade]\norder = "limit"\n[stop]', "9:9", "limit (a price in rupees) belong together"),
        ("[stop]", '[trade]\nsides = "short"\n[stop]', "9:9", "short only, and entry has no short"),
        ("[stop]", "[combined]\nloss = 3\n[stop]", "8:1", "belong to [[legs]]; this file has none"),
        ("[size]\nquantity = 1", "[[size]]\nquantity = 1", "10:1", "size: should be one table, not a list"),
        ("[size]\nquantity = 1", "", "1:1", "size: missing; add [size] with value = 100000"),
        ("quantity = 1", "", "10:1", "no size is given; give one of quantity"),
        ("fast = {", "rsi.default = 5 #", "4:1", "rsi.range: missing"),
        ("fast = {", "close = {", "4:1", "'close' cannot name a parameter"),
        # what is no TOML
        ("[entry]", '[entry]\nlong = "close > 1"', "8:1", "not TOML: this key stands twice; keep one of them"),
        ("[stop]", "[params]\n[stop]", "8:1", "not TOML: this table stands twice; write its keys under one"),
        ('"close > sma(fast)"', "close > 1", "7:8", "not TOML: no value that TOML knows; put text in quotation marks"),
        ('(fast)"', "(fast)", "7:26", "not TOML: the text is not closed on its line; write the quotation mark"),
        ('"mine"', '"mi\\ne x\\y"', "1:16", "not TOML: \\y means nothing in such text; write \\\\, or"),
        # a key that is nearly one, or one of another table
        ("default = 5", "defualt = 5", "4:10", "params.fast.defualt: unknown key; did you mean default?"),
        ("[stop]", "[stops]", "8:1", "stops: unknown key; did you mean stop?"),
        ("[stop]", "[Stop]", "8:1", "Stop: unknown key; did you mean stop?"),
        ("loss =", "product =", "9:1", "stop.product: stands in [trade]; move it there"),
        ("loss =", "xyzzy =", "9:1", "stop.xyzzy: unknown key; known are loss, target, trail"),
        ('name = "mine"', 'name = "mine"\nxyzzy = 1', "2:1", "and 9 more: see docs/strategies.md"),
        # ranges
        ("[2, 9]", "[9, 2]", "4:31", "the range is written in reverse: 9 is above 2; write [2, 9]"),
        ("[2, 9]", "[9]", "4:31", "params.fast.range: should have two values; write range = [5, 30]"),
        ("[2, 9]", "[0, 9]", "4:31", "whole numbers from 1 to 5000"),
        ("[0, 3]", "[0, inf]", "5:34", "params.off.range[1]: should be a finite number"),
        ("default = 5", "default = true", "4:20", "should not be true: no key of a strategy is a switch"),
        # sizes, stops and times that can never be
        ("quantity = 1", "quantity = 0", "11:12", "size.quantity: 0 is out of range; write 1 or more units"),
        ("quantity = 1", 'quantity = "-5"', "11:13", "size.quantity: -5 is out of range"),
        ("quantity = 1", "percent = 500", "11:11", "size.percent: 500 is out of range; write above 0 to 100 percent"),
        ("quantity = 1", "quantity = 1\nreduce = 2", "12:10", "above 0 to 1"),
        ("quantity = 1", "risk = 0", "11:8", "size.risk: 0 is out of range; write rupees above 0"),
        ('"2%"', '"-5"', "9:9", "stop.loss: -5 is out of range; write a distance above 0"),
        ('"2%"', '"0"', "9:9", "stop.loss: 0 is out of range"),
        ('"2%"', '"500%"', "9:9", "stop.loss: 500% is out of range; write above 0 and below 100 percent"),
        ("[stop]", "[stop]\nbars = 0", "9:8", "write 1 or more bars"),
        ("[stop]", "[trade]\nmax_trades_a_day = 0\n[stop]", "9:20", "should be at least 1, got 0"),
        ("[stop]", "[trade]\nparticipation = 0\n[stop]", "9:17", "should be above 0, got 0"),
        ("[stop]", '[session]\nsquare_off = "16:00"\n[stop]', "9:15", "write a time after 09:15, up to 15:30"),
        ("[stop]", "[session]\nsquare_off = 15\n[stop]", "9:14", 'should be a time of the day; write "09:20" or'),
        ("[stop]", '[session]\nsquare_off = "15:10+05:30"\n[stop]', "9:14", "should be a time without a zone"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_at_its_place(before: str, after: str, place: str, words: str) -> None:
    assert before in BASE
    check(BASE.replace(before, after, 1), place, words)


@pytest.mark.parametrize(
    ("expression", "column", "words"),
    [
        ("close[-1] > 1", 7, "[-1] is a look-ahead: the future is not known; history counts back: close[1] is the bar"),
        ("rsi(14)[-2] > 30", 9, "[-2] is a look-ahead"),
        ("sma(-5) > close", 5, "period of sma is -5; use 1 to 5000"),
        ("close > 1 & open > 1", 9, "'&' is not part of the language; write and"),
        ("close > 1 && open > 1", 11, "'&&' is not part of the language; write and"),
        ("close > 1 | open > 1", 9, "'|' is not part of the language; write or"),
        ("close > 1 || open > 1", 11, "'||' is not part of the language; write or"),
        ("~(close > 1)", 1, "'~' is not part of the language; write not"),
        ("!(close > 1)", 1, "'!' is not part of the language; write not"),
        ("close = 1", 7, "'=' gives a name to something; an expression only compares; write =="),
        ("close is 1", 1, "'is' is not part of the language; write =="),
        ("close > 1 AND open > 1", 11, "'AND' is not part of the language; write and, in small letters"),
        ("NOT close > 1", 1, "'NOT' is not part of the language; write not"),
        ("close => 1", 7, "write >="),
        ("close <> 1", 7, "write !="),
        ("close ≥ 1", 7, "write >="),
        ("close > 1 ? 2 : 3", 11, "write a choice as: x if condition else y"),
        ("if close > 1", 1, "an expression does not begin with if"),
        ("close > 1,000", 1, "write numbers without thousands' commas"),
        ("close > 50%", 11, "a % stands only behind a distance of [stop]"),
        ("close > 050", 9, "'050' begins with a zero"),
        ("close in [1, 2]", 1, "compare with each: x == 1 or x == 2"),
        ("rsi(14, on='15m' > 50", 4, "not an expression: '(' was never closed"),
        ("rsi 14 > 50", 5, "not an expression: it cannot be read from here on"),
        ("true", 1, "unknown name 'true'; write True"),
        ("RSI(14) > 30", 1, "unknown name 'RSI'; did you mean rsi?"),
        ("xyzzy > 30", 1, "more: see docs/strategies.md"),
    ],
)  # fmt: skip
def test_what_other_languages_write_is_told_how_it_is_written_here(expression: str, column: int, words: str) -> None:
    check(BASE.replace("close > sma(fast)", expression), f"7:{8 + column}", words)


@pytest.mark.parametrize(
    ("before", "after", "place", "words"),
    [
        ('"atm"', '"itm"', "13:10", "leg 1: strike: 'itm' is no rule; write atm, atm+2"),
        ('"atm"', '"atm+200"', "13:10", "leg 1: strike: 'atm+200': a strike lies at most 100 listed ones"),
        ('"atm"', '"percent 250"', "13:10", "above 0 and at most 50 percent from the price"),
        ('"atm"', '"premium 0"', "13:10", "a premium is above 0 rupees"),
        ('side = "buy"', 'side = "short"', "15:8", 'leg 2: side: should be "buy" or "sell", got "short"'),
        ('side = "buy"\n', "", "14:1", 'leg 2: side: missing; add side = "sell"'),
        ('side = "buy"', 'side = "buy"\nstopp = 1', "16:1", "leg 2: stopp: unknown key"),
        ('side = "buy"', 'side = "buy"\nloss = "120%"', "16:8", "leg 2: loss: '120%' is more than the whole premium"),
        ('side = "sell"', 'side = "sell"\ntarget = "120%"', "12:10", "leg 1: target: '120%' is more than the whole"),
        ('side = "buy"', 'side = "buy"\nloss = "fsat"', "16:8", "'fsat' names no parameter; did you mean fast?"),
        ("lots = 1", "lots = 0", "9:8", "size.lots: 0 is out of range; write 1 or more lots"),
        ("[[legs]]", "[legs]\n[[legs.x]]", "10:1", "legs: should be tables in a list; write [[legs]]"),
    ],
)  # fmt: skip
def test_a_wrong_leg_is_refused_with_its_number(before: str, after: str, place: str, words: str) -> None:
    assert before in LEGS
    text = LEGS.replace(before, after, 1)
    if after.startswith("[legs]"):
        text = text[: text.index("[[legs]]")]
    check(text, place, words)


@pytest.mark.parametrize(
    "text",
    [
        LEGS.replace('"atm"', '"ATM + 2"').replace("[size]", '[exit]\nlong = "close < 1"\n[size]'),
        LEGS.replace('side = "sell"', 'side = "sell"\nloss = "150%"\ntarget = "100%"'),
        BASE.replace('"2%"', '"off * 2"'),  # a range that ends at zero switches the stop off
        BASE.replace("[stop]", '[stop]\ntarget = "300%"'),
        BASE.replace('["NSE:AAA"]', '["NSE:FUT:NIFTY:2026-08-25"]').replace(
            "[stop]", '[session]\nsquare_off = "15:38"\n[stop]'
        ),
        SHORT.replace('"2%"', '"99%"'),
    ],
)
def test_what_may_be_meant_is_taken_without_a_word(text: str) -> None:
    assert compiled(text).warnings == ()


def test_a_price_cannot_fall_by_more_than_itself() -> None:
    check(SHORT.replace("[stop]", '[stop]\ntarget = "120%"'), "9:11", "target: 120% is out of range")


def test_intraday_positions_without_any_exit_are_warned_of() -> None:
    bare = BASE.replace('[stop]\nloss = "2%"\n', "")
    (warning,) = compiled(bare).warnings
    assert warning.startswith("f:6:1: entry: no exit, stop or square_off: MIS is left only as the broker's")
    for way in ("[exit]\nlong = 'close < 1'\n", '[session]\nsquare_off = "15:10"\n', '[trade]\nproduct = "CNC"\n'):
        assert compiled(bare.replace("[size]", way + "[size]")).warnings == ()


def models_of(kind: Any) -> Iterator[type[BaseModel]]:
    """Walk a model and all that its fields hold."""
    bare = plain(kind)
    if is_model(bare):
        yield bare
        for field in bare.model_fields.values():
            yield from models_of(field.annotation)
    for inner in getattr(bare, "__args__", ()):
        yield from models_of(inner)


@pytest.mark.parametrize("tree", [Strategy, Settings])
@pytest.mark.parametrize("wrong", [object(), True, -1, 1e400, "", "\0", [], [1, 2, 3, 4], {"a": 1}])
def test_no_word_of_the_checking_library_is_told(tree: type[BaseModel], wrong: object) -> None:
    seen = 0
    for model in set(models_of(tree)):
        given = dict.fromkeys((field.alias or name for name, field in model.model_fields.items()), wrong)
        try:
            model.model_validate({**given, "stranger": wrong})
        except ValidationError as error:
            for finding in error.errors():
                said = wording(finding)
                seen += 1
                for leak in ("Input", "input", "instance of", "tuple", "dictionary", "parse", "validation", "Field"):
                    assert leak not in said, (model, finding)
    assert seen


@pytest.mark.parametrize(
    ("name", "known", "remedy"),
    [
        ("lvl", ["level", "period"], "did you mean level?"),
        ("LEVEL", ["level", "period"], "did you mean level?"),
        ("x", ["level", "period"], "known are level, period"),
        ("x", [], "known are none"),
        ("zz", [f"name_{n}" for n in range(20)], " and 15 more: see here"),
    ],
)
def test_an_unknown_name_gets_the_nearest_or_a_few(name: str, known: list[str], remedy: str) -> None:
    assert did_you_mean(name, known, "here").endswith(remedy)
