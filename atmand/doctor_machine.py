"""What `atmand doctor` looks at in the machine, whatever the deployment: Python, libraries, size, clock, limits."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["LIBRARIES", "Finding", "gigabytes", "machine_findings"]

Status = Literal["ok", "warn", "fail"]

LIBRARIES: Final = (
    "aiohttp",
    "numba",
    "numpy",
    "orjson",
    "plotly",
    "polars",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "rich",
    "sqlalchemy",
    "structlog",
    "typer",
    "xxhash",
    "zstandard",
)
"""What must be importable; the time zones and uvloop have checks of their own."""

_PYTHON: Final = (3, 11)
_PROCESSORS: Final = 2
_MEMORY_BYTES: Final = 1_000_000_000
_DESCRIPTORS: Final = 1_024
_OLDEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""This program is younger than any right clock."""
_INDIA_OFFSET: Final = timedelta(hours=5, minutes=30)
_ADJTIMEX_STATUS: Final = 40
"""Where `status` stands in struct timex of 64-bit Linux (adjtimex(2))."""
_STA_UNSYNC: Final = 0x40
_TIME_ERROR: Final = 5


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it where it is not well."""

    check: str
    status: Status
    found: str
    remedy: str = ""


def machine_findings(*, simulated: bool) -> Iterator[Finding]:
    """Look at the machine; `simulated` markets have a clock of their own."""
    yield _python()
    yield _libraries()
    yield _event_loop()
    yield _processors()
    yield _memory()
    yield _clock()
    yield _synchronised(simulated)
    yield _time_zone()
    yield _descriptors()


def gigabytes(size: float) -> str:
    """Write a size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < _PYTHON or sys.maxsize < 2**63 - 1:
        return Finding("python", "fail", found, "install Python 3.11 or newer, 64 bits")
    if platform.system() != "Linux":
        return Finding("python", "warn", found, "only Linux is tested; the demo and research should do")
    return Finding("python", "ok", found)


def _libraries() -> Finding:
    missing = []
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken library may raise anything while it is imported
            missing.append(f"{name}: {error}")
    if missing:
        return Finding("libraries", "fail", "; ".join(missing), "install atmand again, with its constraints.txt")
    return Finding("libraries", "ok", f"{len(LIBRARIES)} can be imported")


def _event_loop() -> Finding:
    try:
        importlib.import_module("uvloop")
    except ImportError:
        return Finding("event_loop", "warn", "plain asyncio", "install uvloop: its latency is lower")
    return Finding("event_loop", "ok", "uvloop")


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count < _PROCESSORS:
        return Finding("processors", "warn", str(count), "give it two: the simulator and the compiler want the second")
    return Finding("processors", "ok", str(count))


def _memory() -> Finding:
    free = _available_bytes()
    if free is None:
        return Finding("memory", "ok", "not known here")
    found = f"{gigabytes(free)} available"
    if free < _MEMORY_BYTES:
        return Finding("memory", "warn", found, "give it 1 GB: compiling takes most of that")
    return Finding("memory", "ok", found)


def _available_bytes() -> int | None:
    """Return what the machine has left, or what the control group leaves of it (cgroup v2)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (available,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError):
        return None
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        folder = Path("/sys/fs/cgroup", group)
        left = int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return available  # no control group, or one without a limit
    return min(available, max(0, left))


def _clock() -> Finding:
    now = datetime.now(UTC)
    found = now.isoformat(timespec="seconds")
    if now < _OLDEST:
        return Finding("clock", "fail", found, "set the machine's clock: timedatectl set-ntp true")
    return Finding("clock", "ok", found)


def _synchronised(simulated: bool) -> Finding:
    found = _kernel_synchronised()
    if found is None:
        return Finding("clock_synchronised", "ok", "the kernel does not say")
    if found:
        return Finding("clock_synchronised", "ok", "the kernel's clock is synchronised")
    if simulated:
        return Finding("clock_synchronised", "ok", "not synchronised; a simulated market has its own time")
    remedy = "run chrony or systemd-timesyncd: bars close by this clock"
    return Finding("clock_synchronised", "warn", "not synchronised", remedy)


def _kernel_synchronised() -> bool | None:
    """Ask the kernel whether somebody disciplines its clock, as `timedatectl` does (adjtimex(2)); None: unknown."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    answer = ctypes.create_string_buffer(512)  # all zeros: it asks and changes nothing
    state = int(adjtimex(answer))
    if state < 0 or sys.maxsize < 2**63 - 1:
        return None
    status = int.from_bytes(answer.raw[_ADJTIMEX_STATUS : _ADJTIMEX_STATUS + 4], sys.byteorder)
    return state != _TIME_ERROR and not status & _STA_UNSYNC


def _time_zone() -> Finding:
    try:
        offset = datetime.now(ZoneInfo("Asia/Kolkata")).utcoffset()
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return Finding("time_zone", "fail", "Asia/Kolkata is not known", "install tzdata")
    if offset != _INDIA_OFFSET:
        return Finding("time_zone", "fail", f"Asia/Kolkata is at {offset}", "install tzdata again: it is damaged")
    return Finding("time_zone", "ok", "Asia/Kolkata is at +05:30")


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        more = hard == resource.RLIM_INFINITY or hard >= _DESCRIPTORS
        remedy = f"ulimit -n {_DESCRIPTORS}" if more else "LimitNOFILE=1024 in the unit, or limits.conf"
        return Finding("file_descriptors", "warn", found, remedy)
    return Finding("file_descriptors", "ok", found)
