"""What every benchmark shares: figures as JSON lines on standard output, and its section of docs/performance.md.

A script measures, prints each figure as it has it, and at its end replaces its own section of the page; sections of
scripts that did not run stay as they were, each with the machine and the day of its own measurement.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["PAGE", "Report", "Spread", "Target", "count", "interleaved", "micros", "percentiles", "table"]

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_ORDER: Final = (
    "backtest", "sweep", "indicators", "costs", "decode", "frames", "scale", "fold", "loops", "start", "ledger", "load",
    "reload", "store", "instruments",
)  # fmt: skip
_TARGET: Final = "<!-- target | "
_PREAMBLE: Final = """# Performance

Written by the scripts in `benchmarks/` (`make bench`); each replaces its own section. Figures are medians or
percentiles of one run in which the contestants take turns, so that a noisy machine hits all of them alike: compare
figures of one section, never of two runs. Nothing here is asserted by a test.
"""
_TARGETS: Final = """
## What it is to reach

Each row is from the run of its section below, on a machine that others used at the same time. *Limit* is a prototype
written by hand that does only this and checks nothing (`benchmarks/core/_prototype.py`). What is not reached is said.

"""
_LIBRARIES: Final = ("numba", "numpy", "aiohttp", "uvloop", "zstandard")


class Spread(NamedTuple):
    """Seconds of the repeats of one contestant: the median by the wall clock and by processor time."""

    wall: float
    cpu: float
    runs: int


class Target(NamedTuple):
    """A row of the page's first table; all but the last are words."""

    what: str
    peers: str
    limit: str
    ours: str
    aim: str
    met: bool


class Report:
    """One script's figures: `figure` prints a JSON line, `write` puts the section on the page."""

    def __init__(self, name: str, title: str) -> None:
        self._name = name
        self._title = title

    def figure(self, who: str, figure: str, value: float, unit: str, **more: Any) -> None:
        """Print one figure as a JSON line."""
        line = {"topic": self._name, "who": who, "figure": figure, "value": _short(value), "unit": unit}
        line |= {key: _short(item) for key, item in more.items()}
        print(json.dumps(line), flush=True)

    def write(self, *paragraphs: str, targets: Sequence[Target] = ()) -> None:
        """Replace this script's section of the page, and its rows of the page's first table."""
        sections = _sections(PAGE.read_text("utf-8")) if PAGE.exists() else {}
        rows = (f"{_TARGET}{' | '.join([*row[:-1], 'yes' if row.met else 'no'])} -->" for row in targets)
        sections[self._name] = "\n\n".join((f"## {self._title}", machine(), *paragraphs, "\n".join(rows))).strip()
        known = [name for name in _ORDER if name in sections]
        body = "".join(f"\n<!-- {name} -->\n{sections[name].strip()}\n" for name in known)
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(_PREAMBLE + _reached(body) + body, "utf-8")


def _reached(body: str) -> str:
    """Gather the sections' targets into the page's first table."""
    lines = [line.removeprefix(_TARGET).removesuffix(" -->") for line in body.splitlines() if line.startswith(_TARGET)]
    rows = [line.split(" | ") for line in lines]
    head = ["what", "peers measured", "limit", "atmand", "aim", "reached"]
    return _TARGETS + table(head, rows) + "\n" if rows else ""


def machine() -> str:
    """Name the machine, the day, how busy the machine was before, and the versions that matter."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    busy = os.getloadavg()[0]
    return (
        f"*{date.today().isoformat()}, {os.cpu_count()} processors ({_processor()}), load {busy:.1f} at the end, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}.*"
    )


def interleaved(contestants: Mapping[str, Callable[[], Any]], runs: int = 7) -> dict[str, Spread]:
    """Run the contestants in turns, after one unmeasured turn each."""
    for run in contestants.values():
        run()
    walls: dict[str, list[float]] = {name: [] for name in contestants}
    cpus: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, run in contestants.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    return {name: Spread(_median(walls[name]), _median(cpus[name]), runs) for name in contestants}


def percentiles(samples_ns: ArrayLike, *which: float) -> list[float]:
    """Return percentiles of nanoseconds, in microseconds."""
    return [float(value) / 1e3 for value in np.percentile(np.asarray(samples_ns, np.float64), which)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay a table out in Markdown; the first column is words, the others are figures."""
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(row) for row in rows)])


def count(value: float) -> str:
    """Write a number with three digits that count and the thousands apart."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def micros(value: float) -> str:
    """Write microseconds, one decimal below a hundred."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _sections(page: str) -> dict[str, str]:
    parts = re.split(r"^<!-- (\w+) -->\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or sys.platform
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
