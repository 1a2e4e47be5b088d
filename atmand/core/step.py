"""The handlers of the fold: what each kind of record does to the tables. The generated program calls them by name.

A record is applied in this order: core time moves on, due bars close and strategies decide on them, timed events
happen, then the record's own content is taken in.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.bars import (
    NEVER_NS,
    close_due_bars,
    gap_into_bars,
    in_windows,
    merge_history,
    older_tick_into_bars,
    tick_into_bars,
)
from atmand.core.decide import enter_group
from atmand.core.expiry import leave_contracts, settle_contracts
from atmand.core.jit import kernel, routine, rows_at
from atmand.core.layout import account_at, book_at, group_at, header_of, instrument_at, pair_at, token_at
from atmand.core.legs import exit_group, leads, watch_contract, watch_groups
from atmand.core.matching import expire_orders, is_calm, meet_market, request_exit
from atmand.core.netting import net_orders
from atmand.core.orders import note_touch
from atmand.core.records import (
    COMMAND_HEAD,
    GAP_HEAD,
    HISTORY_HEAD,
    HISTORY_ROW,
    LIMITS_HEAD,
    LIMITS_ROW,
    PARAMS_HEAD,
    PARAMS_ROW,
    BarFlag,
    Command,
)
from atmand.core.ticks import DEPTH, TICK
from atmand.core.waiting import next_wait_ns, recall
from atmand.core.words import Reason

__all__ = [
    "begin",
    "on_command",
    "on_gap",
    "on_history",
    "on_limits",
    "on_params",
    "on_ticks",
    "timed_events",
]

_VALUE: Final = np.dtype(np.float64)
_LIMITS_HEAD_BYTES: Final = LIMITS_HEAD.itemsize
_PARAMS_HEAD_BYTES: Final = PARAMS_HEAD.itemsize
_HISTORY_HEAD_BYTES: Final = HISTORY_HEAD.itemsize

_ANY: Final = np.int64(-1)
_NO: Final = np.int64(0)
_CORE_TIME: Final = np.int64(BarFlag.CORE_TIME)
_ENTRIES_OFF: Final = np.int64(Command.ENTRIES_OFF)
_ENTRIES_ON: Final = np.int64(Command.ENTRIES_ON)
_PAUSE_BOOK: Final = np.int64(Command.PAUSE_BOOK)
_RESUME_BOOK: Final = np.int64(Command.RESUME_BOOK)
_EXIT_POSITION: Final = np.int64(Command.EXIT_POSITION)
_BY_COMMAND: Final = np.int64(Reason.COMMAND)
_BY_SQUARE_OFF: Final = np.int64(Reason.SQUARE_OFF)

_FULL_PACKET: Final = 184
_MINUTE_NS: Final = 60_000_000_000
_AHEAD_NS: Final = 300_000_000_000
"""A tick that claims to come from so far ahead is not believed: its time would close every tick after it out."""
_MARK_1: Final = np.int64(0x1E3779B97F4A7C15)
_MARK_2: Final = np.int64(0x3F58476D1CE4E5B9)
_MARK_3: Final = np.int64(0x14D049BB133111EB)
_MARK_4: Final = np.int64(0x56E8FEB86659FD93)
"""Odd multipliers of a packet's mark."""
_HASH: Final = 0x9E3779B1
"""Multiplier of the token table's hash; `core/state.py` fills the table with the same one."""


@kernel
def begin(t, sequence, time_ns):  # type: ignore[no-untyped-def]
    """Move core time to the record's, empty the outputs, and close the bars that are due."""
    h = header_of(t)
    h.sequence = sequence
    h.time_ns = time_ns
    h.n_outputs = 0
    h.stirred = 0
    h.valued = 0
    h.n_closed = 0
    if time_ns >= h.next_due_ns:
        h.bars_due_ns = close_due_bars(t)
        return True
    return False


@routine
def timed_events(t):  # type: ignore[no-untyped-def]
    """Expire orders, square off, leave and settle contracts, and end the session in time; set the next due time."""
    h = header_of(t)
    due_ns = h.bars_due_ns  # an order that this record made and ended again is not waited for
    for index in range(header_of(t).books_n):
        book = book_at(t, index)
        if book.square_off_ns > 0 and book.squared == 0:
            if h.time_ns >= book.square_off_ns:
                book.squared = 1
                if h.decisions:
                    _exit_pairs(t, np.int64(index), _ANY, _BY_SQUARE_OFF)
            else:
                due_ns = min(due_ns, book.square_off_ns)
    due_ns = min(due_ns, leave_contracts(t))
    net_orders(t)
    ends = False
    if h.session_ended == 0:
        if h.time_ns >= h.session_close_ns + h.grace_ns:
            h.session_ended = 1
            ends = True
        else:
            due_ns = min(due_ns, h.session_close_ns + h.grace_ns)
    h.clock_due_ns = due_ns
    h.next_due_ns = NEVER_NS
    if h.decisions:
        due_ns = min(due_ns, expire_orders(t, h.session_ended))
        if ends:
            settle_contracts(t)
        due_ns = min(due_ns, watch_groups(t))
        _retry_groups(t)
        due_ns = min(due_ns, next_wait_ns(t))
    h.next_due_ns = due_ns


@kernel
def _retry_groups(t):  # type: ignore[no-untyped-def]
    """Decide the groups that have waited for quotes long enough."""
    for row in range(header_of(t).groups_n):
        if 0 < group_at(t, row).waits_ns <= header_of(t).time_ns:
            enter_group(t, recall(t, row))


@kernel
def _retry_contract(t, instrument_index):  # type: ignore[no-untyped-def]
    """Try the groups again that wait for quotes and may trade the contract that ticks."""
    index = instrument_at(t, instrument_index).first_pair
    while index >= 0:
        row = pair_at(t, index).group_row
        if row >= 0 and group_at(t, row).waits_ns > 0:
            enter_group(t, recall(t, row))
        index = pair_at(t, index).next_in_instrument


@kernel
def _exit_pairs(t, book, instrument, reason):  # type: ignore[no-untyped-def]
    """Exit a book's positions (-1: every book's) in an instrument (-1: in all); a group of legs in its own order."""
    h = header_of(t)
    if book >= h.books_n:
        return
    index = _NO if book < 0 else book_at(t, book).first_pair
    while 0 <= index < h.pairs_n:
        pair = pair_at(t, index)
        if instrument < 0 or pair.instrument == instrument:
            if not leads(t, pair) or (instrument >= 0 and pair.structure < 0):
                request_exit(t, index, reason)
            elif pair.structure >= 0:
                exit_group(t, pair.group_row, reason)
        index = index + 1 if book < 0 else pair.next_in_book


@kernel
def _instrument_of(t, token):  # type: ignore[no-untyped-def]
    """Look a feed token up; -1 for one that is not in the session's universe."""
    mask = header_of(t).tokens_n - 1
    place = ((token * _HASH) >> 8) & mask
    while token_at(t, place).token != 0:
        if token_at(t, place).token == token:
            return token_at(t, place).instrument
        place = (place + 1) & mask
    return np.int64(-1)


@routine
def on_ticks(t, body, n):  # type: ignore[no-untyped-def]
    """Take in a decoded frame: quotes, bars, matching, exits, tick by tick in the frame's order."""
    ticks = rows_at(body, 0, n, TICK)
    for i in range(n):
        _on_tick(t, ticks[i])


@kernel
def _on_tick(t, tick):  # type: ignore[no-untyped-def]
    h = header_of(t)
    index = _instrument_of(t, tick.token)
    if index < 0:
        h.unknown_tokens += 1
        return
    if tick.last_price <= 0 or tick.exchange_ns > h.time_ns + _AHEAD_NS:
        h.outside_ticks += 1
        return
    h.ticks += 1
    instrument = instrument_at(t, index)
    if 0 < tick.exchange_ns < instrument.newest_ns:
        _on_older_tick(t, index, tick)
        return
    instrument.newest_ns = max(instrument.newest_ns, tick.exchange_ns)
    instrument.last_price = tick.last_price
    h.valued = 0
    instrument.tick_ns = h.time_ns
    instrument.exchange_ns = tick.exchange_ns if tick.exchange_ns > 0 else h.time_ns
    if tick.packet == _FULL_PACKET and not _is_repeated(instrument, tick):
        _take_quote(instrument, tick)
        if instrument.first_order >= 0:
            note_touch(t, index)
    if in_windows(t, instrument.group, instrument.exchange_ns):
        volume = _traded_since(instrument, tick)
        flags = np.int64(0) if tick.exchange_ns > 0 else np.int64(_CORE_TIME)
        _into_minute(instrument, volume)
        tick_into_bars(t, index, tick.last_price, volume, instrument.exchange_ns, flags)
        if h.decisions and instrument.quoted:
            if not is_calm(instrument):
                meet_market(t, index)
            if instrument.underlying >= 0:
                watch_contract(t, index)
                _retry_contract(t, index)
            if h.stirred:
                net_orders(t)
    else:
        h.outside_ticks += 1


@kernel
def _on_older_tick(t, index, tick):  # type: ignore[no-untyped-def]
    """A tick that a newer one overtook: it joins its bar while that is open, and says nothing of the market now."""
    instrument = instrument_at(t, index)
    if in_windows(t, instrument.group, tick.exchange_ns):
        older_tick_into_bars(t, index, tick.last_price, tick.exchange_ns)


@kernel
def _is_repeated(instrument, tick):  # type: ignore[no-untyped-def]
    """Say whether a packet is the one before again: its depth may be taken once."""
    mark = tick.exchange_ns + tick.last_price * _MARK_1 + tick.volume * _MARK_2
    for level in range(DEPTH):  # a level's products wait for nothing, so that they are made at once
        bid = tick.bid[level].price * _MARK_1 + tick.bid[level].quantity * _MARK_2
        ask = tick.ask[level].price * _MARK_3 + tick.ask[level].quantity * _MARK_4
        mark = mark * 31 + bid + ask
    repeated = tick.exchange_ns > 0 and mark == instrument.print
    instrument.print = mark
    return repeated


@kernel
def _into_minute(instrument, volume):  # type: ignore[no-untyped-def]
    """Count what trades in a minute of exchange time, for orders that may only take a share of it."""
    instrument.minute_began = 0
    if not 0 <= instrument.exchange_ns - instrument.minute_ns < _MINUTE_NS:
        minute_ns = instrument.exchange_ns // _MINUTE_NS * _MINUTE_NS
        follows = minute_ns == instrument.minute_ns + _MINUTE_NS
        instrument.last_minute_volume = instrument.minute_volume if follows else 0
        instrument.minute_volume = 0
        instrument.minute_ns = minute_ns
        instrument.minute_began = 1
    instrument.minute_volume += volume


@kernel
def _take_quote(instrument, tick):  # type: ignore[no-untyped-def]
    for level in range(DEPTH):
        instrument.bid[level].price = tick.bid[level].price
        instrument.bid[level].quantity = tick.bid[level].quantity
        instrument.ask[level].price = tick.ask[level].price
        instrument.ask[level].quantity = tick.ask[level].quantity
    instrument.quoted = 1


@kernel
def _traded_since(instrument, tick):  # type: ignore[no-untyped-def]
    """What was traded since the last tick, out of the day's cumulative volume; 0 where it cannot be told."""
    volume = np.int64(0)
    if instrument.volume_known:
        volume = max(np.int64(0), tick.volume - instrument.volume)
    if tick.volume > 0:
        instrument.volume = max(instrument.volume, tick.volume)
        instrument.volume_known = 1
    return volume


@routine
def on_history(t, body, n):  # type: ignore[no-untyped-def]
    """Merge a HISTORY record's candles into the series of their instruments."""
    head = rows_at(body, 0, 1, HISTORY_HEAD)[0]
    merge_history(t, rows_at(body, _HISTORY_HEAD_BYTES, n, HISTORY_ROW), n, head.bar_ns, head.to_ns)


@routine
def on_gap(t, body):  # type: ignore[no-untyped-def]
    """Mark the bars that a gap in market data touches."""
    head = rows_at(body, 0, 1, GAP_HEAD)[0]
    gap_into_bars(t, head.from_ns, head.to_ns)


@routine
def on_limits(t, body, n):  # type: ignore[no-untyped-def]
    """Put the operator's limits in force, between two records."""
    h = header_of(t)
    _take_portfolio(h, rows_at(body, 0, 1, LIMITS_HEAD)[0])
    h.netting = h.netting if _books_meet(t) else _NO
    rows = rows_at(body, _LIMITS_HEAD_BYTES, n, LIMITS_ROW)
    for i in range(n):
        row = rows[i]
        if not 0 <= row.book < header_of(t).books_n:
            continue
        book = book_at(t, row.book)
        added = row.capital_paise - book.capital_paise
        book.capital_paise = row.capital_paise
        book.cash_paise += added
        book.equity_paise += added
        book.day_equity_paise += added
        account_at(t, book.account).cash_paise += added
        book.order_value_paise = row.order_value_paise
        book.position_value_paise = row.position_value_paise
        book.daily_loss_paise = row.daily_loss_paise
        book.open_positions = row.open_positions
        book.orders_a_day = row.orders_a_day


@kernel
def _take_portfolio(h, head):  # type: ignore[no-untyped-def]
    """Take the limits that an account's books share."""
    h.entries = head.entries
    h.netting = head.netting
    h.account_positions = head.account_positions
    h.underlying_positions = head.underlying_positions
    h.sector_positions = head.sector_positions
    h.gross_paise = head.gross_paise
    h.net_paise = head.net_paise
    h.gross_of_equity = head.gross_of_equity
    h.net_of_equity = head.net_of_equity
    counts = head.account_positions + head.underlying_positions + head.sector_positions
    h.portfolio = counts + head.gross_paise + head.net_paise + head.gross_of_equity + head.net_of_equity


@kernel
def _books_meet(t):  # type: ignore[no-untyped-def]
    """Say whether an account has books enough to want opposite things."""
    most = np.int64(0)
    for index in range(header_of(t).accounts_n):
        most = max(most, account_at(t, index).books)
    return most > 1


@routine
def on_params(arena, t, body, n):  # type: ignore[no-untyped-def]
    """Swap parameter values; a book whose look-back changed is marked, so that its indicators are folded again."""
    rows = rows_at(body, _PARAMS_HEAD_BYTES, n, PARAMS_ROW)
    for i in range(n):
        row = rows[i]
        if not 0 <= row.book < header_of(t).books_n:
            continue
        book = book_at(t, row.book)
        values = rows_at(arena, book.params_at, book.params_size // 8, _VALUE)
        if not 0 <= row.slot < values.shape[0] or values[row.slot] == row.value:
            continue
        values[row.slot] = row.value
        if (book.lookback_slots >> row.slot) & 1:
            header_of(t).refold = 1
            for index in range(header_of(t).pairs_n):
                if pair_at(t, index).book == row.book and pair_at(t, index).series >= 0:
                    pair_at(t, index).folded = 0


@routine
def on_command(t, body):  # type: ignore[no-untyped-def]
    """Do what the operator, or the daemon for him, said."""
    h = header_of(t)
    command = rows_at(body, 0, 1, COMMAND_HEAD)[0]
    if command.code == _ENTRIES_OFF or command.code == _ENTRIES_ON:
        h.entries = 1 if command.code == _ENTRIES_ON else 0
    elif command.code == _PAUSE_BOOK or command.code == _RESUME_BOOK:
        for index in range(header_of(t).books_n):
            if command.book < 0 or command.book == index:
                book_at(t, index).paused = 1 if command.code == _PAUSE_BOOK else 0
    elif command.code == _EXIT_POSITION and h.decisions:
        _exit_pairs(t, command.book, command.instrument, _BY_COMMAND)
        net_orders(t)
