"""The daemon: builds the rooms, runs them in one TaskGroup, listens to signals, and drains.

Life is a sentence: start, trade until told to stop, drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from atmand import logs
from atmand.clocks import monotonic_ns
from atmand.compiling import compiled
from atmand.core.records import Command
from atmand.errors import AtmandError, ExitCode
from atmand.in_force import InForce
from atmand.market_side import MarketSide
from atmand.opening import deployments_of, session_day, session_windows, universe_of
from atmand.settings import Settings
from atmand.start import held_signals
from atmand.trading import Trading

__all__ = ["run"]

log = structlog.get_logger()

_DRAIN_S: Final = 5.0
_HOUSEKEEPING_S: Final = 1.0
_SNAPSHOT_S: Final = 300.0
_SETTLE_S: Final = 0.05


def run(settings: Settings, run_for_ns: int | None = None) -> int:
    """Run until told to stop and return the exit code; `run_for_ns` is machine time."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_Daemon(settings, run_for_ns).main())
    logs.flush()
    return code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where there is one: its latency is lower; None is plain asyncio."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _Stop(Exception):
    """Ends the TaskGroup: the daemon was told to stop, or the market is over."""


class _Daemon:
    """One run of the daemon."""

    def __init__(self, settings: Settings, run_for_ns: int | None) -> None:
        self._settings = settings
        self._run_for_ns = run_for_ns
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()
        self._stops = 0

    async def main(self) -> int:
        """Start, trade, drain. Errors of the start leave with their own exit code."""
        started = time.monotonic()
        self._listen()
        async with AsyncExitStack() as stack:
            self._trading = await self._open_state(stack)
            self._market = MarketSide(self._settings, self._trading, self._stopping.set)
            if not await self._started(stack):
                log.info("stopped", sequence=self._trading.writer.appended, bars=0, fills=0)
                return int(ExitCode.DONE)
            log.info(
                "ready",
                seconds=round(time.monotonic() - started, 2),
                market="simulated" if self._market.simulated else "kite",
                pid=os.getpid(),
                state=str(self._settings.instance.state),
                day=str(self._trading.day),
                warming=len(self._trading.warming()),
            )
            gc.collect()
            gc.freeze()
            try:
                await self._trade()
            finally:
                await self._drain()
        return int(ExitCode.DONE)

    # Start.

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reloading.set)
        for number in held_signals():
            if number is signal.SIGHUP:
                self._reloading.set()
            else:
                self._told_to_stop(number)

    def _told_to_stop(self, number: int) -> None:
        self._stops += 1
        if self._stops > 1:
            log.warning("stop_forced", signal=signal.Signals(number).name)
            logs.flush(0.5)
            os._exit(int(ExitCode.INTERRUPTED))
        log.info("stop_asked", signal=signal.Signals(number).name)
        self._stopping.set()

    async def _open_state(self, stack: AsyncExitStack) -> Trading:
        """Lock the state directory, open the journal and recover, before anything else is started."""
        state = self._settings.instance.state
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AtmandError(str(state), error.strerror or "cannot be made", "name another with --state DIR") from None
        self._tell_beginning()
        trading = Trading(self._settings)
        stack.callback(trading.writer.close)
        recovered = trading.recover()
        if recovered is not None:
            log.info(
                "recovered",
                day=recovered.session.day,
                records=recovered.records,
                decided_again=recovered.decided_again,
                sequence=trading.writer.opened.last_sequence,
            )
        return trading

    async def _started(self, stack: AsyncExitStack) -> bool:
        """Start, and give that up where a stop is asked for meanwhile: a first start may compile for half a minute."""
        starting = asyncio.create_task(self._start(stack))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._stopping.is_set():
            starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            return False
        return True

    async def _start(self, stack: AsyncExitStack) -> None:
        """Bring up the market's side, compile, open the session, warm up, connect."""
        settings, market = self._settings, self._market
        deployments = deployments_of(settings)
        past_due = market.simulated and settings.simulator.past_sessions > 0 and not self._trading.has_session
        compiling = asyncio.create_task(compiled(deployments, driver=past_due))
        try:
            await market.reach(settings, stack)
            universe = universe_of(deployments, await market.rest.instruments(), lenient=market.bar_path)
            program = await compiling
        finally:
            compiling.cancel()
        self._in_force = InForce(
            settings,
            deployments,
            universe,
            program,
            self._trading,
            market.clock,
            simulated=market.simulated,
            bar_path=market.bar_path,
        )
        await self._open_market(past_due)
        market.listen(self._in_force)

    async def _open_market(self, past_due: bool) -> None:
        """Go on with the session that was under way or open a new one, and fetch the candles that it needs."""
        market, force, trading = self._market, self._in_force, self._trading
        now_ns = market.start_ns(str(self._settings.instance.state))
        day = session_day(now_ns, simulated=market.simulated)
        missed = True
        if trading.continues(day, force.program, force.seed):
            missed = trading.resume(day, force.universe, now_ns)
            # What a reload had changed may have been changed back while nothing ran.
            force.put_params()
        else:
            candles = {}
            if past_due:
                candles = await market.backfill.past(self._settings, force.universe, force.program, day)
            force.open(day, now_ns)
            if candles:
                market.backfill.take(candles, force.universe, force.program)
                missed = now_ns > min(window.open_ns for window in session_windows(day))
        if missed and market.simulated:
            await market.backfill.fill(force.universe, force.program)  # simulated time stands still meanwhile
        elif missed:
            market.backfill.due.set()  # ticks first, then the candles up to them: nothing falls between

    # Trade.

    async def _trade(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._market.run(), name="market")
                group.create_task(self._housekeeping(), name="housekeeping")
                group.create_task(self._reloader(), name="reloader")
                group.create_task(self._until_stopped(), name="until-stopped")
        except* _Stop:
            pass
        except* AtmandError as refused:
            raise _first(refused) from None

    async def _until_stopped(self) -> None:
        timeout = None if self._run_for_ns is None else self._run_for_ns / 1e9
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._stopping.wait()
        raise _Stop

    async def _housekeeping(self) -> None:
        """Watch the disk, keep snapshots, stamp nothing: what needs no market time."""
        kept_ns = monotonic_ns()
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self._trading.watch_disk(self._in_force.now_ns)
            if monotonic_ns() - kept_ns >= _SNAPSHOT_S * 1e9:
                kept_ns = monotonic_ns()
                await self._trading.writer.written_to(self._trading.writer.appended)
                self._trading.snapshot()

    async def _reloader(self) -> None:
        """Take SIGHUPs one burst at a time; a refused configuration changes nothing."""
        while True:
            await self._reloading.wait()
            await asyncio.sleep(_SETTLE_S)
            self._reloading.clear()
            try:
                await self._in_force.reload()
            except AtmandError as error:
                log.error("reload_refused", error=str(error))

    # End.

    async def _drain(self) -> None:
        """No entries, books kept, journal on disk: within five seconds."""
        trading = self._trading
        try:
            if trading.engine.ready:
                trading.command(Command.ENTRIES_OFF, self._in_force.now_ns)
                async with asyncio.timeout(_DRAIN_S):
                    await trading.writer.synced(trading.writer.appended)
                trading.snapshot()
        except (AtmandError, TimeoutError) as error:
            log.error("drain_incomplete", error=str(error))
        header = trading.engine.header
        log.info("stopped", sequence=trading.writer.appended, bars=int(header["bars"]), fills=int(header["fills"]))

    def _tell_beginning(self) -> None:
        simulated = self._settings.feed.kind == "simulator"
        market = "an embedded exchange, no key needed" if simulated else "Kite Connect"
        log.info("starting", money="paper", market=market, configuration=str(self._settings.path))


def _first(group: BaseExceptionGroup[AtmandError]) -> AtmandError:
    """Return the first error of a group of groups."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
