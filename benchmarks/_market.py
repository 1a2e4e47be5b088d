"""A market of any number of full-mode instruments for the benchmarks, and the two ways in which its frames are folded.

Frames are made by the simulator's own wire format, out of seeded random walks with depth; the strategy is the shipped
`rsi_macd`, one book, with capital enough to trade in every instrument.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.engine import Engine
from atmand.core.manifest import Program
from atmand.core.opening import (
    BookLimits,
    Draft,
    SessionTerms,
    instruments_draft,
    limits_draft,
    program_draft,
    session_draft,
)
from atmand.core.records import Kind, Record, Source
from atmand.feed.kite_decode import decode
from atmand.journal.settings import JournalSettings
from atmand.journal.writer import JournalWriter
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import load_strategy, parse_strategy
from atmand.market.instruments import Instrument
from atmand.market.sessions import Window, windows
from atmand.sequencer import Sequencer
from atmand.sim.wire import FULL, frame
from atmand.start import builtin

__all__ = ["OPEN_NS", "SECOND_NS", "Alone", "Stopwatch", "Tape", "engine", "journaled", "opening", "program", "tokens"]

SECOND_NS: Final = 1_000_000_000
_DAY: Final = date(2026, 7, 6)
_HOURS: Final[tuple[Window, ...]] = tuple(window for window in windows(_DAY) if window.group == 0)
OPEN_NS: Final = min(window.open_ns for window in _HOURS)
"""Opening of the market on the day that every benchmark trades."""
_TICK: Final = 5
_VOLATILITY: Final = 0.0008
"""Of a price, a minute."""
_CAPITAL_PAISE: Final = 10**12
_MOST_WAITING: Final = 8 << 20


class Stopwatch:
    """Times work on this thread, less what it waited for a processor that something else had (Linux tells it)."""

    def __init__(self) -> None:
        self._schedule = open("/proc/thread-self/schedstat", "rb", buffering=0)  # noqa: SIM115

    def start(self) -> None:
        self._waited = self._wait_ns()
        self._began = time.perf_counter_ns()

    def stop(self) -> tuple[int, int]:
        """Return nanoseconds by the wall, and those less the wait."""
        wall = time.perf_counter_ns() - self._began
        return wall, wall - (self._wait_ns() - self._waited)

    def _wait_ns(self) -> int:
        self._schedule.seek(0)
        return int(self._schedule.read().split()[1])


def tokens(n: int) -> NDArray[np.int64]:
    """Return the feed tokens of `n` shares of NSE."""
    return (np.arange(n, dtype=np.int64) + 100) << 8 | 1


class Tape:
    """What `n` instruments trade, a frame a call, each with one full packet (184 bytes) an instrument."""

    def __init__(self, n: int, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._lengths = np.full(n, FULL.itemsize, np.int16)
        self._rows = np.zeros(n, FULL)
        self._value = self._random.uniform(20_000, 400_000, n)
        self._last = self._rounded()
        self._volume = np.zeros(n, np.int64)
        self._steps = np.arange(5) * _TICK
        self._at_s = 0.0
        self._rows["token"] = tokens(n)
        for name in ("open", "close", "high", "low"):
            self._rows[name] = self._last

    def frame(self, at_s: float) -> bytes:
        """Return the frame of a moment, seconds after the opening; moments come in order."""
        random, rows, n = self._random, self._rows, len(self._rows)
        spread = _VOLATILITY * max(0.001, (at_s - self._at_s) / 60.0) ** 0.5
        self._at_s = at_s
        self._value *= np.exp(random.normal(0, spread, n))
        self._last = self._rounded()
        quantity = random.integers(1, 500, n)
        self._volume += quantity
        rows["last_price"] = rows["average_price"] = self._last
        rows["last_quantity"], rows["volume"] = quantity, self._volume
        rows["high"], rows["low"] = np.maximum(rows["high"], self._last), np.minimum(rows["low"], self._last)
        rows["last_trade_time"] = rows["exchange_time"] = OPEN_NS // SECOND_NS + int(at_s)
        rows["buy_quantity"], rows["sell_quantity"] = random.integers(1, 1_000_000, (2, n))
        for side, direction in (("buy", -1), ("sell", 1)):
            rows[side]["price"] = self._last[:, None] + direction * (self._steps + _TICK)
            rows[side]["quantity"] = random.integers(1, 5_000, (n, 5))
            rows[side]["orders"] = 3
        return frame(rows.view(np.uint8).reshape(n, FULL.itemsize), self._lengths)

    def _rounded(self) -> NDArray[np.int64]:
        return np.maximum(np.rint(self._value / _TICK).astype(np.int64), 1) * _TICK


def program(strategies: int = 1) -> Program:
    """Load a program of the shipped strategy, compiling it where the cache has none.

    With more strategies each is a structure of its own: their exits differ by a constant.
    """
    path = builtin("strategies/rsi_macd.toml")
    deployments = [Deployment(load_strategy(path))]
    text = path.read_text("utf-8")
    for number in range(1, strategies):
        own = text.replace('name = "rsi_macd"', f'name = "rsi_macd{number}"').replace(
            "strength > 75", f"strength > {75 + number / 10}"
        )
        deployments.append(Deployment(parse_strategy(own, path.name)))
    return build(generate(deployments))


def engine(loaded: Program) -> Engine:
    return Engine({int(Source.KITE): decode}, lambda _: loaded)


def opening(loaded: Program, n: int) -> list[Draft]:
    """Return the records that open the session for `n` instruments, all of them traded."""
    shares = [
        Instrument(
            key=f"NSE:EQ:S{place}", isin="", token=int(token), exchange="NSE", segment="EQ", symbol=f"S{place}",
            name=f"S{place}", price_scale=100, tick=_TICK, lot=1, freeze=0, lower_band=0, upper_band=0, tradable=True,
            sector="",
        )
        for place, token in enumerate(tokens(n))
    ]  # fmt: skip
    books = len(loaded.manifest.books)
    return [
        session_draft(SessionTerms(day=_DAY, windows=_HOURS)),
        instruments_draft([(share, 0) for share in shares]),
        program_draft(loaded.source, loaded.manifest, [(book, place) for book in range(books) for place in range(n)]),
        limits_draft([BookLimits(_CAPITAL_PAISE)] * books),
    ]


class Alone:
    """The engine without a journal, driven as the sequencer drives it."""

    def __init__(self, loaded: Program, n: int) -> None:
        self.engine = engine(loaded)
        self._sequence = 0
        self.outputs = 0
        for draft in opening(loaded, n):
            self._apply(draft.kind, draft.body, draft.rows, OPEN_NS - 60 * SECOND_NS, 0, draft.version)

    def advance(self, time_ns: int) -> None:
        """Apply the timers that are due."""
        engine = self.engine
        while engine.next_due_ns <= time_ns:
            grid_ns = int(engine.header["grid_ns"])
            due_ns = max(-(-engine.next_due_ns // grid_ns) * grid_ns, engine.time_ns + 1)
            if due_ns > time_ns:
                return
            self._apply(Kind.TIMER, bytes(8), 0, due_ns, 0)

    def frame(self, body: bytes, time_ns: int) -> None:
        """Apply market data."""
        self._apply(Kind.FRAME, body, 0, time_ns, int(Source.KITE))

    def settle(self) -> None:
        """Nothing is waiting here."""

    def _apply(self, kind: Kind, body: bytes, rows: int, time_ns: int, source: int, version: int = 1) -> None:
        self._sequence += 1
        time_ns = max(self.engine.time_ns + 1, time_ns)
        self.outputs += len(self.engine.apply(Record(kind, self._sequence, time_ns, body, rows, version, source)))


class _Journaled:
    """The engine behind the daemon's own sequencer and journal."""

    def __init__(self, loaded: Program, n: int, writer: JournalWriter) -> None:
        self.engine = engine(loaded)
        self.writer = writer
        self.outputs = 0
        self.sequencer = Sequencer(self.engine, writer, self._count)
        self.advance = self.sequencer.advance
        for draft in opening(loaded, n):
            self.sequencer.put(draft, OPEN_NS - 60 * SECOND_NS)

    def frame(self, body: bytes, time_ns: int) -> None:
        """Append and apply market data."""
        self.sequencer.frame(body, time_ns, source=int(Source.KITE), connection=0)

    def settle(self) -> None:
        """Let the journal's thread catch up: frames come here many times faster than from any market."""
        while self.writer.health().waiting_bytes > _MOST_WAITING:
            time.sleep(0.001)

    def _count(self, outputs: NDArray[Any]) -> None:
        self.outputs += len(outputs)


@contextmanager
def journaled(loaded: Program, n: int, directory: Path, **settings: int) -> Iterator[_Journaled]:
    """Open a session of `n` instruments on a new journal in `directory`, and close it at the end."""
    writer = JournalWriter(directory, JournalSettings(**settings))
    try:
        yield _Journaled(loaded, n, writer)
    finally:
        writer.close()
