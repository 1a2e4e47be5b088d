"""The verbs that ask why and what if: `atmand why-not` and `atmand whatif`. They read what a daemon wrote, or bars.

`cli` mounts them; the work is the research room's.
"""

from __future__ import annotations

import os
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from atmand.cli_words import (
    Config,
    CostsAsOf,
    Json,
    State,
    bars_path,
    data_of,
    day,
    moment,
    nanoseconds,
    print_json,
    print_lines,
    print_rows,
    rupees,
    say,
    state_of,
)
from atmand.errors import AtmandError, UsageError

__all__ = ["whatif", "why_not"]


def edge(text: str) -> time | datetime:
    """Read a time of day in India, `09:20`, or a date with or without one."""
    try:
        return time.fromisoformat(text)
    except ValueError:
        return moment(text)


def why_not(
    context: typer.Context,
    strategy: Annotated[str, typer.Argument(help="A strategy's name, or its file.", metavar="STRATEGY")],
    instrument: Annotated[
        str | None, typer.Argument(help="Only in this one: NSE:INFY.", metavar="[INSTRUMENT]")
    ] = None,
    data: Annotated[
        Any,
        typer.Option(
            help="Bars instead of a recorded day: Parquet or CSV, a bar store's folder, or store.",
            parser=bars_path,
            metavar="BARS",
        ),
    ] = None,
    of_day: Annotated[
        Any, typer.Option("--day", help="The recorded day. Default: the newest.", parser=day, metavar="DAY")
    ] = None,
    start: Annotated[
        Any, typer.Option("--from", help="From here: 09:20, or a day or time.", parser=edge, metavar="TIME")
    ] = None,
    end: Annotated[
        Any, typer.Option("--to", help="Up to here; of a bare date the whole day.", parser=edge, metavar="TIME")
    ] = None,
    misses: Annotated[int, typer.Option(help="How many nearest misses of a rule.", min=0, max=1000)] = 5,
    costs_as_of: CostsAsOf = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Tell why a strategy did not trade: which clause was missing, how near it came, what blocked it."""
    from dataclasses import replace

    from atmand.lang.strategy import load_strategy
    from atmand.market.sessions import ns
    from atmand.research.why_not import Asked, answers, told

    def bound(given: time | datetime | None, otherwise: int, on: date | None, *, last: bool = False) -> int:
        if given is None:
            return otherwise
        if isinstance(given, datetime):
            bare = last and given.time() == time(0)
            return nanoseconds(given + timedelta(days=1) if bare else given)
        if on is None:
            raise UsageError(
                f"{given}", "is a time of day, and the bars have many days", "write a day or a date and time"
            )
        return ns(on, given.isoformat())

    name, path = _strategy(strategy, config or context.obj)
    file = load_strategy(path)
    asked: Asked
    on: date | None = None
    if data is not None:
        from atmand.core.opening import BookLimits
        from atmand.history.bars import load_bars
        from atmand.lang.program import Deployment
        from atmand.research.probe import Grid, drive, probe_of
        from atmand.research.study import CAPITAL_RUPEES, names_in

        probe = probe_of(Deployment(file, name=name))
        names = None if data.is_file() else names_in(file)
        grid = Grid.of(load_bars(data_of(config or context.obj, data) or data, names))
        driven = drive(probe, grid, BookLimits(capital_paise=CAPITAL_RUPEES * 100), costs_as_of)
        asked = Asked(probe, driven)
    else:
        from atmand.core.state import day_of
        from atmand.research.recorded import asked_of_day
        from atmand.wiring import DECODERS

        asked, session = asked_of_day(_journal(context, config, state), file, name, of_day, DECODERS)
        on = day_of(session.day or 0)
    first = bound(start, 0 if on is None else ns(on, "00:00"), on)
    asked = replace(asked, from_ns=first, to_ns=bound(end, asked.to_ns, on, last=True))
    documents = answers(asked, instrument, misses=misses)
    print_lines(documents) if as_json else print("\n".join(told(documents)))


def whatif(
    context: typer.Context,
    values: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="A parameter's value, of all strategies that have it or one's.",
            metavar="[STRATEGY.]NAME=VALUE",
        ),
    ],
    today: Annotated[bool, typer.Option("--today", help="The newest day: what is meant without --day.")] = False,
    of_day: Annotated[Any, typer.Option("--day", help="A recorded day.", parser=day, metavar="DAY")] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Fold a recorded day again with other parameter values, beside what was. What trades is left alone."""
    if today and of_day is not None:
        raise typer.BadParameter("and --day name different days; give one of them", param_hint="--today")
    from atmand.research.what_if import told, what_if
    from atmand.start import kernel_digest
    from atmand.wiring import ProgramStore, engine_on

    journal = _journal(context, config, state)
    os.nice(10)  # a live daemon goes first
    answer = what_if(
        journal,
        of_day,
        _values(values),
        engine=lambda: engine_on(ProgramStore(journal)),
        code=kernel_digest(),
        files=_files(config or context.obj),
    )
    if as_json:
        print_json(answer)
        return
    for note in answer["notes"]:
        say(note)
    for table in told(answer, rupees):
        print_rows(*table)
        print()


def _journal(context: typer.Context, config: Path | None, state: Path | None) -> Path:
    from atmand.wiring import JOURNAL

    journal = state_of(context, config, state) / JOURNAL
    if not journal.is_dir():
        raise UsageError(str(journal), "no journal is there", "name a daemon's state directory with --state DIR")
    return journal


def _strategy(given: str, config: Path | None) -> tuple[str, Path]:
    """Return a strategy's name and file, where either of them was given."""
    from atmand.lang.strategy import load_strategy

    files = _files(config)
    if given in files:
        return given, files[given]
    path = Path(given)
    if not path.is_file():
        known = ", ".join(files) or "none"
        raise UsageError(f"strategy {given}", "neither a configured name nor a file", f"configured are {known}")
    named = [name for name, file in files.items() if file.absolute() == path.absolute()]
    return (named[0] if named else load_strategy(path).strategy.name), path


def _files(config: Path | None) -> dict[str, Path]:
    """Return the configured strategies' files; none where no configuration can be read."""
    from atmand.settings import load

    try:
        return {name: strategy.file for name, strategy in load(config).strategies.items()}
    except AtmandError:
        return {}


def _values(words: list[str]) -> list[tuple[str | None, str, float]]:
    """Read `name=value` and `strategy.name=value` words."""
    found = []
    for word in words:
        left, equals, text = word.partition("=")
        strategy, dot, name = left.rpartition(".")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not equals or not name.isidentifier() or (dot and not strategy) or not abs(value) < float("inf"):
            raise typer.BadParameter(f"{word!r} is not an assignment; write name=value", param_hint="--set")
        found.append((strategy or None, name, value))
    return found
