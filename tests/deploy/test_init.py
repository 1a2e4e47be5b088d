"""`atmand init`: what it writes passes `atmand check` and runs, and it never writes over anything."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from atmand.__main__ import main
from atmand.errors import ExitCode
from atmand.settings import load
from atmand.start import builtin

ROOT = Path(__file__).parents[2]
FILES = ["README.md", "atmand.service", "atmand.toml", "strategies/rsi_macd.toml"]


def written(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("made", [False, True])
def test_a_new_deployment_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str], made: bool) -> None:
    directory = tmp_path / "My Trading-2"
    if made:
        directory.mkdir()
    assert main(["init", str(directory)]) == ExitCode.DONE
    assert written(directory) == FILES
    assert capsys.readouterr().out.split() == [
        word for name in ("atmand.toml", "strategies/rsi_macd.toml", "atmand.service", "README.md")
        for word in str(directory / name).split()
    ]  # fmt: skip
    assert main(["check", "--config", str(directory / "atmand.toml")]) == ExitCode.DONE
    settings = load(directory / "atmand.toml")
    assert (settings.instance.name, settings.feed.kind) == ("my_trading_2", "simulator")
    assert settings.instance.state == directory / "state"
    strategy = settings.strategies["rsi_macd"].file
    assert strategy.read_text() == builtin("strategies/rsi_macd.toml").read_text()


def test_one_for_the_real_market_needs_only_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "new" / "atmand.toml"
    assert main(["init", str(tmp_path / "new"), "--kite"]) == ExitCode.DONE
    assert main(["check", "--config", str(config)]) == ExitCode.REFUSED
    assert "feed.kite.api_key" in capsys.readouterr().err
    secrets = tmp_path / "new" / "secrets"
    secrets.mkdir()
    (secrets / "feed__kite__api_key").write_text("none\n")
    monkeypatch.setenv("ATMAND_SECRETS_DIR", str(secrets))
    assert main(["check", "--config", str(config)]) == ExitCode.DONE
    settings = load(config)
    assert settings.feed.kite is not None and settings.feed.kite.access_token_file == tmp_path / "new" / "access_token"


def test_the_page_says_what_to_do_next_in_few_lines(tmp_path: Path) -> None:
    for words in ([], ["--kite"]):
        directory = tmp_path / f"new{len(words)}"
        assert main(["init", str(directory), *words]) == ExitCode.DONE
        page = (directory / "README.md").read_text().splitlines()
        commands = [line.strip() for line in page if line.startswith("    ")]
        assert len(page) <= 17 and len(commands) == 3
        assert f"atmand run --config {directory / 'atmand.toml'}" in commands


@pytest.mark.parametrize("name", ["atmand.toml", "notes.txt"])
def test_what_is_there_is_named_and_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).write_text("mine")
    assert main(["init", str(tmp_path)]) == ExitCode.REFUSED
    told = capsys.readouterr()
    assert told.err.startswith(f"{tmp_path / name}: is there already") and not told.out
    assert written(tmp_path) == [name] and (tmp_path / name).read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "new")]) == ExitCode.USAGE
    assert main(["init", str(tmp_path / "file")]) == ExitCode.USAGE
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_json_lists_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "new"), "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["directory"] == str(tmp_path / "new")
    assert sorted(found["written"]) == [str(tmp_path / "new" / name) for name in FILES]


@pytest.mark.process
def test_a_new_deployment_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "new"
    monkeypatch.setenv("ATMAND_API__PORT", "0")
    assert main(["init", str(directory)]) == ExitCode.DONE
    command = [sys.executable, "-m", "atmand", "run", "--config", str(directory / "atmand.toml"), "--for", "5s"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert {"starting", "ready", "stopped"} <= set(told)
    kept = directory / "state" / "log" / "atmand.jsonl"
    assert kept.read_text() == done.stdout
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert main(["doctor", "--config", str(directory / "atmand.toml")]) == ExitCode.DONE
