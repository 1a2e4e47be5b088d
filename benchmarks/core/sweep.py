"""Sweep: a thousand parameter sets over a year of one-minute bars, beside the limit's parallel loop and vectorbt.

Prints JSON lines; writes the section `sweep` of docs/performance.md. vectorbt runs where ATMAND_PEERS_PYTHON names an
interpreter that has it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from _report import Report, Target, count, table
from _series import BARS, columns
from _turns import Contestant, take_turns

_OURS: Final = {"atmand": "atmand-sweep", "limit": "limit-sweep"}
_TURNS: Final = 5
_AIM_OF_LIMIT: Final = 0.4
_AIM_MB: Final = 300
_DEFINITION: Final = """The strategy of the back-test with {sets:,} sets of its six parameters over the same {bars}
bars, on {cores} cores. *Ours* is `Batch.sweep`: each set is the whole back-test, with orders, costs and limits, in an
arena of its own, and comes to its totals, drawdown, fingerprint and the equity of every session's end. *Limit* is a
parallel loop by hand over the two indicators in registers: last equity and drawdown. vectorbt runs {swept} of the sets
in chunks of a hundred, on one core. Each contestant is a process of its own; they take turns; medians; *memory* is the
most that the process ever had, its bars included."""


def main() -> int:
    report = Report("sweep", "Sweep of parameter sets")
    python = os.environ.get("ATMAND_PEERS_PYTHON")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "bars.npy")
        np.save(path, columns(1, BARS))
        for who, name in _OURS.items():
            take_turns({who: Contestant(sys.executable, "_contestants.py", name, path, turns=0)})  # fills the cache
        ran = {
            who: Contestant(sys.executable, "_contestants.py", name, path, turns=_TURNS) for who, name in _OURS.items()
        }
        if python is not None:
            ran["vectorbt"] = Contestant(python, "_peers.py", "vectorbt-sweep", path, turns=1)
        take_turns(ran)
    rates = {who: one.first["sets"] / one.median_s for who, one in ran.items()}
    rows = []
    for who, one in ran.items():
        share = rates[who] / rates["limit"]
        report.figure(who, "1,000 sets", rates[who], "sets/s", of_limit=share, peak_mb=one.peak_mb, turns=one.turns)
        bars = count(rates[who] * BARS / 1e6)
        rows.append([who, count(rates[who]), f"{share:.3g}", bars, count(one.peak_mb), str(one.turns)])
    if python is None:
        rows.append(["vectorbt", "ATMAND_PEERS_PYTHON not set", *[""] * 4])
    words = _DEFINITION.format(
        sets=ran["atmand"].first["sets"], bars=f"{BARS:,}", cores=len(os.sched_getaffinity(0)), swept=200
    )
    head = ["who", "sets/s", "of the limit", "M bars/s", "memory, MB", "turns"]
    report.write(words, table(head, rows), targets=[_target(ran, rates)])
    return 0


def _target(ran: dict[str, Contestant], rates: dict[str, float]) -> Target:
    share, ours = rates["atmand"] / rates["limit"], ran["atmand"].peak_mb
    peers = f"vectorbt {rates['vectorbt']:.0f} sets/s, {ran['vectorbt'].peak_mb:,.0f} MB" if "vectorbt" in ran else ""
    return Target(
        "sweep of 1,000 sets", peers or "none was there",
        f"{count(rates['limit'])} sets/s, {ran['limit'].peak_mb:.0f} MB",
        f"{count(rates['atmand'])} sets/s, {share:.2f} of the limit, {ours:.0f} MB",
        f"{_AIM_OF_LIMIT} of the limit, under {_AIM_MB} MB", share >= _AIM_OF_LIMIT and ours < _AIM_MB,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
