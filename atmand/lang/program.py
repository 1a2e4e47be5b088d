"""From strategies to a program: one generated module that imports the kernels by name and holds `apply`.

A jitted function passed as an argument never reaches numba's cache on disk, so the fold itself is generated: the same
module serves live trading, replay and the batch driver.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Any, Final

from atmand.core import functions
from atmand.core.columns import FIXED_COLUMNS
from atmand.core.manifest import BookPlan, Manifest
from atmand.core.records import Kind
from atmand.errors import AtmandError
from atmand.lang.legs import combined_amounts, leg_plans
from atmand.lang.strategy import Strategy, StrategyFile
from atmand.lang.structure import Structure, compile_structure, stream_bars, warm_up_bars

__all__ = [
    "Deployment",
    "GeneratedProgram",
    "fold_text",
    "generate",
    "module_head",
    "module_text",
    "only",
    "parameter_values",
]

_HEAD: Final = '''"""A generated program; its file is named by the hash of this text."""

import math

import numpy as np

from atmand.core.bar_path import draw_step, timer_ns
from atmand.core.columns import column_age, column_value, on_columns
from atmand.core.cross import CROSS, cross_rank, cross_zscore
from atmand.core.crossing import CROSSING, crosses_above, crosses_below
from atmand.core.day import DAY, OPENING, clock_minute, day_step, days_to_expiry, minutes_since_open, minutes_to_close
from atmand.core.day import opening_step, stream_end_ns, weekday_of
from atmand.core.decide import decide, mark_books, settle
from atmand.core.functions import {functions}
from atmand.core.indicators import INDICATORS, lookback
{imports}
from atmand.core.jit import address_of, entry, kernel, noref, record_at, routine, rows_at
from atmand.core.layout import VERDICT, book_at, closed_at, header_of, instrument_at, output_at, pair_at, ring_at
from atmand.core.layout import series_at, subscription_at, verdict_at
from atmand.core.position import bars_held, entry_price, position, position_value, profit, profit_r, trades_today
from atmand.core.step import begin, on_command, on_gap, on_history, on_limits, on_params, on_ticks, timed_events
from atmand.core.ticks import TICK


'''

_STEP: Final = '''
@kernel
def _step(arena, t, index, bar):
    """Fold a closed bar into a pair's indicators; what the strategy says of it is left in the pair's verdict."""
    pair = pair_at(t, index)
    scale = float(instrument_at(t, pair.instrument).price_scale)
    params_at = book_at(t, pair.book).params_at
    slab_at = pair.slab_at
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


@routine
def _forget(arena, t, index):
    """Set a pair's indicator state to nothing, so that it can be folded again."""
    pair = pair_at(t, index)
{sizes}
'''

_CASE: Final = """    if pair.structure == {index}:
        s = record_at(t, slab_at, STATE_{name})
        p = record_at(t, params_at, PARAMS_{name})
        {step}_{name}(t, index, s, p, bar, open_, high, low, close, volume)"""

_SIZE: Final = """    if pair.structure == {index}:
        arena[pair.slab_at : pair.slab_at + {state_bytes}] = 0"""

_STREAMS: Final = '''

@routine
def _fold_stream(t, subscription, bar):
    """Fold a closed bar of another stream into the state of the pair that looks at it."""
    row = subscription_at(t, subscription)
    index = row.pair
    pair = pair_at(t, index)
    scale = float(instrument_at(t, series_at(t, row.series).instrument).price_scale)
    params_at = book_at(t, pair.book).params_at
    slab_at = pair.slab_at
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


@routine
def _rewind(t, index):
    """Begin a pair's other streams at the oldest bars that are kept."""
    subscription = pair_at(t, index).first_subscription
    while subscription >= 0:
        row = subscription_at(t, subscription)
        series = series_at(t, row.series)
        row.folded_to = max(0, series.count - series.ring_size)
        subscription = row.next_in_pair


@routine
def _catch_up(t, index, until_ns):
    """Fold the bars of a pair's other streams that ended at or before a time."""
    subscription = pair_at(t, index).first_subscription
    while subscription >= 0:
        row = subscription_at(t, subscription)
        series = series_at(t, row.series)
        while row.folded_to < series.count:
            bar = ring_at(t, series.ring_at + row.folded_to % series.ring_size)
            if stream_end_ns(header_of(t), series.period_ns, bar.start_ns) > until_ns:
                break
            _fold_stream(t, subscription, bar)
            row.folded_to += 1
        subscription = row.next_in_pair


@routine
def _closed_elsewhere(t):
    """Fold what this record closed into the pairs that look at it from elsewhere, before any pair's own bar."""
    h = header_of(t)
    for number in range(h.n_closed):
        row = closed_at(t, number)
        subscription = series_at(t, row.series).first_subscription
        while subscription >= 0:
            _fold_stream(t, subscription, row.bar)
            subscription = subscription_at(t, subscription).next_in_series
'''

_STREAM_CASE: Final = """    if pair.structure == {index} and row.stream == {stream}:
        s = record_at(t, slab_at, STATE_{name})
        p = record_at(t, params_at, PARAMS_{name})
        stream_{name}_{number}(t, index, s, p, bar, open_, high, low, close, volume)"""

_FINISH: Final = '''

@kernel
def _is_staged(structure):
    """Say whether a structure compares instruments, so that its rules wait for all of them."""
    return {staged}


@kernel
def _finish(t, index, bar):
    """Let the rules of a structure that compares instruments say what they say of a bar."""
    pair = pair_at(t, index)
    scale = float(instrument_at(t, pair.instrument).price_scale)
    params_at = book_at(t, pair.book).params_at
    slab_at = pair.slab_at
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


@routine
def _closed_first(arena, t):
    """Fold what this record closed into every pair that compares instruments, before any of them is judged."""
    h = header_of(t)
    for number in range(h.n_closed):
        row = closed_at(t, number)
        index = series_at(t, row.series).first_pair
        while index >= 0:
            if _is_staged(pair_at(t, index).structure):
                _step(arena, t, index, row.bar)
            index = pair_at(t, index).next_in_series
'''

_FOLD: Final = '''

@routine
def _fold_again(arena, t):
    """Fold the ring's bars again into every pair whose state they no longer match; nothing is decided."""
    header_of(t).refold = 0
    for index in range(header_of(t).pairs_n):
        pair = pair_at(t, index)
        if pair.folded or pair.series < 0:
            continue
        _forget(arena, t, index)
        series = series_at(t, pair.series)
        #streams _rewind(t, index)
        for number in range(max(0, series.count - series.ring_size), series.count):
            bar = ring_at(t, series.ring_at + number % series.ring_size)
            #streams _catch_up(t, index, stream_end_ns(header_of(t), series.period_ns, bar.start_ns))
            _step(arena, t, index, bar)
            pair.ready = verdict_at(t, index).flags & 1
        #staged if series.count > 0 and _is_staged(pair.structure):
            #staged _finish(t, index, ring_at(t, series.ring_at + (series.count - 1) % series.ring_size))
            #staged pair.ready = verdict_at(t, index).flags & 1
        #streams _catch_up(t, index, header_of(t).time_ns)
        pair.folded = 1


@routine
def _closed(arena, t):
    """Let the strategies of every bar that this record closed decide, then mark the books."""
    h = header_of(t)
    #streams _closed_elsewhere(t)
    #staged _closed_first(arena, t)
    for number in range(h.n_closed):
        row = closed_at(t, number)
        index = series_at(t, row.series).first_pair
        while index >= 0:
            #staged if _is_staged(pair_at(t, index).structure):
                #staged _finish(t, index, row.bar)
            #staged else:
                #staged _step(arena, t, index, row.bar)
            #plain _step(arena, t, index, row.bar)
            decide(t, index, row.bar)
            index = pair_at(t, index).next_in_series
    settle(t)
    h.n_closed = 0
    mark_books(t)


'''

_TAIL: Final = '''@entry
def apply(arena, kind, body, rows, sequence, time_ns):
    arena = noref(arena)
    body = noref(body)
    t = address_of(arena)
    h = header_of(t)
    if h.refold:
        _fold_again(arena, t)
    if begin(t, sequence, time_ns):
        if h.n_closed:
            _closed(arena, t)
        timed_events(t)
    if kind == {FRAME}:
        on_ticks(t, body, rows)
    elif kind == {HISTORY}:
        on_history(t, body, rows)
    elif kind == {PARAMS}:
        on_params(arena, t, body, rows)
    elif kind == {LIMITS}:
        on_limits(t, body, rows)
    elif kind == {COMMAND}:
        on_command(t, body)
    elif kind == {GAP}:
        on_gap(t, body)
    elif kind == {FORECAST} or kind == {SENTIMENT}:
        on_columns(t, body, rows, 0)
    elif kind == {SIGNAL}:
        on_columns(t, body, rows, {FIXED_COLUMNS})
    if h.n_closed:
        _closed(arena, t)
    if h.refold:
        _fold_again(arena, t)
    return h.n_outputs


@routine
def run_bars(arena, bars, present, body, day_volume, audit, first, sequence):
    """Fold a session's bars along their stated path: (bars done, audit rows written, sequence).

    Stops early when `audit` might not hold another bar's rows; the caller empties it and calls again.
    """
    arena = noref(arena)
    t = address_of(arena)
    h = header_of(t)
    ticks = rows_at(body, 0, bars.shape[1], TICK)
    room = 12 * header_of(t).outputs_n
    written = 0
    for at in range(first, bars.shape[0]):
        if written + room > audit.shape[0]:
            return at, written, sequence
        for step in range(4):
            n, time_ns = draw_step(t, ticks, bars[at], present[at], day_volume, step)
            due_ns = timer_ns(h, time_ns)
            while due_ns > 0:
                sequence += 1
                rows = apply(arena, {TIMER}, body, 0, sequence, due_ns)
                for row in range(rows):
                    audit[written] = output_at(t, row)
                    written += 1
                due_ns = timer_ns(h, time_ns)
            if n == 0:
                continue
            sequence += 1
            rows = apply(arena, {FRAME}, body, n, sequence, max(time_ns, h.time_ns + 1))
            for row in range(rows):
                audit[written] = output_at(t, row)
                written += 1
    return bars.shape[0], written, sequence
'''


@dataclass(frozen=True)
class Deployment:
    """A strategy as the configuration runs it: file, account, values that override the defaults, and its own name."""

    file: StrategyFile
    account: str = "paper"
    values: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    @property
    def book(self) -> str:
        """The strategy's name in books and reports: the configuration's, or the file's own."""
        return self.name or self.file.strategy.name


@dataclass(frozen=True)
class GeneratedProgram:
    """A program's source text and manifest, and how many bars each book needs before it may decide."""

    source: str
    manifest: Manifest


def generate(deployments: Sequence[Deployment]) -> GeneratedProgram:
    """Compile strategies into one module; StrategyError or AtmandError names what is refused."""
    structures: dict[str, Structure] = {}
    books: list[BookPlan] = []
    for deployment in deployments:
        structure = compile_structure(deployment.file)
        structures.setdefault(structure.name, structure)
        books.append(_book(deployment, structure, list(structures).index(structure.name)))
    names = [f"{book.strategy}@{book.account}" for book in books]
    for name in names:
        if names.count(name) > 1:
            raise AtmandError(f"strategy {name}", "runs twice for one account", "give one of them another name")
    read = (name for structure in structures.values() for name in structure.compiled.signals)
    signals = tuple(dict.fromkeys(read))
    source = module_text(list(structures.values()), signals)
    manifest = Manifest(
        structures=tuple(structure.plan for structure in structures.values()),
        books=tuple(books),
        accounts=tuple(dict.fromkeys(book.account for book in books)),
        source=hashlib.sha256(source.encode()).hexdigest(),
        signals=signals,
    )
    return GeneratedProgram(source, manifest)


def module_text(structures: Sequence[Structure], signals: Sequence[str] = ()) -> str:
    """Write the module's text; it depends on nothing but the structures and the program's external signals."""
    text = module_head(structures, signals) + "\n\n".join(structure.text for structure in structures) + "\n"
    tail = fold_text(structures) + _TAIL
    for kind in Kind:
        tail = tail.replace(f"{{{kind.name}}}", str(int(kind)))
    return text + tail.replace("{FIXED_COLUMNS}", str(FIXED_COLUMNS))


def fold_text(structures: Sequence[Structure]) -> str:
    """Write how bars reach the steps, with no more than the structures need."""
    numbered = list(enumerate(structures))
    cases = [_CASE.format(index=index, name=structure.name, step="step") for index, structure in numbered]
    sizes = [_SIZE.format(index=index, state_bytes=structure.plan.state_bytes) for index, structure in numbered]
    streams = [
        _STREAM_CASE.format(index=index, stream=place, number=place + 1, name=structure.name)
        for index, structure in numbered
        for place in range(len(structure.plan.streams))
    ]
    staged = [(index, structure) for index, structure in numbered if structure.is_staged]
    text = _STEP.format(cases="\n".join(cases), sizes="\n".join(sizes))
    if streams:
        text += _STREAMS.format(cases="\n".join(streams))
    if staged:
        finish = [_CASE.format(index=index, name=structure.name, step="finish") for index, structure in staged]
        either = " or ".join(f"structure == {index}" for index, _ in staged)
        text += _FINISH.format(cases="\n".join(finish), staged=either)
    wanted = {"streams": bool(streams), "staged": bool(staged), "plain": not staged}
    return text + only(_FOLD, wanted)


def only(text: str, wanted: Mapping[str, bool]) -> str:
    """Keep the lines of a text whose mark is wanted, and those without one."""
    lines = []
    for line in text.split("\n"):
        mark = re.match(r"( *)#(\w+) ", line)
        if mark is None:
            lines.append(line)
        elif wanted[mark[2]]:
            lines.append(mark[1] + line[mark.end() :])
    return "\n".join(lines)


def module_head(structures: Sequence[Structure], signals: Sequence[str] = ()) -> str:
    """Write the imports of a generated module: of the indicators, those that the structures use."""
    steps: dict[str, set[str]] = {}
    for structure in structures:
        for row in structure.compiled.steps.values():
            steps.setdefault(row.module, set()).add(row.name)
    imports = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(steps.items())]
    text = _HEAD.replace("{imports}\n", "".join(f"{line}\n" for line in imports))
    text = text.replace("{functions}", ", ".join(functions.__all__))
    places = [f"SIGNAL_{name.upper()} = {FIXED_COLUMNS + place}\n" for place, name in enumerate(signals)]
    return text + "".join(places) + ("\n\n" if places else "")


def parameter_values(deployment: Deployment) -> dict[str, float]:
    """Return a deployment's parameter values: the file's defaults, overridden; refused outside the range."""
    strategy = deployment.file.strategy
    values = {name: parameter.default for name, parameter in strategy.params.items()}
    for name, value in deployment.values.items():
        where = f"strategy {deployment.book}, parameter {name}"
        if name not in values:
            raise AtmandError(where, "unknown", f"known are {', '.join(values) or 'none'}")
        low, high = strategy.params[name].range
        if not low <= value <= high:
            raise AtmandError(where, f"{value:g} is outside {low:g} to {high:g}", "choose a value in the range")
        if strategy.params[name].unit == "bars" and value != int(value):
            raise AtmandError(where, f"{value:g} is not a whole number of bars", "choose a whole number")
        values[name] = float(value)
    return values


def _book(deployment: Deployment, structure: Structure, index: int) -> BookPlan:
    strategy = deployment.file.strategy
    values = parameter_values(deployment)
    session = strategy.session
    warm, fetch = warm_up_bars(structure, values)
    return BookPlan(
        strategy=deployment.book,
        account=deployment.account,
        structure=index,
        delivery=strategy.trade.product == "CNC",
        entry_from_ns=_ns_of(session.entry_from),
        entry_to_ns=_ns_of(session.entry_to),
        square_off_ns=_ns_of(session.square_off),
        values=tuple(values[name] for name in structure.plan.params),
        sha256=deployment.file.sha256,
        warm_bars=warm,
        history_bars=fetch,
        stream_bars=stream_bars(structure, values),
        **_terms(strategy, structure.plan.params),
    )


def _terms(strategy: Strategy, params: tuple[str, ...]) -> dict[str, Any]:
    """Return what a book is told of its file's `[trade]`, `[[legs]]` and `[combined]`."""
    trade = strategy.trade
    return {
        "cooldown": trade.cooldown,
        "max_adds": trade.max_adds,
        "max_reduces": strategy.exit.max_reduces,
        "max_trades": trade.max_trades_a_day,
        "participation_ppm": round(trade.participation * 1_000_000),
        "limit_entry": trade.order == "limit",
        "entry_wait_ns": round(trade.wait * 1_000_000_000),
        "legs": leg_plans(strategy.legs, params),
        "combined": combined_amounts(strategy.combined, params) if strategy.legs else (),
    }


def _ns_of(clock: time | None) -> int:
    return 0 if clock is None else (clock.hour * 3600 + clock.minute * 60 + clock.second) * 1_000_000_000
