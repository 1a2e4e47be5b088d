"""Prices and greeks of European options on a forward (Black-76), and the volatility that a price implies.

Compiled scalar functions: `core/legs.py` chooses strikes with them, the language's greeks use the same. Amounts are in
rupees, times in years, rates and volatilities a year. F. Black, The pricing of commodity contracts, Journal of
Financial Economics 3 (1976).
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

__all__ = ["YEAR_NS", "black_price", "delta", "gamma", "implied_volatility", "normal_cdf", "theta", "vega"]

YEAR_NS: Final = 365 * 86_400 * 1_000_000_000
_MOST: Final = 10.0
_STEPS: Final = 100
_ROOT_2: Final = math.sqrt(2.0)
_ROOT_2_PI: Final = math.sqrt(2.0 * math.pi)
_NAN: Final = math.nan
_INF: Final = math.inf

_kernel = njit(cache=True, error_model="numpy", forceinline=True)


@_kernel
def normal_cdf(x: float) -> float:
    """Return the standard normal distribution's share below `x`."""
    return 0.5 * math.erfc(-x / _ROOT_2)


@_kernel
def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / _ROOT_2_PI


@_kernel
def _d1(forward: float, strike: float, years: float, sigma: float) -> float:
    return math.log(forward / strike) / (sigma * math.sqrt(years)) + 0.5 * sigma * math.sqrt(years)


@_kernel
def _is_plain(forward: float, strike: float, years: float, sigma: float) -> bool:
    """Say whether the closed form holds: no expired option, no certain price, no missing or infinite number."""
    return 0.0 < forward < _INF and 0.0 < strike < _INF and 0.0 < years < _INF and 0.0 < sigma < _INF


@_kernel
def black_price(forward: float, strike: float, years: float, rate: float, sigma: float, right: int) -> float:
    """Return an option's price; `right` is +1 for a call, -1 for a put. Without time or volatility: what is inside."""
    if not _is_plain(forward, strike, years, sigma):
        inside = max(right * (forward - strike), 0.0)
        return float(inside * math.exp(-rate * max(years, 0.0)))
    d1 = _d1(forward, strike, years, sigma)
    d2 = d1 - sigma * math.sqrt(years)
    inside = forward * normal_cdf(right * d1) - strike * normal_cdf(right * d2)
    return float(math.exp(-rate * years) * right * inside)


@_kernel
def delta(forward: float, strike: float, years: float, rate: float, sigma: float, right: int) -> float:
    """Return the change of price for a rupee of the forward: 0 to 1 for a call, -1 to 0 for a put."""
    if not _is_plain(forward, strike, years, sigma):
        return _NAN
    return float(right * math.exp(-rate * years) * normal_cdf(right * _d1(forward, strike, years, sigma)))


@_kernel
def gamma(forward: float, strike: float, years: float, rate: float, sigma: float) -> float:
    """Return the change of delta for a rupee of the forward."""
    if not _is_plain(forward, strike, years, sigma):
        return _NAN
    spread = forward * sigma * math.sqrt(years)
    return float(math.exp(-rate * years) * _density(_d1(forward, strike, years, sigma)) / spread)


@_kernel
def vega(forward: float, strike: float, years: float, rate: float, sigma: float) -> float:
    """Return the change of price for volatility that is higher by one (by 0.01: a hundredth of it)."""
    if not _is_plain(forward, strike, years, sigma):
        return _NAN
    density = _density(_d1(forward, strike, years, sigma))
    return float(math.exp(-rate * years) * forward * density * math.sqrt(years))


@_kernel
def theta(forward: float, strike: float, years: float, rate: float, sigma: float, right: int) -> float:
    """Return the change of price for a year that passes, the forward unchanged (for a day: a 365th of it)."""
    if not _is_plain(forward, strike, years, sigma):
        return _NAN
    density = _density(_d1(forward, strike, years, sigma))
    decay = math.exp(-rate * years) * forward * density * sigma / (2.0 * math.sqrt(years))
    return float(rate * black_price(forward, strike, years, rate, sigma, right) - decay)


@_kernel
def implied_volatility(price: float, forward: float, strike: float, years: float, rate: float, right: int) -> float:
    """Return the volatility at which an option costs `price`, by bisection; NaN for a price that no volatility makes.

    The price rises with volatility, so halving the interval always ends; a hundred steps leave less than 1e-14.
    """
    if not (price > 0.0 and forward > 0.0 and strike > 0.0 and years > 0.0):
        return _NAN
    low, high = 0.0, _MOST
    if price < black_price(forward, strike, years, rate, low, right):
        return _NAN
    if price > black_price(forward, strike, years, rate, high, right):
        return _NAN
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if black_price(forward, strike, years, rate, middle, right) < price:
            low = middle
        else:
            high = middle
        if high - low < 1e-12:
            break
    return 0.5 * (low + high)
