"""The verbs of research: `backtest`, and `research`, which reads the log of every run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atmand.cli_progress import progress
from atmand.cli_words import (
    STYLE,
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
    print_trades,
    say,
    state_of,
    verb,
)
from atmand.errors import UsageError

if TYPE_CHECKING:
    from atmand.research.run import BacktestRun
    from atmand.research.table import Rows

__all__ = ["BurnHoldOut", "Capital", "HoldOutFrom", "Instruments", "backtest", "research_app"]

_SHOWN_TRADES: Final = 20

Instruments = Annotated[
    list[str] | None,
    typer.Option("--instrument", help="Trade this one, not the file's universe; may be repeated.", metavar="NAME"),
]
Capital = Annotated[int, typer.Option("--capital", help="Whole rupees to begin with.", min=1, max=10**11)]
HoldOutFrom = Annotated[
    Any,
    typer.Option("--holdout-from", help="Hold out data from this day on. Default: the configuration's.", parser=day),
]
BurnHoldOut = Annotated[
    str | None,
    typer.Option("--burn-holdout", help="Use held-out data, for this reason; recorded for ever.", metavar="WHY"),
]

research_app = typer.Typer(help="What has been tried: the log of every run of research.", **STYLE)


def backtest(
    context: typer.Context,
    strategy: Annotated[Path, typer.Argument(help="A strategy file.", exists=True, dir_okay=False)],
    data: BarsData = None,
    start: Annotated[Any, typer.Option("--from", help="The first day.", parser=day, metavar="DAY")] = None,
    end: Annotated[Any, typer.Option("--to", help="The last day.", parser=day, metavar="DAY")] = None,
    values: Values = None,
    instruments: Instruments = None,
    capital: Capital = 1_000_000,
    costs_as_of: CostsAsOf = None,
    out: Annotated[Path | None, typer.Option(help="Write the trades to this Parquet file too.", metavar="FILE")] = None,
    equity: Annotated[
        Path | None, typer.Option(help="Write the equity of every bar to this Parquet file too.", metavar="FILE")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts to this file.", metavar="FILE")] = None,
    holdout_from: HoldOutFrom = None,
    burn_holdout: BurnHoldOut = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Run a strategy over past bars through the same core that trades: trades, and what they are worth after costs."""
    params = assignments(values or [])
    in_order(start, end)
    for option, path in (("--out", out), ("--equity", equity), ("--html", html)):
        _folder_there(option, path)
    from atmand.notebook import conduct, question
    from atmand.research.run import backtest as run_one

    asked = question(
        strategy,
        data=data_of(config or context.obj, data),
        set=params,
        start=start,
        end=end,
        instruments=instruments or (),
        capital=capital,
        costs_as_of=costs_as_of,
    )
    bound = conduct(config or context.obj, state, holdout_from=holdout_from, burn_holdout=burn_holdout)
    with progress("back-test") as on_bars:
        run = run_one(asked, bound, on_bars)
    if out is not None:
        run.write_trades(out)
    if equity is not None:
        run.write_equity(equity)
    if html is not None:
        say(f"page: {run.html(html)}")
    _show(run, as_json)


@verb(research_app, "list", "atmand research list --strategy rsi_macd --json")
def list_runs(
    context: typer.Context,
    strategy: Annotated[str | None, typer.Option(help="Only runs of this strategy.", metavar="NAME")] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List every run that was made here, oldest first, after proving that none was changed or taken out."""
    from atmand.research.log import ResearchLog

    entries = ResearchLog(state_of(context, config, state)).entries()
    entries = [entry for entry in entries if strategy in (None, entry.get("strategy"))]
    if as_json:
        print_json(entries)
        return
    rows = [_row(entry) for entry in entries]
    print_rows(list(rows[0]), rows) if rows else say("no run is recorded")


@verb(research_app, "show", "atmand research show 12 --json")
def show_run(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="A run's number, from the list.", metavar="ID")],
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show one run: what was asked of which data by which code, and what came of it."""
    from atmand.research.log import ResearchLog

    entry = ResearchLog(state_of(context, config, state)).find(number)
    print_json(entry) if as_json else print_facts(entry)


def _folder_there(option: str, path: Path | None) -> None:
    """Refuse before the run what could not be written after it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {path}", "its folder is not there", "make it, or name another")


def _show(run: BacktestRun, as_json: bool) -> None:
    for note in run.notes:
        say(note)
    if as_json:
        print_json(run.document())
    elif sys.stdout.isatty():
        _print_tables(run)
    else:
        document = run.document()
        trades = document.pop("trades")
        if trades:
            print_trades(trades)
            print()
        print_facts({name: value for name, value in document.items() if name != "notes"})


def _print_tables(run: BacktestRun) -> None:
    from rich.console import Console

    from atmand.research.table import costs_rows, interval_rows, result_rows, slippage_rows

    console = Console()
    if run.result.trades:
        trades = run.trades_json()
        print_trades(trades[-_SHOWN_TRADES:])
        if len(trades) > _SHOWN_TRADES:
            say(f"the last {_SHOWN_TRADES} of {len(trades)} trades; --out FILE.parquet writes all")
    for title, rows in (
        ("Result", result_rows(run)),
        ("How sure", interval_rows(run)),
        ("At other slippages, the same trades", slippage_rows(run)),
        ("Costs", costs_rows(run)),
    ):
        console.print(_rich_table(title, rows))
    entry = run.recorded.entry
    say(f"run {entry['id']} of the research log; {run.result.costs_note}")


def _rich_table(title: str, rows: Rows) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns, cells = rows
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_header=any(columns))
    for place, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if place == 0 else "right")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _row(entry: Any) -> dict[str, Any]:
    figures = entry.get("figures") or {}
    sharpe = figures.get("sharpe")
    return {
        "id": entry["id"],
        "time": entry["time"],
        "verb": entry["verb"],
        "strategy": entry["strategy"],
        "from": entry["data"]["first"][:10],
        "to": entry["data"]["last"][:10],
        "trials": entry.get("trials", {}).get("n", ""),
        "sharpe": "" if sharpe is None else f"{sharpe:.2f}",
        "net": f"{figures['net_paise'] / 100:.2f}" if "net_paise" in figures else "",
        "hold-out": entry.get("holdout") or "",
        "reason": entry.get("reason", ""),
    }
