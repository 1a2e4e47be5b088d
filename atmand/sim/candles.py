"""Candles out of a day's emitted ticks, and the intervals of the historical call (kite.trade/docs, Historical candles).

A minute's candle is exactly what a client makes of the packets it receives: prices by exchange second, volume as the
difference of the day's cumulative volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["INTERVAL_MINUTES", "Candle", "Candles", "daily", "grouped", "minute_candles"]

INTERVAL_MINUTES: Final = {
    "minute": 1,
    "3minute": 3,
    "5minute": 5,
    "10minute": 10,
    "15minute": 15,
    "30minute": 30,
    "60minute": 60,
    "day": 1440,
}
_FAR: Final = np.iinfo(np.int32).max


class Candle(NamedTuple):
    """One candle of one instrument: epoch seconds of its start, prices in paise, shares."""

    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int


@dataclass(frozen=True, slots=True)
class Candles:
    """A day's minutes: `starts` (M,) epoch seconds, the rest (M, I); a minute without a packet is not `present`."""

    starts: NDArray[np.int64]
    open: NDArray[np.int32]
    high: NDArray[np.int32]
    low: NDArray[np.int32]
    close: NDArray[np.int32]
    volume: NDArray[np.int32]
    present: NDArray[np.bool_]

    def of(self, column: int, count: int | None = None) -> list[Candle]:
        """Return one instrument's candles among the first `count` minutes, oldest first."""
        chosen = np.flatnonzero(self.present[:count, column])
        fields = (self.open, self.high, self.low, self.close, self.volume)
        lists = [field[chosen, column].tolist() for field in fields]
        return [Candle(*row) for row in zip(self.starts[chosen].tolist(), *lists, strict=True)]


def minute_candles(
    seconds: NDArray[np.int64],
    changed: NDArray[np.bool_],
    last: NDArray[np.int32],
    volume: NDArray[np.int32],
    volume_before: NDArray[np.int32] | int = 0,
) -> Candles:
    """Return the minutes of a stretch of events.

    `seconds` (S,) are the events' epoch seconds, `changed` (S, I) says which instrument sent a packet, `last` and
    `volume` (S, I) are its last price and the day's volume after the event; `volume_before` is the volume before it.
    """
    minutes = seconds // 60
    first = np.flatnonzero(np.diff(minutes, prepend=-1))
    ends = np.append(first[1:], len(seconds)) - 1
    rows = np.arange(len(seconds), dtype=np.int32)[:, None]
    opened = np.minimum.reduceat(np.where(changed, rows, np.int32(len(seconds))), first, axis=0)
    present = opened < len(seconds)
    columns = np.arange(last.shape[1])
    before = np.concatenate([np.broadcast_to(volume_before, (1, last.shape[1])), volume[ends[:-1]]])
    return Candles(
        starts=minutes[first] * 60,
        open=last[np.minimum(opened, len(seconds) - 1), columns],
        high=np.maximum.reduceat(np.where(changed, last, 0), first, axis=0),
        low=np.minimum.reduceat(np.where(changed, last, _FAR), first, axis=0),
        # The price is carried forward between packets, so that a minute's last row holds its last packet's price.
        close=last[ends],
        volume=volume[ends] - before,
        present=present,
    )


def grouped(candles: Iterable[Candle], minutes: int, anchor: int) -> list[Candle]:
    """Join minute candles of one day into candles of `minutes`, counted from `anchor` (the first window's opening)."""
    joined: list[Candle] = []
    for candle in candles:
        start = candle.start - (candle.start - anchor) % (minutes * 60)
        if joined and joined[-1].start == start:
            joined[-1] = _join(joined[-1], candle)
        else:
            joined.append(candle._replace(start=start))
    return joined


def daily(candles: Iterable[Candle], midnight: int) -> list[Candle]:
    """Join the minute candles of one day into its day candle, stamped with the day's midnight in India."""
    return [candle._replace(start=midnight) for candle in grouped(candles, 1440, midnight)]


def _join(left: Candle, right: Candle) -> Candle:
    high, low = max(left.high, right.high), min(left.low, right.low)
    return Candle(left.start, left.open, high, low, right.close, left.volume + right.volume)
