"""`atmand eval`: one expression of the strategy language over bars, through the same compiled step as a strategy's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.jit import kernel_rows
from atmand.core.layout import VERDICT
from atmand.errors import AtmandError, UsageError
from atmand.history.bars import BAR, Bars, load_bars
from atmand.lang.build import load_module, program_directory, write_module
from atmand.lang.program import module_head
from atmand.lang.source import Place, SourceText, StrategyError
from atmand.lang.strategy import StrategyFile, is_usable_name, strategy_of
from atmand.lang.structure import compile_expression
from atmand.ledger.trades import market_time
from atmand.market.sessions import session_date
from atmand.research.bar_driver import session_windows

__all__ = ["command"]

_RUN: Final = '''

@driver
def run(state, params, bars, scale, values):
    """Fold bars through the step; a value that is missing stays NaN."""
    s = rows_at(state, 0, 1, STATE_{name})[0]
    p = rows_at(params, 0, 1, PARAMS_{name})[0]
    for i in range(bars.shape[0]):
        bar = bars[i]
        open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
        step_{name}(0, 0, s, p, bar, open_, high, low, close, float(bar.volume))
        values[i] = s.verdict.value if s.verdict.flags & 1 else math.nan
'''


def command(
    expression: str, *, data: Path, instrument: str | None, params: Mapping[str, float], bar_ns: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield `{"symbol", "ts", "value"}` for each bar of a file; `value` is null while it is missing.

    `bar_ns` joins the file's bars into longer ones, anchored at each day's opening.
    """
    bars = load_bars(data, None if instrument is None else [instrument.rpartition(":")[2]])
    file = _file(expression, params)
    structure = compile_expression(file, expression)
    text = module_head([structure]) + structure.text + _RUN.format(name=structure.name)
    module = load_module(write_module(text, program_directory()))
    fixed = np.array([*params.values()] or [0.0], np.float64).view(np.uint8)
    for symbol, series in bars.series.items():
        rows = series if bar_ns is None else _joined(series, bar_ns, bars)
        state = np.zeros(structure.plan.state_bytes, np.uint8)
        values = np.empty(len(rows), np.float64)
        module.run(state, fixed, kernel_rows(rows), 100.0, values)
        is_bool = bool(len(rows)) and state[: VERDICT.itemsize].view(VERDICT)["quantity"][0] == 1.0
        for start_ns, value in zip(rows["start_ns"].tolist(), values.tolist(), strict=True):
            shown = None if math.isnan(value) else bool(value) if is_bool else value
            yield {"symbol": symbol, "ts": market_time(start_ns), "value": shown}


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
