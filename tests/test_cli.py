"""The command line: help with examples, words read into values, exit codes, data and words kept apart."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from datetime import date, time
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from atmand.__main__ import main
from atmand.cli_words import assignments, clock, day, duration, moment, print_rows, speed
from atmand.core.records import Kind, body_of
from atmand.errors import ExitCode
from atmand.journal import JournalSettings, JournalWriter
from atmand.settings import builtin

VERBS = [
    ["run"],
    ["init"],
    ["check"],
    ["doctor"],
    ["logs"],
    ["replay"],
    ["journal", "inspect"],
    ["journal", "export"],
    ["journal", "repair"],
    ["journal", "prune"],
    ["feed", "decode", "kite"],
    ["eval"],
    ["backtest"],
    ["research", "list"],
    ["research", "show"],
    ["sessions"],
    ["sim"],
    ["trades"],
    ["why"],
    ["reload"],
    ["exit"],
    ["entries"],
    ["strategy", "pause"],
    ["strategy", "resume"],
    ["token", "new"],
    ["token", "list"],
    ["token", "revoke"],
    ["version"],
]


def atmand(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atmand", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--help"]) == ExitCode.DONE
    told = " ".join(capsys.readouterr().out.split())
    assert f"Example: atmand {' '.join(verb)}" in told


@pytest.mark.process
def test_help_lists_every_verb_and_a_bare_call_shows_it() -> None:
    helped = atmand("--help")
    assert helped.returncode == 0
    assert all(f" {verb[0]} " in helped.stdout for verb in VERBS)
    assert "Usage: atmand" in atmand().stdout + atmand().stderr


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run", "--for", "soon"],
        ["run", "--for", "0s"],
        ["run", "--speed", "-1"],
        ["run", "--bars", "/none/at/all.csv"],
        ["replay", "yesterday"],
        ["replay", "--from", "25:00"],
        ["journal", "export", "--from", "noon"],
        ["journal", "export", "--kind", "NOISE", "--state", "."],
        ["journal", "inspect", "--state", "/none/at/all"],
        ["journal", "repair", "--state", "/none/at/all"],
        ["replay", "--state", "/none/at/all"],
        ["replay", "--from", "10:00", "--to", "09:59", "--state", "."],
        ["journal", "export", "--from", "2026-07-07", "--to", "2026-07-06", "--state", "."],
        ["backtest", __file__, "--from", "2026-07-07", "--to", "2026-07-06"],
        ["check", "/none/at/all.toml"],
        ["run", "/none/at/all.toml"],
        ["run", "--costs-as-of", "soon"],
        ["eval", "close", "--data", "/none/at/all.csv"],
        ["backtest", __file__, "--data", "/none/at/all.csv"],
        ["backtest", __file__, "--out", "/none/at/all.parquet"],
        ["sim", "--port", "70000"],
        ["eval", "close"],
        ["eval", "close", "--data", __file__, "--set", "low"],
        ["backtest", "/none/at/all.toml"],
        ["feed", "decode", "kite", "/none/at/all.json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.err and not captured.out


def test_a_refused_configuration_is_one_line_and_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[jornal]\nkeep = 3\n")
    for words in (["check", str(file)], ["check", "--config", str(file)], ["--config", str(file), "check"]):
        assert main(words) == ExitCode.REFUSED
        captured = capsys.readouterr()
        assert captured.err == f"{file}: jornal.keep: unknown key; did you mean journal.keep_sessions?\n"
        assert not captured.out


def test_check_prints_the_resolved_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    demo = str(builtin("demo.toml"))
    assert main(["check", demo, "--json"]) == ExitCode.DONE
    captured = capsys.readouterr()
    assert json.loads(captured.out)["simulator"]["seed"] == 7
    assert captured.err.strip().endswith("good")
    assert main(["check", demo]) == ExitCode.DONE
    assert "simulator.seed = 7\n" in capsys.readouterr().out


def test_check_tells_every_strategy_that_does_not_compile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "[accounts.paper]\n"
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text("name = 1\n")
        text += f'[strategies.{name}]\nfile = "{name}.toml"\naccount = "paper"\ncapital_rupees = 1000\n'
    (tmp_path / "c.toml").write_text(text)
    assert main(["check", str(tmp_path / "c.toml")]) == ExitCode.REFUSED
    told = capsys.readouterr().err
    assert "one.toml" in told and "two.toml" in told and "good" not in told


def test_check_shows_no_secret(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", "s3cr3t-value")
    assert main(["check", str(builtin("paper.toml"))]) == ExitCode.DONE
    captured = capsys.readouterr()
    assert "s3cr3t-value" not in captured.out + captured.err and "feed.kite.api_key" in captured.out


def test_version_names_what_results_depend_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == ExitCode.DONE
    assert {"atmand", "python", "numba", "numpy", "machine"} <= set(json.loads(capsys.readouterr().out))
    assert main(["version"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("atmand 0.")


def test_days_without_a_session_of_the_simulator_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    strategy = str(builtin("strategies/rsi_macd.toml"))
    # A Saturday and a Sunday.
    assert main(["backtest", strategy, "--from", "2026-07-04", "--to", "2026-07-05"]) == ExitCode.REFUSED
    told = capsys.readouterr()
    assert told.err == "the simulator's past: no session from 2026-07-04 to 2026-07-05; choose other days\n"
    assert not told.out


def frames_file(path: Path) -> Path:
    ltp = bytes.fromhex("0001000800063a0100026404")
    path.write_text(json.dumps([base64.b64encode(frame).decode() for frame in (ltp, b"\x00", b"\x00\x01\x00\x09\x00")]))
    return path


def test_raw_frames_become_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feed", "decode", "kite", str(frames_file(tmp_path / "f.json")), "--json"]) == ExitCode.DONE
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2]
    assert lines[0]["ticks"][0]["instrument_token"] == 408065
    assert lines[0]["ticks"][0]["last_price"] == 1566.76
    assert (lines[1]["ticks"], lines[2]["skipped"]) == ([], 1)


@pytest.mark.parametrize("text", ["{", "{}", '["***"]', "[1]"])
def test_frames_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    file = tmp_path / "f.json"
    file.write_text(text)
    assert main(["feed", "decode", "kite", str(file)]) == ExitCode.REFUSED
    assert capsys.readouterr().err.endswith("; write a JSON list of base64 strings\n")


def write_journal(state: Path) -> None:
    writer = JournalWriter(state / "journal", JournalSettings())
    frame = bytes.fromhex("0001000800063a0100026404")
    for number in range(3):
        time_ns = 1_783_309_500 * 10**9 + number * 60 * 10**9
        writer.append(Kind.FRAME, time_ns, frame, source=1)
        writer.append(Kind.TIMER, time_ns + 1, body_of(Kind.TIMER))
    writer.close()


def test_a_stopped_daemons_journal_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(tmp_path)
    state = ["--state", str(tmp_path)]
    assert main(["journal", "inspect", *state, "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["kinds"] == {"FRAME": 3, "TIMER": 3}
    assert main(["journal", "inspect", *state]) == ExitCode.DONE
    assert "kinds.FRAME = 3" in capsys.readouterr().out

    window = ["--from", "2026-07-06T09:16", "--to", "2026-07-06T03:47:00+00:00"]
    assert main(["journal", "export", *state, "--kind", "timer", *window]) == ExitCode.DONE
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["kind"] == "TIMER"

    for folder in (tmp_path, tmp_path / "journal"):
        assert main(["feed", "decode", "kite", str(folder)]) == ExitCode.DONE
        assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["journal", "prune", *state, "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["freed_bytes"] == 0


@pytest.mark.process
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "many.json"
    file.write_text(json.dumps([base64.b64encode(b"\x00").decode()] * 20_000))
    command = [sys.executable, "-m", "atmand", "feed", "decode", "kite", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == ExitCode.DONE


@pytest.mark.process
def test_the_simulator_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "atmand", "sim", "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        request = urllib.request.Request(f"http://127.0.0.1:{ready['port']}/instruments")
        request.add_header("Authorization", f"token {ready['api_key']}:{ready['access_token']}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == ExitCode.DONE


@pytest.mark.process
def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = atmand("sim", "--port", str(port))
    assert refused.returncode == ExitCode.REFUSED
    assert refused.stderr.startswith(f"port {port}: ") and refused.stderr.count("\n") == 1


@pytest.mark.process
def test_an_interrupted_verb_exits_with_130() -> None:
    code = (
        "import sys, atmand.cli_journal as verbs, atmand.__main__ as start\n"
        "import atmand.feed.kite_decode as decode\n"
        "import signal, os\n"
        "def frames(file):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    yield b''\n"
        "verbs._frames = frames\n"
        "sys.exit(start.main(['feed', 'decode', 'kite', 'x']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (ExitCode.INTERRUPTED, "")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("120s", 120 * 10**9),
        ("5m", 300 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("500ms", 5 * 10**8),
        ("1.5s", 15 * 10**8),
        ("90d", 7_776_000 * 10**9),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds


@given(st.text(max_size=6))
def test_any_word_is_a_duration_above_zero_or_refused(text: str) -> None:
    try:
        assert duration(text) > 0
    except typer.BadParameter as refused:
        assert repr(text) in str(refused)


@given(st.text(max_size=12))
def test_any_word_is_read_or_refused_by_every_reader(text: str) -> None:
    for reader in (day, clock, moment, speed):
        try:
            assert reader(text) is not None
        except typer.BadParameter as refused:
            assert repr(text) in str(refused)


def test_days_clocks_moments_and_speeds() -> None:
    assert day("2026-07-06") == date(2026, 7, 6)
    assert clock("09:20") == time(9, 20)
    assert moment("2026-07-06T09:15") == moment("2026-07-06T09:15:00+05:30") == moment("2026-07-06T03:45Z")
    assert (speed("auto"), speed("60")) == ("auto", 60.0)


def test_assignments_are_names_and_numbers() -> None:
    assert assignments(["low=30", "high=7e1"]) == {"low": 30.0, "high": 70.0}
    for wrong in (["low"], ["=3"], ["low=x"], ["low=nan"], ["low=inf"], ["low=1", "low=2"]):
        with pytest.raises(typer.BadParameter):
            assignments(wrong)


def test_tables_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(["name", "paise"], [{"name": "INFY", "paise": -5}, {"name": "M&M", "paise": 1200}, {"name": "X"}])
    assert capsys.readouterr().out.splitlines() == ["name  paise", "INFY     -5", "M&M    1200", "X"]


LIGHT = ["atmand.cli", "atmand.settings", "atmand.feed.kite", "atmand.journal", "atmand.core.engine", "atmand.daemon"]


@pytest.mark.process
@pytest.mark.parametrize("module", LIGHT)
def test_what_the_daemon_imports_is_light(module: str) -> None:
    # numba takes scipy where it is installed, as the tests' own libraries have it; the daemon's do not.
    heavy = ("torch", "pandas", "polars", "matplotlib", "alembic", "plotly")
    code = f"import sys; sys.modules['scipy'] = None; import {module}; print([m for m in {heavy} if m in sys.modules])"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert (imported.stdout, imported.stderr) == ("[]\n", "")
