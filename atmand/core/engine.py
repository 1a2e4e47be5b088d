"""The fold: `Engine.apply(record)` is the only way in which the core's state changes.

Structural records (session, instruments, program) lay the arena out in Python; every other kind is one compiled call.
The engine reads no clock, file, socket or random source: the same records give the same state and the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atmand.core.actions import adjust
from atmand.core.books import books_document, load_books, open_next_day
from atmand.core.jit import kernel_rows
from atmand.core.layout import ARENA
from atmand.core.manifest import Manifest, Program
from atmand.core.records import (
    AUDIT,
    AUDIT_KINDS,
    INSTRUMENTS_HEAD,
    INSTRUMENTS_ROW,
    PROGRAM_ROW,
    Kind,
    Record,
    head_and_rows,
    upgraded,
)
from atmand.core.run_off import with_run_off
from atmand.core.state import Layout, carry_over, lay_out, table
from atmand.core.ticks import MAX_TICKS, TICK, decoded_skipped, decoded_ticks
from atmand.errors import AtmandError

__all__ = ["Decoder", "Engine", "EngineError"]

Decoder: TypeAlias = Callable[[bytes, NDArray[Any]], int]
"""A feed's compiled decoder: writes TICK rows, returns how many, and how many packets it skipped."""

_NO_OUTPUTS: Final = np.zeros(0, AUDIT)
_FRAME: Final = int(Kind.FRAME)
_MOST_ROWS: Final = 0xFFFFFFFF
_COMPILED: Final = frozenset(
    {
        Kind.HISTORY,
        Kind.PARAMS,
        Kind.LIMITS,
        Kind.FRAME,
        Kind.GAP,
        Kind.COMMAND,
        Kind.TIMER,
        Kind.FEED_STATE,
        Kind.FORECAST,
        Kind.SENTIMENT,
        Kind.SIGNAL,
    }
)


class EngineError(AtmandError):
    """A record cannot be applied: it came before what it needs, or names a program that was not given."""


class Engine:
    """One arena and the fold over it.

    `decoders` maps a record's source to the feed's decoder; `programs` returns the loaded program whose manifest has
    the given sha256, `books` the books document of a sha256: what a session begins with. `kept` closed trades and fills
    stay in the arena.
    """

    def __init__(
        self,
        decoders: Mapping[int, Decoder],
        programs: Callable[[bytes], Program],
        books: Callable[[bytes], dict[str, Any]] | None = None,
        kept: int = 1,
    ) -> None:
        self._decoders = decoders
        self._programs = programs
        self._carried_books = books
        self._opening = False
        self._kept = kept
        self._ticks: NDArray[Any] = np.zeros(MAX_TICKS, TICK)
        self._tick_rows = kernel_rows(self._ticks)
        self._tick_bytes = self._ticks.view(np.uint8)
        self._body = np.zeros(4096, np.uint8)
        self._session: Record | None = None
        self._instruments: Record | None = None
        self._layout: Layout | None = None
        self._prepared: tuple[int, bytes, Manifest, tuple[tuple[int, int], ...], Layout] | None = None
        self._program: Program | None = None
        self._outputs: NDArray[Any] = _NO_OUTPUTS
        self._header: NDArray[Any] = np.zeros(1, ARENA)
        self._next_due = np.full(1, np.iinfo(np.int64).max, np.int64).data
        self.grid_ns = 0
        self._decisions = 1
        self.frames_skipped = 0
        self.packets_skipped = 0
        self.sequence = 0
        self.time_ns = 0

    @property
    def ready(self) -> bool:
        """Whether a session, its instruments and a program have been applied."""
        return self._layout is not None

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            raise EngineError("engine", "no PROGRAM record was applied", "open a session first")
        return self._layout

    @property
    def header(self) -> Any:
        """The arena's header row: counters, core time, session fields."""
        return self._header[0]

    @property
    def next_due_ns(self) -> int:
        """Core time at which a TIMER is wanted; the end of time when none is."""
        return self._next_due[0]

    def table(self, name: str) -> NDArray[Any]:
        """View a table of the arena, for readers on the loop; never written outside the fold."""
        return table(self.layout.arena, name)

    def decide(self, on: bool) -> None:
        """Switch decisions and matching on or off: recovery rebuilds market state with them off."""
        self._decisions = int(on)
        if self._layout is not None:
            self._header["decisions"] = self._decisions
            self._header["next_due_ns"] = 0

    def apply(self, record: Record) -> NDArray[Any]:
        """Apply one record and return its audit rows: a view that the next call overwrites."""
        kind, sequence, time_ns, body, rows, _, source, _ = record
        if kind != _FRAME and kind not in _COMPILED:
            return self._apply_structural(record)
        self.sequence, self.time_ns = sequence, time_ns
        layout, program = self._layout, self._program
        if layout is None or program is None:
            self.frames_skipped += 1
            return _NO_OUTPUTS
        if kind == _FRAME:
            decode = self._decoders.get(source)
            if decode is None:
                self.frames_skipped += 1
                return _NO_OUTPUTS
            rows = decode(body, self._tick_rows)
            if rows > _MOST_ROWS:
                self.packets_skipped += decoded_skipped(rows)
                rows = decoded_ticks(rows)
            n = program.apply(layout.arena, _FRAME, self._tick_bytes, rows, sequence, time_ns)
        else:
            # An integer: typing an enumeration's member would cost twenty times the call.
            given = self._writable(upgraded(record).body)
            n = program.apply(layout.arena, int(kind), given, rows, sequence, time_ns)
        return self._outputs[:n] if n else _NO_OUTPUTS

    def _apply_structural(self, record: Record) -> NDArray[Any]:
        if record.kind in AUDIT_KINDS:
            return _NO_OUTPUTS
        self.sequence, self.time_ns = record.sequence, record.time_ns
        if record.kind == Kind.SESSION:
            self._session = record
            self._opening = True
        elif record.kind == Kind.INSTRUMENTS:
            self._instruments = record
        elif record.kind == Kind.PROGRAM:
            self._install(record)
        elif record.kind == Kind.CORPORATE_ACTION and self._layout is not None:
            adjust(self._layout, record)
        return _NO_OUTPUTS

    def apply_bars(self, bars: NDArray[Any], *arguments: Any) -> Any:
        """Run the program's compiled batch driver over this engine's arena."""
        assert self._program is not None
        return self._program.run_bars(self.layout.arena, kernel_rows(bars), *arguments)

    def books(self) -> dict[str, Any]:
        """Write the books down as a document for a snapshot."""
        return books_document(self.layout)

    def load_books(self, document: dict[str, Any]) -> list[str]:
        """Take the books from a snapshot; return what had no row any more."""
        return load_books(self.layout, document)

    def prepare(self, instruments: bytes | None, manifest: Manifest, pairs: Sequence[tuple[int, int]]) -> None:
        """Lay an arena out for a PROGRAM record that is to come, in any thread: the loop then only fills it.

        `instruments` is the body of an INSTRUMENTS record that comes before it, or None. What is prepared for nothing
        is thrown away by the next program.
        """
        if self._session is None or self._instruments is None:
            return
        record = self._instruments if instruments is None else self._instruments._replace(body=instruments)
        if instruments is not None:
            record = record._replace(rows=(len(instruments) - INSTRUMENTS_HEAD.itemsize) // INSTRUMENTS_ROW.itemsize)
        rows = np.zeros(len(pairs), PROGRAM_ROW)
        rows["book"], rows["instrument"] = np.array(pairs, np.int64).reshape(-1, 2).T
        layout = self._laid_out(self._session, record, manifest, rows)
        self._prepared = (self._session.sequence, record.body, manifest, layout.pairs, layout)

    def _laid_out(self, session: Record, instruments: Record, manifest: Manifest, pairs: NDArray[Any]) -> Layout:
        head, windows = head_and_rows(session)
        _, rows = head_and_rows(instruments)
        return lay_out(head, windows, rows, manifest, pairs, session.time_ns, self._kept)

    def _take_prepared(self, manifest: Manifest, pairs: NDArray[Any]) -> Layout | None:
        """Return the arena that was laid out for exactly these records, once."""
        prepared, self._prepared = self._prepared, None
        assert self._session is not None and self._instruments is not None
        if prepared is None:
            return None
        sequence, body, its_manifest, places, layout = prepared
        same = (sequence, body) == (self._session.sequence, self._instruments.body) and its_manifest == manifest
        wanted = tuple(zip(pairs["book"].tolist(), pairs["instrument"].tolist(), strict=True))
        return layout if same and places == wanted else None

    def _writable(self, body: bytes) -> NDArray[np.uint8]:
        """Copy a small body where compiled code may view it: one signature for every kind of record."""
        if len(body) > self._body.size:
            self._body = np.zeros(len(body), np.uint8)
        self._body[: len(body)] = np.frombuffer(body, np.uint8)
        return self._body

    def _install(self, record: Record) -> None:
        """Lay a new arena out for a program.

        A session opens on books alone, so that a replay can begin there; its bars come as HISTORY. A program swapped
        inside a session keeps market state and books.
        """
        if self._session is None or self._instruments is None:
            raise EngineError("PROGRAM", "came before SESSION and INSTRUMENTS", "open a session first")
        head, pairs = head_and_rows(record)
        program = self._programs(head["manifest"][0].tobytes())
        session, _ = head_and_rows(self._session)
        after = self._take_prepared(program.manifest, pairs)
        if after is None:
            after = self._laid_out(self._session, self._instruments, program.manifest, pairs)
        if self._layout is not None and not self._opening:
            books = books_document(self._layout)
            carry_over(self._layout, after, pairs["copy_from"], record.time_ns)
            load_books(after, with_run_off(books, after.manifest, _held(after)))
        elif self._carried_books is not None and head["books"].any():
            carried = self._carried_books(head["books"][0].tobytes())
            load_books(after, with_run_off(carried, after.manifest, _held(after)))
            if carried["date"] != int(session["date"][0]):
                open_next_day(after)
        self._opening = False
        self._layout, self._program = after, program
        self._header = after.arena[: ARENA.itemsize].view(ARENA)
        self._header["decisions"] = self._decisions
        self._header["time_ns"] = record.time_ns
        self._next_due = _word(after.arena, "next_due_ns")
        self.grid_ns = int(self._header["grid_ns"][0])
        self._outputs = table(after.arena, "outputs")


def _word(arena: NDArray[np.uint8], name: str) -> memoryview[int]:
    """View a field of the header: read on every record, and several times quicker than through an array."""
    assert ARENA.fields is not None
    at = ARENA.fields[name][1]
    return arena[at : at + 8].data.cast("q")


def _held(layout: Layout) -> set[tuple[str, str]]:
    """Name the (book, instrument) pairs of a layout."""
    plans = layout.manifest.books
    return {
        (f"{plans[book].strategy}@{plans[book].account}", layout.keys[instrument]) for book, instrument in layout.pairs
    }
