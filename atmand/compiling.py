"""How the daemon gets a program without stopping for it: a child compiles into the cache, a thread loads."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import structlog

from atmand.core.manifest import Program
from atmand.errors import AtmandError
from atmand.lang.build import build, program_directory, write_module
from atmand.lang.program import Deployment, generate

__all__ = ["compiled"]

log = structlog.get_logger()


async def compiled(deployments: list[Deployment], *, driver: bool = False) -> Program:
    """Generate the program, let a child compile it into the cache, and load it in a thread.

    With `driver` the child compiles the batch driver too.
    """
    generated = generate(deployments)
    path = write_module(generated.source, program_directory())
    began = time.monotonic()
    log.info("compiling", structures=len(generated.manifest.structures), books=len(generated.manifest.books))
    command = [sys.executable, "-m", "atmand.compile", str(path), *(["--driver"] if driver else [])]
    child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True)
    try:
        code = await child.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        raise
    if code != 0:
        raise AtmandError("compiler", f"ended with {code}", "its message stands above; remove the cache and try again")
    program = await asyncio.to_thread(build, generated)
    log.info("compiled", seconds=round(time.monotonic() - began, 2))
    return program
