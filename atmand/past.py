"""A simulated past: the sessions before the market's first day, as bars, traded by the batch driver of the same core.

The daemon makes it once, before its first session, so that a newcomer sees an equity curve and closed trades at once.
Its audit is journaled under a source of its own and numbered below zero: no real record can be mistaken for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.manifest import Program
from atmand.core.records import AUDIT, HISTORY_ROW, BarFlag, Kind
from atmand.core.rings import history_draft
from atmand.history.bars import BAR, Bars, aligned
from atmand.market.sessions import ns
from atmand.opening import book_limits, history_days, terms_of
from atmand.params.resolve import Resolution
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of, in_sessions
from atmand.settings import Settings
from atmand.universe import Universe

__all__ = ["Candles", "FoldedPast", "PastSession", "fetch_past", "fold_past"]

Candles = dict[int, NDArray[Any]]
"""HISTORY rows of one-minute candles by instrument token."""

_MINUTE_NS: Final = 60_000_000_000
_CHUNK: Final = timedelta(days=7)
_LONGEST: Final = timedelta(days=59)
_COLUMNS: Final = ("start_ns", "open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class PastSession:
    """One session of the past: its day, and the audit rows that the core put out."""

    day: date
    close_ns: int
    rows: NDArray[Any]
    """Their causes are below zero, the newest session's last record being -1."""
    first_cause: int


@dataclass(frozen=True)
class FoldedPast:
    """What a past came to. `books` go on in the first real session; they hold no position."""

    sessions: tuple[PastSession, ...]
    books: dict[str, Any]

    @property
    def fills(self) -> int:
        return sum(int(np.count_nonzero(session.rows["kind"] == Kind.AUDIT_FILL)) for session in self.sessions)


async def fetch_past(
    fetch: Callable[[int, int], Awaitable[Candles]],
    sessions: int,
    program: Program,
    day: date,
    progress: Callable[[int, int], None],
) -> Candles:
    """Fetch candles of `sessions` days before `day` and of the look-back before those, a week at a time, oldest first.

    `progress` hears how many of how many calendar days are there.
    """
    span = min(_LONGEST, timedelta(days=sessions * 7 // 5 + 4) + history_days(program.manifest))
    start, end = day - span, day
    parts: dict[int, list[NDArray[Any]]] = {}
    while start < end:
        until = min(end, start + _CHUNK)
        for token, rows in (await fetch(ns(start, "00:00"), ns(until, "00:00"))).items():
            parts.setdefault(token, []).append(rows)
        progress((until - day + span).days, span.days)
        start = until
    return {token: np.concatenate(rows) for token, rows in parts.items()}


def fold_past(
    settings: Settings, universe: Universe, program: Program, candles: Candles, sessions: int
) -> FoldedPast | None:
    """Trade the newest `sessions` days of the candles, the older ones warming up; None where there is no whole day.

    Blocks for as long as the fold takes: a thread runs it.
    """
    series = {
        instrument.key: _bars(candles.get(instrument.token, np.zeros(0, BAR))) for instrument, _ in universe.instruments
    }
    if not any(len(rows) for rows in series.values()):
        return None
    times, grid, present = aligned(Bars("past", tuple(series), series))
    inside = in_sessions(times, {group for _, group in universe.instruments})
    present &= np.stack([inside[group] for _, group in universe.instruments], axis=1)
    days = list(days_of(times))
    chosen = days[-sessions:]
    rows: list[NDArray[Any]] = []
    driver = BarDriver(program, _market(settings, universe, program, chosen[0][0]), rows.append)
    found: list[PastSession] = []
    for number, (day, places) in enumerate(chosen):
        older = slice(0, chosen[0][1].start) if number == 0 else slice(0, 0)
        driver.open(day, [history_draft(_history(grid[older], present[older]), _MINUTE_NS)])
        first_cause = driver.sequence
        driver.run(grid[places], present[places], flat=number == len(chosen) - 1)
        close_ns = int(driver.engine.header["session_close_ns"])
        found.append(PastSession(day, close_ns, np.concatenate([np.zeros(0, AUDIT), *rows]), first_cause))
        rows.clear()
    return FoldedPast(tuple(_below_zero(one, driver.sequence + 1) for one in found), driver.engine.books())


def _below_zero(session: PastSession, by: int) -> PastSession:
    session.rows["cause"] -= by
    return replace(session, first_cause=session.first_cause - by)


def _market(settings: Settings, universe: Universe, program: Program, day: date) -> DrivenMarket:
    """Describe what the past trades. Its circuit bands are not known: the dump's are the coming day's."""
    instruments = [(replace(one, lower_band=0, upper_band=0), group) for one, group in universe.instruments]
    terms = terms_of(settings, day, simulated=True, bar_path=True, seed=settings.simulator.seed)
    kept = (
        "seed",
        "grace_ns",
        "latency_ns",
        "protection_bps",
        "entry_wait_ns",
        "stale_ns",
        "brokerage",
        "code",
        "machine",
    )
    return DrivenMarket(
        instruments,
        universe.pairs,
        book_limits(settings, program.manifest, Resolution(())),
        settings.market.costs_as_of,
        {name: getattr(terms, name) for name in kept},
    )


def _bars(rows: NDArray[Any]) -> NDArray[Any]:
    """Take the finished candles of HISTORY rows as bars."""
    if rows.dtype == BAR:
        return rows
    rows = rows[rows["flags"] & BarFlag.UNFINISHED == 0]
    bars = np.zeros(len(rows), BAR)
    for name in _COLUMNS:
        bars[name] = rows[name]
    return bars


def _history(grid: NDArray[Any], present: NDArray[np.bool_]) -> NDArray[Any]:
    """Write the bars of a grid as HISTORY rows, sorted by instrument and time."""
    parts = [np.zeros(0, HISTORY_ROW)]
    for column in range(grid.shape[1]):
        bars = grid[present[:, column], column]
        rows = np.zeros(len(bars), HISTORY_ROW)
        for name in _COLUMNS:
            rows[name] = bars[name]
        rows["instrument"] = column
        parts.append(rows)
    return np.concatenate(parts)
