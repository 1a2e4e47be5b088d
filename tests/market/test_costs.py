"""Costs against worked examples, exact arithmetic, and the law that fills do not change what an order costs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.market.costs import (
    BSE_DELIVERY,
    COST_GROUPS,
    COSTS,
    FIRST_DAY,
    NSE_DELIVERY,
    NSE_INTRADAY,
    RATE,
    CostsError,
    Executed,
    contract_note,
    cost_group,
    cost_rows,
    dp_costs,
    order_costs,
)

DAY = date(2026, 5, 4)
ROWS = cost_rows(DAY)
BUY, SELL = 1, -1
INT64_MAX = 2**63 - 1

groups = st.integers(0, len(COST_GROUPS) - 1)
sides = st.sampled_from((BUY, SELL))
values = st.integers(0, 10**13) | st.integers(0, 10**7)


def note(segment: str, *orders: tuple[int, int, str], exchange: str = "NSE") -> dict[str, Decimal]:
    executed = [Executed(side, quantity * int(Decimal(price) * 100)) for side, quantity, price in orders]
    return contract_note(executed, day=DAY, exchange=exchange, segment=segment)


def exact_paise(row: np.void, side: int, value: int) -> Fraction:
    brokerage = min(Fraction(value * int(row["brokerage_rate"]), RATE), Fraction(int(row["brokerage_cap_paise"])))
    fees = Fraction(value * int(row["exchange_rate"] + row["sebi_rate"]), RATE)
    rate = row["stt_buy_rate"] + row["stamp_buy_rate"] if side > 0 else row["stt_sell_rate"]
    return (brokerage + fees) * Fraction(100 + int(row["gst_percent"]), 100) + Fraction(value * int(rate), RATE)


@pytest.mark.parametrize(
    ("segment", "orders", "total", "with_rupee_stt"),
    [
        ("EQ_DELIVERY", [(BUY, 10, "1500")], "17.81", "17.81"),
        ("EQ_DELIVERY", [(SELL, 10, "1600")], "31.94", "31.94"),
        ("EQ_INTRADAY", [(BUY, 400, "1000"), (SELL, 400, "1100")], "200.62", "200.62"),
        ("EQ_INTRADAY", [(BUY, 7, "512.35"), (SELL, 7, "510.10")], "3.80", "3.91"),
    ],
)
def test_worked_examples_come_out_to_the_paisa(
    segment: str, orders: Sequence[tuple[int, int, str]], total: str, with_rupee_stt: str
) -> None:
    charges = note(segment, *orders)
    row = ROWS[cost_group("NSE", segment)]
    kernel = sum(order_costs(row, side, int(Decimal(price) * 100) * quantity) for side, quantity, price in orders)
    kernel += sum(dp_costs(row, side, 0) for side, _, _ in orders)

    assert charges["total"] == Decimal(total)
    assert charges["total_with_stt_rupee_rounded"] == Decimal(with_rupee_stt)
    assert kernel == Decimal(total) * 100


def test_a_note_lists_every_charge_with_its_places() -> None:
    charges = note("EQ_INTRADAY", (BUY, 7, "512.35"), (SELL, 7, "510.10"))

    assert {name: str(value) for name, value in charges.items()} == {
        "brokerage": "2.1471",
        "stt": "0.8927",
        "exchange_txn": "0.219725",
        "sebi": "0.007157",
        "gst": "0.427325",
        "stamp": "0.1076",
        "dp": "0.00",
        "total": "3.80",
        "total_with_stt_rupee_rounded": "3.91",
    }


def test_every_cash_example_of_the_test_data_is_reproduced() -> None:
    data = os.environ.get("ATMAND_TEST_DATA")
    if not data:
        pytest.skip("ATMAND_TEST_DATA is not set")
    examples = json.loads((Path(data) / "india" / "costs.json").read_text())["computed"]
    cash = [example for example in examples if example["segment"].startswith("EQ_")]

    assert len(cash) >= 4
    for example in cash:
        orders = [
            Executed(BUY if order["side"] == "BUY" else SELL, order["qty"] * int(Decimal(order["price"]) * 100))
            for order in example["orders"]
        ]
        charges = contract_note(
            iter(orders),
            day=date.fromisoformat(example["date"]),
            exchange=example["exchange"],
            segment=example["segment"],
        )
        assert charges == {name: Decimal(example[name]) for name in charges}, example["id"]


@given(group=groups, side=sides, value=values)
def test_an_order_costs_its_exact_charges_rounded_half_up_once(group: int, side: int, value: int) -> None:
    exact = exact_paise(ROWS[group], side, value)

    assert order_costs(ROWS[group], side, value) == (exact + Fraction(1, 2)).__floor__()


@given(group=groups, side=sides, fills=st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_an_order_costs_the_same_however_it_was_filled(group: int, side: int, fills: list[int]) -> None:
    row = ROWS[group]
    charges, total = [], 0
    for fill in fills:
        charges.append(order_costs(row, side, total + fill) - order_costs(row, side, total))
        total += fill

    assert sum(charges) == order_costs(row, side, total)
    assert min(charges) >= 0


@given(group=groups, side=sides, value=st.integers(10**13, INT64_MAX))
def test_no_value_of_an_int64_overflows(group: int, side: int, value: int) -> None:
    assert order_costs(ROWS[group], side, value) == (exact_paise(ROWS[group], side, value) + Fraction(1, 2)).__floor__()


@given(group=groups, side=sides, value=values)
def test_the_compiled_kernel_equals_its_python_source(group: int, side: int, value: int) -> None:
    source: Any = getattr(order_costs, "py_func", order_costs)

    assert order_costs(ROWS[group], side, value) == source(ROWS[group], side, value)


@given(day=st.dates(FIRST_DAY, date(2030, 1, 1)), orders=st.lists(st.tuples(sides, values), min_size=1, max_size=8))
def test_a_note_is_within_half_a_paisa_an_order_of_the_kernel(day: date, orders: list[tuple[int, int]]) -> None:
    executed = [Executed(side, value) for side, value in orders]
    charges = contract_note(executed, day=day, exchange="NSE", segment="EQ_INTRADAY")
    row = cost_rows(day)[NSE_INTRADAY]
    kernel = sum(order_costs(row, side, value) for side, value in orders)

    assert abs(charges["total"] * 100 - kernel) <= Decimal("0.5") * (len(orders) + 1)


@pytest.mark.parametrize("value", [0, -1, -(10**13)])
def test_an_order_that_executed_nothing_costs_nothing(value: int) -> None:
    assert order_costs(ROWS[NSE_INTRADAY], BUY, value) == 0


def test_the_depository_charges_only_the_first_delivery_sold_of_a_day() -> None:
    assert dp_costs(ROWS[BSE_DELIVERY], SELL, 0) == 1534
    assert dp_costs(ROWS[BSE_DELIVERY], SELL, 5) == 0
    assert dp_costs(ROWS[BSE_DELIVERY], BUY, 0) == 0
    assert dp_costs(ROWS[NSE_INTRADAY], SELL, 0) == 0
    assert note("EQ_DELIVERY", (SELL, 1, "100"), (SELL, 2, "100"))["dp"] == Decimal("15.34")


def test_intraday_brokerage_stops_at_its_cap() -> None:
    row = ROWS[NSE_INTRADAY].copy()
    for name in ("exchange_rate", "sebi_rate", "stt_sell_rate", "gst_percent"):
        row[name] = 0

    assert order_costs(row, SELL, 6_666_667) == order_costs(row, SELL, 10**10) == 2_000
    assert order_costs(row, SELL, 6_000_000) == 1_800


def test_the_exchanges_differ_in_their_own_charge_only() -> None:
    nse, bse = ROWS[cost_group("NSE", "MIS")], ROWS[cost_group("BSE", "MIS")]

    assert [name for name in COSTS.names or () if nse[name] != bse[name]] == ["exchange_rate"]
    assert (nse["exchange_rate"], bse["exchange_rate"]) == (30_700, 37_500)


def test_rates_leave_the_tax_on_fees_a_whole_number_of_billionths() -> None:
    for name in ("brokerage_rate", "exchange_rate", "sebi_rate"):
        assert not (ROWS[name] * ROWS["gst_percent"] % 100).any()


def test_products_and_segments_name_the_same_group() -> None:
    assert cost_group("NSE", "CNC") == cost_group("NSE", "EQ_DELIVERY") == NSE_DELIVERY
    with pytest.raises(CostsError, match="MCX FUT: not in the cost table"):
        cost_group("MCX", "FUT")


def test_a_day_before_the_table_is_refused_with_the_remedy() -> None:
    with pytest.raises(CostsError, match=r"begins on 2024-10-01; .*costs_as_of = DATE.*--costs-as-of DATE"):
        cost_rows(date(2024, 9, 30))
    assert cost_rows(date(2024, 10, 1))["from_date"].tolist() == [20241001] * 4


def test_rows_are_made_with_the_dtype_object_itself() -> None:
    assert cost_rows(DAY).dtype is COSTS
    assert all(COSTS[name] == np.int64 for name in COSTS.names or ())
