"""What the costs of a run were paid for: brokerage, taxes, the exchange, the regulator, the depository."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from numpy.typing import NDArray

from atmand.market.costs import Executed, contract_note
from atmand.market.sessions import session_date

__all__ = ["costs_by_kind"]

_TOTALS = ("total", "total_with_stt_rupee_rounded")


def costs_by_kind(
    fills: NDArray[Any], products: Sequence[str], exchanges: Sequence[str], costs_as_of: date | None
) -> dict[str, int]:
    """Return the costs of fills by kind, in paise; a book has a product, an instrument an exchange.

    Added exactly and rounded once, so their sum may differ by paise from what the orders were charged, each rounded.
    """
    orders: dict[tuple[date, int, int], dict[tuple[int, int], int]] = defaultdict(lambda: defaultdict(int))
    names = ("time_ns", "book", "instrument", "order", "side", "value")
    for time_ns, book, instrument, order, side, value in zip(*(fills[name].tolist() for name in names), strict=True):
        orders[session_date(time_ns), book, instrument][order, side] += value
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for (day, book, instrument), values in orders.items():
        executed = [Executed(side, value) for (_, side), value in values.items()]
        note = contract_note(executed, day=costs_as_of or day, exchange=exchanges[instrument], segment=products[book])
        for kind, rupees in note.items():
            sums[kind] += rupees
    return {kind: round(rupees * 100) for kind, rupees in sums.items() if kind not in _TOTALS}
