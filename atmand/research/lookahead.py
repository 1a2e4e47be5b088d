"""The look-ahead proof: what was decided up to a bar must not change when the bars behind it are cut off or replaced.

Decisions, orders, fills and the value of every clause are compared bit for bit with the run over everything. Every
session's end is checked in one pass, in which a session is handed over alone, before the next one exists; bars inside
sessions are drawn, and for each of them the history is cut right behind it, and run again with another future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.opening import BookLimits
from atmand.core.records import Kind
from atmand.errors import AtmandError
from atmand.lang.program import Deployment
from atmand.lang.strategy import StrategyFile, load_strategy
from atmand.ledger.trades import market_time
from atmand.market.bar_path import STEP_SECONDS
from atmand.research.bar_driver import days_of
from atmand.research.probe import Driven, Grid, Probe, drive, probe_of
from atmand.research.study import Question, bars_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Check", "Difference", "LookAhead", "look_ahead", "lookahead"]

_MINUTE_NS: Final = 60_000_000_000
_NEXT_NS: Final = STEP_SECONDS[0] * 1_000_000_000
"""From a bar's end to the first tick of the next one: whatever is decided before it has seen nothing of that bar."""


@dataclass(frozen=True)
class Difference:
    """The first thing that is not the same."""

    ts: str
    instrument: str
    what: str
    clause: str | None
    """The clause whose value differs; None where all are the same and an order is not."""


@dataclass(frozen=True)
class Check:
    """One comparison: the bar behind which nothing was known, how it was hidden, how many rows were the same."""

    ts: str
    kind: str
    """`session` (its end), `cut` (nothing behind the bar), `replaced` (another future)."""
    rows: int
    difference: Difference | None = None

    @property
    def same(self) -> bool:
        return self.difference is None


@dataclass(frozen=True, eq=False)
class LookAhead:
    """A proof, or what broke it: `checks` in their order, the last one the first that failed."""

    strategy: str
    bars: int
    sessions: int
    checks: tuple[Check, ...]

    @property
    def same(self) -> bool:
        return all(check.same for check in self.checks)

    @property
    def frame(self) -> pl.DataFrame:
        """The checks, a row each."""
        import polars as pl

        return pl.DataFrame(self.document()["checks"], infer_schema_length=None)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON."""
        difference = next((check.difference for check in self.checks if check.difference is not None), None)
        return {
            "strategy": self.strategy,
            "bars": self.bars,
            "sessions": self.sessions,
            "same": self.same,
            "difference": None if difference is None else asdict(difference),
            "checks": [
                {"bar": check.ts, "kind": check.kind, "rows": check.rows, "same": check.same} for check in self.checks
            ],
        }


def lookahead(
    question: Question, *, random: int = 10, seed: int = 1, progress: Callable[[int, int], None] | None = None
) -> LookAhead:
    """Answer a question's strategy and bars by a proof. Nothing is chosen by it, so it is no run for the log."""
    file = load_strategy(question.strategy)
    if question.instruments:
        file = StrategyFile(file.strategy.model_copy(update={"universe": tuple(question.instruments)}), file.source)
    bars = bars_of(question, file)
    if bars.bar_ns != _MINUTE_NS:
        raise AtmandError(bars.source, f"bars of {bars.bar_ns // 10**9} s", "give one-minute bars")
    grid = Grid.of(bars)
    probe = probe_of(Deployment(file, values=question.params))
    checks = look_ahead(
        probe,
        grid,
        BookLimits(capital_paise=question.capital_paise),
        question.costs_as_of,
        random=random,
        seed=seed,
        progress=progress or (lambda done, whole: None),
    )
    sessions = len(list(days_of(grid.times)))
    return LookAhead(file.strategy.name, int(grid.present.sum()), sessions, tuple(checks))


def look_ahead(
    probe: Probe,
    grid: Grid,
    limits: BookLimits,
    costs_as_of: date | None = None,
    *,
    random: int = 10,
    seed: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[Check]:
    """Yield a check for every session's end, then two for each of the drawn bars; it ends at the first difference."""
    sessions = [places for _, places in days_of(grid.times)]
    drawn = _drawn(len(grid.times), sessions, random, seed)
    steps, done = 2 + 2 * len(drawn), 0

    def run(given: Grid, *, apart: bool = False) -> Driven:
        nonlocal done
        driven = drive(probe, given, limits, costs_as_of, apart=apart)
        done += 1
        progress(done, steps)
        return driven

    whole = run(grid)
    alone = run(grid, apart=True)
    for places in sessions:
        end = places.stop - 1
        check = _compared(probe, "session", int(grid.times[end]), whole, alone)
        yield check
        if not check.same:
            return
    for at in drawn:
        cut = grid.until(at + 1)
        session_end = next(places.stop for places in sessions if places.stop > at)
        for kind, given in (("cut", cut), ("replaced", _replaced(grid, at + 1, session_end, seed))):
            check = _compared(probe, kind, int(grid.times[at]), whole, run(given))
            yield check
            if not check.same:
                return


def _drawn(bars: int, sessions: list[slice], random: int, seed: int) -> list[int]:
    """Draw bars that are not a session's last one: the same for the same seed."""
    inside = np.setdiff1d(np.arange(bars), [places.stop - 1 for places in sessions])
    chosen = np.random.default_rng(seed).choice(inside, min(random, len(inside)), replace=False)
    return sorted(chosen.tolist())


def _replaced(grid: Grid, start: int, end: int, seed: int) -> Grid:
    """Copy the bars up to a session's end and put other ones from `start` on: dearer or cheaper, and jagged."""
    other = grid.until(end)
    rng = np.random.default_rng((seed, start))
    shape = other.bars[start:].shape
    factor = rng.choice([0.9, 1.1], shape)
    for name in ("open", "high", "low", "close"):
        other.bars[name][start:] = np.maximum(100, other.bars[name][start:] * factor).astype(np.int64)
    other.bars["volume"][start:] = rng.integers(1, 1_000_000, shape)
    return other


def _compared(probe: Probe, kind: str, bar_ns: int, whole: Driven, other: Driven) -> Check:
    """Compare everything that was put out before the first tick behind a minute's bar."""
    ours, theirs = (_until(driven.rows, bar_ns + _MINUTE_NS + _NEXT_NS) for driven in (whole, other))
    difference = _in_clauses(probe, bar_ns + _MINUTE_NS, whole, other)
    if ours.tobytes() != theirs.tobytes():
        order = _in_rows(whole.keys, ours, theirs)
        if difference is None or order.ts < difference.ts:
            difference = order
    return Check(market_time(bar_ns), kind, len(ours), difference)


def _until(rows: NDArray[Any], time_ns: int) -> NDArray[Any]:
    return rows[rows["time_ns"] < time_ns]


def _in_clauses(probe: Probe, end_ns: int, whole: Driven, other: Driven) -> Difference | None:
    """Find the first closed bar on which a clause, or a number in it, was worth something else."""
    first: Difference | None = None
    for key, rows in whole.log.items():
        ours, theirs = (
            each[each["start_ns"] + probe.period_ns <= end_ns]
            for each in (rows, other.log.get(key, np.zeros(0, probe.row)))
        )
        n = min(len(ours), len(theirs))
        bits = ours["values"][:n].view(np.int64) != theirs["values"][:n].view(np.int64)
        moved = bits | (ours["ready"][:n] != theirs["ready"][:n])[:, None]
        moved |= (ours["start_ns"][:n] != theirs["start_ns"][:n])[:, None]
        places = np.flatnonzero(moved.any(axis=1))
        if not len(places) and len(ours) == len(theirs):
            continue
        at = int(places[0]) if len(places) else n
        longer = ours if len(ours) > at else theirs
        column = int(moved[at].argmax()) if at < n else 0
        values = [f"{float(each['values'][at, column])!r}" if at < len(each) else "no bar" for each in (ours, theirs)]
        found = Difference(
            market_time(int(longer["start_ns"][at])), key, f"{values[0]} with the bars behind it, {values[1]} without",
            probe.clauses.texts[column],
        )  # fmt: skip
        if first is None or found.ts < first.ts:
            first = found
    return first


def _in_rows(keys: tuple[str, ...], ours: NDArray[Any], theirs: NDArray[Any]) -> Difference:
    n = min(len(ours), len(theirs))
    places = np.flatnonzero(ours[:n] != theirs[:n])
    at = int(places[0]) if len(places) else n
    rows = [each[at] if at < len(each) else None for each in (ours, theirs)]
    known = next(row for row in rows if row is not None)
    words = [_words(row) for row in rows]
    what = f"{words[0]} with the bars behind it, {words[1]} without"
    return Difference(market_time(int(known["time_ns"])), keys[int(known["instrument"])], what, None)


def _words(row: Any) -> str:
    if row is None:
        return "nothing"
    kind = Kind(int(row["kind"])).name.lower().removeprefix("audit_")
    return f"{kind} {int(row['side']):+d} {int(row['quantity'])} at {int(row['price']) / 100:.2f}"
