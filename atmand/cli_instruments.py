"""The verbs that ask what can be traded: `atmand instruments` and `atmand universe`.

They read the instruments that the daemon kept in its state directory, or a dump that is given; the broker is not asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atmand.cli_words import STYLE, Config, Json, State, day, print_facts, print_json, print_rows, say, verb
from atmand.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from datetime import date

    from atmand.lang.program import Deployment
    from atmand.market.instruments import Instrument
    from atmand.market.universe import Listing
    from atmand.settings import Settings

__all__ = ["instruments_app", "universe"]

instruments_app = typer.Typer(help="What can be traded, as the daemon keeps it by day.", **STYLE)

Day = Annotated[Any, typer.Option("--day", help="A day that was kept. Default: the newest.", parser=day, metavar="DAY")]
Dump = Annotated[
    Path | None,
    typer.Option(
        help="The broker's dump (CSV) in place of what was kept.", exists=True, dir_okay=False, metavar="FILE"
    ),
]
_FOUND: Final = ("key", "symbol", "name", "token", "lot", "tick", "expiry", "isin", "sector")
_SHOWN_CHANGES: Final = 20


@verb(instruments_app, "find", "atmand instruments find nifty 24500 ce")
def find(
    context: typer.Context,
    words: Annotated[
        list[str], typer.Argument(help="Parts of a symbol, name, key or ISIN; or a token.", metavar="TEXT")
    ],
    most: Annotated[int, typer.Option("--limit", help="At most so many.", min=1, max=100_000)] = 20,
    config: Config = None,
    state: State = None,
    of_day: Day = None,
    dump: Dump = None,
    as_json: Json = False,
) -> int:
    """Find instruments by any part of what they are called."""
    listing = _listing(_settings(context, config, state), of_day, dump)
    rows = [_row(listing.catalogue.instrument(row)) for row in listing.catalogue.search(" ".join(words), most)]
    print_json(rows) if as_json else print_rows(_FOUND, rows)
    return ExitCode.DONE if rows else ExitCode.DIFFERENT


@verb(instruments_app, "show", "atmand instruments show NFO:NIFTY:FUT:near")
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name, a key, an ISIN, or a selector of one contract.", metavar="NAME")],
    config: Config = None,
    state: State = None,
    of_day: Day = None,
    dump: Dump = None,
    as_json: Json = False,
) -> None:
    """Show every fact of an instrument; of an ISIN, of all its listings."""
    from atmand.market.universe import choose

    listing = _listing(_settings(context, config, state), of_day, dump)
    rows = listing.catalogue.rows_of_isin(name)
    found = listing.catalogue.instruments(rows) if len(rows) else choose(name, listing)
    shown = [{**_row(one), **_more(one), "day": listing.day.isoformat()} for one in found]
    if as_json:
        print_json(shown)
        return
    for number, facts in enumerate(shown):
        if number:
            print()
        print_facts(facts)


@verb(instruments_app, "diff", "atmand instruments diff --day 2026-07-07")
def diff(
    context: typer.Context, config: Config = None, state: State = None, of_day: Day = None, as_json: Json = False
) -> int:
    """Compare a day's instruments with the day before that was kept; exit 1 where they differ."""
    from atmand.instrument_store import FOLDER, InstrumentStore, difference

    settings = _settings(context, config, state)
    store = InstrumentStore(settings.instance.state / FOLDER)
    days = [one for one in store.days() if of_day is None or one <= of_day]
    if len(days) < 2 or (of_day is not None and days[-1] != of_day):
        kept = ", ".join(map(str, store.days())) or "none"
        raise UsageError(f"{of_day or 'two days'}", "not kept, or nothing before it", f"kept are {kept}")
    found = difference(store.load(days[-2]), store.load(days[-1]), days[-1])
    changed = [{"key": key, "what": what, "before": was, "after": now} for key, what, was, now in found.changed]
    document = {
        "before": days[-2].isoformat(),
        "after": days[-1].isoformat(),
        "added": found.added,
        "removed": found.removed,
        "expired": found.expired,
        "changed": changed,
    }
    if as_json:
        print_json(document)
    else:
        say(
            f"{days[-2]} to {days[-1]}: {len(found.added)} added, {len(found.removed)} removed, {found.expired} expired"
        )
        print_rows(("key", "what", "before", "after"), changed[:_SHOWN_CHANGES])
        if len(changed) > _SHOWN_CHANGES:
            say(f"and {len(changed) - _SHOWN_CHANGES} more; --json prints all")
    return ExitCode.DIFFERENT if found.added or found.removed or changed else ExitCode.DONE


def universe(
    context: typer.Context,
    strategy: Annotated[
        str | None, typer.Argument(help="Only this strategy of the configuration.", metavar="[STRATEGY]")
    ] = None,
    config: Config = None,
    state: State = None,
    of_day: Day = None,
    dump: Dump = None,
    as_json: Json = False,
) -> None:
    """Say what the names and selectors of the strategies mean, and when contracts roll."""
    from atmand.opening import deployments_of

    settings = _settings(context, config, state)
    listing = _listing(settings, of_day, dump)
    deployments = deployments_of(settings)
    known = [one.book for one in deployments]
    if strategy is not None and strategy not in known:
        raise UsageError(f"strategy {strategy}", "not in the configuration", f"known are {', '.join(known)}")
    found = [_meaning(one, listing) for one in deployments if strategy in (None, one.book)]
    if as_json:
        print_json({"day": listing.day.isoformat(), "strategies": found})
        return
    say(f"as listed on {listing.day}")
    names = [{"strategy": one["strategy"], **row} for one in found for row in one["names"]]
    rows = [{**row, "means": _few(row["instruments"])} for row in names]
    print_rows(("strategy", "name", "means"), rows)
    rolls = [{"strategy": one["strategy"], **roll} for one in found for roll in one["rolls"]]
    if rolls:
        say("")
        print_rows(("day", "strategy", "selector", "was", "to"), rolls)
    for one in found:
        for underlying, count in one["chains"].items():
            say(f"{one['strategy']}: {count} contracts of {underlying} are listed for its legs")


def _meaning(deployment: Deployment, listing: Listing) -> dict[str, Any]:
    """Resolve one strategy's universe as a session that opens would."""
    from atmand.market.universe import choose, rolls
    from atmand.universe import universe_of

    names = deployment.file.strategy.universe
    resolved = universe_of([deployment], listing, lenient=False)
    keys = [instrument.key for instrument, _ in resolved.instruments]
    return {
        "strategy": deployment.book,
        "names": [{"name": name, "instruments": [one.key for one in choose(name, listing)]} for name in names],
        "chains": {keys[chain.underlying]: len(chain.places) for chain in resolved.chains},
        "rolls": [{**roll._asdict(), "day": roll.day.isoformat()} for roll in rolls(names, listing)],
    }


def _few(keys: list[str], most: int = 3) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _settings(context: typer.Context, config: Path | None, state: Path | None) -> Settings:
    from atmand.settings import load

    overrides: dict[str, Any] = {} if state is None else {"instance": {"state": state.absolute()}}
    return load(config or context.obj, overrides)


def _listing(settings: Settings, of_day: date | None, dump: Path | None) -> Listing:
    """Return the listing of a kept day, or of a dump that is given, which is today's if no day is named."""

    import time

    from atmand.listing import kept_listing, listing_of
    from atmand.market.kite_dump import parse_kite_dump
    from atmand.market.sessions import session_date

    if dump is None:
        return kept_listing(settings, of_day)
    catalogue = parse_kite_dump(dump.read_text("utf-8"))
    simulated = settings.feed.kind == "simulator"
    return listing_of(catalogue, of_day or session_date(time.time_ns()), settings.instruments, simulated=simulated)


def _row(one: Instrument) -> dict[str, Any]:
    """Return what a person wants to see of an instrument at a glance; rupees where a price is meant."""
    from atmand.market.catalogue import NO_TEXT

    return {
        "key": one.key,
        "symbol": one.symbol,
        "name": one.name,
        "token": one.token,
        "lot": one.lot,
        "tick": one.tick / one.price_scale,
        "expiry": one.expiry and one.expiry.isoformat(),
        "isin": one.isin or (NO_TEXT if one.segment == "EQ" else None),
        "sector": one.sector or NO_TEXT,
    }


def _more(one: Instrument) -> dict[str, Any]:
    """Return the rest of it; a freeze quantity that nobody told is null."""
    return {
        "exchange": one.exchange,
        "segment": one.segment,
        "underlying": one.underlying or None,
        "strike": one.strike / one.price_scale if one.strike else None,
        "right": {1: "call", -1: "put"}.get(one.right),
        "freeze": one.freeze or None,
        "price_scale": one.price_scale,
        "tradable": one.tradable,
    }
