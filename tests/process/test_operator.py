"""Writing to a real daemon: signals, the operator's verbs, tokens without a restart, and no secret anywhere."""

from __future__ import annotations

import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from books_check import folded, records, verified
from running_daemon import Daemon, Start, verb

from atmand.api.resources import check
from atmand.core.records import Kind, Source, head_and_rows
from atmand.journal.inspect import export
from atmand.wiring import JOURNAL

pytestmark = pytest.mark.process

DECLARED = Path(__file__).parent / "declared.py"


def url(state: Path) -> str:
    return f"http://127.0.0.1:{json.loads((state / 'runtime.json').read_text())['port']}"


def post(state: Path, path: str, body: Mapping[str, Any], **headers: str) -> tuple[int, Any]:
    """Post to a daemon; returns the status and what was answered."""
    request = urllib.request.Request(url(state) + path, json.dumps(body).encode(), headers, method="POST")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def said(state: Path, *words: str, code: int = 0) -> Any:
    """Run a verb on a state directory and return its JSON."""
    done = verb(*words, "--state", state, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def begun(start: Start, configuration: Path, state: Path) -> Daemon:
    command = [sys.executable, str(DECLARED), "mood,regime", "run", "--config", str(configuration)]
    return start(command=[*command, "--state", str(state), "--speed", "120"])


def assert_said_nowhere(secrets: list[str], daemons: list[Daemon], state: Path) -> None:
    """No secret is in a log, on a screen, in the journal or in any other file that a daemon wrote."""
    for secret in secrets:
        needle = secret.removeprefix("atmand_")
        for daemon in daemons:
            assert needle not in json.dumps(daemon.events) + daemon.errors
        holding = [path for path in state.rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]
        assert holding == []
        assert not any(needle in json.dumps(record) for record in export(state / JOURNAL))


def test_signals_survive_a_kill_and_replay_and_no_token_is_kept(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    daemon = begun(start, configuration, state)
    daemon.wait_for("ready")
    assert (state / "runtime.json").stat().st_mode & 0o077 == 0
    header, body = (said(state, "token", "new", name, "--scope", "signal")["token"] for name in ("script", "chart"))
    bearer = {"Authorization": f"Bearer {header}"}
    status, first = post(state, "/v1/signals/mood", {"value": 0.5, "instrument": "NSE:INFY", "valid_s": 60}, **bearer)
    assert status == 200, first
    check("signal", first)
    status, second = post(state, "/v1/signals/regime", {"token": body, "value": True, "id": "one"})
    assert status == 200, second
    assert post(state, "/v1/signals/regime", {"token": body, "value": True, "id": "one"}) == (200, second)
    assert post(state, "/v1/signals/regime", {"token": body, "value": False, "id": "one"})[0] == 409
    status, refusal = post(state, "/v1/signals/moods", {"value": 1}, **bearer)
    assert status == 404 and "mood, regime" in refusal["error"]["remedy"]
    assert post(state, "/v1/entries/off", {}, **bearer)[0] == 403
    said(state, "token", "revoke", "script")
    assert post(state, "/v1/signals/mood", {"value": 1}, **bearer)[0] == 401
    daemon.wait_for("api_auth_failed", reason="unknown")
    # What was answered is written: a crash right behind the answer loses none of it.
    status, last = post(state, "/v1/signals/mood", {"token": body, "value": -1.5})
    daemon.kill()
    assert status == 200

    again = begun(start, configuration, state)
    again.wait_for("ready")
    assert post(state, "/v1/signals/mood", {"token": body, "value": 3})[0] == 200
    assert again.stop() == 0
    found = records(state, Kind.SIGNAL)
    assert [record.sequence for record in found][:3] == [answer["sequence"] for answer in (first, second, last)]
    assert {record.source for record in found} == {Source.API}
    rows = [head_and_rows(record)[1][0] for record in found]
    assert [(int(row["column"]), float(row["value"])) for row in rows] == [(0, 0.5), (1, 1.0), (0, -1.5), (0, 3.0)]
    engine = folded(state)
    assert engine.layout.keys[int(rows[0]["instrument"])] == "NSE:EQ:INFY"
    verified(state)
    assert_said_nowhere([header, body], [daemon, again], state)
    assert not (state / "operator.token").exists()


def test_the_operators_verbs_work_without_set_up_and_outlive_a_restart(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert "no daemon runs here" in said(state, "strategy", "pause", "rsi_macd", code=4)
    daemon = begun(start, configuration, state)
    daemon.wait_for("order_filled", purpose="entry")
    local = (state / "operator.token").read_text().strip()
    while not (held := said(state, "positions")["positions"]):
        daemon.wait_for("order_filled", after=daemon.count(), purpose="entry")
    check("books", said(state, "strategy", "pause", "rsi_macd"))
    check("entries", said(state, "entries", "off"))
    assert "known are" in said(state, "strategy", "pause", "nobody", code=2)
    assert "no open position" in said(state, "exit", "1-999", code=2)
    for position in held:
        closing = verb("exit", position["trade_id"], "--state", state)
        assert closing.returncode == 0 or "no open position" in closing.stderr
    daemon.wait_for("trade_closed", trade_id=held[0]["trade_id"])
    daemon.wait_for("command_taken", command="pause_book", sender="local", strategy="rsi_macd")
    said(state, "strategy", "resume", "rsi_macd")
    said(state, "strategy", "pause", "ema_trend")
    daemon.signal(signal.SIGKILL)
    daemon.ended()

    again = begun(start, configuration, state)
    again.wait_for("ready")
    status = said(state, "status")
    assert status["entries"] == {"allowed": False, "reason": "the operator has switched them off"}
    states = {row["name"]: row["state"] for row in status["strategies"]}
    assert states["ema_trend"] in ("paused", "in_trade", "exiting") and states["rsi_macd"] != "paused"
    assert said(state, "entries", "on")["allowed"] is True
    assert again.stop() == 0
    codes = [int(head_and_rows(record)[0]["code"][0]) for record in records(state, Kind.COMMAND) if record.source]
    assert codes[:2] == [3, 1] and codes[-1] == 2
    verified(state)
    assert_said_nowhere([local], [daemon, again], state)


def test_reload_says_what_holds_now_and_what_waits(start: Start, configuration: Path, tmp_path: Path) -> None:
    state, text = tmp_path / "state", configuration.read_text()
    daemon = start("--config", configuration, "--state", state, "--speed", "120")
    daemon.wait_for("ready")
    assert said(state, "reload")["live"] == []
    changed = text.replace("daily_loss_rupees = 500000", "daily_loss_rupees = 400000").replace("seed = 7", "seed = 8")
    configuration.write_text(changed + '\n[log]\nfile = "other.jsonl"\n[market]\nlatency_ms = [1, 2]\n')
    found = said(state, "reload")
    check("reload", found)
    assert (found["ok"], found["asked"], found["done"]) == (True, 2, 2)
    assert found["live"] == [{"path": "limits.daily_loss_rupees", "old": 500_000, "new": 400_000}]
    assert found["waiting"] == [
        {"path": "log.file", "old": "auto", "new": str(tmp_path / "other.jsonl")},
        {"path": "market.latency_ms", "old": [50, 150], "new": [1, 2]},
        {"path": "simulator.seed", "old": 7, "new": 8},
    ]
    configuration.write_text("[limits")
    refused = said(state, "reload", code=3)
    assert refused["ok"] is False and configuration.name in refused["error"]
    words = verb("reload", "--state", state)
    assert words.returncode == 3 and "refused, nothing changed" in words.stderr
    assert daemon.stop() == 0
