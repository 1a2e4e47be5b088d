"""The seeded market: every second of a session for 103 instruments as a pure function of (seed, date).

Company paths are drawn second by second between two daily closes from a market, a sector and an own factor under
regimes; listings trade round them at seeded seconds, and the indices are computed from what their members traded.
"""

from __future__ import annotations

import datetime as dt
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from atmand.market.sessions import FUTURES, OPTIONS, Phase, Window, windows
from atmand.sim.actions import SimAction
from atmand.sim.candles import Candles, minute_candles
from atmand.sim.chain import Chain
from atmand.sim.contracts import UNDERLYINGS, Contracts
from atmand.sim.derivatives import Derivatives
from atmand.sim.desk import Desk, Session
from atmand.sim.indices import COMPUTED, index_values
from atmand.sim.levels import DailyCloses, random_stream
from atmand.sim.market_day import DEPTH, Levels, MarketDay, Reference
from atmand.sim.noise import mixed
from atmand.sim.option_model import OptionModel
from atmand.sim.paths import company_paths, day_shape, regimes
from atmand.sim.universe import COMPANIES, INDICES, Listing, seeded_listings, session_groups
from atmand.sim.vix import vix

__all__ = ["SeededMarket"]

_T = TypeVar("_T")
_SECOND: Final = 1_000_000_000
_STREAM_PATH: Final = 2
_STREAM_TICKS: Final = 3
_DAYS_KEPT: Final = 2
_CANDLE_DAYS_KEPT: Final = 64
_SESSIONS_KEPT: Final = 8
_COUNT: Final = len(COMPANIES)
_SHARES: Final = 2 * _COUNT
_BSE_SHARE: Final = 12
"""NSE trades so many times BSE's volume."""


class SeededMarket:
    """The generated market; days and candles are made when asked for, and a few are kept."""

    bar_path: Final = False

    def __init__(self, seed: int, model: OptionModel | None = None, actions: Sequence[SimAction] = ()) -> None:
        self.seed = seed
        self.actions = tuple(actions)
        self.listings: tuple[Listing, ...] = seeded_listings()
        self._groups = np.array(session_groups(self.listings, (one.name for one in UNDERLYINGS)))
        self._closes = DailyCloses(seed, actions)
        self._derivatives = Derivatives(self._closes, model or OptionModel(), seed)
        self._sessions = _Recent[Session](_SESSIONS_KEPT)
        self._days = _Recent[MarketDay](_DAYS_KEPT)
        self._candles = _Recent[Candles](_CANDLE_DAYS_KEPT)
        # Histories are computed in a thread while the market goes on in the loop's.
        self._lock = threading.Lock()

    def first_session(self) -> dt.date:
        return self._closes.sessions[1]

    def session_from(self, day: dt.date) -> dt.date | None:
        at = max(1, bisect_left(self._closes.sessions, day))
        return self._closes.sessions[at] if at < len(self._closes.sessions) else None

    def session_before(self, day: dt.date) -> dt.date | None:
        at = bisect_left(self._closes.sessions, day) - 1
        return self._closes.sessions[at] if at >= 1 else None

    def windows(self, day: dt.date) -> list[tuple[int, int]]:
        """Return when anything of the market trades: the windows of all its segments, joined where they touch."""
        joined: list[tuple[int, int]] = []
        for opens, closes in sorted((w.open_ns, w.close_ns) for w in self._plan(day) if w.phase is Phase.CONTINUOUS):
            if joined and opens <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(closes, joined[-1][1])
            else:
                joined.append((opens, closes))
        return joined

    def reference(self, day: dt.date) -> Reference:
        with self._lock:
            return self._reference(self._closes.position(day))

    def day(self, day: dt.date) -> MarketDay:
        """Return a session in full; about 60 MB, so that only the newest two asked for are kept."""
        with self._lock:
            return self._days.get(day, self._make_day)

    def candles(self, day: dt.date) -> Candles:
        """Return a session's minute candles: the same path as `day`, without what only packets carry."""
        with self._lock:
            return self._candles.get(day, self._make_candles)

    def contracts(self, day: dt.date) -> Contracts:
        """Return the futures and options that are listed on a session."""
        with self._lock:
            return self._derivatives.contracts(self._closes.position(day))

    def chain(self, day: dt.date) -> Chain:
        """Return a session's futures and options with their prices."""
        with self._lock:
            return self._derivatives.chain(self._closes.position(day))

    def desk(self, day: dt.date) -> Desk:
        """Return a session's futures and options as packets; what one caller asks of it is kept for that caller."""
        with self._lock:
            chain = self._derivatives.chain(self._closes.position(day))
            return Desk(chain, self._sessions.get(day, self._make_session))

    def closes(self, day: dt.date) -> NDArray[np.int64]:
        """Return the closes in paise of what derivatives are written on, in the order of `UNDERLYINGS`."""
        with self._lock:
            return self._derivatives.closes(self._closes.position(day))

    def became(self, symbol: str, after: dt.date, until: dt.date) -> Fraction:
        """Return how many shares one share of session `after` has become by session `until`."""
        company = next((number for number, one in enumerate(COMPANIES) if one.symbol == symbol), None)
        if company is None:
            return Fraction(1)
        return self._closes.factor(company, self._closes.position(after), self._closes.position(until))

    def _reference(self, position: int) -> Reference:
        tick, lower, upper = self._closes.limits(position)
        before = self._closes.before(position)
        members = np.concatenate([before, before])
        indices = np.append(
            index_values(members[None, :], self._closes.became(position))[0], self._vix_before(position)
        )
        five, none = np.full(len(INDICES), 5), np.zeros(len(INDICES), np.int64)
        return Reference(
            tick=np.concatenate([tick, tick, five]),
            close_before=np.concatenate([members, indices]),
            lower=np.concatenate([lower, lower, none]),
            upper=np.concatenate([upper, upper, none]),
        )

    def _vix_before(self, position: int) -> int:
        """Return the volatility index at the end of the session before."""
        chain = self._derivatives.chain(max(position - 1, 1))
        evening = chain.terms.today if position > 1 else chain.terms.before
        return int(vix(chain, np.array([evening.second]), evening.close[None, :])[0])

    def _plan(self, day: dt.date) -> list[Window]:
        groups = {*self._groups.tolist(), FUTURES, OPTIONS}
        return [window for window in windows(day, phase=None) if window.group in groups]

    def _seconds(self, day: dt.date) -> NDArray[np.int64]:
        spans = [np.arange(opens // _SECOND, closes // _SECOND) for opens, closes in self.windows(day)]
        return np.concatenate(spans)

    def _draw(self, day: dt.date) -> _Drawn:
        position = self._closes.position(day)
        seconds, plan = self._seconds(day), self._plan(day)
        drawn = _draw_ticks(
            self.seed,
            day,
            seconds,
            _hours_of(self._groups, plan, seconds),
            self._reference(position),
            self._closes.close(position),
            self._closes.sector,
            self._closes.became(position),
        )
        session = _session_of(drawn, plan)
        self._sessions.get(day, lambda _: session)
        return self._with_vix(drawn, session, position)

    def _with_vix(self, drawn: _Drawn, session: Session, position: int) -> _Drawn:
        """Fill the volatility index's column, which moves with every minute's first second and at the end."""
        starts = np.append(np.flatnonzero(np.diff(session.seconds // 60, prepend=-1)), len(session.seconds) - 1)
        values = vix(self._derivatives.chain(position), session.seconds[starts], session.spots[starts])
        drawn.last[:, -1] = np.repeat(values, np.diff(np.append(starts, len(session.seconds))))
        drawn.changed[-1, -1] |= drawn.changed[-1, -2]
        return drawn

    def _make_session(self, day: dt.date) -> Session:
        self._draw(day)
        return self._sessions.get(day, self._make_session)

    def _make_candles(self, day: dt.date) -> Candles:
        drawn = self._draw(day)
        return minute_candles(drawn.seconds, drawn.changed, drawn.last, drawn.volume)

    def _make_day(self, day: dt.date) -> MarketDay:
        drawn = self._draw(day)
        reference = self._reference(self._closes.position(day))
        rows = np.arange(len(drawn.seconds), dtype=np.int16)[:, None]
        quantity = np.diff(drawn.volume[:, :_SHARES], axis=0, prepend=0).astype(np.int64)
        turnover = np.cumsum(quantity * drawn.last[:, :_SHARES], axis=0)
        average = np.zeros_like(drawn.last)
        average[:, :_SHARES] = turnover // np.maximum(drawn.volume[:, :_SHARES], 1)
        return MarketDay(
            date=day,
            seconds=drawn.seconds,
            changed=drawn.changed,
            last=drawn.last,
            volume=drawn.volume,
            average=average,
            high=np.maximum.accumulate(drawn.last, axis=0),
            low=np.minimum.accumulate(drawn.last, axis=0),
            last_change=np.maximum.accumulate(np.where(drawn.changed, rows, np.int16(-1)), axis=0),
            last_trade=drawn.last_trade,
            opening=drawn.last[0],
            reference=reference,
            book=_SeededBook(self.seed ^ day.toordinal(), drawn.side, drawn.spread, reference),
        )


@dataclass(frozen=True, slots=True)
class _Hours:
    """When each listing trades continuously, (S, I), and the event of its last trade, (I,): the closing auction's."""

    open: NDArray[np.bool_]
    final: NDArray[np.int64]


def _hours_of(groups: NDArray[np.int64], plan: list[Window], seconds: NDArray[np.int64]) -> _Hours:
    opened = np.zeros((len(seconds), len(groups)), np.bool_)
    final = np.zeros(len(groups), np.int64)
    for window in plan:
        mine = groups == window.group
        first, end = np.searchsorted(seconds, (window.open_ns // _SECOND, window.close_ns // _SECOND))
        if window.phase is Phase.CONTINUOUS:
            opened[first:end, mine] = True
            final[mine] = end - 1
        elif window.phase is Phase.CLOSING_AUCTION:
            final[mine] = min(first, len(seconds) - 1)  # orders are matched in the auction's last stretch
    return _Hours(opened, final)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a session's randomness settles, each (S, I) or (S, shares): enough for candles; packets derive the rest."""

    seconds: NDArray[np.int64]
    changed: NDArray[np.bool_]
    last: NDArray[np.int32]
    volume: NDArray[np.int32]
    last_trade: NDArray[np.int16]
    side: NDArray[np.int8]
    spread: NDArray[np.int8]


def _session_of(drawn: _Drawn, plan: list[Window]) -> Session:
    """Return what derivatives need to know of a session: the underlyings' prices by second and when they trade."""
    opened = np.zeros(len(drawn.seconds), np.bool_)
    for window in plan:
        if window.group == FUTURES and window.phase is Phase.CONTINUOUS:
            first, end = np.searchsorted(drawn.seconds, (window.open_ns // _SECOND, window.close_ns // _SECOND))
            opened[first:end] = True
    spots = drawn.last[:, [one.column for one in UNDERLYINGS]].astype(np.int64)
    return Session(drawn.seconds, spots, opened, day_shape(len(drawn.seconds)))


def _draw_ticks(
    seed: int,
    day: dt.date,
    seconds: NDArray[np.int64],
    hours: _Hours,
    reference: Reference,
    close: NDArray[np.int64],
    sector: NDArray[np.int64],
    became: tuple[Fraction, ...],
) -> _Drawn:
    """Draw a session: fair paths, then at which seconds each listing trades or re-quotes, at what price, how much."""
    stream = random_stream(seed, day, _STREAM_PATH)
    regime = regimes(stream, len(seconds))
    paths = company_paths(stream, regime, reference.close_before[:_COUNT], close, sector)
    ticks = random_stream(seed, day, _STREAM_TICKS)
    shape = day_shape(len(seconds))[:, None]
    traded, quoted = _events(ticks, shape * regime.activity[:, None])
    listed, final = np.arange(_SHARES), hours.final[:_SHARES]
    traded &= hours.open[:, :_SHARES]
    quoted &= hours.open[:, :_SHARES]
    traded[final, listed] = True
    last_trade = _newest(traded)
    side = ticks.integers(0, 2, traded.shape, dtype=np.int8) * np.int8(2) - np.int8(1)
    spread = _spreads(regime.spread)
    price = _trade_prices(paths, side, spread, reference)
    price[final, listed] = np.concatenate([close, close])
    last = np.take_along_axis(price, last_trade.astype(np.int64), axis=0)
    minute_start = np.searchsorted(seconds, seconds // 60 * 60)[:, None]
    # A minute's first packet is a trade, so that a candle of trades and a candle of packets are one and the same.
    changed = traded | (quoted & (last_trade >= minute_start))
    volume = np.cumsum(np.where(traded, _quantities(ticks, shape * regime.activity[:, None], became), 0), axis=0)
    indices = np.zeros((len(seconds), len(INDICES)), np.int64)
    indices[:, :COMPUTED] = index_values(last, became)
    moved = np.diff(indices, axis=0, prepend=0) != 0
    moved |= minute_start == np.arange(len(seconds))[:, None]
    moved &= hours.open[:, _SHARES:]
    return _Drawn(
        seconds=seconds,
        changed=np.concatenate([changed, moved], axis=1),
        last=np.concatenate([last, indices.astype(np.int32)], axis=1),
        volume=np.concatenate([volume, np.zeros_like(indices)], axis=1).astype(np.int32),
        last_trade=np.concatenate([last_trade, _newest(moved)], axis=1),
        side=side,
        spread=spread,
    )


def _events(ticks: np.random.Generator, shape: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return at which seconds each listing trades and at which only its book moves; the day opens and ends by trades.

    A busy share trades in most seconds on NSE and in every third or so on BSE.
    """
    volumes = np.array([company.shares_a_day for company in COMPANIES])
    liquid = np.clip(0.35 + 0.2 * np.log10(volumes / 300_000), 0.3, 0.85)
    rate = (np.concatenate([liquid, liquid * 0.4]) * shape).astype(np.float32)
    np.minimum(rate, np.float32(0.95), out=rate)
    draw = ticks.random(rate.shape, dtype=np.float32)
    traded = draw < rate
    traded[0] = traded[-1] = True
    return traded, draw < rate * np.float32(1.3)


def _newest(happened: NDArray[np.bool_]) -> NDArray[np.int16]:
    rows = np.arange(len(happened), dtype=np.int16)[:, None]
    return np.maximum.accumulate(np.where(happened, rows, np.int16(-1)), axis=0)


def _spreads(regime_spread: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the spread in ticks, (S, shares): the regime's on NSE, one more on BSE."""
    extra = np.repeat(np.array([0, 1], np.int8), _COUNT)
    return regime_spread[:, None] + extra


def _trade_prices(
    paths: NDArray[np.float64], side: NDArray[np.int8], spread: NDArray[np.int8], reference: Reference
) -> NDArray[np.int32]:
    """Return the price a trade would have at every second: the fair price half a spread to the buyer's or seller's."""
    tick = reference.tick[:_COUNT]
    fair = np.exp(paths) / tick
    price = np.empty((len(paths), _SHARES), np.int32)
    for cut in (slice(0, _COUNT), slice(_COUNT, _SHARES)):
        # Half a tick for one tick of spread: a price hardly bounces, as where a limit book is thick.
        steps = np.rint(fair + side[:, cut] * spread[:, cut] * 0.5).astype(np.int32) * tick.astype(np.int32)
        np.clip(steps, reference.lower[cut], reference.upper[cut], out=price[:, cut], casting="unsafe")
    return price


def _quantities(
    ticks: np.random.Generator, shape: NDArray[np.float64], became: tuple[Fraction, ...]
) -> NDArray[np.int32]:
    a_day = np.array([c.shares_a_day * float(more) for c, more in zip(COMPANIES, became, strict=True)])
    a_second = np.concatenate([a_day, a_day / _BSE_SHARE]) / 22_500
    draw = ticks.standard_exponential((len(shape), _SHARES), dtype=np.float32)
    draw *= (a_second * shape).astype(np.float32)
    return draw.astype(np.int32) + np.int32(1)


@dataclass(frozen=True, slots=True)
class _SeededBook:
    """Five levels one tick apart round the last trade, the buyer's or the seller's touch being its price."""

    key: int
    side: NDArray[np.int8]
    spread: NDArray[np.int8]
    reference: Reference

    def levels(self, event: NDArray[np.int64], column: NDArray[np.int64], last: NDArray[np.int64]) -> Levels:
        tick = self.reference.tick[column]
        gap = self.spread[event, column] * tick
        bought = self.side[event, column] > 0
        steps = np.arange(DEPTH) * tick[:, None]
        bid = np.where(bought, last - gap, last)[:, None] - steps
        ask = np.where(bought, last, last + gap)[:, None] + steps
        bid = np.where(bid >= self.reference.lower[column][:, None], bid, 0)
        ask = np.where(ask <= self.reference.upper[column][:, None], ask, 0)
        bid_quantity, ask_quantity = (self._quantity(event, column, offset) for offset in (0, DEPTH))
        return Levels(bid, np.where(bid > 0, bid_quantity, 0), ask, np.where(ask > 0, ask_quantity, 0))

    def _quantity(self, event: NDArray[np.int64], column: NDArray[np.int64], offset: int) -> NDArray[np.int64]:
        """Return seeded quantities, (n, 5): a hash instead of a stream, so that any packet can be made alone."""
        level = np.arange(offset, offset + DEPTH, dtype=np.uint64)
        where = (event.astype(np.uint64) << np.uint64(16)) | (column.astype(np.uint64) << np.uint64(4))
        drawn = mixed((where[:, None] | level) ^ mixed(np.array([self.key], np.uint64)))
        portion = (drawn >> np.uint64(48)).astype(np.int64)  # 16 bits
        size = _LEVEL_SIZE[column][:, None]
        growth = 2 + np.arange(DEPTH)
        return 1 + size * growth * (portion + 16_384) // (65_536 * 2)


_LEVEL_SIZE: Final = np.array(
    [max(20, company.shares_a_day // 8_000 // venue) for venue in (1, 4) for company in COMPANIES], np.int64
)
"""Typical shares at a level: a few seconds of the day's volume."""


class _Recent(Generic[_T]):
    """The newest few things asked for, by day."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[dt.date, _T] = OrderedDict()

    def get(self, day: dt.date, make: Callable[[dt.date], _T]) -> _T:
        """Return what is kept of a day, making it when it is not."""
        if day not in self._items:
            self._items[day] = make(day)
        self._items.move_to_end(day)
        while len(self._items) > self._size:
            self._items.popitem(last=False)
        return self._items[day]
