"""`atmand backtest` and `atmand research`: what is printed, written and refused."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import polars as pl
import pytest
from test_notebook import STRATEGY, bars_file

from atmand.__main__ import main
from atmand.cli_progress import progress
from atmand.errors import ExitCode


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A back-test's words; its state lies in the test's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "probe.toml").write_text(STRATEGY)
    return ["backtest", str(tmp_path / "probe.toml"), "--data", str(bars_file(tmp_path)), "--capital", "50000"]


def test_a_back_test_prints_one_document_and_writes_its_files(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: str(tmp_path / name) for name in ("trades.parquet", "equity.parquet", "page.html")}
    options = ["--out", files["trades.parquet"], "--equity", files["equity.parquet"], "--html", files["page.html"]]
    assert main([*words, *options, "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["trade_count"] == len(told["trades"]) >= 2
    assert told["capital_paise"] == 5_000_000 and told["run"]["id"] == 1
    assert pl.read_parquet(files["trades.parquet"])["net_paise"].sum() == told["net_paise"]
    assert pl.read_parquet(files["equity.parquet"]).columns == ["time", "equity_paise", "drawdown"]
    assert "Plotly" in Path(files["page.html"]).read_text("utf-8")
    assert main(words) == ExitCode.DONE
    assert "figures.sharpe = " in capsys.readouterr().out


def test_a_terminal_gets_tables(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(words) == ExitCode.DONE
    printed = capsys.readouterr()
    assert "buy and hold" in printed.out and "net at 2 times" in printed.out and "brokerage" in printed.out
    assert "run 1 of the research log" in printed.err


def test_the_log_is_listed_and_a_run_shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["research", "list"]) == ExitCode.DONE
    assert capsys.readouterr().err == "no run is recorded\n"
    assert main([*words, "--json"]) == ExitCode.DONE
    run = json.loads(capsys.readouterr().out)
    assert main(["research", "list", "--json", "--strategy", "probe"]) == ExitCode.DONE
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["sha256"] == run["run"]["sha256"]
    assert main(["research", "list", "--strategy", "another", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out) == []
    assert main(["research", "list"]) == ExitCode.DONE
    assert "probe" in capsys.readouterr().out
    assert main(["research", "show", "1"]) == ExitCode.DONE
    assert 'strategy = "probe"' in capsys.readouterr().out
    assert main(["research", "show", "2"]) == ExitCode.REFUSED


def test_a_configured_hold_out_is_refused_with_5_and_its_burn_is_told(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = tmp_path / "c.toml"
    configuration.write_text("[research]\nholdout_from = 2026-07-06\n")
    held = [*words, "--config", str(configuration)]
    assert main(held) == ExitCode.UNSAFE
    assert "--burn-holdout" in capsys.readouterr().err
    assert main([*held, "--burn-holdout", "last look"]) == ExitCode.DONE
    assert main(held) == ExitCode.DONE
    assert 'burnt: "last look"' in capsys.readouterr().err
    assert main([*words, "--holdout-from", "2026-07-07"]) == ExitCode.DONE


@pytest.mark.parametrize("option", ["--out", "--equity", "--html"])
def test_a_file_that_could_not_be_written_is_refused_before_the_run(words: list[str], option: str) -> None:
    assert main([*words, option, "/none/at/all"]) == ExitCode.USAGE
    assert not list(Path(words[1]).parent.glob("state/**/log.jsonl"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience", "shown"), [(0.0, True), (3_600.0, False)])
def test_progress_is_shown_where_it_takes_its_time(
    patience: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("atmand.cli_progress._PATIENCE_S", patience)
    monkeypatch.setenv("TERM", "xterm")
    with progress("back-test") as moved:
        moved(1, 4)
        moved(3, 4)
    assert ("back-test" in terminal.getvalue()) == shown
