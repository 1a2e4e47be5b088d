"""The whole daemon under load: how late its loop gets, how fast the API answers, and what ten sessions do to memory.

Prints JSON lines; writes the section `load` of docs/performance.md. Takes about six minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import aiohttp
import numpy as np
from _report import Report, table

from atmand.start import builtin

_SECONDS: Final = 60
_REQUESTS_A_SECOND: Final = 50
_PATHS: Final = ("/v1/status", "/v1/positions", "/v1/trades?limit=50", "/v1/equity?points=300", "/health/ready")
_SESSIONS: Final = 10
_PATIENCE_S: Final = 300
_DEFINITION: Final = """The demo with page, API, ledger and parameters at work: one page listens to `/v1/stream`, 50
requests a second go round the resources, a parameter document is published every two seconds, for a minute. *Loop
lag* is how late a timer of the daemon's own loop fires (its metric `atmand_loop_lag_seconds`, a sample every tenth of
a second): the bound of the bucket that holds the percentile. *Apply* is what a market record costs the loop from
journal to audit. *Latency* is a request's time seen by the client, in a process of its own on the same two
processors. The market runs at 60 times real time, and as fast as the machine holds, where every free moment of the
loop is used. *Memory* is the daemon's resident set at the opening of a session, the market at full speed. What stalls
it for longer than a few milliseconds is the opening of the next session, in the market's night (45 to 92 ms in a run
that timed it): the arena is laid out anew, and carried books and bars are written; at full speed a minute holds one
or two."""


def main() -> None:
    report = Report("load", "The daemon under load")
    rows = []
    for speed in ("60", "auto"):
        with _daemon("--speed", speed) as daemon:
            samples = asyncio.run(_burden(daemon))
            metrics = asyncio.run(_get(daemon.url + "/metrics"))
        lag, apply = _quantiles(metrics, "atmand_loop_lag_seconds"), _quantiles(metrics, "atmand_apply_seconds")
        latency = [float(value) for value in np.percentile(samples, (50, 99, 99.9))]
        for name, values in (("loop lag", lag), ("apply", apply), ("latency", latency)):
            report.figure(f"speed {speed}", f"{name} p99.9", values[2] * 1e3, "ms", p50=values[0] * 1e3, n=len(samples))
            rows.append([f"{speed}: {name}", *(f"{value * 1e3:.2f}" for value in values)])
    memory = _memory()
    growth = memory[5] - memory[1]
    report.figure("demo", "resident set, 5th session less the 1st", growth, "MB", sessions=memory)
    report.write(
        _DEFINITION,
        table(["market speed: what", "p50, ms", "p99, ms", "p99.9, ms"], rows),
        "Resident set at the opening of sessions "
        + ", ".join(f"{number}: {value:.0f} MB" for number, value in memory.items())
        + f"; the fifth less the first: {growth:+.1f} MB.",
    )


class _Daemon:
    """A running demo with a state of its own; its events go through `heard`."""

    def __init__(self, process: subprocess.Popen[str], state: Path) -> None:
        self.process, self.state, self.url = process, state, ""
        self._ready = threading.Event()
        self.sessions = 0
        self.memory: dict[int, float] = {}
        self.enough = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._ready.wait(_PATIENCE_S):
            raise SystemExit("the daemon did not get ready")
        self.url = f"http://127.0.0.1:{json.loads((state / 'runtime.json').read_text())['port']}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in iter(self.process.stdout.readline, ""):
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "session_opened":
                self.sessions += 1
                self.memory[self.sessions] = _resident_mb(self.process.pid)
                if self.sessions > _SESSIONS:
                    self.enough.set()
            if event.get("event") == "ready":
                self._ready.set()


@contextmanager
def _daemon(*words: str) -> Iterator[_Daemon]:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        command = [sys.executable, "-m", "atmand", "run", str(builtin("demo.toml")), "--state", str(state)]
        with subprocess.Popen(
            [*command, "--port", "0", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                yield _Daemon(process, state)
            finally:
                process.terminate()
                process.wait()


async def _burden(daemon: _Daemon) -> list[float]:
    """Use the daemon as many users would; return the seconds that requests took."""
    samples: list[float] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        listening = asyncio.create_task(_listen(session, daemon.url))
        publishing = asyncio.create_task(_publish(daemon.state))
        due, end = time.perf_counter(), time.perf_counter() + _SECONDS
        asked: set[asyncio.Task[None]] = set()
        number = 0
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(_ask(session, daemon.url + _PATHS[number % len(_PATHS)], samples))
            asked.add(task)
            task.add_done_callback(asked.discard)
            number, due = number + 1, due + 1 / _REQUESTS_A_SECOND
        await asyncio.gather(*asked)
        for task in (listening, publishing):
            task.cancel()
        await asyncio.gather(listening, publishing, return_exceptions=True)
    return samples


async def _ask(session: aiohttp.ClientSession, url: str, samples: list[float]) -> None:
    began = time.perf_counter()
    async with session.get(url) as answer:
        await answer.read()
        if answer.status not in (200, 503):
            raise SystemExit(f"{url}: {answer.status}")
    samples.append(time.perf_counter() - began)


async def _listen(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url + "/v1/stream", timeout=aiohttp.ClientTimeout(total=None)) as stream:
        async for _ in stream.content:
            pass


async def _publish(state: Path) -> None:
    """Publish parameter documents, one after the other."""
    number = 0
    while True:
        number += 1
        value = f"rsi_macd.stop_atr={1.5 + number % 4 * 0.25}"
        command = [sys.executable, "-m", "atmand", "params", "set", value, "--state", str(state), "--config"]
        child = await asyncio.create_subprocess_exec(
            *command, str(builtin("demo.toml")), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await child.wait()
        await asyncio.sleep(2)


async def _get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


def _quantiles(metrics: str, name: str) -> list[float]:
    """Return the bounds of the buckets that hold the 50th, 99th and 99.9th percentile."""
    found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} ([0-9.e+]+)$', metrics, re.MULTILINE)
    bounds = [(float(bound), float(count)) for bound, count in found]
    total = bounds[-1][1]
    return [next(bound for bound, count in bounds if count >= total * part) for part in (0.5, 0.99, 0.999)]


def _memory() -> dict[int, float]:
    """Run ten sessions at full speed; return the resident set at the opening of each, MB."""
    with _daemon("--speed", "86400") as daemon:
        if not daemon.enough.wait(_PATIENCE_S * 2):
            raise SystemExit(f"only {daemon.sessions} sessions were traded")
        return {number: daemon.memory[number] for number in range(1, _SESSIONS + 1)}


def _resident_mb(pid: int) -> float:
    """Return a process's resident set, decimal megabytes (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
