"""The batch loop keeps every segment's hours as the record-driven fold does, over days of one window and of two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent


def test_both_drivers_enter_before_the_close_of_each_segment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "hours_parity.py")],
        env={
            **os.environ,
            "NUMBA_DISABLE_JIT": "1",
            "PYTHONPATH": str(HERE.parents[1]),
            "NUMBA_CACHE_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-8_000:]
    india = timedelta(hours=5, minutes=30)
    entered: dict[int, list[str]] = {}
    for place, seconds in json.loads(done.stdout):
        entered.setdefault(place, []).append(f"{datetime.fromtimestamp(seconds, UTC) + india:%m-%d %H:%M}")
    ordinary, two_windows = "03-01 15:10", "03-02 12:10"
    assert entered == {
        0: [ordinary, two_windows, "08-10 15:10"],
        1: [ordinary, two_windows, "08-10 14:55"],
        2: [ordinary, two_windows, "08-10 15:20"],
        3: [ordinary, two_windows, "08-10 15:20"],
    }
