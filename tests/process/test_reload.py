"""SIGHUP while trading: what changes at once, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from books_check import assert_snapshot_is_the_fold, audit, folded, records, verified
from running_daemon import FAST, UNIVERSE, Daemon, Start, write_configuration

from atmand.core.engine import Engine
from atmand.core.records import Kind

pytestmark = pytest.mark.process

HOLDER = """
name = "holder"
summary = "Buys and holds until the day's end"
universe = [{universe}]
bar = "1m"
product = "MIS"

[session]
entry_from = "09:16"
entry_to = "15:00"
square_off = "15:10"

[params]
floor = {{ default = 0, range = [-1, 1], step = 1 }}

[entry]
long = "close > floor"

[exit]
long = "{leave}"

[size]
quantity = 10
"""


def _reload(daemon: Daemon, answer: str = "reloaded") -> dict[str, object]:
    seen = daemon.count()
    daemon.signal(signal.SIGHUP)
    return daemon.wait_for(answer, after=seen)


def _goes_on(daemon: Daemon) -> None:
    daemon.wait_for("books_marked", after=daemon.count())


def _assert_same_books(before: Engine, after: Engine) -> None:
    """Two engines' books differ in nothing but the record that was applied last."""
    position = {"sequence": 0, "time_ns": 0}
    assert before.books() | position == after.books() | position


def _assert_bars_and_books_untouched(state: Path, sequence: int) -> None:
    """A record changed neither bars nor books."""
    before, after = (folded(state, until_sequence=number) for number in (sequence - 1, sequence))
    _assert_same_books(before, after)
    for name in ("ring", "series", "orders"):
        np.testing.assert_array_equal(before.table(name), after.table(name))


def test_values_and_limits_and_the_log_level_change_at_once(start: Start, configuration: Path, tmp_path: Path) -> None:
    state, text = tmp_path / "state", configuration.read_text()
    daemon = start("--config", configuration, "--state", state, *FAST)
    daemon.wait_for("order_filled")
    text = text.replace("params = {  }", "params = { stop_atr = 1.25, rsi_period = 9 }", 1)
    text = text.replace("daily_loss_rupees = 500000", "daily_loss_rupees = 500000\norders_a_day = 1")
    configuration.write_text(text + '\n[log]\nlevel = "debug"\n')
    _reload(daemon)
    told = {change["path"]: (change["new"], change["live"]) for change in daemon.named("setting_changed")}
    assert told["strategies.rsi_macd.params.stop_atr"] == (1.25, True)
    assert told["limits.orders_a_day"] == (1, True)
    assert told["log.level"] == ("debug", True)
    # Refusals are told at level debug: the new limit is in force, and so is the new level.
    daemon.wait_for("entry_blocked", reason="orders_a_day")
    assert daemon.stop() == 0

    changed = records(state, Kind.PARAMS)
    assert len(changed) == 1
    _assert_bars_and_books_untouched(state, changed[0].sequence)
    assert len(records(state, Kind.LIMITS)) == 2
    verified(state)


def test_what_is_broken_is_refused_in_one_line_and_trading_goes_on(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state, text = tmp_path / "state", configuration.read_text()
    strategy = tmp_path / "strategies" / "rsi_macd.toml"
    rules = strategy.read_text()
    daemon = start("--config", configuration, "--state", state, *FAST)
    daemon.wait_for("order_filled")
    broken = {
        "[limits": configuration,
        text + "\n[limitz]\nx = 1\n": configuration,
        rules.replace('strength = "rsi(rsi_period)"', 'strength = "rsi(rsi_perid)"'): strategy,
        rules.replace("default = 45", "default = 450"): strategy,
    }
    for words, file in broken.items():
        file.write_text(words)
        refused = str(_reload(daemon, "reload_refused")["error"])
        assert file.name in refused
        assert "Traceback" not in refused
        _goes_on(daemon)
        configuration.write_text(text)
        strategy.write_text(rules)
    _reload(daemon)
    assert daemon.stop() == 0
    assert len(records(state, Kind.LIMITS)) == 2
    verified(state)


def test_five_hundred_reloads_in_a_burst_are_taken_in_turn(start: Start, configuration: Path, tmp_path: Path) -> None:
    state, text = tmp_path / "state", configuration.read_text()
    daemon = start("--config", configuration, "--state", state, *FAST)
    daemon.wait_for("order_filled")
    seen = daemon.count()
    for number in range(500):
        configuration.write_text(text.replace("params = {  }", f"params = {{ stop_atr = {1 + number / 200} }}", 1))
        daemon.signal(signal.SIGHUP)
    # A reload that read half a file was refused; the last signal finds a whole one.
    daemon.wait_for("setting_changed", after=seen, path="strategies.rsi_macd.params.stop_atr", new=1 + 499 / 200)
    daemon.wait_for("reloaded", after=seen)
    _goes_on(daemon)
    assert daemon.stop() == 0
    assert 1 <= len(daemon.named("reloaded")) <= 500
    assert "Traceback" not in daemon.errors
    verified(state)
    assert_snapshot_is_the_fold(state)


def test_a_changed_rule_is_swapped_in_without_losing_a_position(start: Start, tmp_path: Path) -> None:
    state, strategy = tmp_path / "state", tmp_path / "holder.toml"
    universe = ", ".join(f'"{key}"' for key in UNIVERSE)
    strategy.write_text(HOLDER.format(universe=universe, leave="close < floor"))
    configuration = write_configuration(tmp_path, {"holder": strategy}, {"journal": {"min_free_bytes": 0}})
    configuration.write_text(configuration.read_text().replace("params =", 'on_change = "adopt"\nparams ='))
    daemon = start("--config", configuration, "--state", state, "--speed", "60")
    daemon.wait_for("order_filled", times=len(UNIVERSE))
    strategy.write_text(HOLDER.format(universe=universe, leave="high < floor"))
    daemon.signal(signal.SIGHUP)
    assert daemon.wait_for("program_swapped")["books"] == 1
    daemon.wait_for("reloaded")
    # The market went on while the child compiled, and goes on now.
    daemon.wait_for("books_marked", after=daemon.count(), positions=len(UNIVERSE))
    assert daemon.stop() == 0

    first, second = records(state, Kind.PROGRAM)
    before, after = (folded(state, until_sequence=second.sequence - offset) for offset in (1, 0))
    assert before.table("pairs")["quantity"].tolist() == [10] * len(UNIVERSE)
    _assert_same_books(before, after)
    np.testing.assert_array_equal(before.table("series")["closed_ns"], after.table("series")["closed_ns"])
    assert first.body != second.body
    assert np.count_nonzero(audit(state)["kind"] == Kind.AUDIT_FILL) == len(UNIVERSE)
    verified(state)
    assert_snapshot_is_the_fold(state)
