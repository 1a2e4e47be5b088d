"""What reckoning an order's costs costs: a call of the kernel that matching, back-test and ledger share, and the note.

Prints JSON lines; writes the section `costs` of docs/performance.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from _report import Report, count, interleaved, table
from numba import njit
from numpy.typing import NDArray

from atmand.market.costs import (
    NSE_DELIVERY,
    NSE_INTRADAY,
    Executed,
    contract_note,
    cost_rows,
    order_costs,
    same_day_costs,
)

_DAY: Final = date(2026, 7, 6)
_CALLS: Final = 1_000_000
_NOTES: Final = 1_000
_DEFINITION: Final = f"""An order of a random value from 100 rupees to 10 lakh, bought and sold in turns, NSE intraday.
*Order* is `order_costs`: brokerage with its cap, tax, exchange, SEBI, stamp and GST, exact and rounded once. *Fill* is
what an order's second fill is charged, the difference of two such calls. *Same day* is what a sale under CNC adds that
closes what was bought that day. *By floats* is the same sum by hand in compiled floating point, with GST fixed
and without rounding: the rest is what being exact costs. Each loops {_CALLS:,} times in compiled code over values drawn
before; *note* is `contract_note` in Python's decimals, {_NOTES:,} times, for a person to read."""


@njit(error_model="numpy")
def _orders(rows: Any, values: Any) -> int:
    total = 0
    for n in range(values.shape[0]):
        total += order_costs(rows[NSE_INTRADAY], 1 - 2 * (n & 1), values[n])
    return total


@njit(error_model="numpy")
def _fills(rows: Any, values: Any) -> int:
    total = 0
    for n in range(values.shape[0]):
        side = 1 - 2 * (n & 1)
        total += order_costs(rows[NSE_INTRADAY], side, values[n]) - order_costs(
            rows[NSE_INTRADAY], side, values[n] // 3
        )
    return total


@njit(error_model="numpy")
def _same_days(rows: Any, values: Any) -> int:
    total = 0
    for n in range(values.shape[0]):
        total += same_day_costs(rows[NSE_INTRADAY], rows[NSE_DELIVERY], 7, values[n], 5, values[n] // 2)
    return total


@njit(error_model="numpy")
def _floats(rows: Any, values: Any) -> float:
    total = 0.0
    row = rows[NSE_INTRADAY]
    for n in range(values.shape[0]):
        value = values[n] * 1e-9
        taxes = row["stt_sell_rate"] if n & 1 else row["stt_buy_rate"] + row["stamp_buy_rate"]
        brokerage = min(value * row["brokerage_rate"], row["brokerage_cap_paise"] * 1.0)
        total += (brokerage + value * (row["exchange_rate"] + row["sebi_rate"])) * 1.18 + value * taxes
    return total


def _notes(values: NDArray[np.int64]) -> Callable[[], None]:
    def run() -> None:
        for n, value in enumerate(values[:_NOTES].tolist()):
            contract_note([Executed(1 - 2 * (n & 1), value)], day=_DAY, exchange="NSE", segment="EQ_INTRADAY")

    return run


def main() -> None:
    report = Report("costs", "What an order costs")
    rows, values = cost_rows(_DAY), np.random.default_rng(1).integers(10_000, 100_000_000, _CALLS)
    loops: dict[str, Callable[..., Any]] = {
        "order": _orders, "fill": _fills, "same day": _same_days, "by floats": _floats
    }  # fmt: skip
    contestants = {name: (lambda loop=loop: loop(rows, values)) for name, loop in loops.items()}
    spreads = interleaved({**contestants, "note": _notes(values)})
    lines = []
    for name, spread in spreads.items():
        calls = _NOTES if name == "note" else _CALLS
        report.figure(name, "a call", spread.cpu / calls * 1e9, "ns", calls=calls, runs=spread.runs)
        lines.append([name, count(spread.cpu / calls * 1e9)])
    report.write(_DEFINITION, table(["what", "ns a call"], lines))


if __name__ == "__main__":
    main()
