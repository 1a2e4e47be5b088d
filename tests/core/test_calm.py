"""A tick that can do nothing is left out: never one that could."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_market import Book, Market

from atmand.core.opening import PortfolioLimits

_LONG = {"long_above": 1.0, "loss": 1.0}
_SHORT = {"short_below": 1e6, "loss": 1.0}
_STOPS = {"loss": 3.0, "aim": 5.0}

_BOOKS: dict[str, list[Book]] = {
    "stops and targets on both sides": [
        Book(values={"long_above": 1.0, **_STOPS}),
        Book(values={"short_below": 1e6, **_STOPS}),
    ],
    "a target without a stop": [Book(values={"long_above": 1.0, "aim": 2.0})],
    "trails": [
        Book("manage", values=_LONG | {"trail": 2.0, "after": 1.0}),
        Book("manage", values=_SHORT | {"trail": 3.0}),
    ],
    "breakeven and a target": [
        Book("manage", values=_LONG | {"even": 2.0, "aim": 6.0}),
        Book("manage", values=_SHORT | {"even": 1.0, "aim": 4.0}),
    ],
    "additions and reductions": [
        Book("manage", values=_LONG | {"add_above": 1.0, "trail": 4.0, "aim": 9.0}),
        Book("manage", values=_SHORT | {"reduce_above": 1.0, "aim": 9.0}),
    ],
    "a share of the volume": [Book(values={"long_above": 1.0, **_STOPS}, plan={"participation_ppm": 200_000})],
}


def traded(books: list[Book], *, calm: bool, **terms: Any) -> tuple[bytes, int]:
    """Trade half an hour of a random walk; return the audit, and how many ticks found the instrument calm.

    Without `calm` nothing is remembered from one tick to the next.
    """
    market, random = Market(books, **terms), np.random.default_rng(3)
    price, volume, found = 100_000, 0, 0
    for at in range(1, 1_800, 4):
        price += 5 * int(random.integers(-25, 26))
        volume += int(random.integers(0, 60))
        width = 5 * int(random.integers(1, 4))
        sizes = random.integers(0, 30, 2)
        row = market.engine.table("instruments")[0]
        found += int(row["calm"])
        if not calm:
            row["calm"] = 0
        market.tick(
            at, price, volume=volume,
            bid=[(price - width, int(sizes[0]))] if at % 97 else [],
            ask=[(price + width, int(sizes[1]))] if at % 89 else [],
        )  # fmt: skip
    return market.audit().tobytes(), found


@pytest.mark.parametrize("netting", [False, True])
@pytest.mark.parametrize("name", _BOOKS)
def test_what_calm_ticks_leave_out_changes_nothing(name: str, netting: bool) -> None:
    audit, found = traded(_BOOKS[name], calm=True, portfolio=PortfolioLimits(netting=netting))
    assert audit == traded(_BOOKS[name], calm=False, portfolio=PortfolioLimits(netting=netting))[0]
    assert found > 20
    assert len(audit) > 50 * 128
