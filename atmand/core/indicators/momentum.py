"""Oscillators of one series: how fast it moves, and which way."""

from __future__ import annotations

import math
from typing import Final

from atmand.core.indicators.overlap import ema, sma
from atmand.core.indicators.registry import NAN, Indicator, State, fields, missing, scalars
from atmand.core.indicators.windows import average, delay, delayed, extremes, highest_of, is_tie, lowest_of, window
from atmand.core.jit import kernel

__all__ = [
    "ROWS", "apo", "cmo", "macd", "macdfix", "mom", "ppo", "roc", "rocp", "rocr", "rocr100", "rsi", "stoch", "stochf",
    "stochrsi", "trix", "willr",
]  # fmt: skip


@kernel
def _gain_and_loss(s, x, period):  # type: ignore[no-untyped-def]
    """Fold a change into Wilder's averages of gains and losses; say whether they have values."""
    s.count += 1
    if s.count == 1:
        s.last = x
        return False
    change = x - s.last
    s.last = x
    gain = change if change > 0.0 else 0.0
    loss = -change if change < 0.0 else 0.0
    if s.count > period + 1:
        s.gain += (gain - s.gain) * s.share
        s.loss += (loss - s.loss) * s.share
        return True
    s.gain += gain
    s.loss += loss
    if s.count <= period:
        return False
    s.gain /= period
    s.loss /= period
    s.share = 1.0 / period  # a division less a bar; a look-back never changes without folding again
    return True


@kernel
def rsi(s, x, period):  # type: ignore[no-untyped-def]
    """Relative strength index after Wilder, seeded with the simple averages of the first `period` changes."""
    if missing(x) or not _gain_and_loss(s, x, period):
        return NAN
    total = s.gain + s.loss
    return 0.0 if total == 0.0 else 100.0 * (s.gain / total)


@kernel
def cmo(s, x, period):  # type: ignore[no-untyped-def]
    """Chande's momentum oscillator, on Wilder's averages as TA-Lib has it."""
    if missing(x) or not _gain_and_loss(s, x, period):
        return NAN
    total = s.gain + s.loss
    return 0.0 if total == 0.0 else 100.0 * ((s.gain - s.loss) / total)


@kernel
def _macd(s, x, fast, slow, signal):  # type: ignore[no-untyped-def]
    """Fold the signal's average of the difference; the shares are those of the state, given with the slow seed.

    Both averages begin at the slow one's first value: the fast one is seeded with the last `fast` of those bars.
    """
    if missing(x):
        return NAN, NAN, NAN
    s.count += 1
    if s.count <= slow:
        s.slow += x
        if s.count > slow - fast:
            s.fast += x
        if s.count < slow:
            return NAN, NAN, NAN
        s.slow /= slow
        s.fast /= fast
        s.signal_share = 2.0 / (signal + 1.0)
    else:
        s.fast += (x - s.fast) * s.fast_share
        s.slow += (x - s.slow) * s.slow_share
    value = s.fast - s.slow
    seen = s.count - slow + 1
    if seen < signal:
        s.signal += value
        return NAN, NAN, NAN
    if seen == signal:
        s.signal = (s.signal + value) / signal
    else:
        s.signal += (value - s.signal) * s.signal_share
    return value, s.signal, value - s.signal


@kernel
def macd(s, x, fast, slow, signal):  # type: ignore[no-untyped-def]
    """Moving average convergence divergence: (macd, signal, hist), all three from the signal's first value on."""
    if slow < fast:
        fast, slow = slow, fast
    if s.count == 0:
        s.fast_share = 2.0 / (fast + 1.0)
        s.slow_share = 2.0 / (slow + 1.0)
    return _macd(s, x, fast, slow, signal)


@kernel
def macdfix(s, x, signal):  # type: ignore[no-untyped-def]
    """Moving average convergence divergence with the shares of its inventor: 0.15 and 0.075."""
    if s.count == 0:
        s.fast_share = 0.15
        s.slow_share = 0.075
    return _macd(s, x, 12, 26, signal)


@kernel
def _fast_k(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Where the close lies between the window's lowest low and highest high, in percent; NaN while it is short."""
    top, _ = highest_of(s.high, high, period)
    bottom, _ = lowest_of(s.low, low, period)
    if s.high.count < period:
        return NAN
    return 0.0 if is_tie(top, bottom) else (close - bottom) / ((top - bottom) / 100.0)


@kernel
def stochf(s, high, low, close, k_period, d_period):  # type: ignore[no-untyped-def]
    """Fast stochastic: (k, d), both from the first d on."""
    if missing(high + low + close):
        return NAN, NAN
    k = _fast_k(s, high, low, close, k_period)
    d = sma(s.d, k, d_period)
    return (NAN, NAN) if math.isnan(d) else (k, d)


@kernel
def stoch(s, high, low, close, fast, k_period, d_period):  # type: ignore[no-untyped-def]
    """Slow stochastic: (k, d), both from the first d on."""
    if missing(high + low + close):
        return NAN, NAN
    k = sma(s.k, _fast_k(s, high, low, close, fast), k_period)
    d = sma(s.d, k, d_period)
    return (NAN, NAN) if math.isnan(d) else (k, d)


@kernel
def stochrsi(s, x, period, k_period, d_period):  # type: ignore[no-untyped-def]
    """Fast stochastic of the relative strength index."""
    value = rsi(s.rsi, x, period)
    return stochf(s.stoch, value, value, value, k_period, d_period)


@kernel
def willr(s, high, low, close, period):  # type: ignore[no-untyped-def]
    """Williams' percent range: 0 at the window's high, -100 at its low."""
    if missing(high + low + close):
        return NAN
    top, _ = highest_of(s.high, high, period)
    bottom, _ = lowest_of(s.low, low, period)
    if s.high.count < period:
        return NAN
    return 0.0 if is_tie(top, bottom) else (top - close) / ((top - bottom) / -100.0)


@kernel
def mom(s, x, period):  # type: ignore[no-untyped-def]
    """The change over `period` bars."""
    return NAN if missing(x) else x - delayed(s, x, period)


@kernel
def rocr(s, x, period):  # type: ignore[no-untyped-def]
    """This value by the one `period` bars ago."""
    if missing(x):
        return NAN
    before = delayed(s, x, period)
    return x / before if before != 0.0 else 0.0


@kernel
def rocr100(s, x, period):  # type: ignore[no-untyped-def]
    """This value in percent of the one `period` bars ago."""
    return rocr(s, x, period) * 100.0


@kernel
def rocp(s, x, period):  # type: ignore[no-untyped-def]
    """The change over `period` bars as a share."""
    if missing(x):
        return NAN
    before = delayed(s, x, period)
    return (x - before) / before if before != 0.0 else 0.0


@kernel
def roc(s, x, period):  # type: ignore[no-untyped-def]
    """The change over `period` bars in percent."""
    if missing(x):
        return NAN
    before = delayed(s, x, period)
    return (x / before - 1.0) * 100.0 if before != 0.0 else 0.0


@kernel
def trix(s, x, period):  # type: ignore[no-untyped-def]
    """The change of a threefold exponential average in percent."""
    value = ema(s.third, ema(s.second, ema(s.first, x, period), period), period)
    if math.isnan(value):
        return NAN
    last = s.last
    s.last = value
    s.count += 1
    if s.count == 1:
        return NAN
    return (value / last - 1.0) * 100.0 if last != 0.0 else 0.0


@kernel
def _long_and_short(s, x, fast, slow):  # type: ignore[no-untyped-def]
    """Return (the shorter exponential average, the longer one), each seeded with its own first values."""
    first = ema(s.first, x, fast)
    second = ema(s.second, x, slow)
    if math.isnan(first + second):
        return NAN, NAN
    return (first, second) if fast < slow else (second, first)


@kernel
def apo(s, x, fast, slow):  # type: ignore[no-untyped-def]
    """The shorter exponential average less the longer one."""
    first, second = _long_and_short(s, x, fast, slow)
    return first - second


@kernel
def ppo(s, x, fast, slow):  # type: ignore[no-untyped-def]
    """The shorter exponential average beside the longer one, in percent."""
    first, second = _long_and_short(s, x, fast, slow)
    return 0.0 if second == 0.0 else (first - second) / second * 100.0


def _averages(*_: int) -> State:
    return fields(first=average(), second=average())


def _strength(*_: int) -> State:
    return fields(count="i8", last="f8", gain="f8", loss="f8", share="f8")


def _stochastic(fast: int, **averages: int) -> State:
    return fields(high=extremes(fast), low=extremes(fast), **{name: window(top) for name, top in averages.items()})


_AVERAGES: Final = scalars("fast", "slow", "signal", "fast_share", "slow_share", "signal_share")
_SOURCE: Final = ("source",)
_PRICES: Final = ("high", "low", "close")
_TEN: Final = (("period", 10, 1),)
_KD: Final = (("k_period", 5, 1), ("d_period", 3, 1))
_PAIR: Final = (("fast", 12, 2), ("slow", 26, 2))

ROWS: Final = (
    Indicator(
        "rsi", _SOURCE, (("period", 14, 2),), (), _strength, lambda p: p, True, "relative strength index, 0 to 100",
        units=("percent",),
    ),
    Indicator(
        "cmo", _SOURCE, (("period", 14, 2),), (), _strength, lambda p: p, True,
        "Chande's momentum oscillator, -100 to 100", units=("percent",),
    ),
    Indicator(
        "macd", _SOURCE, (*_PAIR, ("signal", 9, 1)), ("macd", "signal", "hist"), _AVERAGES,
        lambda f, s, g: max(f, s) + g - 2, True, "moving average convergence divergence", units=("source",),
    ),
    Indicator(
        "macdfix", _SOURCE, (("signal", 9, 1),), ("macd", "signal", "hist"), _AVERAGES,
        lambda g: 24 + g, True, "the same with shares of 0.15 and 0.075", units=("source",), memory=1_000,
    ),
    Indicator(
        "stoch", _PRICES, (("fast", 14, 1), ("k_period", 3, 1), ("d_period", 3, 1)), ("k", "d"),
        lambda f, k, d: _stochastic(f, k=k, d=d), lambda f, k, d: f + k + d - 3, False, "slow stochastic, 0 to 100",
        units=("percent",),
    ),
    Indicator(
        "stochf", _PRICES, _KD, ("k", "d"), lambda k, d: _stochastic(k, d=d), lambda k, d: k + d - 2, False,
        "fast stochastic, 0 to 100", units=("percent",),
    ),
    Indicator(
        "stochrsi", _SOURCE, (("period", 14, 2), *_KD), ("k", "d"),
        lambda p, k, d: fields(rsi=_strength(), stoch=_stochastic(k, d=d)), lambda p, k, d: p + k + d - 2, True,
        "fast stochastic of the relative strength index", units=("percent",),
    ),
    Indicator(
        "willr", _PRICES, (("period", 14, 2),), (), _stochastic, lambda p: p - 1, False,
        "Williams' percent range, -100 to 0", units=("percent",),
    ),
    Indicator(
        "mom", _SOURCE, _TEN, (), delay, lambda p: p, False, "change over the period", units=("source",)
    ),
    Indicator(
        "roc", _SOURCE, _TEN, (), delay, lambda p: p, False, "change over the period in percent", units=("percent",)
    ),
    Indicator(
        "rocp", _SOURCE, _TEN, (), delay, lambda p: p, False, "change over the period as a share", units=("ratio",)
    ),
    Indicator(
        "rocr", _SOURCE, _TEN, (), delay, lambda p: p, False, "this value by the one a period ago", units=("ratio",)
    ),
    Indicator(
        "rocr100", _SOURCE, _TEN, (), delay, lambda p: p, False, "this value in percent of the one a period ago",
        units=("percent",),
    ),
    Indicator(
        "trix", _SOURCE, (("period", 30, 1),), (),
        lambda p: fields(count="i8", last="f8", first=average(), second=average(), third=average()),
        lambda p: 3 * (p - 1) + 1, True, "change of a threefold exponential average in percent", units=("percent",),
    ),
    Indicator(
        "apo", _SOURCE, _PAIR, (), _averages, lambda f, s: max(f, s) - 1, True,
        "difference of two exponential averages", units=("source",),
    ),
    Indicator(
        "ppo", _SOURCE, _PAIR, (), _averages, lambda f, s: max(f, s) - 1, True,
        "difference of two exponential averages in percent", units=("percent",),
    ),
)  # fmt: skip
