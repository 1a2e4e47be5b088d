"""The market's side of the daemon: feed, market time, sessions. Frames and grants come in, the trading side applies.

Market time comes from the machine's clock with a real exchange, and as grants with the embedded one; both drive the
same `Trading`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from datetime import date
from typing import Any, Final

import structlog
from numpy.typing import NDArray

from atmand.backfill import Backfill
from atmand.clocks import GrantedClock, MarketClock, WallClock
from atmand.core.records import FeedState, GapReason
from atmand.embedded import EmbeddedExchange, Grant, embedded_exchange
from atmand.errors import AtmandError, UnreachableError
from atmand.feed.kite import KiteFeed
from atmand.feed.kite_protocol import KiteFeedSettings, TokenSource, token_from_file
from atmand.feed.kite_rest import KiteRest
from atmand.feed.protocol import FeedNotice, Frame, FrameKind
from atmand.in_force import InForce
from atmand.listing import ListingKeeper
from atmand.market.sessions import in_windows
from atmand.market.universe import Listing
from atmand.opening import session_day, session_windows
from atmand.settings import Settings
from atmand.subscription import StrikeWindows, places_in_use
from atmand.trading import Trading
from atmand.universe import tell_rolls

__all__ = ["MarketSide"]

log = structlog.get_logger()

_DELIVERY_S: Final = 30.0
_RETRY_S: Final = 30.0
_SECOND_NS: Final = 10**9
_OPEN_EARLY_NS: Final = 15 * 60 * 10**9


class MarketSide:
    """One market that the daemon watches. `reach` connects to it, `listen` makes the feed, `run` moves time."""

    def __init__(self, settings: Settings, trading: Trading, stop: Callable[[], None]) -> None:
        self._trading, self._stop = trading, stop
        self._exchange: EmbeddedExchange | None = None
        self._frames: list[Frame] = []
        self._lost: dict[int, int] = {}
        self._subscribed: set[int] = set()
        self._all_subscribed = asyncio.Event()
        self._resubscribing = asyncio.Event()
        self._in_force: InForce | None = None
        self._feed: KiteFeed | None = None
        self._windows: StrikeWindows | None = None
        self._window_strikes = settings.instruments.window_strikes
        self._listings = ListingKeeper(settings, simulated=settings.feed.kind == "simulator")
        self.simulated = settings.feed.kind == "simulator"
        self.clock: MarketClock = WallClock()
        self.bar_path = False
        self.connection = FeedState.CONNECTING
        self.connects = 0

    async def reach(self, settings: Settings, stack: AsyncExitStack) -> None:
        """Reach the market: the configured broker, or an exchange of our own started now."""
        connect, token = await self._access(settings, stack)
        self.rest = await stack.enter_async_context(KiteRest(connect, token, self.clock))
        self.backfill = Backfill(self.rest, self._trading, self.clock)
        self._trading.on_overload_gap = self.backfill.due.set
        self._connect, self._token = connect, token

    async def _access(self, settings: Settings, stack: AsyncExitStack) -> tuple[KiteFeedSettings, TokenSource]:
        if not self.simulated:
            assert settings.feed.kite is not None
            return settings.feed.kite, token_from_file(settings.feed.kite.access_token_file)
        start_ns = max(settings.simulator.start_ns, _next_second(self._trading.last_ns))
        self._exchange = await stack.enter_async_context(
            embedded_exchange(settings.simulator, start_ns, settings.market.sessions_file)
        )
        self.bar_path = self._exchange.bar_path
        self.clock = GrantedClock(self._exchange.clock_start_ns)
        return self._exchange.feed_settings, self._exchange.access_token

    def start_ns(self, state: str) -> int:
        """Return the market's time at which trading begins; refused where the journal is ahead of it."""
        now_ns = self.clock.now_ns()
        if now_ns < self._trading.last_ns - _SECOND_NS:
            raise AtmandError(
                state, "its journal is ahead of this market's time", "give this market a state of its own: --state DIR"
            )
        return max(now_ns, self._trading.last_ns)

    async def listing(self, day: date, in_use: Collection[str] = ()) -> Listing:
        """Fetch the instruments of a day."""
        return await self._listings.fetch(self.rest, day, in_use)

    def listen(self, in_force: InForce) -> None:
        """Make the feed of what is traded now."""
        self._in_force = in_force
        in_force.on_instruments = self._resubscribing.set
        tokens = self._wanted_tokens()
        tell_rolls(in_force.universe, in_force.listing.day)
        self._feed = KiteFeed(
            self._connect, self._token, tokens, self.clock, self._on_frame, self._on_notice, self._is_open
        )

    async def run(self) -> None:
        """Hold the feed and move market time on, until cancelled."""
        assert self._feed is not None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run(), name="feed")
            group.create_task(self._resubscribe(), name="resubscribe")
            if self._exchange is None:
                group.create_task(self._wall_time(), name="wall-time")
                group.create_task(self._refilling(), name="refilling")
            else:
                group.create_task(self._granted_time(self._exchange), name="granted-time")

    async def _granted_time(self, exchange: EmbeddedExchange) -> None:
        assert isinstance(self.clock, GrantedClock)
        await self._all_subscribed.wait()
        await exchange.drive(self.clock, self._apply_grant, self._stop)
        await asyncio.Event().wait()

    async def _wall_time(self) -> None:
        """Stamp timers when no frame does it, open the next session, fill gaps."""
        while True:
            now_ns = self.clock.now_ns()
            if (day := self._day_due(now_ns)) is not None:
                if not await self._renew_universe(day):
                    await asyncio.sleep(_RETRY_S)
                    continue
                await self._roll(day, now_ns)
            self._trading.sequencer.advance(now_ns)
            await self._recentre()
            due_ns = self._trading.engine.next_due_ns - now_ns
            await asyncio.sleep(min(1.0, max(0.02, due_ns / 1e9)))

    async def _refilling(self) -> None:
        """Fill what is missing as soon as ticks flow again; market time does not wait for it."""
        while True:
            await self.backfill.due.wait()
            await self._all_subscribed.wait()
            await self._fill()

    async def _resubscribe(self) -> None:
        """Ask for other instruments as soon as a reload has put them in force, and fill their bars."""
        assert self._feed is not None
        while True:
            await self._resubscribing.wait()
            self._resubscribing.clear()
            await self._feed.set_tokens(self._wanted_tokens())
            self.backfill.due.set()

    def _wanted_tokens(self) -> list[int]:
        """Begin the windows of the universe in force, and return what is to be subscribed."""
        self._windows = StrikeWindows(self._force.universe, self._window_strikes)
        self._windows.follow(*self._seen())
        return self._windows.tokens

    def _seen(self) -> tuple[NDArray[Any], frozenset[int]]:
        """Return last prices by instrument, and what must stay subscribed."""
        engine = self._trading.engine
        return engine.table("instruments")["last_price"], places_in_use(engine.table("pairs"))

    async def _recentre(self) -> None:
        """Let the subscribed strikes follow their underlyings."""
        assert self._feed is not None and self._windows is not None
        if self._force.universe.chains and self._windows.follow(*self._seen()):
            await self._feed.set_tokens(self._windows.tokens)

    async def _fill(self) -> None:
        await self.backfill.fill(self._force.universe, self._force.program)

    async def _renew_universe(self, day: date) -> bool:
        """Fetch the new day's dump: tokens and lots change overnight, and yesterday's token is dead by now."""
        in_use = [instrument.key for instrument, _ in self._force.universe.instruments]
        try:
            self._force.renew(await self.listing(day, in_use))
        except AtmandError as error:
            log.warning("instruments_failed", error=str(error))
            return False
        tell_rolls(self._force.universe, day)
        return True

    async def _roll(self, day: date, now_ns: int) -> None:
        """Open a day's session, and subscribe what it trades."""
        assert self._feed is not None
        self._force.roll(day, now_ns)
        await self._feed.set_tokens(self._wanted_tokens())
        self.backfill.due.set()

    async def _apply_grant(self, grant: Grant) -> None:
        """Apply one step: what was written to our sockets must have come before the market goes on."""
        assert self._feed is not None
        try:
            async with asyncio.timeout(_DELIVERY_S):
                await self._feed.delivered(grant.frames)
        except TimeoutError:
            raise UnreachableError("embedded exchange", "promised frames that did not come", "start again") from None
        if (day := self._day_due(grant.time_ns)) is not None:
            await self._renew_universe(day)
            await self._roll(day, grant.time_ns)
        frames, self._frames = self._frames, []
        for frame in frames:
            self._trading.frame(frame.payload, grant.time_ns, frame.connection)
        self._trading.sequencer.advance(grant.time_ns)
        await self._recentre()
        if self.backfill.due.is_set():
            await self._fill()

    def _day_due(self, now_ns: int) -> date | None:
        """Return the day whose session is to be opened now: a quarter of an hour before it begins."""
        day = session_day(now_ns, simulated=self.simulated)
        hours = session_windows(day)
        if day == self._trading.day or not hours:
            return None
        opens_ns = min(window.open_ns for window in hours)
        return day if now_ns >= opens_ns - _OPEN_EARLY_NS - 1 else None

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind is not FrameKind.BINARY:
            return
        if self._exchange is None:
            self._trading.frame(frame.payload, frame.receive_ns, frame.connection)
        else:
            self._frames.append(frame)

    def _on_notice(self, notice: FeedNotice) -> None:
        assert self._feed is not None
        now_ns = self.clock.now_ns()
        self.connection = notice.state
        self._trading.notice(notice, now_ns)
        if notice.state == FeedState.CONNECTED:
            self.connects += 1
        elif notice.state == FeedState.LOST:
            self._subscribed.discard(notice.connection)
            self._lost.setdefault(notice.connection, now_ns)
        elif notice.state == FeedState.SUBSCRIBED:
            self._subscribed.add(notice.connection)
            if len(self._subscribed) >= len(self._feed.last_data_ns()):
                self._all_subscribed.set()
            lost_ns = self._lost.pop(notice.connection, None)
            if lost_ns is not None:
                self._trading.gap(lost_ns, now_ns, GapReason.DISCONNECTED)
                self.backfill.due.set()

    def _is_open(self, time_ns: int) -> bool:
        return in_windows(self._trading.hours, time_ns)

    @property
    def _force(self) -> InForce:
        assert self._in_force is not None
        return self._in_force


def _next_second(time_ns: int) -> int:
    return -(-(time_ns + 1) // _SECOND_NS) * _SECOND_NS
