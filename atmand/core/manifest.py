"""What a compiled program says of itself: its structures, the books that run them, and their accounts.

The language room writes a manifest beside the generated source; the engine lays the arena out from it. It travels as
a JSON sidecar of the PROGRAM record, so that an old day can be laid out again as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

__all__ = ["Amount", "BookPlan", "LegPlan", "Manifest", "Program", "StreamPlan", "StructurePlan"]


@dataclass(frozen=True)
class StreamPlan:
    """Bars that a structure looks at beside its own: another period, another instrument, or both."""

    instrument: str
    """Name or key; empty is the pair's own."""
    period_ns: int
    ring_bars: int


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
    streams: tuple[StreamPlan, ...] = ()
    staged: bool = False
    """Whether it compares instruments, so that its rules wait until all of them have taken a bar in."""


@dataclass(frozen=True)
class Amount:
    """A distance of a leg: a number, or the parameter of a slot; rupees, or percent of the premium. 0 is none."""

    value: float = 0.0
    slot: int = -1
    percent: bool = False


@dataclass(frozen=True)
class LegPlan:
    """A leg of a group, as the kernel reads it; the rules' numbers are those of `words.py`."""

    side: int
    right: int
    strike_rule: int
    strike_value: float
    expiry_rule: int
    expiry_days: int
    ratio: int
    loss: Amount
    target: Amount
    trail: Amount
    reentries: int
    at_new_strike: bool


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
    stream_bars: tuple[int, ...] = ()
    """The same for each of the structure's streams."""
    cooldown: int = 0
    """Bars after an exit on which nothing is entered."""
    max_adds: int = 0
    max_reduces: int = 0
    max_trades: int = 0
    """Trades a day in one instrument; 0 = any number."""
    participation_ppm: int = 0
    """Millionths of a minute's volume that the orders in one instrument may take; 0 = all that is offered."""
    limit_entry: bool = False
    """Entries are limit orders at the price that the step names."""
    entry_wait_ns: int = 0
    """How long an entry may wait for its fill; 0 = the session's term."""
    legs: tuple[LegPlan, ...] = ()
    combined: tuple[Amount, ...] = ()
    """Loss, target and trail over all legs, in rupees."""
    run_off: bool = False
    """It opens nothing: it leads positions that it took over to their exits, and goes when it is flat."""
    origin: str = ""
    """The strategy whose positions a run-off book took over."""
    carried: bool = False
    """NRML: derivatives that may be held over night."""

    @property
    def product(self) -> str:
        """The broker's word for what its positions are held under."""
        return "CNC" if self.delivery else "NRML" if self.carried else "MIS"


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
            structures=tuple(_structure_plan(row) for row in document["structures"]),
            books=tuple(_book_plan(row) for row in document["books"]),
            accounts=tuple(document["accounts"]),
            source=document["source"],
            signals=tuple(document.get("signals", ())),
        )


def _structure_plan(row: dict[str, Any]) -> StructurePlan:
    streams = tuple(StreamPlan(**stream) for stream in row.get("streams", ()))
    return StructurePlan(**{**row, "params": tuple(row["params"]), "streams": streams})


def _book_plan(row: dict[str, Any]) -> BookPlan:
    legs = [
        LegPlan(**{**leg, **{name: Amount(**leg[name]) for name in ("loss", "target", "trail")}})
        for leg in row.get("legs", ())
    ]
    combined = tuple(Amount(**amount) for amount in row.get("combined", ()))
    lists = {"values": tuple(row["values"]), "stream_bars": tuple(row.get("stream_bars", ()))}
    return BookPlan(**{**row, **lists, "legs": tuple(legs), "combined": combined})


@dataclass(frozen=True)
class Program:
    """A loaded program: the compiled fold, and what it says of itself."""

    apply: Callable[..., int]
    """`apply(arena, kind, body, rows, sequence, time_ns) -> outputs`, compiled with eager signatures."""
    run_bars: Callable[..., Any]
    """The batch driver: the same fold in a compiled loop over bars. Compiled when it is first called."""
    source: bytes
    manifest: Manifest
