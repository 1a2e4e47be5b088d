"""Margins of futures and options: published examples, the method's own cases, and laws of portfolios."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.core.jit import kernel_rows
from atmand.market.margins import (
    ON_INDEX,
    ON_SHARE,
    SCAN,
    MarginError,
    add_scan,
    clear_scan,
    margin_rows,
    worst_loss,
)
from atmand.market.option_pricing import black_price

DAY = date(2026, 7, 6)
RATE = 0.065
Contract = tuple[int, float, int]
"""Units, strike and right (0: a future)."""


def scanned(portfolio: Sequence[Contract], forward: float, days: float, sigma: float, kind: int = ON_INDEX) -> Any:
    scan = kernel_rows(np.zeros(1, SCAN))[0]
    clear_scan(scan)
    for units, strike, right in portfolio:
        rules = kernel_rows(margin_rows(DAY))[kind]
        add_scan(scan, rules, units, forward, strike, days / 365, RATE, sigma, right)
    return scan


def needed(portfolio: Sequence[Contract], forward: float, days: float, sigma: float, kind: int = ON_INDEX) -> float:
    """Return the scenarios' worst less what the options are worth, without the exposure."""
    worth = sum(u * black_price(forward, k, days / 365, RATE, sigma, r) for u, k, r in portfolio if r)
    return max(worst_loss(scanned(portfolio, forward, days, sigma, kind)) - worth, 0.0)


@pytest.mark.parametrize(
    ("day", "kind", "rules"),
    [
        (date(2020, 6, 1), ON_INDEX, (0.093, 0.25, 0.04, 0.02, 0.0)),
        (date(2024, 11, 19), ON_INDEX, (0.093, 0.25, 0.04, 0.02, 0.0)),
        (date(2024, 11, 20), ON_INDEX, (0.093, 0.25, 0.04, 0.02, 0.02)),
        (date(2024, 11, 20), ON_SHARE, (0.142, 0.25, 0.1, 0.035, 0.0)),
    ],
)
def test_the_rules_are_those_of_the_day(day: date, kind: int, rules: tuple[float, ...]) -> None:
    assert margin_rows(day)[kind].tolist() == pytest.approx(rules)


def test_before_the_table_begins_there_is_no_margin() -> None:
    with pytest.raises(MarginError, match=r"margins of 2020-05-31: the table of margins begins on 2020-06-01"):
        margin_rows(date(2020, 5, 31))


@pytest.mark.parametrize(("kind", "share"), [(ON_INDEX, 0.093), (ON_SHARE, 0.142)])
def test_a_future_needs_its_scan_range_either_way(kind: int, share: float) -> None:
    for units in (65, -65):
        assert needed([(units, 0.0, 0)], 24_000.0, 20, 0.0, kind) == pytest.approx(65 * 24_000 * share)


def test_a_long_condor_needs_its_exposure_alone() -> None:
    """algotest.in/forum/d/848: BANKNIFTY at 51,365.70 on an expiry day, 15 units of each leg, 31,522 rupees.

    The forum's legs are bought nearer to the money than sold, so that nothing can be lost but the premium; what is
    blocked is two per cent of the two sold legs. Ours is within three per cent of it.
    """
    legs: list[Contract] = [(15, 51_500, 1), (-15, 51_700, 1), (15, 51_100, -1), (-15, 50_900, -1)]
    premium = 15 * (32.0 + 15.05 - 14.3 - 7.35)
    exposure = 2 * 15 * 51_365.7 * 0.02
    ours = needed(legs, 51_365.7, 0.2, 0.10) + exposure + premium
    assert ours == pytest.approx(31_522, rel=0.03)


def test_a_sold_option_needs_less_than_the_future_and_more_the_nearer_it_is() -> None:
    calls = [needed([(-65, strike, 1)], 24_000.0, 7, 0.13) for strike in (24_000.0, 24_600.0, 25_200.0)]
    future = needed([(-65, 0.0, 0)], 24_000.0, 7, 0.13)
    assert 0 < calls[2] < calls[1] < calls[0]
    assert calls[0] == pytest.approx(future, rel=0.1)


def test_a_spread_needs_no_more_than_its_width() -> None:
    spread: list[Contract] = [(-65, 24_200, 1), (65, 24_400, 1)]
    assert needed(spread, 24_000.0, 7, 0.13) <= 65 * 200
    assert needed(spread, 24_000.0, 7, 0.13) < needed(spread[:1], 24_000.0, 7, 0.13) / 5


def test_what_was_bought_alone_needs_nothing_more() -> None:
    for right in (1, -1):
        assert needed([(65, 24_100.0, right)], 24_000.0, 7, 0.13) == 0.0


def test_an_option_without_a_volatility_is_scanned_from_what_is_inside() -> None:
    scan = scanned([(-1, 24_000.0, 1)], 24_000.0, 7, float("nan"))
    assert np.isfinite(scan["gain"]).all() and worst_loss(scan) > 0.0


CONTRACTS = st.tuples(
    st.integers(-5, 5), st.sampled_from([23_000.0, 23_800.0, 24_000.0, 24_300.0, 25_000.0]), st.sampled_from([0, 1, -1])
)


@given(st.lists(CONTRACTS, max_size=4), st.lists(CONTRACTS, max_size=4), st.floats(0.1, 60.0), st.floats(0.05, 0.8))
def test_two_portfolios_together_lose_no_more_than_each_alone(
    one: list[Contract], other: list[Contract], days: float, sigma: float
) -> None:
    together = worst_loss(scanned([*one, *other], 24_000.0, days, sigma))
    apart = worst_loss(scanned(one, 24_000.0, days, sigma)) + worst_loss(scanned(other, 24_000.0, days, sigma))
    assert 0.0 <= together <= apart + 1e-6


@given(st.lists(CONTRACTS, max_size=4), st.integers(1, 20), st.floats(0.1, 60.0), st.floats(0.05, 0.8))
def test_a_portfolio_many_times_over_loses_as_many_times(
    portfolio: list[Contract], times: int, days: float, sigma: float
) -> None:
    one = worst_loss(scanned(portfolio, 24_000.0, days, sigma))
    many = worst_loss(scanned([(times * u, k, r) for u, k, r in portfolio], 24_000.0, days, sigma))
    assert many == pytest.approx(times * one, rel=1e-9, abs=1e-6)
