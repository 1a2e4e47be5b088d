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
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.market.cost_table import PLANS
from atmand.market.costs import (
    COST_GROUPS,
    COSTS,
    NSE_DELIVERY,
    NSE_INTRADAY,
    RATE,
    CostsError,
    Executed,
    contract_note,
    cost_group,
    cost_row,
    cost_rows,
    delivered_costs,
    exercise_costs,
    order_costs,
    same_day_costs,
    segment_of,
)

DAY = date(2026, 5, 4)
BEGINS = date(2024, 10, 1)
TARIFFS = {plan: cost_rows(DAY, plan) for plan in PLANS}
ROWS = TARIFFS["zerodha"]
BUY, SELL = 1, -1
INT64_MAX = 2**63 - 1

every_row = st.builds(lambda plan, group: TARIFFS[plan][group], st.sampled_from(PLANS), st.integers(0, len(ROWS) - 1))
sides = st.sampled_from((BUY, SELL))
values = st.integers(0, 10**13) | st.integers(0, 10**7)

Order = tuple[int, int, str]


def executed_of(orders: Sequence[Order]) -> list[Executed]:
    return [Executed(side, quantity * int(Decimal(price) * 100)) for side, quantity, price in orders]


def note(segment: str, *orders: Order, exchange: str = "NSE", day: date = DAY, plan: str = "zerodha") -> Any:
    return contract_note(executed_of(orders), day=day, exchange=exchange, segment=segment, plan=plan)


def exact_paise(row: np.void, side: int, value: int) -> Fraction:
    if value <= 0:
        return Fraction(0)
    brokerage = min(Fraction(value * int(row["brokerage_rate"]), RATE), Fraction(int(row["brokerage_cap_paise"])))
    brokerage = max(brokerage, Fraction(int(row["brokerage_floor_paise"])))
    fees = Fraction(value * int(row["exchange_rate"] + row["sebi_rate"]), RATE)
    rate = row["stt_buy_rate"] + row["stamp_buy_rate"] if side > 0 else row["stt_sell_rate"]
    return (brokerage + fees) * Fraction(100 + int(row["gst_percent"]), 100) + Fraction(value * int(rate), RATE)


WORKED: list[tuple[str, str, str, list[Order], str, str]] = [
    ("2026-05-04", "NSE", "EQ_DELIVERY", [(BUY, 10, "1500")], "17.81", "17.81"),
    ("2026-05-04", "NSE", "EQ_DELIVERY", [(SELL, 10, "1600")], "31.94", "31.94"),
    ("2026-05-04", "NSE", "EQ_INTRADAY", [(BUY, 400, "1000"), (SELL, 400, "1100")], "200.62", "200.62"),
    ("2026-05-04", "NSE", "EQ_INTRADAY", [(BUY, 7, "512.35"), (SELL, 7, "510.10")], "3.80", "3.91"),
    ("2024-10-01", "NSE", "FUT", [(BUY, 65, "24500"), (SELL, 65, "24600")], "471.53", "471.73"),
    ("2026-03-31", "NSE", "FUT", [(BUY, 65, "24500"), (SELL, 65, "24600")], "471.53", "471.73"),
    ("2026-04-01", "NSE", "FUT", [(BUY, 65, "24500"), (SELL, 65, "24600")], "951.23", "951.73"),
    ("2026-02-28", "NSE", "OPT", [(BUY, 65, "120"), (SELL, 65, "150")], "64.56", "64.81"),
    ("2026-03-01", "NSE", "OPT", [(BUY, 65, "120"), (SELL, 65, "150")], "64.56", "64.81"),
    ("2026-03-30", "NSE", "OPT", [(BUY, 65, "120"), (SELL, 65, "150")], "64.56", "64.81"),
    ("2026-04-01", "NSE", "OPT", [(BUY, 65, "120"), (SELL, 65, "150")], "69.44", "69.81"),
    ("2026-05-07", "BSE", "OPT_SENSEX_BANKEX", [(BUY, 20, "300"), (SELL, 20, "280")], "60.24", "59.84"),
    ("2025-07-15", "NSE", "OPT", [(SELL, 75, "232.05")], "48.32", "47.92"),
]
"""Sums of the published rates; the first of them on both sides of each change of a charge."""


@pytest.mark.parametrize(("day", "exchange", "segment", "orders", "total", "with_rupee_stt"), WORKED)
def test_worked_examples_come_out_to_the_paisa(
    day: str, exchange: str, segment: str, orders: Sequence[Order], total: str, with_rupee_stt: str
) -> None:
    charges = note(segment, *orders, exchange=exchange, day=date.fromisoformat(day))
    row = cost_row(date.fromisoformat(day), exchange, segment)
    kernel = sum(order_costs(row, order.side, order.value_paise) for order in executed_of(orders))
    kernel += int(row["dp_paise"]) if orders[0][0] == SELL else 0

    assert charges["total"] == Decimal(total)
    assert charges["total_with_stt_rupee_rounded"] == Decimal(with_rupee_stt)
    assert abs(kernel - charges["total"] * 100) <= len(orders) - 1


def regime(**rates: int) -> np.void:
    row = np.zeros(1, COSTS)[0]
    for name, value in {"sebi_rate": 1_000, "gst_percent": 18, **rates}.items():
        row[name] = value
    return row


CAPPED = {"brokerage_rate": 300_000, "brokerage_cap_paise": 2_000}
FLAT = {"brokerage_cap_paise": 2_000, "brokerage_floor_paise": 2_000}


@pytest.mark.parametrize(
    ("row", "orders", "paise"),
    [
        # kite.trade forum, comment 50240: the broker's margin calls of July 2025, which leave the stamp out.
        (regime(exchange_rate=355_300, **FLAT), [(BUY, 75, "155.45")], 2_850),
        (regime(exchange_rate=355_300, stt_sell_rate=1_000_000, **FLAT), [(SELL, 75, "232.05")], 4_832),
        # kiteconnect-mocks, virtual_contract_note.json of 2023, when the fund's part was not taxed with GST.
        (regime(exchange_rate=32_500, stt_buy_rate=1_000_000 + 1_000), [(BUY, 1, "560")], 58),
        (regime(exchange_rate=500_000, stt_buy_rate=5_000, **FLAT), [(BUY, 100, "1.50")], 2_369),
        # zerodha.com/brokerage-calculator before 2024-10-01, 345 rupees a crore.
        (
            regime(exchange_rate=34_500, stt_sell_rate=250_000, stamp_buy_rate=30_000, **CAPPED),
            [(BUY, 400, "1000"), (SELL, 400, "1100")],
            20_439,
        ),
        # tradingqna.com/t/80447 of 2020, its tax in whole rupees: 49 paise more than the exact sum.
        (regime(exchange_rate=32_500, stt_sell_rate=250_000, **CAPPED), [(BUY, 2, "995"), (SELL, 2, "1014.35")], 209),
    ],
)
def test_bills_that_others_printed_are_reproduced(row: np.void, orders: Sequence[Order], paise: int) -> None:
    assert sum(order_costs(row, order.side, order.value_paise) for order in executed_of(orders)) == paise


@pytest.mark.parametrize(("day", "tax"), [("2026-03-31", "400.0000"), ("2026-04-01", "1000.0000")])
def test_the_tax_on_a_future_sold_rises_on_the_first_of_april_2026(day: str, tax: str) -> None:
    assert str(note("FUT", (SELL, 1, "2000000"), day=date.fromisoformat(day))["stt"]) == tax  # cleartax.in


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


def test_every_example_of_the_test_data_is_reproduced() -> None:
    data = os.environ.get("ATMAND_TEST_DATA")
    if not data:
        pytest.skip("ATMAND_TEST_DATA is not set")
    examples = json.loads((Path(data) / "india" / "costs.json").read_text())["computed"]

    assert len(examples) >= 10
    for example in examples:
        orders = [
            (BUY if order["side"] == "BUY" else SELL, order["qty"], order["price"]) for order in example["orders"]
        ]
        day = date.fromisoformat(example["date"])
        charges = note(example["segment"], *orders, exchange=example["exchange"], day=day)
        assert {name: str(value) for name, value in charges.items()} == {name: example[name] for name in charges}


@given(row=every_row, side=sides, value=values)
def test_an_order_costs_its_exact_charges_rounded_half_up_once(row: np.void, side: int, value: int) -> None:
    assert order_costs(row, side, value) == (exact_paise(row, side, value) + Fraction(1, 2)).__floor__()


@given(row=every_row, side=sides, fills=st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_an_order_costs_the_same_however_it_was_filled(row: np.void, side: int, fills: list[int]) -> None:
    charges, total = [], 0
    for fill in fills:
        charges.append(order_costs(row, side, total + fill) - order_costs(row, side, total))
        total += fill

    assert sum(charges) == order_costs(row, side, total)
    assert min(charges) >= 0


@settings(deadline=None)  # the first call compiles
@given(row=every_row, side=sides, value=values, more=values)
def test_a_dearer_order_never_costs_less(row: np.void, side: int, value: int, more: int) -> None:
    assert order_costs(row, side, value) <= order_costs(row, side, value + more)
    assert exercise_costs(row, value) <= exercise_costs(row, value + more)
    assert delivered_costs(row, value) <= delivered_costs(row, value + more)


@given(row=every_row, side=sides, value=st.integers(10**13, INT64_MAX))
def test_no_value_of_an_int64_overflows(row: np.void, side: int, value: int) -> None:
    assert order_costs(row, side, value) == (exact_paise(row, side, value) + Fraction(1, 2)).__floor__()


@given(row=every_row, side=sides, value=values)
def test_the_compiled_kernel_equals_its_python_source(row: np.void, side: int, value: int) -> None:
    source: Any = getattr(order_costs, "py_func", order_costs)

    assert order_costs(row, side, value) == source(row, side, value)


@given(
    days=st.integers(0, 2_000),
    group=st.sampled_from(COST_GROUPS),
    orders=st.lists(st.tuples(sides, values), min_size=1, max_size=8),
)
def test_a_note_is_within_half_a_paisa_an_order_of_the_kernel(
    days: int, group: tuple[str, str], orders: list[tuple[int, int]]
) -> None:
    day = date.fromordinal(BEGINS.toordinal() + days)
    executed = [Executed(side, value) for side, value in orders]
    charges = contract_note(executed, day=day, exchange=group[0], segment=group[1])
    row = cost_rows(day)[cost_group(*group)]
    kernel = sum(order_costs(row, side, value) for side, value in orders)

    assert abs((charges["total"] - charges["dp"]) * 100 - kernel) <= Decimal("0.5") * (len(orders) + 1)


@pytest.mark.parametrize("value", [0, -1, -(10**13)])
def test_an_order_that_executed_nothing_costs_nothing(value: int) -> None:
    row = TARIFFS["flat_20"][NSE_INTRADAY]

    assert order_costs(row, BUY, value) == exercise_costs(row, value) == delivered_costs(row, value) == 0


@pytest.mark.parametrize(
    ("plan", "segment", "price", "brokerage"),
    [
        ("zerodha", "EQ_INTRADAY", "60000", "18.0000"), ("zerodha", "EQ_INTRADAY", "66666.67", "20.0000"),
        ("zerodha", "EQ_DELIVERY", "900000", "0.0000"), ("zerodha", "OPT", "0.05", "20.0000"),
        ("dhan", "FUT", "10000", "3.0000"), ("groww", "EQ_DELIVERY", "1000", "5.0000"),
        ("groww", "EQ_DELIVERY", "8000", "8.0000"), ("groww", "EQ_DELIVERY", "90000", "20.0000"),
        ("free", "OPT", "900", "0.0000"), ("flat_20", "EQ_DELIVERY", "10", "20.0000"),
        ("percent", "FUT", "9000000", "9000.0000"),
    ],
)  # fmt: skip
def test_a_plan_charges_its_own_brokerage(plan: str, segment: str, price: str, brokerage: str) -> None:
    assert str(note(segment, (BUY, 1, price), plan=plan)["brokerage"]) == brokerage


def test_the_depository_is_paid_once_a_day_whatever_is_sold() -> None:
    assert note("EQ_DELIVERY", (SELL, 1, "100"), (SELL, 2, "100"))["dp"] == Decimal("15.34")
    assert note("EQ_DELIVERY", (BUY, 1, "100"))["dp"] == 0
    assert note("EQ_DELIVERY", (SELL, 1, "100"), plan="dhan")["dp"] == Decimal("14.75")


def test_shares_bought_and_sold_within_a_day_pay_as_intraday() -> None:
    intraday, delivery = ROWS[NSE_INTRADAY], ROWS[NSE_DELIVERY]
    bought, sold = 400 * 100_000, 400 * 110_000
    as_deliveries = order_costs(delivery, BUY, bought) + order_costs(delivery, SELL, sold)

    assert as_deliveries + same_day_costs(intraday, delivery, 400, bought, 400, sold) == 20_062


@given(
    bought=st.integers(0, 10**6), sold=st.integers(0, 10**6), price=st.integers(1, 10**7), of=st.sampled_from((0, 2))
)
def test_only_what_is_both_bought_and_sold_is_no_delivery(bought: int, sold: int, price: int, of: int) -> None:
    intraday, delivery = ROWS[of], ROWS[of + 1]
    matched = min(bought, sold) * price
    expected = sum(order_costs(intraday, side, matched) - order_costs(delivery, side, matched) for side in (BUY, SELL))

    assert same_day_costs(intraday, delivery, bought, bought * price, sold, sold * price) == expected


@pytest.mark.parametrize(
    ("day", "intrinsic", "paise"), [("2026-03-31", 30_000_000, 39_860), ("2026-04-01", 30_000_000, 47_360)]
)
def test_an_exercised_option_is_taxed_on_its_intrinsic_value(day: str, intrinsic: int, paise: int) -> None:
    row = cost_row(date.fromisoformat(day), "NSE", "OPT")

    assert exercise_costs(row, intrinsic) == paise == 2_360 + intrinsic * int(row["exercise_rate"]) // RATE


def test_a_derivative_settled_in_shares_is_taxed_as_a_delivery() -> None:
    assert delivered_costs(cost_row(DAY, "NSE", "FUT"), 10**8) == 100_000 + 295_000


def test_the_exchanges_differ_in_their_own_charge_only() -> None:
    nse, bse = ROWS[cost_group("NSE", "MIS")], ROWS[cost_group("BSE", "MIS")]
    differ = [name for name in COSTS.names or () if nse[name] != bse[name]]

    assert differ == ["from_date", "exchange_rate"]
    assert (nse["exchange_rate"], bse["exchange_rate"]) == (30_700, 37_500)


@pytest.mark.parametrize("plan", PLANS)
def test_rates_leave_the_tax_on_fees_a_whole_number_of_billionths(plan: str) -> None:
    rows = TARIFFS[plan]
    fees = rows["exchange_rate"] + rows["sebi_rate"]
    for rate in (rows["brokerage_rate"], fees, rows["delivered_brokerage_rate"]):
        assert not (rate * rows["gst_percent"] % 100).any()


@pytest.mark.parametrize(
    ("exchange", "kind", "name", "product", "segment"),
    [
        ("NSE", "EQ", "", "MIS", "EQ_INTRADAY"), ("BSE", "EQ", "", "CNC", "EQ_DELIVERY"),
        ("NSE", "FUT", "NIFTY", "NRML", "FUT"), ("NSE", "OPT", "NIFTY", "MIS", "OPT"),
        ("BSE", "OPT", "SENSEX", "NRML", "OPT_SENSEX_BANKEX"), ("BSE", "OPT", "BANKEX", "NRML", "OPT_SENSEX_BANKEX"),
        ("BSE", "OPT", "SENSEX50", "NRML", "OPT"), ("BSE", "OPT", "RELIANCE", "NRML", "OPT"),
    ],
)  # fmt: skip
def test_an_instrument_has_the_segment_of_its_kind(
    exchange: str, kind: str, name: str, product: str, segment: str
) -> None:
    assert segment_of(exchange, kind, name, product) == segment
    assert COST_GROUPS[cost_group(exchange, segment)] == (exchange, segment)


def test_products_and_segments_name_the_same_group() -> None:
    assert cost_group("NSE", "CNC") == cost_group("NSE", "EQ_DELIVERY") == NSE_DELIVERY
    with pytest.raises(CostsError, match="MCX FUT: not in the cost table"):
        cost_group("MCX", "FUT")


def test_a_day_before_the_table_is_refused_with_the_remedy() -> None:
    with pytest.raises(CostsError, match=r"begins on 2024-10-01; .*costs_as_of = DATE.*--costs-as-of DATE"):
        cost_rows(date(2024, 9, 30))
    assert cost_rows(BEGINS)["from_date"].tolist() == [20241001] * len(COST_GROUPS)


def test_rows_are_made_with_the_dtype_object_itself() -> None:
    assert cost_rows(DAY).dtype is COSTS
    assert all(COSTS[name] == np.int64 for name in COSTS.names or ())
