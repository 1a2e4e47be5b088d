"""A journal that something spoilt: found, refused, repaired on demand, and taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running_daemon import Start, verb

from atmand.errors import ExitCode
from atmand.journal.catalog import list_segments
from atmand.wiring import JOURNAL

pytestmark = pytest.mark.process


def test_damage_within_is_found_refused_repaired_and_not_decided_again(
    start: Start, configuration: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state)
    daemon.wait_for("trade_closed")
    assert daemon.stop() == 0
    file = list_segments(state / JOURNAL)[-1]
    assert not file.compressed
    data = bytearray(file.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.path.write_bytes(data)

    found = verb("journal", "inspect", "--state", state, "--json")
    assert found.returncode == ExitCode.DAMAGED
    assert [entry["file"] for entry in json.loads(found.stdout)["damaged"]] == [file.path.name]
    refused = start("--config", configuration, "--state", state)
    assert refused.ended() == ExitCode.DAMAGED
    assert "atmand journal repair --state DIR" in refused.errors and refused.errors.count("\n") == 1

    done = verb("journal", "repair", "--state", state, "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["missing"] == 1 and told["repaired"][0]["lost"].isdigit()
    assert verb("journal", "inspect", "--state", state).returncode == 0
    assert "no segment was damaged" in verb("journal", "repair", "--state", state).stderr

    again = start("--config", configuration, "--state", state)
    assert again.wait_for("recovering_repaired")["level"] == "warning"
    assert again.wait_for("session_opened")["carried"] is True
    again.wait_for("books_marked")
    assert again.stop() == 0
