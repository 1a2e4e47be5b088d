"""The verbs that look at what was recorded: `atmand journal` and `atmand feed`.

`cli` mounts them; the work is the rooms'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from atmand.cli_words import (
    STYLE,
    Config,
    Json,
    JsonLines,
    State,
    in_order,
    moment,
    nanoseconds,
    print_facts,
    print_json,
    print_lines,
    print_rows,
    say,
    state_of,
    verb,
)
from atmand.errors import AtmandError, ExitCode, UsageError

__all__ = ["feed_app", "journal_app"]

journal_app = typer.Typer(help="Look into the journal, and keep it small.", **STYLE)
feed_app = typer.Typer(help="Look at what a broker sends.", **STYLE)
decode_app = typer.Typer(help="Turn raw frames into ticks.", **STYLE)
feed_app.add_typer(decode_app, name="decode")


@verb(journal_app, "inspect", "atmand journal inspect --state ~/.local/state/atmand/demo --json")
def journal_inspect(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> int:
    """Read every record; show segments, sessions, kinds, and whether anything in them is damaged."""
    from atmand.journal.inspect import inspect

    found = inspect(_journal(context, config, state))
    if as_json:
        print_json(found)
    else:
        lists = ("sessions", "segments", "damaged")
        print_facts({name: value for name, value in found.items() if name not in lists})
        for name in lists:
            if found[name]:
                print(f"\n{name}")
                print_rows(list(found[name][0]), found[name])
    return ExitCode.DAMAGED if found["damaged"] else ExitCode.DONE


@verb(journal_app, "export", "atmand journal export --kind AUDIT_FILL --from 2026-07-06T09:15")
def journal_export(
    context: typer.Context,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind of record; may be repeated.", metavar="KIND")
    ] = None,
    start: Annotated[
        Any, typer.Option("--from", help="From this time, India's if it names no zone.", parser=moment, metavar="TIME")
    ] = None,
    end: Annotated[
        Any, typer.Option("--to", help="Up to this time, itself excluded.", parser=moment, metavar="TIME")
    ] = None,
    config: Config = None,
    state: State = None,
    as_json: JsonLines = False,
) -> None:
    """Print records as JSON lines."""
    from atmand.journal.inspect import export

    in_order(start, end)
    kinds = _kinds(kind) if kind else None
    from_ns, to_ns = nanoseconds(start) if start else 0, nanoseconds(end) if end else None
    print_lines(export(_journal(context, config, state), kinds=kinds, from_ns=from_ns, to_ns=to_ns))


@verb(journal_app, "repair", "atmand journal repair --state ~/.local/state/atmand/demo")
def journal_repair(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> None:
    """Keep what is whole of a damaged journal, and say what is lost; damaged files are kept beside it."""
    from atmand.journal.inspect import repair

    done = repair(_journal(context, config, state))
    if as_json:
        print_json(done)
        return
    print_facts({name: value for name, value in done.items() if name != "repaired"})
    if done["repaired"]:
        print("\nrepaired")
        print_rows(list(done["repaired"][0]), done["repaired"])
    else:
        say("no segment was damaged")


@verb(journal_app, "prune", "atmand journal prune --config configs/demo.toml")
def journal_prune(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> None:
    """Apply the configuration's retention now: sessions past their time lose their market frames, and only those."""
    from dataclasses import asdict

    from atmand.journal import prune
    from atmand.journal.files import DirectoryLock
    from atmand.settings import load

    settings = load(config or context.obj)
    directory = _existing(state or settings.instance.state)
    lock = DirectoryLock(directory)
    try:
        pruned = asdict(prune(directory, settings.journal))
    finally:
        lock.release()
    print_json(pruned) if as_json else print_facts(pruned)


@verb(decode_app, "kite", "atmand feed decode kite frames.json")
def feed_decode_kite(
    file: Annotated[Path, typer.Argument(help="A JSON list of base64 strings, or a journal's or state folder.")],
    as_json: JsonLines = False,
) -> None:
    """Decode Kite Connect frames: one JSON line a frame, with the keys of the official SDK."""
    from atmand.feed.kite_decode import decode_lines

    print_lines(decode_lines(_frames(file)))


def _journal(context: typer.Context, config: Path | None, state: Path | None) -> Path:
    return _existing(state_of(context, config, state))


def _existing(state: Path) -> Path:
    directory = state / "journal"
    if not directory.is_dir():
        raise UsageError(str(directory), "no journal is there", "name a daemon's state directory with --state DIR")
    return directory


def _kinds(names: Iterable[str]) -> frozenset[int]:
    from atmand.core.records import Kind

    unknown = [name for name in names if name.upper() not in Kind.__members__]
    if unknown:
        known = ", ".join(Kind.__members__)
        raise UsageError(f"--kind {unknown[0]}", "no such kind of record", f"known here: {known}")
    return frozenset(Kind[name.upper()] for name in names)


def _frames(file: Path) -> Iterator[bytes]:
    """Yield raw frames of a JSON list of base64 strings, or of a journal's FRAME records."""
    if file.is_dir():
        from atmand.core.records import Kind
        from atmand.journal import read

        inner = file / "journal"
        for record in read(inner if inner.is_dir() else file, kinds={Kind.FRAME}):
            yield bytes(record.body)
        return
    import base64

    import orjson

    remedy = "write a JSON list of base64 strings"
    try:
        texts = orjson.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(
            str(file), (error.strerror or "not readable").lower(), "name a file that can be read"
        ) from None
    except ValueError as error:
        raise AtmandError(str(file), f"not JSON: {error}", remedy) from None
    if not isinstance(texts, list):
        raise AtmandError(str(file), "not a list", remedy)
    for number, text in enumerate(texts):
        try:
            yield base64.b64decode(text, validate=True)
        except (TypeError, ValueError) as error:
            raise AtmandError(f"{file}: element {number}", f"not base64: {error}", remedy) from None
