"""Option prices and greeks against closed forms, parity and differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.market import option_pricing as pricing


def plain(function: Any) -> Callable[..., float]:
    """Return a kernel's Python function, compiled or not."""
    return getattr(function, "py_func", function)


PRICE, DELTA, GAMMA, VEGA, THETA, IV = (
    plain(getattr(pricing, name)) for name in ("black_price", "delta", "gamma", "vega", "theta", "implied_volatility")
)
forwards = st.floats(50.0, 50_000.0)
moneyness = st.floats(0.7, 1.4)
years = st.floats(0.01, 2.0)
rates = st.floats(0.0, 0.12)
sigmas = st.floats(0.05, 1.5)


def test_prices_are_those_of_the_literature() -> None:
    # J. Hull, Options, Futures and Other Derivatives, 11th ed., example 18.6: a put on a futures price.
    assert PRICE(60.0, 60.0, 4 / 12, 0.09, 0.25, -1) == pytest.approx(3.35, abs=0.005)
    # At the forward both rights cost e^(-rT) F (2 N(sigma sqrt(T) / 2) - 1).
    atm = 100.0 * (2.0 * plain(pricing.normal_cdf)(0.5 * 0.2) - 1.0)
    assert PRICE(100.0, 100.0, 1.0, 0.0, 0.2, 1) == pytest.approx(atm, rel=1e-14)


@settings(deadline=None)
@given(forward=forwards, money=moneyness, time=years, rate=rates, sigma=sigmas)
def test_calls_and_puts_keep_parity_and_their_implied_volatility(
    forward: float, money: float, time: float, rate: float, sigma: float
) -> None:
    strike = forward * money
    call, put = (PRICE(forward, strike, time, rate, sigma, right) for right in (1, -1))
    assert call - put == pytest.approx(math.exp(-rate * time) * (forward - strike), abs=1e-9 * forward)
    assert DELTA(forward, strike, time, rate, sigma, 1) - DELTA(
        forward, strike, time, rate, sigma, -1
    ) == pytest.approx(math.exp(-rate * time))
    for price, right in ((call, 1), (put, -1)):
        inside = PRICE(forward, strike, time, rate, 0.0, right)
        if price - inside > 1e-6 * forward:
            assert IV(price, forward, strike, time, rate, right) == pytest.approx(sigma, rel=1e-6)


@settings(deadline=None)
@given(forward=forwards, money=moneyness, time=st.floats(0.05, 2.0), rate=rates, sigma=st.floats(0.1, 1.0))
def test_greeks_are_the_slopes_of_the_price(
    forward: float, money: float, time: float, rate: float, sigma: float
) -> None:
    strike = forward * money
    step = 1e-4 * forward
    for right in (1, -1):

        def price(f: float = forward, t: float = time, s: float = sigma, right: int = right) -> float:
            return PRICE(f, strike, t, rate, s, right)

        up, down = price(forward + step), price(forward - step)
        near = dict(rel=1e-4, abs=1e-6)
        assert DELTA(forward, strike, time, rate, sigma, right) == pytest.approx((up - down) / (2 * step), **near)
        assert VEGA(forward, strike, time, rate, sigma) == pytest.approx(
            (price(s=sigma + 1e-5) - price(s=sigma - 1e-5)) / 2e-5, rel=1e-4, abs=1e-5 * forward
        )
        assert THETA(forward, strike, time, rate, sigma, right) == pytest.approx(
            -(price(t=time + 1e-5) - price(t=time - 1e-5)) / 2e-5, rel=1e-4, abs=1e-5 * forward
        )
        assert GAMMA(forward, strike, time, rate, sigma) * forward == pytest.approx(
            (up - 2 * price() + down) / (step * step) * forward, rel=1e-2, abs=1e-3
        )


@pytest.mark.parametrize(
    "arguments",
    [(0.0, 100, 100, 1, 0, 1), (120.0, 100, 100, 1, 0, 1), (5.0, 120, 100, 1, 0, 1), (5.0, 100, 100, 0, 0, 1),
     (math.nan, 100, 100, 1, 0, 1)],
)  # fmt: skip
def test_a_price_that_no_volatility_makes_has_none(arguments: tuple[float, ...]) -> None:
    assert math.isnan(IV(*arguments))


def test_an_expired_option_is_worth_what_is_inside_and_has_no_greeks() -> None:
    assert PRICE(110.0, 100.0, 0.0, 0.05, 0.2, 1) == 10.0
    assert PRICE(110.0, 100.0, 0.0, 0.05, 0.2, -1) == 0.0
    assert math.isnan(DELTA(110.0, 100.0, 0.0, 0.05, 0.2, 1))
    assert math.isnan(THETA(110.0, 100.0, 0.0, 0.05, 0.2, 1))
