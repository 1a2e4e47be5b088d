"""The batch program: bars folded in one compiled loop for back-tests, and over many parameter sets for sweeps.

It imports a program's steps by name and leaves out what nothing can come of (`core/batch.py`), so its decisions are
those of the record-driven fold. It serves structures that live on one-minute bars of their own instrument; others are
driven record by record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atmand.core.manifest import Program
from atmand.core.words import StepFlag
from atmand.lang.build import load_module, module_path, program_directory, write_module

__all__ = ["BatchProgram", "build_batch"]

_HEAD: Final = '''"""A generated batch program; its file is named by the hash of this text."""

import numpy as np
from numba import njit, prange

from atmand.core.batch import RESULT, begin_close, end_day, is_watched, mark, open_day, quote_close, take_trades
from atmand.core.batch import walk_minute
from atmand.core.decide import decide
from atmand.core.jit import address_of, kernel, noref, record_at, routine, rows_at
from atmand.core.layout import book_at, header_of, instrument_at, pair_at, series_at, verdict_at
from {program} import {names}


'''

_BODY: Final = '''@kernel
def _step(t, index, pair, instrument, bar):
    """Fold a closed bar into a pair's indicators; what the strategy says of it is left in the pair's verdict."""
    scale = float(instrument.price_scale)
    params_at = book_at(t, pair.book).params_at
    slab_at = pair.slab_at
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


@kernel
def _close(t, bars, present):
    """Close a minute's bars and let their strategies decide; say whether anything is left in the market."""
    busy = False
    for number in range(header_of(t).series_n):
        series = series_at(t, number)
        if not present[series.instrument]:
            continue
        bar = bars[series.instrument]
        instrument = instrument_at(t, series.instrument)
        instrument.last_price = bar.close
        index = series.first_pair
        while index >= 0:
            pair = pair_at(t, index)
            _step(t, index, pair, instrument, bar)
            if pair.quantity != 0 or verdict_at(t, index).flags & {enter}:
                quote_close(t, instrument, bar)
                decide(t, index, bar)
            busy |= is_watched(pair)
            index = pair.next_in_series
        busy |= instrument.first_order >= 0
    return busy


@kernel
def _fold(arena, t, bars, present, days, windows, hours, costs, equity, result, first, capital, keep):
    """Fold the minutes from `first` on; return the one at which the table of trades was full, or their number."""
    h = header_of(t)
    busy = first > 0
    counted = np.int64(0)
    for number in range(days.shape[0]):
        day = days[number]
        if day.last <= first:
            continue
        if first <= day.first:
            open_day(arena, t, day, windows, hours[number], costs[number])
            busy = True
        total = np.int64(0)
        for minute in range(max(first, day.first), day.last):
            if h.n_trades + h.pairs_n > h.trades_n:
                return minute
            if busy:
                walk_minute(t, bars[minute], present[minute])
            begin_close(t, bars[minute, 0].start_ns)
            busy = _close(t, bars[minute], present[minute])
            total = mark(t, result)
            if equity.shape[0] > 0:
                equity[minute] = total
            if h.n_trades > counted:
                take_trades(t, result, counted)
                if not keep:
                    h.n_trades = 0
                counted = h.n_trades
        end_day(t, result, total, capital)
    result.net_paise = result.equity_paise - capital
    result.orders = h.orders_made
    result.fingerprint = h.fingerprint
    return bars.shape[0]


@routine
def run(arena, bars, present, days, windows, hours, costs, equity, results, first, capital):
    arena = noref(arena)
    bars, present, days, windows, hours = noref(bars), noref(present), noref(days), noref(windows), noref(hours)
    costs, equity, results = noref(costs), noref(equity), noref(results)
    t = address_of(arena)
    header_of(t).n_trades = 0
    return _fold(
        arena, t, bars, present, days, windows, hours, costs, equity, results[0], first, capital, True
    )


@njit(cache=True, error_model="numpy", parallel=True)
def run_sets(template, scratch, bars, present, days, windows, hours, costs, values, results, capital):
    """Fold the same bars once a parameter set, a worker a row of `scratch`; every set begins with the template."""
    workers = scratch.shape[0]
    for worker in prange(workers):
        _work(scratch[worker], template, bars, present, days, windows, hours, costs, values, results, capital,
              worker, workers)


@routine
def _work(arena, template, bars, present, days, windows, hours, costs, values, results, capital, first, stride):
    arena, template = noref(arena), noref(template)
    bars, present, days, windows, hours = noref(bars), noref(present), noref(days), noref(windows), noref(hours)
    costs, values, results = noref(costs), noref(values), noref(results)
    t = address_of(arena)
    none = np.zeros(0, np.int64)
    for place in range(first, values.shape[0], stride):
        arena[:] = template
        slots = rows_at(arena, book_at(t, 0).params_at, values.shape[1], _VALUE)
        for slot in range(values.shape[1]):
            slots[slot] = values[place, slot]
        header_of(t).n_trades = 0
        _fold(
            arena, t, bars, present, days, windows, hours, costs, none, results[place], 0, capital, False
        )


_VALUE = np.dtype(np.float64)
'''

_CASE: Final = """    if pair.structure == {index}:
        s = record_at(t, slab_at, STATE_{name})
        p = record_at(t, params_at, PARAMS_{name})
        step_{name}(t, index, s, p, bar, open_, high, low, close, volume)"""


@dataclass(frozen=True)
class BatchProgram:
    """A loaded batch program; both functions compile when they are first called."""

    run: Callable[..., int]
    run_sets: Callable[..., None]


def build_batch(program: Program, directory: Path | None = None) -> BatchProgram:
    """Generate and load the batch program of a program that is loaded already."""
    directory = directory or program_directory()
    plans = program.manifest.structures
    imported = [f"{kind}_{plan.name}" for plan in plans for kind in ("step", "STATE", "PARAMS")]
    cases = "\n".join(_CASE.format(index=index, name=plan.name) for index, plan in enumerate(plans))
    enter = int(StepFlag.ENTER_LONG | StepFlag.ENTER_SHORT)
    head = _HEAD.replace("{program}", module_path(program.source.decode(), directory).stem)
    text = head.replace("{names}", ", ".join(imported))
    text += _BODY.replace("{cases}", cases).replace("{enter}", str(enter))
    module = load_module(write_module(text, directory))
    return BatchProgram(module.run, module.run_sets)
