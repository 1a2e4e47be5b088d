"""The verbs that run a strategy many times: `atmand sweep` and `atmand lookahead`.

`cli` mounts them; the work is the research room's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atmand.cli_progress import progress
from atmand.cli_research import BurnHoldOut, Capital, HoldOutFrom, Instruments
from atmand.cli_words import (
    BarsData,
    Config,
    CostsAsOf,
    Json,
    State,
    Values,
    assignments,
    data_of,
    day,
    in_order,
    print_facts,
    print_json,
    print_rows,
    say,
)
from atmand.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from atmand.research.lookahead import LookAhead
    from atmand.research.sweep import SweepRun

__all__ = ["lookahead", "sweep"]

_Strategy = Annotated[Path, typer.Argument(help="A strategy file.", exists=True, dir_okay=False)]
_From = Annotated[Any, typer.Option("--from", help="The first day.", parser=day, metavar="DAY")]
_To = Annotated[Any, typer.Option("--to", help="The last day.", parser=day, metavar="DAY")]


def sweep(
    context: typer.Context,
    strategy: _Strategy,
    data: BarsData = None,
    start: _From = None,
    end: _To = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Vary only this one, so; may be repeated.", metavar="NAME=FROM:TO[:STEP]"),
    ] = None,
    random: Annotated[int | None, typer.Option(help="So many sets drawn at random, no grid.", min=1)] = None,
    sobol: Annotated[int | None, typer.Option(help="So many sets, evenly spread, no grid.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same sets.", min=0, max=2**63 - 1)] = 1,
    walk: Annotated[
        str | None,
        typer.Option("--walk-forward", help="Choose on TRAIN sessions, test on the next.", metavar="TRAIN:TEST[:STEP]"),
    ] = None,
    objective: Annotated[
        str, typer.Option(help="What is best: sharpe, sortino, net or calmar.", metavar="NAME")
    ] = "sharpe",
    values: Values = None,
    instruments: Instruments = None,
    capital: Capital = 1_000_000,
    costs_as_of: CostsAsOf = None,
    workers: Annotated[int, typer.Option(help="Processes; 0: one a core.", min=0, max=1024)] = 0,
    out: Annotated[Path | None, typer.Option(help="Write all sets to this Parquet file.", metavar="FILE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from what --out has already.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with maps to this file.", metavar="FILE")] = None,
    top: Annotated[int, typer.Option(help="Show so many of the best.", min=1)] = 20,
    holdout_from: HoldOutFrom = None,
    burn_holdout: BurnHoldOut = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Run many parameter sets over past bars, and say what the best of so many is worth.

    Ctrl-C ends it early: what is done is kept, shown and counted.
    """
    from atmand import notebook

    in_order(start, end)
    if random is not None and sobol is not None:
        raise typer.BadParameter("and --sobol are two ways; give one of them", param_hint="--random")
    if resume and out is None:
        raise UsageError("--resume", "there is nothing to go on from", "name what was begun with --out FILE.parquet")
    _folder_there("--out", out)
    _folder_there("--html", html)
    with progress("sweep") as moved:
        run = notebook.sweep(
            strategy,
            data=data_of(config or context.obj, data),
            set=assignments(values or []),
            start=start,
            end=end,
            grid=grid or (),
            random=random,
            sobol=sobol,
            seed=seed,
            walk_forward=walk,
            objective=objective,
            instruments=instruments or (),
            capital=capital,
            costs_as_of=costs_as_of,
            workers=workers,
            out=out,
            resume=resume,
            config=config or context.obj,
            state=state,
            holdout_from=holdout_from,
            burn_holdout=burn_holdout,
            progress=moved,
        )
    if html is not None:
        say(f"page: {run.html(html)}")
    for note in run.notes:
        say(note)
    print_json(run.document(top)) if as_json else _show_sweep(run, top)
    return 130 if run.interrupted else ExitCode.DONE


def lookahead(
    context: typer.Context,
    strategy: _Strategy,
    data: BarsData = None,
    start: _From = None,
    end: _To = None,
    bars: Annotated[int, typer.Option(help="How many bars inside sessions are drawn.", min=0, max=100_000)] = 10,
    seed: Annotated[int, typer.Option(help="The same seed draws the same bars.", min=0, max=2**63 - 1)] = 1,
    values: Values = None,
    instruments: Instruments = None,
    capital: Capital = 1_000_000,
    costs_as_of: CostsAsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Prove that no decision looks ahead: with later bars cut off or replaced, nothing before them changes.

    Exit 1 where something does: the first difference is named, with its bar and clause.
    """
    from atmand import notebook

    in_order(start, end)
    with progress("look-ahead") as moved:
        found = notebook.lookahead(
            strategy,
            data=data_of(config or context.obj, data),
            set=assignments(values or []),
            start=start,
            end=end,
            bars=bars,
            seed=seed,
            instruments=instruments or (),
            capital=capital,
            costs_as_of=costs_as_of,
            config=config or context.obj,
            progress=moved,
        )
    print_json(found.document()) if as_json else _show_proof(found)
    return ExitCode.DONE if found.same else ExitCode.DIFFERENT


def _show_sweep(run: SweepRun, top: int) -> None:
    from atmand.research.sweep_page import fold_rows, rows_of, worth_rows

    columns, rows = rows_of(run, top)
    print_rows(columns, [dict(zip(columns, row, strict=True)) for row in rows])
    if run.walk is not None:
        print()
        columns, rows = fold_rows(run)
        print_rows(columns, [dict(zip(columns, row, strict=True)) for row in rows])
    print()
    for name, value in worth_rows(run):
        print(f"{name}: {value or 'cannot be told'}")
    say(f"{run.frame.height:,} sets ({run.sets.how}); run {run.recorded.entry['id']} of the research log")


def _show_proof(found: LookAhead) -> None:
    document = found.document()
    checks = document.pop("checks")
    counts = {kind: sum(check["kind"] == kind for check in checks) for kind in ("session", "cut", "replaced")}
    print_facts({**document, "checks": counts})
    say("no decision looks ahead" if found.same else "something before a bar changed with the bars behind it")


def _folder_there(option: str, path: Path | None) -> None:
    """Refuse before the run what could not be written after it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {path}", "its folder is not there", "make it, or name another")
