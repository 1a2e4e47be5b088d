"""Who keeps open positions when what is configured changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atmand.errors import AtmandError
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.strategy_life import finished, keep_deployed, last_deployed, names_of, open_places, run_offs

TEXT = """
name = "one"
universe = ["NSE:AAA", "NSE:BBB"]
[params]
level = { default = 5, range = [0, 9] }
[entry]
long = "close > level"
[exit]
long = "close < level"
[size]
quantity = 1
"""
ONE = Deployment(parse_strategy(TEXT, "one.toml"), "paper", {"level": 4.0}, "one")
HELD = frozenset({("one@paper", "NSE:EQ:AAA")})


def with_text(text: str) -> Deployment:
    return replace(ONE, file=parse_strategy(text, "one.toml"))


CHANGED = with_text(TEXT.replace("close < level", "high < level"))
WORDS = with_text(TEXT + "# only a word\n")
FEWER = with_text(TEXT.replace('"NSE:AAA", ', ""))
DELIVERED = with_text(TEXT + '[trade]\nproduct = "CNC"\n')


@pytest.mark.parametrize(
    ("after", "on_change", "why"),
    [
        ([ONE], "run_off", None),
        ([WORDS], "run_off", None),
        ([CHANGED], "run_off", "changed"),
        ([CHANGED], "adopt", None),
        ([CHANGED], "flatten", "changed"),
        ([DELIVERED], "run_off", "changed"),
        ([FEWER], "adopt", "instrument removed"),
        ([], "adopt", "removed"),
        ([replace(ONE, account="other")], "run_off", "removed"),
    ],
)
def test_open_positions_always_have_rules_that_exit_them(
    after: list[Deployment], on_change: str, why: str | None
) -> None:
    found = run_offs([ONE], after, HELD, {"one": on_change})
    assert [one.why for one in found] == ([] if why is None else [why])
    for one in found:
        assert (one.deployment.book, one.deployment.origin) == ("one~1", "one")
        assert one.deployment.universe == ("NSE:EQ:AAA",)
        assert one.deployment.file is ONE.file


def test_a_flat_strategy_leaves_nothing_behind() -> None:
    assert run_offs([ONE], [CHANGED], frozenset(), {}) == []


def test_a_second_change_takes_another_number_and_the_first_goes_on() -> None:
    first = run_offs([ONE], [CHANGED], HELD, {})[0].deployment
    held = frozenset({("one@paper", "NSE:EQ:BBB"), ("one~1@paper", "NSE:EQ:AAA")})
    again = run_offs([CHANGED, first], [ONE], held, {})
    assert [(one.deployment.book, one.why) for one in again] == [("one~2", "changed"), ("one~1", "goes on")]
    assert finished([one.deployment for one in again], ["one~2@paper"]) == [first]


def test_what_ran_is_read_back_with_its_text_and_values(tmp_path: Path) -> None:
    off = run_offs([ONE], [], HELD, {})[0].deployment
    keep_deployed(tmp_path, [CHANGED, off], {"one": {"level": 7.0}, "one~1": {"level": 4.0}})
    held = frozenset({("one@paper", "NSE:EQ:BBB"), ("one~1@paper", "NSE:EQ:AAA")})
    one, other = last_deployed(tmp_path, held)
    assert (one.file.sha256, one.values) == (CHANGED.file.sha256, {"level": 7.0})
    assert (other.file.sha256, other.origin, other.universe) == (ONE.file.sha256, "one", ("NSE:EQ:AAA",))
    assert last_deployed(tmp_path, frozenset()) == []


def test_a_file_of_another_version_is_refused_with_a_remedy(tmp_path: Path) -> None:
    assert last_deployed(tmp_path, HELD) == []
    (tmp_path / "deployed.json").write_text('{"schema": 99}')
    with pytest.raises(AtmandError, match="remove it"):
        last_deployed(tmp_path, HELD)


def test_names_and_places() -> None:
    assert names_of("NSE:EQ:AAA") == {"NSE:EQ:AAA", "NSE:AAA"}
    assert open_places(None) == frozenset()
    rows = [{"book": "a@b", "instrument": "x", "quantity": n} for n in (0, -2)]
    assert open_places({"pairs": rows}) == {("a@b", "x")}
