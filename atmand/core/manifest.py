"""What a compiled program says of itself: its structures, the books that run them, and their accounts.

The language room writes a manifest beside the generated source; the engine lays the arena out from it. It travels as
a JSON sidecar of the PROGRAM record, so that an old day can be laid out again as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

__all__ = ["BookPlan", "Manifest", "Program", "StructurePlan"]


@dataclass(frozen=True)
class StructurePlan:
    """One compiled strategy structure: strategies that differ only in parameter values share it."""

    name: str
    """Hash of the generated step, so that an unchanged structure is recognised in the next program."""
    period_ns: int
    state_bytes: int
    ring_bars: int
    """Bars that must be kept so that every indicator can be folded again from the ring."""
    params: tuple[str, ...]
    lookback_slots: int
    """Bit i is set where state depends on parameter i, as on a look-back: a change folds the indicators again."""


@dataclass(frozen=True)
class BookPlan:
    """A book: one strategy traded for one account. Times are nanoseconds after midnight in India, 0 = none."""

    strategy: str
    account: str
    structure: int
    delivery: bool
    entry_from_ns: int
    entry_to_ns: int
    square_off_ns: int
    values: tuple[float, ...]
    """Parameter values in the order of the structure's `params`."""
    sha256: str
    """Of the strategy file."""
    warm_bars: int = 1
    """Bars before the strategy may decide, with these values."""
    history_bars: int = 1
    """Bars worth fetching, so that what recursive indicators still remember of older ones is below 1e-9."""
    run_off: bool = False
    """It opens nothing: it leads positions that it took over to their exits, and goes when it is flat."""
    origin: str = ""
    """The strategy whose positions a run-off book took over."""


@dataclass(frozen=True)
class Manifest:
    """Everything the engine needs to lay an arena out, apart from the session and its instruments."""

    structures: tuple[StructurePlan, ...]
    books: tuple[BookPlan, ...]
    accounts: tuple[str, ...]
    source: str
    """sha256 of the generated module."""
    signals: tuple[str, ...] = ()
    """Names of the external signals that the strategies read; a SIGNAL row's `column` is a place in it."""

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        document: dict[str, Any] = orjson.loads(text)
        return cls(
            structures=tuple(
                StructurePlan(**{**row, "params": tuple(row["params"])}) for row in document["structures"]
            ),
            books=tuple(BookPlan(**{**row, "values": tuple(row["values"])}) for row in document["books"]),
            accounts=tuple(document["accounts"]),
            source=document["source"],
            signals=tuple(document.get("signals", ())),
        )


@dataclass(frozen=True)
class Program:
    """A loaded program: the compiled fold, and what it says of itself."""

    apply: Callable[..., int]
    """`apply(arena, kind, body, rows, sequence, time_ns) -> outputs`, compiled with eager signatures."""
    run_bars: Callable[..., Any]
    """The batch driver: the same fold in a compiled loop over bars. Compiled when it is first called."""
    source: bytes
    manifest: Manifest
