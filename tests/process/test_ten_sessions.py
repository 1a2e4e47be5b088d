"""Ten sessions of a daemon in one run: a holiday, new dumps, deliveries, a roll, an expiry and a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from books_check import audit, folded, verified
from running_daemon import FAST, Start, write_configuration

from atmand.core.records import Kind
from atmand.history.actions import ACTIONS

pytestmark = pytest.mark.process

SESSIONS = ("22", "23", "24", "25", "29", "30", "01", "02", "03", "06")
"""Of June and July 2026: Friday 26 June is Muharram."""
RULES = """name = "{name}"
universe = ["{universe}"]
[trade]
product = "{product}"
[entry]
long = "{entry}"
[size]
quantity = {quantity}
"""
SPLIT = '[[action]]\nkind = "split"\ninstrument = "NSE:EQ:RELIANCE"\nex_date = 2026-07-01\nratio = "5:1"\n'


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Shares and NIFTY's nearest future, each bought at the first chance and never sold by a rule."""
    held = {
        "shares": {"universe": "NSE:RELIANCE", "product": "CNC", "quantity": 10, "entry": "trades_today < 1"},
        "future": {"universe": "NFO:NIFTY:FUT:near", "product": "NRML", "quantity": 65, "entry": "trades_today < 1"},
    }
    files = {name: tmp_path / f"{name}.toml" for name in held}
    for name, fields in held.items():
        files[name].write_text(RULES.format(name=name, **fields))
    tables: dict[str, dict[str, Any]] = {
        "simulator": {
            "seed": 7,
            "start": "2026-06-22T09:15:00+05:30",
            "historical_per_second": 1000,
        },
        "[simulator.corporate_actions]": {"symbol": "RELIANCE", "ex_date": "2026-07-01", "kind": "split", "new": 5},
        "limits": {
            "daily_loss_rupees": 5_000_000,
            "position_value_rupees": 5_000_000,
            "order_value_rupees": 5_000_000,
            "open_positions": 4,
        },
        "journal": {"min_free_bytes": 0},
    }
    (tmp_path / "state" / "history").mkdir(parents=True)
    (tmp_path / "state" / "history" / ACTIONS).write_text(SPLIT)
    return write_configuration(tmp_path, files, tables, 5_000_000)


def test_positions_go_through_everything_that_nights_do(start: Start, configuration: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, *FAST)
    for number in range(1, len(SESSIONS) + 1):
        daemon.wait_for("session_opened", times=number)
    daemon.wait_for("books_marked", after=len(daemon.events))
    assert daemon.stop() == 0

    opened = [told["day"] for told in daemon.named("session_opened")][: len(SESSIONS)]
    assert [day[-2:] for day in opened] == list(SESSIONS)
    refreshed = {told["day"]: told for told in daemon.named("instruments_refreshed")}
    assert set(opened[1:]) <= set(refreshed)
    assert refreshed["2026-07-01"]["expired"] > 0
    assert refreshed["2026-07-01"]["in_use"] == ["NSE:EQ:RELIANCE: tick 10 to 5"]

    fills = [
        (told["strategy"], told["instrument"], told["side"], told["quantity"], told["reason"], told["market_time"][:10])
        for told in daemon.named("order_filled")
    ]
    june, july = "NSE:FUT:NIFTY:2026-06-30", "NSE:FUT:NIFTY:2026-07-28"
    assert sorted(fills, key=lambda fill: (fill[-1], fill[0])) == [
        ("future", june, "BUY", 65, "rule", "2026-06-22"),
        ("shares", "NSE:EQ:RELIANCE", "BUY", 10, "rule", "2026-06-22"),
        ("future", june, "SELL", 65, "expiry", "2026-06-30"),
        ("future", july, "BUY", 65, "rule", "2026-07-01"),
    ]
    (roll, *again) = daemon.named("roll_due")
    assert (roll["was"], roll["to"], roll["day"]) == (june, july, "2026-07-01") and again
    (action,) = daemon.named("corporate_action")
    assert (action["instrument"], action["day"], action["new"]) == ("NSE:EQ:RELIANCE", "2026-07-01", 5)

    pairs = {row["instrument"]: row for row in folded(state).books()["pairs"] if row["quantity"]}
    assert {key: row["quantity"] for key, row in pairs.items()} == {"NSE:EQ:RELIANCE": 50, july: 65}
    assert pairs["NSE:EQ:RELIANCE"]["holding"] == 50
    assert sum(audit(state)["kind"] == Kind.AUDIT_FILL) == len(fills)
    verified(state)
