"""From strategies to a program: one generated module that imports the kernels by name and holds `apply`.

A jitted function passed as an argument never reaches numba's cache on disk, so the fold itself is generated: the same
module serves live trading, replay and the batch driver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Any, Final

from atmand.core import functions
from atmand.core.columns import FIXED_COLUMNS
from atmand.core.manifest import BookPlan, Manifest
from atmand.core.records import Kind
from atmand.errors import AtmandError
from atmand.hints import did_you_mean
from atmand.lang.folding import fold_text
from atmand.lang.legs import combined_amounts, leg_plans
from atmand.lang.strategy import Strategy, StrategyFile
from atmand.lang.structure import Structure, compile_structure, stream_bars, warm_up_bars
from atmand.lang.user_indicators import embedding, is_users

__all__ = [
    "Deployment",
    "GeneratedProgram",
    "generate",
    "module_head",
    "module_text",
    "parameter_values",
]

_HEAD: Final = '''"""A generated program; its file is named by the hash of this text."""

import math

import numpy as np

from atmand.core.bar_path import draw_step, timer_ns
from atmand.core.columns import column_age, column_value, on_columns
from atmand.core.cross import CROSS, cross_rank, cross_zscore
from atmand.core.crossing import CROSSING, crossing
from atmand.core.day import DAY, OPENING, clock_minute, day_step, days_to_expiry, minutes_since_open, minutes_to_close
from atmand.core.day import opening_step, stream_end_ns, weekday_of
from atmand.core.decide import decide, mark_books, settle
from atmand.core.functions import {functions}
from atmand.core.indicators import INDICATORS, lookback
{imports}
from atmand.core.jit import address_of, entry, noref, record_at, rows_at
from atmand.core.jit import local_kernel as kernel, local_routine as routine, routine as driver
from atmand.core.layout import VERDICT, book_at, closed_at, header_of, instrument_at, output_at, pair_at, ring_at
from atmand.core.layout import series_at, subscription_at, verdict_at
from atmand.core.position import bars_held, entry_price, position, position_value, profit, profit_r, trades_today
from atmand.core.step import begin, on_command, on_gap, on_history, on_limits, on_params, on_ticks, timed_events
from atmand.core.ticks import TICK


'''

FOLD_MARK: Final = "\n# How bars reach the steps, and records the core.\n"
"""Stands in a module's text behind the steps: a batch program is made of what stands before it."""

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
    share: float = 0.0
    """Share of its account's equity that it may be given at most, a document's weight being a part of it."""
    by_weight: bool = False
    """Whether only a document says which share."""

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
    tail = FOLD_MARK + fold_text(structures) + _TAIL
    for kind in Kind:
        tail = tail.replace(f"{{{kind.name}}}", str(int(kind)))
    return text + tail.replace("{FIXED_COLUMNS}", str(FIXED_COLUMNS))


def module_head(structures: Sequence[Structure], signals: Sequence[str] = ()) -> str:
    """Write the imports of a generated module: of the indicators, those that the structures use.

    A user's own come as the text of their file, so that the module is whole wherever it goes.
    """
    steps: dict[str, set[str]] = {}
    for structure in structures:
        for row in structure.compiled.steps.values():
            steps.setdefault(row.module, set()).add(row.name)
    ours = {module: sorted(names) for module, names in sorted(steps.items()) if not is_users(module)}
    users = {module: sorted(names) for module, names in sorted(steps.items()) if is_users(module)}
    lines = [f"from {module} import {', '.join(names)}" for module, names in ours.items()]
    text = _HEAD.replace("{imports}\n", "".join(f"{line}\n" for line in lines))
    text = text.replace("{functions}", ", ".join(functions.__all__))
    places = [f"SIGNAL_{name.upper()} = {FIXED_COLUMNS + place}\n" for place, name in enumerate(signals)]
    text += "".join(places) + ("\n\n" if places else "")
    return text + "".join(embedding(module, names) for module, names in users.items())


def parameter_values(deployment: Deployment) -> dict[str, float]:
    """Return a deployment's parameter values: the file's defaults, overridden; refused outside the range."""
    strategy = deployment.file.strategy
    values = {name: parameter.default for name, parameter in strategy.params.items()}
    for name, value in deployment.values.items():
        where = f"strategy {deployment.book}, parameter {name}"
        if name not in values:
            raise AtmandError(where, "unknown", did_you_mean(name, values, "the file's [params]"))
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
        run_off=bool(deployment.origin),
        origin=deployment.origin,
        warm_bars=warm,
        history_bars=fetch,
        stream_bars=stream_bars(structure, values),
        carried=strategy.trade.product == "NRML",
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
