"""The tightest limit of a back-test: the same strategy written by hand as one loop over floats in registers.

RSI(14) and MACD(12, 26, 9), long or flat, all in, a proportional cost, fills at the close: no order, no depth, no risk,
no tick, no session, no audit. It says what the processor could do, not what a trader could use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["limit_over"]


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _limit(  # type: ignore[no-untyped-def]
    close, fee, slip, entry, leave, equity
):
    """Trade one series of closes; write the equity after each bar, return how many orders there were."""
    gain = loss = signal = before = 0.0
    fast = slow = close[0]
    cash, held = 1e6, 0.0
    orders = 0
    for t in range(close.shape[0]):
        price = close[t]
        change = price - close[t - 1] if t > 0 else 0.0
        weight = 1.0 / min(max(t, 1), 14)
        gain += (max(change, 0.0) - gain) * weight
        loss += (max(-change, 0.0) - loss) * weight
        rsi = 100.0 * gain / (gain + loss) if gain + loss > 0.0 else 50.0
        fast += (price - fast) * (2.0 / 13.0)
        slow += (price - slow) * (2.0 / 27.0)
        line = fast - slow
        signal += (line - signal) * (2.0 / 10.0)
        histogram = line - signal
        if t >= 35:
            if held == 0.0 and before <= 0.0 < histogram and rsi < entry:
                held = cash / (price * (1.0 + slip) * (1.0 + fee))
                cash = 0.0
                orders += 1
            elif held > 0.0 and (before >= 0.0 > histogram or rsi > leave):
                cash = held * price * (1.0 - slip) * (1.0 - fee)
                held = 0.0
                orders += 1
        before = histogram
        equity[t] = cash + held * price
    return orders


def limit_over(closes: list[NDArray[np.float64]], equity: NDArray[Any]) -> int:
    """Trade several series, one after the other."""
    return sum(int(_limit(close, 0.0005, 0.0002, 70.0, 80.0, equity)) for close in closes)
