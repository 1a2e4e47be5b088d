"""Five strategies make the trades that backtesting.py makes of them; docs/parity.md says what had to be made equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peers_ours import DAYS, RULES, TICK, market

from atmand.history.bars import Bars

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PYTHON = Path(os.environ.get("ATMAND_PEERS_PYTHON", REPOSITORY / ".venv-peers" / "bin" / "python"))

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        not PYTHON.exists() and os.environ.get("CI") != "true", reason="needs backtesting.py (ATMAND_PEERS_PYTHON)"
    ),
]


def run(python: Path | str, script: str, given: str = "", **environment: str) -> Any:
    """Run one of this folder's scripts; return the JSON that it prints."""
    told = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run(
        [str(python), str(HERE / script)], input=given, env=told, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(bars: Bars) -> str:
    rows = bars.series["AAA"]
    columns = {name: (rows[name] / 100).tolist() for name in ("open", "high", "low", "close")}
    return json.dumps({"start_ns": rows["start_ns"].tolist(), "volume": rows["volume"].tolist(), **columns})


def test_five_strategies_trade_the_same_bars_at_the_same_prices() -> None:
    ours = run(sys.executable, "peers_ours.py", NUMBA_DISABLE_JIT="1")
    theirs = run(PYTHON, "peers_backtesting.py", written(market()))
    assert theirs["version"] == "0.6.6"
    assert set(ours) == set(theirs["trades"]) == set(RULES)
    for name, trades in theirs["trades"].items():
        expected = []
        for entry_bar, exit_bar, units, entry, left in trades:
            half_spread = TICK if units > 0 else -TICK  # theirs trade at the open, ours at the touch round it
            prices = [round(entry * 100) + half_spread, round(left * 100) - half_spread]
            expected.append([int(entry_bar), int(exit_bar), int(units), *prices])
        assert ours[name] == expected, name
    counts = {name: len(trades) for name, trades in ours.items()}
    assert all(count >= len(DAYS) for count in counts.values()), counts
    assert all({units > 0 for _, _, units, _, _ in ours[name]} == {True, False} for name in set(ours) - {"strength"})
