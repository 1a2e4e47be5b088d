"""A run of research from its question to the log: what `backtest`, `sweep` and the others have in common.

`open_study` reads the strategy, compiles it, reads the bars and refuses the hold-out; `record` writes down what came of
it and says how many trials the result is the choice of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson

from atmand import __version__
from atmand.core.manifest import Program
from atmand.core.opening import BookLimits
from atmand.history.bars import Bars, load_bars
from atmand.lang.build import build_on_demand
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import StrategyFile, load_strategy
from atmand.lang.structure import instruments_named
from atmand.market.instruments import resolve_all
from atmand.research.backtest import Backtest, instruments_of, pairs_of
from atmand.research.holdout import HoldOut, admit
from atmand.research.log import DataRange, Entry, ResearchLog, data_range, lineage, trials_of
from atmand.research.selection import Trials

__all__ = ["CAPITAL_RUPEES", "Conduct", "Question", "Recorded", "Study", "open_study", "record"]

CAPITAL_RUPEES: Final = 1_000_000
"""Capital of a run that names none: ten lakh rupees."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: a strategy over bars. `data` is a file, cut to `start` and `end`, or makes bars."""

    strategy: Path
    data: Path | Callable[[], Bars]
    start: date | None = None
    end: date | None = None
    params: Mapping[str, float] = field(default_factory=dict)
    instruments: Sequence[str] = ()
    """The universe in place of the strategy's own."""
    capital_rupees: int = CAPITAL_RUPEES
    costs_as_of: date | None = None

    @property
    def capital_paise(self) -> int:
        return self.capital_rupees * 100


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """What research holds itself to: where it is logged, what it may not see, what cash earns."""

    log: ResearchLog
    holdout_from: date | None = None
    burn_reason: str | None = None
    cash_percent: float = 0.0
    kernel: str = ""
    """Hash of the sources that decide, for the record."""


@dataclass(frozen=True, eq=False)
class Study:
    """A question that may be answered."""

    question: Question
    file: StrategyFile
    deployment: Deployment
    program: Program
    bars: Bars
    columns: tuple[int, ...]
    """The bars' columns that the strategy trades."""
    data: DataRange
    holdout: HoldOut | None

    @property
    def strategy(self) -> str:
        return self.file.strategy.name

    @property
    def structures(self) -> list[str]:
        return [structure.name for structure in self.program.manifest.structures]

    @property
    def values(self) -> dict[str, float]:
        """The parameters' values, those that were left at their defaults too."""
        declared = {name: parameter.default for name, parameter in self.file.strategy.params.items()}
        return declared | dict(self.question.params)

    def plan(self, on_bars: Callable[[int, int], None] | None = None) -> Backtest:
        """Return the back-test of the question."""
        limits = [BookLimits(capital_paise=self.question.capital_paise)]
        return Backtest([self.deployment], self.bars, limits, self.question.costs_as_of, on_bars=on_bars)


@dataclass(frozen=True)
class Recorded:
    """The log's entry of a run, and the trials of its strategy on these data, this run's among them."""

    entry: Entry
    trials: Trials
    earlier: int
    """Runs of this strategy on these data before it."""


def open_study(question: Question, conduct: Conduct) -> Study:
    """Read and check everything that a question needs; UnsafeError where it reaches into the hold-out."""
    file = load_strategy(question.strategy)
    if question.instruments:
        file = StrategyFile(file.strategy.model_copy(update={"universe": tuple(question.instruments)}), file.source)
    deployment = Deployment(file, "backtest", question.params)
    program = build_on_demand(generate([deployment]))
    source = question.data
    bars = load_bars(source, start=question.start, end=question.end) if isinstance(source, Path) else source()
    instruments = instruments_of(bars.symbols)
    pairs = pairs_of([deployment], instruments)
    watched = resolve_all(instruments_named(file), instruments)
    columns = tuple(sorted({place for _, place in pairs}))
    read = tuple(sorted({*columns, *(instruments.index(one) for one in watched)}))
    study = Study(question, file, deployment, program, bars, columns, data_range(bars, read), None)
    return replace(study, holdout=_hold_out(study, conduct))


def record(
    study: Study,
    conduct: Conduct,
    verb: str,
    *,
    trials: Trials,
    figures: Mapping[str, Any],
    sets: Any = None,
    digest: str = "",
) -> Recorded:
    """Append a run to the log. `trials` are its daily Sharpe ratios; `sets` says which parameters many had."""
    what = {
        "params": study.values,
        "sets": sets,
        "capital_rupees": study.question.capital_rupees,
        "costs_as_of": study.question.costs_as_of,
    }
    same = {**what, "strategy_sha256": study.file.sha256, "structures": study.structures, "bars": study.data.sha256}
    earlier = [entry for entry in _lineage(study, conduct) if entry["verb"] != "burn"]
    entry = conduct.log.append(
        {
            "verb": verb,
            **_subject(study, conduct),
            **what,
            "key": hashlib.sha256(orjson.dumps(same, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            "trials": trials.to_json(),
            "figures": figures,
            "digest": digest,
            "holdout": None if study.holdout is None else study.holdout.first,
        }
    )
    return Recorded(entry, trials_of([*earlier, entry]), len(earlier))


def _hold_out(study: Study, conduct: Conduct) -> HoldOut | None:
    """Return the hold-out that the data reach into; a burn is on record before anything is seen."""
    of_lineage = _lineage(study, conduct) if conduct.holdout_from is not None else []
    holdout = admit(conduct.holdout_from, study.data, of_lineage, study.strategy, conduct.burn_reason)
    if holdout is not None and not holdout.burns:
        burn = {"verb": "burn", **_subject(study, conduct), "reason": conduct.burn_reason}
        conduct.log.append({**burn, "holdout": holdout.first})
    return holdout


def _lineage(study: Study, conduct: Conduct) -> list[Entry]:
    return lineage(conduct.log.entries(), study.strategy, study.structures, study.data)


def _subject(study: Study, conduct: Conduct) -> dict[str, Any]:
    """Say whose run it is, on what, by which code."""
    return {
        "strategy": study.strategy,
        "strategy_sha256": study.file.sha256,
        "structures": study.structures,
        "data": study.data.to_json(),
        "kernel": conduct.kernel,
        "version": __version__,
    }
