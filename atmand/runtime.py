"""`runtime.json`: how a verb finds the daemon that runs on a state directory.

The daemon writes it when its API listens and removes it when it leaves; what a crash leaves behind names a dead
process and counts for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

__all__ = ["Runtime", "alive", "announced", "running", "told"]

_FILE: Final = "runtime.json"


@dataclass(frozen=True)
class Runtime:
    """A daemon that runs: its process, the port of its API (0: none), and since when (ISO 8601, UTC)."""

    pid: int
    port: int
    started: str
    host: str = "127.0.0.1"
    """The address that the API listens on."""
    token_file: str = ""
    """The file with the token of the verbs on this machine; empty without an API."""

    @property
    def url(self) -> str:
        """Where a verb on this machine reaches the API; one that listens on all addresses does so on loopback too."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


@contextlib.contextmanager
def announced(state: Path, port: int, *, host: str = "127.0.0.1", token_file: Path | None = None) -> Iterator[Runtime]:
    """Write the file for as long as the daemon runs; only its user may read it."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    here = Runtime(os.getpid(), port, started, host, "" if token_file is None else str(token_file.absolute()))
    path, fresh = state / _FILE, state / f".{_FILE}.{os.getpid()}"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(here), file)
    fresh.replace(path)
    try:
        yield here
    finally:
        path.unlink(missing_ok=True)


def told(state: Path) -> Runtime | None:
    """Return what the file says, whether or not that process still runs; None where it cannot be read."""
    try:
        found = Runtime(**json.loads((state / _FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if isinstance(found.pid, int) and found.pid > 0 and isinstance(found.port, int) else None


def alive(pid: int) -> bool:
    """Whether a process runs, whoever owns it."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # another user's
    except (OSError, OverflowError):
        return False
    return True


def running(state: Path) -> Runtime | None:
    """Return the daemon that runs on a state directory; None where none does."""
    found = told(state)
    return found if found is not None and alive(found.pid) else None
