"""A market drawn out of real one-minute bars: each bar becomes four ticks with a book one tick apart round them.

The path is the one of `market/bar_path.py`, in arrays; the exchange opens this market when it is given a file of bars.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.market.bar_path import STEP_SECONDS, STEPS
from atmand.market.sessions import ns, session_date
from atmand.sim.candles import Candles
from atmand.sim.chain import Chain
from atmand.sim.desk import Desk
from atmand.sim.levels import SimulatorError
from atmand.sim.market_day import DEPTH, Levels, MarketDay, Reference
from atmand.sim.universe import SEGMENT_NSE, Listing

__all__ = ["BAR_TICK", "BarMarket", "bar_steps"]

BAR_TICK: Final = 5
"""Tick of every instrument drawn out of bars, in paise."""

_COLUMNS: Final = ("symbol", "ts", "open", "high", "low", "close", "volume")
_ZONE: Final = r"T.*(Z|[+-]\d\d:?\d\d)$"
_PRICES: Final = ("open", "high", "low", "close")
_FIRST_TOKEN: Final = 90_001
_MINUTE: Final = 60
_SECOND: Final = 1_000_000_000
_DAYS_KEPT: Final = 8


def bar_steps(
    open_price: NDArray[np.int64],
    high: NDArray[np.int64],
    low: NDArray[np.int64],
    close: NDArray[np.int64],
    volume: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the last prices and the minute's cumulative volumes of the four steps of n bars, each (n, 4).

    The steps happen at STEP_SECONDS of the minute; a bar that did not fall visits its low first, any other its high.
    """
    rising = close >= open_price
    prices = np.stack([open_price, np.where(rising, low, high), np.where(rising, high, low), close], axis=1)
    quarters = volume[:, None] // STEPS * np.arange(1, STEPS + 1)
    quarters[:, -1] = volume
    return prices, quarters


class BarMarket:
    """A file's sessions as a market. A session is a date with bars, open from its first bar to the end of its last."""

    seed: Final = 0
    bar_path: Final = True

    def __init__(self, path: Path) -> None:
        symbols, column, start, bars = _read(path)
        self.listings = tuple(_listing(number, symbol) for number, symbol in enumerate(symbols))
        self._column, self._start, self._bars = column, start, bars
        day = (start + 19_800) // 86_400
        self._bounds = np.append(np.flatnonzero(np.diff(day, prepend=-1)), len(day))
        self._sessions = [session_date(int(start[at]) * _SECOND) for at in self._bounds[:-1]]
        self._closes = self._closes_before()
        self._day = lru_cache(maxsize=_DAYS_KEPT)(self._make_day)

    def first_session(self) -> dt.date:
        return self._sessions[0]

    def session_from(self, day: dt.date) -> dt.date | None:
        at = bisect_left(self._sessions, day)
        return self._sessions[at] if at < len(self._sessions) else None

    def session_before(self, day: dt.date) -> dt.date | None:
        at = bisect_left(self._sessions, day) - 1
        return self._sessions[at] if at >= 0 else None

    def windows(self, day: dt.date) -> list[tuple[int, int]]:
        start = self._start[self._cut(day)]
        return [(int(start[0]) * _SECOND, (int(start[-1]) + _MINUTE) * _SECOND)]

    def reference(self, day: dt.date) -> Reference:
        """Return ticks and closes of the day before (on the file's first day the first open); bars have no circuits."""
        none = np.zeros(len(self.listings), np.int64)
        return Reference(none + BAR_TICK, self._closes[self._position(day)], none, none)

    def day(self, day: dt.date) -> MarketDay:
        return self._day(day)

    def candles(self, day: dt.date) -> Candles:
        made = self._day(day)
        return made.candles(0, len(made.seconds) - 1)

    def contracts(self, day: dt.date) -> None:
        """Bars have no derivatives."""

    def chain(self, day: dt.date) -> Chain:
        raise SimulatorError(f"bars, {day}", "there are no derivatives", "use the seeded market")

    def desk(self, day: dt.date) -> Desk:
        raise SimulatorError(f"bars, {day}", "there are no derivatives", "use the seeded market")

    def closes(self, day: dt.date) -> NDArray[np.int64]:
        return np.zeros(0, np.int64)

    def became(self, symbol: str, after: dt.date, until: dt.date) -> Fraction:
        return Fraction(1)

    def _position(self, day: dt.date) -> int:
        at = bisect_left(self._sessions, day)
        if at >= len(self._sessions) or self._sessions[at] != day:
            first, last = self._sessions[0], self._sessions[-1]
            raise SimulatorError(f"bars, {day}", "no bar on that day", f"the file reaches from {first} to {last}")
        return at

    def _cut(self, day: dt.date) -> slice:
        at = self._position(day)
        return slice(int(self._bounds[at]), int(self._bounds[at + 1]))

    def _closes_before(self) -> NDArray[np.int64]:
        """Return each session's closes of the session before, (sessions, I)."""
        closes = np.zeros((len(self._sessions) + 1, len(self.listings)), np.int64)
        first = np.unique(self._column, return_index=True)[1]
        closes[0] = self._bars[first, 0]
        for at in range(len(self._sessions)):
            cut = slice(self._bounds[at], self._bounds[at + 1])
            closes[at + 1] = closes[at]
            # Bars are in order of time, and of repeated indices numpy keeps the last.
            closes[at + 1, self._column[cut]] = self._bars[cut, 3]
        return closes[:-1]

    def _make_day(self, day: dt.date) -> MarketDay:
        cut = self._cut(day)
        column, bars = self._column[cut], self._bars[cut]
        minutes, minute = np.unique(self._start[cut], return_inverse=True)
        seconds = (minutes[:, None] + np.array(STEP_SECONDS)).ravel()
        prices, quarters = bar_steps(*bars.T)
        event = (minute[:, None] * STEPS + np.arange(STEPS)).ravel()
        columns = np.repeat(column, STEPS)
        shape = (len(seconds), len(self.listings))
        changed = np.zeros(shape, np.bool_)
        changed[event, columns] = True
        price, traded, minute_volume = (np.zeros(shape, np.int64) for _ in range(3))
        price[event, columns] = prices.ravel()
        traded[event, columns] = np.diff(quarters, axis=1, prepend=0).ravel()
        minute_volume[event, columns] = np.repeat(bars[:, 4], STEPS)
        return _day_of(day, seconds, changed, price, traded, self.reference(day), _BarBook(minute_volume))


def _day_of(
    day: dt.date,
    seconds: NDArray[np.int64],
    changed: NDArray[np.bool_],
    price: NDArray[np.int64],
    traded: NDArray[np.int64],
    reference: Reference,
    book: _BarBook,
) -> MarketDay:
    """Carry the steps' prices and volumes forward into the state after every event."""
    rows = np.arange(len(seconds), dtype=np.int16)[:, None]
    newest = np.maximum.accumulate(np.where(changed, rows, np.int16(-1)), axis=0)
    before_first = newest < 0
    last = np.take_along_axis(price, np.maximum(newest, 0).astype(np.int64), axis=0)
    last = np.where(before_first, reference.close_before, last)
    volume = np.cumsum(traded, axis=0)
    turnover = np.cumsum(traded * price, axis=0)
    high = np.maximum.accumulate(np.where(changed, last, 0), axis=0)
    low = np.minimum.accumulate(np.where(changed, last, np.iinfo(np.int32).max), axis=0)
    opening = last[np.argmax(changed, axis=0), np.arange(last.shape[1])]
    return MarketDay(
        date=day,
        seconds=seconds,
        changed=changed,
        last=last.astype(np.int32),
        volume=volume.astype(np.int32),
        average=(turnover // np.maximum(volume, 1)).astype(np.int32),
        high=high.astype(np.int32),
        low=low.astype(np.int32),
        last_change=newest,
        last_trade=newest,
        opening=opening.astype(np.int32),
        reference=reference,
        book=book,
    )


@dataclass(frozen=True, slots=True)
class _BarBook:
    """The depth round a step: `level_price` and `level_quantity` of `market/bar_path.py`, in arrays."""

    minute_volume: NDArray[np.int64]

    def levels(self, event: NDArray[np.int64], column: NDArray[np.int64], last: NDArray[np.int64]) -> Levels:
        away = np.arange(1, DEPTH + 1) * BAR_TICK
        bid = np.maximum(last[:, None] - away, 0)
        ask = last[:, None] + away
        each = np.maximum(1, self.minute_volume[event, column] // 20)[:, None]
        return Levels(bid, np.where(bid > 0, each, 0), ask, np.broadcast_to(each, ask.shape))


def _listing(number: int, symbol: str) -> Listing:
    exchange_token = _FIRST_TOKEN + number
    token = exchange_token << 8 | SEGMENT_NSE
    return Listing(token, exchange_token, "NSE", SEGMENT_NSE, symbol, symbol, "", "")


def _read(path: Path) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the symbols, and per bar in order of time: its symbol's number, its start, and (n, 5) paise and shares."""
    import polars as pl

    table = _table(path, pl)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise SimulatorError(str(path), f"no column {', '.join(missing)}", f"bars have {', '.join(_COLUMNS)}")
    stamp = table.schema["ts"]
    if not isinstance(stamp, pl.Datetime) or stamp.time_zone is None:
        raise SimulatorError(str(path), "ts has no time zone", "write it as 2026-07-06T09:15:00+05:30")
    table = table.select(
        pl.col("symbol").cast(pl.String),
        (pl.col("ts").dt.epoch("s")).alias("ts"),
        *((pl.col(name).cast(pl.Float64) * 100).alias(name) for name in _PRICES),
        pl.col("volume").cast(pl.Int64),
    ).sort("ts", "symbol")
    symbols = sorted(table["symbol"].unique().to_list())
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    column = np.array([numbers[symbol] for symbol in table["symbol"].to_list()], np.int64)
    start = table["ts"].to_numpy().astype(np.int64)
    prices = np.stack([table[name].to_numpy() for name in _PRICES], axis=1)
    _refuse_bad_bars(path, start, column, prices, table["volume"].to_numpy())
    bars = np.column_stack([np.floor(prices + 0.5).astype(np.int64), table["volume"].to_numpy()])
    return symbols, column, start, bars


def _table(path: Path, pl: Any) -> Any:
    try:
        if path.suffix.lower() == ".csv":
            table = pl.read_csv(path)
            # A time without a zone is left as it is, and refused with the same words as in Parquet.
            if "ts" not in table.columns or not table["ts"].cast(pl.String).str.contains(_ZONE).all():
                return table.with_columns(pl.col("ts").cast(pl.String).str.to_datetime())
            return table.with_columns(pl.col("ts").str.to_datetime(time_zone="Asia/Kolkata"))
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        first_line = str(error).splitlines()[0]
        raise SimulatorError(str(path), first_line, f"give Parquet or CSV with {', '.join(_COLUMNS)}") from error


def _refuse_bad_bars(
    path: Path,
    start: NDArray[np.int64],
    column: NDArray[np.int64],
    prices: NDArray[np.float64],
    volume: NDArray[np.int64],
) -> None:
    """Refuse bars that no minute of a market could have: the first one found is named."""
    if len(start) == 0:
        raise SimulatorError(str(path), "no bars", "give a file with at least one session")
    opens, high, low, close = prices.T
    twice = np.append((start[1:] == start[:-1]) & (column[1:] == column[:-1]), False)
    wrong = {
        "a price that is not positive and finite": ~(np.isfinite(prices) & (prices > 0) & (prices < 2**31)).all(axis=1),
        "a high below or a low above its other prices": (np.maximum(opens, close) > high)
        | (np.minimum(opens, close) < low),
        "a negative volume": volume < 0,
        "a start that is not a whole minute": start % _MINUTE != 0,
        "a second bar for the same minute": twice,
    }
    for what, rows in wrong.items():
        if rows.any():
            at = int(np.argmax(rows))
            day = session_date(int(start[at]) * _SECOND)
            clock = (int(start[at]) * _SECOND - ns(day, "00:00")) // (_MINUTE * _SECOND)
            where = f"{path}, {day} {clock // 60:02}:{clock % 60:02}"
            raise SimulatorError(where, f"{what}: {prices[at].tolist()}", "check the file's bars")
