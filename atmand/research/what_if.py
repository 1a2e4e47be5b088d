"""What if: a recorded day folded again by the same program with other parameter values, beside what was.

Market data are the recorded frames; paper orders are matched anew by the core. The day is first folded as it was: only
where that gives the recorded decisions does another result mean anything. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.engine import Engine
from atmand.core.manifest import Manifest
from atmand.core.records import AUDIT_KINDS, PARAMS_HEAD, PARAMS_ROW, Kind, Record, body_of, head_and_rows
from atmand.errors import AtmandError
from atmand.journal.replay import find_session, replay, session_code
from atmand.lang.program import Deployment, parameter_values
from atmand.lang.strategy import StrategyFile
from atmand.ledger.trades import Trade, TradeFold
from atmand.research.recorded import OnDay, programs_of, records_of, renewed
from atmand.research.why_not import shortened

__all__ = ["told", "what_if"]

Setting = tuple[str | None, str, float]
"""A strategy's name, or None for all that have the parameter; the parameter; its value."""

_FIGURES: Final = ("trades", "gross_paise", "costs_paise", "net_paise", "max_drawdown_paise")


def what_if(
    journal: Path,
    day: date | None,
    settings: Sequence[Setting],
    *,
    engine: Callable[[], Engine],
    code: bytes,
    files: Mapping[str, Sequence[StrategyFile]],
    progress: OnDay | None = None,
) -> dict[str, Any]:
    """Return a day, the newest by default, as it was and as it would have been; AtmandError where that cannot be told.

    `engine` makes engines on the journal's programs; `code` is the digest of the code that runs; `files` are the
    configured strategies', for the ranges of their parameters.
    """
    session = find_session(journal, day)
    if session_code(journal, session) != code:
        raise AtmandError(
            f"{session.day}", "was recorded by other code: its decisions cannot be made again", "ask that version"
        )
    override = _Override(settings, files)
    override.look(manifest for manifest, _ in programs_of(journal, session))
    was = _Fold()
    base = engine()
    if progress is not None:
        progress.stage("folding the day as it was")
    compared = replay(was.follow(base, records_of(journal, session, progress)), base, on_outputs=was.hear)
    if not was.frames and was.timers:
        raise AtmandError(f"{session.day}", "its market data are not kept any more", "ask about a newer day")
    if compared.difference is not None:
        raise AtmandError(f"{session.day}", f"does not replay: {compared.difference}", "see `atmand replay --verify`")
    would, other = _Fold(), engine()
    if progress is not None:
        progress.stage("folding it with other values")
    for record in would.follow(other, records_of(journal, session, progress)):
        if record.kind in AUDIT_KINDS:
            continue
        would.hear(other.apply(override.of(record)))
        if record.kind == Kind.PROGRAM:
            would.hear(other.apply(override.after(record, other.layout.manifest)))
    return _answer(session.day or 0, was, would, override)


class _Override:
    """Puts other values in force: right behind every program, and in every later change of parameters."""

    def __init__(self, settings: Sequence[Setting], files: Mapping[str, Sequence[StrategyFile]]) -> None:
        self._settings, self._files = settings, files
        self._manifest: Manifest | None = None
        self.changed: dict[tuple[str, str], tuple[float, float]] = {}
        """By strategy and parameter: what the program had, and what it is given."""
        self.unchecked: set[str] = set()
        """What could not be held against its range."""

    def of(self, record: Record) -> Record:
        if record.kind != Kind.PARAMS or self._manifest is None:
            return record
        head, rows = head_and_rows(record)
        rows = rows.copy()
        for book, slot, value in self._cells(self._manifest):
            rows["value"][(rows["book"] == book) & (rows["slot"] == slot)] = value
        return renewed(record, head, rows)

    def after(self, record: Record, manifest: Manifest) -> Record:
        """Return the change of parameters that follows a program; it has that record's sequence and time."""
        self._manifest = manifest
        cells = self._cells(manifest)
        rows = np.array(cells, PARAMS_ROW) if cells else np.zeros(0, PARAMS_ROW)
        body = body_of(Kind.PARAMS, np.zeros(1, PARAMS_HEAD), rows)
        return Record(Kind.PARAMS, record.sequence, record.time_ns, body, len(rows))

    def look(self, manifests: Iterable[Manifest]) -> None:
        """Refuse what no program of the day has, and values outside their ranges, before anything is folded."""
        names: set[str] = set()
        for manifest in manifests:
            self._cells(manifest)
            names |= {
                f"{plan.strategy}.{each}"
                for plan in manifest.books
                for each in manifest.structures[plan.structure].params
            }
            if not self._unknown():
                break
        for strategy, name, _ in self._unknown():
            given = f"{strategy}.{name}" if strategy else name
            raise AtmandError(
                f"--set {given}", "no strategy of that day has it", f"known are {', '.join(sorted(names))}"
            )
        self.changed.clear()

    def _unknown(self) -> list[Setting]:
        """Return the settings that nothing seen so far has."""
        return [
            (strategy, name, value)
            for strategy, name, value in self._settings
            if not any(name == known and strategy in (None, book) for book, known in self.changed)
        ]

    def _cells(self, manifest: Manifest) -> list[tuple[int, int, float]]:
        found: dict[tuple[int, int], float] = {}
        for strategy, name, value in self._settings:
            for book, plan in enumerate(manifest.books):
                names = manifest.structures[plan.structure].params
                if name in names and strategy in (None, plan.strategy):
                    slot = names.index(name)
                    self._check_range(plan.strategy, plan.sha256, name, value)
                    self.changed.setdefault((plan.strategy, name), (plan.values[slot], value))
                    found[book, slot] = value
        return [(book, slot, value) for (book, slot), value in found.items()]

    def _check_range(self, strategy: str, sha256: str, name: str, value: float) -> None:
        """Hold a value against the declared range, where the file that traded is at hand."""
        for file in self._files.get(strategy, ()):
            if file.sha256 == sha256:
                parameter_values(Deployment(file, values={name: value}, name=strategy))
                return
        self.unchecked.add(f"{strategy}.{name}")


@dataclass
class _Fold:
    """What a fold of the day came to."""

    trades: list[Trade] = field(default_factory=list)
    results: list[tuple[int, int, str, int]] = field(default_factory=list)
    """A mark a row: cause, time, strategy, equity less capital."""
    frames: int = 0
    timers: int = 0
    _fold: TradeFold = field(default_factory=TradeFold)
    _names: tuple[str, ...] = ()

    def follow(self, engine: Engine, records: Iterable[Record]) -> Iterator[Record]:
        """Hand records on, and take the names of every program when it has been applied."""
        started = False
        for record in records:
            self.frames += record.kind == Kind.FRAME
            self.timers += record.kind == Kind.TIMER
            yield record
            if record.kind == Kind.SESSION:
                started = False
            elif record.kind == Kind.PROGRAM:
                layout = engine.layout
                self._names = tuple(plan.strategy for plan in layout.manifest.books)
                if started:
                    self._fold.begin(layout.manifest, layout.keys)
                else:
                    self._fold = TradeFold(layout.manifest, layout.keys, engine.table("pairs"))
                started = True

    def hear(self, rows: NDArray[Any]) -> None:
        self.trades.extend(self._fold.fold(rows))
        for row in rows[rows["kind"] == Kind.AUDIT_MARK]:
            result = int(row["value"]) - int(row["price"])
            self.results.append((int(row["cause"]), int(row["time_ns"]), self._names[int(row["book"])], result))

    def figures(self, strategy: str | None = None, instrument: str | None = None) -> dict[str, int | None]:
        """Return the day's figures, of all or of one strategy or instrument; an instrument has no drawdown."""
        trades = [
            trade
            for trade in self.trades
            if strategy in (None, trade.strategy) and instrument in (None, trade.instrument)
        ]
        curve: dict[int, int] = {}
        for cause, _, name, result in self.results:
            if strategy in (None, name):
                curve[cause] = curve.get(cause, 0) + result
        values = np.array(list(curve.values()) or [0], np.int64)
        drawdown = int((np.maximum.accumulate(values) - values).max())
        figures = (
            len(trades),
            sum(trade.gross_paise for trade in trades),
            sum(trade.costs_paise for trade in trades),
            sum(trade.net_paise for trade in trades),
            drawdown if instrument is None else None,
        )
        return dict(zip(_FIGURES, figures, strict=True))


def _answer(day: int, was: _Fold, would: _Fold, override: _Override) -> dict[str, Any]:
    both = [*was.trades, *would.trades]
    strategies = list(dict.fromkeys([*was._names, *(trade.strategy for trade in both)]))
    instruments = sorted({trade.instrument for trade in both})
    mine, theirs = ({_identity(trade): trade for trade in fold.trades} for fold in (was, would))
    return {
        "day": f"{day // 10_000}-{day // 100 % 100:02}-{day % 100:02}",
        "set": [
            {"strategy": strategy, "parameter": name, "was": before, "what_if": value}
            for (strategy, name), (before, value) in override.changed.items()
        ],
        "notes": [f"{each}: not held against its range; the strategy file as it was is not at hand"
                  for each in sorted(override.unchecked)]
               + [f"{len(fold._fold.open)} open {word} at the end are not in the trades"
                  for word, fold in (("as it was", was), ("what if", would)) if fold._fold.open],
        "total": _beside(was, would),
        "strategies": {name: _beside(was, would, strategy=name) for name in strategies},
        "instruments": {key: _beside(was, would, instrument=key) for key in instruments},
        "only_was": [trade.to_json() for key, trade in mine.items() if key not in theirs],
        "only_what_if": [trade.to_json() for key, trade in theirs.items() if key not in mine],
        "same_trades": len(mine.keys() & theirs.keys()),
    }  # fmt: skip


def _beside(was: _Fold, would: _Fold, **of: str) -> dict[str, dict[str, int | None]]:
    return {"was": was.figures(**of), "what_if": would.figures(**of)}


def _identity(trade: Trade) -> tuple[Any, ...]:
    return (
        trade.strategy, trade.account, trade.instrument, trade.side, trade.quantity, trade.entry_ns, trade.entry_value,
        trade.exit_ns, trade.exit_value, trade.costs_paise, trade.exit_reason,
    )  # fmt: skip


def told(
    answer: Mapping[str, Any], rupees: Callable[[int | None], str | None]
) -> Iterator[tuple[tuple[str, ...], list[dict[str, Any]]]]:
    """Yield tables for a screen: the values that were set, the figures side by side, the trades that differ."""
    yield ("strategy", "parameter", "was", "what_if"), list(answer["set"])
    rows = [_figure_row("all", answer["total"], rupees)]
    rows += [_figure_row(name, each, rupees) for name, each in answer["strategies"].items()]
    rows += [_figure_row(shortened(key), each, rupees) for key, each in answer["instruments"].items()]
    columns = ("of", "trades", "if_trades", "net", "if_net", "difference", "drawdown", "if_drawdown")
    yield columns, rows
    trades = [
        {**trade, "which": which, "net": rupees(trade["net_paise"])}
        for which, name in (("was", "only_was"), ("what if", "only_what_if"))
        for trade in answer[name]
    ]
    if trades:
        trades.sort(key=lambda trade: trade["entry_time"])
        yield (
            ("which", "strategy", "instrument", "side", "quantity", "entry_time", "exit_time", "net", "exit_reason"),
            trades,
        )


def _figure_row(name: str, each: Mapping[str, Any], rupees: Callable[[int | None], str | None]) -> dict[str, Any]:
    was, would = each["was"], each["what_if"]
    return {
        "of": name,
        "trades": was["trades"],
        "if_trades": would["trades"],
        "net": rupees(was["net_paise"]),
        "if_net": rupees(would["net_paise"]),
        "difference": rupees(would["net_paise"] - was["net_paise"]),
        "drawdown": rupees(was["max_drawdown_paise"]),
        "if_drawdown": rupees(would["max_drawdown_paise"]),
    }
