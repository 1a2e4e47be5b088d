"""Folds one fixed market in this process and prints the sha256 of its audit rows and of the whole arena's books.

    python fold_digest.py MINUTES

The engine's tests start it with another hash seed, with the compiler off, and with bounds checked.
"""

from __future__ import annotations

import hashlib
import sys

import orjson
from core_market import Book, Market, walk

from atmand.core.records import Command

BOOKS = (
    Book("steer", "alpha", "one", {"long_above": 1_000.0, "short_below": 990.0, "loss": 8.0, "aim": 6.0, "units": 30}),
    Book("keep", "beta", "one", {"long_above": 995.0, "long_out_below": 1_005.0, "rupees": 25_000}),
    Book("quick", "gamma", "two", {}, instruments=(0, 1)),
    Book("trend", "delta", "two", {}, instruments=(1,)),
)


def fold(minutes: int) -> Market:
    """Run a market of two shares, thin depth, a gap, commands and new parameters."""
    market = Market(BOOKS, latency_ns=(50_000_000, 900_000_000), entry_wait_ns=120_000_000_000)
    prices = walk(31, minutes * 4, spread=300)
    for place, last in enumerate(prices):
        at = place * 15 + 5
        if place == len(prices) // 3:
            market.gap(at - 1, since=at - 14)
        if place == len(prices) // 2:
            market.command(at - 1, Command.EXIT_POSITION, book=0)
            market.set(at - 1, 2, period=5, level=55)
        levels = [(place * 7 + level * 3) % 23 for level in range(5)]
        market.tick(
            at,
            last,
            place=place % 2,
            volume=place * 40,
            bid=[(last - 5 - 5 * level, size) for level, size in enumerate(levels)],
            ask=[(last + 5 + 5 * level, size) for level, size in enumerate(levels)],
        )
    return market


def digest(market: Market) -> str:
    books = orjson.dumps(market.engine.books(), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(market.audit().tobytes() + books).hexdigest()


if __name__ == "__main__":
    folded = fold(int(sys.argv[1]))
    print(digest(folded), len(folded.audit()))
