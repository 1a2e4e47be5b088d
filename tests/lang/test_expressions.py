"""Expressions: what they mean, what is refused and where, and that no text does anything else."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import talib
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from plain_step import evaluate, file_of, random_bars

from atmand.errors import AtmandError
from atmand.lang.source import StrategyError
from atmand.lang.strategy import Parameter, parse_strategy
from atmand.lang.structure import Structure, compile_expression, compile_structure, warm_up_bars

BARS_UNIT = Parameter(default=5, range=(2, 9), unit="bars")
LEVEL = Parameter(default=50, range=(0, 100))


def refusal(expression: str, **signals: str) -> StrategyError:
    with pytest.raises(StrategyError) as caught:
        compile_structure(file_of(expression, {"period": BARS_UNIT, "level": LEVEL}, **signals))
    return caught.value


names = st.sampled_from(["open", "high", "low", "close", "level"])
literals = st.one_of(st.integers(1, 300), st.floats(0.25, 300, allow_nan=False)).map(str)
numbers = st.recursive(
    st.one_of(names, literals),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, names).map(lambda parts: f"{parts[0]} / {parts[1]}"),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"abs({text})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda part: f"{part[0]}({part[1]}, {part[2]})"),
    ),
    max_leaves=8,
)
conditions = st.recursive(
    st.tuples(names, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers).map(" ".join),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(expression=st.one_of(numbers, conditions), seed=st.integers(0, 10**6))
def test_an_expression_means_what_python_says_it_means(expression: str, seed: int) -> None:
    bars = random_bars(seed, 12)
    try:
        mine = evaluate(file_of("close > 1", {"level": LEVEL}), expression, bars, level=50.0)
    except StrategyError as error:
        assume("do not go together" not in str(error))
        raise
    with np.errstate(all="ignore"):
        theirs = [float(eval(expression, {}, {**bar, "level": np.float64(50)})) for bar in bars]
    np.testing.assert_array_equal(mine, theirs)


def test_a_chain_of_comparisons_holds_when_every_link_does() -> None:
    bars = random_bars(3, 60)
    mine = evaluate(file_of("close > 1"), "low <= open < close <= high", bars)
    np.testing.assert_array_equal(mine, [float(bar["open"] < bar["close"]) for bar in bars])


def test_indicators_and_crossings_in_an_expression_equal_talib_bar_by_bar() -> None:
    bars = random_bars(5, 400)
    close = np.array([bar["close"] for bar in bars])
    file = file_of("close > 1", {"period": BARS_UNIT}, quick="ema(period)", calm="sma(close, 13)")
    mine = evaluate(file, "rsi(period) < 70 and crosses_above(quick, calm)", bars, period=6.0)
    quick, calm, strength = talib.EMA(close, 6), talib.SMA(close, 13), talib.RSI(close, 6)
    crossed = np.zeros(len(close), bool)
    crossed[1:] = (quick[:-1] <= calm[:-1]) & (quick[1:] > calm[1:])
    theirs = np.where(np.isnan(calm), math.nan, (strength < 70) & crossed)
    np.testing.assert_array_equal(mine, theirs)
    assert np.nansum(mine) > 2 and np.nansum(crossed) > np.nansum(mine)


def test_an_indicator_of_an_indicator_waits_for_both() -> None:
    bars = random_bars(6, 60)
    close = np.array([bar["close"] for bar in bars])
    mine = evaluate(file_of("close > 1", base="rsi(14)"), "sma(base, 5)", bars)
    np.testing.assert_allclose(mine, talib.SMA(talib.RSI(close, 14), 5), rtol=1e-9)


def test_numbers_behind_the_look_backs_and_second_series_equal_talib() -> None:
    bars = random_bars(8, 120)
    close, opened, volume = (np.array([bar[name] for bar in bars]) for name in ("close", "open", "volume"))
    file = file_of("close > 1", {"width": Parameter(default=2, range=(1, 3))})
    for expression, theirs in (
        ("bbands(10, width).upper", talib.BBANDS(close, 10, 2.5, 2.5)[0]),
        ("bbands(open, 10, 1.5).lower", talib.BBANDS(opened, 10, 1.5, 1.5)[2]),
        ("bbands(10).middle", talib.SMA(close, 10)),
        ("correl(close, open, 10)", talib.CORREL(close, opened, 10)),
        ("beta(open, close, 5)", talib.BETA(opened, close, 5)),
        ("obv(open)", talib.OBV(opened, volume)),
    ):
        mine = evaluate(file, expression, bars, width=2.5)
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9, err_msg=expression)


def test_a_parameter_that_changes_a_state_folds_it_again() -> None:
    declared = {"share": Parameter(default=0.02, range=(0.01, 0.1)), "width": Parameter(default=2, range=(1, 3))}
    once = compile_structure(file_of("close > sar(share) and close > width", declared))
    assert once.compiled.lookbacks == {"share"}


def test_state_does_not_depend_on_how_a_condition_short_circuits() -> None:
    bars = random_bars(7, 80)
    file = file_of("close > 1")
    plain = evaluate(file, "crosses_above(close, ema(4))", bars)
    hidden = evaluate(file, "close < 0 or crosses_above(close, ema(4))", bars)
    np.testing.assert_array_equal(plain, hidden)


def test_the_same_call_is_computed_once() -> None:
    once = compile_structure(file_of("rsi(14) > 60 and rsi(close, 14) < 80 and rsi() != 70"))
    assert [field.name for field in once.compiled.state] == ["rsi_14"]


@pytest.mark.parametrize(
    ("expression", "column", "said"),
    [
        ("cloze > 1", 1, "unknown name 'cloze'; did you mean close?"),
        ("close > levle", 9, "did you mean level?"),
        ("qqq > 1", 1, "unknown name 'qqq'; known are "),
        ("close > rsy(14)", 9, "did you mean rsi?"),
        ("close", 1, "a number where a condition is wanted; compare it with something"),
        ("close + (close > 1) > 2", 10, "a condition where a number is wanted; remove the comparison"),
        ("close > 1 and 5", 15, "a number where a condition is wanted"),
        ("rsi > 50", 1, "rsi is an indicator and needs its arguments; write rsi(14)"),
        ("rsi(1) > 50", 5, "period of rsi is 1; use 2 to 5000"),
        ("rsi(99999) > 50", 5, "use 2 to 5000"),
        ("rsi(level) > 50", 5, "whose unit is not bars"),
        ("rsi(period + 1) > 50", 5, "does not depend on the bar; a look-back is a whole number"),
        ("sma(close, 2.5) > 1", 12, "must be a whole number or a parameter in bars"),
        ("sma(close, True) > 1", 12, "must be a whole number"),
        ("sma(close, 5, 6) > close", 1, "sma takes 0 to 1 look-back(s), got 2; write sma(30)"),
        ("ema(close, 3, 4) > close", 1, "ema takes 0 to 1 look-back(s), got 2"),
        ("macd(12, 26, 9) > 0", 1, "has several parts; choose one of .macd, .signal, .hist"),
        ("macd(12, 26, 9).hits > 0", 1, "did you mean .hist?"),
        ("rsi(14).hist > 0", 1, "has no part 'hist'"),
        ("crosses_above(close, 1, 2)", 1, "crosses_above takes 2 arguments, got 3"),
        ("min(close) > 1", 1, "min takes 2 to 8 arguments, got 1"),
        ("rsi(period=14) > 1", 1, "named arguments are not part of the language"),
        ("level(3) > 1", 1, "level is not a function; remove the parentheses"),
        ("bbands(20, 2, 2).upper > 1", 8, "the source of bbands does not depend on the bar"),
        ("bbands(close, 20, 2, 2).upper > 1", 1, "bbands takes 0 to 2 number(s), got 3; write bbands(20).lower"),
        ("sar(2) > 1", 5, "acceleration of sar is 2; use 0 to 1"),
        ("sar(level) > 1", 5, "acceleration of sar may become 100; keep its range in 0 to 1"),
        ("sar(close) > 1", 5, "acceleration of sar must be a number or a parameter"),
        ("correl(30) > 1", 8, "the source of correl does not depend on the bar"),
        ("correl(close) > 1", 1, "correl is of two series; write correl(close, open, 30)"),
        ("1 < 2", 1, "compares constants: always the same"),
        ("close / 0 > 1", 1, "division by zero"),
        ("close in 5", 1, "'in' is not part of the language"),
        ("close >", 8, "not an expression: it ends too early"),
        ("close > 1; import os", 10, "';' is not part of the language"),
    ],
)
def test_a_refusal_names_the_place_and_the_remedy(expression: str, column: int, said: str) -> None:
    error = refusal(expression)
    assert said in str(error)
    assert error.place.column == column
    excerpt = str(error).splitlines()[-2:]
    assert excerpt[1].index("^") == 4 + error.place.column - 1
    assert expression in excerpt[0]


def test_a_look_back_whose_range_begins_too_low_is_refused() -> None:
    low = Parameter(default=5, range=(1, 9), unit="bars")
    with pytest.raises(StrategyError, match="may become 1; begin its range at 2"):
        compile_structure(file_of("rsi(fast) > 50", {"fast": low}))


def test_circular_signals_are_named_in_their_order() -> None:
    assert "signal refers to itself: a -> b -> a; break the circle" in str(refusal("a > 1", a="b + 1", b="a * 2"))
    assert "a -> a" in str(refusal("close > 1", a="a"))


def test_a_signal_that_no_rule_uses_is_checked_all_the_same() -> None:
    assert "signals.idle: unknown name 'nothing'" in str(refusal("close > 1", idle="nothing + 1"))


def test_a_very_long_chain_of_signals_is_refused_not_followed_until_the_stack_ends() -> None:
    chain = {f"s{place}": f"s{place + 1} + 1" for place in range(600)}
    assert "nested too deeply" in str(refusal("s0 > 1", **chain, s600="close"))


HOSTILE = [
    "close.__class__ > 1",
    "close.__class__.__mro__[1].__subclasses__() > 1",
    "__import__('os').system('exit 1') > 0",
    "(lambda: 1)() > 1",
    "[x for x in (1, 2)] > 1",
    "f'{close}' > 1",
    "(y := 1) > close",
    "'a' > close",
    "b'a' > close",
    "close if 1 else open",
    "{close: 1}[close] > 1",
    "close[-1] > 1",
    "close[1:2] > 1",
    "close[close] > 1",
    "close[1, 2] > 1",
    "max(*close) > 1",
    "min(**close) > 1",
    "(yield) > 1",
    "await close",
    "close > 1j",
    "... > close",
    "None > close",
    "close ** 9999999 > 1",
    "close // 0 > 1",
    "close % 0 > 1",
    "close ** close > 1",
    "close << 99999999999 > 1",
    "~close > 1",
    "close @ close > 1",
    "close is close",
    "print(close) > 1",
    "eval('1') > close",
    "s > 1",
    "p > 1",
    "arena > 1",
    "close > 1e999",
    "close > 1" + "0" * 400,
    "close > 1" + "0" * 5000,
    "(" * 150 + "close" + ")" * 150,
    "-" * 3000 + "close > 1",
    "not " * 900 + "(close > 1)",
    "close" + " + close" * 1000 + " > 1",
    "close" + " + close" * 400 + " > 1",
    "abs(" * 90 + "close" + ")" * 90 + " > 1",
    "close > \x00",
    "close > 1\n]",
    "'''",
    '"""',
    "#",
    " \t ",
]


@pytest.mark.parametrize("expression", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_expression_is_refused_with_its_place(expression: str) -> None:
    head = 'name = "tested"\nuniverse = ["NSE:AAA"]\nsize.quantity = 1\n'
    # A JSON string is a basic string of TOML too.
    with pytest.raises(StrategyError) as caught:
        compile_structure(parse_strategy(f"{head}entry.long = {json.dumps(expression)}\n", "my.toml"))
    assert caught.value.place.line == 4
    assert 14 <= caught.value.place.column <= 15 + len(json.dumps(expression))
    assert str(caught.value).splitlines()[-1].strip() == "^"


def outcome(text: str) -> Structure | AtmandError:
    try:
        return compile_expression(file_of("close > 1", {"period": BARS_UNIT}), text)
    except AtmandError as error:
        return error


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.text("()[]{}.,:=<>+-*/%@!&|^~'\"\\\n #_0123456789abcdelmoprsxy", max_size=60))
)
@example("é")
@example("close > é.é")
@example("\x0c")
@example("\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    done = outcome(text)
    assert isinstance(done, Structure | StrategyError)
    if isinstance(done, Structure):
        compile(done.text, "generated", "exec")


WORDS = ["close", "rsi", "(", ")", "14", ",", "and", "not", ">", "macd", ".hist", "period", "-", "min"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_any_words_of_the_language_are_an_expression_or_refused(words: list[str]) -> None:
    done = outcome(" ".join(words))
    assert isinstance(done, Structure | StrategyError)


def test_a_caret_counts_characters_not_bytes() -> None:
    # Python reads the wide letter as the narrow one; in UTF-8 it has three bytes.
    error = refusal("\N{FULLWIDTH LATIN SMALL LETTER C}lose > nix")
    assert error.place.column == 9
    assert str(error).splitlines()[-1].index("^") == 4 + 8


def test_an_expression_may_be_spread_over_lines_with_comments() -> None:
    spread = "\n  close > 1  # a price, in é\n\r\n  and rsi(14) > 60  # strength\n"
    assert compile_structure(file_of(spread)).name == compile_structure(file_of("close > 1 and rsi(14) > 60")).name
    error = refusal("close > 1  # é\n  and nix > 2")
    assert "unknown name 'nix'" in str(error)


@pytest.mark.parametrize("expression", ["close > 1) and (open > 1", "close > 1\nclose > 2", "close > 1; open > 2"])
def test_lines_do_not_make_two_expressions_into_one(expression: str) -> None:
    assert "not an expression" in (said := str(refusal(expression))) or "not part of the language" in said


def test_look_backs_and_what_state_depends_on_are_marked_to_be_folded_again() -> None:
    params = {"period": BARS_UNIT, "level": LEVEL, "idle": LEVEL}
    marked = compile_structure(file_of("rsi(period) > level", params)).plan
    assert marked.lookback_slots == 0b001
    crossing = compile_structure(file_of("crosses_above(close, s) and close > idle", params, s="close + level")).plan
    assert crossing.lookback_slots == 0b010


@pytest.mark.parametrize(
    ("expression", "ring", "warm"),
    [("close > open", 2, 1), ("sma(20) > close", 22, 20), ("ema(10) > close", 502, 10), ("rsi(period) > 50", 452, 6)],
)
def test_rings_and_warm_up_follow_from_the_look_backs(expression: str, ring: int, warm: int) -> None:
    structure = compile_structure(file_of(expression, {"period": BARS_UNIT}))
    assert structure.plan.ring_bars == ring
    assert warm_up_bars(structure, {"period": 5})[0] == warm


def test_an_indicator_of_a_signal_keeps_and_waits_for_the_signals_bars_too() -> None:
    structure = compile_structure(file_of("sma(base, 5) > 1", base="sma(close, 100)"))
    assert structure.plan.ring_bars >= 104
    assert warm_up_bars(structure, {})[0] >= 104
