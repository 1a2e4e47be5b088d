"""The program's first lines: signals, then the compiler's cache, and only then the heavy imports and the verb.

The console script `atmand` and `python -m atmand` call `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext

from atmand.errors import AtmandError, ExitCode
from atmand.start import prepare_compiler, recorded_state, requested_state, signals_held, spare_memory

__all__ = ["main"]

_ASKING = ("replay", "whatif", "why-not")
"""Verbs that fold a recorded day: the programs of its daemon are in the cache of its state directory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; every refusal is one line on standard error."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verb = _verb(arguments)
    serving = verb == "run"
    try:
        with signals_held() if serving else nullcontext():
            if serving:
                spare_memory()
            asked = recorded_state(arguments) if verb in _ASKING else None
            prepare_compiler(requested_state(arguments) if serving else asked)
            from atmand.cli import app

            app(arguments, prog_name="atmand")
    except AtmandError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(ExitCode.DONE)
    return int(ExitCode.DONE)


def _verb(arguments: Sequence[str]) -> str | None:
    words = iter(arguments)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


if __name__ == "__main__":
    sys.exit(main())
