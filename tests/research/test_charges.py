"""What a run's costs were paid for adds up to what the core charged its fills."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from atmand.core.records import AUDIT
from atmand.market.costs import NSE_DELIVERY, NSE_INTRADAY, cost_rows, order_costs, same_day_costs
from atmand.market.sessions import ns
from atmand.research.charges import costs_by_kind

DAY = date(2026, 7, 6)
DELIVERY, INTRADAY = cost_rows(DAY)[NSE_DELIVERY], cost_rows(DAY)[NSE_INTRADAY]


def fills(*trades: tuple[int, int, int]) -> Any:
    """Make audit rows of (side, quantity, price): each an order of its own."""
    rows = np.zeros(len(trades), AUDIT)
    for place, (side, quantity, price) in enumerate(trades):
        rows[place]["time_ns"], rows[place]["order"], rows[place]["side"] = ns(DAY, "10:00"), place + 1, side
        rows[place]["quantity"], rows[place]["value"] = quantity, quantity * price
    return rows


@pytest.mark.parametrize(
    ("product", "sold", "dp"), [("MIS", 4, 0), ("CNC", 4, 0), ("CNC", 10, 0), ("CNC", 12, 1_534), ("CNC", 0, 0)]
)
def test_kinds_add_up_to_what_was_charged(product: str, sold: int, dp: int) -> None:
    trades = [(1, 10, 100_000), (-1, sold, 101_000)][: 1 + (sold > 0)]
    row = DELIVERY if product == "CNC" else INTRADAY
    charged = dp + sum(order_costs(row, side, quantity * price) for side, quantity, price in trades)
    if product == "CNC":
        charged += same_day_costs(INTRADAY, DELIVERY, 10, 1_000_000, sold, sold * 101_000)
    kinds = costs_by_kind(fills(*trades), [product], ["NSE"], None)

    assert kinds["dp"] == dp
    assert abs(sum(kinds.values()) - charged) <= 5
    assert sold != 10 or kinds["stt"] == 252


def test_kinds_are_of_the_plan_that_was_asked_for() -> None:
    kinds = [costs_by_kind(fills((1, 10, 100_000)), ["MIS"], ["NSE"], None, plan) for plan in ("free", "flat_20")]

    assert [found["brokerage"] for found in kinds] == [0, 2_000]
    assert kinds[0]["stamp"] == kinds[1]["stamp"] == 30
