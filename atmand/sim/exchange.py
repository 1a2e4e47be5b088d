"""The simulated exchange without its sockets: market time, subscriptions, and the one frame a connection gets a step.

Sans-I/O: the server asks when something happens next, moves market time there and writes what it is given. What is
given is a pure function of the market and of the subscriptions in market time.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atmand.market.sessions import session_date
from atmand.sim.contracts import Contracts
from atmand.sim.desk import Desk
from atmand.sim.market_day import Market, MarketDay, StepRows
from atmand.sim.wire import INDEX_BYTES, MODES, SHARE_BYTES, frame

__all__ = ["CONNECTION_LIMIT", "Exchange", "RequestError", "Subscription"]

CONNECTION_LIMIT: Final = 3_000
"""Instruments that one connection may subscribe (kite.trade/docs, WebSocket streaming)."""

_SECOND: Final = 1_000_000_000
_BEFORE_OPEN: Final = 15 * 60 * _SECOND
_AFTER_CLOSE: Final = 5 * 60 * _SECOND
_LOOK_AHEAD: Final = 60
_NEVER: Final = np.iinfo(np.int64).max


class RequestError(ValueError):
    """A client's text message is not one of the ticker's requests; its text is the answer."""


class Subscription:
    """What one connection asked for, and how many data frames it was given."""

    def __init__(self, instruments: int) -> None:
        self.lengths = np.zeros(instruments, np.int16)
        """Packet length of each instrument in bytes, 0 = not subscribed."""
        self.pending = np.zeros(instruments, np.bool_)
        """Instruments whose state is due whether or not it changes: asked for since the last step."""
        self.contracts: dict[int, int] = {}
        """Packet lengths of futures and options by token, which have other columns every session."""
        self.contract_lengths = np.zeros(0, np.int16)
        self.contract_pending = np.zeros(0, np.bool_)
        """As above, by the columns of the session's contracts."""
        self.frames = 0

    def follow(self, contracts: Contracts | None) -> None:
        """Find the session's columns of the contracts; one that is not listed any more is forgotten."""
        columns = {} if contracts is None else contracts.columns
        self.contracts = {token: length for token, length in self.contracts.items() if token in columns}
        self.contract_lengths = np.zeros(len(columns), np.int16)
        self.contract_pending = np.zeros(len(columns), np.bool_)
        for token, length in self.contracts.items():
            self.contract_lengths[columns[token]] = length


class _Session(NamedTuple):
    date: dt.date
    before_open_ns: int
    close_ns: int
    done_ns: int


class Exchange:
    """One market and its clients. `now_ns` is market time: everything up to it has happened."""

    def __init__(self, market: Market, start_ns: int) -> None:
        self.market = market
        self.subscriptions: list[Subscription] = []
        self._columns = {row.token: at for at, row in enumerate(market.listings)}
        self._keys = {row.key: at for at, row in enumerate(market.listings)}
        index = np.array([row.is_index for row in market.listings])
        self._bytes = {mode: np.where(index, INDEX_BYTES[mode], SHARE_BYTES[mode]).astype(np.int16) for mode in MODES}
        first = market.session_from(session_date(start_ns))
        if first is None or start_ns < market.windows(market.first_session())[0][0]:
            first = market.first_session()
            start_ns = market.windows(first)[0][0]
        # The starting second itself is the first step, so that whoever subscribes before it misses nothing.
        self.now_ns = start_ns - _SECOND
        self._session: _Session | None = self._session_of(first)
        self._rows: StepRows | None = None
        self._desk: Desk | None = None
        self.contracts = self._listed()
        """The futures and options of the session that is going on or comes next."""
        self._skip_ended_session()

    @property
    def session(self) -> dt.date | None:
        """The session that is going on or comes next; None after the market's last one."""
        return None if self._session is None else self._session.date

    def column_of(self, name: int | str) -> int | None:
        """Return the column of a share or an index by its token or by its key (`NSE:INFY`)."""
        return self._columns.get(name) if isinstance(name, int) else self._keys.get(name)

    def contract_of(self, name: int | str) -> int | None:
        """Return the column of a future or an option of the session by its token or its key (`NFO:NIFTY26JULFUT`)."""
        if self.contracts is None:
            return None
        return self.contracts.columns.get(name) if isinstance(name, int) else self.contracts.keys.get(name)

    def attach(self) -> Subscription:
        subscription = Subscription(len(self.market.listings))
        subscription.follow(self.contracts)
        self.subscriptions.append(subscription)
        return subscription

    def detach(self, subscription: Subscription) -> None:
        self.subscriptions.remove(subscription)
        self._tell_desk()

    def request(self, subscription: Subscription, text: str) -> None:
        """Apply a client's text message (kite.trade/docs, WebSocket streaming, Request structure).

        RequestError for anything else. A token that is not listed is passed over, as the broker does.
        """
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RequestError("request is not JSON") from error
        if not isinstance(message, dict):
            raise RequestError("request is not an object")
        action, value = message.get("a"), message.get("v")
        if action == "subscribe":
            self._set_mode(subscription, "quote", _tokens(value))
        elif action == "unsubscribe":
            columns = self._known(_tokens(value))
            subscription.lengths[columns] = 0
            subscription.pending[columns] = False
            self._leave_contracts(subscription, _tokens(value))
        elif action == "mode":
            if not isinstance(value, list) or len(value) != 2 or value[0] not in MODES:
                raise RequestError('mode wants ["ltp" | "quote" | "full", [tokens]]')
            self._set_mode(subscription, value[0], _tokens(value[1]))
        else:
            raise RequestError("unknown action; known are subscribe, unsubscribe, mode")

    def next_ns(self) -> int | None:
        """Return the market time of the next step, None when the market is over.

        A step is a second in which a subscribed instrument sends a packet, and besides: a quarter of an hour before the
        opening, the close, five minutes after it. Nothing is ever passed over.
        """
        if self._session is None:
            return None
        if self.now_ns < self._session.before_open_ns:
            return self._session.before_open_ns
        marks = [mark for mark in (self._session.close_ns, self._session.done_ns) if mark > self.now_ns]
        return min(self._next_event_ns(), *marks)

    def advance(self, time_ns: int) -> list[tuple[Subscription, bytes]]:
        """Move market time to a step and return the frames it sends, at most one a connection."""
        self.now_ns = time_ns
        frames = self._frames(time_ns)
        self._skip_ended_session()
        return frames

    def state(self, columns: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the newest packets (n, 184) of instruments at market time and their columns.

        Before a session's first packet they are the last ones of the session before; an instrument without any is
        left out.
        """
        rows, event = self._rows_now()
        if rows is None:
            return np.zeros((0, 184), np.uint8), np.zeros(0, np.int64)
        return rows.state(event, columns)

    def contract_state(self, columns: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the newest packets of the session's contracts at market time and their columns, as `state` does."""
        nothing = np.zeros((0, 184), np.uint8), np.zeros(0, np.int64)
        today = self.current_day()
        if not len(columns) or self.contracts is None:
            return nothing
        if today is not None:
            return self.desk().state(today[1], columns)
        limit = self._session.date if self._session is not None else dt.date.max
        before = self.market.session_before(limit)
        if before is None:
            return nothing
        desk = self.market.desk(before)
        then = desk.chain.contracts.columns
        tokens = self.contracts.rows["token"][columns].tolist()
        now = {then[token]: column for token, column in zip(tokens, columns.tolist(), strict=True) if token in then}
        packets, found = desk.state(len(desk.session.seconds) - 1, np.array(list(now), np.int64))
        return packets, np.array([now[column] for column in found.tolist()], np.int64)

    def desk(self) -> Desk:
        """Return the packets of the session's futures and options."""
        assert self._session is not None
        if self._desk is None or self._desk.chain.contracts.day != self._session.date:
            self._today(self._session)  # the day in full is drawn once, and the desk is made out of it
            self._desk = self.market.desk(self._session.date)
            self._tell_desk()
        return self._desk

    def current_day(self) -> tuple[MarketDay, int] | None:
        """Return the session that has opened today and its newest event; None while it has not."""
        session = self._session
        if session is None or self.now_ns < session.before_open_ns:
            return None
        rows = self._today(session)
        event = rows.day.event_at(self.now_ns // _SECOND)
        return (rows.day, event) if event >= 0 else None

    def _session_of(self, day: dt.date | None) -> _Session | None:
        if day is None:
            return None
        windows = self.market.windows(day)
        close = windows[-1][1]
        return _Session(day, windows[0][0] - _BEFORE_OPEN, close, close + _AFTER_CLOSE)

    def _skip_ended_session(self) -> None:
        while self._session is not None and self.now_ns >= self._session.done_ns:
            following = self.market.session_from(self._session.date + dt.timedelta(days=1))
            self._session = self._session_of(following)
            self.contracts = self._listed()
            for subscription in self.subscriptions:
                subscription.follow(self.contracts)

    def _listed(self) -> Contracts | None:
        return None if self._session is None else self.market.contracts(self._session.date)

    def _tell_desk(self) -> None:
        """Let contracts be priced that somebody listens to, and no others."""
        if (
            self._desk is not None
            and self.contracts is not None
            and self._desk.chain.contracts.day == self.contracts.day
        ):
            wanted = np.zeros(len(self.contracts.rows), np.bool_)
            for subscription in self.subscriptions:
                wanted |= subscription.contract_lengths > 0
            self._desk.want(np.flatnonzero(wanted))

    def _today(self, session: _Session) -> StepRows:
        if self._rows is None or self._rows.day.date != session.date:
            self._rows = StepRows(self.market.day(session.date), self.market.listings)
        return self._rows

    def _rows_now(self) -> tuple[StepRows | None, int]:
        today = self.current_day()
        if today is not None and self._rows is not None:
            return self._rows, today[1]
        # Nothing has happened in the session to come: the one before it still stands.
        limit = self._session.date if self._session is not None else dt.date.max
        before = self.market.session_before(limit)
        if before is None:
            return None, -1
        day = self.market.day(before)
        return StepRows(day, self.market.listings), len(day.seconds) - 1

    def _next_event_ns(self) -> int:
        assert self._session is not None
        day = self._today(self._session).day
        event = day.event_at(self.now_ns // _SECOND) + 1
        if event >= len(day.seconds):
            return _NEVER
        wanted = np.zeros(len(self.market.listings), np.bool_)
        for subscription in self.subscriptions:
            if subscription.pending.any() or subscription.contract_pending.any():
                return int(day.seconds[event]) * _SECOND
            wanted |= subscription.lengths > 0
        contracts = any(subscription.contracts for subscription in self.subscriptions)
        if not wanted.any() and not contracts:
            # Nobody listens yet: go on second by second, so that whoever comes finds the market where he left it.
            return int(day.seconds[event]) * _SECOND
        ahead = day.changed[event : event + _LOOK_AHEAD]
        hits = np.flatnonzero(np.any(ahead[:, wanted], axis=1))
        found = int(hits[0]) if len(hits) else len(ahead) - 1
        if contracts:
            found = self.desk().next_change(event, event + found) - event
        return int(day.seconds[event + found]) * _SECOND

    def _frames(self, time_ns: int) -> list[tuple[Subscription, bytes]]:
        session = self._session
        if session is None or not session.before_open_ns <= time_ns < session.close_ns:
            return []
        rows = self._today(session)
        event = rows.day.event_at(time_ns // _SECOND)
        happens = event >= 0 and int(rows.day.seconds[event]) * _SECOND == time_ns
        frames = []
        for subscription in self.subscriptions:
            data = self._frame(subscription, rows, event if happens else -1)
            if data is not None:
                subscription.frames += 1
                frames.append((subscription, data))
        return frames

    def _frame(self, subscription: Subscription, rows: StepRows, event: int) -> bytes | None:
        """Return what one connection is sent of an event, or -1 where none happens at market time."""
        packets, lengths = self._shares_part(subscription, rows, event)
        if subscription.contracts:
            contracts, their_lengths = self._contracts_part(subscription, rows, event)
            packets, lengths = np.concatenate([packets, contracts]), np.concatenate([lengths, their_lengths])
        return frame(packets, lengths) if len(lengths) else None

    def _shares_part(
        self, subscription: Subscription, rows: StepRows, event: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        if subscription.pending.any():
            due = subscription.pending.copy()
            if event >= 0:
                due |= rows.day.changed[event]
            packets, columns = self.state(np.flatnonzero(due & (subscription.lengths > 0)))
            subscription.pending[columns] = False
        elif event >= 0:
            packets, columns = rows.at(event)
            chosen = subscription.lengths[columns] > 0
            if not chosen.all():
                packets, columns = packets[chosen], columns[chosen]
        else:
            return np.zeros((0, 184), np.uint8), np.zeros(0, np.int16)
        return packets, subscription.lengths[columns]

    def _contracts_part(
        self, subscription: Subscription, rows: StepRows, event: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        newest = rows.day.event_at(self.now_ns // _SECOND)
        desk = self.desk()
        if newest >= 0 and subscription.contract_pending.any():
            due = subscription.contract_pending.copy()
            if event >= 0:
                due[desk.rows(event)[1]] = True
            packets, columns = desk.state(newest, np.flatnonzero(due & (subscription.contract_lengths > 0)))
            subscription.contract_pending[columns] = False
        elif event >= 0:
            packets, columns = desk.rows(event)
            chosen = subscription.contract_lengths[columns] > 0
            packets, columns = packets[chosen], columns[chosen]
        else:
            return np.zeros((0, 184), np.uint8), np.zeros(0, np.int16)
        return packets, subscription.contract_lengths[columns]

    def _set_mode(self, subscription: Subscription, mode: str, tokens: list[int]) -> None:
        if len(tokens) > CONNECTION_LIMIT:
            raise RequestError(f"a connection may subscribe {CONNECTION_LIMIT} instruments")
        columns = self._known(tokens)
        subscription.lengths[columns] = self._bytes[mode][columns]
        subscription.pending[columns] = True
        if self.contracts is not None:
            for token in tokens:
                column = self.contracts.columns.get(token)
                if column is not None:
                    subscription.contracts[token] = SHARE_BYTES[mode]
                    subscription.contract_lengths[column] = SHARE_BYTES[mode]
                    subscription.contract_pending[column] = True
            self._tell_desk()

    def _leave_contracts(self, subscription: Subscription, tokens: list[int]) -> None:
        for token in tokens:
            if subscription.contracts.pop(token, 0) and self.contracts is not None:
                column = self.contracts.columns[token]
                subscription.contract_lengths[column] = 0
                subscription.contract_pending[column] = False
        self._tell_desk()

    def _known(self, tokens: list[int]) -> list[int]:
        return [self._columns[token] for token in tokens if token in self._columns]


def _tokens(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(token, int) for token in value):
        raise RequestError("the value is not a list of instrument tokens")
    return value
