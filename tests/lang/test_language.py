"""Strategy files and expressions: what is refused says where, what and the remedy; what is taken means what it says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.core.indicators import INDICATORS
from atmand.errors import AtmandError
from atmand.lang.program import Deployment, generate, parameter_values
from atmand.lang.source import SourceText, StrategyError
from atmand.lang.strategy import load_strategy, parse_strategy
from atmand.lang.structure import compile_expression, compile_structure

TEXT = """name = "probe"
universe = ["NSE:INFY"]

[params]
period = { default = 14, range = [2, 30], unit = "bars" }
level = { default = 30, range = [10, 50] }

[signals]
strength = "rsi(period)"

[entry]
long = "strength < level"

[size]
quantity = 10
"""


def refused(text: str) -> StrategyError:
    with pytest.raises(StrategyError) as caught:
        compile_structure(parse_strategy(text, "probe.toml"))
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "line", "word", "remedy"),
    [
        ("strength < level", "strenth < level", 12, "unknown name 'strenth'", "did you mean strength?"),
        ("strength < level", "strength", 12, "a number where a condition is wanted", "compare it"),
        ("strength < level", "strength < (level > 1)", 12, "a condition where a number is wanted", "remove"),
        ("strength < level", "strength <", 12, "not an expression", "docs/strategies.md"),
        ("strength < level", "1 < 2", 12, "always the same", "compare with"),
        ("strength < level", "close / 0 > 1", 12, "division by zero", "divide by"),
        ("strength < level", "macd(12, 26, 9) > 0", 12, "several parts", ".hist"),
        ("strength < level", "macd(12, 26, 9).hyst > 0", 12, "no part 'hyst'", "did you mean .hist?"),
        ("strength < level", "rsi(1) > 0", 12, "period of rsi is 1", "use 2 to 5000"),
        ("strength < level", "rsi(level) > 0", 12, "unit is not bars", 'unit = "bars"'),
        ("strength < level", "rsi > 30", 12, "needs its arguments", "rsi(14)"),
        ("strength < level", "close.__class__ > 0", 12, "it has no parts", "stand behind calls"),
        ("strength < level", "crosses_above(close) ", 12, "takes 2 arguments, got 1", "docs"),
        ("rsi(period)", "strength", 9, "refers to itself", "break the circle"),
        ("[size]\nquantity = 10", "[size]\nquantity = 10\nvalue = 5", 16, "give one of quantity", "percent"),
        ("[signals]", "[signal]", 8, "unknown key", "did you mean signals?"),
        ("default = 14, range = [2, 30]", "default = 31, range = [2, 30]", 5, "outside the range", "widen the range"),
        ('name = "probe"', 'name = "Probe 1"', 1, "lower case", "docs"),
        ("[entry]", "[entry", 11, "not TOML", "correct the line"),
    ],
)
def test_a_refusal_names_the_line_and_a_remedy(old: str, new: str, line: int, word: str, remedy: str) -> None:
    assert old in TEXT
    error = refused(TEXT.replace(old, new))
    message = str(error)
    assert message.startswith(f"probe.toml:{line}:"), message
    assert word in message and remedy in message
    assert message.splitlines()[-1].strip() == "^"


def test_the_caret_stands_under_the_unknown_name() -> None:
    error = refused(TEXT.replace("strength < level", "strength < levle"))
    line, caret = str(error).splitlines()[-2:]
    assert line[caret.index("^") :].startswith("levle")


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_as_an_expression_does_more_than_be_refused(text: str) -> None:
    file = parse_strategy(TEXT, "probe.toml")
    try:
        structure = compile_expression(file, text)
    except AtmandError:
        return
    assert structure.name in structure.text


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "[x for x in (1, 2)]",
        "f'{close}'",
        "(a := 1)",
        "'text'",
        "close if high else low",
        "1e400",
        "(" * 500 + "close" + ")" * 500,
        "not " * 5000 + "close",
        "-" * 5000 + "1",
        "close[-1]",
        "close ** 9",
        "open(close)",
        "\x00",
    ],
)
def test_hostile_expressions_are_refused(text: str) -> None:
    with pytest.raises(AtmandError):
        compile_expression(SOURCE, text)


SOURCE = parse_strategy(TEXT, "probe.toml")


def test_strategies_that_differ_in_values_only_share_one_structure() -> None:
    file = parse_strategy(TEXT, "probe.toml")
    both = generate([Deployment(file, name="one"), Deployment(file, values={"level": 40}, name="two")])
    assert len(both.manifest.structures) == 1
    assert [plan.values for plan in both.manifest.books] == [(14.0, 30.0), (14.0, 40.0)]
    other = parse_strategy(TEXT.replace("strength < level", "strength > level"), "other.toml")
    assert len(generate([Deployment(file), Deployment(other, name="three")]).manifest.structures) == 2


def test_the_generated_text_is_the_same_each_time() -> None:
    first, second = (generate([Deployment(parse_strategy(TEXT, "probe.toml"))]) for _ in range(2))
    assert first == second


def test_one_book_cannot_run_twice() -> None:
    file = parse_strategy(TEXT, "probe.toml")
    with pytest.raises(AtmandError, match="runs twice"):
        generate([Deployment(file), Deployment(file)])


@pytest.mark.parametrize(("values", "word"), [({"lvl": 1}, "did you mean level"), ({"level": 99}, "outside 10 to 50")])
def test_a_value_outside_what_the_file_declares_is_refused(values: dict[str, float], word: str) -> None:
    with pytest.raises(AtmandError, match=word):
        parameter_values(Deployment(SOURCE, values=values))


def test_a_look_back_of_half_a_bar_is_refused() -> None:
    with pytest.raises(AtmandError, match="whole number of bars"):
        parameter_values(Deployment(SOURCE, values={"period": 14.5}))


def test_a_look_back_parameter_marks_its_slot_and_sizes_the_ring() -> None:
    plan = compile_structure(SOURCE).plan
    assert plan.params == ("period", "level")
    assert plan.lookback_slots == 0b01
    assert plan.ring_bars >= 50 * 30


def test_the_same_call_is_computed_once() -> None:
    text = compile_structure(
        parse_strategy(TEXT.replace("strength < level", "strength < level and rsi(period) > 5"), "p")
    )
    assert text.text.count("= rsi(") == 1


def test_shipped_strategies_compile() -> None:
    folder = Path(__file__).parents[2] / "configs" / "strategies"
    files = [load_strategy(path) for path in sorted(folder.glob("*.toml"))]
    assert len(files) >= 2
    assert len(generate([Deployment(file) for file in files]).manifest.books) == len(files)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(AtmandError, match="not UTF-8"):
        load_strategy(path)
    with pytest.raises(AtmandError, match="No such file"):
        load_strategy(tmp_path / "absent.toml")


def test_a_place_outside_the_text_still_makes_a_message() -> None:
    assert SourceText("x", "").find("entry", "long").line == 1
    assert all(math.isfinite(row.warm_up(*[30 for _ in row.lookbacks])) for row in INDICATORS.values())
