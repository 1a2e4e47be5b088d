"""Bad surroundings: what is refused, in one line and with which exit code; and what a daemon weighs."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import psutil
import pytest
from books_check import records, verified
from running_daemon import FAST, ROOT, UNIVERSE, Start, atmand, write_configuration, write_strategy

from atmand.core.records import Command, Kind, head_and_rows
from atmand.errors import ExitCode

pytestmark = pytest.mark.process

_MEMORY_LIMIT = 285_000_000
_HEAVY = ("torch", "pandas", "polars", "plotly", "alembic", "matplotlib")
_BARE = "import sys; sys.modules.update(scipy=None, cffi=None, coverage=None)"
"""numba takes these where they are installed: the tests' own libraries bring them, the daemon's do not."""


def _refused(code: int, errors: str, expected: ExitCode, *words: str) -> None:
    line = errors.strip()
    assert code == expected, errors
    assert "\n" not in line, errors
    for word in words:
        assert word in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB of memory; making one needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True)
    if made.returncode != 0:
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_second_daemon_on_the_same_state_names_the_first_one(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    first = start("--config", configuration, "--state", tmp_path / "state", "--speed", "10")
    first.wait_for("ready")
    second = start("--config", configuration, "--state", tmp_path / "state")
    _refused(second.ended(), second.errors, ExitCode.UNSAFE, str(first.pid), "state")
    first.wait_for("feed_subscribed")
    assert first.stop() == 0


def test_a_state_directory_that_cannot_be_made_is_one_clear_line(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    # Under a file there is no directory, whoever runs the test.
    (tmp_path / "file").write_text("")
    daemon = start("--config", configuration, "--state", tmp_path / "file" / "state")
    _refused(daemon.ended(), daemon.errors, ExitCode.REFUSED, str(tmp_path / "file"), "--state")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [("\n[limitz]\n", "limits"), ("\n[simulator]\nseed = 'x'\n", "simulator"), ("\n[simul", "atmand.toml")],
)
def test_a_broken_configuration_is_one_clear_line(start: Start, tmp_path: Path, words: str, complaint: str) -> None:
    file = write_strategy(tmp_path / "strategies", "rsi_macd", UNIVERSE)
    configuration = write_configuration(tmp_path, {"rsi_macd": file}, {})
    configuration.write_text(configuration.read_text() + words)
    daemon = start("--config", configuration, "--state", tmp_path / "state")
    _refused(daemon.ended(), daemon.errors, ExitCode.REFUSED, str(configuration), complaint)


def test_a_missing_strategy_file_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    configuration = write_configuration(tmp_path, {"gone": tmp_path / "gone.toml"}, {})
    daemon = start("--config", configuration, "--state", tmp_path / "state")
    _refused(daemon.ended(), daemon.errors, ExitCode.REFUSED, "gone.toml", "strategies.gone.file")


def test_a_journal_ahead_of_the_market_is_refused(start: Start, configuration: Path, tmp_path: Path) -> None:
    state, bars = tmp_path / "state", tmp_path / "bars.parquet"
    daemon = start("--config", configuration, "--state", state, "--speed", "10")
    daemon.wait_for("feed_subscribed")
    assert daemon.stop() == 0
    opening = datetime.fromisoformat("2016-08-16T09:15:00+05:30")
    rows = [
        {"symbol": symbol, "ts": opening + timedelta(minutes=minute), "volume": 100}
        | dict.fromkeys(("open", "high", "low", "close"), 100.0)
        for symbol in ("TCS", "INFY")
        for minute in range(9)
    ]
    pl.DataFrame(rows).with_columns(pl.col("ts").dt.convert_time_zone("Asia/Kolkata")).write_parquet(bars)
    older = start("--config", configuration, "--state", state, "--bars", bars, ATMAND_MARKET__COSTS_AS_OF="2026-07-06")
    assert older.ended() == ExitCode.REFUSED
    assert "ahead of this market's time" in older.errors
    verified(state)


def test_a_full_disk_stops_entries_and_not_the_daemon(start: Start, configuration: Path, small_disk: Path) -> None:
    text = configuration.read_text()
    configuration.write_text(text.replace("min_free_bytes = 0", "min_free_bytes = 8000000\nmemory_bytes = 16777216"))
    state = small_disk / "state"
    daemon = start("--config", configuration, "--state", state, "--speed", "60")
    daemon.wait_for("feed_subscribed")
    rest = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(max(0, rest - 4_000_000)))
    daemon.wait_for("entries_held")
    held = daemon.count()
    # Now it is full to the last byte: what cannot be written waits in memory.
    with ballast.open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            full = True
    assert full
    daemon.wait_for("journal_failed")
    ballast.unlink()
    daemon.wait_for("entries_released", after=held)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.errors
    assert not [told for told in daemon.events[held:] if told["event"] == "traceback"]
    commands = [int(head_and_rows(record)[0]["code"][0]) for record in records(state, Kind.COMMAND)]
    assert commands[0] == Command.ENTRIES_OFF
    verified(state)


def test_the_daemon_imports_nothing_heavy() -> None:
    code = f"{_BARE}; import atmand.daemon; print([name for name in {_HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_daemon_with_a_hundred_instruments_stays_small(start: Start, tmp_path: Path) -> None:
    exchange = start(command=atmand("sim", "--speed", "1"))
    listed = _shares(exchange.wait_for("sim_ready"))
    exchange.stop()
    assert len(listed) == 100
    strategies = {"rsi_macd": write_strategy(tmp_path / "strategies", "rsi_macd", listed)}
    tables = {"simulator": {"historical_per_second": 1000}, "journal": {"min_free_bytes": 0}}
    configuration = write_configuration(tmp_path, strategies, tables)
    code = f"{_BARE}; from atmand.__main__ import main; sys.exit(main())"
    words = ["run", "--config", str(configuration), "--state", str(tmp_path / "state"), *FAST]
    daemon = start(command=[sys.executable, "-c", code, *words])
    assert daemon.wait_for("session_opened")["instruments"] == 100
    daemon.wait_for("order_filled")
    memory = psutil.Process(daemon.pid).memory_info().rss
    mapped = {Path(region.path).name for region in psutil.Process(daemon.pid).memory_maps()}
    assert daemon.stop() == 0
    print(f"{memory / 1e6:.0f} MB")
    assert memory < _MEMORY_LIMIT
    assert not [name for name in mapped if name.startswith(("libtorch", "polars", "_polars"))]


def _shares(ready: dict[str, object]) -> list[str]:
    """Read the exchange's own list of instruments: its shares."""
    token = f"token {ready['api_key']}:{ready['access_token']}"
    request = urllib.request.Request(f"http://127.0.0.1:{ready['port']}/instruments", headers={"Authorization": token})
    with urllib.request.urlopen(request, timeout=30) as answer:
        head, *lines = gzip.decompress(answer.read()).decode().splitlines()
    at = {name: place for place, name in enumerate(head.split(","))}
    rows = [line.split(",") for line in lines]
    return [f"{row[at['exchange']]}:{row[at['tradingsymbol']]}" for row in rows if row[at["segment"]] in ("NSE", "BSE")]
