"""The one exception family of atmand and the exit codes that every verb shares.

Each room derives its own error from `AtmandError`; a message says where, what and what to do, so that the
command line can print it as it is and exit with its code.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

__all__ = ["AtmandError", "DamagedError", "ExitCode", "UnreachableError", "UnsafeError", "UsageError"]


class ExitCode(IntEnum):
    """What a finished `atmand` tells its caller; the daemon's own exits use the same table."""

    DONE = 0
    DIFFERENT = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    UNSAFE = 5
    DAMAGED = 6
    INTERRUPTED = 130


class AtmandError(Exception):
    """Something was refused: `where: what; remedy` in one line, and the exit code that goes with it."""

    exit_code: ClassVar[ExitCode] = ExitCode.REFUSED

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        self.where = where
        self.what = what
        self.remedy = remedy
        super().__init__(f"{where}: {what}" + (f"; {remedy}" if remedy else ""))


class UsageError(AtmandError):
    """The command line was used wrongly."""

    exit_code = ExitCode.USAGE


class UnreachableError(AtmandError):
    """A peer (exchange, broker, store) did not answer."""

    exit_code = ExitCode.UNREACHABLE


class UnsafeError(AtmandError):
    """Refused for safety: another instance holds the state, the kill switch is on, live mode was not confirmed."""

    exit_code = ExitCode.UNSAFE


class DamagedError(AtmandError):
    """Recorded state cannot be read back."""

    exit_code = ExitCode.DAMAGED
