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

from _report import Report, Target, micros, percentiles, table

from atmand.start import prepare_compiler

prepare_compiler(None)

from _market import OPEN_NS, SECOND_NS, Alone, Stopwatch, Tape, journaled, program, tokens  # noqa: E402
from core._prototype import Prototype  # noqa: E402

_CASES: Final = {(1, 1): (4, 0.001), (100, 1): (2, 0.002), (100, 10): (2, 0.002), (1_000, 1): (20, 0.01)}
"""For instruments and strategies: seconds of market time between frames, and seconds of rest."""
_SESSION_S: Final = 375 * 60
_RECEIVED_NS: Final = SECOND_NS // 5
_WARM_S: Final = 40 * 60
_AIM_US: Final = 25.0
_AIM_SPREAD: Final = 5.0
_DEFINITION: Final = """A frame is one WebSocket message with a full packet (184 bytes, five levels of depth a side) of
every instrument. *Engine alone* is `Engine.apply` called from Python: decode, quotes, bars, matching, stops. *With
journal* is what the daemon's loop does: sequence, append, apply, and audit rows back into the journal on disk, whose
thread makes the checksums and writes meanwhile. *Prototype* decodes, keeps bars and previews four indicators, and knows
no order. *Bar close* is the timer record that closes the minute's bar of every instrument, folds RSI, MACD and ATR of
every strategy, evaluates the rules, checks risk, makes orders and marks the books; it is not among the frames. A
session of 375 minutes from generated ticks, the first 40 minutes left out; frames come at a pace (500 a second with 100
instruments), so that caches are as cold as a daemon's; microseconds, less what the thread waited for a processor that
something else had (Linux tells it in `schedstat`); *wall* is with that wait."""


def main() -> None:
    report = Report("frames", "Frame to decision")
    rows: list[list[str]] = []
    found: dict[tuple[int, int, str], list[float]] = {}
    for n, strategies in _CASES:
        for who, samples in _session(program(strategies), n, strategies).items():
            row = [f"{n:,} x {strategies}", who]
            for figure in ("frame", "bar close"):
                if not samples[figure]:
                    row += [""] * 3
                    continue
                walls, owns = zip(*samples[figure], strict=True)
                own, wall = percentiles(owns, 50, 99, 99.9), percentiles(walls, 50, 99, 99.9)
                report.figure(
                    who, f"{figure}, {n} instruments, {strategies} strategies", own[0], "us", p99=own[1], p999=own[2],
                    wall_p50=wall[0], wall_p999=wall[2], samples=len(owns),
                )  # fmt: skip
                row += [micros(value) for value in own]
                if figure == "frame":
                    row.append(micros(wall[2]))
                    found[n, strategies, who] = own
            rows.append([*row, f"{samples['orders']:,}" if samples["orders"] else ""])
    head = ["instruments x strategies", "what", "frame p50", "p99", "p99.9", "p99.9, wall"]
    head += ["bar close p50", "p99", "p99.9", "orders made"]
    report.write(_DEFINITION, table(head, rows), targets=[_target(found, strategies) for strategies in (1, 10)])


def _target(found: dict[tuple[int, int, str], list[float]], strategies: int) -> Target:
    ours, limit = found[100, strategies, "with journal"], found[100, strategies, "prototype"]
    spread = ours[2] / ours[0]
    return Target(
        f"handler and kernel, 100 instruments a frame, strategies: {strategies}",
        "SDK's parser and talipp 1,972 µs (measured once, elsewhere)",
        f"p50 {limit[0]:.1f} µs",
        f"p50 {ours[0]:.1f} µs, p99.9 {spread:.1f} times that",
        f"p50 {_AIM_US:.0f} µs, p99.9 under {_AIM_SPREAD:.0f} times",
        ours[0] <= _AIM_US and spread < _AIM_SPREAD,
    )


class _Bare:
    """The prototype, driven as the others are."""

    def __init__(self, n: int) -> None:
        self._decide = Prototype(tokens(n))

    def frame(self, body: bytes, time_ns: int) -> None:
        self._decide(body)


def _session(loaded: Any, n: int, strategies: int) -> dict[str, dict[str, Any]]:
    """Trade one day with every contestant at once: each frame goes to all of them, in changing order."""
    every_s, rest_s = _CASES[n, strategies]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folds: dict[str, Any] = {
            "engine alone": Alone(loaded, n),
            "with journal": stack.enter_context(journaled(loaded, n, folder / "journal")),
        }
        bare, watch = _Bare(n), Stopwatch()
        samples: dict[str, dict[str, Any]] = {
            who: {"frame": [], "bar close": [], "orders": 0} for who in [*folds, "prototype"]
        }
        tape, order = Tape(n), list(samples)
        gc.collect()
        gc.freeze()
        for at_s in range(1, _SESSION_S, every_s):
            body, time_ns = tape.frame(at_s), OPEN_NS + at_s * SECOND_NS + _RECEIVED_NS
            order = [*order[1:], order[0]]
            time.sleep(rest_s)
            for who in order:
                kept = samples[who] if at_s > _WARM_S else None
                if who in folds:
                    _close(folds[who], watch, kept, time_ns)
                watch.start()
                folds.get(who, bare).frame(body, time_ns)
                spent = watch.stop()
                if kept is not None:
                    kept["frame"].append(spent)
        for who, fold in folds.items():
            samples[who]["orders"] = int(fold.engine.header["orders_made"])
    return samples


def _close(fold: Any, watch: Stopwatch, kept: dict[str, Any] | None, time_ns: int) -> None:
    """Let the timers that are due pass; time what closes bars."""
    fold.settle()
    bars = int(fold.engine.header["bars"])
    watch.start()
    fold.advance(time_ns)
    spent = watch.stop()
    if kept is not None and int(fold.engine.header["bars"]) > bars:
        kept["bar close"].append(spent)


if __name__ == "__main__":
    sys.exit(main())
