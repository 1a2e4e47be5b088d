"""Groups of legs in an arena: laying them out from the books' plans, and carrying them in a document of books.

Plain Python beside `state.py` and `books.py`; what happens to a group is `legs.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from numpy.typing import NDArray

from atmand.core.manifest import BookPlan, Manifest

__all__ = ["contracts_of", "fill_contracts", "fill_groups", "groups_document", "load_groups"]

_GROUP_STATE: Final = ("id", "realised_paise", "best_paise", "leaving", "until_ns")
_LEG_STATE: Final = ("state", "units", "entries", "cost")
_WAITING: Final = ("waits_ns", "wanted_side", "wanted_units", "wanted_close", "wanted_bar_ns", "wanted_marks")
_AMOUNTS: Final = ("loss", "target", "trail")


def contracts_of(
    manifest: Manifest, pairs: NDArray[Any], instruments: NDArray[Any], time_ns: int
) -> list[tuple[int, int, int]]:
    """List (book, instrument, pair of the underlying) of every contract that the legs of a book may reach."""
    found: list[tuple[int, int, int]] = []
    for index, row in enumerate(pairs):
        rights = {leg.right for leg in manifest.books[int(row["book"])].legs}
        for place in range(len(instruments)) if rights else ():
            contract = instruments[place]
            reached = contract["underlying"] == row["instrument"] and int(contract["right"]) in rights
            if reached and int(contract["expiry_ns"]) > time_ns and contract["tradable"]:
                found.append((int(row["book"]), place, index))
    return found


def fill_groups(groups: NDArray[Any], legs: NDArray[Any], pairs: NDArray[Any], plans: Sequence[BookPlan]) -> None:
    """Give every underlying whose book has legs a group of its own; `plans` are the books of the first pairs."""
    at, first = 0, 0
    for index, plan in enumerate(plans):
        if not plan.legs:
            continue
        group = groups[at]
        group["pair"], group["book"], group["first_leg"], group["legs"] = (
            index,
            pairs["book"][index],
            first,
            len(plan.legs),
        )
        for name, amount in zip(_AMOUNTS, plan.combined, strict=False):
            group[name], group[f"{name}_slot"] = amount.value, amount.slot
        for place, leg in enumerate(plan.legs, first):
            row = legs[place]
            for name in ("side", "right", "strike_rule", "strike_value", "expiry_rule", "expiry_days", "ratio"):
                row[name] = getattr(leg, name)
            row["reentries"], row["at_new_strike"], row["pair"] = leg.reentries, leg.at_new_strike, -1
            for name in _AMOUNTS:
                amount = getattr(leg, name)
                row[name], row[f"{name}_slot"], row[f"{name}_percent"] = amount.value, amount.slot, amount.percent
        pairs["group_row"][index] = at
        at, first = at + 1, first + len(plan.legs)


def fill_contracts(
    pairs: NDArray[Any], instruments: NDArray[Any], contracts: Sequence[tuple[int, int, int]], first: int
) -> None:
    """Fill the pairs of contracts behind the others: they have no structure and no bars that decide."""
    for index in range(first + len(contracts) - 1, first - 1, -1):
        book, instrument, underlying = contracts[index - first]
        row = pairs[index]
        row["book"], row["instrument"] = book, instrument
        row["structure"], row["series"], row["folded"] = -1, -1, 1
        row["group_row"] = pairs["group_row"][underlying]
        row["next_in_instrument"] = instruments["first_pair"][instrument]
        instruments["first_pair"][instrument] = index


def groups_document(
    groups: NDArray[Any],
    legs: NDArray[Any],
    pairs: Sequence[tuple[int, int]],
    books: Sequence[str],
    keys: Sequence[str],
) -> list[dict[str, Any]]:
    """Write the groups that are open or wait down by the names of their books, underlyings and contracts."""
    return [
        {
            "book": books[pairs[int(group["pair"])][0]],
            "instrument": keys[pairs[int(group["pair"])][1]],
            **{name: int(group[name]) for name in (*_GROUP_STATE, *_WAITING)},
            "legs": [
                {"contract": keys[pairs[int(leg["pair"])][1]], **{name: int(leg[name]) for name in _LEG_STATE}}
                for leg in legs[int(group["first_leg"]) : int(group["first_leg"] + group["legs"])]
            ],
        }
        for group in groups
        if group["id"] or group["waits_ns"]
    ]


def load_groups(
    groups: NDArray[Any],
    legs: NDArray[Any],
    pairs: NDArray[Any],
    places: Mapping[tuple[str, str], int],
    documents: Sequence[dict[str, Any]],
) -> None:
    """Take open groups from a document; `places` are the pairs by (book, instrument key).

    A group whose legs are other ones now, or whose contract has no row, is forgotten: its positions keep their stops.
    """
    for document in documents:
        place = places.get((document["book"], document["instrument"]), -1)
        row = int(pairs["group_row"][place]) if place >= 0 else -1
        if row >= 0:
            for name in _WAITING:
                groups[name][row] = document.get(name, 0)
        if not document["id"]:
            continue
        chosen = [places.get((document["book"], leg["contract"]), -1) for leg in document["legs"]]
        if row < 0 or len(chosen) != groups["legs"][row] or min(chosen) < 0:
            continue
        for name in _GROUP_STATE:
            groups[name][row] = document.get(name, 0)
        for index, leg in enumerate(document["legs"], int(groups["first_leg"][row])):
            for name in _LEG_STATE:
                legs[name][index] = leg[name]
            legs["pair"][index] = chosen[index - int(groups["first_leg"][row])]
            pairs["leg"][legs["pair"][index]] = index
