"""Tells systemd how the daemon is: ready, reloading, stopping, alive, and what it does meanwhile.

The daemon calls it from its loop: every message is one datagram that is sent or dropped, never waited for. Without
NOTIFY_SOCKET every call is silent. The protocol is that of sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

__all__ = ["Notifier"]

_SHARE: Final = 0.5
"""sd_watchdog_enabled(3) advises a ping every half of the interval."""


class Notifier:
    """One process's word to its service manager; a message that cannot be sent is lost, and nothing else is."""

    def __init__(self, address: str = "", watchdog_interval_s: float | None = None) -> None:
        """Speak to a socket: a path, or `@name` for an abstract one; an empty address is silence."""
        self.watchdog_interval_s = watchdog_interval_s
        """How often `watchdog` is to be called; None where nobody watches."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.active = address.startswith(("/", "@"))
        """Whether anybody is told anything."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Return the notifier that NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID ask for."""
        return cls(environ.get("NOTIFY_SOCKET", ""), _watchdog_interval_s(environ))

    def ready(self, status: str) -> None:
        """The start is over, or a reload is, a refused one as well: `status` says which."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. The time is what `Type=notify-reload` compares with its signal."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> None:
        """The daemon drains and leaves."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """What the daemon does now, in words: `systemctl status` shows it."""
        self._send(_status(text))

    def extend_start(self, seconds: float) -> None:
        """The start (or stop) goes on and takes up to so long from now: for compiling, and for folding a past."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def watchdog(self) -> None:
        """The loop is alive."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self.active:
            return
        # A full or missing socket loses the message: systemd's own timeouts then speak for it. Messages are rare, so
        # that each has a socket of its own, and there is nothing to close.
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(assignments).encode("utf-8", "replace"), self._address)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Return half of WATCHDOG_USEC, if that is meant for this process."""
    try:
        microseconds = int(environ["WATCHDOG_USEC"])
        pid = int(environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return microseconds / 1e6 * _SHARE if microseconds > 0 and pid == os.getpid() else None
