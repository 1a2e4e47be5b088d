"""From strategies to a program: one generated module that imports the kernels by name and holds `apply`.

A jitted function passed as an argument never reaches numba's cache on disk, so the fold itself is generated: the same
module serves live trading, replay and the batch driver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Final

from atmand.core.manifest import BookPlan, Manifest
from atmand.core.records import Kind
from atmand.errors import AtmandError
from atmand.lang.strategy import StrategyFile
from atmand.lang.structure import Structure, compile_structure, warm_up_bars
from atmand.lang.user_indicators import embedding, is_users

__all__ = ["Deployment", "GeneratedProgram", "generate", "module_head", "module_text", "parameter_values"]

_HEAD: Final = '''"""A generated program; its file is named by the hash of this text."""

import math

import numpy as np

from atmand.core.bar_path import draw_step, timer_ns
from atmand.core.crossing import CROSSING, crosses_above, crosses_below
from atmand.core.decide import decide, mark_books, settle
from atmand.core.indicators import INDICATORS, lookback
{imports}
from atmand.core.jit import address_of, entry, noref, record_at, rows_at
from atmand.core.jit import local_kernel as kernel, local_routine as routine, routine as driver
from atmand.core.layout import VERDICT, book_at, closed_at, header_of, instrument_at, output_at, pair_at, ring_at
from atmand.core.layout import series_at, verdict_at
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
        step_{name}(t, index, s, p, bar, open_, high, low, close, volume)"""

_SIZE: Final = """    if pair.structure == {index}:
        arena[pair.slab_at : pair.slab_at + {state_bytes}] = 0"""

_TAIL: Final = '''@routine
def _fold_again(arena, t):
    """Fold the ring's bars again into every pair whose state they no longer match; nothing is decided."""
    header_of(t).refold = 0
    for index in range(header_of(t).pairs_n):
        pair = pair_at(t, index)
        if pair.folded:
            continue
        _forget(arena, t, index)
        series = series_at(t, pair.series)
        for number in range(max(0, series.count - series.ring_size), series.count):
            _step(arena, t, index, ring_at(t, series.ring_at + number % series.ring_size))
            pair.ready = verdict_at(t, index).flags & 1
        pair.folded = 1


@routine
def _closed(arena, t):
    """Let the strategies of every bar that this record closed decide, then mark the books."""
    h = header_of(t)
    for number in range(h.n_closed):
        row = closed_at(t, number)
        index = series_at(t, row.series).first_pair
        while index >= 0:
            _step(arena, t, index, row.bar)
            decide(t, index, row.bar)
            index = pair_at(t, index).next_in_series
    settle(t)
    h.n_closed = 0
    mark_books(t)


@entry
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
    if h.n_closed:
        _closed(arena, t)
    if h.refold:
        _fold_again(arena, t)
    return h.n_outputs


@driver
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
    origin: str = ""
    """Set on what only leads the positions of that strategy to their exits."""
    universe: tuple[str, ...] = ()
    """Keys of the instruments that it is kept to; empty is the file's own universe."""

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
    source = module_text(list(structures.values()))
    manifest = Manifest(
        structures=tuple(structure.plan for structure in structures.values()),
        books=tuple(books),
        accounts=tuple(dict.fromkeys(book.account for book in books)),
        source=hashlib.sha256(source.encode()).hexdigest(),
    )
    return GeneratedProgram(source, manifest)


def module_text(structures: Sequence[Structure]) -> str:
    """Write the module's text; it depends on nothing but the structures."""
    cases, sizes = [], []
    for index, structure in enumerate(structures):
        plan = structure.plan
        cases.append(
            _CASE.format(
                index=index,
                name=structure.name,
            )
        )
        sizes.append(_SIZE.format(index=index, state_bytes=plan.state_bytes))
    text = module_head(structures) + "\n\n".join(structure.text for structure in structures) + "\n"
    text += _STEP.format(cases="\n".join(cases), sizes="\n".join(sizes))
    tail = _TAIL
    for kind in Kind:
        tail = tail.replace(f"{{{kind.name}}}", str(int(kind)))
    return text + tail


def module_head(structures: Sequence[Structure]) -> str:
    """Write the imports of a generated module: of the indicators, those that the structures use.

    A user's own come as the text of their file, so that the module is whole wherever it goes.
    """
    steps: dict[str, set[str]] = {}
    for structure in structures:
        for row, _, _ in structure.compiled.warm_up:
            steps.setdefault(row.module, set()).add(row.name)
    ours = {module: sorted(names) for module, names in sorted(steps.items()) if not is_users(module)}
    users = {module: sorted(names) for module, names in sorted(steps.items()) if is_users(module)}
    lines = [f"from {module} import {', '.join(names)}" for module, names in ours.items()]
    text = _HEAD.replace("{imports}\n", "".join(f"{line}\n" for line in lines))
    return text + "".join(embedding(module, names) for module, names in users.items())


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
        delivery=strategy.product == "CNC",
        entry_from_ns=_ns_of(session.entry_from),
        entry_to_ns=_ns_of(session.entry_to),
        square_off_ns=_ns_of(session.square_off),
        values=tuple(values[name] for name in structure.plan.params),
        sha256=deployment.file.sha256,
        run_off=bool(deployment.origin),
        origin=deployment.origin,
        warm_bars=warm,
        history_bars=fetch,
    )


def _ns_of(clock: time | None) -> int:
    return 0 if clock is None else (clock.hour * 3600 + clock.minute * 60 + clock.second) * 1_000_000_000
