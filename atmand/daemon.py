"""The daemon: builds the rooms, runs them in one TaskGroup, listens to signals, and drains.

Life is a sentence: start, trade until told to stop, drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from atmand import logs
from atmand.api.server import ApiServer
from atmand.api.tokens import TOKENS, Tokens, local_token
from atmand.bar_keeper import BarKeeper
from atmand.clocks import monotonic_ns
from atmand.compiling import compiled
from atmand.core.records import Command
from atmand.door import Door
from atmand.errors import AtmandError, ExitCode
from atmand.in_force import InForce, with_what_is_open
from atmand.ledger.keeper import LEDGER
from atmand.market_side import MarketSide
from atmand.notify import Notifier
from atmand.opening import check_costs, deployments_of, session_day
from atmand.params.file_store import FileStore
from atmand.params.keeper import Keeper
from atmand.past import Candles
from atmand.runtime import announced
from atmand.settings import Settings
from atmand.shown import Shown
from atmand.start import held_signals
from atmand.strategy_life import open_places
from atmand.trading import Trading
from atmand.universe import universe_of
from atmand.view import Lives
from atmand.vitals import Vitals, folder_bytes
from atmand.wiring import PARAMS

__all__ = ["run"]

log = structlog.get_logger()

_DRAIN_S: Final = 5.0
_HOUSEKEEPING_S: Final = 1.0
_SNAPSHOT_S: Final = 300.0
_SETTLE_S: Final = 0.05
_PULSE_S: Final = 0.1
_SWITCH_S: Final = 0.0005
"""How long the loop may wait for a thread that computes, such as the ledger's: a tenth of Python's own patience."""
_EXTEND_S: Final = 20.0
_CATCH_UP_S: Final = 30.0
"""How long the start waits for the ledger; a longer journal is caught up while trading."""


def run(settings: Settings, run_for_ns: int | None = None) -> int:
    """Run until told to stop and return the exit code; `run_for_ns` is machine time."""
    sys.setswitchinterval(_SWITCH_S)
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
        self._vitals = Vitals()
        self._notifier = Notifier.from_environment()
        self._lives = Lives()

    async def main(self) -> int:
        """Start, trade, drain. Errors of the start leave with their own exit code."""
        started = time.monotonic()
        self._listen()
        async with AsyncExitStack() as stack:
            self._trading = await self._open_state(stack)
            self._trading.on_applied = self._vitals.apply.add
            self._market = MarketSide(self._settings, self._trading, self._stopping.set)
            self._shown = Shown(self._settings, self._trading, self._market, self._vitals)
            self._door = Door(self._trading, lambda: self._market.clock.now_ns(), self._shown)
            await self._serve(stack)
            if not await self._started(stack):
                log.info("stopped", sequence=self._trading.writer.appended, bars=0, fills=0)
                return int(ExitCode.DONE)
            self._tell_ready(time.monotonic() - started)
            _settle_memory()
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
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        for number in held_signals():
            if number is signal.SIGHUP:
                self._told_to_reload()
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

    def _told_to_reload(self) -> None:
        self._vitals.reloads_asked += 1
        self._reloading.set()

    async def _open_state(self, stack: AsyncExitStack) -> Trading:
        """Lock the state directory, open the journal and recover, before anything else is started."""
        state = self._settings.instance.state
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
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

    async def _serve(self, stack: AsyncExitStack) -> None:
        """Answer on the API's port from now on, the start included, and let verbs find it."""
        api, state = self._settings.api, self._settings.instance.state
        if not api.enabled:
            stack.enter_context(announced(state, 0))
            return
        local, token_file = stack.enter_context(local_token(state))
        server = ApiServer(api, self._shown, Tokens(state / TOKENS, local), self._door.submit)
        port = await server.start()
        stack.push_async_callback(server.stop)
        log.info("page", url=server.url, tunnel=f"ssh -L {port}:127.0.0.1:{port} {platform.node() or 'HOST'}")
        if not api.on_loopback:
            log.warning("api_exposed", host=api.host, port=port)
        stack.enter_context(announced(state, port, host=api.host, token_file=token_file))

    async def _started(self, stack: AsyncExitStack) -> bool:
        """Start, and give that up where a stop is asked for meanwhile: a first start may compile for half a minute."""
        starting = asyncio.create_task(self._start(stack))
        stopping = asyncio.create_task(self._stopping.wait())
        while not starting.done() and not stopping.done():
            self._notifier.extend_start(3 * _EXTEND_S)
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED, timeout=_EXTEND_S)
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
        self._shown.busy_with = "compiling the strategies and reaching the market"
        deployments = with_what_is_open(settings, self._trading, deployments_of(settings))
        past_due = market.simulated and settings.simulator.past_sessions > 0 and not self._trading.has_session
        compiling = asyncio.create_task(compiled(deployments, driver=past_due))
        try:
            await market.reach(settings, stack)
            day = session_day(market.clock.now_ns(), simulated=market.simulated)
            check_costs(settings, day)
            held = open_places(self._trading.books())
            listing = await market.listing(day, [key for _, key in held])
            universe = universe_of(
                deployments,
                listing,
                lenient=market.bar_path,
                held=held,
                record=settings.record,
                newest=self._trading.newest_names(day),
            )
            program = await compiling
        finally:
            compiling.cancel()
        self._in_force = InForce(
            settings,
            deployments,
            listing,
            universe,
            program,
            self._trading,
            market.clock,
            Keeper(FileStore(settings.instance.state / PARAMS)),
            simulated=market.simulated,
            bar_path=market.bar_path,
        )
        self._in_force.start()
        await self._open_market(past_due, stack)
        self._shown.in_force = self._in_force
        market.listen(self._in_force)

    async def _open_market(self, past_due: bool, stack: AsyncExitStack) -> None:
        """Go on with the session that was under way or open a new one, and fetch the candles that it needs."""
        market, force, trading = self._market, self._in_force, self._trading
        now_ns = market.start_ns(str(self._settings.instance.state))
        day = session_day(now_ns, simulated=market.simulated)
        candles: Candles = {}
        if past_due:
            self._shown.busy_with = f"trading {self._settings.simulator.past_sessions} sessions of a simulated past"
            candles = await market.backfill.past(self._settings, force.universe, force.program, day)
        await self._open_ledger(stack)
        self._shown.busy_with = "warming the indicators up"
        missed = True
        if trading.continues(day, force.universe, force.program, force.seed):
            missed = trading.resume(day, force.universe, now_ns)
            # What is in force may be other than what was recorded: changed while nothing ran, or refused since.
            trading.put_params(force.now_ns)
        else:
            force.open(day, now_ns)
        force.keeper.applied(trading.parameters, trading.engine.sequence, origin=force.keeper.origin)
        if candles:
            market.backfill.take(candles, force.universe, force.program)
            missed = now_ns > min(window.open_ns for window in trading.hours)
        if missed and market.simulated:
            await market.backfill.fill(force.universe, force.program)  # simulated time stands still meanwhile
        elif missed:
            market.backfill.due.set()  # ticks first, then the candles up to them: nothing falls between

    async def _open_ledger(self, stack: AsyncExitStack) -> None:
        """Keep the ledger from here on; what it has not seen it reads now, while nothing else wants the processor."""
        trading = self._trading
        ledger = trading.keep_ledger(self._settings.instance.state / LEDGER)
        stack.push_async_callback(ledger.aclose)
        self._shown.busy_with = "bringing the ledger up to the journal"
        await trading.writer.written_to(trading.writer.appended)
        self._flush_ledger()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_S):
                while not (ledger.latest.health.caught_up or ledger.latest.health.failed):
                    await asyncio.sleep(_PULSE_S)

    # Trade.

    async def _trade(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._market.run(), name="market")
                group.create_task(self._pulse(), name="pulse")
                group.create_task(self._housekeeping(), name="housekeeping")
                group.create_task(self._reloader(), name="reloader")
                group.create_task(self._bar_keeper().run(), name="bar-keeper")
                group.create_task(self._until_stopped(), name="until-stopped")
        except* _Stop:
            pass
        except* AtmandError as refused:
            raise _first(refused) from None

    def _bar_keeper(self) -> BarKeeper:
        return BarKeeper(self._settings, self._trading, simulated=self._market.simulated)

    async def _until_stopped(self) -> None:
        timeout = None if self._run_for_ns is None else self._run_for_ns / 1e9
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._stopping.wait()
        raise _Stop

    async def _pulse(self) -> None:
        """Feel how late the loop is, let the ledger store what the journal has, tell the watchdog that we live."""
        loop, beat_s = asyncio.get_running_loop(), self._notifier.watchdog_interval_s
        told_s = 0.0
        while True:
            due_s = loop.time() + _PULSE_S
            await asyncio.sleep(_PULSE_S)
            self._vitals.lag.add(max(0.0, loop.time() - due_s))
            self._flush_ledger()
            if beat_s is not None and loop.time() - told_s >= beat_s:
                told_s = loop.time()
                self._notifier.watchdog()

    def _flush_ledger(self) -> None:
        if self._trading.ledger is not None:
            self._trading.ledger.flush(self._trading.writer.written)

    async def _housekeeping(self) -> None:
        """Watch the disk and the parameter store, keep snapshots, stamp nothing: what needs no market time."""
        kept_ns = monotonic_ns()
        trading, vitals = self._trading, self._vitals
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            trading.watch_disk(self._in_force.now_ns)
            vitals.market_at(self._market.clock.now_ns())
            vitals.journal_bytes = await asyncio.to_thread(folder_bytes, trading.journal)
            vitals.free_bytes = trading.writer.free_bytes()
            await self._in_force.follow()
            await self._in_force.retire()
            self._lives.tell(trading.engine)
            if monotonic_ns() - kept_ns >= _SNAPSHOT_S * 1e9:
                kept_ns = monotonic_ns()
                await trading.writer.written_to(trading.writer.appended)
                trading.snapshot()

    async def _reloader(self) -> None:
        """Take SIGHUPs one burst at a time; a refused configuration changes nothing."""
        while True:
            await self._reloading.wait()
            await asyncio.sleep(_SETTLE_S)
            self._reloading.clear()
            number = self._vitals.reloads_asked
            self._notifier.reloading()
            logs.reopen()
            try:
                self._shown.reloaded(number, await self._in_force.reload())
                self._vitals.reloads_ok += 1
                self._notifier.ready("trading; reloaded")
            except AtmandError as error:
                self._shown.reloaded(number, None, str(error))
                self._vitals.reloads_refused += 1
                log.error("reload_refused", error=str(error))
                self._notifier.ready(f"trading; reload refused: {error}")

    # End.

    async def _drain(self) -> None:
        """No entries, books kept, journal on disk: within five seconds."""
        trading = self._trading
        self._shown.phase = "draining"
        self._notifier.stopping()
        try:
            if trading.engine.ready:
                trading.command(Command.ENTRIES_OFF, self._in_force.now_ns)
                async with asyncio.timeout(_DRAIN_S):
                    await trading.writer.synced(trading.writer.appended)
                trading.snapshot()
                self._flush_ledger()
                self._in_force.keeper.stopped_cleanly()
        except (AtmandError, TimeoutError) as error:
            log.error("drain_incomplete", error=str(error))
        header = trading.engine.header
        log.info("stopped", sequence=trading.writer.appended, bars=int(header["bars"]), fills=int(header["fills"]))

    def _tell_beginning(self) -> None:
        simulated = self._settings.feed.kind == "simulator"
        market = "an embedded exchange, no key needed" if simulated else "Kite Connect"
        log.info("starting", money="paper", market=market, configuration=str(self._settings.path))

    def _tell_ready(self, seconds: float) -> None:
        trading, simulated = self._trading, self._market.simulated
        self._shown.phase, self._shown.busy_with = "running", None
        log.info(
            "ready",
            seconds=round(seconds, 2),
            market="simulated" if simulated else "kite",
            pid=os.getpid(),
            state=str(self._settings.instance.state),
            day=str(trading.day),
            warming=len(trading.warming()),
        )
        self._notifier.ready(f"trading on paper, {'simulated' if simulated else 'real'} market, {trading.day}")


def _settle_memory() -> None:
    """Give back what the start needed, and keep the collector off what stays for good."""
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _first(group: BaseExceptionGroup[AtmandError]) -> AtmandError:
    """Return the first error of a group of groups."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
