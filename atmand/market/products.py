"""What the broker's products mean: what may be held under CNC, MIS and NRML, and by when MIS has to be flat.

CNC takes shares into delivery, MIS is flat before the day ends, NRML carries derivatives over night. Sources:
kite.trade/docs/connect/v3/orders (products) and, row by row, `data/products.toml`.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from typing import Any, Final

from atmand.errors import AtmandError
from atmand.market.tables import load_table

__all__ = ["kind_of_name", "product_refusal", "square_off_minutes", "square_off_segment"]

_DERIVATIVES: Final = ("FUT", "OPT")
_DERIVATIVE_EXCHANGES: Final = ("NFO", "BFO")


def product_refusal(product: str, name: str, *, is_derivative: bool) -> tuple[str, str] | None:
    """Return why an instrument cannot be held under a product, and what to do; None where it can."""
    if product == "NRML" and not is_derivative:
        return (
            f"NRML carries futures and options, and {name} is neither",
            'use product "MIS" (flat before the day ends) or "CNC" (delivery), or name contracts: NFO:..., NSE:FUT:...',
        )
    if product == "CNC" and is_derivative:
        return (
            f"CNC takes shares into delivery, and {name} is a derivative",
            'use product "NRML" (held over night) or "MIS" (flat before the day ends)',
        )
    return None


def kind_of_name(name: str) -> str:
    """Say of a name in a universe whether it means a `share` or a `derivative`; empty where only a dump can tell."""
    parts = name.split(":")
    if parts[0] in _DERIVATIVE_EXCHANGES or (len(parts) > 2 and parts[1] in _DERIVATIVES):
        return "derivative"
    if parts[0] in ("NSE", "BSE") and (len(parts) == 2 or parts[1] == "EQ"):
        return "share"
    return ""


def square_off_segment(segment: str, *, has_auction: bool) -> str:
    """Return the segment of the square-off table that an instrument belongs to."""
    if segment in _DERIVATIVES:
        return "FO"
    return "EQ_AUCTION" if has_auction else "EQ"


def square_off_minutes(day: date, segment: str) -> int:
    """Return how many minutes before the close of its session MIS positions of a segment are closed by us."""
    rows = [row for row in _SQUARE_OFF if segment in row["segments"]]
    place = bisect_right(rows, day, key=lambda row: row["from"])
    if place == 0:
        begins = f"the square-off table for {segment} begins on {rows[0]['from']}" if rows else "no such segment"
        raise AtmandError(f"square-off of {day}", begins, "choose a later day")
    return int(rows[place - 1]["our_minutes"])


_SQUARE_OFF: Final[list[dict[str, Any]]] = sorted(load_table("products")["square_off"], key=lambda row: row["from"])
