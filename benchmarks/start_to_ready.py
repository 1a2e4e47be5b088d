"""Start to ready of `atmand run` with the embedded exchange, cold and warm, and the parent's memory.

Prints JSON lines; writes the section `start` of docs/performance.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from _report import Report, table

from atmand.sim.universe import COMPANIES
from atmand.start import builtin

_WARM_RUNS: Final = 3
_RUN_S: Final = 10
_CONFIGURATION: Final = """
[instance]
name = "bench"
[feed]
kind = "simulator"
[simulator]
seed = 7
start = 2026-07-06T09:15:00+05:30
speed = "auto"
historical_per_second = 1000
[accounts.paper]
venue = "paper"
[strategies.rsi_macd]
file = "hundred.toml"
account = "paper"
capital_rupees = 50_000_000
"""
_DEFINITION: Final = """`atmand run` with the embedded exchange and an empty state directory, from the start of the
process to its `ready` event: journal open, program compiled and loaded, exchange up, history fetched and folded.
*Cold*: no compiled code anywhere, so a child process compiles every kernel (once a version of atmand on a
machine); *warm*: the compiler's cache is filled. Memory is the daemon's own resident set (its exchange is a process of
its own), at `ready` and after trading for some seconds at the speed that the machine holds. `100 instruments` is the
shipped `rsi_macd` on 50 shares, each on two exchanges."""


def main() -> None:
    report = Report("start", "Start to ready, memory")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cache = work / "cache"
        cold = _run(builtin("demo.toml"), work, cache, 1)
        report.figure("demo", "start to ready, cold", cold["ready_s"], "s", compiling=cold["compile_s"])
        for who, configuration in (("demo", builtin("demo.toml")), ("100 instruments", _hundred(work))):
            _run(configuration, work, cache, 1)  # its own program is compiled here
            warm = [_run(configuration, work, cache, 1) for _ in range(_WARM_RUNS)]
            warm_s = float(np.median([run["ready_s"] for run in warm]))
            traded = _run(configuration, work, cache, _RUN_S)
            report.figure(who, "start to ready, warm", warm_s, "s", runs=_WARM_RUNS)
            report.figure(who, "resident set", traded["end_mb"], "MB", at_ready=traded["ready_mb"])
            memory = [f"{traded['ready_mb']:.0f} MB", f"{traded['end_mb']:.0f} MB"]
            first = f"{cold['ready_s']:.1f} s, compiling {cold['compile_s']:.1f} s" if who == "demo" else ""
            rows.append([who, first, f"{warm_s:.2f} s", *memory])
    head = ["configuration", "cold", f"warm, median of {_WARM_RUNS}", "memory at ready", f"after {_RUN_S} s"]
    report.write(_DEFINITION, table(head, rows))


def _hundred(work: Path) -> Path:
    """Write a configuration that trades every share of the embedded exchange on both exchanges."""
    names = [f"{exchange}:{share.symbol}" for exchange in ("NSE", "BSE") for share in COMPANIES]
    text = builtin("strategies/rsi_macd.toml").read_text("utf-8")
    universe = f"universe = {json.dumps(names)}"
    (work / "hundred.toml").write_text(re.sub(r"universe = \[[^\]]*\]", universe, text), "utf-8")
    path = work / "atmand.toml"
    path.write_text(_CONFIGURATION, "utf-8")
    return path


def _run(configuration: Path, work: Path, cache: Path, seconds: int) -> dict[str, float]:
    """Run the daemon for so long after `ready`; return seconds to `ready`, seconds of compiling, and its memory."""
    found: dict[str, float] = {"compile_s": 0.0}
    with tempfile.TemporaryDirectory(dir=work) as state:
        command = [sys.executable, "-m", "atmand", "run", str(configuration), "--state", state]
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
        began = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as daemon:
            assert daemon.stdout is not None
            for line in daemon.stdout:
                event = _event(line)
                if event.get("event") == "compiled":
                    found["compile_s"] = event["seconds"]
                if event.get("event") == "ready":
                    found["ready_s"] = time.perf_counter() - began
                    found["ready_mb"] = _resident_mb(daemon.pid)
                    time.sleep(seconds)
                    found["end_mb"] = _resident_mb(daemon.pid)
                    daemon.terminate()
    if "ready_s" not in found or daemon.returncode != 0:
        raise SystemExit(f"the daemon ended with {daemon.returncode}: {' '.join(command)}")
    return found


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _resident_mb(pid: int) -> float:
    """Return a process's resident set, decimal megabytes (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
