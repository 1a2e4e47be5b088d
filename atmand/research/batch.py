"""Batches: bars and sessions laid out once, then folded by the compiled loop, once or for many parameter sets.

Back-tests and sweeps call it where every strategy lives on one-minute bars of its own instrument (`is_batchable`);
other programs are driven record by record (`bar_driver.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from atmand.core.batch import BOOK_HOURS, DAY, RESULT, close_offset_ns, set_up
from atmand.core.jit import kernel_rows
from atmand.core.layout import ARENA
from atmand.core.manifest import Manifest, Program
from atmand.core.opening import yyyymmdd
from atmand.core.records import SESSION_ROW
from atmand.core.state import book_hours, day_of, table
from atmand.errors import AtmandError
from atmand.lang.batch import BatchProgram, build_batch
from atmand.market.costs import COSTS, cost_rows
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of, in_sessions, session_windows

__all__ = ["Batch", "BatchRun", "is_batchable"]

_MINUTE_NS: Final = 60_000_000_000
_COLUMNS: Final = ("open", "high", "low", "close", "volume")
_KEPT: Final = 1 << 14
"""Closed trades and fills that are kept before they are taken out of the arena."""
_APART_BYTES: Final = 4096
"""Workers' arenas lie at least so far apart: rows that share a cache line halve a sweep's speed."""


@dataclass(frozen=True)
class BatchRun:
    """What one run came to."""

    trades: NDArray[Any]
    """TRADE rows, in the order in which they closed."""
    fills: NDArray[Any]
    """AUDIT rows of all fills, in order."""
    times: NDArray[np.int64]
    """When each minute began."""
    close_offset_ns: int
    equity_paise: NDArray[np.int64]
    """Over all books, one a minute."""
    result: NDArray[Any]
    """One RESULT row."""

    @property
    def closes_ns(self) -> NDArray[np.int64]:
        """When each minute's bars closed."""
        return self.times + self.close_offset_ns


def is_batchable(manifest: Manifest) -> bool:
    """Say whether the compiled loop serves a program.

    All its strategies live on one-minute bars, without legs and without a share of the volume: those look at
    instruments and at ticks that the loop leaves out.
    """
    apart = any(book.legs or book.participation_ppm for book in manifest.books)
    alone = all(not plan.streams and not plan.staged for plan in manifest.structures)
    return not apart and alone and all(plan.period_ns == _MINUTE_NS for plan in manifest.structures)


class Batch:
    """Bars and sessions, laid out for a program. `times`, `bars` and `present` are those of `history.bars.aligned`."""

    def __init__(
        self,
        program: Program,
        market: DrivenMarket,
        times: NDArray[np.int64],
        bars: NDArray[Any],
        present: NDArray[np.bool_],
    ) -> None:
        if not len(times):
            raise AtmandError("bars", "there are none in the range", "choose other dates")
        self._program, self._market = program, market
        self._templates: dict[int, NDArray[np.uint8]] = {}
        self._batch: BatchProgram = build_batch(program, alone=len(market.pairs) == 1)
        inside = in_sessions(times, market.groups)
        traded = np.logical_or.reduce([*inside.values()])
        mine = np.stack([inside[group] for _, group in market.instruments], axis=1)
        self.times, self._present = times[traded], (present & mine)[traded]
        self.count = int(self._present.sum())
        self._columns = np.stack([np.ascontiguousarray(bars[name][traded]) for name in _COLUMNS])
        self._days, self._windows, self._hours, self._costs = _sessions(
            program.manifest, market.costs_as_of, self.times, market.groups
        )
        self._capital = sum(limit.capital_paise for limit in market.limits)

    def run(self, on_minutes: Callable[[int], None] | None = None) -> BatchRun:
        """Fold all bars once; `on_minutes` hears from time to time how many minutes are done."""
        arena = self._opened(_KEPT + 32 * len(self._market.pairs))
        header = arena[: ARENA.itemsize].view(ARENA)
        equity = np.empty(len(self.times), np.int64)
        result = self._results(1)
        kept: dict[str, list[NDArray[Any]]] = {"trades": [], "fills": []}
        done = 0
        while done < len(self.times):
            done = int(self._batch.run(arena, *self._inputs(), equity, result, done, self._capital))
            for name, rows in kept.items():
                taken = table(arena, name)[: int(header[f"n_{name}"][0])]
                rows.append(taken.copy() if done < len(self.times) else taken)  # the last are not written over
            if on_minutes is not None:
                on_minutes(done)
        trades, fills = (rows[0] if len(rows) == 1 else np.concatenate(rows) for rows in kept.values())
        offset_ns = int(close_offset_ns(kernel_rows(header)[0]))
        return BatchRun(trades, fills, self.times, offset_ns, equity, result)

    def sweep(self, values: NDArray[np.float64], workers: int | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Fold all bars once for each row of `values` (sets, parameters in the order of the structure's).

        Returns RESULT rows and the equity at each session's end (sets, sessions). Sets run side by side in as many
        threads as there are workers (0 or None: one a core), each in an arena of its own.
        """
        template = self._opened(1 + 16 * len(self._market.pairs))
        workers = max(1, min(workers or numba.get_num_threads(), len(values)))
        width = template.size + _APART_BYTES & -_APART_BYTES
        scratch = np.zeros((workers, width), np.uint8)[:, : template.size]
        results = self._results(len(values))
        ends = np.zeros((len(values), len(self._days)), np.int64)
        self._batch.run_sets(template, scratch, *self._inputs(), values, ends, results, self._capital)
        return results, ends

    def _inputs(self) -> tuple[Any, ...]:
        return (
            self.times, self._columns, self._present, kernel_rows(self._days), kernel_rows(self._windows),
            kernel_rows(self._hours), kernel_rows(self._costs),
        )  # fmt: skip

    def _results(self, count: int) -> NDArray[Any]:
        results = np.zeros(count, RESULT)
        results["equity_paise"] = results["peak_paise"] = self._capital
        return kernel_rows(results)  # type: ignore[no-any-return]

    def _opened(self, kept: int) -> NDArray[np.uint8]:
        """Return an arena as it is before the first session's first record."""
        if kept not in self._templates:
            driver = BarDriver(replace(self._program, apply=set_up), self._market, lambda _: None, kept)
            driver.open(day_of(int(self._days["date"][0])), room=int(self._days["windows_n"].max()))
            self._templates[kept] = driver.engine.layout.arena
        return self._templates[kept].copy()


def _sessions(
    manifest: Manifest, costs_as_of: date | None, times: NDArray[np.int64], groups: Collection[int]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Lay the sessions out: DAY rows, all their windows, BOOK_HOURS a (day, book), and cost rows a day."""
    days: list[tuple[int, ...]] = []
    windows: list[tuple[int, ...]] = []
    hours: list[list[tuple[int, int, int]]] = []
    costs: list[NDArray[Any]] = []
    for day, places in days_of(times):
        own = session_windows(day, groups)
        opened, closed = min(window.open_ns for window in own), max(window.close_ns for window in own)
        days.append((places.start, places.stop, yyyymmdd(day), opened, closed, len(windows), len(own)))
        windows += [window[:3] for window in own]
        hours.append([book_hours(plan, opened, closed) for plan in manifest.books])
        costs.append(cost_rows(costs_as_of or day))
    return (
        np.array(days, DAY),
        np.array(windows, SESSION_ROW),
        np.array(hours, BOOK_HOURS),
        np.array(costs, COSTS),
    )
