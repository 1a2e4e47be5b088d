"""`atmand data check`: what is wrong with bars, in a store or in a file. It finds and tells, and repairs nothing.

`check` runs every rule over one length of bars; the rules themselves are in `gaps.py` and `oddities.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from atmand.history.actions import Action, load_actions
from atmand.history.bar_files import Hints
from atmand.history.finding import Finding
from atmand.history.formats import load_file
from atmand.history.gaps import session_findings
from atmand.history.oddities import odd_findings
from atmand.history.rows import BadRow, bar_ns_of
from atmand.history.scan import collected, scan
from atmand.history.store import Store, is_store

__all__ = ["Checked", "Finding", "check", "check_path"]

_COLUMNS: Final = ("key", "start_ns", "open", "high", "low", "close", "volume")
_ROWS_AT_ONCE: Final = 1_000_000
_WORDS: Final = {
    "impossible": "a row that cannot be true, or is malformed",
    "duplicate": "an instrument has two bars of one start",
    "end_stamp": "bars are stamped at their end",
    "gap": "bars are missing inside a session",
    "missing_session": "a session has no bar of an instrument that has them before and after",
    "no_session": "bars of a day on which the exchange was closed",
    "off_session": "bars outside the day's hours",
    "flat_tail": "the last bars repeat one price without volume",
    "outlier": "a price jumps further than the instrument moves",
    "split": "the price jumps overnight by a ratio of whole numbers, and no action says why",
    "volume": "the volume is cumulative, or falls within a day",
    "zero_volume": "bars without volume, of an instrument that has volume",
}
"""Every kind of finding."""


@dataclass(frozen=True)
class Checked:
    """What a check came to."""

    source: str
    rows: int
    instruments: int
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether nothing but notes was found."""
        return all(one.level == "note" for one in self.findings)

    def summary(self) -> dict[str, dict[str, int]]:
        """Count findings by kind, and what they amount to: rows, minutes or sessions."""
        out: dict[str, dict[str, int]] = {}
        for one in self.findings:
            row = out.setdefault(one.kind, {"findings": 0, "count": 0})
            row["findings"] += 1
            row["count"] += one.count
        return {kind: out[kind] for kind in _WORDS if kind in out}

    def to_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "source": self.source,
            "rows": self.rows,
            "instruments": self.instruments,
            "good": self.good,
            "summary": self.summary(),
            "findings": [asdict(one) for one in self.findings],
        }


def check(frame: pl.DataFrame, bar_ns: int, actions: Sequence[Action] = ()) -> list[Finding]:
    """Look at bars of one length (key, start_ns, prices, volume), in any order."""
    frame = frame.select(*_COLUMNS).sort("key", "start_ns")
    findings = list(_duplicates(frame))
    frame = frame.unique(["key", "start_ns"], keep="last", maintain_order=True)
    findings += session_findings(frame, bar_ns)
    findings += odd_findings(frame, bar_ns, actions)
    return sorted(findings, key=_order)


def _order(one: Finding) -> tuple[int, str, str]:
    return list(_WORDS).index(one.kind), one.instrument, one.first


def check_path(
    path: Path,
    *,
    keys: Sequence[str] | None = None,
    bar: str | None = None,
    format: str | None = None,
    hints: Hints | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Checked:
    """Check a store, some instruments at a time, or a file that could be imported."""
    if is_store(path):
        return _check_store(Store(path), keys, bar, progress)
    loaded = load_file(path, format, hints).parsed
    frame = loaded.frame if keys is None else loaded.frame.filter(pl.col("key").is_in(list(keys)))
    findings = [*_impossible(loaded.bad), *check(frame, loaded.bar_ns)]
    progress(1, 1)
    return Checked(str(path), frame.height, frame["key"].n_unique(), tuple(findings))


def _check_store(
    store: Store, keys: Sequence[str] | None, bar: str | None, progress: Callable[[int, int], None]
) -> Checked:
    actions = load_actions(store.directory)
    parts = [
        (exchange, name, own)
        for exchange, name in sorted({(part.exchange, part.bar) for part in store.partitions(bar=bar)})
        for own in _portions(store, exchange, name, keys)
    ]
    findings: list[Finding] = []
    rows, instruments = 0, set()
    for number, (exchange, name, own) in enumerate(parts, 1):
        frame = collected(scan(store, exchange=exchange, bar=name, keys=own).select(*_COLUMNS), store)
        rows += frame.height
        instruments |= set(own)
        findings += check(frame, bar_ns_of(name), actions)
        progress(number, len(parts))
    return Checked(str(store.directory), rows, len(instruments), tuple(sorted(findings, key=_order)))


def _portions(store: Store, exchange: str, bar: str, keys: Sequence[str] | None) -> Iterator[list[str]]:
    """Divide a store's instruments into portions that fit into memory."""
    counts = collected(scan(store, exchange=exchange, bar=bar, keys=keys).group_by("key").len().sort("key"), store)
    portion: list[str] = []
    held = 0
    for key, rows in counts.iter_rows():
        if portion and held + rows > _ROWS_AT_ONCE:
            yield portion
            portion, held = [], 0
        portion.append(key)
        held += rows
    if portion:
        yield portion


def _impossible(bad: Iterable[BadRow]) -> Iterator[Finding]:
    for row in bad:
        place = f"line {row.line}"
        yield Finding("impossible", "error", "", place, place, 1, f"{row.file}: line {row.line}: {row.what}")


def _duplicates(frame: pl.DataFrame) -> Iterator[Finding]:
    twice = frame.group_by("key", "start_ns").len().filter(pl.col("len") > 1)
    found = twice.group_by("key").agg(
        count=(pl.col("len") - 1).sum(), first=pl.col("start_ns").min(), last=pl.col("start_ns").max()
    )
    for key, count, first, last in found.sort("key").iter_rows():
        yield Finding.at("duplicate", "error", key, first, last, count, "two bars of one start")
