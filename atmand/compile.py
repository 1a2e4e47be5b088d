"""`python -m atmand.compile MODULE`: compile a generated program and the decoders into numba's cache, in a child.

The daemon starts it so that its own loop never compiles; afterwards loading the module takes milliseconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

from atmand.errors import AtmandError

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Compile one module; the cache directory comes from the parent's environment."""
    import atmand.feed.kite_decode  # noqa: F401  # its decoder is compiled when it is imported
    from atmand.lang.build import load_module

    try:
        load_module(Path(arguments[0]))
    except AtmandError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
