"""The limit: what a hand-written kernel reaches that does the least that a strategy needs, and checks nothing.

`step` folds RSI, MACD, ATR and Bollinger's bands over one row of floats; `backtest` trades one series with it, all in,
fills at the close with a proportional cost; `sweep` trades many parameter sets over one series with RSI and MACD alone;
`Prototype` takes a WebSocket frame to a decision. No order table, no risk, no session, no books, no journal.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

__all__ = ["FEE", "SLIP", "Prototype", "backtest", "sweep"]

FEE: Final = 0.0005
SLIP: Final = 0.0002
_ROW: Final = 36


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _step(s, high, low, close, out):  # type: ignore[no-untyped-def]
    """Row: count, last, gain, loss, fast, slow, signal, range, mean, squares, place; the ring is at 16."""
    n = s[0]
    if n == 0.0:
        s[1] = s[4] = s[5] = close
    change = close - s[1]
    spread = high - low
    if n > 0.0:
        spread = max(spread, abs(high - s[1]), abs(low - s[1]))
        weight = 1.0 / n if n <= 14.0 else 1.0 / 14.0
        s[2] += ((change if change > 0.0 else 0.0) - s[2]) * weight
        s[3] += ((-change if change < 0.0 else 0.0) - s[3]) * weight
        s[7] += (spread - s[7]) * weight
    total = s[2] + s[3]
    out[0] = 100.0 * s[2] / total if total > 0.0 else 50.0
    s[4] += (close - s[4]) * (2.0 / 13.0)
    s[5] += (close - s[5]) * (2.0 / 27.0)
    line = s[4] - s[5]
    if n == 0.0:
        s[6] = line
    else:
        s[6] += (line - s[6]) * (2.0 / 10.0)
    out[1], out[2], out[3], out[4] = line, s[6], line - s[6], s[7]
    place = int(s[10])
    old = s[16 + place]
    before = s[8]
    if n >= 20.0:
        size = 20.0
        mean = before + (close - old) / 20.0
        s[9] += (close - old) * (close - mean + old - before)
    else:
        size = n + 1.0
        mean = before + (close - before) / size
        s[9] += (close - before) * (close - mean)
    s[8] = mean
    s[16 + place] = close
    s[10] = 0.0 if place == 19 else float(place + 1)
    variance = s[9] / size
    reach = 2.0 * np.sqrt(variance) if variance > 0.0 else 0.0
    out[5], out[6], out[7] = mean, mean + reach, mean - reach
    s[1] = close
    s[0] = n + 1.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _backtest(high, low, close, fee, slip, entry, leave, equity):  # type: ignore[no-untyped-def]
    s, out = np.zeros(36), np.zeros(8)
    cash, held, before = 1e6, 0.0, 0.0
    orders = 0
    for t in range(close.shape[0]):
        _step(s, high[t], low[t], close[t], out)
        histogram = out[3]
        if t >= 35:
            if held == 0.0 and before <= 0.0 and histogram > 0.0 and out[0] < entry:
                held = cash / (close[t] * (1.0 + slip) * (1.0 + fee))
                cash = 0.0
                orders += 1
            elif held > 0.0 and ((before >= 0.0 and histogram < 0.0) or out[0] > leave):
                cash = held * close[t] * (1.0 - slip) * (1.0 - fee)
                held = 0.0
                orders += 1
        before = histogram
        equity[t] = cash + held * close[t]
    return orders


def backtest(prices: NDArray[np.float64], equity: NDArray[np.float64]) -> int:
    """Trade every series of `prices`, (4, symbols, bars); return how many orders there were."""
    _, high, low, close = prices
    return sum(
        int(_backtest(high[k], low[k], close[k], FEE, SLIP, 70.0, 80.0, equity[k])) for k in range(prices.shape[1])
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _one_set(close, p, leave, entry, fast_n, slow_n, smooth_n, fee, slip):  # type: ignore[no-untyped-def]
    share, k_fast, k_slow, k_signal = 1 / p, 2 / (fast_n + 1), 2 / (slow_n + 1), 2 / (smooth_n + 1)
    gain = loss = signal = before = held = drawdown = 0.0
    fast = slow = close[0]
    cash = peak = 1e6
    for t in range(1, close.shape[0]):
        price = close[t]
        change = price - close[t - 1]
        weight = share if t > p else 1.0 / t
        gain += ((change if change > 0 else 0.0) - gain) * weight
        loss += ((-change if change < 0 else 0.0) - loss) * weight
        fast += (price - fast) * k_fast
        slow += (price - slow) * k_slow
        line = fast - slow
        signal += (line - signal) * k_signal
        histogram = line - signal
        total = gain + loss
        if t >= 50:
            if held == 0.0:
                if before <= 0.0 and histogram > 0.0 and 100.0 * gain < entry * total:
                    held = cash / (price * (1 + slip) * (1 + fee))
                    cash = 0.0
            elif (before >= 0.0 and histogram < 0.0) or 100.0 * gain > leave * total:
                cash = held * price * (1 - slip) * (1 - fee)
                held = 0.0
            equity = cash + held * price
            if equity > peak:
                peak = equity
            elif 1 - equity / peak > drawdown:
                drawdown = 1 - equity / peak
        before = histogram
    return cash + held * close[-1], drawdown


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def sweep(close, sets, fee, slip, out):  # type: ignore[no-untyped-def]
    """Trade one series once a row of `sets`; `out` gets the last equity and the worst drawdown."""
    for i in prange(sets.shape[0]):
        out[i, 0], out[i, 1] = _one_set(
            close, sets[i, 0], sets[i, 1], sets[i, 2], sets[i, 3], sets[i, 4], sets[i, 5], fee, slip
        )


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _u2(b, i):  # type: ignore[no-untyped-def]
    return (np.int64(b[i]) << 8) | np.int64(b[i + 1])


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _u4(b, i):  # type: ignore[no-untyped-def]
    return (_u2(b, i) << 16) | _u2(b, i + 2)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _on_frame(b, keys, places, bars, states, values, held, decisions, bar_s):  # type: ignore[no-untyped-def]
    """Decode, bar, indicators and decision of every full packet. Bar: bucket, open, high, low, close, volumes, time."""
    at, made = 2, 0
    mask = keys.shape[0] - 1
    for _ in range(_u2(b, 0)):
        if at + 2 > len(b) or at + 2 + _u2(b, at) > len(b):
            return -1
        size = _u2(b, at)
        at += 2
        if size != 184:
            at += size
            continue
        token = _u4(b, at)
        slot = (token * 0x9E3779B1 >> 7) & mask
        while keys[slot] != token and keys[slot] != 0:
            slot = (slot + 1) & mask
        if keys[slot] == 0:
            at += size
            continue
        k = places[slot]
        price, time_s, volume = _u4(b, at + 4) * 0.01, _u4(b, at + 60), _u4(b, at + 16)
        bid, ask = _u4(b, at + 68) * 0.01, _u4(b, at + 128) * 0.01
        bar, bucket = bars[k], time_s // bar_s
        if bar[0] != bucket:
            if bar[0] != 0:
                _step(states[k], bar[2], bar[3], bar[4], values[k])
            bar[0] = bucket
            bar[1] = bar[2] = bar[3] = price
            bar[5] = volume
        bar[2], bar[3] = max(bar[2], price), min(bar[3], price)
        bar[4], bar[6], bar[7] = price, volume, time_s
        side = _preview(states[k], values[k, 3], held[k], price)
        if side != 0:
            held[k] += side
            decisions[made, 0], decisions[made, 1], decisions[made, 2] = token, side, ask if side > 0 else bid
            made += 1
        at += size
    return made


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _preview(s, before, held, price):  # type: ignore[no-untyped-def]
    """Say what to do if the forming bar closed now."""
    if s[0] < 35.0:
        return 0
    change = price - s[1]
    gain = s[2] + ((change if change > 0 else 0.0) - s[2]) / 14.0
    loss = s[3] + ((-change if change < 0 else 0.0) - s[3]) / 14.0
    strength = 100.0 * gain / (gain + loss) if gain + loss > 0 else 50.0
    line = (s[4] + (price - s[4]) * (2.0 / 13.0)) - (s[5] + (price - s[5]) * (2.0 / 27.0))
    histogram = line - (s[6] + (line - s[6]) * 0.2)
    if held == 0 and before <= 0 and histogram > 0 and strength < 75.0:
        return 1
    if held > 0 and ((histogram < 0 and before >= 0) or strength > 80.0):
        return -1
    return 0


class Prototype:
    """One compiled call a frame, from bytes to decisions."""

    def __init__(self, tokens: NDArray[np.int64], bar_s: int = 60) -> None:
        n = len(tokens)
        size = 1 << (2 * n).bit_length()
        self._keys, self._places = np.zeros(size, np.int64), np.zeros(size, np.int64)
        for place, token in enumerate(tokens.tolist()):
            slot = (token * 0x9E3779B1 >> 7) & (size - 1)
            while self._keys[slot]:
                slot = (slot + 1) & (size - 1)
            self._keys[slot], self._places[slot] = token, place
        self._tables: tuple[NDArray[Any], ...] = (
            np.zeros((n, 8)), np.zeros((n, _ROW)), np.zeros((n, 8)), np.zeros(n), np.zeros((n, 3)),
        )  # fmt: skip
        self._bar_s = bar_s

    def __call__(self, body: bytes) -> int:
        """Return how many decisions the frame led to."""
        return int(_on_frame(body, self._keys, self._places, *self._tables, self._bar_s))
