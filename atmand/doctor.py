"""What `atmand doctor` looks at: whether this deployment can run here, and what to do where it cannot.

Every check is a function that finds one thing and changes nothing but an empty trial file; `cli_doctor` shows them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from datetime import datetime, time, timedelta, timezone
from pathlib import Path
from typing import Final

import numpy as np

from atmand import runtime
from atmand.doctor_machine import Finding, gigabytes, machine_findings
from atmand.errors import AtmandError
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import load_strategy
from atmand.lang.user_indicators import use_indicators
from atmand.listing import kept_listing
from atmand.settings import Settings, load
from atmand.start import compiler_directory, default_state
from atmand.subscription import StrikeWindows
from atmand.universe import chosen_by_rule, universe_of

__all__ = ["examine", "projected_bytes", "token_ended"]

_INDIA: Final = timezone(timedelta(hours=5, minutes=30))
_TOKEN_ENDS: Final = time(6, 0)
"""An access token holds until 06:00 of the next day (kite.trade/docs/connect/v3/user, "User profile")."""

_INSTRUMENTS: Final = (0, 100, 1_000, 3_000)
_RAW_BYTES: Final = (0, 0.4e9, 4.0e9, 12e9)
_SEALED_BYTES: Final = (0, 0.14e9, 1.6e9, 5.7e9)
"""A full-mode session's journal as it is written, and once its segments are compressed (docs/operations.md)."""

_PRIVATE: Final = 0o077
_LOOPBACK: Final = "127.0.0.1"


def examine(config: Path | None, state: Path | None) -> list[Finding]:
    """Look at everything; a configuration that cannot be read is a finding, and what hangs on it is left out."""
    try:
        settings = load(config)
    except AtmandError as error:
        found = [Finding("configuration", "fail", str(error), "mend it; atmand check shows what holds")]
        return [*machine_findings(simulated=True), *found, *_state_findings(state or default_state("demo"))]
    state = state or settings.instance.state
    simulated = settings.feed.kind == "simulator"
    return [
        *machine_findings(simulated=simulated),
        Finding("configuration", "ok", str(settings.path)),
        *_strategies(settings, state),
        *_state_findings(state),
        _disk(settings, state),
        *_port(settings, state),
        *_tokens(settings),
    ]


def projected_bytes(instruments: int, keep_sessions: int, keep_bytes: int) -> int:
    """Return what the journal may grow to: the running session raw, earlier ones compressed, up to its limit."""
    raw, sealed = (_by_instruments(instruments, sizes) for sizes in (_RAW_BYTES, _SEALED_BYTES))
    return int(raw + min(sealed * max(0, keep_sessions - 1), keep_bytes))


def token_ended(written: datetime, now: datetime) -> bool:
    """Return whether an access token that was written then has ended by now."""
    local = written.astimezone(_INDIA)
    end = datetime.combine(local.date(), _TOKEN_ENDS, _INDIA)
    if local >= end:
        end += timedelta(days=1)
    return now >= end


# The deployment.


def _strategies(settings: Settings, state: Path) -> Iterator[Finding]:
    """Check the strategies, and whether their program is compiled already."""
    try:
        deployments = _deployments(settings)
        generated = generate(deployments)
    except AtmandError as error:
        # A strategy's error shows the line as well; here its first line names it.
        yield Finding("strategies", "fail", str(error).splitlines()[0], "mend the file that is named")
        return
    if not deployments:
        yield Finding("strategies", "fail", "none is enabled", "write [strategies.NAME] with a file")
        return
    yield Finding("strategies", "ok", f"{len(deployments)} on {_instruments(settings, deployments)} instruments")
    yield _compiler(state, generated.source)


def _deployments(settings: Settings) -> list[Deployment]:
    use_indicators(settings.indicators)
    return [
        Deployment(load_strategy(strategy.file), strategy.account, strategy.params, name)
        for name, strategy in settings.strategies.items()
        if strategy.enabled
    ]


def _instruments(settings: Settings, deployments: list[Deployment]) -> int:
    """Count what is subscribed; rules are counted in the instruments that the daemon kept last, if it has any."""
    if any(chosen_by_rule(deployment) for deployment in deployments):
        with contextlib.suppress(AtmandError):
            universe = universe_of(deployments, kept_listing(settings), lenient=False)
            return len(StrikeWindows(universe, settings.instruments.window_strikes).tokens)
    return len({name for deployment in deployments for name in deployment.file.strategy.universe})


def _compiler(state: Path, source: str) -> Finding:
    """Look at the folder that `atmand run` compiles into, and whether the program is there."""
    from atmand.lang.build import module_path

    # To ask for its name would make a state directory that is not there yet.
    directory = compiler_directory(state, _surroundings()) if state.is_dir() else state / "numba"
    if not _writable(directory):
        return Finding("compiler_cache", "fail", f"{directory} cannot be written", "name another with NUMBA_CACHE_DIR")
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if directory.is_dir() else 0
    module = module_path(source, directory / "programs")
    compiled = any(directory.glob(f"programs_*/{module.stem}.apply-*.nbi"))
    says = "the program is compiled" if compiled else "the first start compiles the program: half a minute"
    return Finding("compiler_cache", "ok", f"{directory}: {gigabytes(size)}; {says}")


def _surroundings() -> dict[str, str]:
    """Return the environment as the caller had it: this process has set NUMBA_CACHE_DIR for itself."""
    environ = dict(os.environ)
    ours = environ.pop("NUMBA_CACHE_DIR", None)
    if ours is not None and Path(ours) != compiler_directory(None, environ):
        environ["NUMBA_CACHE_DIR"] = ours
    return environ


# The state directory.


def _state_findings(state: Path) -> Iterator[Finding]:
    yield _state(state)
    if state.is_dir():
        yield _permissions(state)
        yield _daemon(state)
        yield _journal(state)


def _state(state: Path) -> Finding:
    if not _writable(state):
        return Finding("state", "fail", f"{state} cannot be written", "chown it, or name another with --state DIR")
    return Finding("state", "ok", str(state) if state.is_dir() else f"{state}: the first start makes it")


def _permissions(state: Path) -> Finding:
    """Check that nobody else reads the state: it holds the trades, and files that let their reader in."""
    open_files = [path for path in sorted(state.iterdir()) if path.is_file() and _is_secret(path) and _is_open(path)]
    if open_files:
        names = " ".join(str(path) for path in open_files)
        return Finding("permissions", "fail", f"others can read {names}", f"chmod 600 {names}")
    if _is_open(state):
        return Finding("permissions", "warn", f"others can look into {state}", f"chmod 700 {state}")
    return Finding("permissions", "ok", "only its owner reads the state")


def _daemon(state: Path) -> Finding:
    """Tell who holds the state directory; what a crash left behind is said, and does no harm."""
    holder, announced = _holder(state), runtime.told(state)
    told = None if announced is None else announced.pid
    if holder is None:
        if told is not None and not runtime.alive(told):
            remedy = f"none is needed: the next start replaces it; else rm {state / 'runtime.json'}"
            return Finding("daemon", "warn", f"runtime.json names process {told}, which is gone", remedy)
        return Finding("daemon", "ok", "none runs here")
    if told is not None and told != holder:
        remedy = f"stop both and start one: kill {told} {holder}"
        return Finding("daemon", "fail", f"process {holder} holds the state, runtime.json names {told}", remedy)
    return Finding("daemon", "ok", f"process {holder} runs and holds the state")


def _holder(state: Path) -> int | None:
    """Return the process that has the journal's lock, without ever taking it."""
    file = state / "journal" / "lock"
    try:
        pid, inode = int(file.read_text()), file.stat().st_ino
        locks = Path("/proc/locks").read_text()
    except (OSError, ValueError):
        return None
    held = re.search(rf"FLOCK\s+ADVISORY\s+WRITE\s+-?\d+\s+\w+:\w+:{inode}\s", locks)
    return pid if held and runtime.alive(pid) else None


def _journal(state: Path) -> Finding:
    """Read what closes each segment, and the newest one whole; `replay --verify` reads everything."""
    from atmand.journal.inspect import inspect

    directory = state / "journal"
    if not directory.is_dir():
        return Finding("journal", "ok", "none yet")
    try:
        found = inspect(directory)
    except (AtmandError, OSError) as error:
        return Finding("journal", "fail", str(error), "put the folder back from a backup, or take it away")
    if found["damaged"]:
        first = found["damaged"][0]
        remedy = "put the file back from a backup; atmand journal inspect lists what is damaged"
        return Finding("journal", "fail", f"{first['file']}: {first['error']}", remedy)
    says = f"{found['records']} records, {gigabytes(found['bytes'])}, {len(found['sessions'])} sessions"
    if found["tail"] is not None and _holder(state) is None:
        return Finding("journal", "warn", f"{says}; the last record is torn", "none is needed: the next start cuts it")
    return Finding("journal", "ok", says)


def _disk(settings: Settings, state: Path) -> Finding:
    """Compare the free disk with what the journal may still grow by."""
    try:
        instruments = _instruments(settings, _deployments(settings))
    except AtmandError:
        instruments = 0
    free = shutil.disk_usage(_existing(state)).free
    kept = settings.journal
    projected = projected_bytes(instruments, kept.keep_sessions, kept.keep_bytes)
    grown = sum(path.stat().st_size for path in (state / "journal").glob("*.seg*"))
    needed = max(0, projected - grown) + kept.min_free_bytes
    found = f"{gigabytes(free)} free; the journal may grow by {gigabytes(max(0, projected - grown))}"
    if free < kept.min_free_bytes:
        return Finding("disk", "fail", found, "make room: below journal.min_free_bytes no position is opened")
    if free < needed:
        return Finding("disk", "warn", found, "make room, or lower journal.keep_sessions or journal.keep_bytes")
    return Finding("disk", "ok", found)


# The edges.


def _port(settings: Settings, state: Path) -> Iterator[Finding]:
    """Check that the API's port is free, or that our own daemon has it."""
    port = settings.api.port
    if not (settings.api.enabled and port):
        return
    if not _taken(port):
        yield Finding("port", "ok", f"{port} is free")
    elif (ours := runtime.told(state)) is not None and ours.port == port and _holder(state) is not None:
        yield Finding("port", "ok", f"{port} is this daemon's")
    else:
        yield Finding(
            "port",
            "fail",
            f"{port} is taken, by another atmand or another program",
            "stop that one, or name another with --port N or [api] port",
        )


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((_LOOPBACK, port))
        except OSError:
            return True
    return False


def _tokens(settings: Settings) -> Iterator[Finding]:
    """Check the broker's access token: there, today's, and nobody else's to read."""
    if settings.feed.kite is None or settings.feed.kind != "kite":
        return
    file = settings.feed.kite.access_token_file
    remedy = f"log in and write the day's token: (umask 077; cat > {file})"
    try:
        found = file.stat()
    except OSError as error:
        yield Finding("access_token", "fail", f"{file}: {(error.strerror or 'not readable').lower()}", remedy)
        return
    written = datetime.fromtimestamp(found.st_mtime, _INDIA)
    if not found.st_size:
        yield Finding("access_token", "fail", f"{file}: empty", remedy)
    elif _is_open(file):
        yield Finding("access_token", "fail", f"others can read {file}", f"chmod 600 {file}")
    elif token_ended(written, datetime.now(_INDIA)):
        says = f"written {written:%Y-%m-%d %H:%M} in India; a token ends at 06:00 the next morning"
        yield Finding("access_token", "fail", says, remedy)
    else:
        yield Finding("access_token", "ok", f"written {written:%Y-%m-%d %H:%M} in India")


# Files.


def _writable(directory: Path) -> bool:
    """Return whether a file can be made there, or the directory itself where it is missing."""
    existing = _existing(directory)
    if existing != directory:
        return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _existing(path: Path) -> Path:
    """Return the path, or what of it is there."""
    return next(part for part in (path, *path.absolute().parents) if part.exists())


def _is_secret(path: Path) -> bool:
    return "token" in path.name or path.name == "runtime.json"


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & _PRIVATE)


def _by_instruments(instruments: int, sizes: tuple[float, ...]) -> float:
    """Read a size between the measured ones; past the last one it grows with the number."""
    if instruments > _INSTRUMENTS[-1]:
        return sizes[-1] * instruments / _INSTRUMENTS[-1]
    return float(np.interp(instruments, _INSTRUMENTS, sizes))
