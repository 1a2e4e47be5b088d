"""The books as a document: orders, positions, cash and counters by durable names, for snapshots that outlive the code.

Fields travel by name: one that a newer layout added starts at zero, one that it dropped is left out. Row numbers
never travel; orders find their pair, and lists are linked again in the order of the orders' ids.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.groups import groups_document, load_groups
from atmand.core.layout import ARENA, PAIR
from atmand.core.manifest import Manifest
from atmand.core.state import Layout, table
from atmand.core.words import OrderState, Purpose, Reason
from atmand.errors import DamagedError

__all__ = [
    "SCHEMA",
    "apply_fills",
    "books_document",
    "homeless_positions",
    "load_books",
    "open_next_day",
    "without_orders",
]

SCHEMA: Final = 1

_HEADER_FIELDS: Final = (
    "entries",
    "next_order",
    "next_trade",
    "next_group",
    "orders_made",
    "fills",
    "refused",
    "session_ended",
    "fingerprint",
)
_ALIVE: Final = ("quantity", "trade", "blocked", "cooling", "trades_today", "group")
_STRUCTURAL: Final = {
    "BOOK": ("account", "structure", "venue", "delivery", "params_at", "params_size", "lookback_slots",
             "entry_from_ns", "entry_to_ns", "square_off_ns", "run_off",
             "cooldown", "max_adds", "max_reduces", "max_trades",
             "participation_ppm", "limit_entry", "entry_wait_ns",
             "held_paise", "committed_paise", "entering", "first_pair"),
    "PAIR": ("book", "instrument", "structure", "series", "slab_at", "next_in_series", "next_in_instrument",
             "next_in_book", "first_subscription",
             "entry_order", "exit_order", "target_order", "folded", "ready", "group_row", "leg",
             "proposed", "proposed_side", "proposed_units", "proposed_close", "proposed_bar_ns",
             "proposed_marks", "held_paise", "exposure_paise", "committed_paise", "exposed", "entering",
             "wanted"),
    "ORDER": ("book", "pair", "instrument", "next", "previous", "next_working", "previous_working", "next_slice"),
    "ACCOUNT": ("books", "held_paise", "gross_paise", "net_paise", "exposed"),
}  # fmt: skip
_DAILY: Final = {
    "BOOK": ("orders_today", "squared"),
    "PAIR": ("bought_today", "bought_value", "sold_today", "sold_value", "trades_today"),
}
_TRADE_SUMS: Final = (
    "entry_quantity", "entry_value", "exit_quantity", "exit_value", "costs_paise", "realised_paise", "bars_held",
)  # fmt: skip
_ENDS_WITH_TRADE: Final = (
    "side", "stop_price", "target_price", "stop_distance", "target_distance", "exit_reason",
    "trail_distance", "trail_after", "breakeven", "best_price", "stop_reason", "managed",
)  # fmt: skip
_SLOT_OF: Final = {Purpose.ENTRY: "entry_order", Purpose.EXIT: "exit_order", Purpose.TARGET: "target_order"}


def books_document(layout: Layout) -> dict[str, Any]:
    """Write the books of an arena down; nothing in the document depends on row numbers."""
    header = layout.arena[: ARENA.itemsize].view(ARENA)[0]
    books, pairs, orders = (table(layout.arena, name) for name in ("books", "pairs", "orders"))
    names = _book_names(layout)
    alive = np.any([pairs[name] != 0 for name in _ALIVE], axis=0)
    return {
        "schema": SCHEMA,
        "sequence": int(header["sequence"]),
        "time_ns": int(header["time_ns"]),
        "date": int(header["date"]),
        "header": {name: int(header[name]) for name in _HEADER_FIELDS},
        "accounts": {
            name: _fields(row, "ACCOUNT")
            for name, row in zip(layout.manifest.accounts, table(layout.arena, "accounts"), strict=False)
        },
        "books": {name: _fields(books[index], "BOOK") for index, name in enumerate(names)},
        "pairs": [
            {"book": names[book], "instrument": layout.keys[instrument], **_fields(pairs[index], "PAIR")}
            for index in np.flatnonzero(alive)
            for book, instrument in (layout.pairs[index],)
        ],
        "prices": _prices(layout),
        "groups": groups_document(
            table(layout.arena, "groups"), table(layout.arena, "legs"), layout.pairs, names, layout.keys
        ),
        "orders": [
            {
                "book": names[int(row["book"])],
                "instrument": layout.keys[int(row["instrument"])],
                **_fields(row, "ORDER"),
            }
            for row in np.sort(orders[orders["state"] != OrderState.FREE], order="id")
        ],
    }


def load_books(layout: Layout, document: dict[str, Any]) -> list[str]:
    """Put a document's books into an arena; return the names of books and instruments that have no row in it.

    DamagedError for a schema that is newer than this code, and where an open position has lost its row: it would be
    forgotten.
    """
    if document.get("schema") != SCHEMA:
        raise DamagedError("books snapshot", f"schema {document.get('schema')!r}", f"this atmand reads schema {SCHEMA}")
    arena = layout.arena
    header = arena[: ARENA.itemsize].view(ARENA)
    for name, value in document["header"].items():
        if name in _HEADER_FIELDS:
            header[name] = value
    lost: list[str] = []
    accounts = {name: index for index, name in enumerate(layout.manifest.accounts)}
    books = {name: index for index, name in enumerate(_book_names(layout))}
    lost += _load_named(table(arena, "accounts"), "ACCOUNT", accounts, document["accounts"])
    lost += _load_named(table(arena, "books"), "BOOK", books, document["books"])
    places = {pair: index for index, pair in enumerate(layout.pairs)}
    keys = {key: index for index, key in enumerate(layout.keys)}
    pairs = table(arena, "pairs")
    for row in document["pairs"]:
        place = places.get((books.get(row["book"], -1), keys.get(row["instrument"], -1)))
        if place is not None:
            _load_fields(pairs, place, "PAIR", row)
        elif row["quantity"]:
            raise DamagedError(
                f"position {row['instrument']} of {row['book']}",
                f"{row['quantity']} units have no strategy any more",
                "put the strategy and the instrument back until the position is closed",
            )
        else:
            lost.append(f"{row['book']} {row['instrument']}")
    named = {
        (book, key): places[pair]
        for book, at in books.items()
        for key, instrument in keys.items()
        if (pair := (at, instrument)) in places
    }
    load_groups(table(arena, "groups"), table(arena, "legs"), pairs, named, document.get("groups", []))
    _load_orders(layout, document["orders"], books, keys, places)
    _load_prices(table(arena, "instruments"), keys, document.get("prices", {}))
    _sum_cash(arena, len(accounts))
    table(arena, "instruments")["calm"] = 0
    header["next_due_ns"] = 0
    return lost


def homeless_positions(document: dict[str, Any], held: Collection[tuple[str, str]]) -> list[str]:
    """Name the open positions of a books document that have no row where (book, instrument key) are those `held`."""
    return [
        f"{row['instrument']} of {row['book']}"
        for row in document["pairs"]
        if row["quantity"] and (row["book"], row["instrument"]) not in held
    ]


def open_next_day(layout: Layout) -> None:
    """Begin a day on books that were carried into it: daily counters at zero, the day's loss counted from here.

    What delivery books hold is in the depository now: bought on one day, shares are there on the next (T+1). A position
    under MIS should not be here, as when the daemon was down at its time: it is given up at the first touch.
    """
    header = layout.arena[: ARENA.itemsize].view(ARENA)
    header["session_ended"] = 0
    header["next_due_ns"] = 0
    books, pairs = table(layout.arena, "books"), table(layout.arena, "pairs")
    for name in _DAILY["BOOK"]:
        books[name] = 0
    for name in _DAILY["PAIR"]:
        pairs[name] = 0
    books["day_equity_paise"] = books["equity_paise"]
    if not layout.manifest.books:  # a recorder's
        return
    products = np.array([plan.product for plan in layout.manifest.books])[pairs["book"]]
    pairs["holding"] = np.where(products == "CNC", pairs["quantity"], 0)
    late = (products == "MIS") & (pairs["quantity"] != 0) & (pairs["exit_reason"] == 0)
    pairs["exit_reason"][late] = Reason.SQUARE_OFF


def _book_names(layout: Layout) -> list[str]:
    return [f"{plan.strategy}@{plan.account}" for plan in layout.manifest.books]


def _fields(row: Any, kind: str) -> dict[str, int]:
    return {name: int(row[name]) for name in row.dtype.names if name not in _STRUCTURAL[kind]}


def _load_fields(rows: NDArray[Any], place: int, kind: str, document: dict[str, Any]) -> None:
    for name in rows.dtype.names or ():
        if name not in _STRUCTURAL[kind] and isinstance(document.get(name), int):
            rows[name][place] = document[name]


def _load_named(
    rows: NDArray[Any], kind: str, places: dict[str, int], documents: dict[str, dict[str, int]]
) -> list[str]:
    for name, document in documents.items():
        if name in places:
            _load_fields(rows, places[name], kind, document)
    return [name for name in documents if name not in places]


def _prices(layout: Layout) -> dict[str, int]:
    """Name the last price of every instrument that is held: a position has a value before the day's first trade."""
    pairs, instruments = table(layout.arena, "pairs"), table(layout.arena, "instruments")
    held = np.unique(pairs["instrument"][pairs["quantity"] != 0])
    return {layout.keys[index]: int(instruments["last_price"][index]) for index in held}


def _load_prices(instruments: NDArray[Any], keys: dict[str, int], prices: dict[str, int]) -> None:
    for key, price in prices.items():
        if key in keys and instruments["last_price"][keys[key]] == 0:
            instruments["last_price"][keys[key]] = price


def _sum_cash(arena: NDArray[np.uint8], accounts: int) -> None:
    """An account's cash is its books': one that is gone has taken its own along."""
    books = table(arena, "books")
    for index in range(accounts):
        table(arena, "accounts")["cash_paise"][index] = books["cash_paise"][books["account"] == index].sum()


def _load_orders(
    layout: Layout,
    documents: list[dict[str, Any]],
    books: dict[str, int],
    keys: dict[str, int],
    places: dict[tuple[int, int], int],
) -> None:
    orders, pairs = table(layout.arena, "orders"), table(layout.arena, "pairs")
    instruments = table(layout.arena, "instruments")
    orders["state"] = OrderState.FREE
    for name in _SLOT_OF.values():
        pairs[name] = -1
    slot = 0
    for row in documents:
        book, instrument = books.get(row["book"], -1), keys.get(row["instrument"], -1)
        place = places.get((book, instrument))
        if place is None:
            continue
        _load_fields(orders, slot, "ORDER", row)
        orders["book"][slot], orders["instrument"][slot], orders["pair"][slot] = book, instrument, place
        _chain(orders["next_slice"], pairs[_SLOT_OF[Purpose(row["purpose"])]], place, slot)
        slot += 1
    chosen, every = orders[:slot], np.zeros(slot, np.int64)
    header, queues = layout.arena[: ARENA.itemsize].view(ARENA), table(layout.arena, "queues")
    ends = instruments["first_order"], queues["last_order"]
    _link_both(chosen["instrument"], chosen["next"], chosen["previous"], *ends)
    ends = header["first_working"], header["last_working"]
    _link_both(every, chosen["next_working"], chosen["previous_working"], *ends)
    queues["buys"] = queues["sells"] = 0
    np.add.at(queues["buys"], chosen["instrument"][chosen["side"] > 0], 1)
    np.add.at(queues["sells"], chosen["instrument"][chosen["side"] < 0], 1)


def _chain(following: NDArray[Any], heads: NDArray[Any], place: int, slot: int) -> None:
    """Put an order behind the other slices of its pair's intent."""
    following[slot], last = -1, int(heads[place])
    while last >= 0 and following[last] >= 0:
        last = int(following[last])
    if last < 0:
        heads[place] = slot
    else:
        following[last] = slot


def _link_both(
    owners: NDArray[Any], following: NDArray[Any], previous: NDArray[Any], first: NDArray[Any], last: NDArray[Any]
) -> None:
    """Link the rows of each owner in their order, to both sides; `first` and `last` are where an owner's list ends."""
    for links in (following, previous, first, last):
        links[:] = -1
    for place, owner in enumerate(owners.tolist()):
        before = int(last[owner])
        if before < 0:
            first[owner] = place
        else:
            following[before], previous[place] = place, before
        last[owner] = place


def apply_fills(document: dict[str, Any], manifest: Manifest, keys: Sequence[str], rows: NDArray[Any]) -> None:
    """Book recorded fills in a books document, where the code that decided them is gone.

    `manifest` and `keys` name the rows' books and instruments. Stops and targets of positions that were opened after
    the document are not known; a strategy's own exits are.
    """
    pairs = {(row["book"], row["instrument"]): row for row in document["pairs"]}
    for fill in rows:
        plan = manifest.books[int(fill["book"])]
        place = (f"{plan.strategy}@{plan.account}", keys[int(fill["instrument"])])
        if place not in pairs:
            pairs[place] = {
                "book": place[0],
                "instrument": place[1],
                **dict.fromkeys(PAIR.names or (), 0),
                **_named(place),
            }
            document["pairs"].append(pairs[place])
        pair, book = pairs[place], document["books"][place[0]]
        account = document["accounts"][plan.account]
        opened = pair["quantity"] == 0
        if opened:
            pair.update(side=int(fill["side"]), trade=int(fill["trade"]), entry_ns=int(fill["time_ns"]))
            pair.update(entry_cause=int(fill["cause"]), entry_index=int(fill["index"]))
            pair.update(dict.fromkeys((*_TRADE_SUMS, "value_paise"), 0))
        realised = _book_fill(pair, fill)
        if plan.delivery and int(fill["reason"]) != Reason.NETTED:
            _count_delivery(pair, fill)
        cash = -int(fill["side"]) * int(fill["value"]) - int(fill["costs"])
        for owner in (book, account):
            owner["cash_paise"] += cash
            owner["costs_paise"] += int(fill["costs"])
            owner["realised_paise"] += realised
        book["positions"] += int(opened) - int(pair["quantity"] == 0)
        header = document["header"]
        header["next_trade"] = max(header["next_trade"], int(fill["trade"]))
        header["next_order"] = max(header["next_order"], int(fill["order"]))


def without_orders(document: dict[str, Any]) -> dict[str, Any]:
    """Return a books document whose working orders are gone: the venue that matched them was the process itself."""
    books = {name: {**book, "working": 0} for name, book in document["books"].items()}
    return {**document, "books": books, "orders": []}


def _named(place: tuple[str, str]) -> dict[str, str]:
    return {"book": place[0], "instrument": place[1]}


def _count_delivery(pair: dict[str, Any], fill: Any) -> None:
    """Count what the market gave or took today: the day's costs of deliveries depend on it."""
    word = "bought" if int(fill["side"]) > 0 else "sold"
    for name, amount in ((f"{word}_today", fill["quantity"]), (f"{word}_value", fill["value"])):
        pair[name] = pair.get(name, 0) + int(amount)


def _book_fill(pair: dict[str, Any], fill: Any) -> int:
    """Move a position by one fill; return what it realised, in paise."""
    side, quantity, value = int(fill["side"]), int(fill["quantity"]), int(fill["value"])
    pair["costs_paise"] += int(fill["costs"])
    if side == pair["side"]:
        pair["quantity"] += side * quantity
        pair["value_paise"] += side * value
        pair["entry_quantity"] += quantity
        pair["entry_value"] += value
        return 0
    share = pair["value_paise"] * quantity // abs(pair["quantity"])
    pair["value_paise"] -= share
    pair["quantity"] += side * quantity
    pair["exit_quantity"] += quantity
    pair["exit_value"] += value
    pair["realised_paise"] += -side * value - share
    if pair["quantity"] == 0:
        pair.update(dict.fromkeys(_ENDS_WITH_TRADE, 0))
    return int(-side * value - share)
