"""What must happen before the heavy imports: signals, where files lie, the compiler's cache.

`__main__` calls it first, `settings` and the daemon read from it. Standard library only, so that it costs nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import signal
import stat
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Final

__all__ = [
    "DECISION_ROOMS",
    "builtin",
    "cache_directory",
    "compiler_directory",
    "default_state",
    "deployment_file",
    "find_configuration",
    "held_signals",
    "kernel_digest",
    "prepare_compiler",
    "recorded_state",
    "requested_state",
    "signals_held",
    "spare_memory",
]

DECISION_ROOMS: Final = ("core", "feed", "lang", "market")
"""The rooms whose sources decide what a record does; their digest names the code that wrote a journal."""

_COMPILED_ROOMS: Final = (*DECISION_ROOMS, "research")
_COMPILER_SWITCHES: Final = ("NUMBA_BOUNDSCHECK", "NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_OPT")
"""They change the code that numba makes and not the key it is cached under."""
_PACKAGE: Final = Path(__file__).resolve().parent
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_RELOAD: Final = tuple(filter(None, (getattr(signal, "SIGHUP", None),)))
_held: Final[list[signal.Signals]] = []


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep SIGTERM, SIGINT and SIGHUP for the event loop, which does not run yet; a second stop ends at once."""
    before = {number: signal.signal(number, _hold) for number in (*_STOPS, *_RELOAD)}
    try:
        yield
    finally:
        _held.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def held_signals() -> list[signal.Signals]:
    """Hand over what arrived before the event loop had its own handlers, oldest first, and forget it."""
    taken = list(_held)
    _held.clear()
    return taken


def _hold(number: int, frame: FrameType | None) -> None:
    if number in _STOPS and any(held in _STOPS for held in _held):
        raise KeyboardInterrupt
    _held.append(signal.Signals(number))


def builtin(name: str) -> Path:
    """Return a configuration that ships with atmand, such as `demo.toml` or `strategies/rsi_macd.toml`.

    An installed package carries them inside itself; a checkout has them in its top folder.
    """
    packaged = _PACKAGE / "configs"
    return (packaged if packaged.is_dir() else _PACKAGE.parent / "configs") / name


def deployment_file(name: str) -> Path:
    """Return a file of `deploy/` that ships with atmand, such as `systemd/atmand.service`."""
    packaged = _PACKAGE / "deploy"
    return (packaged if packaged.is_dir() else _PACKAGE.parent / "deploy") / name


def find_configuration(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration to read: the given one, else `ATMAND_CONFIG`, `./atmand.toml`, the built-in demo."""
    if given is not None:
        return given
    if named := environ.get("ATMAND_CONFIG"):
        return Path(named)
    here = Path("atmand.toml")
    return here if here.is_file() else builtin("demo.toml")


def default_state(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the state directory of an instance that names none (XDG Base Directory Specification, state home)."""
    return _xdg("XDG_STATE_HOME", ".local/state", environ) / "atmand" / name


def requested_state(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Path:
    """Return the state directory that `atmand run` will use, read without validating anything.

    The validated answer comes later from `settings`; what cannot be read here is reported there.
    """
    return _state(arguments, _option(arguments, "--config") or _positional(arguments), environ)


def recorded_state(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the state directory that a verb asks about, where the user's own daemon of this very code compiled there.

    What it compiled need not be compiled again to ask about its days; machine code of another user is not loaded.
    """
    state = _state(arguments, _option(arguments, "--config"), environ)
    programs = state / "numba" / _compiler_key() / "programs"
    try:
        owners = {path.stat().st_uid for path in (state, programs)}
    except OSError:
        return None
    return state if owners == {os.getuid()} and os.access(programs, os.W_OK | os.X_OK) else None


def _state(arguments: Sequence[str], named: str | None, environ: Mapping[str, str]) -> Path:
    if given := _option(arguments, "--state"):
        return Path(given)
    path = find_configuration(Path(named) if named else None, environ)
    try:
        instance = tomllib.loads(path.read_text("utf-8")).get("instance", {})
    except (OSError, ValueError):
        instance = {}
    if not isinstance(instance, dict):
        instance = {}
    state = environ.get("ATMAND_INSTANCE__STATE") or instance.get("state")
    if state:
        return path.parent / Path(str(state)).expanduser()
    return default_state(str(environ.get("ATMAND_INSTANCE__NAME") or instance.get("name") or "demo"), environ)


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return a directory for what can be made again: the user's cache, or a private temporary one."""
    directory = _xdg("XDG_CACHE_HOME", ".cache", environ) / "atmand"
    return directory if _usable(directory) else _private_temporary()


def prepare_compiler(state: Path | None, environ: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """Set numba's cache directory and the threads of the numeric libraries; before numba and numpy are imported.

    The directory is named by a hash of all kernel sources and versions, because numba's own check compares only
    the file of the function itself and misses an edited callee elsewhere. `NUMBA_CACHE_DIR`, where set, is the
    folder that holds it; else it lies in `state`, and where that is None or cannot be written in the user's cache.
    """
    directory = compiler_directory(state, environ)
    directory.mkdir(parents=True, exist_ok=True)
    environ["NUMBA_CACHE_DIR"] = str(directory)
    environ["NUMBA_DISABLE_INTEL_SVML"] = "1"
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environ.setdefault(threads, "1")
    if (numba := sys.modules.get("numba")) is not None:
        numba.config.CACHE_DIR = str(directory)  # a notebook imported it first, and it has read its environment
    return directory


def compiler_directory(state: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that `prepare_compiler` uses; makes the state directory or the user's cache."""
    key = _compiler_key()
    given = environ.get("NUMBA_CACHE_DIR")
    directory = _cache_base(state, environ) / "numba" / key if given is None else Path(given)
    return directory if directory.name == key else directory / key


def spare_memory() -> None:
    """Let all threads share one heap: they hold the interpreter's lock in turns, and a heap each costs megabytes.

    mallopt(3) is glibc's; elsewhere nothing happens. Called before any thread is started.
    """
    m_arena_max = -8
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(m_arena_max, 1)


def kernel_digest(rooms: Iterable[str] = DECISION_ROOMS, suffixes: Collection[str] = (".py", ".toml")) -> bytes:
    """Return the sha256 of all sources of some rooms; a SESSION record carries that of the deciding ones.

    The dated tables are sources too: a rate decides what a position may cost.
    """
    digest = hashlib.sha256()
    for room in sorted(rooms):
        for source in sorted(path for path in (_PACKAGE / room).rglob("*.*") if path.suffix in suffixes):
            digest.update(f"{source.relative_to(_PACKAGE).as_posix()}\0".encode())
            digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.digest()


@functools.cache
def _compiler_key() -> str:
    versions = [f"{name}={metadata.version(name)}" for name in ("numba", "llvmlite", "numpy")]
    machine = [sys.version, platform.machine(), *(os.environ.get(name, "") for name in _COMPILER_SWITCHES)]
    digest = hashlib.sha256("\0".join(versions + machine).encode() + kernel_digest(_COMPILED_ROOMS, (".py",)))
    return digest.hexdigest()[:16]


def _cache_base(state: Path | None, environ: Mapping[str, str]) -> Path:
    return state if state is not None and _usable(state) else cache_directory(environ)


def _usable(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def _private_temporary() -> Path:
    """Return a temporary directory that only this user can write, since compiled code is loaded from it."""
    user = getattr(os, "getuid", lambda: 0)()
    directory = Path(tempfile.gettempdir()) / f"atmand-{user}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="atmand-"))
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077
    return directory if private else Path(tempfile.mkdtemp(prefix="atmand-"))


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    given = environ.get(variable, "")
    return Path(given) if given.startswith("/") else Path.home() / fallback


def _option(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of `--name value` or `--name=value`, the last one given, as the command line does."""
    found = None
    for index, argument in enumerate(arguments):
        if argument == name and index + 1 < len(arguments):
            found = arguments[index + 1]
        elif argument.startswith(f"{name}="):
            found = argument.removeprefix(f"{name}=")
    return found


def _positional(arguments: Sequence[str]) -> str | None:
    """Return the first word after the verb that is neither an option nor the value of one."""
    words = iter(arguments)
    verb_seen = False
    for word in words:
        if word.startswith("-"):
            if "=" not in word:
                next(words, None)
        elif verb_seen:
            return word
        else:
            verb_seen = True
    return None
