"""Candles from the broker's history, journaled: warm-up at the start, back-fill after a gap, and a simulated past.

The daemon says when; instruments are asked for a few at a time, and one that fails is left out, and said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import date
from typing import Final

import structlog

from atmand.clocks import MarketClock
from atmand.core.manifest import Program
from atmand.errors import AtmandError
from atmand.feed.kite_rest import KiteRest
from atmand.opening import history_days
from atmand.past import Candles, fetch_past, fold_past
from atmand.settings import Settings
from atmand.trading import Trading
from atmand.universe import Universe

__all__ = ["Backfill"]

log = structlog.get_logger()

_AT_ONCE: Final = 4
_TELL_S: Final = 2.0
"""Progress is told so often."""


class Backfill:
    """Fetches candles for a session's instruments and gives them to the trading side."""

    def __init__(self, rest: KiteRest, trading: Trading, clock: MarketClock) -> None:
        self._rest, self._trading, self._clock = rest, trading, clock
        self.due = asyncio.Event()
        """Set where market data is missing; whoever fills clears it."""

    async def fill(self, universe: Universe, program: Program) -> None:
        """Fetch candles for every instrument and journal them."""
        self.due.clear()
        now_ns = self._clock.now_ns()
        from_ns = now_ns - int(history_days(program.manifest).total_seconds()) * 10**9
        tokens = universe.bar_tokens
        began, found = time.monotonic(), [0, 0]
        for first in range(0, len(tokens), _AT_ONCE):
            # What came is journaled before more is asked for: a hundred instruments' candles at once take memory.
            candles = await self._candles(tokens[first : first + _AT_ONCE], from_ns, now_ns)
            self._trading.history(candles, now_ns, self._clock.now_ns())
            found = [found[0] + len(candles), found[1] + sum(len(rows) for rows in candles.values())]
        self._tell(found[0], found[1], began)

    def take(self, candles: Candles, universe: Universe, program: Program) -> None:
        """Journal candles that are there already, as far back as the strategies look."""
        began, now_ns = time.monotonic(), self._clock.now_ns()
        from_ns = now_ns - int(history_days(program.manifest).total_seconds()) * 10**9
        known = {token: rows[rows["start_ns"] >= from_ns] for token, rows in candles.items()}
        self._trading.history(known, now_ns, now_ns)
        self._tell(len(known), sum(len(rows) for rows in known.values()), began)

    async def past(self, settings: Settings, universe: Universe, program: Program, day: date) -> Candles:
        """Fetch and trade the sessions before `day`; return the candles, for the first session's warm-up."""
        sessions, began, told = settings.simulator.past_sessions, time.monotonic(), time.monotonic()

        async def fetch(from_ns: int, to_ns: int) -> Candles:
            found: Candles = {}
            for first in range(0, len(universe.bar_tokens), _AT_ONCE):
                found |= await self._candles(universe.bar_tokens[first : first + _AT_ONCE], from_ns, to_ns)
            return found

        def progress(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told >= _TELL_S or done == total:
                told = time.monotonic()
                log.info("past_fetching", days=done, of_days=total)

        candles = await fetch_past(fetch, sessions, program, day, progress)
        folded = await asyncio.to_thread(fold_past, settings, universe, program, candles, sessions)
        if folded is not None:
            self._trading.keep_past(folded, universe, program)
            log.info(
                "past_folded",
                sessions=len(folded.sessions),
                fills=folded.fills,
                instruments=len(candles),
                seconds=round(time.monotonic() - began, 2),
            )
        return candles

    async def _candles(self, tokens: Sequence[int], from_ns: int, to_ns: int) -> Candles:
        candles: Candles = {}

        async def fetch(token: int) -> None:
            try:
                candles[token] = await self._rest.history(token, from_ns, to_ns)
            except AtmandError as error:
                log.warning("history_failed", token_id=token, error=str(error))

        async with asyncio.TaskGroup() as group:
            for token in tokens:
                group.create_task(fetch(token))
        return candles

    def _tell(self, instruments: int, candles: int, began: float) -> None:
        log.info("history_folded", instruments=instruments, candles=candles, seconds=round(time.monotonic() - began, 2))
        for strategy, instrument, have, need in self._trading.warming():
            bars = max(0, need - have)
            log.info("warming", strategy=strategy, instrument=instrument, bars=have, needed=need, eta_bars=bars)
