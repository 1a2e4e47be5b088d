"""Segments with other hours through both drivers, in plain Python: NUMBA_DISABLE_JIT=1 python hours_parity.py

Prints the minutes before its close at which each instrument was entered, a day, after the drivers were found alike.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from atmand.core.layout import TRADE
from atmand.core.opening import BookLimits
from atmand.history.bars import BAR, Bars, aligned
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import parse_strategy
from atmand.market.sessions import FUTURES, OPTIONS, WITH_DERIVATIVES, WITHOUT_DERIVATIVES, ns
from atmand.research.backtest import groups_of, instruments_of, pairs_of
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of
from atmand.research.batch import Batch

_MINUTE: Final = 60_000_000_000
_DAYS: Final = (date(2024, 3, 1), date(2024, 3, 2), date(2026, 8, 10))
"""An ordinary day, one of two windows, and one on which every segment ends at another time."""
_GROUPS: Final = (WITHOUT_DERIVATIVES, WITH_DERIVATIVES, FUTURES, OPTIONS)
_STRATEGY: Final = """
name = "late"
universe = ["NSE:AAA", "NSE:BBB", "NSE:CCC", "NSE:DDD"]
[entry]
long = "minutes_to_close == 20"
[exit]
long = "minutes_to_close == 10"
[size]
quantity = 1
"""


def _bars(symbols: tuple[str, ...], late: frozenset[str]) -> Bars:
    """Make flat bars of every minute from 09:15 to 15:40; but for `late` symbols, to 15:15 on the last day."""
    series = {}
    for symbol in symbols:
        parts = []
        for day in _DAYS:
            starts = np.arange(ns(day, "09:15"), ns(day, "15:40"), _MINUTE)
            if symbol not in late and day == _DAYS[-1]:
                starts = starts[starts < ns(day, "15:15")]
            rows = np.zeros(len(starts), BAR)
            rows["start_ns"], rows["volume"] = starts, 1_000
            for name in ("open", "high", "low", "close"):
                rows[name] = 100_000
            parts.append(rows)
        series[symbol] = np.concatenate(parts)
    return Bars("made", symbols, series)


def main() -> None:
    """Run both drivers; AssertionError where they differ."""
    deployment = Deployment(parse_strategy(_STRATEGY, "late.toml"), account="paper")
    program = build(generate([deployment]))
    bars = _bars(("AAA", "BBB", "CCC", "DDD"), frozenset({"AAA", "CCC", "DDD"}))
    times, grid, present = aligned(bars)
    assert groups_of(bars.symbols, times, present) == [0, 1, 0, 0]
    assert groups_of(("AAA", "BBB", "NFO:CCC", "BFO:DDD"), times, present) == [0, 1, 2, 2]
    early = times < ns(_DAYS[-1], "00:00")
    assert groups_of(bars.symbols, times[early], present[early]) == [0, 0, 0, 0]
    instruments = instruments_of(bars.symbols)
    listed, pairs = list(zip(instruments, _GROUPS, strict=True)), pairs_of([deployment], instruments)
    market = DrivenMarket(listed, pairs, [BookLimits(10**9)], costs_as_of=date(2026, 7, 6))
    closed: list[NDArray[Any]] = []
    driver = BarDriver(program, market, lambda _: None, 1 << 8)
    for day, places in days_of(times):
        driver.open(day)
        driver.run(grid[places], present[places])
        closed.append(driver.engine.table("trades")[: driver.engine.header["n_trades"]].copy())
    trades = np.concatenate(closed)
    run = Batch(program, market, times, grid, present).run()
    for name in [name for name in TRADE.names or () if name not in ("entry_cause", "entry_index")]:
        np.testing.assert_array_equal(run.trades[name], trades[name], err_msg=name)
    entered = sorted(zip(trades["instrument"].tolist(), trades["entry_ns"].tolist(), strict=True))
    print(orjson.dumps([[place, at // _MINUTE * 60] for place, at in entered]).decode())


if __name__ == "__main__":
    main()
