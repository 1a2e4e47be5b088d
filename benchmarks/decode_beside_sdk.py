"""Decode beside the official SDK: our compiled decoder here, `KiteTicker`'s parser in a process of its own.

Prints JSON lines; writes the section `decode` of docs/performance.md. The other interpreter, with `kiteconnect`
installed, is named by ATMAND_KITECONNECT_PYTHON (default: .venv-kiteconnect/bin/python of the checkout).
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from _report import Report, Target, count, table

from atmand.start import prepare_compiler

prepare_compiler(None)

from _market import Tape  # noqa: E402

from atmand.core.ticks import MAX_TICKS, TICK, decoded_ticks  # noqa: E402
from atmand.feed.kite_decode import decode, decode_lines  # noqa: E402

_HERE: Final = Path(__file__).resolve().parent
_SIZES: Final = (1, 100, 1_000, 3_000)
_AIM_SIZE: Final = 1_000
_AIM_TICKS: Final = 10_000_000
_RUNS: Final = 7
_TICKS_A_RUN: Final = {"ours": 300_000, "theirs": 9_000}
_DEFINITION: Final = """Ticks a second out of one frame of full packets (184 bytes) of so many instruments, parsed again
and again. Ours writes every field and all ten levels of depth of every packet as integers into rows and checks every
bound; the SDK's `KiteTicker._parse_binary` makes a dictionary a tick. Both answers are compared, field by field, before
the clock runs. Turns alternate between the two processes; medians by processor time, and the ratio of the two."""


class _Official:
    """The SDK's parser in its own interpreter, asked over a pipe."""

    def __init__(self, python: Path) -> None:
        self._child = subprocess.Popen(
            [python, _HERE / "_kite_parser.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TZ": "Asia/Kolkata"},
        )
        self.version = self._answer()["version"]

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(10)

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        return answer


def main() -> int:
    report = Report("decode", "Decode beside the official SDK")
    named = os.environ.get("ATMAND_KITECONNECT_PYTHON")
    python = Path(named) if named else _HERE.parent / ".venv-kiteconnect" / "bin" / "python"
    if not python.is_file():
        print(f"{python}: not there; `make bench` makes it, or name one in ATMAND_KITECONNECT_PYTHON", file=sys.stderr)
        return 2
    official = _Official(python)
    try:
        rates = {n: _rates(report, official, n) for n in _SIZES}
    finally:
        official.close()
    head = ["instruments a frame", "atmand, ticks/s", "µs a frame", f"kiteconnect {official.version}, ticks/s", "ratio"]
    rows = [
        [f"{n:,}", count(ours), count(n / ours * 1e6), count(theirs), f"{ours / theirs:,.0f} times"]
        for n, (ours, theirs) in rates.items()
    ]
    ours, theirs = rates[_AIM_SIZE]
    target = Target(
        f"Kite full-mode decode, {_AIM_SIZE:,} instruments a frame, ticks/s",
        f"kiteconnect {official.version} {count(theirs)}", "14 M (measured once, elsewhere)", count(ours),
        f"{_AIM_TICKS:,}", ours >= _AIM_TICKS,
    )  # fmt: skip
    report.write(_DEFINITION, table(head, rows), targets=[target])
    return 0


def _rates(report: Report, official: _Official, n: int) -> tuple[float, float]:
    """Return our ticks a second and theirs."""
    body = Tape(n).frame(1)
    theirs = official.ask(load=base64.b64encode(body).decode())["ticks"]
    if theirs != next(decode_lines([body]))["ticks"]:
        raise SystemExit(f"the two parsers disagree on a frame of {n} instruments")
    turns = {who: max(1, ticks // n) for who, ticks in _TICKS_A_RUN.items()}
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    ticks = np.zeros(MAX_TICKS, TICK)
    assert decoded_ticks(decode(body, ticks)) == n
    for _ in range(_RUNS):
        began = time.process_time()
        for _ in range(turns["ours"]):
            decode(body, ticks)
        spent["ours"].append((time.process_time() - began) / turns["ours"])
        spent["theirs"].append(official.ask(repeat=turns["theirs"])["seconds"] / turns["theirs"])
    ours, theirs_s = float(np.median(spent["ours"])), float(np.median(spent["theirs"]))
    report.figure("atmand", f"{n} instruments a frame", n / ours, "ticks/s", us_a_frame=ours * 1e6)
    report.figure(
        f"kiteconnect {official.version}", f"{n} instruments a frame", n / theirs_s, "ticks/s", ratio=theirs_s / ours
    )
    return n / ours, n / theirs_s


if __name__ == "__main__":
    sys.exit(main())
