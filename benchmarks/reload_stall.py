"""Reload stall: how long the loop is held up while a thread loads a program that a child has compiled.

Prints JSON lines; writes the section `reload` of docs/performance.md. Called with a size it is one measurement.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
from _report import Report, table

from atmand.start import prepare_compiler

prepare_compiler(None)

from atmand.core.engine import Engine  # noqa: E402
from atmand.core.manifest import Manifest, Program  # noqa: E402
from atmand.core.opening import Draft, SessionTerms, instruments_draft, program_draft, session_draft  # noqa: E402
from atmand.core.records import Record  # noqa: E402
from atmand.lang.build import build, program_directory, write_module  # noqa: E402
from atmand.lang.program import Deployment, GeneratedProgram, generate  # noqa: E402
from atmand.lang.strategy import parse_strategy  # noqa: E402
from atmand.market.instruments import Instrument  # noqa: E402
from atmand.market.sessions import ns, windows  # noqa: E402

_SIZES: Final = (1, 2, 5, 10, 20, 50)
_REPEATS: Final = 11
_DAY: Final = date(2026, 7, 6)
_SWITCH_S: Final = 0.0005
"""The daemon's own interval between threads."""
_STRATEGY: Final = """
name = "s{number}"
universe = ["NSE:AAA"]
[params]
period = {{ default = 14, range = [2, 50], unit = "bars" }}
[signals]
strength = "rsi(period)"
line = "macd(12, 26, 9).hist"
[entry]
long = "crosses_above(line, {number} / 100) and strength < 60"
[exit]
long = "crosses_below(line, 0) or strength > 80"
[stop]
loss = "3 * atr(14)"
[size]
value = 50000
"""
_INSTRUMENTS: Final = 100
_DEFINITION: Final = """A strategy is added by a reload: a child compiles the program, then a thread of the
daemon loads it and lays its tables out, then the loop applies the PROGRAM record, which fills them. *Gap* is
the longest time between two turns of a loop that does nothing else while the thread loads, less what both of
them waited for a processor that something else had (Linux tells it in `schedstat`); *wall* is the gap with
that wait; *idle* is the loop's longest gap without a load. *Record* is the processor time that applying the
PROGRAM record takes with {instruments} instruments in each strategy. Each is measured once in a fresh process
that has traded another program, with the daemon's own settings (frozen objects, half a millisecond between
threads); milliseconds over {repeats} processes. All strategies differ, so that every one is a structure of
its own. The aim is 10 ms at p95 with 10."""


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(asyncio.run(_measured(int(sys.argv[1])))))
        return
    report, rows = Report("reload", "Adding a strategy while trading"), []
    for size in _SIZES:
        began = time.perf_counter()
        path = write_module(_generated(size).source, program_directory())
        subprocess.run([sys.executable, "-m", "atmand.compile", str(path)], check=True)
        compiled_s = time.perf_counter() - began
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, __file__, str(size)]
        found = [json.loads(subprocess.check_output(command, env=environment)) for _ in range(_REPEATS)]
        p95 = {name: float(np.percentile([one[name] for one in found], 95)) for name in found[0]}
        p50 = {name: float(np.median([one[name] for one in found])) for name in found[0]}
        for name in ("gap", "record"):
            report.figure("atmand", f"{name} of {size}", p95[name], "ms", p50=p50[name])
        cells = [p50["gap"], p95["gap"], p95["wall"], p95["idle"], p50["record"], p95["record"], p50["load"]]
        rows.append([str(size), *(f"{cell:.1f}" for cell in cells), f"{compiled_s:.1f}"])
    head = [
        "strategies",
        "gap p50",
        "gap p95",
        "wall p95",
        "idle p95",
        "record p50",
        "record p95",
        "load",
        "compile, s",
    ]
    report.write(_DEFINITION.format(repeats=_REPEATS, instruments=_INSTRUMENTS), table(head, rows))


def _generated(size: int) -> GeneratedProgram:
    texts = [_STRATEGY.format(number=number) for number in range(1, size + 1)]
    return generate([Deployment(parse_strategy(text, "s.toml")) for text in texts])


async def _measured(size: int) -> dict[str, float]:
    """Load a program in a thread and feel the loop's longest gap meanwhile, then without one."""
    sys.setswitchinterval(_SWITCH_S)
    programs: dict[bytes, Program] = {}
    engine = Engine({}, programs.__getitem__)
    session = _Session(engine, programs)
    session.open(build(_generated(1)))
    generated = _generated(size)
    gc.collect()
    gc.freeze()
    loaded: list[Program] = []

    def load() -> None:
        loaded.append(build(generated))
        engine.prepare(None, generated.manifest, session.pairs(generated.manifest))

    began = time.perf_counter()
    gap_s, wall_s = await _longest_gap(load)
    load_s = time.perf_counter() - began
    idle_s, _ = await _longest_gap(lambda: time.sleep(load_s))
    began = time.thread_time()
    session.swap(loaded[0])
    figures = {"gap": gap_s, "wall": wall_s, "idle": idle_s, "record": time.thread_time() - began, "load": load_s}
    return {name: seconds * 1e3 for name, seconds in figures.items()}


async def _longest_gap(work: Callable[[], None]) -> tuple[float, float]:
    """Run work in a thread; return the loop's longest gap meanwhile without and with the wait for a processor."""
    loop, threads = threading.get_native_id(), list[int]()

    def run() -> None:
        threads.append(threading.get_native_id())
        work()

    task = asyncio.create_task(asyncio.to_thread(run))
    net_s = wall_s = 0.0
    before, waited = time.perf_counter(), _waited_s(loop, *threads)
    while not task.done():
        await asyncio.sleep(0.0002)
        now, waited_now = time.perf_counter(), _waited_s(loop, *threads)
        wall_s = max(wall_s, now - before)
        net_s = max(net_s, now - before - (waited_now - waited))
        before, waited = time.perf_counter(), waited_now
    await task
    return net_s, wall_s


def _waited_s(*threads: int) -> float:
    """Return how long threads have stood in the queue for a processor."""
    found = 0
    for thread in threads:
        with contextlib.suppress(OSError):
            found += int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1])
    return found / 1e9


class _Session:
    """A session of an engine, in which a program is swapped for another."""

    def __init__(self, engine: Engine, programs: dict[bytes, Program]) -> None:
        self._engine, self._programs, self._sequence = engine, programs, 0

    def pairs(self, manifest: Manifest) -> list[tuple[int, int]]:
        return [(book, place) for book in range(len(manifest.books)) for place in range(_INSTRUMENTS)]

    def open(self, program: Program) -> None:
        shares = [
            Instrument(
                key=f"NSE:EQ:S{n}", isin="", token=(n + 1) << 8 | 1, exchange="NSE", segment="EQ", symbol=f"S{n}",
                name=f"S{n}", price_scale=100, tick=5, lot=1, freeze=0, lower_band=0, upper_band=0, tradable=True,
                sector="",
            )
            for n in range(_INSTRUMENTS)
        ]  # fmt: skip
        hours = tuple(window for window in windows(_DAY) if window.group == 0)
        self._put(session_draft(SessionTerms(day=_DAY, windows=hours)))
        self._put(instruments_draft([(share, 0) for share in shares]))
        self.swap(program)

    def swap(self, program: Program) -> None:
        self._programs[hashlib.sha256(program.manifest.to_json()).digest()] = program
        self._put(program_draft(program.source, program.manifest, self.pairs(program.manifest)))

    def _put(self, draft: Draft) -> None:
        self._sequence += 1
        time_ns = ns(_DAY, "09:00") + self._sequence
        self._engine.apply(Record(draft.kind, self._sequence, time_ns, draft.body, draft.rows, draft.version))


if __name__ == "__main__":
    main()
