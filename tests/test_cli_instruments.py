"""`atmand instruments` and `atmand universe`, as a person types them."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent / "market"))

from dumps import DAY, market_dump

from atmand.__main__ import main
from atmand.errors import ExitCode
from atmand.instrument_store import FOLDER, InstrumentStore
from atmand.market.kite_dump import parse_kite_dump

OPTIONS = Path(__file__).parents[1] / "configs" / "strategies" / "options"
FUTURE = """
name = "fut"
universe = ["NFO:NIFTY:FUT:near", "INDEX:NIFTY BANK"]
[entry]
long = "close > 1"
[size]
quantity = 65
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "fut.toml").write_text(FUTURE)
    strategies = {"fut": "fut.toml", "condor": OPTIONS / "iron_condor.toml"}
    text = "[instance]\nstate = 'state'\n[accounts.paper]\n"
    for name, file in strategies.items():
        text += f"[strategies.{name}]\nfile = '{file}'\naccount = 'paper'\ncapital_rupees = 1000000\n"
    path = tmp_path / "atmand.toml"
    path.write_text(text)
    store = InstrumentStore(tmp_path / "state" / FOLDER)
    store.save(date(2026, 7, 3), parse_kite_dump(market_dump().replace(",0.05,1,EQ", ",0.10,1,EQ", 1)), keep=9)
    store.save(DAY, parse_kite_dump(market_dump()), keep=9)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main([str(word) for word in arguments]))
    said = capsys.readouterr()
    as_json = "--json" in arguments and said.out
    return int(ended.value.code or 0), json.loads(said.out) if as_json else said.out, said.err


def test_an_instrument_is_found_and_shown_with_every_fact(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows, _ = run(capsys, "instruments", "find", "nifty", "24500", "pe", "--config", config, "--json")
    assert code == ExitCode.DONE and rows[0]["key"] == "NSE:OPT:NIFTY:2026-07-07:24500:PE"

    code, (shown,), _ = run(capsys, "instruments", "show", "NFO:NIFTY:PE:24500:weekly", "--config", config, "--json")
    assert code == ExitCode.DONE
    assert {name: shown[name] for name in ("lot", "tick", "freeze", "strike", "right", "underlying", "day")} == {
        "lot": 65, "tick": 0.05, "freeze": 1800, "strike": 24500.0, "right": "put",
        "underlying": "NSE:INDEX:NIFTY 50", "day": "2026-07-06",
    }  # fmt: skip


def test_an_isin_shows_both_listings(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (share,) = run(capsys, "instruments", "show", "NSE:INFY", "--config", config, "--json")[1]
    _, both, _ = run(capsys, "instruments", "show", share["isin"], "--config", config, "--json")
    assert [(one["key"], one["sector"]) for one in both] == [("NSE:EQ:INFY", "IT"), ("BSE:EQ:INFY", "IT")]
    _, words, _ = run(capsys, "instruments", "show", share["isin"], "--config", config)
    assert words.count('isin = "') == 2


def test_what_is_not_there_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "instruments", "find", "nothing like it", "--config", config)[0] == ExitCode.DIFFERENT
    code, _, words = run(capsys, "instruments", "show", "NSE:INFI", "--config", config)
    assert code == ExitCode.REFUSED and "the nearest known one is NSE:INFY" in words
    code, _, words = run(capsys, "instruments", "find", "x", "--day", "2026-07-01", "--config", config)
    assert code == ExitCode.REFUSED and "kept are 2026-07-03, 2026-07-06" in words


def test_two_days_are_compared(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = run(capsys, "instruments", "diff", "--config", config, "--json")
    assert code == ExitCode.DIFFERENT and (found["before"], found["after"]) == ("2026-07-03", "2026-07-06")
    assert found["changed"] == [{"key": "NSE:EQ:RELIANCE", "what": "tick", "before": 10, "after": 5}]
    _, table, words = run(capsys, "instruments", "diff", "--config", config)
    assert "NSE:EQ:RELIANCE" in table and "0 added, 0 removed, 0 expired" in words
    code, _, words = run(capsys, "instruments", "diff", "--day", "2026-07-03", "--config", config)
    assert code == ExitCode.USAGE and "nothing before it; kept are 2026-07-03, 2026-07-06" in words


def test_a_universe_says_what_it_means_and_when_it_rolls(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = run(capsys, "universe", "--config", config, "--json")
    assert code == ExitCode.DONE and found["day"] == "2026-07-06"
    future, condor = found["strategies"]
    assert future["names"] == [
        {"name": "NFO:NIFTY:FUT:near", "instruments": ["NSE:FUT:NIFTY:2026-07-28"]},
        {"name": "INDEX:NIFTY BANK", "instruments": ["NSE:EQ:HDFCBANK"]},
    ]
    assert [(roll["day"], roll["to"]) for roll in future["rolls"]] == [("2026-07-29", "NSE:FUT:NIFTY:2026-08-25")]
    assert condor["chains"]["NSE:INDEX:NIFTY 50"] > 100 and condor["rolls"] == []

    _, table, words = run(capsys, "universe", "fut", "--config", config)
    assert "2026-07-29" in table and "iron_condor" not in table and "as listed on 2026-07-06" in words
    code, _, words = run(capsys, "universe", "none", "--config", config)
    assert code == ExitCode.USAGE and "known are fut, condor" in words


def test_a_dump_can_be_looked_at_before_the_daemon_ever_ran(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "instruments.csv").write_text(market_dump())
    words = ("--config", config, "--state", tmp_path / "none", "--dump", tmp_path / "instruments.csv")
    code, rows, _ = run(capsys, "instruments", "find", "sensex", *words, "--json")
    assert code == ExitCode.DONE and rows[0]["key"] == "BSE:INDEX:SENSEX"
    code, _, said = run(capsys, "instruments", "find", "sensex", "--config", config, "--state", tmp_path / "none")
    assert code == ExitCode.REFUSED and "the daemon keeps one as it starts" in said
