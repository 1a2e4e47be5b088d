"""Running many parameter sets: the protocol that a sweep asks, and its runners, in worker processes.

A runner gives, for each set, what a back-test of it comes to: by back-tests, or by the compiled loop of a batch where
that serves the strategy. Both give the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from atmand.core.jit import JIT
from atmand.core.manifest import Program
from atmand.history.bars import aligned
from atmand.lang.build import load_program
from atmand.research.backtest import Backtest, groups_of, instruments_of, pairs_of, run_backtest
from atmand.research.bar_driver import DrivenMarket
from atmand.research.batch import Batch, is_batchable
from atmand.research.figures import curve_of
from atmand.research.walk_forward import daily_returns

__all__ = ["BacktestRunner", "BatchRunner", "SweepRunner", "fastest_runner", "result_dtype", "run_set"]

_MONEY: Final = ("trades", "gross_paise", "costs_paise", "net_paise", "max_drawdown_paise", "slippage_paise")


def result_dtype(sessions: int) -> np.dtype[np.void]:
    """Return the dtype of a set's result: totals in paise, the mean and deviation of daily returns, and more.

    `fingerprint` is that of every order; `equity` is that at each session's end.
    """
    fields: list[Any] = [(name, "i8") for name in _MONEY]
    fields += [("mean", "f8"), ("deviation", "f8"), ("fingerprint", "u8"), ("equity", "i8", (sessions,))]
    return np.dtype(fields)


class SweepRunner(Protocol):
    """Runs parameter sets over the same bars."""

    def run(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Return a row of `result_dtype` for each row of values, which are in the order of the strategy's params."""
        ...


class BacktestRunner:
    """One back-test a set, in this process."""

    def __init__(self, plan: Backtest, program: Program, sessions: int) -> None:
        self._plan, self._program, self._sessions = plan, program, sessions

    def run(self, values: NDArray[np.float64]) -> NDArray[Any]:
        rows = np.zeros(len(values), result_dtype(self._sessions))
        for place, one in enumerate(values):
            rows[place] = run_set(self._plan, self._program, one, rows.dtype)
        return rows


def run_set(plan: Backtest, program: Program, values: NDArray[np.float64], dtype: np.dtype[np.void]) -> Any:
    """Return one set's row."""
    manifest = program.manifest
    books = tuple(replace(book, values=tuple(values.tolist())) for book in manifest.books)
    result = run_backtest(plan, replace(program, manifest=replace(manifest, books=books)))
    marks = np.array(result.equity, np.int64).reshape(-1, 2)
    curve = curve_of(marks[:, 0], marks[:, 1], plan.limits[0].capital_paise)
    totals = result.summary()
    row = np.zeros((), dtype)
    for name in ("gross_paise", "costs_paise", "net_paise", "max_drawdown_paise"):
        row[name] = totals[name]
    row["trades"] = len(result.trades)
    row["slippage_paise"] = sum(result.slippage)
    returns = curve.returns
    row["mean"] = returns.mean() if len(returns) else 0.0
    row["deviation"] = returns.std(ddof=1) if len(returns) > 1 else 0.0
    row["fingerprint"] = int(result.digest[:16], 16)
    row["equity"] = curve.equity[curve.last]
    return row


class BatchRunner:
    """One fold of the compiled loop a set, in threads of this process."""

    def __init__(self, plan: Backtest, program: Program, sessions: int, workers: int = 0) -> None:
        instruments, lined = instruments_of(plan.bars.symbols), aligned(plan.bars)
        groups = groups_of(plan.bars.symbols, lined[0], lined[2])
        market = DrivenMarket(
            list(zip(instruments, groups, strict=True)),
            pairs_of(plan.deployments, instruments),
            plan.limits,
            plan.costs_as_of,
            plan.terms,
        )
        self._batch = Batch(program, market, *lined)
        self._capital, self._sessions, self._workers = plan.limits[0].capital_paise, sessions, workers

    def run(self, values: NDArray[np.float64]) -> NDArray[Any]:
        rows = np.zeros(len(values), result_dtype(self._sessions))
        found, rows["equity"] = self._batch.sweep(values, self._workers)
        for name in (*_MONEY, "fingerprint"):
            rows[name] = found[name]
        rows["net_paise"] = rows["gross_paise"] - rows["costs_paise"]  # of closed trades, as a back-test tells it
        returns = daily_returns(rows["equity"], self._capital)
        rows["mean"] = returns.mean(axis=1)
        rows["deviation"] = returns.std(axis=1, ddof=1) if self._sessions > 1 else 0.0
        return rows


class _PoolRunner:
    """Sets in worker processes; each has the bars and the program once."""

    def __init__(self, pool: ProcessPoolExecutor, sessions: int, workers: int) -> None:
        self._pool, self._sessions, self._workers = pool, sessions, workers

    def run(self, values: NDArray[np.float64]) -> NDArray[Any]:
        parts = [part for part in np.array_split(values, 4 * self._workers) if len(part)]
        dtype = result_dtype(self._sessions)
        done = (np.frombuffer(raw, dtype) for raw in self._pool.map(_work, parts))
        return np.concatenate([np.zeros(0, dtype), *done])


@contextmanager
def fastest_runner(plan: Backtest, program: Program, sessions: int, workers: int = 0) -> Iterator[SweepRunner]:
    """Give the fastest runner that serves: the compiled loop in threads, or back-tests in worker processes.

    `workers` is how many run side by side, 0 for one a core. Of processes the first set is run here before they start:
    what must be compiled then is in the cache for all of them.
    """
    workers = workers or len(os.sched_getaffinity(0))
    # Interpreted, the compiled loop is no faster than the records' way.
    if JIT and is_batchable(program.manifest) and len(program.manifest.books) == 1:
        yield BatchRunner(plan, program, sessions, workers)
        return
    own = BacktestRunner(plan, program, sessions)
    if workers == 1:
        yield own
        return
    own.run(np.array([book.values for book in program.manifest.books]))
    alone = replace(plan, on_bars=None)
    pool = ProcessPoolExecutor(
        workers,
        get_context("spawn"),
        initializer=_start,
        initargs=(alone, program.source, program.manifest, sessions),
    )
    try:
        yield _PoolRunner(pool, sessions, workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: SweepRunner | None = None


def _start(plan: Backtest, source: bytes, manifest: Any, sessions: int) -> None:
    """Take what every set needs; Ctrl-C is the parent's to hear."""
    import signal

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = BacktestRunner(plan, load_program(source, manifest), sessions)


def _work(values: NDArray[np.float64]) -> bytes:
    assert _worker is not None
    return _worker.run(values).tobytes()
