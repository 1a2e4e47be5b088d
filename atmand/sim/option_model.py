"""What simulated derivatives are worth: a forward with carry, a volatility with term and smile, Black-76 on them.

All in arrays, because a step prices a whole chain at once; `market/option_pricing.py` has the same formula for single
options, and a test holds the two together. Prices are paise, times years, rates and volatilities a year.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["OptionModel", "black", "normal_cdf"]

_Floats = NDArray[np.float64]
_SHORTEST: Final = 60.0 / (365 * 86_400)
"""An option's last minute is not made shorter, so that nothing is divided by nothing."""

_WIDEST: Final = 6.0
"""Standard deviations at which the smile is flat."""

_MEAN_REVERSION: Final = 4.0
"""How fast volatility returns to its long-run level, a year."""


class OptionModel(BaseModel):
    """How the simulated derivatives market prices: all of it is made, none of it measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(0.065, ge=0, le=0.5)
    """Interest a year: what premiums are discounted with, and what carries a spot to its forward."""
    dividend_yield: float = Field(0.012, ge=0, le=0.5)
    """Dividends a year, which take from the carry."""
    premium: float = Field(1.1, gt=0, le=5)
    """Implied volatility over realised."""
    skew: float = Field(-0.08, ge=-0.2, le=0.2)
    """Change of volatility for one standard deviation of the strike above the forward, as a share of it."""
    smile: float = Field(0.02, ge=0, le=0.05)
    """Curvature, for one standard deviation squared."""
    leverage: float = Field(3.0, ge=0, le=20)
    """How many percent volatility rises within the day when the underlying falls by one."""

    def forward(self, spot: _Floats, years: _Floats) -> _Floats:
        """Return what a spot is worth `years` ahead."""
        forward: _Floats = spot * np.exp((self.rate - self.dividend_yield) * years)
        return forward

    def level(self, morning: _Floats, spot: _Floats, close_before: _Floats) -> _Floats:
        """Return the volatility at the money: the morning's, moved against the underlying since the last close."""
        level: _Floats = morning * np.exp(np.clip(-self.leverage * np.log(spot / close_before), -0.7, 0.7))
        return level

    def volatility(
        self, forward: _Floats, strike: _Floats, years: _Floats, level: _Floats, long_run: _Floats
    ) -> _Floats:
        """Return the implied volatility of a strike: the level's term structure, then skew and smile round it.

        The variance's term is the mean over the option's life of one that returns to `long_run`. The smile is a
        parabola in standard deviations of the strike from the forward, which flattens far away.
        """
        years = np.maximum(years, _SHORTEST)
        fading = -np.expm1(-_MEAN_REVERSION * years) / (_MEAN_REVERSION * years)
        middle = np.sqrt(long_run * long_run + (level * level - long_run * long_run) * fading)
        away = self.deviations(forward, strike, years, middle)
        away = away / np.sqrt(1.0 + (away / _WIDEST) * (away / _WIDEST))
        volatility: _Floats = middle * (1.0 + self.skew * away + self.smile * away * away)
        return volatility

    def deviations(self, forward: _Floats, strike: _Floats, years: _Floats, volatility: _Floats) -> _Floats:
        """Return how many standard deviations a strike is above its forward."""
        spread = volatility * np.sqrt(np.maximum(years, _SHORTEST))
        deviations: _Floats = np.log(strike / forward) / spread
        return deviations


def black(
    forward: _Floats, strike: _Floats, years: _Floats, rate: float, sigma: _Floats, right: NDArray[np.int64]
) -> _Floats:
    """Return Black-76 prices; `right` is +1 for calls, -1 for puts. An expired option is worth what is inside."""
    spread = sigma * np.sqrt(np.maximum(years, 1e-12))
    d1 = np.log(forward / strike) / spread + 0.5 * spread
    inside = forward * normal_cdf(right * d1) - strike * normal_cdf(right * (d1 - spread))
    alive = np.exp(-rate * years) * right * inside
    price: _Floats = np.where(years > 0.0, np.maximum(alive, 0.0), np.maximum(right * (forward - strike), 0.0))
    return price


def normal_cdf(x: _Floats) -> _Floats:
    """Return the standard normal distribution's share below x, to 1e-14 or so.

    Source: J. Hart's rational approximation in double precision, as given by G. West, Better approximations to
    cumulative normal functions, Wilmott magazine 2005.
    """
    size = np.abs(x)
    near = np.minimum(size, _SPLIT)
    tail = np.exp(-0.5 * near * near) * _polynomial(_UPPER, near) / _polynomial(_LOWER, near)
    far = np.maximum(size, _SPLIT)
    fraction = far + 0.65
    for term in (4.0, 3.0, 2.0, 1.0):
        fraction = far + term / fraction
    beyond = np.where(size < 38.0, np.exp(-0.5 * np.minimum(far, 38.0) * np.minimum(far, 38.0)), 0.0)
    below = np.where(size < _SPLIT, tail, beyond / (fraction * 2.506628274631))
    share: _Floats = np.where(x > 0.0, 1.0 - below, below)
    return share


def _polynomial(coefficients: tuple[float, ...], x: _Floats) -> _Floats:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


_SPLIT: Final = 7.07106781186547
_UPPER: Final = (
    3.52624965998911e-02, 0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931,
    220.206867912376,
)  # fmt: skip
_LOWER: Final = (
    8.83883476483184e-02, 1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831,
    793.826512519948, 440.413735824752,
)  # fmt: skip
