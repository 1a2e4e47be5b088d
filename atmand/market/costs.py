"""What a trade costs: dated tables, the compiled function that matching, back-test and ledger share, a contract note.

The unit of a charge is the executed *order*: brokerage has its cap there, and an order costs the same however many
fills it took. The kernel rounds once an order, half up to the paisa, over the exact sum of its charges; rounding each
charge would drift by paise from the broker's note, which adds the day's exact charges and rounds at the end. Only the
note rounds the transaction tax to the rupee, over the day, as contract notes do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from atmand.errors import AtmandError
from atmand.market.tables import load_table

__all__ = [
    "BSE_DELIVERY",
    "BSE_INTRADAY",
    "COSTS",
    "COST_GROUPS",
    "FIRST_DAY",
    "NSE_DELIVERY",
    "NSE_INTRADAY",
    "RATE",
    "CostsError",
    "Executed",
    "contract_note",
    "cost_group",
    "cost_rows",
    "dp_costs",
    "order_costs",
]

RATE: Final = 1_000_000_000
"""Rates are integers so many to one: billionths of an order's value."""

COSTS: Final = np.dtype(
    [
        ("from_date", "i8"),  # yyyymmdd of the first day that the row holds
        ("brokerage_rate", "i8"),  # of the order's value, in 1/RATE, as are all rates
        ("brokerage_cap_paise", "i8"),
        ("stt_buy_rate", "i8"),
        ("stt_sell_rate", "i8"),
        ("exchange_rate", "i8"),  # with the investor protection fund's part
        ("sebi_rate", "i8"),
        ("stamp_buy_rate", "i8"),
        ("gst_percent", "i8"),  # on brokerage + exchange + SEBI
        ("dp_paise", "i8"),  # an ISIN and day, on deliveries sold; with its GST
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
)
"""Exchange and segment of each cost group, in the order of `cost_rows`."""

_PRODUCTS: Final = {"MIS": "EQ_INTRADAY", "CNC": "EQ_DELIVERY"}
_RATES: Final = tuple(name for name in COSTS.names or () if name != "from_date")
_PLACES: Final = {"brokerage": 4, "stt": 4, "exchange_txn": 6, "sebi": 6, "gst": 6, "stamp": 4, "dp": 2}


class CostsError(AtmandError):
    """No cost table for the day, the exchange or the segment."""


@dataclass(frozen=True)
class Executed:
    """One executed order of a contract note: side +1 buys, -1 sells; `value_paise` sums its trades' values."""

    side: int
    value_paise: int


@njit(cache=True, error_model="numpy", forceinline=True)
def order_costs(row: Any, side: int, value_paise: int) -> int:
    """Return what an executed order costs in paise, without the depository's charge (`dp_costs`).

    `row` is a COSTS record, `side` +1 for a buy and -1 for a sale, `value_paise` the sum of the values of the order's
    trades so far. A fill is charged `order_costs(row, side, after) - order_costs(row, side, before)`: never negative,
    and over all fills exactly the order's costs. Whole paise and billionths of one are added apart, so that no
    intermediate overflows for any value that fits an int64.
    """
    if value_paise <= 0:
        return 0
    whole = value_paise // RATE
    rest = value_paise - whole * RATE
    fees = row["exchange_rate"] + row["sebi_rate"]
    taxes = row["stt_buy_rate"] + row["stamp_buy_rate"] if side > 0 else row["stt_sell_rate"]

    billionths = rest * row["brokerage_rate"]
    brokerage = whole * row["brokerage_rate"] + billionths // RATE
    billionths %= RATE
    if brokerage >= row["brokerage_cap_paise"]:
        brokerage = row["brokerage_cap_paise"]
        billionths = 0

    taxable = brokerage + whole * fees
    taxable_billionths = billionths + rest * fees
    gst_hundredths = taxable * row["gst_percent"]
    paise = taxable + gst_hundredths // 100 + whole * taxes
    billionths = (
        taxable_billionths
        + gst_hundredths % 100 * (RATE // 100)
        + taxable_billionths * row["gst_percent"] // 100
        + rest * taxes
    )
    return int(paise + (billionths + RATE // 2) // RATE)


@njit(cache=True, error_model="numpy", forceinline=True)
def dp_costs(row: Any, side: int, sold_today: int) -> int:
    """Return the depository's charge in paise of a fill, when `sold_today` units of the ISIN were sold before it.

    It falls due once an ISIN and day, with the first delivery sold, so it is not a part of an order's costs.
    Source: support.zerodha.com, DP charges.
    """
    if side < 0 and sold_today == 0:
        return int(row["dp_paise"])
    return 0


def cost_rows(day: date) -> NDArray[np.void]:
    """Return the cost table in force on `day`: a COSTS row for each of `COST_GROUPS`, in that order.

    CostsError before the table begins. Sources: row by row in `data/costs.toml`.
    """
    rows = np.zeros(len(COST_GROUPS), COSTS)
    for at, group in enumerate(COST_GROUPS):
        known = [row for row in _TABLE if (row["exchange"], row["segment"]) == group and row["from"] <= day]
        if not known:
            raise CostsError(
                f"costs of {day}",
                f"the cost table begins on {FIRST_DAY}",
                "name a later day whose costs apply: costs_as_of = DATE in the configuration, or --costs-as-of DATE",
            )
        newest = max(known, key=lambda row: row["from"])
        rows[at] = (int(newest["from"].strftime("%Y%m%d")), *(newest[name] for name in _RATES))
    return rows


def cost_group(exchange: str, product: str) -> int:
    """Return the cost group of an exchange and a product (`MIS`, `CNC`) or segment (`EQ_INTRADAY`, `EQ_DELIVERY`)."""
    try:
        return COST_GROUPS.index((exchange, _PRODUCTS.get(product, product)))
    except ValueError:
        known = ", ".join(" ".join(group) for group in COST_GROUPS)
        raise CostsError(f"costs of {exchange} {product}", "not in the cost table", f"known are {known}") from None


def contract_note(orders: Iterable[Executed], *, day: date, exchange: str, segment: str) -> dict[str, Decimal]:
    """Return the charges of one instrument's executed orders of a day, in rupees, as a contract note adds them.

    Keys: brokerage, stt, exchange_txn, sebi, gst, stamp, dp, total (the exact sum, rounded half up to the paisa) and
    total_with_stt_rupee_rounded (the same with the day's STT rounded half up to the rupee).
    """
    row = cost_rows(day)[cost_group(exchange, segment)]
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
    brokerage = min(value * _share(row, "brokerage_rate") / RATE, _share(row, "brokerage_cap_paise") / 100)
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


_TABLE: Final[list[dict[str, Any]]] = load_table("costs")["costs"]

FIRST_DAY: Final[date] = min(row["from"] for row in _TABLE)
"""The first day of the cost table."""
