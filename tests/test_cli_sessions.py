"""`atmand sessions`: what a market does now, a range of days, and what a user's file made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from atmand.__main__ import main
from atmand.errors import ExitCode
from atmand.market.sessions import SessionError, calendar, own_calendar, use_calendar, windows
from atmand.settings import load

MINE = """
[[special]]
day = 2026-11-08
kind = "muhurat"
source = "NSE circular of 2026-10-20"
windows = [{ phase = "continuous", from = 18:00:00, to = 19:00:00 }]
"""


@pytest.fixture(autouse=True)
def _calendar() -> Iterator[None]:
    yield
    use_calendar(None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(MINE)
    file = tmp_path / "atmand.toml"
    file.write_text('[market]\nsessions_file = "mine.toml"\n')
    return file


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["sessions", *words, "--json"]) == ExitCode.DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_it_tells_what_every_segment_does_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--at", "2026-08-03T15:20")
    told = {row["segment"]: (row["phase"], row["minutes_to_close"], row["next_open"]) for row in found["now"]}
    tomorrow = "2026-08-04T09:15:00+05:30"
    assert told == {
        "shares": ("continuous", 10.0, tomorrow),
        "shares_with_derivatives": ("closing_auction", None, tomorrow),
        "futures": ("continuous", 20.0, tomorrow),
        "options": ("continuous", 20.0, tomorrow),
        "block_deals": ("closed", None, None),
    }
    assert found["calendar"]["sessions_file"] is None


def test_a_users_file_is_laid_over_the_calendar_and_named_where_it_made_a_difference(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--from", "2026-11-06", "--to", "2026-11-10", "--segment", "options", "--config", str(config))
    rows = answer(capsys, *words)["days"]
    mine = str(config.parent / "mine.toml")
    assert [(row["day"], row["kind"], row["set_by"]) for row in rows] == [
        ("2026-11-06", "ordinary", "calendar"),
        ("2026-11-08", "muhurat", mine),
        ("2026-11-09", "ordinary", "calendar"),
        ("2026-11-10", "holiday", "calendar"),
    ]
    assert rows[1]["windows"] == [{"phase": "continuous", "from": "18:00", "to": "19:00", "step": ""}]

    assert main(["sessions", *words]) == ExitCode.DONE
    table = capsys.readouterr().out
    assert "2026-11-08 Sun  options  muhurat   continuous 18:00-19:00" in table
    assert "closed: NSE/FAOP/71777" in table


def test_settings_put_their_calendar_in_force_and_the_next_ones_theirs(config: Path, tmp_path: Path) -> None:
    load(config)
    assert len(windows(date(2026, 11, 8))) == 4
    (tmp_path / "plain.toml").write_text("")
    load(tmp_path / "plain.toml")
    assert calendar() is own_calendar() and windows(date(2026, 11, 8)) == []


def test_a_bad_or_missing_file_is_refused_and_changes_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = config.parent / "mine.toml"
    mine.write_text(MINE.replace("19:00:00", "17:00:00"))
    with pytest.raises(SessionError, match=r"mine.toml: special\[1\].windows\[1\].to: 17:00:00 is not after 18:00:00"):
        load(config)
    assert calendar() is own_calendar()
    assert main(["check", str(config)]) == ExitCode.REFUSED
    assert "mine.toml: special[1].windows[1].to" in capsys.readouterr().err
    mine.unlink()
    assert main(["check", str(config)]) == ExitCode.REFUSED
    assert "market.sessions_file" in capsys.readouterr().err


def test_a_day_outside_the_calendar_is_refused_and_the_last_day_has_no_next_opening(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sessions", "--from", "2019-12-31"]) == ExitCode.REFUSED
    assert "atmand's session table covers 2020-01-01 to 2026-12-31" in capsys.readouterr().err
    found = answer(capsys, "--at", "2026-12-31T16:00", "--segment", "futures")
    assert found["now"][0]["next_open"] is None
