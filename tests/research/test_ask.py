"""Why not, and what if: asked of recorded days, answered beside what was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from core_market import QUICK, decode_rows
from ledger_market import Recorder, record_days

from atmand.core.engine import Engine
from atmand.core.opening import BookLimits
from atmand.core.records import Kind, Source
from atmand.errors import AtmandError
from atmand.history.bars import BAR, Bars
from atmand.journal.replay import find_session
from atmand.lang.clauses import Group, Leaf, clauses_of
from atmand.lang.program import Deployment
from atmand.lang.strategy import StrategyFile, parse_strategy
from atmand.market.sessions import ns
from atmand.research.probe import Grid, drive, probe_of
from atmand.research.recorded import asked_of_day
from atmand.research.what_if import what_if
from atmand.research.why_not import Asked, answers, told

DECODERS = {int(Source.KITE): decode_rows}
FIRST, SECOND = date(2026, 7, 6), date(2026, 7, 7)
ENTRY = """name = "probe"
universe = ["NSE:AAA"]
[params]
level = { default = 105, range = [1, 1000] }
[signals]
dear = "close > level"
[entry]
long = "RULE"
[session]
entry_to = "09:40"
[size]
quantity = 10
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    recorder = Recorder(tmp_path_factory.mktemp("asked") / "journal")
    record_days(recorder, days=2, minutes=30)
    recorder.close()
    return recorder


def ramp(prices: list[float]) -> Bars:
    """Bars of one share that open and close at these prices."""
    rows = np.zeros(len(prices), BAR)
    rows["start_ns"] = ns(FIRST, "09:15") + np.arange(len(prices)) * 60 * 10**9
    for name in ("open", "high", "low", "close"):
        rows[name] = np.round(np.array(prices) * 100)
    rows["volume"] = 100_000
    return Bars("made", ("AAA",), {"AAA": rows})


def file_of(rule: str) -> StrategyFile:
    return parse_strategy(ENTRY.replace("RULE", rule), "probe.toml")


def asked(rule: str, prices: list[float]) -> list[dict[str, Any]]:
    probe = probe_of(Deployment(file_of(rule)))
    return list(answers(Asked(probe, drive(probe, Grid.of(ramp(prices)), BookLimits(100_000_000)))))


@pytest.mark.parametrize(
    ("rule", "words", "clauses"),
    [
        ("close > 1 and volume > 2", "all", ["close > 1", "volume > 2"]),
        ("not (close > 1 and volume > 2)", "any", ["close <= 1", "volume <= 2"]),
        ("1 < close < level", "all", ["1 < close", "close < level"]),
        ("dear or not crosses_above(close, level)", "any", ["close > level", "not crosses_above(close, level)"]),
    ],
)
def test_rules_are_split_at_their_logic(rule: str, words: str, clauses: list[str]) -> None:
    found = clauses_of(file_of(rule))
    assert [clause.text for clause in found.clauses] == clauses
    assert found.rules == {"entry.long": Group(words, (Leaf(0), Leaf(1)))}  # type: ignore[arg-type]


def test_the_clause_that_kills_and_the_nearest_miss_are_named() -> None:
    prices = [100 + at / 10 for at in range(40)]
    summary, rule, miss, *rest = asked("close > level and volume > 1", prices)
    assert (summary["bars"], summary["warming"]) == (40, 0)
    assert (rule["true"], rule["kills_most"]) == (0, "close > level")
    assert rule["clauses"] == [
        {"clause": "close > level", "true": 0, "alone_missing": 40},
        {"clause": "volume > 1", "true": 40, "alone_missing": 0},
    ]
    assert miss["ts"].startswith("2026-07-06T09:54") and miss["missing"] == 1
    assert miss["clauses"][0]["away"] == pytest.approx(105 - 103.9)
    bars = [each for each in rest if each["what"] == "bar"]
    assert [bar["values"]["close"] for bar in bars] == pytest.approx(prices)
    words = "\n".join(told(iter([summary, rule, miss])))
    assert "NO   close = 103.9, wanted > level = 105: 1.1 away" in words


def test_what_came_after_a_true_rule_is_counted() -> None:
    _, rule, *_ = asked("close > level", [100, 106, 106, 106] + [100] * 24 + [106, 106])
    assert rule["then"] == {"position_open": 4, "fired": 1}
    _, rule, *_ = asked("close > level", [100] * 28 + [106, 106])
    assert rule["then"] == {"outside_window": 2}


def test_a_recorded_day_is_answered_from_its_own_audit(recorded: Recorder) -> None:
    file = parse_strategy(QUICK, "quick.toml")
    found = asked_of_day(recorded.journal, find_session(recorded.journal, FIRST), [file], "swift", DECODERS)
    documents = list(answers(found))
    fired = sum(each["then"].get("fired", 0) for each in documents if each["what"] == "rule")
    rows = np.concatenate(recorded.rows)
    book = (rows["kind"] == Kind.AUDIT_DECISION) & (rows["book"] == 0) & (rows["state"] == 1)
    assert fired == int((book & (rows["time_ns"] < ns(SECOND, "00:00"))).sum()) > 3
    levels = {miss["clauses"][1]["right"] for miss in documents if miss["what"] == "miss" and len(miss["clauses"]) == 2}
    assert levels == {50.0, 45.0}  # a document changed it inside the day
    newest = find_session(recorded.journal, None)
    assert next(answers(asked_of_day(recorded.journal, newest, [file], "swift", DECODERS)))["first"] > "2026-07-0"
    with pytest.raises(AtmandError, match="is not the file that swift ran with"):
        asked_of_day(recorded.journal, newest, [parse_strategy(QUICK + "\n", "quick.toml")], "swift", DECODERS)
    with pytest.raises(AtmandError, match="that day ran swift, calm, other"):
        asked_of_day(recorded.journal, newest, [file], "nobody", DECODERS)
    with pytest.raises(AtmandError, match="NSE:ZZZ"):
        asked_of_day(recorded.journal, newest, [file], "swift", DECODERS, instrument="NSE:ZZZ")


@pytest.fixture
def ask(recorded: Recorder) -> Callable[..., dict[str, Any]]:
    def answer(
        *settings: tuple[str | None, str, float], code: bytes = bytes(32), **files: list[StrategyFile]
    ) -> dict[str, Any]:
        def engine() -> Engine:
            return Engine(DECODERS, recorded.programs.__getitem__, recorded.carried.__getitem__)

        return what_if(recorded.journal, FIRST, settings, engine=engine, code=code, files=files)

    return answer


def test_the_same_values_make_the_same_day(ask: Callable[..., dict[str, Any]]) -> None:
    same = ask(("calm", "level", 40.0))
    assert same["total"]["was"] == same["total"]["what_if"]
    assert same["same_trades"] == same["total"]["was"]["trades"] > 3
    assert not same["only_was"] and not same["only_what_if"]


def test_other_values_make_another_day_of_that_strategy_only(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask(("swift", "fast", 2), ("swift", "level", 64))
    assert answer["strategies"]["calm"]["was"] == answer["strategies"]["calm"]["what_if"]
    assert answer["strategies"]["swift"]["was"] != answer["strategies"]["swift"]["what_if"]
    assert {trade["strategy"] for trade in answer["only_was"] + answer["only_what_if"]} == {"swift"}
    net = {which: answer["total"][which]["net_paise"] for which in ("was", "what_if")}
    sums = {which: sum(trade["net_paise"] for trade in answer[f"only_{which}"]) for which in net}
    assert net["what_if"] - net["was"] == sums["what_if"] - sums["was"] != 0
    for each in (answer["strategies"], answer["instruments"]):
        assert sum(figures["what_if"]["net_paise"] for figures in each.values()) == net["what_if"]
    assert json.dumps(answer)


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ((None, "levle", 50.0), bytes(32), "no strategy of that day has it; known are calm.fast"),
        (("calm", "level", 101.0), bytes(32), "101 is outside 0 to 100"),
        (("calm", "level", 50.0), bytes(31) + b"x", "recorded by other code"),
    ],
)
def test_what_cannot_be_told_is_refused(
    settings: tuple[str | None, str, float],
    code: bytes,
    said: str,
    ask: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(AtmandError, match=said):
        ask(settings, code=code, calm=[parse_strategy(QUICK, "quick.toml")])
