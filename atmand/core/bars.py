"""Bars: ticks become bars by exchange time, bars close by core time, and history is merged where ticks are missing.

A bar closes at the first record whose core time is at or past its end plus a grace; a tick that comes later still is
counted and never merged. Bars of several minutes are anchored at the day's first continuous window.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.jit import kernel, routine
from atmand.core.layout import (
    closed_at,
    header_of,
    instrument_at,
    pair_at,
    ring_at,
    series_at,
    subscription_at,
    window_at,
)
from atmand.core.records import BarFlag

__all__ = [
    "IST_NS",
    "NEVER_NS",
    "bar_end_ns",
    "close_due_bars",
    "gap_into_bars",
    "in_windows",
    "merge_history",
    "older_tick_into_bars",
    "tick_into_bars",
]

NEVER_NS: Final = np.iinfo(np.int64).max
IST_NS: Final = 19_800_000_000_000
"""India's offset from UTC: five and a half hours, without daylight saving."""

_DAY_NS: Final = 86_400_000_000_000
_PARTIAL: Final = np.int64(BarFlag.PARTIAL)
_HISTORY: Final = np.int64(BarFlag.HISTORY)
_CORE_TIME: Final = np.int64(BarFlag.CORE_TIME)


@kernel
def in_windows(t, group, time_ns):  # type: ignore[no-untyped-def]
    """Say whether a group of instruments trades continuously at a time: pre-open and auctions have no windows here."""
    for index in range(header_of(t).windows_n):
        window = window_at(t, index)
        if window.group == group and window.open_ns <= time_ns < window.close_ns:
            return True
    return False


@kernel
def _bucket_ns(h, period_ns, time_ns):  # type: ignore[no-untyped-def]
    """Start of the bar that holds `time_ns`, anchored on that day at the time of day of the session's opening."""
    day = (time_ns + IST_NS) // _DAY_NS * _DAY_NS - IST_NS
    anchor = day + (h.session_open_ns + IST_NS) % _DAY_NS
    return anchor + (time_ns - anchor) // period_ns * period_ns


@kernel
def bar_end_ns(h, period_ns, start_ns):  # type: ignore[no-untyped-def]
    """End of a bar that began at `start_ns`; the day's last bar ends with the session."""
    end_ns = start_ns + period_ns
    if start_ns < h.session_close_ns < end_ns:
        return h.session_close_ns
    return end_ns


@kernel
def _add_tick(bar, price, volume, flags):  # type: ignore[no-untyped-def]
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    bar.close = price
    bar.volume += volume
    bar.ticks += 1
    bar.marks |= flags


@kernel
def _begin(bar, start_ns, price, volume, flags, base_volume):  # type: ignore[no-untyped-def]
    bar.start_ns = start_ns
    bar.open = price
    bar.high = price
    bar.low = price
    bar.close = price
    bar.volume = volume
    bar.ticks = 1
    bar.marks = flags
    bar.base_volume = base_volume


@kernel
def _copy(target, bar):  # type: ignore[no-untyped-def]
    target.start_ns = bar.start_ns
    target.open = bar.open
    target.high = bar.high
    target.low = bar.low
    target.close = bar.close
    target.volume = bar.volume
    target.ticks = bar.ticks
    target.marks = bar.marks
    target.base_volume = bar.base_volume


@routine
def tick_into_bars(t, instrument_index, price, volume, bucket_ns, flags):  # type: ignore[no-untyped-def]
    """Add a tick inside the session's windows to every series of its instrument; `volume` is what it traded."""
    h = header_of(t)
    instrument = instrument_at(t, instrument_index)
    index = instrument.first_series
    while index >= 0:
        series = series_at(t, index)
        start_ns = _bucket_ns(h, series.period_ns, bucket_ns)
        if start_ns == series.building.start_ns:
            _add_tick(series.building, price, volume, flags)
        elif start_ns == series.pending.start_ns:
            _add_tick(series.pending, price, volume, flags)
        elif start_ns < series.closed_ns or start_ns < series.building.start_ns:
            h.late_ticks += 1
        else:
            _next_bar(t, index, start_ns, price, volume, flags)
        index = series.next


@routine
def older_tick_into_bars(t, instrument_index, price, bucket_ns):  # type: ignore[no-untyped-def]
    """Add a tick that a newer one overtook to the open bars that it belongs to; for closed bars it is counted.

    Its volume was in the newer tick's already, and a newer price of the same bar stays the close.
    """
    h = header_of(t)
    index = instrument_at(t, instrument_index).first_series
    while index >= 0:
        series = series_at(t, index)
        start_ns = _bucket_ns(h, series.period_ns, bucket_ns)
        if start_ns == series.building.start_ns:
            _widen(series.building, price)
        elif start_ns == series.pending.start_ns:
            _add_tick(series.pending, price, np.int64(0), np.int64(0))
        else:
            h.late_ticks += 1
        index = series.next


@kernel
def _widen(bar, price):  # type: ignore[no-untyped-def]
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    bar.ticks += 1


@kernel
def _next_bar(t, index, start_ns, price, volume, flags):  # type: ignore[no-untyped-def]
    """Begin a bar; the one before it waits out its grace, and a still older one is closed early and counted."""
    h = header_of(t)
    series = series_at(t, index)
    instrument = instrument_at(t, series.instrument)
    if series.building.start_ns != 0:
        if series.pending.start_ns != 0:
            h.early_closes += 1
            _close(t, index, series.pending)
        _copy(series.pending, series.building)
    if start_ns < instrument.gap_ns:
        flags |= _PARTIAL
    _begin(series.building, start_ns, price, volume, flags, instrument.volume - volume)
    h.next_due_ns = min(h.next_due_ns, bar_end_ns(h, series.period_ns, start_ns) + h.grace_ns)


@kernel
def _close(t, index, bar):  # type: ignore[no-untyped-def]
    """Move a bar into its ring and into this record's queue of closed bars."""
    h = header_of(t)
    series = series_at(t, index)
    _copy(ring_at(t, series.ring_at + series.count % series.ring_size), bar)
    series.count += 1
    series.closed_ns = bar_end_ns(h, series.period_ns, bar.start_ns)
    if h.n_closed < header_of(t).closed_n - 1:
        row = closed_at(t, h.n_closed)
        row.series = index
        _copy(row.bar, bar)
        h.n_closed += 1
    h.bars += 1
    bar.start_ns = 0


@routine
def close_due_bars(t):  # type: ignore[no-untyped-def]
    """Close every bar that is due; return when the next one will be."""
    h = header_of(t)
    due_ns = NEVER_NS
    for index in range(header_of(t).series_n):
        series = series_at(t, index)
        if series.pending.start_ns != 0:
            end_ns = bar_end_ns(h, series.period_ns, series.pending.start_ns) + h.grace_ns
            if end_ns <= h.time_ns:
                _close(t, index, series.pending)
            else:
                due_ns = min(due_ns, end_ns)
        if series.building.start_ns != 0:
            end_ns = bar_end_ns(h, series.period_ns, series.building.start_ns) + h.grace_ns
            if end_ns <= h.time_ns:
                _close(t, index, series.building)
            else:
                due_ns = min(due_ns, end_ns)
    return due_ns


@routine
def gap_into_bars(t, from_ns, to_ns):  # type: ignore[no-untyped-def]
    """Market data is missing between two times: mark every bar that they touch, closed or not, and those to come."""
    h = header_of(t)
    for index in range(header_of(t).instruments_n):
        instrument = instrument_at(t, index)
        instrument.gap_ns = max(instrument.gap_ns, to_ns)
    for index in range(header_of(t).series_n):
        series = series_at(t, index)
        _mark_gap(h, series, series.building, from_ns)
        _mark_gap(h, series, series.pending, from_ns)
        for number in range(series.count - 1, max(np.int64(0), series.count - series.ring_size) - 1, -1):
            if not _mark_gap(h, series, ring_at(t, series.ring_at + number % series.ring_size), from_ns):
                break


@kernel
def _mark_gap(h, series, bar, from_ns):  # type: ignore[no-untyped-def]
    """Mark a bar that ends after the gap began; say whether there was one."""
    if bar.start_ns == 0 or bar_end_ns(h, series.period_ns, bar.start_ns) <= from_ns:
        return False
    bar.marks |= _PARTIAL
    return True


@routine
def merge_history(t, rows, n, bar_ns, to_ns):  # type: ignore[no-untyped-def]
    """Merge a HISTORY record of bars `bar_ns` long into every series that they add up to.

    `rows` are sorted by instrument and time; candles of the running day reach back to its opening. A bar that ends
    after `to_ns`, the time up to which was asked, is not whole: it only helps a bar that is still being built.

    A whole bar from history replaces a partial one and fills a missing one; a bar that ticks made whole stays.
    """
    first = 0
    while first < n:
        last = first
        while last < n and rows[last].instrument == rows[first].instrument:
            last += 1
        instrument_index = rows[first].instrument
        if 0 <= instrument_index < header_of(t).instruments_n:
            _merge_volume(t, instrument_index, rows, first, last)
            index = instrument_at(t, instrument_index).first_series
            while index >= 0:
                if bar_ns > 0 and series_at(t, index).period_ns % bar_ns == 0:
                    _merge_series(t, index, rows, first, last, to_ns)
                index = series_at(t, index).next
        first = last


@routine
def _merge_volume(t, instrument_index, rows, first, last):  # type: ignore[no-untyped-def]
    """Learn the day's volume from its candles where ticks have not told it, or not since the last gap."""
    h = header_of(t)
    instrument = instrument_at(t, instrument_index)
    total = np.int64(0)
    from_open = False
    for i in range(first, last):
        if rows[i].start_ns >= h.session_open_ns:
            from_open |= rows[i].start_ns == h.session_open_ns
            total += rows[i].volume
    if from_open and (not instrument.volume_known or instrument.tick_ns < instrument.gap_ns):
        instrument.volume = max(instrument.volume, total)
        instrument.volume_known = 1


@routine
def _merge_series(t, index, rows, first, last, to_ns):  # type: ignore[no-untyped-def]
    """Aggregate one instrument's candles to the series' period and place each bar."""
    h = header_of(t)
    series = series_at(t, index)
    scratch = closed_at(t, header_of(t).closed_n - 1).bar  # the queue's last row is kept free for this
    scratch.start_ns = 0
    day_volume = np.int64(0)
    for i in range(first, last):
        row = rows[i]
        start_ns = _bucket_ns(h, series.period_ns, row.start_ns)
        if start_ns != scratch.start_ns:
            if scratch.start_ns != 0:
                _place(t, index, scratch, to_ns)
            _begin(scratch, start_ns, row.open, row.volume, _HISTORY, day_volume)
            scratch.high = row.high
            scratch.low = row.low
            scratch.close = row.close
        else:
            scratch.high = max(scratch.high, row.high)
            scratch.low = min(scratch.low, row.low)
            scratch.close = row.close
            scratch.volume += row.volume
            scratch.ticks += 1
        if row.start_ns >= h.session_open_ns:
            day_volume += row.volume
    if scratch.start_ns != 0:
        _place(t, index, scratch, to_ns)
    scratch.start_ns = 0
    h.refold = 1
    pair = series.first_pair
    while pair >= 0:
        pair_at(t, pair).folded = 0
        pair = pair_at(t, pair).next_in_series
    subscription = series.first_subscription
    while subscription >= 0:
        pair_at(t, subscription_at(t, subscription).pair).folded = 0
        subscription = subscription_at(t, subscription).next_in_series


@routine
def _place(t, index, bar, to_ns):  # type: ignore[no-untyped-def]
    """Put one bar from history where it belongs: being built, waiting out its grace, or closed."""
    h = header_of(t)
    series = series_at(t, index)
    end_ns = bar_end_ns(h, series.period_ns, bar.start_ns)
    if bar.start_ns == series.building.start_ns:
        if series.building.marks & (_PARTIAL | _HISTORY):
            _complete(series.building, bar)
    elif bar.start_ns == series.pending.start_ns:
        if series.pending.marks & (_PARTIAL | _HISTORY):
            if end_ns <= to_ns:
                _copy(series.pending, bar)
            else:
                _complete(series.pending, bar)
    elif end_ns + h.grace_ns > h.time_ns:
        _place_open(series, bar, end_ns <= to_ns)
        h.next_due_ns = min(h.next_due_ns, end_ns + h.grace_ns)
    elif end_ns <= to_ns:
        _insert(t, series, bar)
        series.closed_ns = max(series.closed_ns, end_ns)


@kernel
def _place_open(series, bar, whole):  # type: ignore[no-untyped-def]
    """Give a bar whose grace has not run out, and of which no tick was seen, the place that the others leave it."""
    if series.building.start_ns == 0:
        _copy(series.building, bar)
    elif series.pending.start_ns != 0:
        return
    elif bar.start_ns > series.building.start_ns:
        _copy(series.pending, series.building)
        _copy(series.building, bar)
    else:
        _copy(series.pending, bar)
        if not whole:
            series.pending.marks |= _PARTIAL


@kernel
def _complete(begun, bar):  # type: ignore[no-untyped-def]
    """Give a bar that ticks began late the part that an unfinished candle saw."""
    day_volume = begun.base_volume + begun.volume
    begun.open = bar.open
    begun.high = max(begun.high, bar.high)
    begun.low = min(begun.low, bar.low)
    begun.base_volume = bar.base_volume
    begun.volume = max(day_volume - bar.base_volume, bar.volume)
    begun.marks = (begun.marks & ~_PARTIAL) | _HISTORY


@kernel
def _insert(t, series, bar):  # type: ignore[no-untyped-def]
    """Insert a closed bar into the ring in the order of time."""
    oldest = max(np.int64(0), series.count - series.ring_size)
    place = series.count
    while place > oldest and ring_at(t, series.ring_at + (place - 1) % series.ring_size).start_ns > bar.start_ns:
        place -= 1
    if place > oldest:
        same = ring_at(t, series.ring_at + (place - 1) % series.ring_size)
        if same.start_ns == bar.start_ns:
            if same.marks & (_PARTIAL | _HISTORY):
                _copy(same, bar)
            return
    if place == oldest and series.count >= series.ring_size:
        return  # older than all that a full ring keeps
    move = series.count
    while move > place:
        _copy(
            ring_at(t, series.ring_at + move % series.ring_size),
            ring_at(t, series.ring_at + (move - 1) % series.ring_size),
        )
        move -= 1
    _copy(ring_at(t, series.ring_at + place % series.ring_size), bar)
    series.count += 1
