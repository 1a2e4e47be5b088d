"""Frame to decision: what the loop spends on a frame, and on the timer that closes bars and lets strategies decide.

Prints JSON lines; writes the section `frames` of docs/performance.md.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from _report import Report, micros, percentiles, table

from atmand.start import prepare_compiler

prepare_compiler(None)

from _market import OPEN_NS, SECOND_NS, Alone, Tape, journaled, program  # noqa: E402

_EVERY_S: Final = {1: 1, 100: 4, 1_000: 20}
"""Seconds of market time between the frames of a session of so many instruments."""
_SESSION_S: Final = 375 * 60
_RECEIVED_NS: Final = SECOND_NS // 5
_WARM_S: Final = 30 * 60
_SHARED_MEMORY: Final = Path("/dev/shm")
_DEFINITION: Final = """A frame is one WebSocket message with a full packet (184 bytes, five levels of depth a side) of
every instrument. *Engine alone* is `Engine.apply` called from Python: decode, quotes, bars, matching, stops. *With
journal* is what the daemon's loop does: sequence, checksum, append, apply, and audit rows back into the journal, whose
thread writes meanwhile. *Bar close* is the timer record that closes the minute's bar of every instrument, folds RSI,
MACD and ATR, evaluates the rules, checks risk, makes orders and marks the book. A session of 375 minutes from generated
ticks, the first 30 minutes left out; microseconds; frames in a hot loop, see the event loops below for paced ones. Here
two journals are written at once, thousands of times faster than a market would, so their p99 is not a daemon's."""


def main() -> None:
    report = Report("frames", "Frame to decision")
    loaded = program()
    rows: list[list[str]] = []
    for n in _EVERY_S:
        for who, samples in _session(loaded, n).items():
            row = [f"{n:,}", who]
            for figure in ("frame", "bar close"):
                p50, p99 = percentiles(samples[figure], 50, 99)
                report.figure(who, f"{figure}, {n} instruments", p50, "us", p99=p99, samples=len(samples[figure]))
                row += [micros(p50), micros(p99)]
            row += [f"{1e3 * percentiles(samples['frame'], 50)[0] / n:,.0f}", f"{samples['orders']:,}"]
            rows.append(row)
    head = ["instruments", "what", "frame p50", "p99", "bar close p50", "p99", "ns a tick", "orders made"]
    report.write(_DEFINITION, table(head, rows))


def _session(loaded: Any, n: int) -> dict[str, dict[str, Any]]:
    """Trade one day with every contestant at once: each frame goes to all of them, in changing order."""
    with ExitStack() as stack:
        folds: dict[str, Any] = {"engine alone": Alone(loaded, n)}
        places: dict[str, Path | None] = {"with journal, disk": None}
        if _SHARED_MEMORY.is_dir():
            places["with journal, memory file system"] = _SHARED_MEMORY
        for who, parent in places.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent)))
            folds[who] = stack.enter_context(journaled(loaded, n, folder / "journal"))
        samples: dict[str, dict[str, Any]] = {who: {"frame": [], "bar close": []} for who in folds}
        tape, order = Tape(n), list(folds)
        gc.collect()
        gc.freeze()
        for at_s in range(1, _SESSION_S, _EVERY_S[n]):
            body, time_ns = tape.frame(at_s), OPEN_NS + at_s * SECOND_NS + _RECEIVED_NS
            order = [*order[1:], order[0]]
            for who in order:
                _fold(folds[who], samples[who] if at_s > _WARM_S else None, body, time_ns)
        for who, fold in folds.items():
            samples[who]["orders"] = int(fold.engine.header["orders_made"])
    return samples


def _fold(fold: Any, samples: dict[str, Any] | None, body: bytes, time_ns: int) -> None:
    """Let the timers that are due pass, then take the frame in; both are measured."""
    fold.settle()
    bars = int(fold.engine.header["bars"])
    began = time.perf_counter_ns()
    fold.advance(time_ns)
    closed = time.perf_counter_ns()
    closes = int(fold.engine.header["bars"]) > bars
    opened = time.perf_counter_ns()
    fold.frame(body, time_ns)
    ended = time.perf_counter_ns()
    if samples is not None:
        samples["frame"].append(ended - opened)
        if closes:
            samples["bar close"].append(closed - began)


if __name__ == "__main__":
    sys.exit(main())
