"""The bar store: a year of one-minute bars of 50 symbols imported from Parquet and from CSV, checked, listed, scanned.

Prints JSON lines; writes the section `store` of docs/performance.md. Every step is a process of its own, so that its
memory is its own too; polars alone, which checks nothing, stands beside.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from _report import Report, count, table

from atmand.history.bars import load_bars
from atmand.history.findings import check_path
from atmand.history.importing import import_files
from atmand.history.scan import listing, scan
from atmand.history.store import Store
from atmand.market.sessions import ns, windows

_SYMBOLS: Final = 50
_SESSIONS: Final = 252
_FIRST: Final = date(2025, 1, 1)
_MINUTE_NS: Final = 60_000_000_000
_RUNS: Final = 3
_DEFINITION: Final = f"""{_SYMBOLS} symbols, {_SESSIONS} sessions of 375 minutes: a generated random walk on the 5-paise
tick, in files of a month each. *Import* reads every file, checks every row, and merges it into the store (zstd, sorted,
synced to the disk); *again* finds every row there already. *Check* runs every rule of `atmand data check`. *Scan* sums
the volume of every instrument; *one symbol* loads a year of one of them, *a day* one day of all. *Polars alone* reads
the same Parquet files and writes them as one file in each month, without a look at any row. Medians of {_RUNS} runs,
each in a process of its own whose start is not counted; *processor* is the time of all its threads, *memory* the most
that it ever had."""


def main() -> None:
    report = Report("store", "The bar store")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = _generate(root / "parquet", root / "csv")
        measured = {step: [_run(step, root) for _ in range(_RUNS)] for step in _STEPS}
        size = sum(path.stat().st_size for path in (root / "store").rglob("*.parquet"))
    lines = []
    for step, runs in measured.items():
        seconds = float(np.median([run["seconds"] for run in runs]))
        processor = float(np.median([run["processor"] for run in runs]))
        memory = max(run["megabytes"] for run in runs)
        done = int(runs[0]["rows"])
        report.figure("atmand", step, seconds, "s", rows=done, processor=processor, megabytes=memory)
        lines.append([step, count(done), f"{seconds:.3g}", f"{processor:.3g}", count(done / seconds), count(memory)])
    report.figure("atmand", "bytes a row", size / rows, "B")
    report.write(
        _DEFINITION,
        table(["step", "rows", "s", "processor, s", "rows/s", "memory, MB"], lines),
        f"The store takes {size / 1e6:.0f} MB, {size / rows:.1f} bytes a row.",
    )


def _generate(parquet: Path, csv: Path) -> int:
    """Write the year, a file a month; return its rows."""
    parquet.mkdir()
    csv.mkdir()
    random = np.random.default_rng(1)
    last = np.full(_SYMBOLS, 100_000)
    months: dict[str, list[pl.DataFrame]] = {}
    day, sessions = _FIRST, 0
    while sessions < _SESSIONS:
        opens = [window.open_ns for window in windows(day)]
        if opens:
            months.setdefault(day.strftime("%Y-%m"), []).append(_day(random, last, ns(day, "09:15")))
            sessions += 1
        day += timedelta(days=1)
    for month, frames in months.items():
        frame = pl.concat(frames)
        frame.write_parquet(parquet / f"{month}.parquet")
        frame.with_columns(pl.col("ts").dt.to_string("%Y-%m-%d %H:%M:%S%:z")).write_csv(csv / f"{month}.csv")
    return sessions * 375 * _SYMBOLS


def _day(random: np.random.Generator, last: np.ndarray, opens_ns: int) -> pl.DataFrame:
    steps = random.integers(-20, 21, (375, _SYMBOLS)) * 5
    close = np.maximum(last + np.cumsum(steps, axis=0), 5_000)
    first = np.vstack([last, close[:-1]])
    last[:] = close[-1]
    reach = random.integers(0, 8, (2, 375, _SYMBOLS)) * 5
    columns = {
        "open": first,
        "high": np.maximum(first, close) + reach[0],
        "low": np.minimum(first, close) - reach[1],
        "close": close,
    }
    starts = pl.Series(np.tile(opens_ns + _MINUTE_NS * np.arange(375), _SYMBOLS))
    return pl.DataFrame(
        {
            "symbol": np.repeat([f"S{number:02}" for number in range(_SYMBOLS)], 375),
            "ts": pl.select(pl.from_epoch(starts, "ns").dt.cast_time_unit("us").dt.replace_time_zone("UTC"))
            .to_series()
            .dt.convert_time_zone("Asia/Kolkata"),
            **{name: values.T.ravel() / 100 for name, values in columns.items()},
            "volume": random.integers(1, 10_000, 375 * _SYMBOLS),
        }
    )


def _run(step: str, root: Path) -> dict[str, Any]:
    """Take one step in a process of its own."""
    done = subprocess.run([sys.executable, __file__, step, str(root)], stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _import(source: str, store: str) -> Callable[[Path], int]:
    def step(root: Path) -> int:
        into = Store(root / store, create=True)
        if not source:
            return sum(vars(import_files(into, [root / "parquet"]).merged).values())
        for part in into.partitions():
            part.path.unlink()
        return import_files(into, [root / source]).merged.added

    return step


def _alone(root: Path) -> int:
    rows = 0
    for path in sorted((root / "parquet").iterdir()):
        frame = pl.read_parquet(path).sort("symbol", "ts")
        frame.write_parquet(root / "alone.parquet", compression="zstd")
        rows += frame.height
    return rows


def _scan(root: Path) -> int:
    found = scan(Store(root / "store"), bar="1m").group_by("key").agg(pl.len(), pl.col("volume").sum()).collect()
    return int(found["len"].sum())


def _a_day(root: Path) -> int:
    day = date(2025, 7, 1)
    return sum(len(rows) for rows in load_bars(root / "store", start=day, end=day).series.values())


_STEPS: Final[dict[str, Callable[[Path], int]]] = {
    "import of CSV": _import("csv", "of_csv"),
    "import of Parquet": _import("parquet", "store"),
    "import again": _import("", "store"),
    "polars alone, Parquet": _alone,
    "check": lambda root: check_path(root / "store").rows,
    "list": lambda root: sum(row["rows"] for row in listing(Store(root / "store"))),
    "scan": _scan,
    "one symbol": lambda root: len(load_bars(root / "store", ["S25"]).series["S25"]),
    "a day": _a_day,
}


def _child(step: str, root: Path) -> None:
    began, used = time.perf_counter(), time.process_time()
    rows = _STEPS[step](root)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"rows": rows, "seconds": seconds, "processor": processor, "megabytes": _peak_mb()}))


def _peak_mb() -> float:
    """Return the most memory that this process ever had; an exec begins anew, which rusage does not."""
    text = Path("/proc/self/status").read_text("ascii")
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) == 3 else main()
