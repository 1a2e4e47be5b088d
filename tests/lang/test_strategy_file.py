"""Strategy files: what is refused with file, line, column, caret and remedy, and what two files share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.errors import AtmandError
from atmand.lang.program import Deployment, generate, parameter_values
from atmand.lang.source import StrategyError
from atmand.lang.strategy import StrategyFile, load_strategy, parse_strategy
from atmand.lang.structure import compile_structure
from atmand.start import builtin

GOOD = """name = "good"
universe = ["NSE:AAA"]
bar = "5m"

[params]
period = { default = 14, range = [5, 30], unit = "bars" }
level = { default = 45, range = [10, 60] }

[signals]
strength = "rsi(period)"

[entry]
long = "strength < level"

[exit]
long = "strength > 70"

[size]
value = 100000
"""


def refusal(text: str) -> StrategyError:
    with pytest.raises(StrategyError) as caught:
        compile_structure(parse_strategy(text, "my.toml"))
    return caught.value


def spliced(place: int, text: str) -> str:
    return GOOD[:place] + text + GOOD[place:]


@pytest.mark.parametrize(
    ("before", "after", "place", "said"),
    [
        ('bar = "5m"', 'bra = "5m"', "my.toml:3:1", "bra: unknown key; did you mean bar?"),
        ('bar = "5m"', 'bar = "5s"', "my.toml:3:7", "must be whole minutes, such as 1m or 15m"),
        ('bar = "5m"', "bar = ", "my.toml:3:7", "not TOML"),
        ('name = "good"', 'name = "Not Good"', "my.toml:1:8", "lower case letters"),
        ('name = "good"\n', "", "my.toml:1:1", "name: missing; add name ="),
        ('["NSE:AAA"]', "[]", "my.toml:2:12", "universe"),
        ('"NSE:AAA"', '"NSE:AAA", "NSE:B", "NSE:AAA"', "my.toml:2:33", "universe: NSE:AAA stands twice; name it once"),
        ("default = 14", "default = 40", "my.toml:6:22", "default 40 is outside the range 5 to 30"),
        ("range = [5, 30]", "range = [0, 30]", "my.toml:6:34", "needs whole numbers from 1 to 5000"),
        ("default = 45", "defualt = 45", "my.toml:7:11", "params.level.defualt: unknown key; did you mean default?"),
        ('strength = "rsi(period)"', 'close = "rsi(period)"', "my.toml:10:1", "cannot name a parameter or signal"),
        ('strength = "rsi(period)"', 'level = "rsi(period)"', "my.toml:10:1", "is a parameter and a signal"),
        ("rsi(period)", "rsi(perod)", "my.toml:10:17", "did you mean period?"),
        ("strength < level", "strength < lvel", "my.toml:13:20", "unknown name 'lvel'; did you mean level?"),
        ("strength > 70", "strength +", "my.toml:16:", "not an expression"),
        ('long = "strength < level"', "", "my.toml:12:1", "neither long nor short"),
        (
            "value = 100000",
            "value = 100000\nquantity = 5",
            "my.toml:19:9",
            "give one of quantity (units)",
        ),
        ("value = 100000", 'value = "close > 3"', "my.toml:19:10", "a condition where a number is wanted"),
        ('bar = "5m"', 'bar = "5m"\n[trade]\nproduct = "CNC"', "", ""),
        ('bar = "5m"', 'bar = "5m"\nproduct = "CNC"', "my.toml:4:1", "product: stands in [trade]; move it there"),
    ],
)
def test_a_refusal_says_where_what_and_what_to_do(before: str, after: str, place: str, said: str) -> None:
    assert before in GOOD
    text = GOOD.replace(before, after)
    if not said:
        assert compile_structure(parse_strategy(text, "my.toml")).plan.params == ("period", "level")
        return
    message = str(refusal(text))
    assert message.startswith(place)
    assert said in message
    assert message.splitlines()[-1].strip() == "^"


def test_a_delivery_strategy_cannot_sell_short() -> None:
    text = GOOD.replace("[entry]", '[entry]\nshort = "strength > 90"')
    text = text.replace('bar = "5m"', 'bar = "5m"\n[trade]\nproduct = "CNC"')
    assert "cannot sell short; use product MIS or remove entry.short" in str(refusal(text))


@pytest.mark.parametrize(
    ("product", "universe", "said"),
    [
        ("NRML", "NSE:INFY", "NRML carries futures and options, and NSE:INFY is neither"),
        ("NRML", "NSE:EQ:INFY", "or name contracts: NFO:..., NSE:FUT:..."),
        ("CNC", "NFO:NIFTY:FUT:near", "CNC takes shares into delivery, and NFO:NIFTY:FUT:near is a derivative"),
        ("NRML", "NSE:FUT:NIFTY:2026-08-25", ""),
        ("MIS", "NSE:FUT:NIFTY:2026-08-25", ""),
        ("CNC", "NSE:INFY", ""),
    ],
)
def test_a_product_that_its_universe_cannot_be_held_under_is_refused_at_its_line(
    product: str, universe: str, said: str
) -> None:
    text = GOOD.replace('bar = "5m"', f'bar = "5m"\n[trade]\nproduct = "{product}"')
    text = re.sub(r"universe = .*", f'universe = ["{universe}"]', text)
    if not said:
        assert parse_strategy(text, "my.toml").strategy.trade.product == product
        return
    line = text.splitlines().index(f'product = "{product}"') + 1
    message = str(refusal(text))
    assert message.startswith(f"my.toml:{line}:11: universe[0]: ")
    assert said in message


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ('"""strength < level\n  and nix > 3"""', "my.toml:14:7"),
        ('"""\nstrength < level  # so\n  and nix > 3\n"""', "my.toml:15:7"),
        ("'''\r\nstrength < level\r\n  and nix > 3'''", "my.toml:15:7"),
        ('"""strength < \\\n   level and \\  \n nix > 3"""', "my.toml:15:2"),
        ('"strength \\u003c level and nix > 3"', "my.toml:13:35"),
        ("'strength < level and nix > 3'", "my.toml:13:30"),
    ],
)
def test_an_expression_is_pointed_at_where_it_is_written(written: str, place: str) -> None:
    text = GOOD.replace('long = "strength < level"', f"long = {written}")
    error = refusal(text)
    assert str(error).startswith(f"{place}: entry.long: unknown name 'nix'")
    line, caret = str(error).splitlines()[-2:]
    assert line[caret.index("^") :].startswith("nix")


def test_an_expression_in_an_inline_table_or_under_a_dotted_key_is_pointed_at() -> None:
    inline = GOOD.replace('[entry]\nlong = "strength < level"', "")
    inline = inline.replace("[params]", 'entry = { long = "close > nix" }\n\n[params]', 1)
    assert str(refusal(inline)).startswith("my.toml:5:27")
    dotted = inline.replace('entry = { long = "close > nix" }', 'entry.long = "close > nix"')
    assert str(refusal(dotted)).startswith("my.toml:5:23")


def test_lines_are_counted_as_toml_counts_them() -> None:
    text = GOOD.replace("[params]", "# a separator of lines to Python: \u2028, \x85\n[params]")
    assert str(refusal(text.replace("< level", "< lvel"))).startswith("my.toml:14:20")


def test_an_expression_that_is_too_long_says_what_to_do() -> None:
    text = GOOD.replace('"strength < level"', '"strength < level' + " or close > 1" * 400 + '"')
    assert "my.toml:13:8: entry.long: longer than 4096 characters; split it into signals" in str(refusal(text))


def test_a_number_is_taken_where_an_expression_is_wanted() -> None:
    one = compile_structure(parse_strategy(GOOD, "my.toml"))
    other = compile_structure(parse_strategy(GOOD.replace("value = 100000", 'value = "100000"'), "my.toml"))
    assert one.name == other.name


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"x" * 300_000], ids=["not_utf8", "too_large"])
def test_a_file_that_is_no_text_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(raw)
    with pytest.raises(AtmandError, match=r"s\.toml"):
        load_strategy(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AtmandError, match=r"nowhere\.toml: No such file"):
        load_strategy(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", ["rsi_macd", "ema_trend"])
def test_the_strategies_that_ship_compile(name: str) -> None:
    assert compile_structure(load_strategy(builtin(f"strategies/{name}.toml"))).plan.ring_bars > 100


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=80), st.builds(spliced, st.integers(0, len(GOOD)), st.text(max_size=6))))
def test_any_text_is_a_strategy_or_refused(text: str) -> None:
    try:
        file = parse_strategy(text, "my.toml")
        compile_structure(file)
    except StrategyError as error:
        assert str(error).startswith("my.toml:")
    else:
        assert isinstance(file, StrategyFile)


def test_two_strategies_that_differ_only_in_values_share_a_structure() -> None:
    file = parse_strategy(GOOD, "my.toml")
    twin = Deployment(file, "one", {}, "twin")
    program = generate([Deployment(file, "one"), Deployment(file, "two", {"level": 30}), twin])
    assert len(program.manifest.structures) == 1
    assert [book.values for book in program.manifest.books] == [(14.0, 45.0), (14.0, 30.0), (14.0, 45.0)]
    other_default = parse_strategy(GOOD.replace("default = 45", "default = 20").replace('"good"', '"other"'), "o.toml")
    assert len(generate([Deployment(file), Deployment(other_default)]).manifest.structures) == 1


@pytest.mark.parametrize(("before", "after"), [('"5m"', '"3m"'), ("[5, 30]", "[5, 40]"), ("> 70", "> 71")])
def test_another_bar_range_or_constant_is_another_structure(before: str, after: str) -> None:
    file, other = parse_strategy(GOOD, "a.toml"), parse_strategy(GOOD.replace(before, after), "b.toml")
    assert len(generate([Deployment(file), Deployment(other, "two")]).manifest.structures) == 2


def test_a_strategy_runs_once_an_account() -> None:
    file = parse_strategy(GOOD, "my.toml")
    with pytest.raises(AtmandError, match="runs twice for one account; give one of them another name"):
        generate([Deployment(file), Deployment(file)])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"levle": 3}, "unknown; did you mean level"),
        ({"level": 61}, "61 is outside 10 to 60"),
        ({"period": 7.5}, "7.5 is not a whole number of bars"),
        ({"level": float("nan")}, "nan is outside"),
    ],
)
def test_a_value_outside_its_range_is_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(AtmandError, match=said):
        parameter_values(Deployment(parse_strategy(GOOD, "my.toml"), values=values))


def test_generated_text_is_the_same_in_every_process() -> None:
    script = "import sys;from atmand.lang.program import *;from atmand.lang.strategy import parse_strategy;"
    script += "sys.stdout.write(generate([Deployment(parse_strategy(sys.argv[1], 'my.toml'))]).source)"
    mine = generate([Deployment(parse_strategy(GOOD, "my.toml"))]).source
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script, GOOD], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == mine
    compile(mine, "generated", "exec")
