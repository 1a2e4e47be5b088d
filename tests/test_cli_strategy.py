"""`atmand strategy new|check|explain`, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atmand.__main__ import main
from atmand.errors import ExitCode


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(["strategy", *arguments]))
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_strategy_is_good_as_it_is_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new", "mine", "--template", "breakout") == ExitCode.DONE
    assert 'name = "mine"' in (here / "mine.toml").read_text()
    capsys.readouterr()
    assert run("check", "mine.toml", "--json") == ExitCode.DONE
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer == {"file": "mine.toml", "error": None, "warnings": [], "warm_bars": 21}


def test_a_file_that_is_there_is_not_written_over(here: Path) -> None:
    (here / "mine.toml").write_text("kept")
    assert run("new", "mine") == ExitCode.USAGE
    assert (here / "mine.toml").read_text() == "kept"
    assert run("new", "other", "--template", "nothing") == ExitCode.USAGE
    assert run("new", "Not A Name") == ExitCode.USAGE


def test_the_templates_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new", "--json") == ExitCode.DONE
    listed = {row["template"]: row["summary"] for row in json.loads(capsys.readouterr().out)}
    assert len(listed) >= 12 and all(listed.values())


def test_a_check_refuses_with_the_place_and_warns(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'name = "idle"\nuniverse = ["NSE:AAA"]\nsize.quantity = 1\nentry.long = "{}"\n'
    (here / "bad.toml").write_text(text.format("cloze > 1"))
    (here / "odd.toml").write_text(text.format("rsi(14) > 100"))
    assert run("check", "bad.toml", "odd.toml") == ExitCode.REFUSED
    said = capsys.readouterr().err
    assert "bad.toml:4:15: entry.long: unknown name 'cloze'; did you mean close?" in said
    assert "warning: odd.toml:4:15: entry.long: this is always false" in said
    assert "odd.toml: good, decides after 15 bars" in said


def test_what_is_made_of_a_file_is_explained_line_by_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new", "mine", "--template", "pairs") == ExitCode.DONE
    capsys.readouterr()
    assert run("explain", "mine.toml", "--json") == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    compile(told["source"], "explained", "exec")
    assert "# signals.spread = log(close / other)" in told["source"]
    assert told["bars_before_the_first_decision"] == 60
    assert told["parameters_that_fold_again"] == ["window"]
    assert told["units"]["other"] == "price"
    assert told["streams"][0]["instrument"] == "NSE:HDFCBANK"
