"""The verbs of research as functions, for notebooks and scripts: `import atmand; atmand.backtest("strategy.toml")`.

`atmand/__init__.py` hands them out, so that `import atmand` alone loads nothing heavy. They do what the verbs of the
same names do, log and hold-out included, and return objects with polars frames in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atmand.history.bars import Bars, HistoryError
from atmand.market.sessions import ns
from atmand.research.log import ResearchLog
from atmand.research.run import BacktestRun
from atmand.research.run import backtest as run_backtest
from atmand.research.study import CAPITAL_RUPEES, Conduct, Question

if TYPE_CHECKING:
    import polars as pl

    from atmand.research.lookahead import LookAhead
    from atmand.research.sweep import SweepRun

__all__ = ["backtest", "conduct", "eval", "lookahead", "question", "sweep"]

Day = date | str
"""A date, or one written as 2026-07-06."""


def backtest(
    strategy: str | Path,
    *,
    data: str | Path | Bars | None = None,
    set: Mapping[str, float] | None = None,
    start: Day | None = None,
    end: Day | None = None,
    instruments: Sequence[str] = (),
    capital: int = CAPITAL_RUPEES,
    costs_as_of: Day | None = None,
    config: str | Path | None = None,
    state: str | Path | None = None,
    holdout_from: Day | None = None,
    burn_holdout: str | None = None,
) -> BacktestRun:
    """Run a strategy file over bars: a file of them, or the simulator's history where `data` is None.

    The result has `.trades` and `.equity` (polars), `.figures`, `.document()` (what `--json` prints) and `.html(path)`.
    """
    asked = question(
        strategy,
        data=data,
        set=set,
        start=start,
        end=end,
        instruments=instruments,
        capital=capital,
        costs_as_of=costs_as_of,
    )
    return run_backtest(asked, conduct(config, state, holdout_from=holdout_from, burn_holdout=burn_holdout))


def eval(
    expression: str,
    *,
    data: str | Path,
    instrument: str | None = None,
    set: Mapping[str, float] | None = None,
    bar_minutes: int | None = None,
) -> pl.DataFrame:
    """Evaluate one expression of the language over bars: `symbol`, `ts` and `value`, null where it is missing."""
    import polars as pl

    from atmand.research.evaluate import command

    bar_ns = None if bar_minutes is None else bar_minutes * 60_000_000_000
    rows = command(expression, data=Path(data), instrument=instrument, params=dict(set or {}), bar_ns=bar_ns)
    return pl.DataFrame(list(rows), infer_schema_length=None)


def sweep(
    strategy: str | Path,
    *,
    data: str | Path | Bars | None = None,
    set: Mapping[str, float] | None = None,
    start: Day | None = None,
    end: Day | None = None,
    grid: Mapping[str, tuple[float, ...]] | Sequence[str] = (),
    random: int | None = None,
    sobol: int | None = None,
    seed: int = 1,
    walk_forward: str | tuple[int, ...] | None = None,
    objective: str = "sharpe",
    instruments: Sequence[str] = (),
    capital: int = CAPITAL_RUPEES,
    costs_as_of: Day | None = None,
    workers: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    config: str | Path | None = None,
    state: str | Path | None = None,
    holdout_from: Day | None = None,
    burn_holdout: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SweepRun:
    """Run many parameter sets over bars: a grid of the file's ranges, or `random` or `sobol` sets spread over them.

    `grid` names what is varied: `{"rsi_period": (5, 30, 5)}`. The result has `.frame` and `.ranked` (polars, a row a
    set), `.returns`, `.walk`, `.document()` (what `--json` prints) and `.html(path)`.
    """
    from atmand.research.sweep import SweepPlan
    from atmand.research.sweep import sweep as run_sweep
    from atmand.research.walk_forward import objective_of

    words = grid
    if isinstance(grid, Mapping):
        words = [f"{name}={':'.join(f'{value!r}' for value in values)}" for name, values in grid.items()]
    walk = walk_forward if walk_forward is None or isinstance(walk_forward, str) else ":".join(map(str, walk_forward))
    asked = question(
        strategy,
        data=data,
        set=set,
        start=start,
        end=end,
        instruments=instruments,
        capital=capital,
        costs_as_of=costs_as_of,
    )
    plan = SweepPlan(
        grid=tuple(words),
        n=sobol if sobol is not None else random,
        is_sobol=sobol is not None,
        seed=seed,
        walk=walk,
        objective=objective_of(objective),
        out=None if out is None else Path(out),
        resume=resume,
        workers=workers,
    )
    bound = conduct(config, state, holdout_from=holdout_from, burn_holdout=burn_holdout)
    return run_sweep(asked, bound, plan, progress)


def lookahead(
    strategy: str | Path,
    *,
    data: str | Path | Bars | None = None,
    set: Mapping[str, float] | None = None,
    start: Day | None = None,
    end: Day | None = None,
    bars: int = 10,
    seed: int = 1,
    instruments: Sequence[str] = (),
    capital: int = CAPITAL_RUPEES,
    costs_as_of: Day | None = None,
    config: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LookAhead:
    """Prove that no decision of a strategy looks ahead; `.same` says whether it holds, `.frame` has the checks."""
    from atmand.opening import use_indicators_of
    from atmand.research.lookahead import lookahead as prove

    use_indicators_of(None if config is None else Path(config))
    asked = question(
        strategy,
        data=data,
        set=set,
        start=start,
        end=end,
        instruments=instruments,
        capital=capital,
        costs_as_of=costs_as_of,
    )
    return prove(asked, random=bars, seed=seed, progress=progress)


def question(
    strategy: str | Path,
    *,
    data: str | Path | Bars | None = None,
    set: Mapping[str, float] | None = None,
    start: Day | None = None,
    end: Day | None = None,
    instruments: Sequence[str] = (),
    capital: int = CAPITAL_RUPEES,
    costs_as_of: Day | None = None,
) -> Question:
    """Return what a verb of research is asked."""
    first, last = _day(start), _day(end)
    return Question(
        strategy=Path(strategy),
        data=_source(data, first, last),
        start=first,
        end=last,
        params=dict(set or {}),
        instruments=tuple(instruments),
        capital_rupees=capital,
        costs_as_of=_day(costs_as_of),
    )


def conduct(
    config: str | Path | None = None,
    state: str | Path | None = None,
    *,
    holdout_from: Day | None = None,
    burn_holdout: str | None = None,
) -> Conduct:
    """Return what research holds itself to: the configuration's settings, and the log in the state directory.

    The configuration's own indicators are taken into use.
    """
    from atmand.lang.user_indicators import use_indicators
    from atmand.settings import load
    from atmand.start import kernel_digest

    settings = load(None if config is None else Path(config))
    use_indicators(settings.indicators)
    return Conduct(
        log=ResearchLog(settings.instance.state if state is None else Path(state)),
        holdout_from=_day(holdout_from) or settings.research.holdout_from,
        burn_reason=burn_holdout,
        cash_percent=settings.research.cash_percent,
        kernel=kernel_digest().hex(),
        brokerage=settings.market.brokerage,
    )


def _source(data: str | Path | Bars | None, start: date | None, end: date | None) -> Any:
    if data is None:
        from atmand.cli_history import simulated_bars

        return partial(simulated_bars, start, end)
    if not isinstance(data, str | Path):
        return partial(_between, data, start, end)
    from atmand.cli_words import data_of

    return data_of(None, Path(data))


def _between(bars: Bars, start: date | None, end: date | None) -> Bars:
    """Cut bars to whole days, as a file of them is cut."""
    series = {}
    for symbol, rows in bars.series.items():
        first = 0 if start is None else int(np.searchsorted(rows["start_ns"], ns(start, "00:00")))
        last = (
            len(rows) if end is None else int(np.searchsorted(rows["start_ns"], ns(end + timedelta(days=1), "00:00")))
        )
        if first < last:
            series[symbol] = rows[first:last]
    if not series:
        raise HistoryError(bars.source, "no bars between these days", "choose other days")
    return replace(bars, symbols=tuple(series), series=series)


def _day(day: Day | None) -> date | None:
    return date.fromisoformat(day) if isinstance(day, str) else day
