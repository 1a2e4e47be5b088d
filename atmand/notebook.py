"""The verbs of research as functions, for notebooks and scripts: `import atmand; atmand.backtest("strategy.toml")`.

`atmand/__init__.py` hands them out, so that `import atmand` alone loads nothing heavy. They do what the verbs of the
same names do, log and hold-out included, and return objects with polars frames in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atmand.research.log import ResearchLog
from atmand.research.run import BacktestRun
from atmand.research.run import backtest as run_backtest
from atmand.research.study import CAPITAL_RUPEES, Conduct, Question

if TYPE_CHECKING:
    import polars as pl

    from atmand.history.bars import Bars

__all__ = ["backtest", "conduct", "eval", "question"]

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
    """Return what research holds itself to: the configuration's settings, and the log in the state directory."""
    from atmand.settings import load
    from atmand.start import kernel_digest

    settings = load(None if config is None else Path(config))
    return Conduct(
        log=ResearchLog(settings.instance.state if state is None else Path(state)),
        holdout_from=_day(holdout_from) or settings.research.holdout_from,
        burn_reason=burn_holdout,
        cash_percent=settings.research.cash_percent,
        kernel=kernel_digest().hex(),
    )


def _source(data: str | Path | Bars | None, start: date | None, end: date | None) -> Any:
    if data is None:
        from atmand.cli_history import simulated_bars

        return partial(simulated_bars, start, end)
    return Path(data) if isinstance(data, str | Path) else lambda: data


def _day(day: Day | None) -> date | None:
    return date.fromisoformat(day) if isinstance(day, str) else day
