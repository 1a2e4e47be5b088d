"""Four streaming indicators a tick: RSI, MACD, ATR and Bollinger's bands of 200 instruments inside one compiled call.

Prints JSON lines; writes the section `indicators` of docs/performance.md. Beside ours: the same four in one function
written by hand over floats, TA-Lib's stream functions, and talipp where it is installed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from atmand.start import prepare_compiler

prepare_compiler(None)

import numpy as np  # noqa: E402
import talib  # noqa: E402
from _report import Report, Target, count, interleaved, table  # noqa: E402
from numba import njit  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from talib import stream  # noqa: E402

from atmand.core.indicators import INDICATORS  # noqa: E402
from atmand.core.indicators.bands import bbands  # noqa: E402
from atmand.core.indicators.momentum import macd, rsi  # noqa: E402
from atmand.core.indicators.registry import fields  # noqa: E402
from atmand.core.indicators.volatility import atr  # noqa: E402

_INSTRUMENTS: Final = 200
_TICKS: Final = 1_000
_RUNS: Final = 9
_WINDOW: Final = 250
_SLOW_TICKS: Final = 200
_AIM_NS: Final = 50
_STATE: Final = fields(
    rsi=INDICATORS["rsi"].state(14),
    macd=INDICATORS["macd"].state(12, 26, 9),
    atr=INDICATORS["atr"].state(14),
    bands=INDICATORS["bbands"].state(20),
)
_DEFINITION: Final = """Nanoseconds a tick for all four together: RSI(14), MACD(12, 26, 9), ATR(14) and Bollinger's
bands (20, 2) of {instruments} instruments; one compiled call takes a tick of each, {ticks} calls, every value written
out. Ours are the steps that generated strategies call. *Limit* is the same four in one function by hand: averages
without a seed, nothing checked, a variance that is never made anew. TA-Lib has no state: its stream functions go over
the last {window} bars each tick, called from Python. At the last tick all agree to 1e-8."""


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _ours(states, high, low, close, out):  # type: ignore[no-untyped-def]
    for i in range(states.shape[0]):
        s = states[i]
        out[i, 0] = rsi(s.rsi, close[i], 14)
        out[i, 1], out[i, 2], out[i, 3] = macd(s.macd, close[i], 12, 26, 9)
        out[i, 4] = atr(s.atr, high[i], low[i], close[i], 14)
        out[i, 5], out[i, 6], out[i, 7] = bbands(s.bands, close[i], 20, 2.0)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _limit(states, high, low, close, out):  # type: ignore[no-untyped-def]
    """State of an instrument is one row of floats: count, last, gain, loss, fast, slow, signal, range, mean, square."""
    for i in range(states.shape[0]):
        s = states[i]
        x = close[i]
        seen = s[0]
        change = x - s[1] if seen > 0.0 else 0.0
        spread = max(high[i] - low[i], max(abs(high[i] - s[1]), abs(low[i] - s[1]))) if seen > 0.0 else 0.0
        share = 1.0 / min(max(seen, 1.0), 14.0)
        s[2] += (max(change, 0.0) - s[2]) * share
        s[3] += (max(-change, 0.0) - s[3]) * share
        s[7] += (spread - s[7]) * share
        out[i, 0] = 100.0 * s[2] / (s[2] + s[3])
        s[4] = x if seen == 0.0 else s[4] + (x - s[4]) * (2.0 / 13.0)
        s[5] = x if seen == 0.0 else s[5] + (x - s[5]) * (2.0 / 27.0)
        value = s[4] - s[5]
        s[6] += (value - s[6]) * (2.0 / 10.0)
        out[i, 1] = value
        out[i, 2] = s[6]
        out[i, 3] = value - s[6]
        out[i, 4] = s[7]
        place = 10 + int(seen) % 20
        size = min(seen + 1.0, 20.0)
        past = s[place] if seen >= 20.0 else s[8]
        mean = s[8] + (x - past) / size
        s[9] += (x - past) * (x - mean + past - s[8]) if seen >= 20.0 else (x - s[8]) * (x - mean)
        s[8] = mean
        s[place] = x
        reach = 2.0 * np.sqrt(max(s[9] / size, 0.0))
        out[i, 5] = mean + reach
        out[i, 6] = mean
        out[i, 7] = mean - reach
        s[0] = seen + 1.0
        s[1] = x


def main() -> int:
    report = Report("indicators", "Streaming indicators")
    high, low, close = _bars()
    _check(high, low, close)
    contestants: dict[str, tuple[Callable[[], Any], int]] = {
        "atmand": (lambda: _streamed(_ours, np.zeros(_INSTRUMENTS, _STATE), high, low, close), _TICKS * _INSTRUMENTS),
        "limit": (lambda: _streamed(_limit, np.zeros((_INSTRUMENTS, 30)), high, low, close), _TICKS * _INSTRUMENTS),
        f"TA-Lib {metadata.version('TA-Lib')}": (lambda: _talib(high, low, close), _SLOW_TICKS),
    }
    try:
        importlib.import_module("talipp")
        contestants[f"talipp {metadata.version('talipp')}"] = (lambda: _talipp(high, low, close), _TICKS)
    except ImportError:
        print("talipp: not installed, left out", file=sys.stderr)
    spent = interleaved({who: run for who, (run, _) in contestants.items()}, _RUNS)
    nanos = {who: spent[who].cpu / ticks * 1e9 for who, (_, ticks) in contestants.items()}
    rows = []
    for who, value in nanos.items():
        report.figure(who, "four indicators a tick", value, "ns", ratio=value / nanos["atmand"])
        rows.append([who, count(value), f"{value / nanos['atmand']:,.2f}"])
    words = _DEFINITION.format(instruments=_INSTRUMENTS, ticks=f"{_TICKS:,}", window=_WINDOW)
    peers = ", ".join(f"{who} {count(value)}" for who, value in nanos.items() if who not in ("atmand", "limit"))
    target = Target(
        "4 streaming indicators a tick, inside a call, ns", peers, count(nanos["limit"]), count(nanos["atmand"]),
        f"{_AIM_NS}", nanos["atmand"] <= _AIM_NS,
    )  # fmt: skip
    report.write(words, table(["who", "ns a tick, all four", "times ours"], rows), targets=[target])
    return 0


def _bars() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(7)
    close = 1_000.0 * np.exp(np.cumsum(rng.normal(0, 0.001, (_TICKS, _INSTRUMENTS)), axis=0))
    reach = np.abs(rng.normal(0, 0.0005, (2, _TICKS, _INSTRUMENTS))) * close
    return close + reach[0], close - reach[1], close


def _streamed(
    step: Any, states: NDArray[Any], high: NDArray[Any], low: NDArray[Any], close: NDArray[Any]
) -> NDArray[Any]:
    out = np.empty((_INSTRUMENTS, 8))
    for tick in range(_TICKS):
        step(states, high[tick], low[tick], close[tick], out)
    return out


def _talib(high: NDArray[Any], low: NDArray[Any], close: NDArray[Any]) -> None:
    columns = [np.ascontiguousarray(column[:, 0]) for column in (high, low, close)]
    for end in range(_WINDOW, _WINDOW + _SLOW_TICKS):
        h, lo, c = (column[end - _WINDOW : end] for column in columns)
        stream.RSI(c, 14)
        stream.MACD(c, 12, 26, 9)
        stream.ATR(h, lo, c, 14)
        stream.BBANDS(c, 20, 2.0, 2.0)


def _talipp(high: NDArray[Any], low: NDArray[Any], close: NDArray[Any]) -> None:
    from talipp.indicators import ATR, BB, MACD, RSI  # type: ignore[import-not-found]
    from talipp.ohlcv import OHLCV  # type: ignore[import-not-found]

    strength, moving, ranges, bands = RSI(14), MACD(12, 26, 9), ATR(14), BB(20, 2)
    for h, lo, c in zip(high[:, 0].tolist(), low[:, 0].tolist(), close[:, 0].tolist(), strict=True):
        strength.add(c)
        moving.add(c)
        ranges.add(OHLCV(c, h, lo, c))
        bands.add(c)


def _check(high: NDArray[Any], low: NDArray[Any], close: NDArray[Any]) -> None:
    """Refuse to measure what does not agree."""
    h, lo, c = (np.ascontiguousarray(column[:, 0]) for column in (high, low, close))
    wanted = [talib.RSI(c, 14), *talib.MACD(c, 12, 26, 9), talib.ATR(h, lo, c, 14), *talib.BBANDS(c, 20, 2.0, 2.0)]
    last = np.array([column[-1] for column in wanted])
    for step, states in ((_ours, np.zeros(_INSTRUMENTS, _STATE)), (_limit, np.zeros((_INSTRUMENTS, 30)))):
        np.testing.assert_allclose(_streamed(step, states, high, low, close)[0], last, rtol=1e-8, atol=1e-8)


if __name__ == "__main__":
    sys.exit(main())
