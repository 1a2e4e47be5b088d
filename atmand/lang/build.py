"""Writing, compiling and loading programs: a module file named by its hash, beside numba's cache.

The daemon lets a child process compile (`python -m atmand.compile`), then loads in a thread; the verbs load directly,
which compiles where the cache has nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from atmand.core.layout import ARENA
from atmand.core.manifest import Manifest, Program
from atmand.errors import AtmandError
from atmand.lang.program import GeneratedProgram

__all__ = ["build", "load_module", "load_program", "program_directory", "write_module"]

_PREFIX = "atmand_program_"


def program_directory() -> Path:
    """Return where generated modules live: beside numba's cache, so that both are found or lost together."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    if cache is None:
        raise AtmandError("NUMBA_CACHE_DIR", "not set", "start through `atmand`, or name a writable directory")
    return Path(cache) / "programs"


def write_module(source: str, directory: Path) -> Path:
    """Write a generated module under the name of its hash, whole or not at all; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{_PREFIX}{hashlib.sha256(source.encode()).hexdigest()[:20]}.py"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(source)
        temporary.replace(path)
    return path


def load_module(path: Path) -> ModuleType:
    """Import a generated module by path. Compiling happens here, under a lock: numba's cache has no other guard."""
    name = path.stem
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AtmandError(str(path), "not a module", "remove it; it is generated again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with (path.parent / "compile.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_program(source: bytes, manifest: Manifest, directory: Path | None = None) -> Program:
    """Load a program and call it once on scratch state: a first call costs milliseconds that the loop must not pay."""
    path = write_module(source.decode(), directory or program_directory())
    module = load_module(path)
    scratch = np.zeros(ARENA.itemsize, np.uint8)
    scratch.view(ARENA)["next_due_ns"] = np.iinfo(np.int64).max
    module.apply(scratch, 0, np.zeros(1, np.uint8), 0, 0, 0)
    return Program(apply=module.apply, run_bars=module.run_bars, source=source, manifest=manifest)


def build(generated: GeneratedProgram, directory: Path | None = None) -> Program:
    """Load a freshly generated program."""
    return load_program(generated.source.encode(), generated.manifest, directory)
