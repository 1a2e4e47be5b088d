"""The daemon's side of keeping bars: at a session's end a child folds it into the bar store; the loop only waits.

A child that fails costs nothing but its bars, and the next one makes up for it: it keeps all that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from datetime import date
from typing import Final

import orjson
import structlog

from atmand.settings import Settings
from atmand.trading import Trading

__all__ = ["BarKeeper"]

log = structlog.get_logger()

_LOOK_S: Final = 1.0
_LONGEST_S: Final = 1_800.0
"""A child that takes longer is ended; the journal still has what it did not keep."""
_TOLD: Final = 300
"""Most characters of a child's complaint that are told."""


class BarKeeper:
    """Watches for the ends of sessions. `run` is a task of the daemon's."""

    def __init__(self, settings: Settings, trading: Trading, *, simulated: bool) -> None:
        wanted = settings.history.keep_bars
        self._wanted = not simulated if wanted is None else wanted
        self._state, self._store = settings.instance.state, settings.bar_store
        self._trading = trading
        self._kept: date | None = None
        self._looked: date | None = None

    async def run(self) -> None:
        """Keep the bars of sessions as they end, until cancelled; at the start, of those that ended unattended."""
        if not self._wanted:
            return
        due = True
        while True:
            if due:
                await self._trading.writer.written_to(self._trading.writer.appended)
                await self._keep()
            await asyncio.sleep(_LOOK_S)
            due = self._is_due()

    def _is_due(self) -> bool:
        """Say whether a session has ended since the last look."""
        trading, day = self._trading, self._trading.day
        before, self._looked = self._looked, day
        missed = before is not None and before != day  # what is kept already costs the child nothing
        ended = trading.engine.ready and bool(trading.engine.header["session_ended"]) and day != self._kept
        if ended:
            self._kept = day
        return missed or ended

    async def _keep(self) -> None:
        began = time.monotonic()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "atmand.keep_bars", str(self._state), str(self._store),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_LONGEST_S):
                told, complaint = await child.communicate()
        except (asyncio.CancelledError, TimeoutError) as error:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            if isinstance(error, asyncio.CancelledError):
                raise
            told, complaint = b"", b"took too long"
        if child.returncode != 0 or not told:
            lines = complaint.decode("utf-8", "replace").strip().splitlines() or [f"ended with {child.returncode}"]
            log.error("bars_not_kept", error=lines[-1][:_TOLD])
            return
        done = orjson.loads(told)
        if done["sessions"]:
            log.info(
                "bars_kept",
                sessions=len(done["sessions"]),
                instruments=done["instruments"],
                bars=done["rows"],
                added=done["added"],
                seconds=round(time.monotonic() - began, 2),
            )
