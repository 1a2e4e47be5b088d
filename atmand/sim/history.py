"""Historical candles of the simulated past, the unfinished one included (kite.trade/docs, Historical candle data)."""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
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
    exchange: Exchange, token: int, interval: str, start: str | None, end: str | None
) -> Callable[[], list[list[Any]]]:
    """Check a historical call and return what answers it, to be run in a thread.

    The answer has one [time, open, high, low, close, volume, open interest] a candle that starts within `start` to
    `end` (both included, `YYYY-MM-DD HH:MM:SS` in India) and not after market time as it is now.
    """
    if exchange.column_of(token) is None and exchange.contract_of(token) is None:
        raise HistoryError("invalid token")
    minutes = INTERVAL_MINUTES.get(interval)
    if minutes is None:
        raise HistoryError("invalid interval")
    first, last = _second(start, "from"), _second(end, "to")
    if first > last:
        raise HistoryError("invalid from date: it is after the to date")
    if last - first > _LONGEST_DAYS[minutes] * 86_400:
        raise HistoryError(f"interval exceeds max limit: {_LONGEST_DAYS[minutes]} days")
    last = min(last, exchange.now_ns // _SECOND)
    past = _Past(exchange.market, exchange.session, exchange.current_day(), token, exchange.column_of(token))

    def answer() -> list[list[Any]]:
        rows = past.candles(minutes, first, last)
        return [_spelled(row, more) for row, more in rows if first <= row.start <= last]

    return answer


@dataclass(frozen=True, slots=True)
class _Past:
    """What had happened when the call came: the sessions before `session`, and today's events if it has opened."""

    market: Market
    session: dt.date | None
    today: tuple[MarketDay, int] | None
    token: int
    column: int | None
    """Of a share or an index."""

    def candles(self, minutes: int, first: int, last: int) -> list[tuple[Candle, int]]:
        """Return the candles with the open interest at their ends, oldest first."""
        found: list[tuple[Candle, int]] = []
        day = self.market.session_from(session_date(first * _SECOND))
        while day is not None and day <= session_date(last * _SECOND):
            found += self._of_day(minutes, day)
            day = self.market.session_from(day + dt.timedelta(days=1))
        return found

    def _of_day(self, minutes: int, day: dt.date) -> list[tuple[Candle, int]]:
        candles, interest = self._minutes(day)
        if minutes == INTERVAL_MINUTES["day"]:
            joined = daily(candles, ns(day, "00:00") // _SECOND)
        else:
            joined = grouped(candles, minutes, self.market.windows(day)[0][0] // _SECOND)
        starts = [candle.start for candle in candles]
        ends = [bisect.bisect_left(starts, candle.start + minutes * 60) - 1 for candle in joined]
        return [(candle, interest[end] if interest else 0) for candle, end in zip(joined, ends, strict=True)]

    def _minutes(self, day: dt.date) -> tuple[list[Candle], list[int]]:
        """Return a day's minute candles as far as they have happened, and their open interest for a contract."""
        past = self.session is None or day < self.session
        if not past and (self.today is None or day != self.session):
            return [], []
        if self.column is None:
            return self._of_contract(day, None if past else self.today)
        if not past and self.today is not None:
            return self._so_far(*self.today, self.column), []
        return self._in_todays_units(self.market.candles(day).of(self.column), day), []

    def _of_contract(self, day: dt.date, today: tuple[MarketDay, int] | None) -> tuple[list[Candle], list[int]]:
        contracts = self.market.contracts(day)
        column = None if contracts is None else contracts.columns.get(self.token)
        if column is None:
            return [], []
        desk = self.market.desk(day)
        made = desk.candles(column, len(desk.session.seconds) - 1 if today is None else today[1])
        return [candle for candle, _ in made], [interest for _, interest in made]

    def _in_todays_units(self, candles: list[Candle], day: dt.date) -> list[Candle]:
        """Return a share's candles as the broker tells them: before a split or bonus in the units after it."""
        assert self.column is not None
        became = Fraction(1)
        if self.session is not None:
            became = self.market.became(self.market.listings[self.column].symbol, day, self.session)
        if became == 1:
            return candles
        new = [
            [row.start, *(round(price / became) for price in row[1:5]), round(row.volume * became)] for row in candles
        ]
        return [Candle._make(row) for row in new]

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


def _spelled(candle: Candle, open_interest: int) -> list[Any]:
    time = dt.datetime.fromtimestamp(candle.start, IST).strftime("%Y-%m-%dT%H:%M:%S%z")
    return [time, *(price / 100 for price in candle[1:5]), candle.volume, open_interest]
