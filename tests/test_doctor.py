"""`atmand doctor`: each thing that stands in the way is found by its name, and has a remedy."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand import doctor, doctor_machine
from atmand.__main__ import main
from atmand.cli_init import deployment
from atmand.core.records import Kind, body_of
from atmand.doctor import examine, projected_bytes, token_ended
from atmand.doctor_machine import LIBRARIES, Finding
from atmand.errors import ExitCode
from atmand.journal import DirectoryLock, JournalSettings, JournalWriter
from atmand.settings import load

ROOT = Path(__file__).parent.parent
INDIA = timezone(timedelta(hours=5, minutes=30))


def new(folder: Path, *, kite: bool = False) -> Path:
    """A deployment in a folder of its own; returns its configuration."""
    for name, text in deployment(folder, kite=kite).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "state").mkdir(mode=0o700)
    return folder / "atmand.toml"


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual port may be another daemon's on the machine that runs the tests."""
    monkeypatch.setenv("ATMAND_API__PORT", "0")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return new(tmp_path / "one")


@pytest.fixture
def kite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", "none")
    return new(tmp_path / "two", kite=True)


def findings(config: Path) -> dict[str, Finding]:
    found = examine(config, None)
    assert len({finding.check for finding in found}) == len(found)
    for finding in found:
        assert finding.found and (finding.status == "ok" or finding.remedy)
    return {finding.check: finding for finding in found}


def test_a_new_deployment_is_well(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(config)
    assert not [finding for finding in found.values() if finding.status == "fail"]
    assert {"python", "libraries", "processors", "memory", "clock", "clock_synchronised", "time_zone"} <= found.keys()
    assert {"file_descriptors", "configuration", "strategies", "compiler_cache", "state"} <= found.keys()
    assert {"permissions", "daemon", "journal", "disk"} <= found.keys() and "access_token" not in found
    assert main(["doctor", str(config), "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert [set(check) for check in told["checks"]] == [{"check", "status", "found", "remedy"}] * len(found)
    assert told["status"] in ("ok", "warn")


def test_a_person_gets_a_table_with_remedies(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "strategies" / "rsi_macd.toml").write_text("name = 1\n")
    assert main(["doctor", "--config", str(config)]) == ExitCode.DIFFERENT
    told = capsys.readouterr()
    assert re.search(r"^fail  strategies +\S.*\n +-> mend the file", told.out, re.MULTILINE)
    assert re.search(r"^ok    python +3\.", told.out, re.MULTILINE)
    assert "marked fail" in told.err


def test_a_wrong_configuration_is_a_finding_and_the_state_is_still_looked_at(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[limitz]\n")
    assert main(["doctor", str(config), "--state", str(tmp_path), "--json"]) == ExitCode.DIFFERENT
    checks = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["configuration"]["status"] == "fail" and "limitz" in checks["configuration"]["found"]
    assert checks["state"]["found"] == str(tmp_path)


def test_looking_makes_no_state_directory(config: Path) -> None:
    (config.parent / "state").rmdir()
    found = findings(config)
    assert "the first start makes it" in found["state"].found
    assert not (config.parent / "state").exists()


def test_every_library_that_the_program_needs_is_tried() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[^A-Za-z0-9_-]", each)[0].lower().replace("-", "_") for each in asked}
    assert names - {"tzdata", "uvloop"} == set(LIBRARIES)


def test_a_library_that_breaks_on_import_is_named(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text("raise RuntimeError('wrong glibc')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor_machine, "LIBRARIES", ("numpy", "broken_library"))
    found = findings(config)["libraries"]
    assert (found.status, found.found) == ("fail", "broken_library: wrong glibc")


def test_a_compiled_program_is_told_from_one_that_is_not(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atmand.lang.build import module_path
    from atmand.lang.program import generate

    cache = config.parent / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    first = findings(config)["compiler_cache"]
    assert first.status == "ok" and "the first start compiles" in first.found and str(cache) in first.found
    source = generate(doctor._deployments(load(config))).source
    (directory,) = {Path(first.found.partition(": ")[0])}
    index = directory / "programs_0" / f"{module_path(source, directory).stem}.apply-141.py311.nbi"
    index.parent.mkdir(parents=True)
    index.write_bytes(bytes(2_000_000))
    assert findings(config)["compiler_cache"].found.endswith("2.0 MB; the program is compiled")


def test_what_others_could_read_is_named(config: Path) -> None:
    state = config.parent / "state"
    state.chmod(0o755)
    assert findings(config)["permissions"].status == "warn"
    (state / "api_token").write_text("s3cr3t")
    (state / "api_token").chmod(0o644)
    found = findings(config)["permissions"]
    assert found.status == "fail" and found.remedy == f"chmod 600 {state / 'api_token'}" and "s3cr3t" not in found.found
    (state / "api_token").chmod(0o600)
    state.chmod(0o700)
    assert findings(config)["permissions"].status == "ok"


def test_a_state_that_is_a_file_fails(config: Path) -> None:
    (config.parent / "state").rmdir()
    (config.parent / "state").write_text("")
    assert findings(config)["state"].status == "fail"


# The daemon.


@pytest.fixture
def dead() -> int:
    """A process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(30)
        return process.pid


def announce(config: Path, pid: int, port: int = 0) -> None:
    told = {"pid": pid, "port": port, "started": "2026-11-24T00:00:00+00:00"}
    path = config.parent / "state" / "runtime.json"
    path.write_text(json.dumps(told))
    path.chmod(0o600)


@pytest.fixture
def lock(config: Path) -> Iterator[DirectoryLock]:
    held = DirectoryLock(config.parent / "state" / "journal")
    yield held
    held.release()


def test_a_running_daemon_is_named(config: Path, lock: DirectoryLock) -> None:
    announce(config, os.getpid())
    found = findings(config)["daemon"]
    assert (found.status, found.found) == ("ok", f"process {os.getpid()} runs and holds the state")


def test_what_a_crash_left_is_a_warning(config: Path, dead: int) -> None:
    announce(config, dead)
    (config.parent / "state" / "journal").mkdir()
    (config.parent / "state" / "journal" / "lock").write_text(f"{dead}\n")
    found = findings(config)["daemon"]
    assert found.status == "warn" and str(dead) in found.found
    (config.parent / "state" / "runtime.json").unlink()
    assert findings(config)["daemon"].found == "none runs here"


def test_a_lock_that_was_let_go_is_nobodys(config: Path, lock: DirectoryLock) -> None:
    lock.release()
    assert findings(config)["daemon"].found == "none runs here"


def test_a_second_daemon_fails(config: Path, lock: DirectoryLock, dead: int) -> None:
    announce(config, dead)
    found = findings(config)["daemon"]
    assert found.status == "fail" and str(dead) in found.found and str(os.getpid()) in found.found


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": -1}', '{"pid": 99999999999999999999}'])
def test_an_odd_runtime_file_breaks_nothing(config: Path, text: str) -> None:
    (config.parent / "state" / "runtime.json").write_text(text)
    (config.parent / "state" / "runtime.json").chmod(0o600)
    assert findings(config)["daemon"].status in ("ok", "warn")


def test_a_port_of_another_program_fails_and_our_own_does_not(
    config: Path, lock: DirectoryLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings: Any = SimpleNamespace(api=SimpleNamespace(port=port, enabled=True))
        state = config.parent / "state"
        (found,) = doctor._port(settings, state)
        assert found.status == "fail" and "[api] port" in found.remedy
        announce(config, os.getpid(), port)
        (found,) = doctor._port(settings, state)
        assert found.status == "ok"
    (found,) = doctor._port(settings, state)
    assert found.found == f"{port} is free"


# The journal and its disk.


def test_a_torn_and_a_damaged_journal_are_told_apart(config: Path) -> None:
    directory = config.parent / "state" / "journal"
    assert findings(config)["journal"].found == "none yet"
    writer = JournalWriter(directory, JournalSettings())
    for number in range(3):
        writer.append(Kind.TIMER, 1_783_309_500 * 10**9 + number, body_of(Kind.TIMER))
    writer.close()
    assert findings(config)["journal"].found.startswith("3 records")
    (segment,) = directory.glob("*.seg")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-3])
    found = findings(config)["journal"]
    assert found.status == "warn" and "torn" in found.found
    segment.write_bytes(b"x" * len(whole))
    assert findings(config)["journal"].status == "fail"


def test_a_full_disk_fails_and_a_small_one_warns(config: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace("[journal]", f"[journal]\nmin_free_bytes = {10**17}"))
    assert findings(config)["disk"].status == "fail"
    config.write_text(text.replace("keep_sessions = 10", f"min_free_bytes = 0\nkeep_sessions = {10**9}").replace(
        "keep_bytes = 5_000_000_000", f"keep_bytes = {10**18}"
    ))  # fmt: skip
    found = findings(config)["disk"]
    assert found.status == "warn" and "journal.keep_sessions" in found.remedy


def test_the_projection_is_the_documented_growth() -> None:
    assert projected_bytes(1_000, 1, 10**12) == 4_000_000_000
    assert projected_bytes(1_000, 6, 10**12) == 4_000_000_000 + 5 * 1_600_000_000
    assert projected_bytes(1_000, 6, 10**9) == 4_000_000_000 + 10**9
    assert projected_bytes(6_000, 2, 10**12) == 24_000_000_000 + 11_400_000_000
    assert projected_bytes(0, 10, 10**12) == 0


@given(st.integers(0, 20_000), st.integers(1, 100))
def test_more_instruments_and_sessions_never_project_less(instruments: int, sessions: int) -> None:
    here = projected_bytes(instruments, sessions, 10**15)
    assert here <= projected_bytes(instruments + 1, sessions, 10**15)
    assert here <= projected_bytes(instruments, sessions + 1, 10**15)


# The broker's token.


@pytest.mark.parametrize(
    ("written", "now", "ended"),
    [
        ("2026-07-06T08:50", "2026-07-06T23:00", False),
        ("2026-07-06T08:50", "2026-07-07T05:59", False),
        ("2026-07-06T08:50", "2026-07-07T06:00", True),
        ("2026-07-07T02:00", "2026-07-07T05:59", False),
        ("2026-07-07T02:00", "2026-07-07T09:00", True),
        ("2026-07-06T06:00", "2026-07-07T05:59", False),
        ("2026-07-03T08:50", "2026-07-06T09:00", True),
    ],
)
def test_a_token_ends_at_six_in_the_morning_in_india(written: str, now: str, ended: bool) -> None:
    at = [datetime.fromisoformat(text).replace(tzinfo=INDIA) for text in (written, now)]
    assert token_ended(*at) is ended
    assert token_ended(*(moment.astimezone(UTC) for moment in at)) is ended


def test_the_access_token_must_be_there_todays_and_private(kite: Path) -> None:
    file = kite.parent / "access_token"
    found = findings(kite)["access_token"]
    assert found.status == "fail" and "no such file" in found.found
    file.touch(mode=0o600)
    assert "empty" in findings(kite)["access_token"].found
    file.write_text("s3cr3t")
    assert findings(kite)["access_token"].status == "ok"
    file.chmod(0o640)
    found = findings(kite)["access_token"]
    assert (found.status, found.remedy) == ("fail", f"chmod 600 {file}")
    file.chmod(0o600)
    os.utime(file, (0, 0))
    found = findings(kite)["access_token"]
    assert found.status == "fail" and "06:00" in found.found and "s3cr3t" not in found.found + found.remedy
