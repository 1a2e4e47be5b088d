"""What the costs of a run were paid for: brokerage, taxes, the exchange, the regulator, the depository."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from numpy.typing import NDArray

from atmand.market.cost_table import DEFAULT_PLAN
from atmand.market.costs import Executed, contract_note
from atmand.market.sessions import session_date

__all__ = ["costs_by_kind"]

_TOTALS: Final = ("total", "total_with_stt_rupee_rounded")


def costs_by_kind(
    fills: NDArray[Any],
    products: Sequence[str],
    exchanges: Sequence[str],
    costs_as_of: date | None,
    plan: str = DEFAULT_PLAN,
) -> dict[str, int]:
    """Return the costs of fills by kind, in paise; a book has a product, an instrument an exchange.

    Added exactly and rounded once, so their sum may differ by paise from what the orders were charged, each rounded.
    """
    orders: dict[tuple[date, int, int], dict[tuple[int, int], int]] = defaultdict(lambda: defaultdict(int))
    units: dict[tuple[date, int, int], dict[int, int]] = defaultdict(lambda: {1: 0, -1: 0})
    names = ("time_ns", "book", "instrument", "order", "side", "value", "quantity")
    for time_ns, book, instrument, order, side, value, quantity in zip(
        *(fills[name].tolist() for name in names), strict=True
    ):
        place = session_date(time_ns), book, instrument
        orders[place][order, side] += value
        units[place][side] += quantity
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for place, values in orders.items():
        executed = [Executed(side, value) for (_, side), value in values.items()]
        where: dict[str, Any] = {"day": costs_as_of or place[0], "exchange": exchanges[place[2]], "plan": plan}
        charges = contract_note(executed, segment=products[place[1]], **where)
        if products[place[1]] == "CNC":
            charges = _of_the_day(charges, executed, units[place], where)
        for kind, rupees in charges.items():
            sums[kind] += rupees
    return {kind: round(rupees * 100) for kind, rupees in sums.items() if kind not in _TOTALS}


def _of_the_day(
    charges: Mapping[str, Decimal], executed: Sequence[Executed], units: Mapping[int, int], where: Mapping[str, Any]
) -> dict[str, Decimal]:
    """Charge what was bought and sold within the day as intraday, as `costs.same_day_costs` does."""
    matched = min(units.values())
    parts = [
        Executed(side, sum(order.value_paise for order in executed if order.side == side) * matched // units[side])
        for side in (1, -1)
        if matched
    ]
    intraday = contract_note(parts, segment="EQ_INTRADAY", **where)
    delivery = contract_note(parts, segment="EQ_DELIVERY", **where)
    changed = {kind: charges[kind] + intraday[kind] - delivery[kind] for kind in charges}
    return {**changed, "dp": charges["dp"] if units[-1] > units[1] else Decimal(0)}
