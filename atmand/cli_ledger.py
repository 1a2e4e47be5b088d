"""The verbs that ask the ledger: `atmand trades` and `atmand why`. They read its file, with or without the daemon.

`cli` mounts them; the work is the ledger's.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atmand.cli_words import Config, Json, State, moment, nanoseconds, print_json, print_rows, rupees, say, state_of
from atmand.errors import AtmandError

__all__ = ["trades", "why"]


_COLUMNS: Final = (
    "trade_id", "strategy", "instrument", "side", "quantity", "entry_time", "entry_price", "exit_time", "exit_price",
    "net", "exit_reason",
)  # fmt: skip


def trades(
    context: typer.Context,
    strategy: Annotated[str | None, typer.Option(help="Only this strategy's.", metavar="NAME")] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Only in this one: NSE:EQ:INFY, or NSE:INFY.", metavar="KEY")
    ] = None,
    start: Annotated[
        Any, typer.Option("--from", help="Closed from this time on, India's if it names no zone.", parser=moment)
    ] = None,
    end: Annotated[
        Any, typer.Option("--to", help="Closed before this time; of a bare date the whole day.", parser=moment)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=1_000_000)] = 50,
    past: Annotated[bool, typer.Option("--past", help="Show those of the simulated past too.")] = False,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List closed trades, the newest first, with their result after costs."""
    from atmand.ledger.keeper import LEDGER
    from atmand.ledger.sqlite import read_ledger
    from atmand.ledger.store import TradeFilter

    wanted = TradeFilter(
        strategy=strategy,
        instrument=None if instrument is None else _key(instrument),
        from_ns=None if start is None else nanoseconds(start),
        to_ns=None if end is None else nanoseconds(_through(end)),
        past=None if past else False,
        limit=limit,
    )
    store = read_ledger(state_of(context, config, state) / LEDGER)
    try:
        found, position = store.trades(wanted), store.position()
    finally:
        store.close()
    if as_json:
        rows = [{**trade.to_json(), **({"past": trade.past} if past else {})} for trade in found]
        print_json({"sequence": position.sequence if position else 0, "trades": rows})
        return
    if found:
        print_rows(_COLUMNS, [{**trade.to_json(), "net": rupees(trade.net_paise)} for trade in found])
        net = sum(trade.net_paise for trade in found)
        say(f"{len(found)} trades, {net / 100:+,.2f} rupees after costs")
    else:
        say("no such trades")


def why(
    context: typer.Context,
    trade_id: Annotated[str, typer.Argument(help="As `atmand trades --json` lists it.", metavar="TRADE_ID")],
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Tell a trade's story: what decided it, with which parameters, its orders and fills, and what it came to."""
    from atmand.ledger.why import told
    from atmand.ledger.why import why as story_of
    from atmand.wiring import JOURNAL

    directory = state_of(context, config, state)
    story = story_of(directory, trade_id, journal=directory / JOURNAL, files=_files(config or context.obj))
    if as_json:
        print_json(story)
    else:
        print("\n".join(told(story)))


def _files(config: Path | None) -> dict[str, Path]:
    """Return the configured strategies' files; none where no configuration can be read: it is only for their text."""
    from atmand.settings import load

    with contextlib.suppress(AtmandError):
        return {name: strategy.file for name, strategy in load(config).strategies.items()}
    return {}


def _key(name: str) -> str:
    """Return the durable key of a share that was named in its short form."""
    parts = name.upper().split(":")
    return ":".join((parts[0], "EQ", parts[1])) if len(parts) == 2 else ":".join(parts)


def _through(end: datetime) -> datetime:
    """Take a bare date as the whole day: it is read as its midnight."""
    bare = (end.hour, end.minute, end.second, end.microsecond) == (0, 0, 0, 0)
    return end + timedelta(days=1) if bare else end
