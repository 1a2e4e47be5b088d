"""The verbs `sweep`, `lookahead` and `why-not` over a file of bars, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_backtest import made_bars
from test_sweep import SWEPT

from atmand.__main__ import main
from atmand.errors import ExitCode


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A strategy's file and a file of bars."""
    strategy, bars = tmp_path / "probe.toml", tmp_path / "bars.csv"
    strategy.write_text(SWEPT)
    lines = ["symbol,ts,open,high,low,close,volume"]
    for symbol, rows in made_bars(25).series.items():
        for row in rows:
            stamp = np.datetime64(int(row["start_ns"]), "ns").astype("datetime64[s]")
            prices = ",".join(f"{int(row[name]) / 100:.2f}" for name in ("open", "high", "low", "close"))
            lines.append(f"{symbol},{stamp}+00:00,{prices},{int(row['volume'])}")
    bars.write_text("\n".join(lines) + "\n")
    return str(strategy), str(bars)


def test_a_sweep_is_printed_written_and_logged(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy, bars = files
    out, page = tmp_path / "sets.parquet", tmp_path / "sets.html"
    words = ["sweep", strategy, "--data", bars, "--sobol", "4", "--workers", "1", "--state", str(tmp_path / "state")]
    assert main([*words, "--out", str(out), "--html", str(page), "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["sets"] == 4 == pl.read_parquet(out).height and told["run"]["id"] == 1
    assert told["best"]["score"] == max(each["score"] for each in told["top"] if each["score"] is not None)
    assert "probe: sweep" in page.read_text()
    assert main([*words, "--random", "4"]) == ExitCode.USAGE
    assert main([*words, "--objective", "luck"]) == ExitCode.USAGE


def test_a_proof_and_a_why_not_over_bars(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    strategy, bars = files
    assert main(["lookahead", strategy, "--data", bars, "--bars", "1", "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["same"] is True and [check["kind"] for check in told["checks"]] == ["session"] * 2 + ["cut", "replaced"]
    assert main(["why-not", strategy, "NSE:AAA", "--data", bars, "--from", "2026-07-07", "--json"]) == ExitCode.DONE
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["bars"] == 25 == sum(line["what"] == "bar" for line in lines)
    assert main(["why-not", strategy, "NSE:ZZZ", "--data", bars]) == ExitCode.USAGE
    assert "it trades NSE:AAA, NSE:BBB" in capsys.readouterr().err
