"""What simulated derivatives are worth: laws of any chain, and the single-option kernels as an oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.market.option_pricing import black_price, implied_volatility
from atmand.sim.option_model import OptionModel, black, normal_cdf

MODEL = OptionModel()
_Chain = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

spots = st.floats(5_000, 10_000_000)
days = st.floats(0.05, 95)
levels = st.floats(0.06, 0.7)


def _chain(spot: float, left: float, level: float) -> _Chain:
    """Return strikes, forward, volatilities and years of a chain that reaches ten percent to each side."""
    years = np.full(41, left / 365)
    strike = spot * np.linspace(0.9, 1.1, 41)
    forward = MODEL.forward(np.full(41, spot), years)
    return strike, forward, MODEL.volatility(forward, strike, years, np.full(41, level), np.full(41, 0.13)), years


def _prices(chain: _Chain, right: int) -> np.ndarray:
    strike, forward, sigma, years = chain
    return black(forward, strike, years, MODEL.rate, sigma, np.full(len(strike), right))


@given(spots, days, levels)
def test_a_call_less_a_put_is_the_discounted_forward_less_the_strike(spot: float, left: float, level: float) -> None:
    chain = _chain(spot, left, level)
    strike, forward, _, years = chain
    parity = np.exp(-MODEL.rate * years) * (forward - strike)
    assert _prices(chain, 1) - _prices(chain, -1) == pytest.approx(parity, abs=spot * 1e-9)


@given(spots, days, levels)
def test_calls_fall_and_puts_rise_with_the_strike_and_neither_bends_inwards(
    spot: float, left: float, level: float
) -> None:
    chain = _chain(spot, left, level)
    tiny = spot * 1e-9
    for right in (1, -1):
        slope = np.diff(_prices(chain, right)) * right
        assert (slope <= tiny).all()
    assert (np.diff(_prices(chain, 1), n=2) >= -spot * 1e-5).all()


@given(spots, st.floats(1, 95), levels, st.sampled_from([1, -1]))
def test_the_smile_is_what_the_prices_imply(spot: float, left: float, level: float, right: int) -> None:
    chain = _chain(spot, left, level)
    strike, forward, sigma, years = chain
    prices = _prices(chain, right)
    for at in range(0, 41, 8):
        inside = max(right * (forward[at] - strike[at]), 0.0) * math.exp(-MODEL.rate * years[at])
        if prices[at] - inside < spot * 1e-5:  # too little left over the inside value to tell a volatility from
            continue
        implied = implied_volatility(prices[at], forward[at], strike[at], years[at], MODEL.rate, right)
        assert implied == pytest.approx(sigma[at], rel=1e-4)
        single = black_price(forward[at], strike[at], years[at], MODEL.rate, sigma[at], right)
        assert prices[at] == pytest.approx(single, rel=1e-9)


def test_an_expired_option_is_worth_what_is_inside() -> None:
    worth = black(
        np.array([100.0, 100.0]), np.array([90.0, 110.0]), np.zeros(2), 0.065, np.full(2, 0.2), np.array([1, 1])
    )
    assert worth.tolist() == [10.0, 0.0]


@given(st.floats(-36, 36))
def test_the_normal_distribution_is_the_c_librarys(x: float) -> None:
    expected = 0.5 * math.erfc(-x / math.sqrt(2))
    assert float(normal_cdf(np.array([x]))[0]) == pytest.approx(expected, rel=2e-8, abs=1e-300)


def test_volatility_rises_when_the_underlying_falls_and_puts_cost_more_than_calls() -> None:
    level, close = np.array([0.12]), np.array([100.0])
    assert MODEL.level(level, np.array([98.0]), close) > level > MODEL.level(level, np.array([102.0]), close)
    strike, _, sigma, _ = _chain(100.0, 30, 0.12)
    assert sigma[strike < 95].min() > sigma[strike > 105].max()
