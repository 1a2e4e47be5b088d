"""`atmand eval`: one expression of the strategy language over bars, through the same compiled step as a strategy's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.manifest import BookPlan, Manifest
from atmand.core.opening import SessionTerms, instruments_draft, session_draft
from atmand.core.records import PROGRAM_ROW, Record, head_and_rows
from atmand.core.state import Layout, lay_out, table
from atmand.errors import AtmandError, UsageError
from atmand.history.actions import adjusted
from atmand.history.bars import BAR, Bars, load_bars
from atmand.lang.build import load_module, program_directory, write_module
from atmand.lang.folding import fold_text, only
from atmand.lang.program import module_head
from atmand.lang.source import Place, SourceText, StrategyError
from atmand.lang.strategy import StrategyFile, is_usable_name, strategy_of
from atmand.lang.structure import Structure, compile_expression
from atmand.ledger.trades import market_time
from atmand.market.sessions import session_date
from atmand.research.backtest import instruments_of
from atmand.research.bar_driver import session_windows

__all__ = ["command"]

_RUN: Final = '''

@driver
def evaluate(arena, index, values):
    """Fold a pair's ring through the step; a value that is missing stays NaN."""
    t = address_of(arena)
    series = series_at(t, pair_at(t, index).series)
    #streams _rewind(t, index)
    for number in range(series.count):
        bar = ring_at(t, series.ring_at + number)
        #streams _catch_up(t, index, stream_end_ns(header_of(t), series.period_ns, bar.start_ns))
        _step(arena, t, index, bar)
        v = verdict_at(t, index)
        values[number] = v.value if v.flags & 1 else math.nan
    return v.quantity == 1.0
'''
_COSTS_DAY: Final = date(2026, 7, 6)
"""A day with cost tables: a session must name one, and an expression has no costs."""


def command(
    expression: str, *, data: Path, instrument: str | None, params: Mapping[str, float], bar_ns: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield `{"symbol", "ts", "value"}` for each bar of a file; `value` is null while it is missing.

    `bar_ns` joins the file's bars into longer ones, anchored at each day's opening.
    """
    wanted = None if instrument is None else instrument.rpartition(":")[2]
    file = _file(expression, params)
    bars = load_bars(data, None if instrument is None or data.is_file() else [instrument])
    if wanted is not None and wanted not in bars.series:
        bars = load_bars(data, [wanted])
    bars = adjusted(bars)
    structure = compile_expression(file, expression, bar_ns or bars.bar_ns)
    signals = structure.compiled.signals
    text = module_head([structure], signals) + structure.text + "\n" + fold_text([structure])
    text += only(_RUN, {"streams": bool(structure.plan.streams)})
    module = load_module(write_module(text, program_directory()))
    layout = _laid_out(structure, bars, params)
    series = table(layout.arena, "series")
    for index, symbol in enumerate(bars.series):
        if wanted is not None and symbol != wanted:
            continue
        row = series[table(layout.arena, "pairs")["series"][index]]
        starts = table(layout.arena, "ring")["start_ns"][int(row["ring_at"]) :][: int(row["count"])]
        values = np.full(len(starts), math.nan)
        is_bool = bool(len(starts)) and module.evaluate(layout.arena, index, values)
        for start_ns, value in zip(starts.tolist(), values.tolist(), strict=True):
            shown = None if math.isnan(value) else bool(value) if is_bool else value
            yield {"symbol": symbol, "ts": market_time(start_ns), "value": shown}


def _laid_out(structure: Structure, bars: Bars, params: Mapping[str, float]) -> Layout:
    """Lay an arena out whose rings hold all of a file's bars, joined as the expression wants them."""
    most = max((len(rows) for rows in bars.series.values()), default=0) + 2
    streams = tuple(replace(stream, ring_bars=most) for stream in structure.plan.streams)
    plan = replace(structure.plan, ring_bars=most, streams=streams)
    book = BookPlan("eval", "eval", 0, False, 0, 0, 0, tuple(params.values()), "")
    manifest = Manifest((plan,), (book,), ("eval",), "", tuple(structure.compiled.signals))
    first = next((rows["start_ns"][0] for rows in bars.series.values() if len(rows)), 0)
    day = session_date(int(first))
    terms = SessionTerms(day=day, windows=session_windows(day), costs_day=_COSTS_DAY, orders_per_book=1)
    instruments = [(instrument, 0) for instrument in instruments_of(tuple(bars.series))]
    drafts = (session_draft(terms), instruments_draft(instruments))
    records = [Record(draft.kind, 0, 0, draft.body, draft.rows, draft.version) for draft in drafts]
    session, table_ = map(head_and_rows, records)
    pairs = np.zeros(len(instruments), PROGRAM_ROW)
    pairs["instrument"] = np.arange(len(instruments))
    layout = lay_out(session[0], session[1], table_[1], manifest, pairs, 0)
    symbols = list(bars.series)
    ring = table(layout.arena, "ring")
    for row in table(layout.arena, "series"):
        rows = bars.series[symbols[int(row["instrument"])]]
        if int(row["period_ns"]) != bars.bar_ns:
            rows = _joined(rows, int(row["period_ns"]), bars)
        kept = ring[int(row["ring_at"]) : int(row["ring_at"]) + len(rows)]
        for name in ("start_ns", "open", "high", "low", "close", "volume"):
            kept[name] = rows[name]
        row["count"] = len(rows)
    return layout


def _file(expression: str, params: Mapping[str, float]) -> StrategyFile:
    """Make a strategy around an expression: parameters that are whole numbers may be look-backs."""
    for name in params:
        if not is_usable_name(name):
            remedy = "use lower case letters, digits and _, and none of the bar's own names (low, close, ...)"
            raise UsageError(f"--set {name}", "cannot name a parameter", remedy)
    source = SourceText("expression", expression, is_expression=True)
    if not expression.strip():
        raise StrategyError(source, Place(1, 1), "there is none", 'write one, such as "rsi(14)"')
    if not _is_utf8(expression):
        raise UsageError("EXPR", "not UTF-8", "set the terminal to UTF-8")
    declared = {
        name: {
            "default": value,
            "range": (value, value),
            "unit": "bars" if value == int(value) and 1 <= value <= 5000 else "",
        }
        for name, value in params.items()
    }
    document = {
        "name": "eval",
        "universe": ["NSE:ANY"],
        "params": declared,
        "entry": {"long": expression},
        "size": {"quantity": "1"},
    }
    return strategy_of(document, source)


def _is_utf8(text: str) -> bool:
    """Say whether an argument of the command line was text; bytes that were none come as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _joined(series: NDArray[Any], bar_ns: int, bars: Bars) -> NDArray[Any]:
    """Join bars into longer ones."""
    if bar_ns % bars.bar_ns or bar_ns < bars.bar_ns:
        raise AtmandError(
            "--bar",
            f"{bar_ns // 10**9} s is not a multiple of the file's {bars.bar_ns // 10**9} s",
            "choose a multiple",
        )
    starts = series["start_ns"]
    anchors = {day: session_windows(day)[0].open_ns for day in {session_date(int(start)) for start in starts}}
    anchor = np.array([anchors[session_date(int(start))] for start in starts], np.int64)
    buckets = anchor + (starts - anchor) // bar_ns * bar_ns
    edges = np.flatnonzero(np.diff(buckets, prepend=buckets[:1] - 1))
    joined = np.zeros(len(edges), BAR)
    if not len(edges):
        return joined
    last = np.append(edges[1:], len(series)) - 1
    joined["start_ns"], joined["open"], joined["close"] = buckets[edges], series["open"][edges], series["close"][last]
    joined["high"] = np.maximum.reduceat(series["high"], edges)
    joined["low"] = np.minimum.reduceat(series["low"], edges)
    joined["volume"] = np.add.reduceat(series["volume"], edges)
    return joined
