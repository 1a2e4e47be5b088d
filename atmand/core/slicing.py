"""One intent as several orders: an exchange takes no order above the freeze quantity, so that a larger one is sliced.

The slices of an intent are orders of their own, each with its latency, its fills and its brokerage. They run in a chain
whose head is the pair's `entry_order`, `exit_order` or `target_order`, and leave it one by one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.jit import kernel
from atmand.core.layout import order_at

__all__ = ["MOST_SLICES", "open_units", "open_value", "orders_for", "slice_units", "whole_units", "without_slice"]

MOST_SLICES: Final = np.int64(10)
"""More orders than these at once are not made of one intent: kite.trade/docs/connect/v3/orders, "autoslice"."""


@kernel
def slice_units(instrument):  # type: ignore[no-untyped-def]
    """Return the most units of one order: whole lots within the freeze quantity; 0 where there is none."""
    if instrument.freeze <= 0:
        return np.int64(0)
    return instrument.freeze // instrument.lot * instrument.lot


@kernel
def orders_for(instrument, quantity):  # type: ignore[no-untyped-def]
    """Return how many orders an intent of so many units becomes, at least one."""
    most = slice_units(instrument)
    if most <= 0 or quantity <= most:
        return np.int64(1)
    return (quantity + most - 1) // most


@kernel
def without_slice(t, head, slot):  # type: ignore[no-untyped-def]
    """Take an order out of the chain that begins at `head`; return the chain's head."""
    if head == slot:
        return order_at(t, slot).next_slice
    at = head
    while at >= 0:
        if order_at(t, at).next_slice == slot:
            order_at(t, at).next_slice = order_at(t, slot).next_slice
            break
        at = order_at(t, at).next_slice
    return head


@kernel
def whole_units(t, head):  # type: ignore[no-untyped-def]
    """Return the units of all orders of a chain, filled or not."""
    units = np.int64(0)
    slot = head
    while slot >= 0:
        units += order_at(t, slot).quantity
        slot = order_at(t, slot).next_slice
    return units


@kernel
def open_units(t, head):  # type: ignore[no-untyped-def]
    """Return the units of a chain's orders that have not been filled."""
    units = np.int64(0)
    slot = head
    while slot >= 0:
        o = order_at(t, slot)
        units += o.quantity - o.filled
        slot = o.next_slice
    return units


@kernel
def open_value(t, head):  # type: ignore[no-untyped-def]
    """Return what the orders of a chain may still come to: their open units at their limits."""
    value = np.int64(0)
    slot = head
    while slot >= 0:
        o = order_at(t, slot)
        value += (o.quantity - o.filled) * o.limit
        slot = o.next_slice
    return value
