"""The batch program: bars folded in one compiled loop for back-tests, and over many parameter sets for sweeps.

It takes a program's steps over as they are and leaves out what nothing can come of (`core/batch.py`), so its decisions
are those of the record-driven fold. It serves structures that live on one-minute bars of their own instrument;
others are driven record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atmand.core.manifest import Program, StructurePlan
from atmand.lang.build import load_module, program_directory, write_module
from atmand.lang.program import FOLD_MARK

__all__ = ["BatchProgram", "build_batch"]

_HEAD: Final = """
# The batch loop over the steps.
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from atmand.core.bars import NEVER_NS
from atmand.core.batch import RESULT, Closing, begin_close, close_offset_ns, end_close, end_day, is_in_market
from atmand.core.batch import is_watched, open_day, quote_close, take_trades, walk_minute, worth
from atmand.core.decide import decide, hold, needs_decision, settle
from atmand.core.jit import address_of, kernel, noref, record_at, routine, rows_at
from atmand.core.layout import BOOK, BOOK_BYTES, INSTRUMENT, INSTRUMENT_BYTES, PAIR, PAIR_BYTES, SERIES, SERIES_BYTES
from atmand.core.layout import VERDICT, book_at, header_of, verdict_at


"""

_BODY: Final = '''@kernel
def _step(t, index, pair, slab_at, {given}, scale, bar):
    """Fold a closed bar into a pair's indicators; what the strategy says of it is left in the pair's verdict."""
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


{stretch}@routine
def _fold(
    arena, t, starts, columns, present, days, windows, hours, costs, equity, ends, result, first, capital, keep
):
    """Fold the minutes from `first` on; return the one at which the table of trades was full, or their number."""
    h = header_of(t)
    n_series, n_books, n_pairs, room = h.series_n, h.books_n, h.pairs_n, h.trades_n - 16 * h.pairs_n
    serieses, books, pairs, instruments = h.series_at, h.books_at, h.pairs_at, h.instruments_at
    offset_ns = close_offset_ns(h)
{first}    busy = first > 0
    counted = np.int64(0)
    for number in range(days.shape[0]):
        day = days[number]
        if day.last <= first:
            continue
        if first <= day.first:
            open_day(arena, t, day, windows, hours[number], costs[number])
            busy = True
        total = np.int64(0)
        minute = max(first, day.first) - 1
        while minute + 1 < day.last:
            minute += 1
            stepped = False
{quiet}            if not stepped:
                if keep and max(h.n_trades, h.n_fills) > room:
                    return minute
                if busy or h.clock_due_ns <= starts[minute] + offset_ns:
                    walk_minute(t, starts[minute], columns[:, minute], present[minute])
                    busy = False
                begin_close(t, starts[minute] + offset_ns)
            # A timer that gives positions up before their next bar meets the touch that this one leaves. Of several
            # instruments one may have no bar in the next minute.
            next_ns = starts[minute + 1] + offset_ns if minute + 1 < day.last else NEVER_NS
            if n_series > 1:  # a share of the equity is reckoned at the closes of all instruments
                for place in range(n_series):
                    column = record_at(t, serieses + place * SERIES_BYTES, SERIES).instrument
                    if present[minute, column]:
                        instrument = record_at(t, instruments + column * INSTRUMENT_BYTES, INSTRUMENT)
                        instrument.last_price = columns[3, minute, column]
            for place in range(n_series):
                series = record_at(t, serieses + place * SERIES_BYTES, SERIES)
                column = series.instrument
                instrument = record_at(t, instruments + column * INSTRUMENT_BYTES, INSTRUMENT)
                if not present[minute, column]:
                    busy |= is_in_market(t, instrument)  # its next bar may come after one of another's
                    continue
                bar = Closing(
                    starts[minute], columns[0, minute, column], columns[1, minute, column],
                    columns[2, minute, column], columns[3, minute, column], columns[4, minute, column], np.int64(0),
                )
                instrument.last_price = bar.close
                scale = float(instrument.price_scale)
                index = series.first_pair
                while index >= 0:
                    pair = record_at(t, pairs + index * PAIR_BYTES, PAIR)
                    {find}if not stepped:
                        _step(t, index, pair, pair.slab_at, {given}, scale, bar)
                    if needs_decision(pair, verdict_at(t, index).flags):
                        quote_close(t, instrument, bar)
                        decide(t, index, bar)
                        busy |= is_watched(pair)
                    elif pair.quantity != 0:
                        hold(pair)
                        if n_series > 1 or h.clock_due_ns <= next_ns:
                            quote_close(t, instrument, bar)
                        busy |= is_watched(pair)
                    index = pair.next_in_series
                busy |= instrument.first_order >= 0
            if h.first_proposal > 0 or h.fresh > 1:
                settle(t)
                busy = True
            total = worth(t, books, n_books, pairs, n_pairs, instruments)
            result.peak_paise = max(result.peak_paise, total)
            result.max_drawdown_paise = max(result.max_drawdown_paise, result.peak_paise - total)
            if equity.shape[0] > 0:
                equity[minute] = total
            busy |= end_close(t)
            if h.n_trades > counted:
                take_trades(t, result, counted)
                if not keep:
                    h.n_trades = 0
                counted = h.n_trades
        end_day(t, result, total, capital)
        if ends.shape[0] > 0:
            ends[number] = total
    result.net_paise = result.equity_paise - capital
    result.orders = h.orders_made
    result.fingerprint = h.fingerprint
    return starts.shape[0]


@routine
def run(arena, starts, columns, present, days, windows, hours, costs, equity, results, first, capital):
    arena = noref(arena)
    starts, columns, present, days = noref(starts), noref(columns), noref(present), noref(days)
    windows, hours = noref(windows), noref(hours)
    costs, equity, results = noref(costs), noref(equity), noref(results)
    t = address_of(arena)
    header_of(t).n_trades = 0
    header_of(t).n_fills = 0
    header_of(t).silent = 1
    return _fold(
        arena, t, starts, columns, present, days, windows, hours, costs, equity, equity[:0], results[0],
        first, capital, True,
    )


@njit(cache=True, error_model="numpy", parallel=True)
def run_sets(template, scratch, starts, columns, present, days, windows, hours, costs, values, ends, results, capital):
    """Fold the same bars once a parameter set, a worker a row of `scratch`; every set begins with the template."""
    workers = scratch.shape[0]
    for worker in prange(workers):
        _work(
            scratch[worker], template, starts, columns, present, days, windows, hours, costs, values, ends, results,
            capital, worker, workers,
        )


@routine
def _work(
    arena, template, starts, columns, present, days, windows, hours, costs, values, ends, results,
    capital, first, stride,
):
    arena, template = noref(arena), noref(template)
    starts, columns, present, days = noref(starts), noref(columns), noref(present), noref(days)
    windows, hours = noref(windows), noref(hours)
    costs, values, ends, results = noref(costs), noref(values), noref(ends), noref(results)
    t = address_of(arena)
    none = starts[:0]
    for place in range(first, values.shape[0], stride):
        arena[:] = template
        slots = rows_at(arena, book_at(t, 0).params_at, values.shape[1], _VALUE)
        for slot in range(values.shape[1]):
            slots[slot] = values[place, slot]
        header_of(t).n_trades = 0
        header_of(t).silent = 1
        _fold(
            arena, t, starts, columns, present, days, windows, hours, costs, none, ends[place], results[place],
            0, capital, False,
        )


_VALUE = np.dtype(np.float64)
'''

_ONLY: Final = """    s = record_at(t, slab_at, STATE_{name})
{params}    step_{name}(t, index, s, p, bar, open_, high, low, close, volume)"""

_CASE: Final = """    if pair.structure == {index}:
        s = record_at(t, slab_at, STATE_{name})
        p = record_at(t, params_at, PARAMS_{name})
        step_{name}(t, index, s, p, bar, open_, high, low, close, volume)"""

_STRETCH: Final = '''@kernel
def _quiet_stretch(t, h, {given}, starts, columns, present, equity, result, minute, last, offset_ns):
    """Fold the bars of the one pair as long as nothing but its step can happen.

    Returns the first minute that is not folded whole, and whether its step is done: a rule of it fired.
    """
    pair = record_at(t, h.pairs_at, PAIR)
    column = pair.instrument
    instrument = record_at(t, h.instruments_at + column * INSTRUMENT_BYTES, INSTRUMENT)
    scale = float(instrument.price_scale)
    due_ns = min(h.next_due_ns, h.clock_due_ns) - offset_ns
    cash, quantity, slab_at = record_at(t, h.books_at, BOOK).cash_paise, pair.quantity, pair.slab_at
    peak, drawdown = result.peak_paise, result.max_drawdown_paise
    stepped = False
    h.n_outputs = 0
    h.fresh = 0
    while minute + 1 < last and starts[minute + 1] < due_ns and present[minute, column]:
        bar = Closing(
            starts[minute], columns[0, minute, column], columns[1, minute, column], columns[2, minute, column],
            columns[3, minute, column], columns[4, minute, column], np.int64(0),
        )
        h.sequence += 1
        h.time_ns = bar.start_ns + offset_ns
        instrument.last_price = bar.close
        _step(t, np.int64(0), pair, slab_at, {given}, scale, bar)
        if needs_decision(pair, record_at(t, slab_at, VERDICT).flags):
            stepped = True
            break
        hold(pair)
        total = cash + quantity * bar.close
        peak = max(peak, total)
        drawdown = max(drawdown, peak - total)
        if equity.shape[0] > 0:
            equity[minute] = total
        minute += 1
    result.peak_paise, result.max_drawdown_paise = peak, drawdown
    return minute, stepped


'''

_TRY: Final = """            if not busy:
                minute, stepped = _quiet_stretch(
                    t, h, {given}, starts, columns, present, equity, result, minute, day.last, offset_ns
                )
"""

_FIND: Final = """params_at = record_at(t, books + pair.book * BOOK_BYTES, BOOK).params_at
                    """

_VALUES: Final = '''class Values(NamedTuple):
    """Parameter values of the one pair: read once, since nothing changes them while bars are folded."""

{fields}


'''


@dataclass(frozen=True)
class BatchProgram:
    """A loaded batch program; both functions compile when they are first called."""

    run: Callable[..., int]
    run_sets: Callable[..., None]


def build_batch(program: Program, *, alone: bool = False, directory: Path | None = None) -> BatchProgram:
    """Generate and load the batch program of a program, which need not be loaded itself.

    `alone` says that there is one pair only: its parameter values then stay in registers.
    """
    plans = program.manifest.structures
    steps, _, _ = program.source.decode().partition(FOLD_MARK)
    text = steps + _HEAD
    text += _alone(plans[0]) if alone else _body(plans)
    module = load_module(write_module(text, directory or program_directory()))
    return BatchProgram(module.run, module.run_sets)


def _body(plans: Sequence[StructurePlan]) -> str:
    """Write the loop for any number of pairs: each reads the parameters of its book."""
    if len(plans) == 1:
        cases = _only(plans[0])
    else:
        cases = "\n".join(_CASE.format(index=index, name=plan.name) for index, plan in enumerate(plans))
    return _filled(cases, stretch="", quiet="", find=_FIND, first="", given="params_at")


def _alone(plan: StructurePlan) -> str:
    """Write the loop for one pair: the parameters' place or, better, their values are the same for every bar."""
    parts = {"stretch": _STRETCH, "quiet": _TRY, "find": ""}
    if not plan.params:
        return _filled(_only(plan), **parts, first="    params_at = book_at(t, 0).params_at\n", given="params_at")
    fields = "\n".join(f"    {name}: float" for name in plan.params)
    values = ", ".join(f"values.{name}" for name in plan.params)
    first = f"    values = record_at(t, book_at(t, 0).params_at, PARAMS_{plan.name})\n    p = Values({values})\n"
    cases = _ONLY.format(name=plan.name, params="")
    return _VALUES.replace("{fields}", fields) + _filled(cases, **parts, first=first, given="p")


def _only(plan: StructurePlan) -> str:
    return _ONLY.format(name=plan.name, params=f"    p = record_at(t, params_at, PARAMS_{plan.name})\n")


def _filled(cases: str, **parts: str) -> str:
    text = _BODY.replace("{cases}", cases)
    for name, part in parts.items():  # what others are written into comes first
        text = text.replace(f"{{{name}}}", part)
    return text
