"""The verb `atmand logs`: JSON lines of the log as a person reads them, over all files and as they come.

`cli` registers it. It only reads, so it works beside a running daemon and after one.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import orjson
import typer

from atmand.cli_words import Config, State
from atmand.errors import UsageError
from atmand.log_file import older
from atmand.log_lines import line

__all__ = ["followed", "logs", "readable", "selected", "written"]

_POLL_S: Final = 0.2
_FOLLOWED_LINES: Final = 20
_ASKED: Final = ("debug", "info", "warning", "error")
_LEVELS: Final = {name: rank for rank, name in enumerate((*_ASKED, "critical"))}
_CONTROLS: Final = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160)) if number not in (9, 10)}
"""What could move a terminal's cursor or change its colours is shown by its number."""


def logs(
    context: typer.Context,
    file: Annotated[
        str | None, typer.Argument(help="A file of JSON lines, or - for standard input.", metavar="FILE")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is yet to come.")] = False,
    event: Annotated[list[str] | None, typer.Option(help="Only this event; may be repeated.", metavar="NAME")] = None,
    level: Annotated[
        Any, typer.Option(help="Only this level and those above it.", parser=_level, metavar="LEVEL")
    ] = None,
    lines: Annotated[
        int | None, typer.Option(help="Only the last so many that fit. Default: all, 20 with -f.", min=0)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON lines as they are.")] = False,
    config: Config = None,
    state: State = None,
) -> None:
    """Show what the daemon said: its log's files in order, then what comes.

    A line that is not JSON is shown as it is, unless --event or --level asks for something.
    """
    show = _shown(as_json)
    fits = selected(frozenset(event or ()), level)
    if file == "-":
        for text in _last(filter(fits, sys.stdin.buffer), lines):
            _print([text], show)
        return
    path = Path(file) if file is not None else _file(context, config, state)
    if not follow:
        if not path.exists():
            raise UsageError(str(path), "no such file", "name another, or wait for it with --follow")
        _print(_last(filter(fits, written(path)), lines), show)
        return
    for batch in followed(path, fits, _FOLLOWED_LINES if lines is None else lines):
        _print(batch, show)


def selected(events: frozenset[str], level: str | None) -> Callable[[bytes], bool]:
    """Return what says whether a line is asked for; nothing that is not JSON is, where anything is asked for."""
    if not events and level is None:
        return lambda _: True
    least = _LEVELS.get(level or "debug", 0)

    def fits(text: bytes) -> bool:
        found = _parsed(text)
        if found is None or (events and found.get("event") not in events):
            return False
        return _LEVELS.get(str(found.get("level")), _LEVELS["info"]) >= least

    return fits


def readable(text: bytes, *, colors: bool) -> str:
    """Write one line of the log for a reader; one that is not JSON, or tells odd things, stays as it is."""
    found = _parsed(text)
    if found is not None:
        try:
            return line({name: _harmless(value) for name, value in found.items()}, colors=colors)
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError):
            pass  # known names with unknown contents: another program's log, or another version's
    return str(_harmless(text.decode("utf-8", "replace").rstrip("\n")))


def written(path: Path) -> Iterator[bytes]:
    """Yield the lines of a log's files, the oldest first."""
    with ExitStack() as stack:
        for file in [stack.enter_context(part) for part in _opened(path)]:
            yield from file


def followed(path: Path, fits: Callable[[bytes], bool], lines: int) -> Iterator[Iterable[bytes]]:
    """Yield the last lines that fit, then batches of them as they are written, over rotations and without an end.

    An empty batch says that nothing came; a file that is not there yet is waited for.
    """
    tail = _Tail(path)
    try:
        yield _last(filter(fits, tail.start()), lines)
        while True:
            time.sleep(_POLL_S)
            yield list(filter(fits, tail.more()))
    finally:
        tail.close()


class _Tail:
    """A place in a log that is being written: the open file and what of its last line has come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""

    def start(self) -> Iterator[bytes]:
        """Yield everything that is there."""
        yield from self._go_through(_opened(self._path))

    def more(self) -> Iterator[bytes]:
        """Yield what has come since: of this file, and of those that were begun after it."""
        yield from self._rest()
        if self._file is None:
            yield from self._go_through(_opened(self._path))
        elif self._path.exists() and _identity(self._path.stat()) != _identity(os.fstat(self._file.fileno())):
            yield from self._rest()  # what came between the last look and the rename
            yield from self._go_through(self._newer())

    def close(self) -> None:
        """Let go of the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _newer(self) -> list[BinaryIO]:
        """Return the files that were begun after ours."""
        here = _identity(os.fstat(self._file.fileno())) if self._file is not None else None
        files = _opened(self._path)
        found = [_identity(os.fstat(file.fileno())) for file in files]
        # One that was removed was the oldest: everything there is newer.
        newer = found.index(here) + 1 if here in found else 0
        for file in files[:newer]:
            file.close()
        return files[newer:]

    def _go_through(self, files: list[BinaryIO]) -> Iterator[bytes]:
        for file in files:
            self.close()
            self._file, self._begun = file, b""
            yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # cut to nothing, as logrotate's copytruncate does
            self._begun = b""
        for text in self._file:
            self._begun += text
            if self._begun.endswith(b"\n"):
                text, self._begun = self._begun, b""
                yield text


def _opened(path: Path) -> list[BinaryIO]:
    """Open a log's files, the oldest first; a rotation meanwhile makes none of them come twice or be missed."""
    found: dict[tuple[int, int], BinaryIO] = {}
    for part in (path, *reversed(older(path))):
        try:
            file = part.open("rb")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(part, error) from None
        if file is not found.setdefault(_identity(os.fstat(file.fileno())), file):
            file.close()
    return list(found.values())[::-1]


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _last(texts: Iterable[bytes], lines: int | None) -> Iterable[bytes]:
    """Return the last so many lines; where all are wanted, as they come."""
    return texts if lines is None else list(deque(texts, lines))


def _print(texts: Iterable[bytes], show: Callable[[bytes], str]) -> None:
    for text in texts:
        print(show(text))
    sys.stdout.flush()


def _shown(as_json: bool) -> Callable[[bytes], str]:
    if as_json:
        return lambda text: text.decode("utf-8", "replace").rstrip("\n")
    colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return lambda text: readable(text, colors=colors)


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _harmless(value: Any) -> Any:
    return value.translate(_CONTROLS) if isinstance(value, str) else value


def _level(text: str) -> str:
    if text not in _ASKED:
        raise typer.BadParameter(f"{text!r} is not a level; write {', '.join(_ASKED)}")
    return text


def _file(context: typer.Context, config: Path | None, state: Path | None) -> Path:
    """Return the file that the configuration's daemon writes."""
    from atmand.logs import LogSettings, file_of
    from atmand.settings import load

    if state is not None and config is None and context.obj is None:
        settings, directory = LogSettings(), state
    else:
        loaded = load(config or context.obj)
        settings, directory = loaded.log, state or loaded.instance.state
    file = file_of(settings, directory)
    if file is None:
        raise UsageError("log.file", "none: this daemon keeps no file", "pipe its output: ... | atmand logs -")
    return file


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(str(path), (error.strerror or "not readable").lower(), "name a file that can be read")
