"""The product on a real daemon: parameters while it trades, its API, and the same books in ledger, API and journal."""

from __future__ import annotations

import json
import random
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from books_check import folded, records, verified
from running_daemon import FAST, Daemon, Start, verb

from atmand.api.resources import check
from atmand.core.records import Kind, head_and_rows
from atmand.ledger.keeper import LEDGER, rebuild
from atmand.ledger.sqlite import read_ledger
from atmand.ledger.store import TradeFilter
from atmand.wiring import JOURNAL

pytestmark = pytest.mark.process

PORT = ("--port", "0")


def get(daemon: Daemon, state: Path, path: str) -> Any:
    """Ask a daemon's API."""
    port = json.loads((state / "runtime.json").read_text())["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.loads(answer.read())


def publish(configuration: Path, state: Path, *words: str) -> dict[str, Any]:
    """Run `atmand params set` and return what it says."""
    done = verb("params", "set", *words, "--config", configuration, "--state", state, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ledger_trades(state: Path) -> dict[str, Any]:
    store = read_ledger(state / LEDGER)
    try:
        return {trade.trade_id: trade for trade in store.trades(TradeFilter(limit=100_000))}
    finally:
        store.close()


def test_every_resource_of_a_trading_daemon_has_its_shape(start: Start, configuration: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, "--speed", "120", *PORT)
    daemon.wait_for("trade_closed")
    daemon.wait_for("order_filled", after=daemon.count())
    for name in ("status", "positions", "orders", "trades", "equity", "params"):
        answer = get(daemon, state, f"/v1/{name}")
        check(name, answer)
        assert answer["sequence"] > 0
    for name in ("live", "startup", "ready", "trading"):
        assert get(daemon, state, f"/health/{name}") == {"status": "ok", "reasons": []}
    status = get(daemon, state, "/v1/status")
    assert status["phase"] == "running"
    assert {row["name"] for row in status["strategies"]} == {"rsi_macd", "ema_trend"}
    assert all(row["waiting_for"]["long"] for row in status["strategies"])
    trade = daemon.named("trade_closed")[0]["trade_id"]
    check("trade", get(daemon, state, f"/v1/trades/{trade}"))
    said = verb("status", "--state", state, "--json")
    assert json.loads(said.stdout)["running"] is True
    assert daemon.stop() == 0
    assert not (state / "runtime.json").exists()
    assert json.loads(verb("status", "--state", state, "--json").stdout)["running"] is False


def put_whole(path: Path, document: dict[str, Any]) -> None:
    """Put a document where the daemon looks for it at once: half of one would be refused for that."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(document))
    beside.replace(path)


def test_parameters_change_by_verb_file_and_signal_while_it_trades(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, "--speed", "600", *PORT)
    daemon.wait_for("order_filled")

    by_verb = publish(configuration, state, "rsi_macd.stop_atr=1.25", "rsi_macd.rsi_period=9")
    assert by_verb["answer"]["status"] == "applied"
    told = daemon.wait_for("params_applied", seq=1)
    assert (told["changes"], told["sequence"]) == (2, by_verb["answer"]["sequence"])
    changed = {(each["parameter"], each["old"], each["new"]) for each in daemon.named("parameter_changed")}
    assert changed == {("stop_atr", 2.0, 1.25), ("rsi_period", 14.0, 9.0)}

    current = state / "params" / "current.json"
    document = json.loads(current.read_text())
    document["strategies"]["rsi_macd"]["params"]["stop_atr"] = 1.75
    put_whole(current, document)
    assert daemon.wait_for("params_applied", seq=2)["changes"] == 1

    document = json.loads(current.read_text())
    document["strategies"]["rsi_macd"]["params"]["stop_atr"] = 99
    put_whole(current, document)
    daemon.signal(signal.SIGHUP)
    assert "99 is outside 0.5 to 6" in daemon.wait_for("params_refused")["reason"]
    daemon.wait_for("reloaded")
    shown = get(daemon, state, "/v1/params")
    assert (shown["seq"], shown["source"]) == (2, "current")
    assert "99 is outside" in shown["refused"]["reason"]
    assert {row["name"]: row["value"] for row in shown["strategies"][0]["params"]}["stop_atr"] == 1.75

    back = verb("params", "rollback", "1", "--config", configuration, "--state", state, "--json")
    assert json.loads(back.stdout)["answer"]["status"] == "applied"
    daemon.wait_for("trade_closed", after=daemon.count(), times=2)
    assert daemon.stop() == 0

    seqs = [int(head_and_rows(record)[0]["document_seq"][0]) for record in records(state, Kind.PARAMS)]
    assert [seq for place, seq in enumerate(seqs) if place == 0 or seq != seqs[place - 1]] == [1, 2, 3]
    verified(state)
    # Trades know the document under which they were entered.
    assert {trade.parameter_seq for trade in ledger_trades(state).values()} <= {0, 1, 2, 3}
    assert max(trade.parameter_seq for trade in ledger_trades(state).values()) >= 1


def test_a_document_whose_daemon_was_killed_is_not_tried_again(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, *FAST, *PORT)
    daemon.wait_for("order_filled")
    publish(configuration, state, "rsi_macd.stop_atr=1.25")
    for orphan in daemon.kill():
        orphan.kill()

    again = start("--config", configuration, "--state", state, *FAST, *PORT)
    again.wait_for("params_quarantined")
    again.wait_for("ready")
    shown = get(again, state, "/v1/params")
    assert (shown["source"], shown["seq"]) == ("defaults", 0)
    assert "quarantined" in shown["refused"]["reason"]
    assert publish(configuration, state, "rsi_macd.stop_atr=1.5")["answer"]["status"] == "applied"
    assert again.stop() == 0
    verified(state)


def test_after_kills_at_random_instants_ledger_page_and_journal_agree(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state, draw = tmp_path / "state", random.Random(11)
    for _ in range(4):
        daemon = start("--config", configuration, "--state", state, *FAST, *PORT)
        daemon.wait_for("ready")
        daemon.wait_for("order_filled", after=daemon.count(), times=draw.randint(1, 12))
        time.sleep(draw.random() / 4)
        for orphan in daemon.kill():
            orphan.kill()

    daemon = start("--config", configuration, "--state", state, "--speed", "1", *PORT)
    daemon.wait_for("ready")
    trades = get(daemon, state, "/v1/trades?limit=500")["trades"]
    positions = get(daemon, state, "/v1/positions")
    engine = folded(state, until_sequence=positions["sequence"])
    pairs = engine.table("pairs")
    held = sorted(engine.layout.keys[int(pair["instrument"])] for pair in pairs[pairs["quantity"] != 0])
    assert sorted(row["instrument"] for row in positions["positions"]) == held
    assert daemon.stop() == 0

    kept = ledger_trades(state)
    assert len(kept) > 4
    assert {row["trade_id"] for row in trades} <= set(kept)
    # The ledger that was killed again and again is the one that the journal alone makes.
    rebuild(tmp_path / "again.db", state / JOURNAL)
    store = read_ledger(tmp_path / "again.db")
    try:
        assert {trade.trade_id: trade for trade in store.trades(TradeFilter(limit=100_000))} == kept
    finally:
        store.close()
    verified(state)


def test_a_ledger_that_is_damaged_locked_or_newer_stops_no_trading(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, *FAST, *PORT)
    daemon.wait_for("trade_closed")
    assert daemon.stop() == 0
    before = ledger_trades(state)

    (state / LEDGER).write_bytes(b"not a database" * 1000)
    again = start("--config", configuration, "--state", state, *FAST, *PORT)
    again.wait_for("ledger_damaged")
    again.wait_for("trade_closed", after=again.count())
    assert again.stop() == 0
    assert set(before) < set(ledger_trades(state))
    assert list(state.glob("ledger.db.damaged-*"))


def test_a_taken_port_is_one_clear_line(start: Start, configuration: Path, tmp_path: Path) -> None:
    first = start("--config", configuration, "--state", tmp_path / "one", *FAST, *PORT)
    first.wait_for("ready")
    port = json.loads((tmp_path / "one" / "runtime.json").read_text())["port"]
    second = start("--config", configuration, "--state", tmp_path / "two", "--port", str(port))
    assert second.ended() == 3
    assert f"port {port} is in use; --port 0 takes a free one" in second.errors
    assert "Traceback" not in second.errors


def test_the_demo_opens_with_a_past_that_is_marked(start: Start, configuration: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    text = configuration.read_text().replace("seed = 7", "seed = 7\npast_sessions = 3")
    configuration.write_text(text)
    daemon = start("--config", configuration, "--state", state, "--speed", "600", *PORT)
    daemon.wait_for("ready")
    past = get(daemon, state, "/v1/trades?limit=500&past=true")["trades"]
    assert past and all(trade["past"] and trade["trade_id"].startswith("p") for trade in past)
    assert get(daemon, state, "/v1/trades?limit=500&past=false")["trades"] == []
    (account,) = [row for row in get(daemon, state, "/v1/equity?points=100")["series"] if row["kind"] == "account"]
    assert {point[2] for point in account["points"]} == {1}
    daemon.wait_for("trade_closed")
    daemon.wait_for("books_marked", after=daemon.count())
    assert daemon.stop() == 0

    live = [trade for trade in ledger_trades(state).values() if not trade.past]
    assert live and all(not trade.trade_id.startswith("p") for trade in live)
    verified(state)
    # The next start goes on with the journal and makes no second past.
    again = start("--config", configuration, "--state", state, *FAST, *PORT)
    again.wait_for("session_resumed")
    again.wait_for("ready")
    assert not again.named("past_folded")
    assert again.stop() == 0
