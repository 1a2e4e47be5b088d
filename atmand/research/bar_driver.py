"""The batch driver: the core folded over sessions of bars in a compiled loop, with the records that a daemon writes.

Back-tests and the demo's simulated past are driven by it; what the core puts out goes to the caller as it comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from atmand.core.bar_path import PATH_LAST_NS
from atmand.core.bars import IST_NS
from atmand.core.engine import Engine
from atmand.core.manifest import Program
from atmand.core.opening import (
    BookLimits,
    Draft,
    PortfolioLimits,
    SessionTerms,
    instruments_draft,
    limits_draft,
    program_draft,
    session_draft,
)
from atmand.core.records import AUDIT, COMMAND_HEAD, Command, Kind, Record, SessionFlag, body_of
from atmand.core.rings import ring_drafts
from atmand.core.ticks import TICK
from atmand.errors import AtmandError
from atmand.market.instruments import Instrument
from atmand.market.sessions import WITHOUT_DERIVATIVES, Window, regular_windows, session_date, windows

__all__ = ["BarDriver", "DrivenMarket", "days_of", "in_sessions", "session_windows"]

_MINUTE_NS: Final = 60_000_000_000
_DAY_NS: Final = 86_400_000_000_000
_AUDIT_ROWS: Final = 1 << 18
_FLAT_BARS: Final = 5
"""Bars before the end of a session that is to end flat at which every position is given up."""


@dataclass(frozen=True)
class DrivenMarket:
    """What is traded and under which terms; `terms` are the session's, apart from day, windows and flags."""

    instruments: Sequence[tuple[Instrument, int]]
    """Each with its group of session windows."""
    pairs: Sequence[tuple[int, int]]
    limits: Sequence[BookLimits]
    costs_as_of: date | None = None
    terms: Mapping[str, Any] = field(default_factory=dict)
    portfolio: PortfolioLimits | None = None
    """What the books share; None is no limit."""

    @property
    def groups(self) -> frozenset[int]:
        """The groups of session windows that its instruments are in."""
        return frozenset(group for _, group in self.instruments)


_NO_WINDOW: Final = Window(-1, 0, 0)


class BarDriver:
    """One engine, driven over sessions of one-minute bars.

    `on_rows` gets a copy of every stretch of audit rows; `sequence` is the newest record's.
    """

    def __init__(
        self, program: Program, market: DrivenMarket, on_rows: Callable[[NDArray[Any]], None], kept: int = 1
    ) -> None:
        self._program, self._market, self._on_rows = program, market, on_rows
        self._carried: dict[bytes, dict[str, Any]] = {}
        self.engine = Engine({}, lambda _: program, self._carried.__getitem__, kept)
        self._ticks = np.zeros(max(1, len(market.instruments)), TICK).view(np.uint8)
        self._audit = np.zeros(_AUDIT_ROWS, AUDIT)
        self.sequence = 0

    def open(self, day: date, history: Sequence[Draft] = (), *, room: int = 0) -> None:
        """Open a day's session on the books and bars of the one before; `history` are older bars for warming up.

        `room` is for how many windows there is space in the arena, where later days have more.
        """
        hours = session_windows(day, self._market.groups)
        opened_ns = min(window.open_ns for window in hours)
        hours += (_NO_WINDOW,) * (room - len(hours))
        terms = SessionTerms(
            day=day,
            windows=hours,
            flags=int(SessionFlag.SIMULATED | SessionFlag.BAR_PATH),
            path_last_ns=PATH_LAST_NS,
            costs_day=self._market.costs_as_of,
            **self._market.terms,
        )
        bars: list[Draft] = []
        carried = bytes(32)
        if self.engine.ready:
            bars = ring_drafts(self.engine.layout, self.engine.layout.keys)
            carried = self._carry()
        drafts = (
            session_draft(terms),
            instruments_draft(self._market.instruments),
            program_draft(self._program.source, self._program.manifest, self._market.pairs, books=carried),
            limits_draft(self._market.limits, self._market.portfolio),
            *bars,
            *history,
        )
        for offset, draft in enumerate(drafts):
            self._apply(draft, opened_ns + offset - len(drafts))

    def run(self, bars: NDArray[Any], present: NDArray[np.bool_], *, flat: bool = False) -> None:
        """Fold the open session's bars, (minutes, instruments), and let its last timers pass.

        With `flat` no entry is made in the last minutes and whatever is open is given up.
        """
        volume = np.zeros(len(self._market.instruments), np.int64)
        cut = max(0, len(bars) - _FLAT_BARS) if flat else len(bars)
        self._fold(bars[:cut], present[:cut], volume)
        if flat and cut:
            for code in (Command.ENTRIES_OFF, Command.EXIT_POSITION):
                self._apply(_command(code), int(self.engine.header["time_ns"]) + 1)
            self._fold(bars[cut:], present[cut:], volume)
        self._timers(int(self.engine.header["session_close_ns"]) + 2 * _MINUTE_NS)

    def _fold(self, bars: NDArray[Any], present: NDArray[np.bool_], volume: NDArray[np.int64]) -> None:
        done = 0
        while done < len(bars):
            done, written, self.sequence = self.engine.apply_bars(
                bars, present, self._ticks, volume, self._audit, done, self.sequence
            )
            self._hear(self._audit[:written])

    def _carry(self) -> bytes:
        """Keep the books for the next session's PROGRAM record under their hash."""
        document = self.engine.books()
        sha = hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).digest()
        self._carried.clear()
        self._carried[sha] = document
        return sha

    def _apply(self, draft: Draft, time_ns: int) -> None:
        self.sequence += 1
        record = Record(draft.kind, self.sequence, time_ns, draft.body, draft.rows, draft.version)
        self._hear(self.engine.apply(record))

    def _timers(self, until_ns: int) -> None:
        """Stamp the timers that are due up to a time, as the daemon's sequencer does."""
        grid_ns = int(self.engine.header["grid_ns"])
        while self.engine.next_due_ns <= until_ns:
            due_ns = -(-self.engine.next_due_ns // grid_ns) * grid_ns
            time_ns = max(due_ns, int(self.engine.header["time_ns"]) + 1)
            if time_ns > until_ns:
                return
            self._apply(Draft(Kind.TIMER, bytes(8), 0), time_ns)

    def _hear(self, rows: NDArray[Any]) -> None:
        if len(rows):
            self._on_rows(rows.copy())


def session_windows(day: date, groups: Collection[int] = (WITHOUT_DERIVATIVES,)) -> tuple[Window, ...]:
    """Return a day's continuous windows of some groups; for years before the calendar, and days that it calls closed
    but that have bars, the hours then in force."""
    try:
        hours = windows(day)
    except AtmandError:
        hours = []
    return tuple(window for window in (hours or regular_windows(day)) if window.group in groups)


def days_of(times: NDArray[np.int64]) -> Iterator[tuple[date, slice]]:
    """Cut a time axis into days in India."""
    if not len(times):
        return
    starts = np.flatnonzero(np.diff((times + IST_NS) // _DAY_NS)) + 1
    for first, last in pairwise([0, *starts.tolist(), len(times)]):
        yield session_date(int(times[first])), slice(first, last)


def in_sessions(times: NDArray[np.int64], groups: Collection[int]) -> dict[int, NDArray[np.bool_]]:
    """Say which minutes, in their order, lie in each group's windows: what is quoted outside them makes no bar."""
    inside = {group: np.zeros(len(times), np.bool_) for group in groups}
    for day, places in days_of(times):
        for window in session_windows(day, groups):
            inside[window.group][places] |= (times[places] >= window.open_ns) & (times[places] < window.close_ns)
    return inside


def _command(code: Command) -> Draft:
    head = np.zeros(1, COMMAND_HEAD)
    head["code"], head["book"], head["instrument"] = code, -1, -1
    return Draft(Kind.COMMAND, body_of(Kind.COMMAND, head), 0)
