"""What fills paid beyond the mid, so that a result can be told at other slippages than the one it was made with.

A fill's slippage is the distance of its price from the mid of the step of the bar path that it met, against us: half
the spread that the path states, and the depth that was walked. A target rests in the book and fills at its limit, so it
slips by nothing. Other slippages keep the same trades: what a worse fill would have changed in later decisions (a stop
set round another entry, less cash) is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.words import Purpose
from atmand.history.bars import Bars
from atmand.ledger.trades import Trade
from atmand.market.bar_path import STEP_SECONDS, step_price

__all__ = ["MULTIPLES", "Slippage", "net_at", "slippage_of", "slippage_of_fills"]

MULTIPLES: Final = (0.5, 1.0, 2.0)
"""Each result is told at these multiples of the slippage that it was made with."""

_MINUTE_NS: Final = 60_000_000_000
_SECOND_NS: Final = 1_000_000_000
_step_price: Final = getattr(step_price, "py_func", step_price)
_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Slippage:
    """Slippage in paise, a loss counted positive."""

    trades: tuple[int, ...]
    """One for each closed trade, in their order."""

    @property
    def total_paise(self) -> int:
        return sum(self.trades)


def slippage_of(trades: Sequence[Trade], fills: NDArray[Any], bars: Bars) -> Slippage:
    """Return the slippage of closed trades, given all fills of their run (an instrument is a column of the bars)."""
    closings = {(trade.exit_cause, trade.exit_place): number for number, trade in enumerate(trades)}
    of_trade = [0] * len(trades)
    under_way: dict[tuple[int, int], int] = {}
    names = ("book", "instrument", "cause", "index")
    rows = zip(*(fills[name].tolist() for name in names), slippage_of_fills(fills, bars).tolist(), strict=True)
    for book, instrument, cause, place, slipped in rows:
        sum_so_far = under_way.pop((book, instrument), 0) + slipped
        number = closings.get((cause, place))
        if number is None:
            under_way[book, instrument] = sum_so_far
        else:
            of_trade[number] = sum_so_far
    return Slippage(tuple(of_trade))


def slippage_of_fills(fills: NDArray[Any], bars: Bars) -> NDArray[np.int64]:
    """Return what each fill paid beyond the mid of the step that it met, in paise; 0 where it met none."""
    slipped = np.zeros(len(fills), np.int64)
    for column, symbol in enumerate(bars.symbols):
        chosen = np.flatnonzero((fills["instrument"] == column) & (fills["state"] != Purpose.TARGET))
        rows = fills[chosen]
        mids = _mids(rows["time_ns"], bars.series[symbol])
        beyond = (rows["price"] - mids) * rows["side"] * rows["quantity"]
        slipped[chosen] = np.where(mids > 0, beyond, 0)
    return slipped


def net_at(net_paise: int, slippage_paise: int) -> Mapping[str, int]:
    """Return the net result at each of the multiples of the slippage: `net - (k - 1) * slippage`."""
    return {f"{multiple:g}": net_paise - round((multiple - 1) * slippage_paise) for multiple in MULTIPLES}


def _mids(times_ns: NDArray[np.int64], series: NDArray[Any]) -> NDArray[np.int64]:
    """Return the price of the step of the path that stands at each time; 0 where there is none."""
    at = np.searchsorted(series["start_ns"], times_ns, side="right") - 1
    offsets = times_ns - series["start_ns"][at]
    steps = np.searchsorted(np.array(STEP_SECONDS) * _SECOND_NS, offsets, side="right") - 1
    on_path = (at >= 0) & (steps >= 0) & (offsets < _MINUTE_NS)
    prices = zip(*(series[name][at].tolist() for name in _PRICES), strict=True)
    found = [
        _step_price(step, *bar) if there else 0
        for step, bar, there in zip(steps.tolist(), prices, on_path.tolist(), strict=True)
    ]
    return np.array(found, np.int64)
