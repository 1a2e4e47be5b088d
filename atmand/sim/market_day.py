"""One simulated session in arrays, the packets it sends, and what a market offers the exchange.

The seeded generator and the bar market both make `MarketDay`; the exchange asks it for the rows of a step.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from atmand.sim.candles import Candles, minute_candles
from atmand.sim.universe import Listing
from atmand.sim.wire import FULL, INDEX

if TYPE_CHECKING:
    from atmand.sim.chain import Chain
    from atmand.sim.contracts import Contracts
    from atmand.sim.desk import Desk

__all__ = ["DEPTH", "Book", "Levels", "Market", "MarketDay", "Reference", "StepRows", "packet_rows"]

DEPTH: Final = 5
_BLOCK: Final = 64


class Levels(NamedTuple):
    """A book's five levels for n packets, each (n, 5): prices in paise and quantities, both 0 where nobody quotes."""

    bid_price: NDArray[np.int64]
    bid_quantity: NDArray[np.int64]
    ask_price: NDArray[np.int64]
    ask_quantity: NDArray[np.int64]


class Book(Protocol):
    """The rule that gives the depth after an event: a pure function of the event, the instrument and its last price."""

    def levels(self, event: NDArray[np.int64], column: NDArray[np.int64], last: NDArray[np.int64]) -> Levels: ...


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known of a day before it opens, each (I,) in paise: tick, close of the day before, circuit prices."""

    tick: NDArray[np.int64]
    close_before: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MarketDay:
    """A session: `seconds` (S,) are its events, the others (S, I) the state after each; -1 = nothing happened yet.

    `last_change` and `last_trade` are the events of the newest packet and of the newest trade.
    """

    date: dt.date
    seconds: NDArray[np.int64]
    changed: NDArray[np.bool_]
    last: NDArray[np.int32]
    volume: NDArray[np.int32]
    average: NDArray[np.int32]
    high: NDArray[np.int32]
    low: NDArray[np.int32]
    last_change: NDArray[np.int16]
    last_trade: NDArray[np.int16]
    opening: NDArray[np.int32]
    reference: Reference
    book: Book

    def event_at(self, second: int) -> int:
        """Return the newest event at or before an epoch second, -1 before the first."""
        return int(np.searchsorted(self.seconds, second, side="right")) - 1

    def candles(self, first: int, last: int) -> Candles:
        """Return the minute candles of the events `first` to `last`, both included."""
        cut = slice(first, last + 1)
        before: NDArray[np.int32] | int = self.volume[first - 1] if first > 0 else 0
        return minute_candles(self.seconds[cut], self.changed[cut], self.last[cut], self.volume[cut], before)


class Market(Protocol):
    """A market that the exchange can open: a pure function of a seed or of a file, any day in any order."""

    @property
    def listings(self) -> tuple[Listing, ...]: ...

    @property
    def seed(self) -> int: ...

    @property
    def bar_path(self) -> bool:
        """Whether ticks are drawn out of bars."""

    def first_session(self) -> dt.date: ...

    def session_from(self, day: dt.date) -> dt.date | None:
        """Return the first session on or after `day`, None where the market ends before one."""

    def session_before(self, day: dt.date) -> dt.date | None: ...

    def windows(self, day: dt.date) -> list[tuple[int, int]]:
        """Return a session's windows in ns UTC, the opening included, the close not."""

    def reference(self, day: dt.date) -> Reference: ...

    def day(self, day: dt.date) -> MarketDay: ...

    def candles(self, day: dt.date) -> Candles: ...

    def contracts(self, day: dt.date) -> Contracts | None:
        """Return the futures and options of a session, None where the market has none."""

    def chain(self, day: dt.date) -> Chain:
        """Return the prices of a session's futures and options; SimulatorError where the market has none."""

    def desk(self, day: dt.date) -> Desk:
        """Return the packets of a session's futures and options; SimulatorError where the market has none."""

    def closes(self, day: dt.date) -> NDArray[np.int64]:
        """Return the closes in paise of what futures and options are written on."""

    def became(self, symbol: str, after: dt.date, until: dt.date) -> Fraction:
        """Return how many shares one share of session `after` has become by session `until`."""


class StepRows:
    """A day's packets, made in blocks of a minute or so, because numpy is paid by the call and not by the row."""

    def __init__(self, day: MarketDay, listings: Sequence[Listing]) -> None:
        self.day = day
        self._tokens = np.array([row.token for row in listings], np.int64)
        self._index = np.array([row.is_index for row in listings])
        self._block = -1
        self._rows = np.zeros((0, FULL.itemsize), np.uint8)
        self._columns = np.zeros(0, np.int64)
        self._bounds = np.zeros(_BLOCK + 1, np.int64)

    def at(self, event: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the packets of an event, (n, 184), and the columns of their instruments, (n,)."""
        block, within = divmod(event, _BLOCK)
        if block != self._block:
            self._fill(block)
        cut = slice(self._bounds[within], self._bounds[within + 1])
        return self._rows[cut], self._columns[cut]

    def state(self, event: int, columns: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the newest packets of instruments as of an event, leaving out those that have not sent one yet."""
        known = columns[self.day.last_change[event, columns] >= 0]
        events = self.day.last_change[event, known].astype(np.int64)
        return packet_rows(self.day, self._tokens, self._index, events, known), known

    def _fill(self, block: int) -> None:
        first = block * _BLOCK
        events, columns = np.nonzero(self.day.changed[first : first + _BLOCK])
        self._bounds = np.searchsorted(events, np.arange(_BLOCK + 1))
        self._rows = packet_rows(self.day, self._tokens, self._index, events + first, columns)
        self._columns = columns
        self._block = block


def packet_rows(
    day: MarketDay,
    tokens: NDArray[np.int64],
    index: NDArray[np.bool_],
    event: NDArray[np.int64],
    column: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Return the full packets of n (event, column) pairs as bytes, (n, 184); an index's row is an INDEX packet."""
    rows = np.zeros((len(event), FULL.itemsize), np.uint8)
    is_index = index[column]
    for chosen, write in ((~is_index, _write_shares), (is_index, _write_indices)):
        where = np.flatnonzero(chosen)
        if len(where):
            rows[where] = write(day, tokens, event[where], column[where])
    return rows


def _write_shares(
    day: MarketDay, tokens: NDArray[np.int64], event: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.uint8]:
    out = np.zeros(len(event), FULL)
    last = day.last[event, column].astype(np.int64)
    trade = day.last_trade[event, column].astype(np.int64)
    traded = trade >= 0
    trade = np.maximum(trade, 0)
    volume_before = np.where(trade > 0, day.volume[trade - 1, column], 0)
    out["token"] = tokens[column]
    out["last_price"] = last
    out["last_quantity"] = np.where(traded, day.volume[trade, column] - volume_before, 0)
    out["average_price"] = day.average[event, column]
    out["volume"] = day.volume[event, column]
    out["open"] = day.opening[column]
    out["high"] = day.high[event, column]
    out["low"] = day.low[event, column]
    out["close"] = day.reference.close_before[column]
    out["last_trade_time"] = np.where(traded, day.seconds[trade], 0)
    out["exchange_time"] = day.seconds[event]
    levels = day.book.levels(event, column, last)
    for side, price, quantity in (
        ("buy", levels.bid_price, levels.bid_quantity),
        ("sell", levels.ask_price, levels.ask_quantity),
    ):
        out[side]["price"] = price
        out[side]["quantity"] = quantity
        out[side]["orders"] = np.minimum(quantity // 50 + (quantity > 0), 65_535)
        # Five levels are the top of a longer book; the share that is visible is fixed, so that the total follows them.
        out[f"{side}_quantity"] = quantity.sum(axis=1) * 4
    return out.view(np.uint8).reshape(-1, FULL.itemsize)


def _write_indices(
    day: MarketDay, tokens: NDArray[np.int64], event: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.uint8]:
    out = np.zeros(len(event), INDEX)
    last = day.last[event, column].astype(np.int64)
    close = day.reference.close_before[column]
    out["token"] = tokens[column]
    out["last_price"] = last
    out["high"] = day.high[event, column]
    out["low"] = day.low[event, column]
    out["open"] = day.opening[column]
    out["close"] = close
    out["change"] = last - close
    out["exchange_time"] = day.seconds[event]
    return out.view(np.uint8).reshape(-1, INDEX.itemsize)
