"""Contestants in processes of their own that take turns: what a parent asks, and how a contestant answers.

A contestant's first line tells that its first result is there; then each line in is one more run, answered with its
seconds; at the end of input it tells its peak memory. Standard library only: peers' interpreters run it too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

__all__ = ["BARE", "Contestant", "peak_mb", "serve", "take_turns"]

_HERE: Final = Path(__file__).resolve().parent
BARE: Final = (
    "import os, runpy, sys; sys.modules.update(scipy=None, cffi=None, coverage=None); "
    "sys.argv = sys.argv[1:]; sys.path.insert(0, os.path.dirname(sys.argv[0])); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Starts a script without the libraries that only the tests bring, which numba would import."""


class Contestant:
    """A child that has made its first result; `seconds` are those of its runs."""

    def __init__(self, python: str, script: str, *arguments: str, turns: int) -> None:
        bare = ["-c", BARE] if python == sys.executable else []
        command = [python, *bare, str(_HERE / script), *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_HERE), str(_HERE.parent.parent)])}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's interpreter keeps its bytecode too
        began = time.perf_counter()
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.first = self._answer()
        """What it said of its first result."""
        self.first_s = time.perf_counter() - began
        self.turns = turns
        self.seconds: list[float] = []
        self.peak_mb = 0.0

    @property
    def median_s(self) -> float:
        return median(self.seconds)

    def turn(self) -> None:
        """Let it run once more."""
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        self.seconds.append(self._answer()["seconds"])

    def close(self) -> None:
        """End it and learn its peak memory."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self.peak_mb = self._answer()["peak_mb"]
        if self._child.wait(60):
            raise SystemExit(f"a contestant ended with {self._child.returncode}")

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("@@"):
                answer: dict[str, Any] = json.loads(line[2:])
                return answer
        raise SystemExit(f"a contestant ended early with {self._child.wait(60)}: {self._child.args}")


def take_turns(contestants: Mapping[str, Contestant]) -> None:
    """Let all run in turns until each has had its own number of them, then end them."""
    for turn in range(max(one.turns for one in contestants.values())):
        for one in contestants.values():
            if turn < one.turns:
                one.turn()
    for one in contestants.values():
        one.close()


def serve(prepare: Callable[[], Callable[[], Mapping[str, Any]]]) -> None:
    """Be a contestant: `prepare` gives what runs once and says what it came to."""
    run = prepare()
    _say(run())
    for _ in sys.stdin:
        began = time.perf_counter()
        run()
        _say({"seconds": time.perf_counter() - began})
    _say({"peak_mb": peak_mb()})


def peak_mb() -> float:
    """Return the most that this process had in memory, decimal megabytes.

    From /proc, because `getrusage` takes over what the parent had at the fork.
    """
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _say(answer: Mapping[str, Any]) -> None:
    print("@@" + json.dumps(dict(answer)), flush=True)
