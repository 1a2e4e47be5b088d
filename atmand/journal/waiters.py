"""Those on the loop who wait until a record is written, or durable."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from atmand.errors import AtmandError

__all__ = ["Waiter", "settle"]


@dataclass(frozen=True, slots=True)
class Waiter:
    """One who waits for a record."""

    sequence: int
    durable: bool
    future: asyncio.Future[None]


def settle(future: asyncio.Future[None], error: AtmandError | None) -> None:
    """Finish a future of the loop's from another thread; a loop that is gone has nobody waiting."""

    def finish() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    with contextlib.suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(finish)
