"""What the indicators are compared with: TA-Lib, and plain definitions in numpy where it has none or another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bars = Mapping[str, NDArray[Any]]

START_NS = 1_783_309_500_000_000_000
"""2026-07-06 09:15 in India."""


def bars(seed: int, n: int, *, level: float = 1_000.0, drift: float = 0.0, spread: float = 0.002) -> Bars:
    """Draw minutes of a walk at a price level; ten days of it are 375 bars each, apart by a day."""
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(drift, spread, n)))
    open_ = np.concatenate([[level], close[:-1]]) * np.exp(rng.normal(0, spread / 4, n))
    reach = np.abs(rng.normal(0, spread / 2, (2, n))) * close
    return bars_of(open_, np.maximum(open_, close) + reach[0], np.minimum(open_, close) - reach[1], close, seed)


def bars_of(open_: Floats, high: Floats, low: Floats, close: Floats, seed: int = 0, volume: Any = None) -> Bars:
    n = len(close)
    rng = np.random.default_rng(seed + 1_000)
    minute = np.arange(n)
    return {
        "open": open_,
        "high": high,
        "low": low,
        "close": close,
        "volume": rng.integers(1, 10_000, n).astype(float) if volume is None else volume,
        "source": close,
        "source2": close * np.exp(rng.normal(0, 0.001, n)) * 2.0,
        "start_ns": START_NS + (minute // 375 * 1_440 + minute % 375) * 60_000_000_000,
    }


def flat(level: float, n: int) -> Bars:
    return bars_of(*(np.full(n, level) for _ in range(4)))


def stepped(before: float, after: float, n: int, at: int = 20) -> Bars:
    line = np.concatenate([np.full(at, before), np.full(n - at, after)])
    return bars_of(line, line, line, line)


def halted(before: int, after: int) -> Bars:
    """Draw a walk that stands still from some bar on."""
    walk = bars(14, before)
    last = np.full(after, walk["close"][-1])
    return bars_of(*(np.concatenate([walk[name], last]) for name in ("open", "high", "low", "close")))


def inputs_of(names: Sequence[str], drawn: Bars) -> list[NDArray[Any]]:
    return [drawn[name] for name in names]


def rows_of(answer: Any) -> Floats:
    return np.column_stack(answer) if isinstance(answer, tuple) else np.asarray(answer, float)[:, None]


TALIB: dict[str, Callable[..., Any]] = {
    "aroon": lambda *a: talib.AROON(*a)[::-1],
    "bbands": lambda x, p, d: talib.BBANDS(x, p, d, d),
    "highest": talib.MAX,
    "lowest": talib.MIN,
    "rolling_sum": talib.SUM,
    "rolling_mean": talib.SMA,
    "stoch": lambda h, low, c, f, k, d: talib.STOCH(h, low, c, f, k, 0, d, 0),
}
"""TA-Lib's functions that are called in another way than ours."""


def windows(x: Floats, period: int) -> Floats:
    """Return each bar's last `period` values as a row of NaN or numbers."""
    padded = np.concatenate([np.full(period - 1, np.nan), x])
    return np.lib.stride_tricks.sliding_window_view(padded, period)


def rolling(how: Callable[..., Any], x: Floats, period: int) -> Floats:
    answer = how(windows(x, period), axis=1)
    answer[: period - 1] = np.nan
    return np.asarray(answer, float)


def wilder(x: Floats, period: int) -> Floats:
    """Average after Wilder of what follows the leading NaN."""
    answer = np.full(len(x), np.nan)
    first = int(np.isnan(x).sum())
    if first + period <= len(x):
        answer[first + period - 1] = x[first : first + period].mean()
        for i in range(first + period, len(x)):
            answer[i] = answer[i - 1] + (x[i] - answer[i - 1]) / period
    return answer


def hma(x: Floats, period: int) -> Floats:
    def weighted(values: Floats, n: int) -> Floats:
        return rolling(lambda rows, axis: rows @ np.arange(1, n + 1) / (n * (n + 1) / 2), values, n)

    return weighted(2 * weighted(x, period // 2) - weighted(x, period), int(period**0.5))


def spread_of(high: Floats, low: Floats, close: Floats) -> Floats:
    last = np.concatenate([[np.nan], close[:-1]])
    return np.maximum(high, last) - np.minimum(low, last)


def donchian(high: Floats, low: Floats, period: int) -> tuple[Floats, Floats, Floats]:
    top, bottom = rolling(np.max, high, period), rolling(np.min, low, period)
    return top, (top + bottom) / 2, bottom


def keltner(high: Floats, low: Floats, close: Floats, period: int, reach: int, ranges: float) -> tuple[Floats, ...]:
    middle, width = talib.EMA(close, period), ranges * wilder(spread_of(high, low, close), reach)
    answer = np.column_stack([middle + width, middle, middle - width])
    answer[np.isnan(answer).any(axis=1)] = np.nan
    return tuple(answer.T)


def supertrend(high: Floats, low: Floats, close: Floats, period: int, ranges: float) -> tuple[Floats, Floats]:
    width = ranges * wilder(spread_of(high, low, close), period)
    line, direction = np.full(len(close), np.nan), np.full(len(close), np.nan)
    upper, lower = (high + low) / 2 + width, (high + low) / 2 - width
    for i in range(period, len(close)):
        if i == period:
            direction[i] = -1
        else:
            upper[i] = upper[i] if upper[i] < upper[i - 1] or close[i - 1] > upper[i - 1] else upper[i - 1]
            lower[i] = lower[i] if lower[i] > lower[i - 1] or close[i - 1] < lower[i - 1] else lower[i - 1]
            up, down = close[i] > upper[i], close[i] < lower[i]
            direction[i] = direction[i - 1] if not (up if direction[i - 1] < 0 else down) else -direction[i - 1]
        line[i] = lower[i] if direction[i] > 0 else upper[i]
    return line, direction


def ichimoku(high: Floats, low: Floats, *periods: int) -> tuple[Floats, ...]:
    quick, calm, far = (donchian(high, low, period)[1] for period in periods)
    lines = np.column_stack([quick, calm, (quick + calm) / 2, far])
    lines[np.isnan(lines).any(axis=1)] = np.nan
    return tuple(lines.T)


def chop(high: Floats, low: Floats, close: Floats, period: int) -> Floats:
    way = rolling(np.sum, spread_of(high, low, close), period)
    top, _, bottom = donchian(high, low, period)
    with np.errstate(all="ignore"):
        return np.where(top > bottom, 100 * np.log10(way / (top - bottom)) / np.log10(period), np.nan)


def cmf(high: Floats, low: Floats, close: Floats, volume: Floats, period: int) -> Floats:
    with np.errstate(all="ignore"):
        place = np.where(high > low, (2 * close - high - low) / (high - low), 0.0)
        return rolling(np.sum, place * volume, period) / rolling(np.sum, volume, period)


def heikin_ashi(open_: Floats, high: Floats, low: Floats, close: Floats) -> tuple[Floats, ...]:
    middle = (open_ + high + low + close) / 4
    first = np.empty(len(close))
    first[0] = (open_[0] + close[0]) / 2
    for i in range(1, len(close)):
        first[i] = (first[i - 1] + middle[i - 1]) / 2
    return first, np.max([high, first, middle], axis=0), np.min([low, first, middle], axis=0), middle


def vwap(high: Floats, low: Floats, close: Floats, volume: Floats, start_ns: NDArray[np.int64]) -> Floats:
    day = (start_ns + 19_800_000_000_000) // 86_400_000_000_000
    answer = np.empty(len(close))
    for one in np.unique(day):
        rows = day == one
        with np.errstate(all="ignore"):
            money = np.cumsum((high[rows] + low[rows] + close[rows]) / 3 * volume[rows])
            answer[rows] = money / np.cumsum(volume[rows])
    return answer


def vwma(x: Floats, volume: Floats, period: int) -> Floats:
    with np.errstate(all="ignore"):
        return rolling(np.sum, x * volume, period) / rolling(np.sum, volume, period)


def percent_rank(x: Floats, period: int) -> Floats:
    answer = np.full(len(x), np.nan)
    for i in range(period, len(x)):
        answer[i] = 100 * np.mean(x[i - period : i] <= x[i])
    return answer


def zscore(x: Floats, period: int) -> Floats:
    deviation = rolling(lambda rows, axis: rows.std(axis=axis, ddof=1), x, period)
    mean = rolling(np.mean, x, period)
    with np.errstate(all="ignore"):
        return np.where(np.abs(x - mean) <= 1e-14 * (np.abs(x) + np.abs(mean)), 0.0, (x - mean) / deviation)


PLAIN: dict[str, Callable[..., Any]] = {
    "rma": wilder,
    "hma": hma,
    "vwma": vwma,
    "donchian": donchian,
    "keltner": keltner,
    "supertrend": supertrend,
    "ichimoku": ichimoku,
    "chop": chop,
    "cmf": cmf,
    "heikin_ashi": heikin_ashi,
    "vwap": vwap,
    "highest_bars": lambda x, p: rolling(lambda rows, axis: rows[:, ::-1].argmax(axis=axis).astype(float), x, p),
    "lowest_bars": lambda x, p: rolling(lambda rows, axis: rows[:, ::-1].argmin(axis=axis).astype(float), x, p),
    "rolling_median": lambda x, p: rolling(np.median, x, p),
    "rolling_std": lambda x, p: rolling(lambda rows, axis: rows.std(axis=axis, ddof=1), x, p),
    "rolling_zscore": zscore,
    "percent_rank": percent_rank,
}
"""Definitions of what TA-Lib lacks, or defines in another way."""


def oracle(name: str, inputs: Sequence[NDArray[Any]], lookbacks: Sequence[int], numbers: Sequence[float]) -> Floats:
    """Return what an indicator must say: rows are bars, columns the outputs."""
    judge = PLAIN.get(name) or TALIB.get(name) or getattr(talib, name.upper())
    return rows_of(judge(*inputs, *lookbacks, *numbers))
