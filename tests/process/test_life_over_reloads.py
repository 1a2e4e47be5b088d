"""A strategy's life while a daemon trades: run-off over a restart, removal, and instruments that join."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from books_check import assert_snapshot_is_the_fold, audit, folded, records, verified
from running_daemon import FAST, UNIVERSE, Daemon, Start, write_configuration
from test_reload import HOLDER

from atmand.core.records import Kind
from atmand.core.words import Purpose

pytestmark = pytest.mark.process

TABLES = {"journal": {"min_free_bytes": 0}}


def _holder(folder: Path, name: str, keys: tuple[str, ...], leave: str = "close < floor") -> Path:
    path = folder / f"{name}.toml"
    universe = ", ".join(f'"{key}"' for key in keys)
    path.write_text(HOLDER.format(universe=universe, leave=leave).replace('"holder"', f'"{name}"'))
    return path


def _cash_adds_up(state: Path) -> None:
    engine = folded(state)
    assert engine.table("books")["cash_paise"].sum() == engine.table("accounts")["cash_paise"].sum()


def _reload(daemon: Daemon) -> None:
    seen = daemon.count()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reloaded", after=seen)


def test_a_changed_strategys_positions_run_off_under_their_old_rules_over_a_restart(
    start: Start, tmp_path: Path
) -> None:
    state, keys = tmp_path / "state", UNIVERSE[:2]
    strategy = _holder(tmp_path, "holder", keys)
    configuration = write_configuration(tmp_path, {"holder": strategy}, TABLES)
    words = ("--config", configuration, "--state", state)
    daemon = start(*words, "--speed", "60")
    daemon.wait_for("order_filled", times=len(keys))
    daemon.wait_for("strategy_state", strategy="holder", state="active")
    _holder(tmp_path, "holder", keys, leave="high < floor")
    _reload(daemon)
    begun = daemon.wait_for("run_off_begun")
    assert (begun["strategy"], begun["origin"], begun["reason"]) == ("holder~1", "holder", "changed")
    daemon.wait_for("strategy_state", strategy="holder~1", state="run_off")
    assert daemon.stop() == 0
    before = folded(state)
    assert [plan.strategy for plan in before.layout.manifest.books] == ["holder", "holder~1"]

    again = start(*words, *FAST)
    again.wait_for("session_resumed")
    again.wait_for("run_off_ended", strategy="holder~1")
    again.wait_for("strategy_state", strategy="holder~1", state="removed")
    assert again.stop() == 0
    exits = audit(state)
    exits = exits[(exits["kind"] == Kind.AUDIT_FILL) & (exits["state"] == Purpose.EXIT)]
    assert exits["book"].tolist().count(1) == len(keys)
    verified(state)
    assert_snapshot_is_the_fold(state)
    _cash_adds_up(state)


def test_a_removed_strategy_is_flattened_and_another_brings_new_instruments_along(start: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first, second = _holder(tmp_path, "first", UNIVERSE[:1]), _holder(tmp_path, "second", UNIVERSE[1:2])
    configuration = write_configuration(tmp_path, {"first": first}, TABLES)
    daemon = start("--config", configuration, "--state", state, "--speed", "60")
    daemon.wait_for("order_filled")
    text = write_configuration(tmp_path, {"second": second}, TABLES).read_text()
    old = f'[strategies.first]\nfile = "{first}"\naccount = "paper"\ncapital_rupees = 1\nenabled = false\n'
    configuration.write_text(text + old + 'on_change = "flatten"\n')
    _reload(daemon)
    assert daemon.wait_for("run_off_begun")["flatten"]
    daemon.wait_for("order_filled", strategy="first~1", purpose="exit", reason="command")
    daemon.wait_for("order_filled", strategy="second")
    daemon.wait_for("run_off_ended", strategy="first~1")
    assert daemon.stop() == 0
    engine = folded(state)
    assert [plan.strategy for plan in engine.layout.manifest.books] == ["second"]
    assert len(records(state, Kind.INSTRUMENTS)) == 3
    assert np.count_nonzero(engine.table("pairs")["quantity"]) == 1
    verified(state)
    assert_snapshot_is_the_fold(state)
    _cash_adds_up(state)
