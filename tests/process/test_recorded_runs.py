"""A recorded run replays to the same decisions: in another process, without the compiler, after crashes."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from books_check import assert_snapshot_is_the_fold, audit, last_sequence, records, verified
from numpy.typing import NDArray
from running_daemon import FAST, UNIVERSE, Daemon, Start, write_strategy

from atmand.core.records import Kind
from atmand.core.words import OrderState
from atmand.journal.inspect import inspect
from atmand.ledger.trades import decision_digest
from atmand.wiring import JOURNAL

pytestmark = pytest.mark.process

_SECOND_NS = 10**9


def test_a_recorded_hour_replays_to_the_same_decisions_with_and_without_the_compiler(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    # Entries from the first minutes on, so that there is something to decide before 09:20.
    write_strategy(tmp_path / "strategies", "rsi_macd", UNIVERSE, entry_from="09:15")
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, *FAST)
    daemon.wait_until("10:15")
    assert daemon.stop() == 0
    recorded = audit(state)
    answer = verified(state)
    assert answer["digest"] == decision_digest(recorded)
    assert answer["compared"] == len(recorded)
    assert np.count_nonzero(recorded["kind"] == Kind.AUDIT_FILL) > 4

    slow = verified(state, "--to", "09:20", NUMBA_DISABLE_JIT="1")
    early = recorded[recorded["time_ns"] <= _nine_twenty(recorded)]
    assert slow["compared"] == len(early) > 0


def test_crashes_under_load_lose_nothing_that_was_decided(start: Start, configuration: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    chance = random.Random()
    reached, restarts = 0, []
    for _ in range(3):
        daemon = start("--config", configuration, "--state", state, *FAST)
        if reached:
            restarts.append(_assert_resumed(daemon, reached))
        daemon.wait_for("feed_subscribed")
        _wait_for_more(daemon, chance.randrange(2, 12))
        assert daemon.kill() == [], "the exchange outlived its daemon"
        reached = _end(state)
    daemon = start("--config", configuration, "--state", state, *FAST)
    restarts.append(_assert_resumed(daemon, reached))
    daemon.wait_for("books_marked")
    assert daemon.stop() == 0

    assert_snapshot_is_the_fold(state)
    verified(state)
    rows = audit(state)
    made = rows[(rows["kind"] == Kind.AUDIT_INTENT)]["order"]
    assert len(made) > 4
    assert len(np.unique(made)) == len(made)
    filled = rows[(rows["kind"] == Kind.AUDIT_ORDER) & (rows["state"] == OrderState.FILLED)]["order"]
    assert len(np.unique(filled)) == len(filled)
    assert not records(state, Kind.GAP)
    frames = records(state, Kind.FRAME)
    for sequence in restarts:
        before = max(frame.time_ns for frame in frames if frame.sequence <= sequence)
        after = min(frame.time_ns for frame in frames if frame.sequence > sequence)
        assert 0 < after - before < 10 * _SECOND_NS


def test_parameters_changed_while_running_survive_a_crash(start: Start, configuration: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, *FAST)
    daemon.wait_for("order_filled")
    text = configuration.read_text()
    configuration.write_text(text.replace("params = {  }", "params = { stop_atr = 1.25 }"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reloaded")
    _wait_for_more(daemon, 2)
    assert daemon.kill() == []
    # Back to the old values while nothing runs: the restarted daemon must not go on with what it was told before.
    configuration.write_text(text)
    daemon = start("--config", configuration, "--state", state, *FAST)
    daemon.wait_for("session_resumed")
    _wait_for_more(daemon, 2)
    assert daemon.stop() == 0
    changes = records(state, Kind.PARAMS)
    assert len(changes) == 2
    assert changes[0].body != changes[1].body
    verified(state)
    assert_snapshot_is_the_fold(state)


def _assert_resumed(daemon: Daemon, reached: int) -> int:
    recovered = daemon.wait_for("recovered")
    assert recovered["decided_again"] is True
    assert recovered["sequence"] >= reached
    assert daemon.wait_for("session_resumed")["missed"] is False
    return reached


def _wait_for_more(daemon: Daemon, number: int) -> None:
    """Wait for so many more fills."""
    daemon.wait_for("order_filled", after=daemon.count(), times=number)


def _end(state: Path) -> int:
    assert not inspect(state / JOURNAL)["damaged"]
    return last_sequence(state)


def _nine_twenty(rows: NDArray[Any]) -> int:
    day_ns = 86_400 * _SECOND_NS
    midnight = (int(rows["time_ns"][0]) + 19_800 * _SECOND_NS) // day_ns * day_ns - 19_800 * _SECOND_NS
    return midnight + (9 * 3600 + 20 * 60) * _SECOND_NS
