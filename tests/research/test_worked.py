"""The worked strategies, run as they ship: each of them trades on the simulator's market.

They run in one program with the compiler off, over two sessions of six shares: compiling all of them takes minutes.
With ATMAND_EXHAUSTIVE=1 they are compiled as well and decide the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from atmand.cli_history import simulated_bars
from atmand.core.opening import BookLimits
from atmand.history.bars import Bars
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import load_strategy
from atmand.research.backtest import Backtest, Result, run_backtest

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "configs" / "strategies"
SHARES = ("RELIANCE", "TCS", "INFY", "HDFCBANK", "ICICIBANK", "SBIN")
FILES = sorted(FOLDER.glob("*.toml"))


def result() -> Result:
    """Trade all of them side by side, each with its own capital."""
    everything = simulated_bars(date(2026, 6, 29), date(2026, 6, 30))
    bars = Bars("simulated", SHARES, {name: everything.series[name] for name in SHARES})
    deployments = [Deployment(load_strategy(path), account=path.stem) for path in FILES]
    limits = [BookLimits(100_000_000)] * len(deployments)
    return run_backtest(Backtest(deployments, bars, limits), build(generate(deployments)))


def told(done: Result) -> dict[str, object]:
    return {"digest": done.digest, "traded": sorted({trade.strategy for trade in done.trades})}


@pytest.fixture(scope="module")
def interpreted() -> dict[str, object]:
    script = "import json; from test_worked import result, told; print(json.dumps(told(result())))"
    path = os.pathsep.join(map(str, [HERE.parents[1], HERE]))
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_worked_strategy_trades(interpreted: dict[str, object]) -> None:
    assert interpreted["traded"] == sorted(load_strategy(path).strategy.name for path in FILES)


@pytest.mark.skipif(os.environ.get("ATMAND_EXHAUSTIVE") != "1", reason="compiles for minutes (ATMAND_EXHAUSTIVE=1)")
def test_compiled_they_decide_the_same(interpreted: dict[str, object]) -> None:
    assert told(result()) == interpreted
