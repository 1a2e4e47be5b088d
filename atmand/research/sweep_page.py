"""The page of a sweep: the best sets, maps of the objective over the parameters, the walk forward."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from atmand.ledger.trades import market_time
from atmand.research.pages import Section, chart, heat_map, note, table, write_page

if TYPE_CHECKING:
    from atmand.research.sweep import SweepRun

__all__ = ["fold_rows", "rows_of", "worth_rows", "write_sweep"]

_SHOWN: Final = 20
_MOST_MAPS: Final = 6


def write_sweep(run: SweepRun, path: Path) -> Path:
    """Write the page of a sweep."""
    data = run.study.data
    lead = (
        f"{data.source}, {market_time(data.first_ns)[:10]} to {market_time(data.last_ns)[:10]}; "
        f"{run.frame.height:,} sets ({run.sets.how}); run {run.recorded.entry['id']} of the research log"
    )
    columns, rows = rows_of(run, _SHOWN)
    sections: list[Section] = [
        *(note(text) for text in run.notes),
        table(f"The best by {run.plan.objective}", columns, rows, caption="Money in rupees."),
        table("What the choice is worth", ["", ""], worth_rows(run)),
        *_maps(run),
    ]
    if run.walk is not None:
        sections += _walk(run)
    return write_page(path, f"{run.study.strategy}: sweep", lead, sections)


def rows_of(run: SweepRun, top: int) -> tuple[list[str], list[list[str]]]:
    """Return the best sets as rows of text."""
    columns = ["set", *run.sets.varied, "trades", "net", "costs", "drawdown", run.plan.objective]
    rows = []
    for each in run.ranked.head(top).iter_rows(named=True):
        money = [f"{each[name] / 100:,.2f}" for name in ("net_paise", "costs_paise", "max_drawdown_paise")]
        score = "" if each["score"] is None else f"{each['score']:.3f}"
        varied = [f"{each[name]:g}" for name in run.sets.varied]
        rows.append([str(each["set"]), *varied, str(each["trades"]), *money, score])
    return columns, rows


def worth_rows(run: SweepRun) -> list[list[str]]:
    """Return what is left of the best set's result after so many trials."""
    found = run.deflated
    rows = [
        ["trials of this strategy on these data", f"{found.trials:,}"],
        ["probability that the best one's Sharpe ratio is more than their luck", _percent(found.probability)],
    ]
    if run.overfitting is not None:
        rows.append(
            ["probability that the best of the past is below the median later", _percent(run.overfitting.probability)]
        )
    if run.walk is not None:
        score = "" if run.walk.score is None else f"{run.walk.score:.3f}"
        rows += [
            [f"walking forward, {len(run.walk.folds)} folds: {run.plan.objective} out of sample", score],
            ["its gain", _percent(run.walk.net)],
            ["its worst drawdown", _percent(run.walk.worst_drawdown)],
        ]
    return rows


def _maps(run: SweepRun) -> list[Section]:
    frame = run.frame.select(*run.sets.varied, "score").drop_nulls()
    title = run.plan.objective
    if not frame.height:
        return []
    pairs = list(combinations(run.sets.varied, 2))[:_MOST_MAPS]
    if not pairs:
        return [heat_map(frame, x=run.sets.varied[0], y=None, value="score", title=title)]
    return [heat_map(frame, x=x, y=y, value="score", title=f"{title} over {x} and {y}") for x, y in pairs]


def fold_rows(run: SweepRun) -> tuple[list[str], list[list[str]]]:
    """Return the folds of a walk forward as rows of text."""
    rows = [
        [
            f"{fold['train'][0]} to {fold['train'][1]}",
            f"{fold['test'][0]} to {fold['test'][1]}",
            ", ".join(f"{name} {fold['params'][name]:g}" for name in run.sets.varied),
            *("" if fold[name] is None else f"{fold[name]:.3f}" for name in ("train_score", "test_score")),
            _percent(fold["rank"]),
        ]
        for fold in run.walk_json()["folds"]
    ]
    return ["train", "test", "chosen", "in sample", "out of sample", "rank"], rows


def _walk(run: SweepRun) -> list[Section]:
    told = run.walk_json()
    days = run.days()
    tested = [day for fold in run.walk.folds for day in days[fold.test]] if run.walk is not None else []
    line: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": tested, "y": told["out_of_sample"]["equity"]}
    caption = "Each session is traded by the set that was best on the sessions before."
    return [
        chart("Walking forward: equity out of sample, 1 to begin with", [line], {}, caption),
        table("Folds", *fold_rows(run)),
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
