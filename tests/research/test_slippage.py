"""Slippage: the kernel's sum is that of the fills' distances from the path, and other slippages move the net result."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from test_backtest import made_bars, result

from atmand.core.words import Purpose
from atmand.market.bar_path import STEP_SECONDS
from atmand.research.slippage import net_at

MINUTE = 60 * 10**9


def mid_at(series: np.ndarray, time_ns: int) -> int:
    """Return the price of the path at a time: open, far extreme, other extreme, close."""
    bar = series[np.searchsorted(series["start_ns"], time_ns, side="right") - 1]
    rose = bar["close"] >= bar["open"]
    path = ("open", *(("low", "high") if rose else ("high", "low")), "close")
    second = (time_ns - int(bar["start_ns"])) // 10**9
    return int(bar[path[STEP_SECONDS.index(second)]])


def test_a_trade_slips_by_what_its_fills_paid_beyond_the_path() -> None:
    done, bars = result(), made_bars()
    sums: dict[tuple[int, int], int] = defaultdict(int)
    held: dict[tuple[int, int], int] = defaultdict(int)
    found = []
    for fill in done.fills:
        place = int(fill["book"]), int(fill["instrument"])
        if fill["state"] != Purpose.TARGET:  # it rested at its limit
            mid = mid_at(bars.series[bars.symbols[place[1]]], int(fill["time_ns"]))
            sums[place] += int((fill["price"] - mid) * fill["side"] * fill["quantity"])
        held[place] += int(fill["side"] * fill["quantity"])
        if held[place] == 0:
            found.append(sums.pop(place))
    assert list(done.slippage) == found
    # A tick at the entry, a tick at an exit that does not rest: with books this deep nothing more.
    for trade, paise in zip(done.trades, done.slippage, strict=True):
        assert paise == trade.quantity * 5 * (1 if trade.exit_reason == "target" else 2)
    assert len(found) > 10


def test_net_moves_with_the_slippage() -> None:
    assert net_at(1_000, 300) == {"0.5": 1_150, "1": 1_000, "2": 700}
