"""A session's derivatives as packets and candles, made of contracts that somebody asked for, minutes at a time.

What a contract does in a second is a pure function of the second; only sums over the day (volume, average, high, low)
are carried, so that a contract which is asked for late is brought up to date once and then costs what the others cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.sim.candles import Candle, minute_candles
from atmand.sim.chain import Chain, Quotes
from atmand.sim.market_day import DEPTH
from atmand.sim.wire import FULL

__all__ = ["Desk", "Session"]

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
_BLOCK: Final = 256
_CATCH_UP: Final = 200_000
"""Prices that are made at once when contracts are brought up to date."""

_TRADES: Final = 0.9
"""Chance of a trade in a second of the busiest contract."""

_QUOTES: Final = 0.05
"""Chance that a book moves in a second, however quiet the contract is."""

_SURE: Final = 0.3
"""Contracts as busy as this trade in the opening second."""

_TRADE, _SIDE, _SIZE, _LEVEL = 0, 1, 2, 8
_FAR: Final = np.iinfo(np.int64).max
_CARRY: Final = np.dtype(
    [(name, "i8") for name in ("last", "volume", "turnover", "open", "high", "low", "traded", "size", "packet")]
)


@dataclass(frozen=True)
class Session:
    """A session's seconds (S,) with the underlyings' prices in paise then, (S, U), and when derivatives trade, (S,)."""

    seconds: _Ints
    spots: _Ints
    open: NDArray[np.bool_]
    shape: _Floats
    """How busy each second is, about 1."""


@dataclass(frozen=True)
class _Block:
    """Contracts over a stretch of events, each (n, A): the state after each event, and worth and half spread in it."""

    first: int
    columns: _Ints
    changed: NDArray[np.bool_]
    last: _Ints
    volume: _Ints
    average: _Ints
    open: _Ints
    high: _Ints
    low: _Ints
    traded: _Ints
    """Second of the last trade, 0 before the first."""
    size: _Ints
    packet: _Ints
    """Event of the newest packet, -1 before the first."""
    quotes: Quotes


class Desk:
    """One session's contracts. Columns are places in `chain.contracts`."""

    def __init__(self, chain: Chain, session: Session) -> None:
        self.chain = chain
        self.session = session
        self._share = np.cumsum(session.shape) / session.shape.sum()
        self._wanted = np.zeros(0, np.int64)
        self._number = -1
        self._carry: dict[int, np.void] = {}
        self._carry_at = 0
        self._blocks: list[_Block] = []
        self._made: list[tuple[_Ints, NDArray[np.uint8], _Ints]] = []
        """By block the events, the packets and the columns of all that it holds."""
        self._packets: list[tuple[_Ints, NDArray[np.uint8], _Ints]] = []
        """The same of what is listened to."""

    def want(self, columns: _Ints) -> None:
        """Say which contracts are listened to from now on."""
        self._wanted = np.unique(columns)
        self._packets = [self._heard(*made) for made in self._made]

    def rows(self, event: int) -> tuple[NDArray[np.uint8], _Ints]:
        """Return the packets of an event, (n, 184), and the columns of their contracts, (n,)."""
        self._reach(event, self._wanted)
        rows, columns = [np.zeros((0, FULL.itemsize), np.uint8)], [np.zeros(0, np.int64)]
        for events, packets, of in self._packets:
            cut = slice(*np.searchsorted(events, (event, event + 1)))
            rows.append(packets[cut])
            columns.append(of[cut])
        return np.concatenate(rows), np.concatenate(columns)

    def state(self, event: int, columns: _Ints) -> tuple[NDArray[np.uint8], _Ints]:
        """Return the newest packets of contracts as of an event, leaving out those that have not sent one yet."""
        self._reach(event, np.union1d(self._wanted, columns))
        rows, known = [np.zeros((0, FULL.itemsize), np.uint8)], [np.zeros(0, np.int64)]
        for block in self._blocks:
            places = np.flatnonzero(np.isin(block.columns, columns) & (block.packet[event - block.first] >= 0))
            rows.append(self._written(block, np.full(len(places), event - block.first), places))
            known.append(block.columns[places])
        return np.concatenate(rows), np.concatenate(known)

    def next_change(self, event: int, most: int) -> int:
        """Return the first event from `event` on in which a wanted contract sends a packet, at most `most`."""
        if not len(self._wanted):
            return most
        self._reach(event, self._wanted)
        found = [
            int(events[at]) for events, _, _ in self._packets if (at := np.searchsorted(events, event)) < len(events)
        ]
        return min([*found, most, (event // _BLOCK + 1) * _BLOCK])

    def candles(self, column: int, until: int) -> list[tuple[Candle, int]]:
        """Return a contract's minute candles up to an event with the open interest at their ends.

        Apart from what `rows` keeps: it may run in another thread.
        """
        columns = np.array([column])
        block, _ = self._run(columns, self._fresh(columns), 0, until + 1)
        seconds = self.session.seconds[: until + 1]
        made = minute_candles(seconds, block.changed, block.last.astype(np.int32), block.volume.astype(np.int32))
        open_interest = self._open_interest(np.arange(until + 1), columns)
        candles = made.of(0)
        ends = np.searchsorted(seconds, [candle.start + 60 for candle in candles]) - 1
        return list(zip(candles, open_interest[ends].tolist(), strict=True))

    def _reach(self, event: int, columns: _Ints) -> None:
        """Hold the block of an event for at least these columns."""
        number = event // _BLOCK
        if number != self._number:
            self._turn(number)
        held = [block.columns for block in self._blocks]
        missing = np.setdiff1d(columns, np.concatenate(held) if held else np.zeros(0, np.int64))
        if len(missing):
            self._add(missing, self._caught_up(missing, 0, number * _BLOCK, self._fresh(missing)))

    def _turn(self, number: int) -> None:
        """Go on to a block with the contracts that are still wanted; all of them are one block again."""
        first = number * _BLOCK
        kept = np.array([column for column in self._wanted.tolist() if column in self._carry], np.int64)
        carry = np.array([self._carry[column] for column in kept.tolist()], _CARRY)
        at = self._carry_at
        if first < at:
            kept, carry = kept[:0], carry[:0]
        self._blocks, self._made, self._packets, self._carry = [], [], [], {}
        self._number, self._carry_at = number, min(first + _BLOCK, len(self.session.seconds))
        if len(kept):
            self._add(kept, self._caught_up(kept, at, first, carry))

    def _add(self, columns: _Ints, carry: NDArray[np.void]) -> None:
        first = self._number * _BLOCK
        block, carry = self._run(columns, carry, first, min(first + _BLOCK, len(self.session.seconds)))
        events, places = np.nonzero(block.changed)
        self._blocks.append(block)
        self._made.append((events + first, self._written(block, events, places), columns[places]))
        self._packets.append(self._heard(*self._made[-1]))
        self._carry |= dict(zip(columns.tolist(), carry, strict=True))

    def _heard(
        self, events: _Ints, packets: NDArray[np.uint8], columns: _Ints
    ) -> tuple[_Ints, NDArray[np.uint8], _Ints]:
        chosen = np.isin(columns, self._wanted)
        return (events, packets, columns) if chosen.all() else (events[chosen], packets[chosen], columns[chosen])

    def _caught_up(self, columns: _Ints, at: int, until: int, carry: NDArray[np.void]) -> NDArray[np.void]:
        stride = max(_BLOCK, _CATCH_UP // len(columns))
        while at < until:
            _, carry = self._run(columns, carry, at, min(at + stride, until))
            at += stride
        return carry

    def _fresh(self, columns: _Ints) -> NDArray[np.void]:
        carry = np.zeros(len(columns), _CARRY)
        carry["last"] = self.chain.close_before[columns]
        carry["low"], carry["packet"] = _FAR, -1
        return carry

    def _run(self, columns: _Ints, carry: NDArray[np.void], first: int, until: int) -> tuple[_Block, NDArray[np.void]]:
        """Let contracts trade from event `first` to before `until`, and return that with what to go on from."""
        chain, contracts = self.chain, self.chain.contracts.rows[columns]
        cut = slice(first, until)
        seconds, opened = self.session.seconds[cut], self.session.open[cut, None]
        tick, lot = contracts["tick"], contracts["lot"]
        quotes = chain.quotes(seconds, self.session.spots[cut], columns)
        activity = chain.activity[columns]
        rate = np.minimum(_TRADES * activity * self.session.shape[cut, None], 0.95)
        draw = chain.draw(seconds, columns, _TRADE)
        traded, changed = draw < rate, draw < np.maximum(rate * 1.5, _QUOTES)
        if first == 0:
            traded[0], changed[0] = activity > _SURE, True
        traded &= opened
        changed = (changed | traded) & opened
        buyer = chain.draw(seconds, columns, _SIDE) < 0.5
        price = np.clip(
            np.where(buyer, quotes.ask, np.maximum(quotes.bid, tick)), chain.lower[columns], chain.upper[columns]
        )
        lots = chain.daily_lots(columns) / np.maximum(_TRADES * activity * len(self.session.seconds), 1.0)
        size = (1 - np.log1p(-chain.draw(seconds, columns, _SIZE)) * lots).astype(np.int64) * lot
        size = np.where(traded, np.minimum(size, contracts["freeze"] // lot * lot), 0)
        rows = np.arange(until - first)[:, None]
        newest = np.maximum.accumulate(np.where(traded, rows, -1), axis=0)
        has, at, places = newest >= 0, np.maximum(newest, 0), np.arange(len(columns))
        paid = np.where(traded, price, 0)
        volume = carry["volume"] + np.cumsum(size, axis=0)
        turnover = carry["turnover"] + np.cumsum(size * paid, axis=0)
        began = np.argmax(traded, axis=0)
        block = _Block(
            first=first,
            columns=columns,
            changed=changed,
            last=np.where(has, price[at, places], carry["last"]),
            volume=volume,
            average=turnover // np.maximum(volume, 1),
            open=np.where(carry["open"] > 0, carry["open"], np.where(has, price[began, places], 0)),
            high=np.maximum(carry["high"], np.maximum.accumulate(paid, axis=0)),
            low=np.minimum(carry["low"], np.minimum.accumulate(np.where(traded, price, _FAR), axis=0)),
            traded=np.where(has, seconds[at], carry["traded"]),
            size=np.where(has, size[at, places], carry["size"]),
            packet=np.maximum(np.maximum.accumulate(np.where(changed, rows + first, -1), axis=0), carry["packet"]),
            quotes=quotes,
        )
        following = np.zeros(len(columns), _CARRY)
        for name in ("last", "volume", "open", "high", "low", "traded", "size", "packet"):
            following[name] = getattr(block, name)[-1]
        following["turnover"] = turnover[-1]
        return block, following

    def _open_interest(self, events: _Ints, columns: _Ints) -> _Ints:
        """Return open interest in units of (event, contract) pairs: from the day before's to the day's own."""
        begin, end = self.chain.open_before[columns], self.chain.open_after[columns]
        lot = self.chain.contracts.rows["lot"][columns]
        now: _Ints = begin + np.rint((end - begin) / lot * self._share[events]).astype(np.int64) * lot
        return now

    def _written(self, block: _Block, row: _Ints, place: _Ints) -> NDArray[np.uint8]:
        """Return the full packets of n (row, place) pairs of a block, each as of its contract's newest event."""
        columns = block.columns[place]
        event = np.maximum(block.packet[row, place], block.first)
        out = np.zeros(len(row), FULL)
        out["token"] = self.chain.contracts.rows["token"][columns]
        for name, values in (
            ("last_price", block.last),
            ("last_quantity", block.size),
            ("average_price", block.average),
            ("volume", block.volume),
            ("open", block.open),
            ("high", block.high),
            ("last_trade_time", block.traded),
        ):
            out[name] = values[row, place]
        out["low"] = np.where(block.volume[row, place] > 0, block.low[row, place], 0)
        out["close"] = self.chain.close_before[columns]
        out["exchange_time"] = self.session.seconds[event]
        begin, now = self.chain.open_before[columns], self._open_interest(event, columns)
        out["oi"], out["oi_high"], out["oi_low"] = now, np.maximum(begin, now), np.minimum(begin, now)
        self._write_depth(out, block, event - block.first, place)
        return out.view(np.uint8).reshape(-1, FULL.itemsize)

    def _write_depth(self, out: NDArray[np.void], block: _Block, row: _Ints, place: _Ints) -> None:
        columns = block.columns[place]
        lot, busy = self.chain.contracts.rows["lot"][columns], self.chain.activity[columns]
        away = np.arange(DEPTH) * block.quotes.step[row, place][:, None]
        for offset, side, touch, sign in ((0, "buy", block.quotes.bid, -1), (DEPTH, "sell", block.quotes.ask, 1)):
            price = touch[row, place][:, None] + sign * away
            shown = (price > 0) & (price <= self.chain.upper[columns][:, None])
            bits = self.chain.bits(self.session.seconds[row + block.first], columns, _LEVEL + offset)
            drawn = (bits[:, None] >> np.arange(0, 12 * DEPTH, 12, dtype=np.uint64) & np.uint64(4095)) / 4096
            lots = 1 + (drawn * (1 + 40 * busy[:, None]) * (1 + np.arange(DEPTH))).astype(np.int64)
            quantity = np.where(shown, lots * lot[:, None], 0)
            out[side]["price"] = np.where(shown, price, 0)
            out[side]["quantity"] = quantity
            out[side]["orders"] = np.minimum(quantity // (lot[:, None] * 2) + shown, 65_535)
            out[f"{side}_quantity"] = quantity.sum(axis=1) * 4
