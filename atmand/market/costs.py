"""What a trade costs: the compiled functions that matching, back-test and ledger share, and a contract note.

The unit of a charge is the executed *order*: brokerage has its cap there, and an order costs the same however many
fills it took. The kernel rounds once an order, half up to the paisa, over the exact sum of its charges; rounding each
charge would drift by paise from the broker's note, which adds the day's exact charges and rounds at the end. Only the
note rounds the transaction tax to the rupee, over the day, as contract notes do.

The value of an order is price times quantity: of shares and futures the contract's value, of options the premium. The
dated tables behind it all are `cost_table.py`'s.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from atmand.market.cost_table import (
    DEFAULT_PLAN,
    CostsError,
    check_plan,
    check_segment,
    periods,
    rows_on,
)

__all__ = [
    "BSE_DELIVERY",
    "BSE_INTRADAY",
    "COSTS",
    "COST_GROUPS",
    "NSE_DELIVERY",
    "NSE_INTRADAY",
    "RATE",
    "CostsError",
    "Executed",
    "contract_note",
    "cost_group",
    "cost_row",
    "cost_rows",
    "delivered_costs",
    "exercise_costs",
    "order_costs",
    "same_day_costs",
    "segment_of",
    "settled_costs",
]

RATE: Final = 1_000_000_000
"""Rates are integers so many to one: billionths of an order's value."""

COSTS: Final = np.dtype(
    [
        ("from_date", "i8"),  # yyyymmdd of the first day that the row holds
        ("brokerage_rate", "i8"),  # of the order's value, in 1/RATE, as are all rates
        ("brokerage_cap_paise", "i8"),
        ("brokerage_floor_paise", "i8"),
        ("stt_buy_rate", "i8"),
        ("stt_sell_rate", "i8"),
        ("exchange_rate", "i8"),  # with the investor protection fund's part
        ("sebi_rate", "i8"),
        ("stamp_buy_rate", "i8"),
        ("gst_percent", "i8"),  # on brokerage + exchange + SEBI
        ("dp_paise", "i8"),  # an ISIN and day, on deliveries sold; with its GST
        ("exercise_rate", "i8"),  # tax on an exercised option's intrinsic value
        ("delivered_rate", "i8"),  # tax on the shares that a derivative is settled in
        ("delivered_brokerage_rate", "i8"),
    ]
)
"""One row of a day's cost table; its place in the table is the instrument's and product's cost group."""

NSE_INTRADAY: Final = 0
NSE_DELIVERY: Final = 1
BSE_INTRADAY: Final = 2
BSE_DELIVERY: Final = 3

COST_GROUPS: Final = (
    ("NSE", "EQ_INTRADAY"),
    ("NSE", "EQ_DELIVERY"),
    ("BSE", "EQ_INTRADAY"),
    ("BSE", "EQ_DELIVERY"),
    ("NSE", "FUT"),
    ("NSE", "OPT"),
    ("BSE", "FUT"),
    ("BSE", "OPT"),
    ("BSE", "OPT_SENSEX_BANKEX"),
)
"""Exchange and segment of each cost group, in the order of `cost_rows`. Records carry the places: new ones come last.

A cash group is followed by that of deliveries in the same shares.
"""

_PRODUCTS: Final = {"MIS": "EQ_INTRADAY", "CNC": "EQ_DELIVERY"}
_DEAR_OPTIONS: Final = ("SENSEX", "BANKEX")
_PLACES: Final = {"brokerage": 4, "stt": 4, "exchange_txn": 6, "sebi": 6, "gst": 6, "stamp": 4, "dp": 2}
_UNCAPPED: Final = 1 << 62
_SMALL: Final = 1 << 33
"""Up to this value (8.5 crore rupees) the sum in billionths of a paisa fits an int64 at brokerage of 2.5 %, the most
that SEBI allows, so that nothing has to be added apart."""


@dataclass(frozen=True)
class Executed:
    """One executed order of a contract note: side +1 buys, -1 sells; `value_paise` sums its trades' values."""

    side: int
    value_paise: int


@njit(cache=True, error_model="numpy")
def _charged(value_paise: Any, rate: Any, cap: Any, floor: Any, fees: Any, gst_percent: Any, taxes: Any) -> int:
    """Add brokerage, fees, the tax on both and the taxes on a value, and round half up to the paisa, once.

    Whole paise and billionths of one are added apart, so that no intermediate overflows for any value that fits an
    int64.
    """
    whole = value_paise // RATE
    rest = value_paise - whole * RATE

    billionths = rest * rate
    brokerage = whole * rate + billionths // RATE
    billionths %= RATE
    if brokerage >= cap:
        brokerage = cap
        billionths = 0
    if brokerage < floor:
        brokerage = floor
        billionths = 0

    taxable = brokerage + whole * fees
    taxable_billionths = billionths + rest * fees
    gst_hundredths = taxable * gst_percent
    paise = taxable + gst_hundredths // 100 + whole * taxes
    billionths = (
        taxable_billionths
        + gst_hundredths % 100 * (RATE // 100)
        + taxable_billionths * gst_percent // 100
        + rest * taxes
    )
    return int(paise + (billionths + RATE // 2) // RATE)


@njit(cache=True, error_model="numpy", forceinline=True)
def order_costs(row: Any, side: int, value_paise: int) -> int:
    """Return what an executed order costs in paise, without the depository's charge.

    `row` is a COSTS record, `side` +1 for a buy and -1 for a sale, `value_paise` the sum of the values of the order's
    trades so far. A fill is charged `order_costs(row, side, after) - order_costs(row, side, before)`: never negative,
    and over all fills exactly the order's costs.
    """
    if value_paise <= 0:
        return 0
    rate, cap, floor = row["brokerage_rate"], row["brokerage_cap_paise"], row["brokerage_floor_paise"]
    fees, gst_percent = row["exchange_rate"] + row["sebi_rate"], row["gst_percent"]
    taxes = row["stt_buy_rate"] + row["stamp_buy_rate"] if side > 0 else row["stt_sell_rate"]
    if value_paise > _SMALL:
        return int(_charged(value_paise, rate, cap, floor, fees, gst_percent, taxes))
    taxable = max(min(value_paise * rate, cap * RATE), floor * RATE) + value_paise * fees
    return int((taxable + taxable * gst_percent // 100 + value_paise * taxes + RATE // 2) // RATE)


@njit(cache=True, error_model="numpy")
def same_day_costs(intraday: Any, delivery: Any, bought: int, bought_value: int, sold: int, sold_value: int) -> int:
    """Return by how much a day's buys and sales of one share under CNC cost more (or less) than as deliveries.

    What is bought and sold within a day is never delivered: that part pays as intraday, tax, stamp and brokerage alike.
    It is taken at the day's average prices, and its brokerage as one order a side. A fill is charged the difference
    that it makes. Sources: tradingqna.com/t/9264 and /t/1181, "charged with intraday charges only", answers of the
    broker's staff.
    """
    matched = min(bought, sold)
    if matched <= 0:
        return 0
    bought_part, sold_part = bought_value, sold_value
    if bought > matched:
        bought_part = bought_value // bought * matched + bought_value % bought * matched // bought
    if sold > matched:
        sold_part = sold_value // sold * matched + sold_value % sold * matched // sold
    as_intraday = order_costs(intraday, 1, bought_part) + order_costs(intraday, -1, sold_part)
    return int(as_intraday - order_costs(delivery, 1, bought_part) - order_costs(delivery, -1, sold_part))


@njit(cache=True, error_model="numpy")
def _in_cash(row: Any, value_paise: int, taxes: int) -> int:
    """Return the brokerage of a settlement in cash as of an order, and a tax on its value."""
    if value_paise <= 0:
        return 0
    rate, cap, floor = row["brokerage_rate"], row["brokerage_cap_paise"], row["brokerage_floor_paise"]
    return int(_charged(value_paise, rate, cap, floor, 0, row["gst_percent"], taxes))


@njit(cache=True, error_model="numpy")
def exercise_costs(row: Any, intrinsic_paise: int) -> int:
    """Return what an option settled in cash costs its holder: brokerage as of an order, and the tax on its worth.

    Its writer pays the brokerage alone: `settled_costs`. Source of the brokerage: tradingqna.com/t/151973, an answer
    of the broker's staff.
    """
    return int(_in_cash(row, intrinsic_paise, row["exercise_rate"]))


@njit(cache=True, error_model="numpy")
def settled_costs(row: Any, value_paise: int) -> int:
    """Return what a contract settled in cash costs without an exercise: a future, or an option's writer. Brokerage."""
    return int(_in_cash(row, value_paise, 0))


@njit(cache=True, error_model="numpy")
def delivered_costs(row: Any, value_paise: int) -> int:
    """Return what a stock derivative settled in shares costs either side, of the value at which they change hands."""
    if value_paise <= 0:
        return 0
    rate = row["delivered_brokerage_rate"]
    return int(_charged(value_paise, rate, _UNCAPPED, 0, 0, row["gst_percent"], row["delivered_rate"]))


def cost_rows(day: date, plan: str = DEFAULT_PLAN) -> NDArray[np.void]:
    """Return the cost table in force on `day`: a COSTS row for each of `COST_GROUPS`, in that order.

    CostsError before a table begins. Sources: row by row in `data/costs.toml`.
    """
    changes = _changes(check_plan(plan))
    place = bisect_right(changes, day)
    return _rows_from(changes[place - 1] if place else day, plan).copy()


@cache
def _changes(plan: str) -> list[date]:
    """Return the days on which a charge of any group changes, from the one on which all are known."""
    days = [[period.first for period in periods(*group, plan)] for group in COST_GROUPS]
    begins = max(of_group[0] for of_group in days)
    return sorted({begins, *(day for of_group in days for day in of_group if day > begins)})


@cache
def _rows_from(day: date, plan: str) -> NDArray[np.void]:
    rows = np.zeros(len(COST_GROUPS), COSTS)
    for at, (exchange, segment) in enumerate(COST_GROUPS):
        rows[at] = cost_row(day, exchange, segment, plan)
    return rows


def cost_row(day: date, exchange: str, segment: str, plan: str = DEFAULT_PLAN) -> np.void:
    """Return the COSTS record of one exchange and segment on a day."""
    found = rows_on(day, exchange, segment, plan)
    brokerage, stt, exchange_row = (found[name].values for name in ("brokerage", "stt", "exchange"))
    first = max(row.first for row in found.values())
    row: np.void = np.zeros(1, COSTS)[0]
    row["from_date"] = int(first.strftime("%Y%m%d"))
    row["brokerage_rate"] = brokerage.get("rate", 0)
    row["brokerage_cap_paise"] = brokerage.get("cap_paise", 0)
    row["brokerage_floor_paise"] = brokerage.get("floor_paise", 0)
    row["stt_buy_rate"], row["stt_sell_rate"] = stt.get("buy", 0), stt.get("sell", 0)
    row["exchange_rate"] = exchange_row.get("charge", 0) + exchange_row.get("fund", 0)
    row["sebi_rate"] = found["sebi"].values["rate"]
    row["stamp_buy_rate"] = found["stamp"].values.get("buy", 0)
    row["gst_percent"] = found["gst"].values["percent"]
    row["dp_paise"] = brokerage.get("dp_paise", 0)
    row["exercise_rate"], row["delivered_rate"] = stt.get("exercise", 0), stt.get("delivered", 0)
    row["delivered_brokerage_rate"] = brokerage.get("delivered", 0)
    return row


def cost_group(exchange: str, segment: str) -> int:
    """Return the cost group of an exchange and a segment, or a product of shares (`MIS`, `CNC`)."""
    segment = _PRODUCTS.get(segment, segment)
    check_segment(exchange, segment)
    return COST_GROUPS.index((exchange, segment))


def segment_of(exchange: str, kind: str, underlying: str = "", product: str = "MIS") -> str:
    """Return the segment that an instrument's orders are charged in.

    `kind` is the instrument's own segment (`EQ`, `FUT`, `OPT`), `underlying` the name of what a derivative is on.
    """
    if kind == "OPT" and exchange == "BSE" and underlying in _DEAR_OPTIONS:
        return "OPT_SENSEX_BANKEX"
    return kind if kind in ("FUT", "OPT") else _PRODUCTS.get(product, product)


def contract_note(
    orders: Iterable[Executed], *, day: date, exchange: str, segment: str, plan: str = DEFAULT_PLAN
) -> dict[str, Decimal]:
    """Return the charges of one instrument's executed orders of a day, in rupees, as a contract note adds them.

    Keys: brokerage, stt, exchange_txn, sebi, gst, stamp, dp, total (the exact sum, rounded half up to the paisa) and
    total_with_stt_rupee_rounded (the same with the day's STT rounded half up to the rupee).
    """
    check_segment(exchange, _PRODUCTS.get(segment, segment))
    row = cost_row(day, exchange, _PRODUCTS.get(segment, segment), plan)
    executed = tuple(orders)
    exact = dict.fromkeys(_PLACES, Decimal(0))
    for order in executed:
        for name, rupees in _charges(row, order).items():
            exact[name] += rupees
    if any(order.side < 0 for order in executed):
        exact["dp"] = _share(row, "dp_paise") / 100
    note = {name: _rounded(rupees, _PLACES[name]) for name, rupees in exact.items()}
    total = sum(exact.values(), Decimal(0))
    note["total"] = _rounded(total, 2)
    note["total_with_stt_rupee_rounded"] = _rounded(total - exact["stt"] + _rounded(exact["stt"], 0), 2)
    return note


def _charges(row: np.void, order: Executed) -> dict[str, Decimal]:
    buys = order.side > 0
    value = Decimal(order.value_paise) / 100
    rated = min(value * _share(row, "brokerage_rate") / RATE, _share(row, "brokerage_cap_paise") / 100)
    brokerage = max(rated, _share(row, "brokerage_floor_paise") / 100) if value > 0 else Decimal(0)
    exchange = value * _share(row, "exchange_rate") / RATE
    sebi = value * _share(row, "sebi_rate") / RATE
    return {
        "brokerage": brokerage,
        "stt": value * _share(row, "stt_buy_rate" if buys else "stt_sell_rate") / RATE,
        "exchange_txn": exchange,
        "sebi": sebi,
        "gst": (brokerage + exchange + sebi) * _share(row, "gst_percent") / 100,
        "stamp": value * _share(row, "stamp_buy_rate") / RATE if buys else Decimal(0),
    }


def _share(row: np.void, name: str) -> Decimal:
    return Decimal(int(row[name]))


def _rounded(rupees: Decimal, places: int) -> Decimal:
    return rupees.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
