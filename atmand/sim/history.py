"""Historical candles of the simulated past, the unfinished one included (kite.trade/docs, Historical candle data)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from atmand.market.sessions import IST, ns, session_date
from atmand.sim.candles import INTERVAL_MINUTES, Candle, daily, grouped
from atmand.sim.exchange import Exchange
from atmand.sim.market_day import Market, MarketDay

__all__ = ["HistoryError", "candles_between"]

_SECOND: Final = 1_000_000_000
_LONGEST_DAYS: Final = {1: 60, 3: 100, 5: 100, 10: 100, 15: 200, 30: 200, 60: 400, 1440: 2000}
"""Longest span of one call by the interval's minutes, as brokers' pages state it."""


class HistoryError(ValueError):
    """The call's parameters are refused; its text is the answer."""


def candles_between(
    exchange: Exchange, column: int, interval: str, start: str | None, end: str | None
) -> Callable[[], list[list[Any]]]:
    """Check a historical call and return what answers it, to be run in a thread.

    The answer has one [time, open, high, low, close, volume] a candle that starts within `start` to `end` (both
    included, `YYYY-MM-DD HH:MM:SS` in India) and not after market time as it is now.
    """
    minutes = INTERVAL_MINUTES.get(interval)
    if minutes is None:
        raise HistoryError("invalid interval")
    first, last = _second(start, "from"), _second(end, "to")
    if first > last:
        raise HistoryError("invalid from date: it is after the to date")
    if last - first > _LONGEST_DAYS[minutes] * 86_400:
        raise HistoryError(f"interval exceeds max limit: {_LONGEST_DAYS[minutes]} days")
    last = min(last, exchange.now_ns // _SECOND)
    past = _Past(exchange.market, exchange.session, exchange.current_day())

    def answer() -> list[list[Any]]:
        rows = past.candles(column, minutes, first, last)
        return [_spelled(row) for row in rows if first <= row.start <= last]

    return answer


@dataclass(frozen=True, slots=True)
class _Past:
    """What had happened when the call came: the sessions before `session`, and today's events if it has opened."""

    market: Market
    session: dt.date | None
    today: tuple[MarketDay, int] | None

    def candles(self, column: int, minutes: int, first: int, last: int) -> list[Candle]:
        found: list[Candle] = []
        day = self.market.session_from(session_date(first * _SECOND))
        while day is not None and day <= session_date(last * _SECOND):
            found += self._of_day(column, minutes, day)
            day = self.market.session_from(day + dt.timedelta(days=1))
        return found

    def _of_day(self, column: int, minutes: int, day: dt.date) -> list[Candle]:
        if self.session is None or day < self.session:
            candles = self.market.candles(day).of(column)
        elif self.today is not None and day == self.session:
            candles = self._so_far(*self.today, column)
        else:
            return []
        if minutes == INTERVAL_MINUTES["day"]:
            return daily(candles, ns(day, "00:00") // _SECOND)
        return grouped(candles, minutes, self.market.windows(day)[0][0] // _SECOND)

    def _so_far(self, day: MarketDay, event: int, column: int) -> list[Candle]:
        """Return today's candles up to an event: whole minutes as they are, the last one from its events until now."""
        minute = int(day.seconds[event]) // 60 * 60
        opened = day.event_at(minute - 1) + 1
        whole = [candle for candle in self.market.candles(day.date).of(column) if candle.start < minute]
        return whole + day.candles(opened, event).of(column)


def _second(text: str | None, name: str) -> int:
    """Return the epoch seconds of a time in India."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            return int(dt.datetime.strptime(text or "", form).replace(tzinfo=IST).timestamp())
        except ValueError:
            continue
    raise HistoryError(f"invalid {name} date: YYYY-MM-DD HH:MM:SS is expected")


def _spelled(candle: Candle) -> list[Any]:
    time = dt.datetime.fromtimestamp(candle.start, IST).strftime("%Y-%m-%dT%H:%M:%S%z")
    return [time, *(price / 100 for price in candle[1:5]), candle.volume]
