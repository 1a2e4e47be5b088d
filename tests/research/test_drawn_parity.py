"""The batch loop does what the record-driven fold does, for whole strategies that hypothesis draws.

200 of them by default, 1,000 with ATMAND_EXHAUSTIVE=1, each over at most 300 bars, in a process with the compiler off
(`drawn_parity.py`): compiling a thousand strategies would take hours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from atmand.core.words import Reason

HERE = Path(__file__).parent
STRATEGIES = 1_000 if os.environ.get("ATMAND_EXHAUSTIVE") == "1" else 200
MET = {
    Reason.RULE, Reason.STOP, Reason.TARGET, Reason.TRAIL, Reason.BREAKEVEN, Reason.BARS, Reason.ADD, Reason.REDUCE,
    Reason.SQUARE_OFF, Reason.SESSION_END, Reason.ENTRY_EXPIRED, Reason.COOLDOWN, Reason.TRADES_A_DAY, Reason.NETTED,
    Reason.CASH, Reason.OPEN_POSITIONS, Reason.ORDERS_A_DAY, Reason.ORDER_VALUE, Reason.POSITION_VALUE, Reason.CIRCUIT,
    Reason.FREEZE, Reason.OUTSIDE_WINDOW, Reason.ZERO_QUANTITY, Reason.REPLACED,
}  # fmt: skip


def test_drawn_strategies_trade_alike_in_the_batch_loop_and_record_by_record(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "drawn_parity.py"), str(STRATEGIES)],
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
    told = json.loads(done.stdout)
    assert told["strategies"] >= STRATEGIES
    assert told["traded"] > told["strategies"] // 3
    assert {reason.name for reason in MET} <= set(told["reasons"])
