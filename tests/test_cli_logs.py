"""`atmand logs`: lines for a reader, over rotated files in order, followed across rotations, broken as they are."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand import cli_logs
from atmand.__main__ import main
from atmand.cli_logs import followed, readable, selected, written
from atmand.errors import ExitCode
from atmand.log_file import LogFile

ROOT = Path(__file__).parent.parent


def event(name: str, number: int = 0, level: str = "info", **keys: Any) -> bytes:
    told = {"time": "2026-11-24T00:10:28.787Z", "level": level, "event": name, "number": number, **keys}
    return json.dumps(told).encode() + b"\n"


def all_lines(_: bytes) -> bool:
    return True


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory whose log was rotated twice."""
    folder = tmp_path / "log"
    folder.mkdir()
    for number, name in enumerate(("atmand.jsonl.2", "atmand.jsonl.1", "atmand.jsonl")):
        (folder / name).write_bytes(event("starting", number) + event("trade_made", number, "warning"))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["logs", *words]) == ExitCode.DONE
    return capsys.readouterr().out.splitlines()


def test_rotated_files_are_read_in_order(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--state", str(state))
    assert len(lines) == 6 and "trade made  number=0" in lines[1] and "trade made  number=2" in lines[5]
    file = str(state / "log" / "atmand.jsonl")
    assert shown(capsys, file) == lines
    assert shown(capsys, file + ".2") == lines[:2]
    assert shown(capsys, "--state", str(state), "--lines", "3") == lines[3:]
    assert shown(capsys, "--state", str(state), "--lines", "0") == []


def test_events_and_levels_are_chosen(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--state", str(state), "--json")
    chosen = [json.loads(line) for line in shown(capsys, *place, "--event", "trade_made", "--lines", "2")]
    assert [(line["event"], line["number"]) for line in chosen] == [("trade_made", 1), ("trade_made", 2)]
    assert len(shown(capsys, *place, "--event", "trade_made", "--event", "starting")) == 6
    assert len(shown(capsys, *place, "--level", "warning")) == 3
    assert shown(capsys, *place, "--level", "error") == []


def test_json_lines_are_passed_through_as_they_are(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = b"".join(written(state / "log" / "atmand.jsonl")).decode()
    assert main(["logs", "--state", str(state), "--json"]) == ExitCode.DONE
    assert capsys.readouterr().out == whole


def test_a_broken_line_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    odd = b'{"level": "info", "event": "trade_closed", "net": "much"}\n'
    file.write_bytes(b'{"event": "ha\n3\n[]\n\xff\xfe\n' + odd + event("starting") + b"no end")
    lines = shown(capsys, str(file))
    assert lines[:3] == ['{"event": "ha', "3", "[]"]
    assert lines[4] == odd.decode().strip() and lines[-1] == "no end" and len(lines) == 7
    assert len(shown(capsys, str(file), "--event", "starting")) == 1
    assert shown(capsys, str(file), "--json")[:2] == ['{"event": "ha', "3"]


def test_no_text_of_a_line_reaches_the_terminals_controls() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07\x9b31m"
    for text in (event("feed_text", text=hostile), f"broken {hostile}".encode()):
        told = readable(text, colors=False)
        assert "\\x1b[2J" in told and not [letter for letter in told if letter < " " or "\x7f" <= letter < "\xa0"]


@given(st.binary(max_size=200))
def test_whatever_the_line_something_is_shown(text: bytes) -> None:
    assert isinstance(readable(text, colors=True), str)
    assert selected(frozenset(), None)(text)


@given(st.dictionaries(st.sampled_from(["time", "level", "event", "net", "market_time", "equity", "x"]), st.text()))
def test_known_keys_with_unknown_contents_are_shown(keys: dict[str, str]) -> None:
    for name in ("trade_closed", "books_marked", "ready"):
        assert readable(json.dumps({**keys, "event": name}).encode(), colors=True)


def test_standard_input_is_read_as_it_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = event("starting", 1) + b"broken\n" + event("ready", 2, seconds=1.5, pid=7, state="/s")
    for words, expected in (((), 3), (("--event", "ready"), 1), (("--lines", "1"), 1)):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
        lines = shown(capsys, "-", *words)
        assert len(lines) == expected and "ready after 1.5 s" in lines[-1]


def test_the_configurations_file_is_the_one_that_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[instance]\nstate = "s"\n[log]\nfile = "elsewhere.jsonl"\n')
    (tmp_path / "elsewhere.jsonl").write_bytes(event("starting", 5))
    assert len(shown(capsys, "--config", str(config))) == 1
    config.write_text('[instance]\nstate = "s"\n[log]\nfile = "none"\n')
    assert main(["logs", "--config", str(config)]) == ExitCode.USAGE
    assert "keeps no file" in capsys.readouterr().err
    config.write_text('[instance]\nstate = "s"\n')
    assert main(["logs", "--config", str(config)]) == ExitCode.USAGE
    assert str(tmp_path / "s" / "log" / "atmand.jsonl") in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--level", "loud"], ["--lines", "-1"], ["/none/at/all"]], ids=" ".join)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", *words]) == ExitCode.USAGE
    assert capsys.readouterr().err


# Following: `followed` looks again between two steps, and a step is when the test says so.


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_logs, "_POLL_S", 0)


def numbers(batch: Iterable[bytes]) -> list[int]:
    return [json.loads(text)["number"] for text in batch]


def test_following_begins_with_the_last_lines_and_goes_on(state: Path) -> None:
    path = state / "log" / "atmand.jsonl"
    batches = followed(path, selected(frozenset({"trade_made"}), None), 2)
    assert numbers(next(batches)) == [1, 2]
    assert numbers(next(batches)) == []
    with path.open("ab") as file:
        file.write(event("trade_made", 3) + event("starting", 4) + b'{"event": "trade_')
        file.flush()
        assert numbers(next(batches)) == [3]
        file.write(b'made", "number": 5}\n')
    assert numbers(next(batches)) == [5]


def test_following_loses_nothing_over_rotations(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.jsonl", limit_bytes=400, old_files=3)
    batches = followed(file.path, all_lines, 20)
    assert list(next(batches)) == []
    found: list[int] = []
    number = 0
    for burst in (1, 0, 4, 1, 7, 9, 2, 0, 5):
        for _ in range(burst):
            file.write(event("trade_made", number).decode())
            number += 1
        found += numbers(next(batches))
    file.close()
    assert found == list(range(number)) and len(list(tmp_path.iterdir())) == 4


def test_following_goes_on_after_more_was_thrown_away_than_it_had_read(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.jsonl", limit_bytes=400, old_files=1)
    batches = followed(file.path, all_lines, 20)
    file.write(event("trade_made", 0).decode())
    assert numbers(next(batches)) == [0]
    for number in range(1, 40):
        file.write(event("trade_made", number).decode())
    file.close()
    found = numbers(next(batches))
    # What was still open is read to its end, and what is still there whole.
    rest = found.index(next(number for number in found if number > len(found)))
    assert found[:rest] == list(range(1, rest + 1)) and found[rest:] == list(range(40 - len(found) + rest, 40))


def test_following_waits_for_a_file_and_survives_its_removal(tmp_path: Path) -> None:
    path = tmp_path / "log" / "a.jsonl"
    batches = followed(path, all_lines, 20)
    assert list(next(batches)) == [] and list(next(batches)) == []
    path.parent.mkdir()
    path.write_bytes(event("starting", 1))
    assert numbers(next(batches)) == [1]
    path.unlink()
    assert list(next(batches)) == []
    path.write_bytes(event("starting", 2))
    assert numbers(next(batches)) == [2]
    with path.open("r+b") as file:  # as logrotate's copytruncate does
        file.truncate(0)
        assert list(next(batches)) == []
        file.write(event("starting", 3))
    assert numbers(next(batches)) == [3]


@pytest.mark.process
def test_a_follower_prints_at_once_and_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    command = [sys.executable, "-m", "atmand", "logs", "-f", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        path.write_bytes(event("trade_made", 8))
        assert "trade made  number=8" in process.stdout.readline()
        process.send_signal(2)
        assert process.wait(30) == ExitCode.INTERRUPTED
        guard.cancel()
