"""The verb `atmand doctor`: what stands in a deployment's way here, and the remedy of each.

`cli` registers it; the looking is `doctor`'s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import typer

from atmand.cli_words import Config, ConfigWord, Json, State, print_json, say
from atmand.errors import ExitCode

if TYPE_CHECKING:
    from atmand.doctor_machine import Finding

__all__ = ["doctor"]

_COLORS: Final = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}
_PLAIN: Final = "\x1b[0m"
_ORDER: Final = ("ok", "warn", "fail")


def doctor(
    context: typer.Context, given: ConfigWord = None, config: Config = None, state: State = None, as_json: Json = False
) -> int:
    """Check machine and deployment: each finding with its remedy; exit 1 where a daemon could not run or trade."""
    from atmand.doctor import examine

    found = examine(given or config or context.obj, state.absolute() if state is not None else None)
    worst = max((finding.status for finding in found), key=_ORDER.index)
    if as_json:
        print_json({"status": worst, "checks": [asdict(finding) for finding in found]})
    else:
        _print_table(found)
        said = {"ok": "all is well", "warn": "it will run; see what is marked warn", "fail": "see what is marked fail"}
        say(said[worst])
    return ExitCode.DIFFERENT if worst == "fail" else ExitCode.DONE


def _print_table(found: Sequence[Finding]) -> None:
    """Print a line a check, and its remedy below it."""
    colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = max(len(finding.check) for finding in found)
    for finding in found:
        status = f"{finding.status:4}"
        if colors:
            status = f"{_COLORS[finding.status]}{status}{_PLAIN}"
        print(f"{status}  {finding.check:{width}}  {finding.found}")
        if finding.remedy:
            print(f"{'':{width + 8}}-> {finding.remedy}")
