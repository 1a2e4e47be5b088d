"""Signals to a running daemon: a clean stop, a forced one, and what is there after it."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from books_check import assert_snapshot_is_the_fold, records
from running_daemon import Start

from atmand.core.records import Command, Kind, head_and_rows
from atmand.journal.inspect import inspect, verify
from atmand.wiring import JOURNAL

pytestmark = pytest.mark.process

DRAIN_S = 10.0
"""Twice what a drain may take, for machines that do other things."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_trading_drains_and_the_next_start_goes_on(
    start: Start, configuration: Path, tmp_path: Path, number: signal.Signals
) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state)
    daemon.wait_for("order_filled")
    children = daemon.children()
    daemon.signal(number)
    assert daemon.ended(DRAIN_S) == 0
    assert daemon.errors == "", "the exchange's child has nothing to say of an end that was asked for"
    assert daemon.named("stop_asked")[0]["signal"] == number.name
    assert daemon.events[-1]["event"] == "stopped"
    assert psutil.wait_procs(children, timeout=DRAIN_S)[1] == []

    found = inspect(state / JOURNAL)
    assert found["written"] == daemon.events[-1]["sequence"]
    assert found["tail"] is None
    assert verify(state / JOURNAL) == []
    last = head_and_rows(records(state, Kind.COMMAND)[-1])[0]
    assert int(last["code"][0]) == Command.ENTRIES_OFF
    assert_snapshot_is_the_fold(state)

    again = start("--config", configuration, "--state", state)
    assert again.wait_for("session_resumed")["missed"] is False
    assert not again.named("journal_tail_was_cut")
    again.wait_for("books_marked", after=again.count())
    again.wait_for("entry_decided")
    assert again.stop() == 0


def test_a_second_signal_ends_at_once(start: Start, configuration: Path, tmp_path: Path) -> None:
    daemon = start("--config", configuration, "--state", tmp_path / "state")
    daemon.wait_for("order_filled")
    children = daemon.children()
    # Both wait while the process is stopped, so that no drain can be quicker than the second one.
    daemon.signal(signal.SIGSTOP)
    daemon.signal(signal.SIGINT)
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)
    assert daemon.ended(DRAIN_S) == 130
    assert daemon.named("stop_forced") and not daemon.named("stopped")
    assert psutil.wait_procs(children, timeout=DRAIN_S)[1] == []


def test_a_stop_during_the_start_is_obeyed(start: Start, configuration: Path, tmp_path: Path) -> None:
    daemon = start("--config", configuration, "--state", tmp_path / "state")
    daemon.wait_for("compiling")
    daemon.signal(signal.SIGTERM)
    assert daemon.ended(DRAIN_S) == 0
    assert "Traceback" not in daemon.errors
    assert not daemon.named("ready")
    assert daemon.events[-1]["event"] == "stopped"
    assert verify(tmp_path / "state" / JOURNAL) == []


def test_a_daemon_that_was_told_how_long_ends_by_itself(start: Start, configuration: Path, tmp_path: Path) -> None:
    daemon = start("--config", configuration, "--state", tmp_path / "state", "--for", "2s")
    daemon.wait_for("ready")
    assert daemon.ended() == 0
    assert not daemon.named("stop_asked")
    assert daemon.events[-1]["event"] == "stopped"
