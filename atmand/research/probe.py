"""A strategy with a probe beside it: a second book that never trades and logs the value of every clause, bar by bar.

Both run in one program through the drivers that trade, so that a clause is worth here what it was worth there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.engine import Engine
from atmand.core.manifest import Manifest, Program
from atmand.core.opening import BookLimits
from atmand.core.records import AUDIT, Kind
from atmand.history.actions import Action
from atmand.history.bars import Bars, aligned
from atmand.lang.build import build
from atmand.lang.clauses import LOG_ROWS, Clauses, clauses_of, compile_values
from atmand.lang.program import Deployment, GeneratedProgram, generate, module_text
from atmand.lang.structure import compile_structure
from atmand.research.backtest import groups_of, instruments_of, pairs_of
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of

__all__ = ["STRATEGY", "ClauseLog", "Driven", "Grid", "Probe", "drive", "joined", "probe_of"]

STRATEGY: Final = 0
"""The strategy's book in a probe's program; the other one is the probe's."""

_PROBE: Final = 1
_PROBE_NAME: Final = "probe"


@dataclass(frozen=True)
class Probe:
    """A compiled strategy with its probe."""

    deployment: Deployment
    clauses: Clauses
    program: Program
    log: np.dtype[np.void]
    """Of the probe's state."""

    @property
    def row(self) -> np.dtype[np.void]:
        """A row of what a `ClauseLog` gives."""
        width = len(self.clauses.texts)
        return np.dtype([("start_ns", "i8"), ("marks", "i8"), ("ready", "i8"), ("values", "f8", (width,))])

    @property
    def period_ns(self) -> int:
        return self.program.manifest.structures[0].period_ns


def probe_of(deployment: Deployment) -> Probe:
    """Compile a strategy and its probe into one program."""
    clauses = clauses_of(deployment.file)
    own = compile_structure(deployment.file)
    values, log = compile_values(deployment.file, clauses.texts)
    manifest = generate([deployment]).manifest
    source = module_text([own, values], manifest.signals)
    book = manifest.books[0]
    probe = replace(book, strategy=_PROBE_NAME, structure=_PROBE, entry_from_ns=0, entry_to_ns=0, square_off_ns=0)
    whole = Manifest((own.plan, values.plan), (book, probe), manifest.accounts, manifest.source, manifest.signals)
    generated = GeneratedProgram(source, whole)
    return Probe(deployment, clauses, build(generated), log)


class ClauseLog:
    """What the clauses were worth, a row a bar and instrument, gathered from an engine from time to time."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._seen: dict[str, tuple[int, int, int]] = {}
        """By instrument: the arena, the rows it had written, the newest bar that was taken."""
        self._rows: dict[str, list[NDArray[Any]]] = {}

    def take(self, engine: Engine) -> None:
        """Take the bars that were logged since the last time; those folded again with other values are not taken."""
        layout = engine.layout
        slabs = engine.table("pairs")["slab_at"]
        for index, (book, instrument) in enumerate(layout.pairs):
            if book != _PROBE:
                continue
            at, key = int(slabs[index]), layout.keys[instrument]
            state = layout.arena[at : at + self._probe.log.itemsize].view(self._probe.log)[0]
            logged, arena = int(state["logged"]), id(layout.arena)
            seen, before, newest = self._seen.get(key, (0, 0, -1))
            if (seen, before) == (arena, logged):
                continue
            rows = self._rows_of(state, logged, newest)
            if len(rows):
                self._rows.setdefault(key, []).append(rows)
                newest = int(rows["start_ns"][-1])
            self._seen[key] = (arena, logged, newest)

    def rows(self) -> dict[str, NDArray[Any]]:
        """Return what was taken, by instrument key, in the order of the bars."""
        return {key: np.concatenate(parts) for key, parts in self._rows.items()}

    def _rows_of(self, state: Any, logged: int, newest: int) -> NDArray[Any]:
        places = np.arange(max(0, logged - LOG_ROWS), logged) % LOG_ROWS
        places = places[state["starts"][places] > newest]
        rows = np.zeros(len(places), self._probe.row)
        rows["start_ns"], rows["marks"] = state["starts"][places], state["marks"][places]
        rows["ready"] = state["ready"][places]
        rows["values"] = state["values"].reshape(LOG_ROWS, -1)[places]
        return rows


@dataclass(frozen=True, eq=False)
class Grid:
    """Bars of several symbols on one time axis."""

    symbols: tuple[str, ...]
    times: NDArray[np.int64]
    bars: NDArray[Any]
    present: NDArray[np.bool_]
    actions: tuple[Action, ...] = ()

    @classmethod
    def of(cls, bars: Bars) -> Grid:
        return cls(bars.symbols, *aligned(bars), bars.actions)

    def until(self, end: int) -> Grid:
        """Copy the first bars only: what lies behind them is not there any more."""
        cut = (self.times[:end].copy(), self.bars[:end].copy(), self.present[:end].copy())
        return Grid(self.symbols, *cut, self.actions)


@dataclass
class Driven:
    """What a run over bars put out."""

    rows: NDArray[Any]
    """All audit rows of the strategy's book."""
    log: dict[str, NDArray[Any]]
    keys: tuple[str, ...]


@dataclass
class _Heard:
    rows: list[NDArray[Any]] = field(default_factory=list)

    def __call__(self, rows: NDArray[Any]) -> None:
        self.rows.append(rows[rows["book"] == STRATEGY])


def drive(
    probe: Probe, grid: Grid, limits: BookLimits, costs_as_of: date | None = None, *, apart: bool = False
) -> Driven:
    """Run a probe's program over bars, session by session, as a back-test does.

    With `apart` every session is handed over as a copy: no bar of a later one is anywhere near.
    """
    instruments = instruments_of(grid.symbols)
    own = pairs_of([probe.deployment], instruments)
    market = DrivenMarket(
        list(zip(instruments, groups_of(grid.symbols, grid.times, grid.present), strict=True)),
        [*own, *((_PROBE, instrument) for _, instrument in own)],
        [limits, BookLimits(capital_paise=0)],
        costs_as_of,
        actions=grid.actions,
    )
    heard = _Heard()
    driver, log = BarDriver(probe.program, market, heard), ClauseLog(probe)
    for day, places in days_of(grid.times):
        driver.open(day)
        bars, present = grid.bars[places], grid.present[places]
        driver.run(*((bars.copy(), present.copy()) if apart else (bars, present)))
        log.take(driver.engine)
    keys = tuple(instrument.key for instrument in instruments)
    return Driven(joined(heard.rows), log.rows(), keys)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put audit rows together, marks left out: they are no decisions."""
    rows = np.concatenate(parts) if parts else np.zeros(0, AUDIT)
    decisions: NDArray[Any] = rows[rows["kind"] != Kind.AUDIT_MARK]
    return decisions
