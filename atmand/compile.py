"""`python -m atmand.compile MODULE [--driver]`: compile a program and the decoders into numba's cache, in a child.

The daemon starts it so that its own loop never compiles; afterwards loading the module takes milliseconds. With
`--driver` the batch driver is compiled too, for a daemon that is about to trade a simulated past.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from atmand.core.jit import kernel_rows
from atmand.core.layout import ARENA
from atmand.core.records import AUDIT
from atmand.core.ticks import TICK
from atmand.errors import AtmandError
from atmand.history.bars import BAR

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Compile one module; the cache directory comes from the parent's environment."""
    import atmand.feed.kite_decode  # noqa: F401  # its decoder is compiled when it is imported
    from atmand.lang.build import load_module

    sys.dont_write_bytecode = False  # parsing a big module would hold the daemon's loop up
    try:
        module = load_module(Path(arguments[0]))
    except AtmandError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    if "--driver" in arguments:
        _drive_nothing(module)
    return 0


def _drive_nothing(module: ModuleType) -> None:
    """Call the batch driver over no bars: numba compiles it for its arguments' types at the first call."""
    bars = kernel_rows(np.zeros((0, 1), BAR))
    ticks, volume = np.zeros(TICK.itemsize, np.uint8), np.zeros(1, np.int64)
    arena = np.zeros(ARENA.itemsize, np.uint8)
    module.run_bars(arena, bars, np.zeros((0, 1), np.bool_), ticks, volume, np.zeros(1, AUDIT), 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
