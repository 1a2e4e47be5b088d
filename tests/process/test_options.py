"""A daemon that trades legs on the embedded exchange: chains found in its dump, quoted on its wire, filled on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from books_check import audit, verified
from running_daemon import FAST, ROOT, Start, write_configuration

from atmand.core.records import Kind

pytestmark = pytest.mark.process

STRADDLE = ROOT / "configs" / "strategies" / "options" / "straddle_0920.toml"


@pytest.fixture
def options(tmp_path: Path) -> Path:
    """The 09:20 straddle on the seeded market, whose week's NIFTY options end on the second day."""
    tables: dict[str, dict[str, Any]] = {
        "simulator": {"seed": 7, "historical_per_second": 1000},
        "market": {"protection_bps": 300},
        "limits": {"daily_loss_rupees": 500_000, "open_positions": 4},
        "journal": {"min_free_bytes": 0},
    }
    return write_configuration(tmp_path, {"straddle_0920": STRADDLE}, tables)


def test_a_straddle_is_sold_and_bought_back_and_its_day_replays(start: Start, options: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    daemon = start("--config", options, "--state", state, *FAST, "--port", "0")
    entries = [daemon.wait_for("order_filled", purpose="entry", times=times) for times in (1, 2)]
    assert {told["side"] for told in entries} == {"SELL"}
    kinds = {told["instrument"].split(":")[-1] for told in entries}
    strikes = {told["instrument"].split(":")[4] for told in entries}
    assert kinds == {"CE", "PE"}
    assert len(strikes) == 1
    assert all(told["instrument"].startswith("NSE:OPT:NIFTY:2026-07-07:") for told in entries)
    daemon.wait_for("trade_closed", times=2)
    assert daemon.stop() == 0

    rows = audit(state)
    fills = rows[rows["kind"] == Kind.AUDIT_FILL]
    assert set(fills["group"].tolist()) == {1}
    assert sum(fills["side"] * fills["quantity"]) == 0
    verified(state)
