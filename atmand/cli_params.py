"""The verbs of the parameter store: `atmand params show|set|diff|history|rollback`.

They write the store's files and say what the running daemon made of it; without one, the next start takes it up.
"""

from __future__ import annotations

import getpass
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atmand.cli_words import STYLE, Config, Json, State, print_json, print_rows, say, verb
from atmand.errors import AtmandError, ExitCode, UsageError

if TYPE_CHECKING:
    from atmand.lang.program import Deployment
    from atmand.params.document import Document
    from atmand.params.file_store import FileStore
    from atmand.params.resolve import Resolution
    from atmand.params.store import Ack

__all__ = ["params_app"]

params_app = typer.Typer(help="Look at the parameters in force, and change them.", **STYLE)

_PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.05
_SHOWN: Final = ("strategy", "parameter", "value", "default", "low", "high", "unit", "from")
_CHANGED: Final = ("strategy", "parameter", "old", "new")
_LISTED: Final = ("seq", "created", "author", "note", "sha256")

Author = Annotated[str | None, typer.Option(help="Who says so. Default: your user's name.", metavar="NAME")]


class _Room:
    """A store, and the strategies that its documents are held against."""

    def __init__(self, context: typer.Context, config: Path | None, state: Path | None) -> None:
        from atmand.opening import deployments_of, limits_of
        from atmand.params.file_store import FileStore
        from atmand.settings import load
        from atmand.wiring import PARAMS

        settings = load(config or context.obj)
        self.state: Path = state or settings.instance.state
        self.store: FileStore = FileStore(self.state / PARAMS)
        self.deployments: list[Deployment] = deployments_of(settings)
        self.limits: dict[str, int] = limits_of(settings)

    def resolve(self, document: Document | None) -> Resolution:
        from atmand.params.resolve import resolve

        return resolve(document, self.deployments, self.limits)


@verb(params_app, "show", "atmand params show --json")
def show(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> int:
    """Show every value that the current document comes to, and where it is from; then what the daemon said of it."""
    room = _Room(context, config, state)
    ack = room.store.ack()
    document, refusal = _usable(room)
    rows = _rows(room, room.resolve(document))
    if as_json:
        print_json(
            {
                "document": None if document is None else document.model_dump(mode="json", by_alias=True),
                "sha256": None if document is None else document.sha256,
                "answer": None if ack is None else vars(ack),
                "refused": refusal,
                "values": rows,
            }
        )
        return ExitCode.REFUSED if refusal else ExitCode.DONE
    print_rows(_SHOWN, rows)
    if refusal:
        number = "files and configuration" if document is None else f"document {document.seq}, the last known good one"
        say(f"the current document is refused: {refusal}")
        say(f"shown is what a start would use: {number}; atmand params rollback puts it right")
        return ExitCode.REFUSED
    if document is None:
        say("no document was published: files and configuration hold")
    elif ack is None or ack.sha256 != document.sha256:
        say(f"document {document.seq} by {document.author or document.trial}; no daemon has taken it up yet")
    else:
        say(f"document {document.seq} by {document.author or document.trial}: {_answer(ack)}")
    return ExitCode.DONE


@verb(params_app, "set", "atmand params set rsi_macd.stop_atr=1.5 --note 'tighter in July'")
def set_(
    context: typer.Context,
    values: Annotated[
        list[str] | None, typer.Argument(help="Values to change.", metavar="STRATEGY.NAME=VALUE ...")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weight", help="Share of its capital, above 0 and up to 1.", metavar="STRATEGY=WEIGHT"),
    ] = None,
    note: Annotated[str, typer.Option(help="Why.", metavar="TEXT")] = "",
    author: Author = None,
    expect: Annotated[
        int | None, typer.Option(help="Refuse unless this document is current.", min=0, metavar="SEQ")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show, and publish nothing.")] = False,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Publish the current document with some values changed; the running daemon takes it up between two records.

    A value that is wrong is refused before anything is published.
    """
    if not values and not weights:
        raise UsageError("params set", "nothing to set", "write STRATEGY.NAME=VALUE, or --weight STRATEGY=WEIGHT")
    room = _Room(context, config, state)
    before = room.store.base()
    document = _changed(room, before, _numbers(values or [], 2), _numbers(weights or [], 1))
    document = document.model_copy(update={"author": author or _user(), "trial": None, "note": note})
    after, was = room.resolve(document), _lenient(room, before)
    changes = [] if was is None else _differences(was, after)
    if dry_run:
        return _tell(changes, None, {"published": False}, as_json)
    seq = 0 if before is None else before.seq
    return _publish(room, room.store.propose(document, seq if expect is None else expect), changes, as_json)


@verb(params_app, "rollback", "atmand params rollback 3")
def rollback(
    context: typer.Context,
    seq: Annotated[
        int | None,
        typer.Argument(help="Go back to this document; 0: to files and configuration. Default: the one before."),
    ] = None,
    author: Author = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Publish an old document again, under a new number."""
    room = _Room(context, config, state)
    history = room.store.history()
    if seq is None:
        if len(history) < 2:
            raise UsageError("params rollback", "there is no document before the current one", "atmand params history")
        seq = history[1].seq
    before, after = _lenient(room, history[0] if history else None), room.resolve(room.store.version(seq))
    changes = [] if before is None else _differences(before, after)
    return _publish(room, room.store.activate(seq, author=author or _user()), changes, as_json)


@verb(params_app, "diff", "atmand params diff 3 5")
def diff(
    context: typer.Context,
    first: Annotated[int | None, typer.Argument(help="A document's number. Default: the one before.")] = None,
    second: Annotated[int | None, typer.Argument(help="Another's. Default: the newest.")] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Show what differs between two documents; exit 1 where something does."""
    room = _Room(context, config, state)
    known = [document.seq for document in room.store.history()]
    if not known:
        raise UsageError("params diff", "no document was published", "atmand params set")
    newest = second or known[0]
    old = first or next((seq for seq in known if seq < newest), newest)
    old_document, new_document = room.store.version(old), room.store.version(newest)
    changes = _differences(room.resolve(old_document), room.resolve(new_document))
    if as_json:
        print_json({"first": old, "second": newest, "changes": changes})
    else:
        print_rows(_CHANGED, changes)
        say(f"document {newest} beside {old}: {len(changes)} values differ")
    return ExitCode.DIFFERENT if changes else ExitCode.DONE


@verb(params_app, "history", "atmand params history --limit 5")
def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1)] = 20,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List the documents that were published, the newest first."""
    room = _Room(context, config, state)
    documents = room.store.history()[:limit]
    rows = [
        {
            "seq": each.seq,
            "created": None if each.created is None else each.created.isoformat(),
            "author": each.author or each.trial,
            "note": each.note,
            "sha256": each.sha256,
        }
        for each in documents
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(_LISTED, [{**row, "sha256": str(row["sha256"])[:12]} for row in rows])


def _usable(room: _Room) -> tuple[Document | None, str | None]:
    """Return the current document, or the one that would be used in its place and why it is refused."""
    from atmand.params.document import DocumentError
    from atmand.params.last_good import LastGood

    try:
        document = room.store.current()
        room.resolve(document)
    except DocumentError as refused:
        good = LastGood(room.store.directory).document()
        return (None if _lenient(room, good) is None else good), str(refused)
    return document, None


def _changed(
    room: _Room,
    before: Document | None,
    values: Mapping[tuple[str, ...], float],
    weights: Mapping[tuple[str, ...], float],
) -> Document:
    """Return a document with values changed; what it changes is written for the strategy files that are loaded."""
    from atmand.hints import did_you_mean
    from atmand.params.document import Document, DocumentError, StrategyPart, parse_document

    shas = {deployment.book: deployment.file.sha256 for deployment in room.deployments}
    parts = {} if before is None else dict(before.strategies)
    for name in {key[0] for key in (*values, *weights)}:
        if name not in shas:
            remedy = did_you_mean(name, shas, "atmand params show")
            raise DocumentError(f"strategies.{name}", "no such strategy runs", remedy)
        part = parts.get(name) or StrategyPart(sha256=shas[name])
        mine = {key[1]: value for key, value in values.items() if key[0] == name}
        parts[name] = part.model_copy(
            update={
                "sha256": shas[name],
                "params": {**part.params, **mine},
                "weight": weights.get((name,), part.weight),
            }
        )
    document = (before or Document()).model_copy(update={"strategies": parts})
    # Parsed again, so that what was typed is held to the same rules as what was written.
    return parse_document(document.canonical(), "params set")


def _publish(room: _Room, document: Document, changes: Sequence[Mapping[str, Any]], as_json: bool) -> int:
    """Say what was published, and wait for the daemon's word on it."""
    from atmand.runtime import running

    found: dict[str, Any] = {"published": True, "seq": document.seq, "sha256": document.sha256}
    ack = None
    if running(room.state) is not None:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            ack = room.store.ack()
            if ack is not None and ack.sha256 == document.sha256:
                break
            ack = None
            time.sleep(_LOOK_S)
        found["answer"] = None if ack is None else vars(ack)
    else:
        found["answer"] = "no daemon runs on this state: its next start takes it up"
    return _tell(changes, ack, found, as_json)


def _tell(changes: Sequence[Mapping[str, Any]], ack: Ack | None, found: Mapping[str, Any], as_json: bool) -> int:
    if as_json:
        print_json({**found, "changes": changes})
    else:
        print_rows(_CHANGED, changes) if changes else say("no value differs")
        if ack is not None:
            say(f"document {ack.seq}: {_answer(ack)}")
        elif isinstance(found.get("answer"), str):
            say(f"document {found['seq']} is published; {found['answer']}")
        elif found["published"]:
            say(
                f"document {found['seq']} is published; the daemon has not answered in {_PATIENCE_S:.0f} s: atmand logs"
            )
        else:
            say("good; nothing was published")
    return ExitCode.REFUSED if ack is not None and ack.status == "refused" else ExitCode.DONE


def _answer(ack: Ack) -> str:
    return f"in force from record {ack.sequence} on" if ack.status == "applied" else f"refused: {ack.reason}"


def _rows(room: _Room, resolution: Resolution) -> list[dict[str, Any]]:
    declared = {deployment.book: deployment.file.strategy.params for deployment in room.deployments}
    return [
        {
            "strategy": book.name,
            "parameter": name,
            "value": value,
            "default": declared[book.name][name].default,
            "low": declared[book.name][name].range[0],
            "high": declared[book.name][name].range[1],
            "unit": declared[book.name][name].unit,
            "from": book.origin[name],
        }
        for book in resolution.books
        for name, value in book.values.items()
    ]


def _differences(before: Resolution, after: Resolution) -> list[dict[str, Any]]:
    from atmand.params.resolve import changes

    return [
        {"strategy": each.strategy, "parameter": each.name, "old": each.old, "new": each.new}
        for each in changes(before, after)
    ]


def _lenient(room: _Room, document: Document | None) -> Resolution | None:
    """Return what a document comes to; None for one that is refused: going back from it must be possible."""
    try:
        return room.resolve(document)
    except AtmandError:
        return None


def _numbers(words: Sequence[str], parts: int) -> dict[tuple[str, ...], float]:
    """Read `a.b=1` (two parts) or `a=1` words into numbers by their names."""
    form = "STRATEGY.NAME=VALUE" if parts == 2 else "STRATEGY=WEIGHT"
    found: dict[tuple[str, ...], float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        path = tuple(name.split("."))
        try:
            number = float(text)
            if not math.isfinite(number):
                raise ValueError(text)
        except ValueError:
            raise UsageError(word, "not a number", f"write {form}") from None
        if not equals or len(path) != parts or not all(path):
            raise UsageError(word, "not an assignment", f"write {form}")
        found[path] = number
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
