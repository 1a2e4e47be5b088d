"""The verbs of history: `atmand data import`, `list` and `check`, over the bar store of the configuration or another.

`cli` mounts them; polars is imported by the verbs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atmand.cli_progress import progress
from atmand.cli_words import STYLE, Config, Json, duration, print_facts, print_json, print_rows, say, verb
from atmand.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from atmand.history.bar_files import Hints
    from atmand.history.findings import Checked
    from atmand.history.importing import Imported

__all__ = ["data_app"]

_SHOWN: Final = 20
_COLUMNS: Final = ("kind", "level", "instrument", "first", "last", "count", "detail")

data_app = typer.Typer(help="Past prices: import them, list what is there, check them.", **STYLE)

_Store = Annotated[
    Path | None, typer.Option("--store", help="The bar store's folder. Default: the configuration's.", metavar="DIR")
]
_Format = Annotated[
    str | None,
    typer.Option(help="bars, kite, udiff, cm, fo or sec. Default: what the content looks like.", metavar="NAME"),
]
_Instrument = Annotated[
    str | None, typer.Option("--instrument", help="Whose bars a file holds that does not say it.", metavar="NAME")
]
_Bar = Annotated[
    Any, typer.Option(help="How long a file's bars are. Default: their spacing.", parser=duration, metavar="DURATION")
]


@verb(data_app, "import", "atmand data import ~/bhavcopies INFY.csv --store ~/bars")
def import_(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of them.", exists=True, metavar="FILE|DIR...")],
    store: _Store = None,
    format: _Format = None,
    instrument: _Instrument = None,
    bar: _Bar = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Import past prices into the bar store: bars (CSV, Parquet), Kite's history (JSON), the exchanges' daily files.

    An actions.toml replaces the store's list of splits, bonuses and changes of symbol. Importing a file again changes
    nothing. Rows that cannot be true are left out and listed, and the exit code is 1.
    """
    from atmand.history.importing import import_files
    from atmand.history.store import Store

    into = Store(_directory(context, config, store), create=True)
    with progress("import") as moved:
        found = import_files(into, paths, format=format, hints=_hints(instrument, bar), progress=moved)
    print_json(found.to_json()) if as_json else _show_import(found, into.directory)
    return ExitCode.DIFFERENT if found.bad_rows else ExitCode.DONE


@verb(data_app, "list", "atmand data list --instruments --json")
def list_(
    context: typer.Context,
    store: _Store = None,
    instruments: Annotated[bool, typer.Option("--instruments", help="A line for every instrument.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List what the bar store holds: instruments, lengths of bars, days, rows, bytes on disk."""
    from atmand.history.actions import load_actions
    from atmand.history.scan import listing
    from atmand.history.store import Store

    there = Store(_directory(context, config, store))
    rows = listing(there)
    if as_json:
        actions = len(load_actions(there.directory))
        print_json({"store": str(there.directory), "actions": actions, "sources": there.sources(), "bars": rows})
        return
    say(f"store: {there.directory}")
    if instruments:
        print_rows(("instrument", "bar", "from", "to", "rows", "bytes"), rows)
    else:
        print_rows(("exchange", "bar", "instruments", "from", "to", "rows", "bytes"), _summed(rows))


@verb(data_app, "check", "atmand data check bars.parquet --json")
def check(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(help="A store's folder or a file. Default: the store.", exists=True, metavar="[STORE|FILE]"),
    ] = None,
    keys: Annotated[
        list[str] | None, typer.Option("--key", help="Only this one's bars; may be repeated.", metavar="NAME")
    ] = None,
    format: _Format = None,
    instrument: _Instrument = None,
    bar: _Bar = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Tell what is wrong with bars, and repair nothing; exit 1 where there is more than notes.

    Gaps and bars outside sessions, held against the calendar; duplicates; rows that cannot be true; bars stamped at
    their end; flat tails; outliers; splits that no action tells; cumulative volumes.
    """
    from atmand.history.findings import check_path
    from atmand.history.rows import bar_name, key_of
    from atmand.history.store import is_store

    where = path or _directory(context, config, None)
    if where.is_dir() and not is_store(where):
        raise UsageError(str(where), "is no bar store", "name a store's folder, or a file")
    with progress("check") as moved:
        found = check_path(
            where,
            keys=None if keys is None else [key_of(key) for key in keys],
            bar=None if bar is None else bar_name(bar),
            format=format,
            hints=_hints(instrument, bar),
            progress=moved,
        )
    print_json(found.to_json()) if as_json else _show_check(found)
    return ExitCode.DONE if found.good else ExitCode.DIFFERENT


def _directory(context: typer.Context, config: Path | None, store: Path | None) -> Path:
    if store is not None:
        return store
    from atmand.settings import load

    return load(config or context.obj).bar_store


def _hints(instrument: str | None, bar_ns: int | None) -> Hints:
    from atmand.history.bar_files import Hints

    return Hints(instrument, bar_ns)


def _show_import(found: Imported, directory: Path) -> None:
    for row in found.bad[:_SHOWN]:
        say(f"{row.file}: line {row.line}: {row.what}")
    if found.bad_rows > _SHOWN:
        say(f"the first {_SHOWN} of {found.bad_rows} rows that were left out; --json lists more")
    for reason in found.skipped:
        say(f"skipped: {reason}")
    facts = found.to_json()
    kept = ("added", "replaced", "same", "repeated", "bad_rows", "untraded", "actions")
    print_facts({"store": str(directory), "files": len(found.files), **{name: facts[name] for name in kept}})


def _show_check(found: Checked) -> None:
    if found.findings:
        print_rows(_COLUMNS, [vars(one) for one in found.findings])
    counts = ", ".join(f"{kind} {row['count']}" for kind, row in found.summary().items()) or "nothing found"
    say(f"{found.source}: {found.rows:,} bars of {found.instruments} instruments: {counts}")


def _summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        exchange = row["instrument"].partition(":")[0]
        empty = {"exchange": exchange, "bar": row["bar"], "instruments": 0, "rows": 0, "bytes": 0}
        one = out.setdefault((exchange, row["bar"]), {**empty, "from": row["from"], "to": row["to"]})
        one["from"], one["to"] = min(one["from"], row["from"]), max(one["to"], row["to"])
        for name, count in (("instruments", 1), ("rows", row["rows"]), ("bytes", row["bytes"])):
            one[name] += count
    return [out[name] for name in sorted(out)]
