"""How far a verb is, told to whoever waits for it: a bar on a terminal, elsewhere an event now and then.

What is done within two seconds says nothing. The verbs of research and of the questions use it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import structlog

__all__ = ["Progress", "progress"]

_PATIENCE_S: Final = 2.0
_EVERY_S: Final = 10.0
_BEAT_S: Final = 0.5

log = structlog.get_logger()


class Progress(Protocol):
    """What a run reports to: call it with (done, all); `stage` names what is being done from now on."""

    def __call__(self, done: int, whole: int) -> None: ...

    def stage(self, what: str) -> None: ...


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show how far a run is, if it takes its time, also while it reports nothing, as a compiler does."""
    shown: _Bar | _Lines = _Bar(what) if sys.stderr.isatty() else _Lines(what)
    done = threading.Event()

    def watch() -> None:
        pause = _PATIENCE_S
        while not done.wait(pause):
            pause = shown.show()

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield shown
    finally:
        done.set()
        watcher.join()
        shown.close()


class _Bar:
    """A line at the foot of a terminal, gone when the run is."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(what, total=None)
        self._what = what

    def __call__(self, done: int, whole: int) -> None:
        self._bar.update(self._task, completed=done, total=whole)

    def stage(self, what: str) -> None:
        self._bar.update(self._task, description=f"{self._what}: {what}", completed=0, total=None)

    def show(self) -> float:
        self._bar.start()
        return _BEAT_S

    def close(self) -> None:
        self._bar.stop()


class _Lines:
    """An event every ten seconds for who reads no terminal."""

    def __init__(self, what: str) -> None:
        self._what, self._stage = what, ""
        self._done, self._whole = 0, 0

    def __call__(self, done: int, whole: int) -> None:
        self._done, self._whole = done, whole

    def stage(self, what: str) -> None:
        self._stage, self._done, self._whole = what, 0, 0

    def show(self) -> float:
        log.info("verb_works", verb=self._what, stage=self._stage, done=self._done, of=self._whole)
        return _EVERY_S

    def close(self) -> None:
        pass
