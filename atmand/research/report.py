"""The page of a back-test: its figures, equity and drawdown, months, slippage, and the trades on the candles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.ledger.trades import Trade, market_time
from atmand.research.figures import Curve
from atmand.research.pages import Section, chart, note, table, write_page
from atmand.research.table import interval_rows, result_rows, slippage_rows

if TYPE_CHECKING:
    from atmand.research.run import BacktestRun

__all__ = ["write_backtest"]

_MOST_POINTS: Final = 2_000
_MOST_CANDLES: Final = 1_500
_MOST_INSTRUMENTS: Final = 30
_CANDLE_MINUTES: Final = (1, 3, 5, 15, 30, 60, 1_440)
_MINUTE_NS: Final = 60_000_000_000
_INDIA_NS: Final = 19_800_000_000_000
_OPENING_MINUTE: Final = 555
"""09:15: candles of a day begin there."""
_MINUTES_A_DAY: Final = 1_440
_GOOD, _BAD, _CALM, _QUIET = "#1a9d61", "#d2493d", "#4c78c8", "#98a2ab"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_backtest(run: BacktestRun, path: Path) -> Path:
    """Write the page of a back-test."""
    data = run.study.data
    lead = (
        f"{data.source}, {market_time(data.first_ns)[:10]} to {market_time(data.last_ns)[:10]}, "
        f"{len(data.instruments)} instruments; run {run.recorded.entry['id']} of the research log"
    )
    sections = [
        *(note(text) for text in run.notes),
        _equity(run),
        table("Result", *result_rows(run)),
        table("How sure", *interval_rows(run)),
        table("At other slippages", *slippage_rows(run), caption="The same trades, each fill so much worse or better."),
        _months(run.curve),
        _candles(run),
    ]
    return write_page(path, f"{run.study.strategy}: back-test", lead, sections)


def _equity(run: BacktestRun) -> Section:
    curve, stride = run.curve, max(1, -(-len(run.curve.equity) // _MOST_POINTS))
    starts = np.arange(0, len(curve.equity), stride)
    places = np.minimum(starts + stride - 1, len(curve.equity) - 1)
    times = curve.times_ns[places]
    labels = [_label(time_ns) for time_ns in times.tolist()]
    lines = [("strategy", curve.equity[places], _CALM), *_beside(run, times)]
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "name": name, "x": labels, "y": _rupees(values), "line": {"color": colour}}
        for name, values, colour in lines
    ]
    under = -100 * np.maximum.reduceat(curve.drawdown, starts) if len(starts) else np.zeros(0)
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "fill": "tozeroy",
            "name": "drawdown",
            "x": labels,
            "y": under.round(4),
            "yaxis": "y2",
            "line": {"color": _BAD, "width": 1},
        }
    )
    layout = {
        "xaxis": {"type": "category", "nticks": 8, "anchor": "y2"},
        "yaxis": {"title": {"text": "₹"}, "domain": [0.32, 1]},
        "yaxis2": {"title": {"text": "drawdown %"}, "domain": [0, 0.26]},
    }
    return chart("Equity", traces, layout)


def _beside(run: BacktestRun, times: NDArray[np.int64]) -> list[tuple[str, NDArray[np.int64], str]]:
    """Return the other curves as they stand at these times."""
    found = []
    for name, colour in (("buy_and_hold", _QUIET), ("cash", _GOOD)):
        curve = run.beside[name]
        at = np.searchsorted(curve.times_ns, times, side="right") - 1
        values = np.where(at >= 0, curve.equity[np.maximum(at, 0)], curve.capital_paise)
        found.append((name.replace("_", " "), values, colour))
    return found


def _months(curve: Curve) -> Section:
    """Chain the daily returns of each month and year."""
    growth: dict[int, dict[int, float]] = {}
    for (year, month), days in groupby(
        zip(curve.days, curve.returns.tolist(), strict=False), key=lambda pair: (pair[0].year, pair[0].month)
    ):
        growth.setdefault(year, {})[month] = float(np.prod([1 + value for _, value in days]))
    rows = []
    for year, months in growth.items():
        cells = [_percent(months[month] - 1) if month in months else "" for month in range(1, 13)]
        rows.append([str(year), *cells, _percent(float(np.prod(list(months.values()))) - 1)])
    return table("Months", ["", *_MONTHS, "Year"], rows)


def _candles(run: BacktestRun) -> Section:
    """Draw the instruments with the most trades."""
    bars = run.study.bars
    counts = Counter(trade.instrument for trade in run.result.trades)
    traded = [key for key, _ in counts.most_common(_MOST_INSTRUMENTS)]
    columns = {key: column for column, key in enumerate(_keys(run))}
    shown = [columns[key] for key in traded] or list(run.study.columns[:_MOST_INSTRUMENTS])
    instruments = {}
    minutes = 1
    for column in shown:
        series = bars.series[bars.symbols[column]]
        key = _keys(run)[column]
        minutes = _candle_minutes(series)
        trades = [trade for trade in run.result.trades if trade.instrument == key]
        instruments[bars.symbols[column]] = [_bars_trace(series, minutes), *_trade_traces(trades, minutes)]
    return {
        "kind": "candles",
        "title": "Trades",
        "instruments": instruments,
        "layout": {
            "xaxis": {"type": "category", "nticks": 8, "rangeslider": {"visible": False}},
            "yaxis": {"title": {"text": "₹"}},
            "hovermode": "closest",
        },
        "caption": _candle_caption(len(shown), len(counts) or len(run.study.columns), minutes),
    }


def _candle_caption(shown: int, there: int, minutes: int) -> str:
    length = "a day" if minutes == _MINUTES_A_DAY else f"{minutes} min"
    some = "" if shown == there else f" The {shown} instruments with the most trades, of {there}."
    return f"A candle is {length}; triangles are entries, crosses exits, at the prices of the fills.{some}"


def _keys(run: BacktestRun) -> Sequence[str]:
    from atmand.research.backtest import instruments_of

    return [instrument.key for instrument in instruments_of(run.study.bars.symbols)]


def _candle_minutes(series: NDArray[Any]) -> int:
    """Return the shortest candle that keeps a chart readable."""
    return next((minutes for minutes in _CANDLE_MINUTES if len(series) / minutes <= _MOST_CANDLES), _CANDLE_MINUTES[-1])


def _bars_trace(series: NDArray[Any], minutes: int) -> dict[str, Any]:
    buckets = _bucket(series["start_ns"], minutes)
    first = np.flatnonzero(np.diff(buckets, prepend=buckets[:1] - 1))
    last = np.append(first[1:], len(series)) - 1
    return {
        "type": "candlestick", "name": "price", "x": _labels(buckets[first], minutes),
        "open": _rupees(series["open"][first]), "close": _rupees(series["close"][last]),
        "high": _rupees(np.maximum.reduceat(series["high"], first)),
        "low": _rupees(np.minimum.reduceat(series["low"], first)),
        "increasing": {"line": {"color": _GOOD, "width": 1}}, "decreasing": {"line": {"color": _BAD, "width": 1}},
    }  # fmt: skip


def _trade_traces(trades: Sequence[Trade], minutes: int) -> list[dict[str, Any]]:
    """Draw a line from entry to exit of each trade, won and lost apart, with their fills."""
    traces = []
    for name, colour, chosen in (
        ("won", _GOOD, [trade for trade in trades if trade.net_paise > 0]),
        ("lost", _BAD, [trade for trade in trades if trade.net_paise <= 0]),
    ):
        entries = _labels(_bucket(np.array([trade.entry_ns for trade in chosen], np.int64), minutes), minutes)
        exits = _labels(_bucket(np.array([trade.exit_ns for trade in chosen], np.int64), minutes), minutes)
        x: list[str | None] = []
        y: list[float | None] = []
        words: list[str] = []
        symbols: list[str] = []
        for trade, entry, left in zip(chosen, entries, exits, strict=True):
            x += [entry, left, None]
            y += [trade.entry_value / trade.quantity / 100, trade.exit_value / trade.quantity / 100, None]
            words += [_words(trade), f"{_words(trade)}<br>{trade.exit_reason}", ""]
            symbols += [f"triangle-{'up' if trade.side == 'BUY' else 'down'}", "x", "circle"]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": x,
                "y": y,
                "text": words,
                "hovertemplate": "%{text}<br>%{y:.2f}<extra></extra>",
                "line": {"color": colour, "dash": "dot"},
                "marker": {"color": colour, "symbol": symbols, "size": 9, "line": {"width": 1, "color": "#fff"}},
            }
        )
    return traces


def _words(trade: Trade) -> str:
    return f"{trade.side} {trade.quantity}, {market_time(trade.entry_ns)[:16]}, net ₹{trade.net_paise / 100:,.2f}"


def _bucket(times_ns: NDArray[np.int64], minutes: int) -> NDArray[np.int64]:
    """Return the start of each time's candle, in minutes of India's clock; candles of a day begin at its opening."""
    at = (times_ns + _INDIA_NS) // _MINUTE_NS
    day = at // _MINUTES_A_DAY * _MINUTES_A_DAY
    return (
        day if minutes == _MINUTES_A_DAY else day + _OPENING_MINUTE + (at - day - _OPENING_MINUTE) // minutes * minutes
    )


def _labels(buckets: NDArray[np.int64], minutes: int) -> list[str]:
    length = 10 if minutes == _MINUTES_A_DAY else 16
    return [_label(minute * _MINUTE_NS - _INDIA_NS)[:length] for minute in buckets.tolist()]


def _label(time_ns: int) -> str:
    return market_time(time_ns)[:16].replace("T", " ")


def _percent(value: float) -> tuple[str, int]:
    return f"{100 * value:.2f} %", int(np.sign(value))


def _rupees(paise: NDArray[Any]) -> list[float]:
    return [round(value / 100, 2) for value in paise.tolist()]
