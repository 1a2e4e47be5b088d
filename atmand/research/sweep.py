"""A sweep: many parameter sets over the same bars, streamed, and what the best of them is worth after so many trials.

The verb `sweep` prints it, a notebook holds it (`atmand.sweep`). Sets are run in chunks; what is done is kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from atmand.core.manifest import Program
from atmand.errors import UsageError
from atmand.ledger.statistics import SESSIONS_A_YEAR
from atmand.research.backtest import Backtest
from atmand.research.bar_driver import days_of
from atmand.research.parameter_sets import ParameterSets, axes_of, grid_sets, read_axis, spread_sets
from atmand.research.selection import Deflated, Overfitting, Trials, deflated_sharpe, overfitting
from atmand.research.study import Conduct, Question, Recorded, Study, open_study, record
from atmand.research.sweep_runner import SweepRunner, fastest_runner
from atmand.research.sweep_store import SweepStore, frame_of
from atmand.research.walk_forward import Objective, WalkForward, daily_returns, read_walk, score, walk_forward

__all__ = ["SweepPlan", "SweepRun", "sweep"]

_CHUNK: Final = 128
_MOST_CELLS: Final = 1 << 23
"""Of sets times sessions whose daily equity is held: 64 MiB, and as much again for the returns."""
_BLOCKS: Final = 10
_MOST_OF_OVERFITTING: Final = 2_000
"""Sets that enter the cross-validation: evenly chosen where there are more."""

MakeRunner = Callable[[Backtest, Program, int, int], AbstractContextManager[SweepRunner]]


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """How to sweep. `grid` holds words such as `rsi_period=5:30:5`; with `n` the sets are spread, not a grid."""

    grid: tuple[str, ...] = ()
    n: int | None = None
    is_sobol: bool = False
    seed: int = 1
    walk: str | None = None
    objective: Objective = "sharpe"
    out: Path | None = None
    resume: bool = False
    workers: int = 0
    make_runner: MakeRunner = field(default=fastest_runner)


@dataclass(frozen=True, eq=False)
class SweepRun:
    """A sweep and what is said of it. `frame` has a row a set, in their order, with its parameters and totals."""

    study: Study
    plan: SweepPlan
    sets: ParameterSets
    frame: pl.DataFrame
    returns: NDArray[np.float64]
    """Daily returns (sets, sessions)."""
    walk: WalkForward | None
    deflated: Deflated
    overfitting: Overfitting | None
    recorded: Recorded
    interrupted: bool

    @property
    def ranked(self) -> pl.DataFrame:
        """The sets, the best by the objective first; equal ones in their order."""
        return self.frame.sort(["score", "set"], descending=[True, False], nulls_last=True)

    @property
    def notes(self) -> list[str]:
        """What a reader has to know, in sentences."""
        holdout, whole = self.study.holdout, len(self.sets.values)
        notes = [*self.study.bars.notes, *([] if holdout is None else [holdout.note])]
        if self.interrupted:
            notes.append(f"interrupted: {self.frame.height:,} of {whole:,} sets are done; --resume goes on")
        return notes

    def document(self, top: int = 20) -> dict[str, Any]:
        """Return everything but the sets past `top` as JSON."""
        entry = self.recorded.entry
        best = self.ranked.row(0, named=True)
        return {
            "notes": self.notes,
            "strategy": self.study.strategy,
            "data": self.study.data.to_json(),
            "how": self.sets.how,
            "varied": list(self.sets.varied),
            "sets": self.frame.height,
            "of": len(self.sets.values),
            "sessions": self.returns.shape[1],
            "objective": self.plan.objective,
            "best": {**best, "params": {name: best[name] for name in self.sets.names}},
            "top": self.ranked.head(top).to_dicts(),
            "walk_forward": None if self.walk is None else self.walk_json(),
            "deflated_sharpe": {**self.deflated.to_json(), "earlier_runs": self.recorded.earlier},
            "overfitting": None if self.overfitting is None else self.overfitting.to_json(),
            "run": {"id": entry["id"], "sha256": entry["sha256"]},
        }

    def walk_json(self) -> dict[str, Any]:
        """Return the folds, and the stitched result out of sample."""
        assert self.walk is not None
        days = self.days()
        folds = [
            {
                "train": [days[fold.train.start], days[fold.train.stop - 1]],
                "test": [days[fold.test.start], days[fold.test.stop - 1]],
                "set": fold.chosen,
                "params": {name: float(self.sets.values[fold.chosen, at]) for at, name in enumerate(self.sets.names)},
                "train_score": fold.train_score,
                "test_score": fold.test_score,
                "rank": fold.rank,
            }
            for fold in self.walk.folds
        ]
        return {
            "folds": folds,
            "out_of_sample": {
                "sessions": len(self.walk.returns),
                "score": self.walk.score,
                "net": self.walk.net,
                "worst_drawdown": self.walk.worst_drawdown,
                "equity": np.cumprod(1 + self.walk.returns).tolist(),
            },
        }

    def days(self) -> list[str]:
        return [day.isoformat() for day, _ in days_of(_times(self.study))]

    def html(self, path: str | Path) -> Path:
        """Write one page that needs nothing else: the best sets, a map of the parameters, the walk forward."""
        from atmand.research.sweep_page import write_sweep

        return write_sweep(self, Path(path))


def sweep(
    question: Question, conduct: Conduct, plan: SweepPlan, progress: Callable[[int, int], None] | None = None
) -> SweepRun:
    """Run a sweep and record it; Ctrl-C ends it early and what was done counts.

    UsageError where the sets cannot be made, AtmandError where the bars or the strategy do not fit.
    """
    walk = None if plan.walk is None else read_walk(plan.walk)
    study = open_study(question, conduct)
    sets = _sets(study, plan)
    sessions = len(list(days_of(_times(study))))
    if len(sets.values) * sessions > _MOST_CELLS:
        what = f"{len(sets.values):,} sets of {sessions} sessions"
        remedy = f"ask for at most {_MOST_CELLS // sessions:,} sets"
        raise UsageError("sweep", f"{what} are more than memory is kept for", remedy)
    results, interrupted = _run(study, sets, plan, sessions, progress or (lambda done, whole: None))
    values = sets.values[: len(results)]
    returns = daily_returns(results["equity"], question.capital_paise)
    scores = score(returns, plan.objective)
    frame = frame_of(0, sets.names, values, results).with_columns(
        score=pl.Series(np.where(np.isfinite(scores), scores, np.nan)).fill_nan(None)
    )
    sharpes = score(returns, "sharpe") / math.sqrt(SESSIONS_A_YEAR)
    best = int(scores.argmax())
    recorded = record(
        study,
        conduct,
        "sweep",
        trials=Trials.of(np.where(np.isfinite(sharpes), sharpes, 0.0).tolist()),
        figures={"set": best, "net_paise": int(results["net_paise"][best]), "trades": int(results["trades"][best])},
        sets={"how": sets.how, "count": len(values), "sha256": hashlib.sha256(values.tobytes()).hexdigest()},
        digest=hashlib.sha256(results["fingerprint"].tobytes()).hexdigest(),
    )
    return SweepRun(
        study=study,
        plan=plan,
        sets=sets,
        frame=frame,
        returns=returns,
        walk=None if walk is None else walk_forward(returns, walk, plan.objective),
        deflated=deflated_sharpe(returns[best], recorded.trials),
        overfitting=_overfitting(returns),
        recorded=recorded,
        interrupted=interrupted,
    )


def _sets(study: Study, plan: SweepPlan) -> ParameterSets:
    params, fixed = study.file.strategy.params, study.question.params
    axes = axes_of(params, [read_axis(word) for word in plan.grid], fixed)
    if plan.n is None:
        return grid_sets(params, axes, fixed)
    return spread_sets(params, axes, fixed, n=plan.n, is_sobol=plan.is_sobol, seed=plan.seed)


def _run(
    study: Study, sets: ParameterSets, plan: SweepPlan, sessions: int, progress: Callable[[int, int], None]
) -> tuple[NDArray[Any], bool]:
    """Run the sets that are not done yet; return the results in their order, and whether it was ended early."""
    store = None if plan.out is None else SweepStore(plan.out, _key(study, sets), sessions)
    done = dict(store.begin(resume=plan.resume)) if store is not None else {}
    whole, interrupted = len(sets.values), False
    counted = sum(map(len, done.values()))
    progress(counted, whole)
    try:
        with plan.make_runner(study.plan(), study.program, sessions, plan.workers) as runner:
            for first in range(0, whole, _CHUNK):
                values = sets.values[first : first + _CHUNK]
                if len(done.get(first, ())) == len(values):
                    continue
                done[first] = results = runner.run(values)
                if store is not None:
                    store.add(first, frame_of(first, sets.names, values, results), results)
                counted += len(values)
                progress(counted, whole)
    except KeyboardInterrupt:
        interrupted = True
    # Only an unbroken beginning counts as the sets that were tried.
    parts = [done[first] for first in range(0, whole, _CHUNK) if all(at in done for at in range(0, first + 1, _CHUNK))]
    if store is not None:
        store.join(done=not interrupted)
    if not parts:
        raise KeyboardInterrupt
    return np.concatenate(parts), interrupted


def _key(study: Study, sets: ParameterSets) -> str:
    """Return what makes a sweep the same one."""
    question = study.question
    same = {
        "structures": study.structures,
        "strategy": study.file.sha256,
        "bars": study.data.sha256,
        "source": study.program.manifest.source,
        "capital": question.capital_paise,
        "costs_as_of": question.costs_as_of,
        "brokerage": study.brokerage,
        "sets": hashlib.sha256(sets.values.tobytes()).hexdigest(),
        "chunk": _CHUNK,
    }
    return hashlib.sha256(orjson.dumps(same, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _overfitting(returns: NDArray[np.float64]) -> Overfitting | None:
    """Return the probability of overfitting; None where there are too few sets or sessions to tell."""
    sets, sessions = returns.shape
    if sets < 2 or sessions < 2 * _BLOCKS:
        return None
    chosen = np.unique(np.linspace(0, sets - 1, min(sets, _MOST_OF_OVERFITTING)).astype(np.int64))
    return overfitting(np.ascontiguousarray(returns[chosen].T), blocks=_BLOCKS)


def _times(study: Study) -> NDArray[np.int64]:
    return np.unique(np.concatenate([rows["start_ns"] for rows in study.bars.series.values()]))
