"""The file of JSON lines: written beside the stream, cut by size, taken anew after logrotate, no reason to stop."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from atmand import logs
from atmand.log_file import LogFile, older
from atmand.logs import LogSettings, configure, file_of, flush

log = structlog.get_logger()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    configure(LogSettings(file="none"), io.StringIO())
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def events(path: Path) -> list[dict[str, Any]]:
    flush()
    return [json.loads(line) for line in path.read_text().splitlines()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_terminal_gets_text_and_the_file_json(tmp_path: Path) -> None:
    terminal = Terminal()
    configure(LogSettings(), terminal, tmp_path)
    log.info("ready", pid=7)
    logging.getLogger("aiohttp").warning("closed")
    log.debug("unseen")
    file = tmp_path / "log" / "atmand.jsonl"
    assert [event["event"] for event in events(file)] == ["ready", "library_message"]
    assert events(file)[0]["pid"] == 7
    assert "{" not in terminal.getvalue() and "pid=7" in terminal.getvalue()
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)


def test_a_pipe_and_the_file_get_the_same_lines(tmp_path: Path) -> None:
    pipe = io.StringIO()
    configure(LogSettings(file=tmp_path / "elsewhere" / "a.jsonl"), pipe, tmp_path / "state")
    log.info("ready", access_token="s3cr3t", pid=7)
    flush()
    text = (tmp_path / "elsewhere" / "a.jsonl").read_text()
    assert text == pipe.getvalue() and "s3cr3t" not in text
    assert not (tmp_path / "state").exists()


def test_none_and_no_state_write_no_file(tmp_path: Path) -> None:
    configure(LogSettings(file="none"), io.StringIO(), tmp_path)
    log.info("ready")
    configure(LogSettings(), io.StringIO())
    log.info("ready")
    flush()
    assert list(tmp_path.iterdir()) == []
    assert file_of(LogSettings(file="none"), tmp_path) is None


def test_a_relative_path_is_seen_from_the_configuration(tmp_path: Path) -> None:
    from atmand.settings import load

    (tmp_path / "c.toml").write_text('[log]\nfile = "logs/a.jsonl"\n')
    assert load(tmp_path / "c.toml").log.file == tmp_path / "logs" / "a.jsonl"
    (tmp_path / "c.toml").write_text('[log]\nfile = "none"\n')
    assert load(tmp_path / "c.toml").log.file == "none"


def test_files_are_cut_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.jsonl", limit_bytes=100, old_files=2)
    for number in range(100):
        file.write(f'{{"number": {number:02}}}\n')
    file.close()
    assert [path.name for path in older(file.path)] == ["a.jsonl.2", "a.jsonl.1"]
    kept = "".join(path.read_text() for path in (*older(file.path), file.path)).splitlines()
    numbers = [json.loads(line.replace(": 0", ": "))["number"] for line in kept]
    assert numbers == list(range(100 - len(numbers), 100))
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir()) and len(numbers) > 10
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


def test_without_old_files_the_full_one_goes(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.jsonl", limit_bytes=10, old_files=0)
    for line in ("first\n", "second\n", "third\n"):
        file.write(line)
    file.close()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.jsonl", "third\n")]


def test_a_line_above_the_limit_is_written_whole(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.jsonl", limit_bytes=10, old_files=1)
    file.write("x" * 50 + "\n")
    file.write("y\n")
    file.close()
    assert (older(file.path)[0].read_text(), file.path.read_text()) == ("x" * 50 + "\n", "y\n")


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("before\n")
    path.chmod(0o644)
    file = LogFile(path, limit_bytes=100, old_files=1)
    file.write("after\n")
    file.close()
    assert (path.read_text(), mode(path)) == ("before\nafter\n", 0o600)


def test_what_a_crash_left_torn_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"event": "half')
    file = LogFile(path, limit_bytes=100, old_files=1)
    file.write('{"event": "whole"}\n')
    file.close()
    assert path.read_text().splitlines() == ['{"event": "half', '{"event": "whole"}']


def test_reopening_takes_up_the_name_after_logrotate(tmp_path: Path) -> None:
    configure(LogSettings(), io.StringIO(), tmp_path)
    file = tmp_path / "log" / "atmand.jsonl"
    log.info("first")
    flush()
    file.rename(tmp_path / "moved")
    log.info("second")
    flush()
    assert not file.exists()
    logs.reopen()
    log.info("third")
    assert [event["event"] for event in events(file)] == ["third"]
    assert [event["event"] for event in events(tmp_path / "moved")] == ["first", "second"]


def test_a_disk_that_refuses_is_said_once_and_the_stream_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream, tmp_path)
    for _ in range(3):
        log.info("ready")
    flush()
    assert len(stream.getvalue().splitlines()) == 3
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"{tmp_path}/log/atmand.jsonl: ") and "lines of the log are lost" in told
    (tmp_path / "log").unlink()
    log.info("again")
    assert [event["event"] for event in events(tmp_path / "log" / "atmand.jsonl")] == ["again"]


def test_a_full_disk_costs_lines_and_none_after_it_has_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        file = LogFile(disk / "a.jsonl", limit_bytes=10**6, old_files=1)
        lines = [f'{{"number": {number}, "text": "{"x" * 997}"}}\n' for number in range(100)]
        for line in lines:
            file.write(line)
        (told,) = capsys.readouterr().err.splitlines()
        assert "space" in told
        os.truncate(disk / "a.jsonl", os.stat(disk / "a.jsonl").st_size - 5_000)
        file.write('{"number": -1}\n')
        file.close()
        kept = (disk / "a.jsonl").read_text().splitlines()
        assert json.loads(kept[-1])["number"] == -1
        assert [line + "\n" for line in kept[:-2]] == lines[: len(kept) - 2]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
