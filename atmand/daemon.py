"""The daemon: builds the rooms, runs them in one TaskGroup, listens to signals, and drains.

Life is a sentence: start, trade until told to stop, drain. Market time comes from the machine's clock with a real
exchange, and as grants with the embedded one; both drive the same `Trading`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date
from typing import Any, Final

import structlog
from numpy.typing import NDArray

from atmand import logs
from atmand.clocks import GrantedClock, MarketClock, WallClock, monotonic_ns
from atmand.compiling import compiled
from atmand.core.manifest import Manifest, Program
from atmand.core.records import Command, FeedState, GapReason
from atmand.embedded import EmbeddedExchange, Grant, embedded_exchange
from atmand.errors import AtmandError, ExitCode, UnreachableError
from atmand.feed.kite import KiteFeed
from atmand.feed.kite_protocol import KiteFeedSettings, TokenSource, token_from_file
from atmand.feed.kite_rest import KiteRest
from atmand.feed.protocol import FeedNotice, Frame, FrameKind
from atmand.journal.retention import prune
from atmand.lang.program import Deployment, generate, parameter_values
from atmand.market.sessions import is_open
from atmand.opening import (
    Universe,
    check_costs,
    deployments_of,
    history_days,
    session_day,
    session_windows,
    universe_of,
)
from atmand.settings import Settings, changes
from atmand.start import held_signals
from atmand.trading import Trading

__all__ = ["run"]

log = structlog.get_logger()

_DRAIN_S: Final = 5.0
_HOUSEKEEPING_S: Final = 1.0
_SNAPSHOT_S: Final = 300.0
_SETTLE_S: Final = 0.05
_DELIVERY_S: Final = 30.0
_HISTORY_AT_ONCE: Final = 4
_RETRY_S: Final = 30.0
_SECOND_NS: Final = 10**9
_OPEN_EARLY_NS: Final = 15 * 60 * 10**9


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
        self._simulated = settings.feed.kind == "simulator"
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()
        self._stops = 0
        self._clock: MarketClock = WallClock()
        self._frames: list[Frame] = []
        self._lost: dict[int, int] = {}
        self._refill_due = asyncio.Event()
        self._subscribed: set[int] = set()
        self._all_subscribed = asyncio.Event()
        self._exchange: EmbeddedExchange | None = None
        self._seed = settings.simulator.seed
        self._bar_path = False
        self._warm: asyncio.Task[None] | None = None

    async def main(self) -> int:
        """Start, trade, drain. Errors of the start leave with their own exit code."""
        started = time.monotonic()
        self._listen()
        async with AsyncExitStack() as stack:
            self._trading = await self._open_state(stack)
            self._trading.on_overload_gap = self._refill_due.set
            if not await self._started(stack):
                log.info("stopped", sequence=self._trading.writer.appended, bars=0, fills=0)
                return int(ExitCode.DONE)
            log.info(
                "ready",
                seconds=round(time.monotonic() - started, 2),
                market="simulated" if self._simulated else "kite",
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
        deployments = deployments_of(self._settings)
        compiling = asyncio.create_task(compiled(deployments))
        try:
            feed_settings, token = await self._market_side(stack)
            check_costs(self._settings, session_day(self._clock.now_ns(), simulated=self._simulated))
            self._rest = await stack.enter_async_context(KiteRest(feed_settings, token, self._clock))
            universe = universe_of(deployments, await self._rest.instruments(), lenient=self._bar_path)
            program = await compiling
        finally:
            compiling.cancel()
        self._deployments, self._universe, self._program = deployments, universe, program
        now_ns = self._clock.now_ns()
        if now_ns < self._trading.last_ns - _SECOND_NS:
            raise AtmandError(
                str(self._settings.instance.state),
                "its journal is ahead of this market's time",
                "give this market a state of its own with --state DIR",
            )
        now_ns = max(now_ns, self._trading.last_ns)
        day = session_day(now_ns, simulated=self._simulated)
        missed = True
        if self._trading.continues(day, program, self._seed):
            self._hours = session_windows(day)
            missed = self._trading.resume(day, universe, now_ns)
            # What a reload had changed may have been changed back while nothing ran.
            self._put_params()
        else:
            self._open(day, now_ns)
        self._feed = KiteFeed(
            feed_settings, token, universe.tokens, self._clock, self._on_frame, self._on_notice, self._is_open
        )
        if missed and self._simulated:
            await self._refill()  # simulated time stands still meanwhile
        elif missed:
            self._refill_due.set()  # ticks first, then the candles up to them: nothing falls between

    async def _market_side(self, stack: AsyncExitStack) -> tuple[KiteFeedSettings, TokenSource]:
        """Return how to reach the market: the configured broker, or an exchange of our own started now."""
        settings = self._settings
        if not self._simulated:
            assert settings.feed.kite is not None
            return settings.feed.kite, token_from_file(settings.feed.kite.access_token_file)
        start_ns = max(settings.simulator.start_ns, _next_second(self._trading.last_ns))
        self._exchange = await stack.enter_async_context(embedded_exchange(settings.simulator, start_ns))
        self._bar_path = self._exchange.bar_path
        self._clock = GrantedClock(self._exchange.clock_start_ns)
        return self._exchange.feed_settings, self._exchange.access_token

    def _open(self, day: date, now_ns: int) -> None:
        self._trading.open_session(
            day,
            self._universe,
            self._program,
            now_ns,
            simulated=self._simulated,
            bar_path=self._bar_path,
            seed=self._seed,
        )
        self._trading.snapshot()
        self._hours = session_windows(day)

    # Trade.

    async def _trade(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed.run(), name="feed")
                group.create_task(self._market_time(), name="market-time")
                group.create_task(self._housekeeping(), name="housekeeping")
                if self._exchange is None:
                    group.create_task(self._refilling(), name="refilling")
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

    async def _market_time(self) -> None:
        """Move market time on: by grants with the embedded exchange, by the machine's clock with a real one."""
        if self._exchange is None:
            await self._wall_time()
            return
        assert isinstance(self._clock, GrantedClock)
        await self._all_subscribed.wait()
        await self._exchange.drive(self._clock, self._apply_grant, self._stopping.set)
        await asyncio.Event().wait()

    async def _wall_time(self) -> None:
        """Stamp timers when no frame does it, open the next session, fill gaps."""
        while True:
            now_ns = self._clock.now_ns()
            if (day := self._day_due(now_ns)) is not None and await self._renew_universe():
                self._roll_session(day, now_ns)
            self._trading.sequencer.advance(now_ns)
            due_ns = self._trading.engine.next_due_ns - now_ns
            await asyncio.sleep(min(1.0, max(0.02, due_ns / 1e9)))

    async def _refilling(self) -> None:
        """Fill what is missing as soon as ticks flow again; market time does not wait for it."""
        while True:
            await self._refill_due.wait()
            await self._all_subscribed.wait()
            self._refill_due.clear()
            await self._refill()

    async def _renew_universe(self) -> bool:
        """Fetch the new day's dump: tokens and lots change overnight, and yesterday's token is dead by now."""
        try:
            universe = universe_of(self._deployments, await self._rest.instruments(), lenient=False)
        except AtmandError as error:
            log.warning("instruments_failed", error=str(error))
            await asyncio.sleep(_RETRY_S)
            return False
        self._universe = universe
        await self._feed.set_tokens(universe.tokens)
        self._refill_due.set()
        return True

    async def _apply_grant(self, grant: Grant) -> None:
        """Apply one step: what was written to our sockets must have come before the market goes on."""
        try:
            async with asyncio.timeout(_DELIVERY_S):
                await self._feed.delivered(grant.frames)
        except TimeoutError:
            raise UnreachableError("embedded exchange", "promised frames that did not come", "start again") from None
        if (day := self._day_due(grant.time_ns)) is not None:
            self._roll_session(day, grant.time_ns)
        frames, self._frames = self._frames, []
        for frame in frames:
            self._trading.frame(frame.payload, grant.time_ns, frame.connection)
        self._trading.sequencer.advance(grant.time_ns)
        if self._refill_due.is_set():
            self._refill_due.clear()
            await self._refill()

    def _day_due(self, now_ns: int) -> date | None:
        """Return the day whose session is to be opened now: a quarter of an hour before it begins."""
        day = session_day(now_ns, simulated=self._simulated)
        hours = session_windows(day)
        if day == self._trading.day or not hours:
            return None
        opens_ns = min(window.open_ns for window in hours)
        return day if now_ns >= opens_ns - _OPEN_EARLY_NS - 1 else None

    def _roll_session(self, day: date, now_ns: int) -> None:
        """Keep the books, close the day's segment, and open the next session; old frames are pruned in a thread."""
        self._trading.snapshot()
        rotated = self._trading.writer.rotate()
        rotated.add_done_callback(lambda _: prune(self._trading.journal, self._settings.journal))
        self._open(day, now_ns)

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind is not FrameKind.BINARY:
            return
        if self._exchange is None:
            self._trading.frame(frame.payload, frame.receive_ns, frame.connection)
        else:
            self._frames.append(frame)

    def _on_notice(self, notice: FeedNotice) -> None:
        now_ns = self._clock.now_ns()
        self._trading.notice(notice, now_ns)
        if notice.state == FeedState.LOST:
            self._subscribed.discard(notice.connection)
            self._lost.setdefault(notice.connection, now_ns)
        elif notice.state == FeedState.SUBSCRIBED:
            self._subscribed.add(notice.connection)
            if len(self._subscribed) >= len(self._feed.last_data_ns()):
                self._all_subscribed.set()
            lost_ns = self._lost.pop(notice.connection, None)
            if lost_ns is not None:
                self._trading.gap(lost_ns, now_ns, GapReason.DISCONNECTED)
                self._refill_due.set()

    def _is_open(self, time_ns: int) -> bool:
        return is_open(self._hours, time_ns)

    async def _refill(self) -> None:
        """Fetch candles for every instrument and journal them: warm-up at the start, back-fill after a gap."""
        now_ns = self._clock.now_ns()
        from_ns = now_ns - int(history_days(self._program.manifest).total_seconds()) * 10**9
        tokens = self._universe.tokens
        began, found = time.monotonic(), [0, 0]
        for first in range(0, len(tokens), _HISTORY_AT_ONCE):
            # What came is journaled before more is asked for: a hundred instruments' candles at once take memory.
            candles = await self._candles(tokens[first : first + _HISTORY_AT_ONCE], from_ns, now_ns)
            self._trading.history(candles, now_ns, self._clock.now_ns())
            found = [found[0] + len(candles), found[1] + sum(len(rows) for rows in candles.values())]
        log.info("history_folded", instruments=found[0], candles=found[1], seconds=round(time.monotonic() - began, 2))
        for strategy, instrument, have, need in self._trading.warming():
            minutes = max(0, need - have)
            log.info("warming", strategy=strategy, instrument=instrument, bars=have, needed=need, eta_bars=minutes)

    async def _candles(self, tokens: Sequence[int], from_ns: int, to_ns: int) -> dict[int, NDArray[Any]]:
        """Fetch some instruments' candles at once; one that fails is left out, and said."""
        candles: dict[int, NDArray[Any]] = {}

        async def fetch(token: int) -> None:
            try:
                candles[token] = await self._rest.history(token, from_ns, to_ns)
            except AtmandError as error:
                log.warning("history_failed", token_id=token, error=str(error))

        async with asyncio.TaskGroup() as group:
            for token in tokens:
                group.create_task(fetch(token))
        return candles

    async def _housekeeping(self) -> None:
        """Watch the disk, keep snapshots, stamp nothing: what needs no market time."""
        kept_ns = monotonic_ns()
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self._trading.watch_disk(max(self._clock.now_ns(), self._trading.last_ns))
            if monotonic_ns() - kept_ns >= _SNAPSHOT_S * 1e9:
                kept_ns = monotonic_ns()
                await self._trading.writer.written_to(self._trading.writer.appended)
                self._trading.snapshot()

    # Reload.

    async def _reloader(self) -> None:
        """Take SIGHUPs one burst at a time; a refused configuration changes nothing."""
        while True:
            await self._reloading.wait()
            await asyncio.sleep(_SETTLE_S)
            self._reloading.clear()
            try:
                await self._reload()
            except AtmandError as error:
                log.error("reload_refused", error=str(error))

    async def _reload(self) -> None:
        new = self._settings.reload()
        deployments = deployments_of(new)
        for change in changes(self._settings, new):
            log.info("setting_changed", path=change.path, old=change.old, new=change.new, live=change.live)
        for before, after in _pairs_by_name(self._deployments, deployments):
            if before.file.sha256 != after.file.sha256:
                log.info("strategy_changed", strategy=after.book)
        universe = universe_of(deployments, self._universe.dump.decode(), lenient=self._bar_path)
        manifest = generate(deployments).manifest
        program = self._program
        if _shape(manifest) != _shape(program.manifest) or universe.pairs != self._universe.pairs:
            program = await self._swap(new, deployments, universe)
        now_ns = max(self._clock.now_ns(), self._trading.last_ns)
        self._settings, self._deployments, self._program = new, deployments, program
        self._trading.reload(new)
        logs.set_level(new.log.level)
        self._trading.put_limits(now_ns)
        self._put_params()
        log.info("reloaded", strategies=len(deployments))

    def _put_params(self) -> None:
        """Put the configuration's parameter values in force."""
        values = [list(parameter_values(deployment).values()) for deployment in self._deployments]
        self._trading.put_params(values, max(self._clock.now_ns(), self._trading.last_ns))

    async def _swap(self, new: Settings, deployments: list[Deployment], universe: Universe) -> Program:
        """Compile changed structures in a child and put them in force, if the session has their instruments."""
        if [i.key for i, _ in universe.instruments] != [i.key for i, _ in self._universe.instruments]:
            raise AtmandError(str(new.path), "other instruments", "the next start takes them up; nothing changed")
        program = await compiled(deployments)
        before = self._settings
        self._trading.reload(new)
        try:
            self._trading.swap_program(universe, program, max(self._clock.now_ns(), self._trading.last_ns))
        except AtmandError:
            self._trading.reload(before)
            raise
        self._universe = universe
        return program

    # End.

    async def _drain(self) -> None:
        """No entries, books kept, journal on disk: within five seconds."""
        trading = self._trading
        try:
            if trading.engine.ready:
                trading.command(Command.ENTRIES_OFF, max(self._clock.now_ns(), trading.last_ns))
                async with asyncio.timeout(_DRAIN_S):
                    await trading.writer.synced(trading.writer.appended)
                trading.snapshot()
        except (AtmandError, TimeoutError) as error:
            log.error("drain_incomplete", error=str(error))
        header = trading.engine.header
        log.info("stopped", sequence=trading.writer.appended, bars=int(header["bars"]), fills=int(header["fills"]))

    def _tell_beginning(self) -> None:
        market = "an embedded exchange, no key needed" if self._simulated else "Kite Connect"
        log.info("starting", money="paper", market=market, configuration=str(self._settings.path))


def _shape(manifest: Manifest) -> Manifest:
    """Return a manifest without what a PARAMS record swaps: two of one shape need no new program."""
    books = tuple(replace(plan, values=(), warm_bars=0, history_bars=0, sha256="") for plan in manifest.books)
    return replace(manifest, books=books)


def _pairs_by_name(before: list[Deployment], after: list[Deployment]) -> list[tuple[Deployment, Deployment]]:
    known = {deployment.book: deployment for deployment in before}
    return [(known[deployment.book], deployment) for deployment in after if deployment.book in known]


def _next_second(time_ns: int) -> int:
    return -(-(time_ns + 1) // _SECOND_NS) * _SECOND_NS


def _first(group: BaseExceptionGroup[AtmandError]) -> AtmandError:
    """Return the first error of a group of groups."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
