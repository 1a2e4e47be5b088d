"""What the operator has switched by hand and expects to find so after a reload, a new session or a restart.

A decision never reads it: it goes into the LIMITS records that are written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from atmand.errors import DamagedError
from atmand.journal.files import replace_file

__all__ = ["SWITCHES", "Switches"]

SWITCHES: Final = "switches.json"
"""The file's name in the state directory."""


class Switches:
    """The switches, and the file that they outlive the daemon in; it is there once one was used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries_off = _read(path)

    def keep(self) -> None:
        """Write them down; OSError where the disk refuses. One call at a time, in a thread: it waits for the disk."""
        replace_file(self._path, json.dumps({"entries_off": self.entries_off}).encode() + b"\n")


def _read(path: Path) -> bool:
    try:
        off = json.loads(path.read_bytes())["entries_off"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        off = None
    if not isinstance(off, bool):
        raise DamagedError(str(path), "cannot be read", "remove it: entries are then as limits.entries says")
    return off
