"""What books and accounts have at stake: after every record the sums that were kept up are what a scan gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from core_market import RICH, Book, Market, share, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.core.exposure import value_pairs
from atmand.core.jit import address_of, routine
from atmand.core.opening import PortfolioLimits
from atmand.core.records import Command, Kind

SHARES = (share(0, sector="BANK"), share(1, sector="BANK"), share(2))
KINDS = {
    "long": Book(values={"long_above": 999.0, "long_out_below": 997.0, "loss": 3, "aim": 4, "units": 7}),
    "short": Book(values={"short_below": 1001.0, "short_out_above": 1003.0, "loss": 2, "units": 5}),
    "quick": Book("quick"),
    "manage": Book("manage", values={"long_above": 998.0, "out": 995.0, "add_above": 1000.0, "loss": 4.0}),
    "limits": Book("limits", values={"at": 999.0}),
}
SHARED = PortfolioLimits(
    account_positions=6, underlying_positions=4, sector_positions=5, gross_of_equity=9_000, net_of_equity=8_000
)


@routine
def reckon(arena):  # type: ignore[no-untyped-def]
    value_pairs(address_of(arena))


def scanned(market: Market) -> dict[str, list[list[int]]]:
    """Reckon every sum out of the pairs, orders and prices as they are."""
    books, pairs, orders, instruments = (
        market.engine.table(name) for name in ("books", "pairs", "orders", "instruments")
    )
    n_accounts, each = len(market.engine.layout.manifest.accounts), int(market.header["crowds_each"])
    of_books = np.zeros((len(books), 3), np.int64)
    of_accounts = np.zeros((n_accounts, 4), np.int64)
    crowds = np.zeros((n_accounts, each), np.int64)
    for pair in pairs:
        held, slot = int(pair["quantity"] * instruments["last_price"][pair["instrument"]]), int(pair["entry_order"])
        rest = int((orders["quantity"][slot] - orders["filled"][slot]) * orders["limit"][slot]) if slot >= 0 else 0
        exposure = held + (rest * int(orders["side"][slot]) if slot >= 0 else 0)
        account, exposed = books["account"][pair["book"]], pair["quantity"] != 0 or slot >= 0
        short = -2 * int(pair["value_paise"]) if pair["quantity"] < 0 else 0
        of_books[pair["book"]] += (held, short + rest, int(slot >= 0 and pair["quantity"] == 0))
        of_accounts[account] += (held, abs(exposure), exposure, int(exposed))
        for place in (pair["instrument"], len(instruments) + instruments["sector"][pair["instrument"]]):
            crowds[account, place] += int(exposed)
    return {"books": of_books.tolist(), "accounts": of_accounts.tolist(), "crowds": crowds.tolist()}


def kept(market: Market) -> dict[str, list[list[int]]]:
    """Return the sums of the arena in the form of `scanned`."""
    books, accounts, crowds = (market.engine.table(name) for name in ("books", "accounts", "crowds"))
    return {
        "books": [[int(row[n]) for n in ("held_paise", "committed_paise", "entering")] for row in books],
        "accounts": [
            [int(row[n]) for n in ("held_paise", "gross_paise", "net_paise", "exposed")]
            for row in accounts[: len(market.engine.layout.manifest.accounts)]
        ],
        "crowds": crowds["pairs"].reshape(-1, int(market.header["crowds_each"])).tolist(),
    }


@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.booleans()), min_size=2, max_size=5),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_sums_are_a_scans_after_every_record(seed: int, kinds: list[tuple[str, bool]], limited: bool) -> None:
    draw = np.random.default_rng(seed)
    capital = replace(RICH, capital_paise=300_000_00)
    books = [
        replace(KINDS[kind], name=f"b{n}", account="two" if other else "one", limits=capital, instruments=(0, 1, 2))
        for n, (kind, other) in enumerate(kinds)
    ]
    market = Market(books, SHARES, portfolio=SHARED if limited else PortfolioLimits())
    walks = [walk(seed + place, 14) for place in range(len(SHARES))]
    asked = 0
    for number, prices in enumerate(zip(*walks, strict=True)):
        for place, price in enumerate(prices):
            market.tick(number * 60 + 10 + place, price, place=place, quantity=int(draw.integers(1, 40)))
            if draw.random() < 0.5:
                market.tick(number * 60 + 20 + place, price + 5 * int(draw.integers(-90, 90)), place=place, quantity=9)
        if draw.random() < 0.2:
            market.command(number * 60 + 40, Command.EXIT_POSITION, book=int(draw.integers(0, len(books))))
        market.timer((number + 1) * 60 + 1)
        asked += int(market.header["valued"])
        reckon(market.engine.layout.arena)
        assert kept(market) == scanned(market)
    decided = market.audit(Kind.AUDIT_DECISION)
    assert asked or not decided["state"].any()
