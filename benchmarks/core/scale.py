"""Scale: back-test speed, a frame's time and memory over instruments, strategies and bars, as curves.

Prints JSON lines; writes the section `scale` of docs/performance.md and its plots, docs/scale-*.svg. With a question as
its arguments it is one measurement, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from atmand.start import prepare_compiler

prepare_compiler(None)

import numpy as np  # noqa: E402
from _curves import Curve, draw  # noqa: E402
from _report import PAGE, Report, count, micros, table  # noqa: E402
from _turns import BARE, peak_mb  # noqa: E402

_INSTRUMENTS: Final = (1, 10, 100, 1_000, 3_000)
_STRATEGIES: Final = (1, 2, 5, 10, 20, 50)
_BARS: Final = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_TOTAL_BARS: Final = 300_000
_SESSION_BARS: Final = 375
_RUNS: Final = 5
_FRAMES: Final = 360
"""Minutes of a session, with two frames each."""
_DEFINITION: Final = """The strategy of the back-test; each point is a process of its own, the median of {runs} runs.
*Bars/s* counts the bars of all instruments, once however many strategies decide on them: over instruments about
{total} bars in all (at least a session), over strategies 10 instruments for two sessions, over bars one instrument.
*Frame* is `Engine.apply` on a frame with a full packet of every instrument, two in each of {frames} minutes with a
rest before each, bars' closes not counted, medians; *close* is the timer record that closes the bars of all
instruments and lets every strategy decide. Over strategies a frame has 100 instruments. *Memory* is the most that the
back-test's process ever had, its bars included."""


def main() -> int:
    report = Report("scale", "Scale")
    folder = PAGE.parent
    instruments = {
        n: _ask("backtest", n, max(_SESSION_BARS, _TOTAL_BARS // n), 1) | _ask("frames", n, 1) for n in _INSTRUMENTS
    }
    strategies = {n: _ask("backtest", 10, 2 * _SESSION_BARS, n) | _ask("frames", 100, n) for n in _STRATEGIES}
    bars = {n: _ask("backtest", 1, n, 1) for n in _BARS}
    tables = []
    for what, points in (("instruments", instruments), ("strategies", strategies), ("bars", bars)):
        for n, point in points.items():
            report.figure(f"{what}: {n}", "scale", point["rate"], "bars/s", **point)
        _plot(folder / f"scale-{what}.svg", what, points)
        tables.append(f"![Over {what}](scale-{what}.svg)")
        tables.append(_table(what, points))
    report.write(_DEFINITION.format(runs=_RUNS, total=f"{_TOTAL_BARS:,}", frames=_FRAMES), *tables)
    return 0


def _table(what: str, points: dict[int, dict[str, float]]) -> str:
    framed = "frame_us" in next(iter(points.values()))
    head = [what, "bars/s", "ms a run", "memory, MB", *(["frame, µs", "close, µs"] if framed else [])]
    rows = []
    for n, point in points.items():
        row = [f"{n:,}", count(point["rate"]), count(point["seconds"] * 1e3), count(point["peak_mb"])]
        rows.append([*row, *([micros(point["frame_us"]), micros(point["close_us"])] if framed else [])])
    return table(head, rows)


def _plot(path: Path, what: str, points: dict[int, dict[str, float]]) -> None:
    places = list(points)
    curves = [
        Curve("M bars/s", places, [point["rate"] / 1e6 for point in points.values()]),
        Curve("memory, MB", places, [point["peak_mb"] for point in points.values()]),
    ]
    if "frame_us" in points[places[0]]:
        curves.append(Curve("frame, µs", places, [point["frame_us"] for point in points.values()]))
        curves.append(Curve("bars' close, µs", places, [point["close_us"] for point in points.values()]))
    else:
        curves.append(Curve("ms a run", places, [point["seconds"] * 1e3 for point in points.values()]))
    path.write_text(draw(what, curves), "utf-8")


def _ask(*question: object) -> dict[str, float]:
    """Measure one point in a process of its own; a first one fills the compiler's cache."""
    command = [sys.executable, "-c", BARE, __file__, *map(str, question)]
    for _ in range(2):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _backtest(symbols: int, bars: int, strategies: int) -> dict[str, float]:
    from _series import columns, opened

    from atmand.research.batch import Batch

    program, market, lined_up = opened(columns(symbols, bars), strategies)
    batch = Batch(program, market, *lined_up)
    batch.run()
    spent = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        batch.run()
        spent.append(time.perf_counter() - began)
    seconds = float(np.median(spent))
    return {"rate": batch.count / seconds, "seconds": seconds, "peak_mb": peak_mb()}


def _frames(symbols: int, strategies: int) -> dict[str, float]:
    """Fold a frame a minute of market time, so that every frame is followed by a close of all bars."""
    from _market import OPEN_NS, SECOND_NS, Alone, Tape
    from _series import deployed

    from atmand.lang.build import build
    from atmand.lang.program import generate

    program = build(generate(deployed([f"S{place}" for place in range(symbols)], strategies)))
    fold, tape = Alone(program, symbols), Tape(symbols)
    frames: list[int] = []
    closes: list[int] = []
    for number in range(_FRAMES):
        at_s = 60 * number + 1
        body, time_ns = tape.frame(at_s), OPEN_NS + at_s * SECOND_NS + SECOND_NS // 5
        began = time.perf_counter_ns()
        fold.advance(time_ns)
        closed = time.perf_counter_ns()
        for again in range(2):  # the first frame after a close opens a bar
            time.sleep(0.002)
            opened_ns = time.perf_counter_ns()
            fold.frame(body, time_ns + again * SECOND_NS)
            frames.append(time.perf_counter_ns() - opened_ns)
        closes.append(closed - began)
    return {"frame_us": float(np.median(frames[80:])) / 1e3, "close_us": float(np.median(closes[40:])) / 1e3}


_QUESTIONS: Final[dict[str, Any]] = {"backtest": _backtest, "frames": _frames}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_QUESTIONS[sys.argv[1]](*map(int, sys.argv[2:]))))
    else:
        sys.exit(main())
