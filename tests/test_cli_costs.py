"""`atmand costs`: the contract of its JSON, its table, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from atmand.__main__ import main
from atmand.errors import ExitCode

ROUND_TRIP = ["--exchange", "NSE", "--segment", "EQ_DELIVERY", "BUY:33@287.65", "SELL:33@291.20"]


def test_the_charges_of_a_round_trip_are_decimal_strings_in_rupees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["costs", "--date", "2026-08-10", *ROUND_TRIP, "--json"]) == ExitCode.DONE

    assert json.loads(capsys.readouterr().out) == {
        "brokerage": "0.0000", "stt": "19.1021", "exchange_txn": "0.586433", "sebi": "0.019102", "gst": "0.108996",
        "stamp": "1.4239", "dp": "15.34", "total": "36.58", "total_with_stt_rupee_rounded": "36.48",
    }  # fmt: skip


def test_the_table_has_a_line_a_charge(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["costs", "--date", "2026-08-10", *ROUND_TRIP]) == ExitCode.DONE

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0].split() == ["charge", "rupees"]
    assert lines[-2].split() == ["total", "36.58"]


def test_the_plan_is_the_configurations_or_the_one_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "x.toml"
    config.write_text('[market]\nbrokerage = "flat_20"\n')
    asked = ["costs", "--date", "2026-08-10", *ROUND_TRIP, "--json", "--config", str(config)]
    for more, brokerage in (([], "40.0000"), (["--brokerage", "groww"], "19.1021")):
        assert main([*asked, *more]) == ExitCode.DONE
        assert json.loads(capsys.readouterr().out)["brokerage"] == brokerage


def test_a_day_before_the_tables_needs_another_days_costs(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["costs", "--date", "2016-08-10", *ROUND_TRIP, "--json"]
    assert main(asked) == ExitCode.REFUSED
    assert "begins on 2024-10-01; name a later day" in capsys.readouterr().err

    assert main([*asked, "--costs-as-of", "2026-08-10"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert json.loads(said.out)["total"] == "36.58"
    assert said.err == "costs as of 2026-08-10\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--date", "2026-08-10", "--exchange", "MCX", "--segment", "FUT", "BUY:1@1"], 3, "MCX FUT: not in the cost"),
        (["--date", "2026-08-10", "--exchange", "NSE", "--segment", "OPTION", "BUY:1@1"], 3, "known are NSE EQ_DEL"),
        (["--date", "2026-08-10", *ROUND_TRIP, "--brokerage", "gratis"], 3, "known are zerodha, dhan"),
        (["--date", "2026-08-10", *ROUND_TRIP, "HOLD:1@1"], 2, "is not an order"),
        (["--date", "2026-08-10", *ROUND_TRIP, "BUY:1@1.005"], 2, "is not an order"),
        (["--date", "2026-08-10", *ROUND_TRIP, "BUY:0@10"], 2, "must be above 0"),
        (["--date", "soon", *ROUND_TRIP], 2, "is not a date"),
        (["--date", "2026-08-10", "--exchange", "NSE", "BUY:1@1"], 2, "--segment"),
        (ROUND_TRIP, 2, "--date"),
    ],
)
def test_what_cannot_be_reckoned_is_refused(
    words: Sequence[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["costs", *words]) == code
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
