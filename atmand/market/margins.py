"""What a portfolio of futures and options blocks as margin: SPAN's sixteen scenarios over one underlying and expiry.

The clearing corporations' own figures come out of risk files that they publish several times a day; this model follows
the published method on the market's own prices. What it leaves out, and how far off it is, is told in
`docs/margins.md`. Sources: nseclearing.in, SPAN risk parameters (scan ranges), margins of equity derivatives (the
method); row by row `data/margins.toml`.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from atmand.errors import AtmandError
from atmand.market.option_pricing import black_price
from atmand.market.tables import load_table

__all__ = ["MARGINS", "MARGIN_KINDS", "ON_INDEX", "ON_SHARE", "SCAN", "MarginError", "add_scan", "clear_scan"]
__all__ += ["margin_rows", "worst_loss"]

_RULES: Final = ("price", "volatility", "least_volatility", "exposure", "last_day")
MARGINS: Final = np.dtype([(name, "f8") for name in _RULES])
"""A day's rules of one kind of underlying, as fractions of one."""

SCAN: Final = np.dtype([("gain", "f8", (16,))])
"""What a portfolio gains in each scenario, in rupees."""

ON_INDEX: Final = 0
ON_SHARE: Final = 1

MARGIN_KINDS: Final = ("index", "share")
_SCENARIOS: Final = 14
_THIRDS: Final = (0.0, 0.0, 1.0, 1.0, -1.0, -1.0, 2.0, 2.0, -2.0, -2.0, 3.0, 3.0, -3.0, -3.0)
"""Moves of the price in thirds of its scan range, once with the volatility up and once with it down."""
_EXTREME: Final = 2.0
_COVERED: Final = 0.35
"""Two scenarios move the price twice its range, of which a part of the loss is asked for."""


class MarginError(AtmandError):
    """The table does not say what a day's margins are."""


def margin_rows(day: date) -> NDArray[np.void]:
    """Return a day's rules: a MARGINS row for indices, then one for shares. MarginError before the table begins."""
    rows = np.zeros(len(MARGIN_KINDS), MARGINS)
    for place, kind in enumerate(MARGIN_KINDS):
        dated = sorted((row for row in _TABLE if row["on"] == kind), key=lambda row: row["from"])
        at = bisect_right(dated, day, key=lambda row: row["from"])
        if at == 0:
            raise MarginError(
                f"margins of {day}",
                f"the table of margins begins on {dated[0]['from']}",
                "take a later day's: --costs-as-of DATE",
            )
        row = dated[at - 1]
        rows[place] = tuple(
            row[name] / 100
            for name in ("price_scan", "volatility_scan", "least_volatility_scan", "exposure", "last_day")
        )
    return rows


@njit(cache=True, error_model="numpy")
def clear_scan(scan: Any) -> None:
    """Begin a portfolio."""
    for place in range(16):
        scan.gain[place] = 0.0


@njit(cache=True, error_model="numpy")
def add_scan(
    scan: Any,
    rules: Any,
    units: int,
    forward: float,
    strike: float,
    years: float,
    rate: float,
    sigma: float,
    right: int,
) -> None:
    """Add what `units` (sold: below zero) of a contract gain in each scenario; `right` is 0 for a future.

    An option whose price no volatility makes is taken for certain: `sigma` NaN counts as 0.
    """
    sigma = sigma if sigma > 0.0 else 0.0
    shift = max(rules.volatility * sigma, rules.least_volatility)
    now = black_price(forward, strike, years, rate, sigma, right) if right != 0 else forward
    for place in range(_SCENARIOS):
        moved = forward * (1.0 + rules.price * _THIRDS[place] / 3.0)
        then = moved
        if right != 0:
            swung = max(sigma + (shift if place % 2 == 0 else -shift), 0.0)
            then = black_price(moved, strike, years, rate, swung, right)
        scan.gain[place] += units * (then - now)
    for place in range(2):
        moved = forward * (1.0 + rules.price * (_EXTREME if place == 0 else -_EXTREME))
        then = black_price(moved, strike, years, rate, sigma, right) if right != 0 else moved
        scan.gain[_SCENARIOS + place] += units * (then - now) * _COVERED


@njit(cache=True, error_model="numpy")
def worst_loss(scan: Any) -> float:
    """Return the largest loss of all scenarios in rupees, 0 where none loses."""
    worst = 0.0
    for place in range(16):
        worst = max(worst, -scan.gain[place])
    return worst


_TABLE: Final[list[dict[str, Any]]] = load_table("margins")["margins"]
