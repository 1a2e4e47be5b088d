"""The simulator's past as bars, for verbs that are given no data: the same market that the demo trades."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from typing import Final

import numpy as np

from atmand.cli_words import say
from atmand.history.bars import BAR, Bars, HistoryError
from atmand.sim.candles import Candles
from atmand.sim.generator import SeededMarket

__all__ = ["simulated_bars"]

_SEED: Final = 7
_LAST: Final = date(2026, 7, 3)
"""The session before the demo's first day."""
_SESSIONS: Final = 20
_NS: Final = 1_000_000_000


def simulated_bars(start: date | None, end: date | None, *, seed: int = _SEED) -> Bars:
    """Make one-minute bars of the simulator's NSE shares: the given days, else the 20 sessions before the demo."""
    market = SeededMarket(seed)
    days = _days(market, start, end)
    if not days:
        raise HistoryError("the simulator's past", f"no session {_range(start, end)}", "choose other days")
    made: list[Candles] = []
    for number, day in enumerate(days, 1):
        if sys.stderr.isatty():
            print(
                f"\rmaking the simulator's past: {number} of {len(days)} sessions", end="", file=sys.stderr, flush=True
            )
        made.append(market.candles(day))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    say(f"data: the simulator's own past, {days[0]} to {days[-1]}; no real prices")
    series = {
        listing.symbol: _series(made, column)
        for column, listing in enumerate(market.listings)
        if listing.exchange == "NSE" and not listing.is_index
    }
    return Bars(f"simulator, seed {seed}", tuple(series), series)


def _days(market: SeededMarket, start: date | None, end: date | None) -> list[date]:
    last = market.session_before((end or _LAST) + timedelta(days=1))
    days: list[date] = []
    while last is not None and (last >= start if start else len(days) < _SESSIONS):
        days.append(last)
        last = market.session_before(last)
    return days[::-1]


def _range(start: date | None, end: date | None) -> str:
    return " ".join(f"{word} {day}" for word, day in (("from", start), ("to", end)) if day is not None)


def _series(days: list[Candles], column: int) -> np.ndarray:
    parts = []
    for candles in days:
        chosen = np.flatnonzero(candles.present[:, column])
        rows = np.zeros(len(chosen), BAR)
        rows["start_ns"] = candles.starts[chosen] * _NS
        for name in ("open", "high", "low", "close", "volume"):
            rows[name] = getattr(candles, name)[chosen, column]
        parts.append(rows)
    return np.concatenate(parts)
