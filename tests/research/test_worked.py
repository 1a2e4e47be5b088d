"""The worked strategies, run as they ship: each of them trades on the simulator's market."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from atmand.cli_history import simulated_bars
from atmand.core.opening import BookLimits
from atmand.history.bars import Bars
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import load_strategy
from atmand.research.backtest import Backtest, run_backtest

FOLDER = Path(__file__).parents[2] / "configs" / "strategies"
SHARES = ("RELIANCE", "TCS", "INFY", "HDFCBANK", "ICICIBANK", "SBIN")


def test_every_worked_strategy_trades() -> None:
    everything = simulated_bars(date(2026, 6, 29), date(2026, 7, 3))
    bars = Bars("simulated", SHARES, {name: everything.series[name] for name in SHARES})
    deployments = [Deployment(load_strategy(path)) for path in sorted(FOLDER.glob("*.toml"))]
    limits = [BookLimits(100_000_000)] * len(deployments)
    result = run_backtest(Backtest(deployments, bars, limits), build(generate(deployments)))
    traded = {trade.strategy for trade in result.trades}
    assert traded == {deployment.book for deployment in deployments}
    assert result.sessions == 5
