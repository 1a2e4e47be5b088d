"""Sweeps: every set is its own back-test, chunks are kept and taken up again, choices are made on the past only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from test_backtest import CAPITAL, STRATEGY, made_bars

from atmand.core.opening import BookLimits
from atmand.errors import AtmandError, UsageError
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import parse_strategy
from atmand.research import backtest
from atmand.research import sweep as sweeping
from atmand.research.backtest import Backtest, run_backtest
from atmand.research.log import ResearchLog
from atmand.research.study import Conduct, Question
from atmand.research.sweep import SweepPlan, SweepRun, sweep
from atmand.research.sweep_runner import BacktestRunner, SweepRunner, fastest_runner, result_dtype
from atmand.research.walk_forward import daily_returns, read_walk, score, walk_forward

SWEPT = (
    STRATEGY.replace("ema(3)", "ema(fast)").replace("80", "top")
    + """
[params]
fast = { default = 3, range = [2, 5], step = 1, unit = "bars" }
top = { default = 80, range = [60, 90], step = 10 }
"""
)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., SweepRun]:
    file = tmp_path / "probe.toml"
    file.write_text(SWEPT)
    question = Question(strategy=file, data=lambda: made_bars(30), capital_rupees=CAPITAL // 100)
    conduct = Conduct(log=ResearchLog(tmp_path / "state"))

    def asked(**plan: Any) -> SweepRun:
        return sweep(question, conduct, SweepPlan(workers=1, **plan))

    return asked


def test_each_set_is_its_own_back_test(run: Callable[..., SweepRun]) -> None:
    found = run(grid=("fast=2:4:2", "top=60:80:20"))
    assert found.frame.select("fast", "top").rows() == [(2, 60), (2, 80), (4, 60), (4, 80)]
    file = parse_strategy(SWEPT, "probe.toml")
    for row, equity in zip(found.frame.iter_rows(named=True), found.returns, strict=True):
        values = {"fast": row["fast"], "top": row["top"]}
        plan = Backtest([Deployment(file, "backtest", values)], made_bars(30), [BookLimits(CAPITAL)])
        alone = run_backtest(plan)
        told = alone.summary()
        assert row["trades"] == told["trade_count"]
        assert all(
            row[name] == told[name] for name in ("gross_paise", "costs_paise", "net_paise", "max_drawdown_paise")
        )
        assert np.prod(1 + equity) == pytest.approx(alone.equity[-1][1] / CAPITAL)
    document = found.document(top=2)
    assert document["best"]["set"] == found.ranked["set"][0] and len(document["top"]) == 2
    assert document["deflated_sharpe"]["trials"] == 4
    assert found.recorded.entry["sets"]["count"] == 4


def planted(equities: NDArray[np.int64], die_after: int = 10**9) -> Callable[..., Any]:
    """Make a runner that gives the set number of its first parameter these equities; it is interrupted on the way."""
    ran = 0

    class Planted:
        def run(self, values: NDArray[np.float64]) -> NDArray[Any]:
            nonlocal ran
            if ran >= die_after:
                raise KeyboardInterrupt
            ran += len(values)
            rows = np.zeros(len(values), result_dtype(equities.shape[1]))
            rows["equity"] = equities[: len(values)]
            rows["net_paise"] = values[:, 1] * 100
            return rows

    @contextmanager
    def made(*_: Any) -> Iterator[SweepRunner]:
        yield Planted()

    return made


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_CHUNK", 2)


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on(run: Callable[..., SweepRun], tmp_path: Path) -> None:
    equities = np.full((2, 2), CAPITAL, np.int64)
    out = tmp_path / "found.parquet"
    first = run(grid=("fast=2:5:1",), out=out, make_runner=planted(equities, die_after=2))
    assert first.interrupted and first.frame.height == 2 and pl.read_parquet(out).height == 2
    assert "--resume goes on" in first.notes[-1]
    with pytest.raises(AtmandError, match="is of another sweep"):
        run(grid=("fast=2:5:1", "top=60:90:10"), out=out, resume=True, make_runner=planted(equities))
    second = run(grid=("fast=2:5:1",), out=out, resume=True, make_runner=planted(equities))
    assert not second.interrupted and second.frame.height == 4
    written = pl.read_parquet(out)
    assert written["set"].to_list() == [0, 1, 2, 3] and written["fast"].to_list() == [2, 3, 4, 5]
    assert not list(tmp_path.glob("*.parts"))


def test_workers_and_the_compiled_loop_give_what_back_tests_of_records_give(monkeypatch: pytest.MonkeyPatch) -> None:
    file = parse_strategy(SWEPT, "probe.toml")
    deployment = Deployment(file, "backtest")
    program = build(generate([deployment]))
    plan = Backtest([deployment], made_bars(20), [BookLimits(CAPITAL)])
    values = np.array([[2, 60], [3, 70], [4, 80], [5, 90.0]])
    rows = []
    for workers in (1, 2):
        with fastest_runner(plan, program, 2, workers) as runner:
            rows.append(runner.run(values))
    assert rows[0].tobytes() == rows[1].tobytes()
    assert len(set(rows[0]["fingerprint"])) > 1
    monkeypatch.setattr(backtest, "is_batchable", lambda manifest: False)
    by_records = BacktestRunner(plan, program, 2).run(values)
    for name in by_records.dtype.names or ():
        assert np.array_equal(by_records[name], rows[0][name]), name


def test_walking_forward_chooses_on_the_past_only() -> None:
    returns = np.array([[0.01, 0.02, -0.01, -0.02, 0.03, 0.04], [-0.01, -0.02, 0.02, 0.01, -0.03, -0.01]])
    found = walk_forward(returns, read_walk("2:2"), "net")
    assert [fold.chosen for fold in found.folds] == [0, 1]
    assert found.returns.tolist() == [-0.01, -0.02, -0.03, -0.01]
    assert [fold.rank for fold in found.folds] == [0.0, 0.0]
    assert found.net == pytest.approx(0.99 * 0.98 * 0.97 * 0.99 - 1) == pytest.approx(-found.worst_drawdown)


@pytest.mark.parametrize("word", ["60", "0:20", "a:b", "60:20:10", "1:2"])
def test_folds_that_cannot_be_stitched_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--walk-forward"):
        read_walk(word)
    with pytest.raises(UsageError, match="and there are 3"):
        walk_forward(np.zeros((1, 3)), (2, 2, 2), "net")


def test_objectives_rank_as_they_say() -> None:
    equity = np.array([[101, 103, 102], [100, 100, 100], [90, 120, 150]], np.int64) * 100
    returns = daily_returns(equity, 10_000)
    assert score(returns, "net") == pytest.approx([0.02, 0.0, 0.5])
    assert score(returns, "sharpe")[1] == -np.inf
    assert score(returns, "calmar") == pytest.approx([0.02 / (1 / 103), -np.inf, 0.5 / 0.1])
    ruined = daily_returns(np.array([[0, -5, 7]], np.int64), 10)
    assert ruined.tolist() == [[-1.0, 0.0, 0.0]]
