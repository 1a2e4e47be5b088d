"""A trade's story, and the verbs that ask the ledger's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from core_market import FILES, QUICK
from ledger_market import Recorder

from atmand.__main__ import main
from atmand.errors import ExitCode
from atmand.ledger.keeper import Health, LedgerKeeper
from atmand.ledger.trades import Trade
from atmand.ledger.why import UnknownTradeError, told, why


@pytest.fixture
def trades(unbroken: LedgerKeeper) -> tuple[Trade, ...]:
    return unbroken.snapshot(Health()).trades


@pytest.fixture
def state(recorded: Recorder) -> Path:
    return recorded.journal.parent


def verb(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    told = capsys.readouterr()
    return int(code), told.out, told.err


def test_a_story_agrees_with_its_trade(state: Path, trades: tuple[Trade, ...], tmp_path: Path) -> None:
    file = tmp_path / "quick.toml"
    file.write_text(QUICK)
    for trade in trades:
        story = why(state, trade.trade_id, journal=state / "journal", files={trade.strategy: file})
        fills = [step for step in story["steps"] if step["what"] == "fill"]
        assert story["decision"]["side"] == trade.side
        assert story["decision"]["cause"] == trade.decided_cause
        assert fills[0]["key"] == trade.trade_id
        assert sum(step["quantity"] for step in fills) == 2 * trade.quantity
        assert round(sum(step["costs"] for step in fills) * 100) == trade.costs_paise
        assert {step["side"] for step in fills} == {"BUY", "SELL"}
        assert story["steps"][-1]["state"] == "filled" and story["steps"][-1]["reason"] == trade.exit_reason
        assert story["parameters"].keys() == FILES["quick"].strategy.params.keys()
        assert story["rules"]["entry.long"] == FILES["quick"].strategy.entry.long
    levels = {
        trade.parameter_seq: why(state, trade.trade_id, journal=state / "journal")["parameters"]["level"]
        for trade in trades
        if trade.strategy == "swift"
    }
    assert levels == {0: 50.0, 1: 45.0, 2: 46.0, 3: 47.0}


def test_other_rules_than_those_that_decided_are_not_shown(
    state: Path, trades: tuple[Trade, ...], tmp_path: Path
) -> None:
    file = tmp_path / "quick.toml"
    file.write_text(QUICK.replace("50000", "60000"))
    story = why(state, trades[0].trade_id, journal=state / "journal", files={trades[0].strategy: file})
    assert story["rules"] is None
    assert any("no configured file has this sha256" in line for line in told(story))


def test_an_unknown_id_names_the_newest(state: Path, trades: tuple[Trade, ...]) -> None:
    with pytest.raises(UnknownTradeError) as refused:
        why(state, "1-1", journal=state / "journal")
    assert refused.value.exit_code == ExitCode.REFUSED
    assert ", ".join(trade.trade_id for trade in trades[:5]) in str(refused.value)


def test_why_reads_like_a_story_and_prints_json(
    state: Path, trades: tuple[Trade, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = verb(capsys, "why", trades[0].trade_id, "--state", str(state))
    assert code == ExitCode.DONE
    for word in (trades[0].instrument, "Decided at", "Parameters in force", "level = ", "filled", "Ended by"):
        assert word in out
    code, out, _ = verb(capsys, "why", trades[0].trade_id, "--state", str(state), "--json")
    assert json.loads(out)["trade"] == trades[0].to_json()
    code, out, err = verb(capsys, "why", "17-9", "--state", str(state))
    assert (code, out) == (ExitCode.REFUSED, "") and "the newest are" in err


def test_trades_are_listed_and_filtered(
    state: Path, trades: tuple[Trade, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*words: str) -> list[str]:
        code, out, _ = verb(capsys, "trades", "--state", str(state), "--json", *words)
        assert code == ExitCode.DONE
        return [trade["trade_id"] for trade in json.loads(out)["trades"]]

    def ids(holds: object) -> list[str]:
        return [trade.trade_id for trade in trades if holds(trade)]  # type: ignore[operator]

    assert listed() == ids(lambda trade: True)
    assert listed("--limit", "3") == ids(lambda trade: True)[:3]
    assert listed("--strategy", "calm") == ids(lambda trade: trade.strategy == "calm")
    assert listed("--instrument", "NSE:AAA", "--past") == ids(lambda trade: trade.instrument == "NSE:EQ:AAA")
    day = 1783362600 * 10**9  # 2026-07-07, midnight in India
    assert listed("--from", "2026-07-07", "--to", "2026-07-07") == ids(
        lambda trade: day <= trade.exit_ns < day + 86_400 * 10**9
    )
    _, out, err = verb(capsys, "trades", "--state", str(state))
    assert out.splitlines()[0].split()[:2] == ["trade_id", "strategy"]
    assert trades[0].trade_id in out and f"{len(trades)} trades" in err
    assert verb(capsys, "trades", "--state", str(state), "--strategy", "none")[2] == "no such trades\n"


def test_trades_without_a_ledger_say_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = verb(capsys, "trades", "--state", str(tmp_path))
    assert (code, out) == (ExitCode.REFUSED, "")
    assert err.count("\n") == 1 and "no ledger is there yet" in err


def test_a_damaged_ledger_is_said_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database " * 400)
    code, _, err = verb(capsys, "trades", "--state", str(tmp_path))
    assert code == ExitCode.DAMAGED and "builds it anew" in err
