"""Which instruments of a session the feed is asked for: all of them, but of a chain only the strikes round the money.

A window follows its underlying over the band that INSTRUMENTS lists, so that it moves without a new record; what the
core holds or has orders in stays subscribed. The market side asks after market time has moved on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from atmand.universe import Chain, Universe

__all__ = ["StrikeWindows", "places_in_use"]

log = structlog.get_logger()


class _Row(NamedTuple):
    """The contracts of one expiry and right, by strike."""

    strikes: NDArray[np.int64]
    places: NDArray[np.int64]

    def at_the_money(self, price: int) -> int:
        return int(np.argmin(np.abs(self.strikes - price)))


class StrikeWindows:
    """The windows over one universe's chains; `width` is the strikes on each side of the money."""

    def __init__(self, universe: Universe, width: int) -> None:
        self._universe, self._width = universe, width
        self._rows = [_rows(chain, universe) for chain in universe.chains]
        self._centres = [chain.price for chain in universe.chains]
        self._always = set(range(len(universe.instruments)))
        self._always -= {place for rows in self._rows for row in rows for place in row.places.tolist()}
        self._always |= {place for _, place in universe.pairs}
        self._kept: frozenset[int] = frozenset()

    @property
    def tokens(self) -> list[int]:
        """Feed tokens of what is to be subscribed now."""
        wanted = self._always | self._kept
        for chain, rows, centre in zip(self._universe.chains, self._rows, self._centres, strict=True):
            for row in rows:
                wanted.update(row.places[self._span(chain, row, centre)].tolist())
        tokens = (self._universe.instruments[place][0].token for place in sorted(wanted))
        return [token for token in tokens if token > 0]

    def follow(self, prices: Sequence[int] | NDArray[Any], in_use: Collection[int]) -> bool:
        """Move windows whose underlying has gone a third of their width away; say whether any did.

        `prices` are last prices by place, 0 before the first tick; `in_use` are places that must stay subscribed.
        """
        moved = False
        for at, (chain, rows) in enumerate(zip(self._universe.chains, self._rows, strict=True)):
            price, centre = int(prices[chain.underlying]), self._centres[at]
            if price > 0 and any(self._is_away(row, price, centre) for row in rows):
                self._centres[at] = price
                moved = True
                low, high = self._edges(chain, rows, price)
                instrument = self._universe.instruments[chain.underlying][0]
                log.info(
                    "strikes_recentred",
                    instrument=instrument.key,
                    price=price / instrument.price_scale,
                    low=low / instrument.price_scale,
                    high=high / instrument.price_scale,
                )
        if moved:
            self._kept = frozenset(int(place) for place in in_use)
        return moved

    def _is_away(self, row: _Row, price: int, centre: int) -> bool:
        return abs(row.at_the_money(price) - row.at_the_money(centre)) >= max(1, self._width // 3)

    def _span(self, chain: Chain, row: _Row, centre: int) -> slice:
        """Return which strikes of a row are subscribed: the window, as far out as any leg lies, and by percent."""
        at, reach = row.at_the_money(centre), self._width + chain.need.steps
        low, high = max(0, at - reach), at + reach + 1
        if chain.need.percent:
            away = centre * (chain.need.percent + 1.0) / 100
            low = min(low, int(np.searchsorted(row.strikes, centre - away)))
            high = max(high, int(np.searchsorted(row.strikes, centre + away, "right")))
        return slice(low, high)

    def _edges(self, chain: Chain, rows: Sequence[_Row], centre: int) -> tuple[int, int]:
        spans = [row.strikes[self._span(chain, row, centre)] for row in rows]
        return min(int(strikes[0]) for strikes in spans), max(int(strikes[-1]) for strikes in spans)


def places_in_use(pairs: NDArray[Any]) -> frozenset[int]:
    """Return the places of the instruments in which any book holds something, has an order or runs a group."""
    busy = (pairs["quantity"] != 0) | (pairs["entry_order"] >= 0) | (pairs["exit_order"] >= 0) | (pairs["group"] != 0)
    return frozenset(pairs["instrument"][busy].tolist())


def _rows(chain: Chain, universe: Universe) -> list[_Row]:
    """Return a chain's options by expiry and right; its futures are always subscribed."""
    found: dict[tuple[Any, int], list[tuple[int, int]]] = defaultdict(list)
    for place in chain.places:
        instrument = universe.instruments[place][0]
        if instrument.right != 0:
            found[instrument.expiry, instrument.right].append((instrument.strike, place))
    arrays = [np.array(sorted(contracts), np.int64) for _, contracts in sorted(found.items())]
    return [_Row(array[:, 0], array[:, 1]) for array in arrays]
