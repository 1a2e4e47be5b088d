"""The verbs that ask why and what if: `atmand why-not` and `atmand whatif`. They read what a daemon wrote, or bars.

`cli` mounts them; the work is the research room's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atmand.cli_progress import Progress, progress
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

if TYPE_CHECKING:
    from atmand.lang.strategy import StrategyFile
    from atmand.research.why_not import Asked

__all__ = ["whatif", "why_not"]

_EVER_NS: Final = 2**63 - 1


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
    from atmand.opening import use_indicators_of
    from atmand.research.why_not import answers, told

    if data is not None and of_day is not None:
        raise typer.BadParameter("and --data ask different bars; give one of them", param_hint="--day")
    use_indicators_of(config or context.obj)
    edges = _Edges(start, end)
    edges.check()
    with progress(f"why-not {strategy}") as moved:
        if data is not None:
            source = data_of(config or context.obj, data) or data
            asked = _asked_of_bars(strategy, config or context.obj, source, edges, instrument, costs_as_of, moved)
        else:
            where = state_of(context, config, state)
            asked = _asked_of_day(strategy, config or context.obj, where, edges, of_day, instrument, moved)
        moved.stage("counting")
        documents = list(answers(asked, instrument, misses=misses))
    print_lines(documents) if as_json else print("\n".join(told(iter(documents))))


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
    settings = _values(values)
    where = state_of(context, config, state)
    journal = _journal(where)
    _let_a_daemon_go_first(where)
    from atmand.research.what_if import told, what_if
    from atmand.start import kernel_digest
    from atmand.wiring import ProgramStore, engine_on

    with progress("whatif") as moved:
        answer = what_if(
            journal,
            of_day,
            settings,
            engine=lambda: engine_on(ProgramStore(journal)),
            code=kernel_digest(),
            files=_texts(config or context.obj, where),
            progress=moved,
        )
    if as_json:
        print_json(answer)
        return
    for note in answer["notes"]:
        say(note)
    for table in told(answer, rupees):
        print_rows(*table)
        print()


@dataclass(frozen=True)
class _Edges:
    """Between which times is asked, as it was typed: times of day in India, or moments."""

    start: time | datetime | None
    end: time | datetime | None

    def check(self) -> None:
        """Refuse what is in the wrong order whatever the day is."""
        first, last = self.within(date(2000, 1, 1))
        if isinstance(self.start, datetime) == isinstance(self.end, datetime) and first >= last:
            raise typer.BadParameter(
                f"{self.start} does not lie before --to {self.end}; write the earlier one first", param_hint="--from"
            )

    def within(self, on: date | None) -> tuple[int, int]:
        """Return both as times; those of the day are of `on`, which bars of many days do not have."""
        return _moment_of(self.start, on, 0), _moment_of(self.end, on, _EVER_NS, last=True)

    def of(self, on: date | None, first_ns: int, last_ns: int) -> tuple[int, int]:
        """Return both as times that meet what there is, from `first_ns` to `last_ns`."""
        from atmand.ledger.trades import market_time

        first, last = self.within(on)
        if first > last_ns or last <= first_ns or first >= last:
            there = f"there are bars from {market_time(first_ns)[:16]} to {market_time(last_ns)[:16]}"
            raise UsageError("--from and --to", "no bar closed between them", there)
        return first, last


def _moment_of(given: time | datetime | None, on: date | None, otherwise: int, *, last: bool = False) -> int:
    from atmand.market.sessions import ns

    if given is None:
        return otherwise
    if isinstance(given, datetime):
        bare = last and given.time() == time(0)
        return nanoseconds(given + timedelta(days=1) if bare else given)
    if on is None:
        raise UsageError(f"{given}", "is a time of day, and the bars have many days", "write a day or a date and time")
    return ns(on, given.isoformat())


def _asked_of_bars(
    strategy: str,
    config: Path | None,
    source: Path,
    edges: _Edges,
    instrument: str | None,
    costs_as_of: date | None,
    moved: Progress,
) -> Asked:
    """Trade a strategy over bars as a back-test does, with its probe beside it."""
    from atmand.core.opening import BookLimits
    from atmand.history.bars import load_bars
    from atmand.lang.program import Deployment
    from atmand.lang.strategy import load_strategy
    from atmand.lang.structure import compile_structure
    from atmand.research.backtest import instruments_of, pairs_of
    from atmand.research.probe import Grid, drive, probe_of
    from atmand.research.study import CAPITAL_RUPEES, names_in
    from atmand.research.why_not import Asked, is_named, unknown_instrument

    name, path = _strategy(strategy, config)
    file = load_strategy(path)
    compile_structure(file)
    edges.within(None)
    moved.stage("reading the bars")
    grid = Grid.of(load_bars(source, None if source.is_file() else names_in(file)))
    bounds = edges.of(None, int(grid.times[0]), int(grid.times[-1]))
    deployment = Deployment(file, name=name)
    instruments = instruments_of(grid.symbols)
    keys = [instruments[place].key for _, place in pairs_of([deployment], instruments)]
    if instrument is not None and not any(is_named(key, instrument) for key in keys):
        raise unknown_instrument(instrument, name, keys)
    moved.stage("compiling the clauses")
    probe = probe_of(deployment)
    moved.stage("trading the bars")
    driven = drive(probe, grid, BookLimits(capital_paise=CAPITAL_RUPEES * 100), costs_as_of)
    return Asked(probe, driven, *bounds)


def _asked_of_day(
    strategy: str,
    config: Path | None,
    state: Path,
    edges: _Edges,
    of_day: date | None,
    instrument: str | None,
    moved: Progress,
) -> Asked:
    """Fold a recorded day with a probe beside the strategy."""
    from atmand.core.state import day_of
    from atmand.journal.replay import find_session
    from atmand.lang.strategy import load_strategy
    from atmand.research.recorded import asked_of_day
    from atmand.wiring import DECODERS

    journal = _journal(state)
    texts = _texts(config, state)
    name, files = strategy, texts.get(strategy, [])
    if not files:
        name, path = _strategy(strategy, config, texts)
        files = [load_strategy(path)]
    session = find_session(journal, of_day)
    first, last = edges.of(day_of(session.day or 0), session.first_ns, session.last_ns)
    _let_a_daemon_go_first(state)
    asked = asked_of_day(journal, session, files, name, DECODERS, instrument=instrument, progress=moved)
    return replace(asked, from_ns=first, to_ns=last)


def _journal(state: Path) -> Path:
    from atmand.wiring import JOURNAL

    journal = state / JOURNAL
    if not journal.is_dir():
        raise UsageError(str(journal), "no journal is there", "name a daemon's state directory with --state DIR")
    return journal


def _let_a_daemon_go_first(state: Path) -> None:
    """Take a lower priority beside a daemon that trades."""
    from atmand.runtime import running

    if running(state) is not None:
        os.nice(10)


def _strategy(given: str, config: Path | None, also: Iterable[str] = ()) -> tuple[str, Path]:
    """Return a strategy's name and file, where either of them was given."""
    from atmand.lang.strategy import load_strategy

    files = _files(config)
    if given in files:
        return given, files[given]
    path = Path(given)
    if not path.is_file():
        known = ", ".join(dict.fromkeys([*files, *also])) or "none"
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


def _texts(config: Path | None, state: Path) -> dict[str, list[StrategyFile]]:
    """Return by name the strategies as they may have traded: the configured files, and what a daemon ran last."""
    from atmand.lang.strategy import load_strategy
    from atmand.strategy_life import deployed_files

    found: dict[str, list[StrategyFile]] = {}
    for name, path in _files(config).items():
        with suppress(AtmandError):
            found.setdefault(name, []).append(load_strategy(path))
    with suppress(AtmandError):
        for name, file in deployed_files(state):
            found.setdefault(name, []).append(file)
    return found


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
