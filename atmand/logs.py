"""Where events go: JSON lines for machines, readable lines for a terminal, and never a secret in either.

The command line calls `configure` once; rooms only call structlog. A thread does the writing, so that a stalled
terminal, pipe or disk stalls no trade.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal, TextIO, cast

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from structlog.typing import FilteringBoundLogger, WrappedLogger

from atmand.log_file import LogFile
from atmand.log_lines import line

__all__ = [
    "Level",
    "LogSettings",
    "configure",
    "file_of",
    "flush",
    "is_secret_name",
    "masked",
    "reopen",
    "set_level",
]

Level = Literal["debug", "info", "warning", "error"]


class LogSettings(BaseModel):
    """Which events are written, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    level: Level = "info"
    """The least severe events that are written: debug, info, warning or error."""
    format: Literal["auto", "json", "text"] = Field("auto")
    """json, text, or auto: readable text on a terminal and JSON lines elsewhere."""
    file: Literal["auto", "none"] | Path = "auto"
    """Where JSON lines are written as well: a path, none, or auto, log/atmand.jsonl in the state directory."""
    file_bytes: int = Field(10_000_000, ge=10_000, le=10**12)
    """Bytes after which that file is set aside as FILE.1 and a new one begun, 10000 or more."""
    old_files: int = Field(3, ge=0, le=1_000)
    """How many files set aside are kept, 0 to 1000."""


def file_of(settings: LogSettings, state: Path) -> Path | None:
    """Return the file that events are written to as JSON lines; None where there is none."""
    if settings.file == "none":
        return None
    return state / "log" / "atmand.jsonl" if settings.file == "auto" else Path(settings.file)


def configure(settings: LogSettings, stream: TextIO, state: Path | None = None) -> None:
    """Send every event, those of libraries that use `logging` included, to `stream` from now on.

    With a state directory they go to the file that the settings name as well, whatever the stream gets.
    """
    flush()
    path = None if state is None else file_of(settings, state)
    kept = LogFile(path, limit_bytes=settings.file_bytes, old_files=settings.old_files) if path is not None else None
    _output.keep(kept)
    terminal = stream.isatty()
    text = settings.format == "text" or (settings.format == "auto" and terminal)
    _output.stream = stream
    _output.render = _text_renderer(colors=terminal and "NO_COLOR" not in os.environ) if text else _json
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=cast("type[FilteringBoundLogger]", _GatedLogger),
        logger_factory=_Queued,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _LibraryHandler)]
    root.addHandler(_LibraryHandler())
    set_level(settings.level)


def set_level(level: Level) -> None:
    """Change the level of every logger, those in use included."""
    number = logging.getLevelNamesMapping()[level.upper()]
    _output.level = number
    # Libraries are heard from warnings on; numba's debug output is a compiler's whole diary.
    logging.getLogger().setLevel(logging.INFO if number <= logging.DEBUG else max(number, logging.WARNING))


def reopen() -> None:
    """Open the file of JSON lines anew with the next event: it may have been moved away. Waits for nothing."""
    _output.reopen_file = True


def flush(timeout_s: float = 2.0) -> None:
    """Wait until what was logged so far is written; at most `timeout_s` of machine time."""
    _output.flush(timeout_s)


_SECRET_NAME: Final = re.compile(r"token|secret|key|password|authorization|credential", re.IGNORECASE)
_NOT_SECRET: Final = re.compile(r"_(?:file|path|count)$")
_SECRET_VALUE: Final = re.compile(
    r"((?:access_token|request_token|refresh_token|public_token|api_key|api_secret|secret|password|checksum)"
    r"[\"']?\s*[=:]\s*[\"']?|\btoken\s+[^\s:\"']+:|\bbearer\s+)[^\s&\"',;}\])]+",
    re.IGNORECASE,
)
_MASK: Final = "***"


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name must not be shown; the name of a file that holds a secret may be."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET.search(name)


def masked(name: str, value: Any) -> Any:
    """Return a value as it may be shown under a name: secrets become `***`, also inside URLs and mappings."""
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, str | bytes) and is_secret_name(name):
        return _MASK if value else value
    if isinstance(value, str):
        return _SECRET_VALUE.sub(rf"\1{_MASK}", value)
    if isinstance(value, Mapping):
        return {str(key): masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(name, inner) for inner in value]
    return value


_LIMIT: Final = 10_000
"""Lines that may wait for a stalled reader; what comes past it is counted and dropped."""


_Lines = tuple[str, str]
"""An event as the stream gets it, and as the file does; empty where there is no file."""


class _Output:
    """The bounded queue between loggers and what is written, and the thread that empties it."""

    def __init__(self) -> None:
        self.stream: TextIO = sys.stdout
        self.render: Callable[[MutableMapping[str, Any]], str] = _json
        self.level = logging.INFO
        self.dropped = 0
        self.reopen_file = False
        self._file: LogFile | None = None
        self._waiting: queue.Queue[tuple[TextIO, LogFile | None, _Lines]] = queue.Queue(_LIMIT)
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep(self, file: LogFile | None) -> None:
        """Write to another file from now on, or to none."""
        before, self._file = self._file, file
        if before is not None:
            before.close()

    def rendered(self, context: MutableMapping[str, Any]) -> _Lines:
        shown = self.render(context) + "\n"
        if self._file is None:
            return shown, ""
        return shown, shown if self.render is _json else _json(context) + "\n"

    def put(self, lines: _Lines) -> None:
        if self._thread is None:
            self._launch()
        try:
            self._waiting.put_nowait((self.stream, self._file, lines))
        except queue.Full:
            self.dropped += 1

    def flush(self, timeout_s: float) -> None:
        done = self._waiting.all_tasks_done
        with done:
            done.wait_for(lambda: not self._waiting.unfinished_tasks, timeout_s)

    def _launch(self) -> None:
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        while True:
            stream, file, (shown, kept) = self._waiting.get()
            dropped, self.dropped = self.dropped, 0
            if dropped:
                lost = _stamped("log_lines_dropped", "warning", {"room": "logs", "lines": dropped})
                shown, kept = (line + more for line, more in zip((shown, kept), self.rendered(lost), strict=True))
            try:
                if file is not None:
                    self._write_file(file, kept)
                stream.write(shown)
                if self._waiting.empty():
                    stream.flush()
            except (OSError, ValueError):
                pass  # the reader went away or the stream was closed: trading goes on without a listener
            finally:
                self._waiting.task_done()

    def _write_file(self, file: LogFile, line: str) -> None:
        """Write to the file before the stream: a reader that stalls costs the file nothing but what then queues."""
        if self.reopen_file:
            self.reopen_file = False
            file.reopen()
        file.write(line)


class _Queued:
    """The logger under structlog: whatever the level's name, a rendered event joins the queue."""

    def __init__(self, *_: Any) -> None:
        pass

    def msg(self, *lines: str) -> None:
        _output.put(cast("_Lines", lines))

    debug = info = warning = error = critical = exception = msg


class _GatedLogger(structlog.BoundLoggerBase):
    """A bound logger whose level can change while it is in use, and which costs little below the level."""

    def debug(self, event: str, **context: Any) -> None:
        if _output.level <= logging.DEBUG:
            self._proxy_to_logger("debug", event, **context)

    def info(self, event: str, **context: Any) -> None:
        if _output.level <= logging.INFO:
            self._proxy_to_logger("info", event, **context)

    def warning(self, event: str, **context: Any) -> None:
        if _output.level <= logging.WARNING:
            self._proxy_to_logger("warning", event, **context)

    def error(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("error", event, **context)

    def critical(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("critical", event, **context)

    def exception(self, event: str, **context: Any) -> None:
        self._proxy_to_logger("error", event, **{"exc_info": True, **context})


class _LibraryHandler(logging.Handler):
    """Brings what libraries say through `logging` onto the same lines, under one fixed event."""

    def emit(self, record: logging.LogRecord) -> None:
        context: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            context["exc_info"] = record.exc_info
        event = _stamped("library_message", record.levelname.lower(), context)
        event = structlog.processors.format_exc_info(None, "", event)
        _output.put(_output.rendered(_mask_context(None, "", event)))


def _stamped(event: str, level: str, context: Mapping[str, Any]) -> MutableMapping[str, Any]:
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return {"time": moment, "level": level, "event": event, **context}


def _describe(_: WrappedLogger, method: str, context: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event = str(context.pop("event", ""))
    return _stamped(event, method, {"room": _calling_room(), **context})


def _calling_room() -> str:
    """Return the room (or top module) whose code logs: the first frame that is neither structlog's nor ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not name.startswith("structlog") and name != __name__:
            return name.removeprefix("atmand.").split(".")[0]
        frame = frame.f_back
    return "atmand"


def _mask_context(_: WrappedLogger, __: str, context: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in context.items():
        context[key] = masked(key, value)
    return context


def _rendered(_: WrappedLogger, __: str, context: MutableMapping[str, Any]) -> tuple[_Lines, dict[str, Any]]:
    """Return what structlog calls the logger with: positional arguments and keywords."""
    return _output.rendered(context), {}


def _json(context: MutableMapping[str, Any]) -> str:
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(context, default=str, option=options).decode()


def _text_renderer(*, colors: bool) -> Callable[[MutableMapping[str, Any]], str]:
    return lambda context: line(context, colors=colors)


_PROCESSORS: Final[list[structlog.typing.Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.format_exc_info,
    _describe,
    _mask_context,
    _rendered,
]
_output: Final = _Output()
atexit.register(flush)
