"""The simulator as somebody's child process: settings come in on standard input, the port goes out on standard output.

The child ends with its parent: when standard input closes, when the granting control connection is gone, or on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import structlog
from pydantic import ValidationError

from atmand.errors import AtmandError, ExitCode, UsageError
from atmand.sim.server import serve
from atmand.sim.settings import SimSettings

__all__ = ["run_child"]

_SETTINGS_FLAG: Final = "--json-settings-on-stdin"
_PARENT_FLAG: Final = "--parent-control"


def run_child(argv: Sequence[str]) -> int:
    """Run until told to end and return the exit code.

    `--json-settings-on-stdin` is required: one line of JSON, the fields of SimSettings. `--parent-control` sets the
    field of that name. One line `{"event": "sim_ready", "port": n}` on standard output says that it listens. A refusal
    is a line on standard error, or with `--parent-control` a line for the parent on standard output, who tells it.
    """
    _log_to_stderr()
    if _SETTINGS_FLAG not in argv or not set(argv) <= {_SETTINGS_FLAG, _PARENT_FLAG}:
        return _refused(UsageError("atmand.sim", f"wants {_SETTINGS_FLAG} [{_PARENT_FLAG}]", "or use `atmand sim`"))
    # Ctrl-C goes to the whole group; the parent drains first and then ends its child itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return asyncio.run(_run(parent_control=_PARENT_FLAG in argv))
    except AtmandError as error:
        return _told_parent(error) if _PARENT_FLAG in argv else _refused(error)


async def _run(*, parent_control: bool) -> int:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), os.fdopen(0, "rb", buffering=0))
    settings = _settings(await stdin.readline(), parent_control=parent_control)
    serving = asyncio.create_task(_serve(settings))
    orphaned = asyncio.create_task(_until_closed(stdin))
    loop.add_signal_handler(signal.SIGTERM, serving.cancel)
    await asyncio.wait({serving, orphaned}, return_when=asyncio.FIRST_COMPLETED)
    for task in (serving, orphaned):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    return ExitCode.DONE


async def _serve(settings: SimSettings) -> None:
    try:
        await serve(settings, _announce)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise UsageError(where, error.strerror or str(error), "choose another port, or 0 for a free one") from error


async def _until_closed(stdin: asyncio.StreamReader) -> None:
    while await stdin.read(4096):
        pass


def _settings(line: bytes, *, parent_control: bool) -> SimSettings:
    try:
        return SimSettings.model_validate(json.loads(line) | {"parent_control": parent_control})
    except (ValueError, TypeError) as error:
        what = str(error)
        if isinstance(error, ValidationError):
            what = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise AtmandError("simulator settings", what, "give one line of JSON with the simulator's fields") from error


def _announce(port: int) -> None:
    print(json.dumps({"event": "sim_ready", "port": port}), flush=True)


def _told_parent(error: AtmandError) -> int:
    told = {"event": "sim_refused", "exit_code": error.exit_code}
    print(json.dumps(told | {"where": error.where, "what": error.what, "remedy": error.remedy}), flush=True)
    return error.exit_code


def _refused(error: AtmandError) -> int:
    print(error, file=sys.stderr, flush=True)
    return error.exit_code


def _log_to_stderr() -> None:
    """Keep standard output for the one line that the parent reads."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
