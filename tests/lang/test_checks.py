"""What is checked before anything runs: units, warnings with their place, and what may not be kept from bar to bar."""

from __future__ import annotations

from pathlib import Path

import pytest
from plain_step import file_of

from atmand.lang.source import StrategyError
from atmand.lang.strategy import Parameter, load_strategy, parse_strategy
from atmand.lang.structure import compile_expression, compile_structure, instruments_named

SHARE = Parameter(default=1, range=(0, 5), unit="percent")
RUPEES = Parameter(default=1, range=(0, 5), unit="rupees")
BACK = Parameter(default=3, range=(1, 9), unit="bars")
PARAMS = {"share": SHARE, "cash": RUPEES, "back": BACK}


def refusal(expression: str) -> str:
    with pytest.raises(StrategyError) as caught:
        compile_structure(file_of(expression, PARAMS))
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("close > share", "price and percent do not go together in a comparison"),
        ("close + share > cash", "price and percent do not go together in +"),
        ("volume > close", "volume and price"),
        ("close / open > cash", "ratio and price"),
        ("roc(5) > close", "percent and price"),
        ("max(close, volume) > 1", "price and volume do not go together in max"),
        ("crosses_above(close, volume)", "price and volume do not go together in crosses_above"),
        ("(close if close > open else volume) > 1", "price and volume do not go together in one of two values"),
        ("rsi(14)[close] > 1", "must be a whole number"),
        ("close[5001] > 1", "use 0 to 5000"),
        ("close[share] > 1", "whose unit is not bars"),
        ("5[1] > close", "does not depend on the bar"),
        ("close ** 5 > 1", "the exponent must be 2, 3 or 4"),
        ("sma(position, 5) > 1", "position is the position's, and what is kept"),
        ("profit[1] > 1", "profit is the position's"),
        ("crosses_above(signal('x'), 0)", "signal 'x' comes from outside"),
        ("count(atman.mean > 0, 3) > 1", "atman.mean comes from outside"),
        ("rsi(rank(close), 14) > 50", "a comparison between instruments cannot be kept"),
        ("rank(rank(close)) > 0.5", "inside another"),
        ("atman.meen > 0", "did you mean .mean?"),
        ("atman > 0", "atman has several parts"),
        ("prev_day > close", "prev_day has several parts"),
        ("prev_day.hihg > close", "did you mean .high?"),
        ("opening_range(15) > close", "choose one of .high, .low"),
        ("opening_range(0).high > close", "takes minutes from 1 to 375"),
        ("day_hihg > close", "did you mean day_high?"),
        ("hour(3) > 1", "hour is not a function"),
        ("rising > 1", "rising is a function"),
        ("count(close, 3) > 1", "a number where a condition is wanted"),
        ("rsi(14, on='15') > 1", "this is no length of a bar"),
        ("rsi(14, on='2d') > 1", "this is no length of a bar"),
        ("close('NIFTY') > 1", "this names no instrument"),
        ("rsi(14, off='15m') > 1", "only on= and of= are named"),
        ("sma(close(on='5m'), 5, on='15m') > 1", "bars of one stream inside another's"),
        ("signal(x) > 1", "takes the name of an external signal"),
        ("position(on='5m') > 1", "known of the strategy's own bars only"),
        ("sma(close, 5, 9) > close", "got 2"),
    ],
)
def test_a_refusal_says_what_does_not_fit(expression: str, said: str) -> None:
    assert said in refusal(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "close > cash + open",
        "close - open > share * close / 100",
        "close / open > 1.02",
        "close * volume > 1000000",
        "rsi(14) > rsi(28)",
        "(close - open) / atr(14) > 2",
        "stddev(20) > 0.01 * close",
        "rsi(14, on='15m')[1] > rsi(14, on='1h')",
        "close('NSE:NIFTY 50', on='1d')[back] > 1",
        "macd(12, 26, 9, of='NSE:NIFTY 50').hist > 0",
        "crosses_above(close, open, on='5m')",
        "day_high(on='5m') > close",
        "prev_day(of='NSE:NIFTY 50').close > 1",
        "correl(close, volume, 20) > 0.5",
        "rank(close('NSE:NIFTY 50') / close) > 0.5",
        "3 * days_to_expiry > weekday and delta > 0.2 and sentiment_age < 60",
        "profit > 2 * atr(14) and profit_r > 1 and entry_price > 5 and position > 0 and trades_today < 2",
    ],
)
def test_what_fits_is_taken(expression: str) -> None:
    assert compile_structure(file_of(expression, PARAMS)).warnings == ()


def test_units_follow_through_signals() -> None:
    with pytest.raises(StrategyError, match="percent and price"):
        compile_structure(file_of("move > close", move="roc(5)"))


@pytest.mark.parametrize(
    ("expression", "said", "column"),
    [
        ("rsi(14) < 30 and rsi(14) > 70", "never true", 1),
        ("close > open and (rsi(14) > 100)", "always false", 19),
        ("rsi(14) >= 0", "always true", 1),
        ("70 < rsi(14) < 30", "never true", 1),
        ("hour > 23", "always false", 1),
        ("weekday == 6 and weekday == 5", "never true", 1),
        ("abs(close - open) < 0", "always false", 1),
    ],
)
def test_what_is_hardly_meant_is_warned_of_with_its_place(expression: str, said: str, column: int) -> None:
    (warning,) = compile_structure(file_of(expression)).warnings
    assert said in warning
    assert warning.startswith(f"expression:1:{column}: entry.long:")
    assert warning.splitlines()[-1].index("^") == 4 + column - 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[exit]\nlong = "close > open"', "the same as the entry"),
        ('[session]\nentry_from = "15:30"', "nothing can be entered: the window ends"),
        ('[session]\nentry_from = "10:00"\nsquare_off = "09:30"', "squared off before that"),
    ],
)
def test_rules_that_never_trade_are_warned_of(more: str, said: str) -> None:
    rules = 'entry.long = "close > open"\nstop.bars = 9'
    text = f'name = "idle"\nuniverse = ["NSE:AAA"]\nsize.quantity = 1\n{rules}\n{more}\n'
    (warning,) = compile_structure(parse_strategy(text, "idle.toml")).warnings
    assert said in warning
    assert warning.startswith("idle.toml:")


def test_what_expressions_name_is_known_to_those_who_fetch_it() -> None:
    file = file_of("close('NSE:NIFTY 50') > sma(14, of='NSE:INFY', on='5m') and close('NSE:NIFTY 50')[1] > 1")
    assert instruments_named(file) == ("NSE:NIFTY 50", "NSE:INFY")
    plan = compile_structure(file_of("rsi(14, on='15m') > 50")).plan
    assert [(stream.instrument, stream.period_ns // 60_000_000_000) for stream in plan.streams] == [("", 15)]
    assert plan.streams[0].ring_bars >= 50 * 14


def test_an_expression_alone_has_neither_position_nor_others_to_compare_with() -> None:
    for expression in ("profit > 1", "rank(close)"):
        with pytest.raises(StrategyError):
            compile_expression(file_of("close > 1"), expression)


def test_a_strategy_on_its_own_bars_alone_has_no_trace_of_other_streams() -> None:
    structure = compile_structure(file_of("rsi(14, on='1m') > 50"))
    assert structure.plan.streams == () and "seen" not in structure.text


def test_the_worked_strategies_are_good_and_teach() -> None:
    paths = sorted((Path(__file__).parents[2] / "configs" / "strategies").glob("*.toml"))
    assert len(paths) >= 12
    for path in paths:
        file = load_strategy(path)
        assert compile_structure(file).warnings == ()
        assert file.strategy.summary and path.read_text().startswith("# ")
        assert file.strategy.name == path.stem
