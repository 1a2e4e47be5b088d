"""Run-off: a book that leads the positions of a changed or removed strategy to their exits, and what it leaves.

A program's manifest names such books; the engine moves the money when it lays the program out, so that the fold of a
journal moves it too. Pure functions on the books' document.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from atmand.core.layout import BOOK
from atmand.core.manifest import Manifest
from atmand.core.words import Purpose

__all__ = ["heir_of", "with_run_off"]

_RUN_OFF: Final = re.compile(r"(?P<heir>.+)~\d+(?P<account>@.+)")
_KEPT: Final = (
    "order_value_paise", "position_value_paise", "daily_loss_paise", "open_positions", "orders_a_day", "orders_today",
)  # fmt: skip


def heir_of(book: str) -> str | None:
    """Return the book that gets what a run-off book (`name~1@account`) leaves; None for any other book."""
    found = _RUN_OFF.fullmatch(book)
    return found["heir"] + found["account"] if found else None


def with_run_off(document: dict[str, Any], manifest: Manifest, held: Collection[tuple[str, str]]) -> dict[str, Any]:
    """Return the books as a program begins with them.

    A run-off book that they do not know takes the positions over that its origin holds in the (book, instrument) pairs
    `held`, at their cost; one that the program has no more leaves its money to its heir. Cash is moved, never made.
    """
    books = {name: dict(book) for name, book in document["books"].items()}
    pairs = [dict(row) for row in document["pairs"]]
    orders = [dict(row) for row in document["orders"]]
    names = {f"{plan.strategy}@{plan.account}" for plan in manifest.books}
    for plan in manifest.books:
        name, origin = f"{plan.strategy}@{plan.account}", f"{plan.origin}@{plan.account}"
        if plan.run_off and name not in books and origin in books:
            books[name] = _split(books[origin], _moved(origin, name, pairs, orders, held))
    for name in [name for name in books if name not in names]:
        heir = heir_of(name)
        if heir in names and heir in books and not books[name]["positions"]:
            _merge(books.pop(name), books[heir])
            pairs = [row for row in pairs if row["book"] != name]
    return {**document, "books": books, "pairs": pairs, "orders": orders}


def _moved(
    origin: str, name: str, pairs: list[dict[str, Any]], orders: list[dict[str, Any]], held: Collection[tuple[str, str]]
) -> dict[str, int]:
    """Give a book's open positions and their exits to another; return what moved. A rest of an entry is given up."""
    moved = {"capital": 0, "value": 0, "positions": 0, "working": 0, "ended": 0}
    keys = set()
    for row in pairs:
        if row["book"] == origin and row["quantity"] and (name, row["instrument"]) in held:
            row["book"] = name
            keys.add(row["instrument"])
            moved["capital"] += abs(row["value_paise"])
            moved["value"] += row["value_paise"]
            moved["positions"] += 1
    for row in list(orders):
        if row["book"] == origin and row["instrument"] in keys:
            if row["purpose"] == Purpose.ENTRY:
                orders.remove(row)
                moved["ended"] += 1
            else:
                row["book"] = name
                moved["working"] += 1
    return moved


def _split(origin: dict[str, Any], moved: dict[str, int]) -> dict[str, Any]:
    """Make a book of the positions that moved: worth what they cost, and that much less in the book they came from."""
    cash, capital = moved["capital"] - moved["value"], moved["capital"]
    origin["positions"] -= moved["positions"]
    origin["working"] -= moved["working"] + moved["ended"]
    origin["cash_paise"] -= cash
    for field in ("capital_paise", "equity_paise", "day_equity_paise"):
        origin[field] -= capital
    return {
        **dict.fromkeys(BOOK.names or (), 0),
        **{name: origin[name] for name in _KEPT},
        "cash_paise": cash,
        "capital_paise": capital,
        "equity_paise": capital,
        "day_equity_paise": capital,
        "positions": moved["positions"],
        "working": moved["working"],
    }


def _merge(book: dict[str, Any], heir: dict[str, Any]) -> None:
    """Give what a finished book has to its heir; profit that it made today is the heir's of today."""
    for field in ("cash_paise", "capital_paise", "equity_paise", "day_equity_paise", "realised_paise"):
        heir[field] += book[field]
