"""How a one-minute bar is drawn out as ticks: one definition for the exchange simulator and for the batch driver.

A bar has no path, so one is stated: open, then the far extreme first, then close, at fixed seconds of the minute, with
a five-level book one tick apart round every step. Integers only, so that every driver draws the same path.
"""

from __future__ import annotations

from typing import Final

from numba import njit

__all__ = ["STEPS", "STEP_SECONDS", "level_price", "level_quantity", "step_price", "step_volume"]

STEP_SECONDS: Final = (5, 20, 40, 55)
"""Second of the minute at which each step happens."""

STEPS: Final = 4


@njit(cache=True, error_model="numpy", forceinline=True)
def step_price(step: int, open_price: int, high: int, low: int, close: int) -> int:
    """Return the last price of step 0..3, in the bar's own units.

    The path is open, low, high, close for a bar that did not fall, and open, high, low, close for one that fell.
    """
    if step == 0:
        return open_price
    if step == 3:
        return close
    if (close >= open_price) == (step == 1):
        return low
    return high


@njit(cache=True, error_model="numpy", forceinline=True)
def step_volume(step: int, volume: int) -> int:
    """Return the bar's volume traded up to and with step 0..3: equal quarters, the remainder in the last."""
    if step == 3:
        return volume
    return volume // 4 * (step + 1)


@njit(cache=True, error_model="numpy", forceinline=True)
def level_price(price: int, side: int, level: int, tick: int) -> int:
    """Return the price of level 0..4 round a step's price: bids (`side` +1) below it, asks (`side` -1) above it."""
    return price - side * (level + 1) * tick


@njit(cache=True, error_model="numpy", forceinline=True)
def level_quantity(volume: int) -> int:
    """Return the quantity that rests at every level: a twentieth of the minute's volume, at least one."""
    return max(1, volume // 20)
