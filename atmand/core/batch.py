"""The batch drivers' kernels: sessions rolled on, the path of a bar for what is in the market, marks, results.

A back-test or a sweep folds bars without making records: between two closes nothing can happen to an instrument that
has no working order and no exit to watch, so its path is left out. What is left is the same code that live trading runs
on every record, in the same order and at the same core times; the tests compare the two.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from atmand.core.bar_path import timer_ns
from atmand.core.bars import NEVER_NS
from atmand.core.decide import value_books
from atmand.core.jit import address_of, entry, kernel, noref, record_at, routine, rows_at
from atmand.core.layout import (
    BOOK,
    BOOK_BYTES,
    INSTRUMENT,
    INSTRUMENT_BYTES,
    PAIR,
    PAIR_BYTES,
    book_at,
    header_of,
    instrument_at,
    order_at,
    pair_at,
    trade_at,
    window_at,
)
from atmand.core.matching import match_instrument, watch_exits
from atmand.core.netting import net_orders
from atmand.core.records import Kind
from atmand.core.step import on_limits, timed_events
from atmand.core.ticks import DEPTH
from atmand.market.bar_path import STEP_SECONDS, STEPS, level_price, level_quantity, step_price
from atmand.market.costs import COSTS

__all__ = [
    "BOOK_HOURS",
    "DAY",
    "RESULT",
    "Closing",
    "begin_close",
    "close_offset_ns",
    "end_close",
    "end_day",
    "is_in_market",
    "is_watched",
    "open_day",
    "quote_close",
    "set_up",
    "take_trades",
    "walk_minute",
    "worth",
]

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60_000_000_000
_SECONDS: Final = STEP_SECONDS
_COST_ROWS: Final = 4
_LIMITS: Final = np.int64(Kind.LIMITS)

DAY: Final = np.dtype(
    [(name, "i8") for name in ("first", "last", "date", "open_ns", "close_ns", "windows_at", "windows_n")]
)
"""A session of a batch: the minutes `[first, last)` of the grid, its day, its hours, and its rows of windows."""

BOOK_HOURS: Final = np.dtype([(name, "i8") for name in ("entry_from_ns", "entry_to_ns", "square_off_ns")])

RESULT: Final = np.dtype(
    [
        *[(name, "i8") for name in ("trades", "wins", "gross_paise", "costs_paise", "slippage_paise", "net_paise")],
        *[(name, "i8") for name in ("equity_paise", "peak_paise", "max_drawdown_paise", "orders", "sessions")],
        ("day_mean", "f8"),
        ("day_squares", "f8"),
        ("fingerprint", "u8"),
    ],
    align=True,
)
"""What a run came to over all its books.

`day_mean` and `day_squares` are Welford's mean and sum of squares of the sessions' returns on the capital.
"""


class Closing(NamedTuple):
    """A bar that closes, made of the columns of a batch: what a strategy does not read is never loaded."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    marks: int


@entry
def set_up(arena, kind, body, rows, sequence, time_ns):  # type: ignore[no-untyped-def]
    """Stand for a program's `apply` before the first session: of all records only limits matter to a batch."""
    arena = noref(arena)
    body = noref(body)
    t = address_of(arena)
    h = header_of(t)
    h.sequence = sequence
    h.time_ns = time_ns
    if kind == _LIMITS:
        on_limits(t, body, rows)
    for index in range(h.pairs_n):
        pair_at(t, index).folded = 1
    h.refold = 0
    return np.int64(0)


@routine
def open_day(arena, t, day, windows, hours, costs):  # type: ignore[no-untyped-def]
    """Roll books and market over into a session, as a daemon does that opens on the books of the one before.

    Indicators go on; the daemon folds them again from its rings, which agrees to 1e-9 (look-back law).
    """
    h = header_of(t)
    h.date = day.date
    h.time_ns = max(h.time_ns + 1, day.open_ns - 1)
    h.session_open_ns = day.open_ns
    h.session_close_ns = day.close_ns
    h.session_ended = 0
    h.next_due_ns = 0
    h.clock_due_ns = 0
    for index in range(day.windows_n):
        window = window_at(t, index)
        window.group = windows[day.windows_at + index].group
        window.open_ns = windows[day.windows_at + index].open_ns
        window.close_ns = windows[day.windows_at + index].close_ns
    rates = rows_at(arena, h.costs_at, _COST_ROWS, COSTS)
    for index in range(_COST_ROWS):
        rates[index] = costs[index]
    for index in range(h.books_n):
        book = book_at(t, index)
        book.entry_from_ns = hours[index].entry_from_ns
        book.entry_to_ns = hours[index].entry_to_ns
        book.square_off_ns = hours[index].square_off_ns
        book.squared = 0
        book.orders_today = 0
        book.day_equity_paise = book.equity_paise
    for index in range(h.pairs_n):
        pair_at(t, index).sold_today = 0
        pair_at(t, index).trades_today = 0
    for index in range(h.instruments_n):
        instrument = instrument_at(t, index)
        instrument.volume_known = 1
        instrument.quoted = 0
        instrument.close_ns = group_close_ns(t, instrument.group, day.windows_n)


@kernel
def group_close_ns(t, group, windows_n):  # type: ignore[no-untyped-def]
    """When the day's last window of a group ends; 0 where it has none."""
    close_ns = np.int64(0)
    for index in range(windows_n):
        window = window_at(t, index)
        if window.group == group:
            close_ns = max(close_ns, window.close_ns)
    return close_ns


@kernel
def is_watched(pair):  # type: ignore[no-untyped-def]
    """Say whether a tick could do something to a position: a stop, one that moves, a target or an exit that waits."""
    if pair.quantity == 0:
        return False
    moves = pair.trail_distance != 0 or pair.breakeven != 0
    return pair.stop_price > 0 or moves or pair.target_price > 0 or pair.exit_reason != 0


@kernel
def is_in_market(t, instrument):  # type: ignore[no-untyped-def]
    """Say whether a tick of an instrument could do something: an order works in it, or a position is watched."""
    if instrument.first_order >= 0:
        return True
    index = instrument.first_pair
    while index >= 0:
        pair = pair_at(t, index)
        if is_watched(pair):
            return True
        index = pair.next_in_instrument
    return False


@kernel
def _next_record(h, time_ns):  # type: ignore[no-untyped-def]
    h.sequence += 1
    h.time_ns = max(time_ns, h.time_ns + 1)
    h.n_outputs = 0
    h.fresh = 0


@routine
def _pass_timers(t, until_ns):  # type: ignore[no-untyped-def]
    """Let the timers up to a time happen: orders expire, books are squared off."""
    h = header_of(t)
    due_ns = timer_ns(h, until_ns)
    while due_ns > 0:
        _next_record(h, due_ns)
        _timed(t)
        due_ns = timer_ns(h, until_ns)


@kernel
def _timed(t):  # type: ignore[no-untyped-def]
    """Let the timed events happen that are due; bars close by themselves here, so nothing else can be."""
    header_of(t).next_due_ns = NEVER_NS
    timed_events(t)


@routine
def walk_minute(t, start_ns, columns, present):  # type: ignore[no-untyped-def]
    """Walk the path of a minute's bars for the instruments that have something in the market.

    `columns` are the minute's open, high, low, close and volume, (5, instruments). Where a square-off or the
    session's end is due before the minute's bars close, all instruments are walked: it gives positions up at the
    touch of that moment.
    """
    h = header_of(t)
    timed = h.clock_due_ns <= start_ns + close_offset_ns(h)
    for step in range(STEPS):
        time_ns = start_ns + _SECONDS[step] * _SECOND_NS
        if h.next_due_ns <= time_ns:
            _pass_timers(t, time_ns)
        _next_record(h, time_ns)
        quiet = not timed
        for index in range(present.shape[0]):
            instrument = instrument_at(t, index)
            if present[index] and (timed or is_in_market(t, instrument)):
                quiet = False
                instrument.last_price = step_price(
                    step, columns[0, index], columns[1, index], columns[2, index], columns[3, index]
                )
                instrument.exchange_ns = time_ns
                instrument.tick_ns = h.time_ns
                instrument.minute_began = 1 if step == 0 else 0
                _quote(instrument, columns[4, index], _levels(t, instrument, columns[4, index]))
                if instrument.first_order >= 0:
                    match_instrument(t, index)
                watch_exits(t, index)
                net_orders(t)
        if quiet:
            return


@kernel
def _levels(t, instrument, volume):  # type: ignore[no-untyped-def]
    """How many levels of the stated book an instrument's orders can reach: mostly the touch alone has enough."""
    wanted = np.int64(0)
    slot = instrument.first_order
    while slot >= 0:
        o = order_at(t, slot)
        wanted += o.quantity - o.filled
        slot = o.next
    index = instrument.first_pair
    while index >= 0:  # a stop's order is made and filled on one step
        pair = pair_at(t, index)
        wanted += abs(pair.quantity)
        index = pair.next_in_instrument
    return 1 if wanted <= level_quantity(volume) else DEPTH


@kernel
def _quote(instrument, volume, levels):  # type: ignore[no-untyped-def]
    """Put the stated book round the last price."""
    quantity = level_quantity(volume)
    for level in range(levels):
        instrument.bid[level].price = level_price(instrument.last_price, 1, level, instrument.tick)
        instrument.bid[level].quantity = quantity
        instrument.ask[level].price = level_price(instrument.last_price, -1, level, instrument.tick)
        instrument.ask[level].quantity = quantity
    instrument.quoted = 1


@kernel
def close_offset_ns(h):  # type: ignore[no-untyped-def]
    """From a minute's start to the timer at which its bars close; minutes begin on the grid."""
    return (_MINUTE_NS + h.grace_ns + h.grid_ns - 1) // h.grid_ns * h.grid_ns


@kernel
def begin_close(t, end_ns):  # type: ignore[no-untyped-def]
    """Move core time to the timer at which the minute's bars close."""
    h = header_of(t)
    if h.next_due_ns < end_ns:
        _pass_timers(t, end_ns - 1)
    _next_record(h, end_ns)


@kernel
def end_close(t):  # type: ignore[no-untyped-def]
    """Let happen what is due at the very timer that closed the bars; say whether something was."""
    h = header_of(t)
    if h.next_due_ns > h.time_ns:
        return False
    _timed(t)
    return True


@kernel
def quote_close(t, instrument, bar):  # type: ignore[no-untyped-def]
    """Put the touch where the bar's last step left it, before something is decided on it."""
    instrument.exchange_ns = bar.start_ns + _SECONDS[STEPS - 1] * _SECOND_NS
    instrument.tick_ns = instrument.exchange_ns
    _quote(instrument, bar.volume, 1)


@kernel
def worth(t, books, n_books, pairs, n_pairs, instruments):  # type: ignore[no-untyped-def]
    """Value all books together at the last prices. The tables are given by where they begin."""
    total = np.int64(0)
    for index in range(n_books):
        total += record_at(t, books + index * BOOK_BYTES, BOOK).cash_paise
    for index in range(n_pairs):
        pair = record_at(t, pairs + index * PAIR_BYTES, PAIR)
        if pair.quantity != 0:
            instrument = record_at(t, instruments + pair.instrument * INSTRUMENT_BYTES, INSTRUMENT)
            total += pair.quantity * instrument.last_price
    return total


@routine
def take_trades(t, result, first):  # type: ignore[no-untyped-def]
    """Count the closed trades from row `first` on into the result."""
    for index in range(first, header_of(t).n_trades):
        row = trade_at(t, index)
        gross = row.side * (row.exit_value - row.entry_value)
        result.trades += 1
        result.wins += gross > row.costs_paise
        result.gross_paise += gross
        result.costs_paise += row.costs_paise
        result.slippage_paise += row.slippage_paise


@routine
def end_day(t, result, equity_paise, capital_paise):  # type: ignore[no-untyped-def]
    """End a session: mark the books, let its last timers pass, and count its return on the capital."""
    h = header_of(t)
    value_books(t)
    _timed(t)
    _pass_timers(t, h.session_close_ns + 2 * _MINUTE_NS)
    result.sessions += 1
    change = (equity_paise - result.equity_paise) / max(capital_paise, 1)
    apart = change - result.day_mean
    result.day_mean += apart / result.sessions
    result.day_squares += apart * (change - result.day_mean)
    result.equity_paise = equity_paise
