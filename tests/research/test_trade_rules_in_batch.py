"""The batch loop leaves out what nothing can come of; with every rule of `[stop]` and `[trade]` it decides the same.

Compiled, with ATMAND_EXHAUSTIVE=1: `test_drawn_parity.py` compares the same rules with the compiler off every time.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from test_backtest import made_bars

from atmand.core.opening import BookLimits
from atmand.core.words import Reason
from atmand.history.bars import aligned
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import parse_strategy
from atmand.research.backtest import instruments_of, pairs_of
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of
from atmand.research.batch import Batch, is_batchable

HEAD = """
name = "rules"
universe = ["NSE:AAA", "NSE:BBB"]
[session]
square_off = "10:40"
[entry]
long = "close > open"
short = "close < open"
"""
TRAIL = """
[stop]
loss = "0.8%"
trail = 3
trail_after = 2
breakeven = 1.5
[size]
value = 90000
"""
ALONE = """
[stop]
trail = 4
[size]
quantity = 50
[trade]
cooldown = 3
max_trades_a_day = 6
"""
PARTS = """
add_long = "close > open"
add_short = "close < open"
[exit]
reduce_long = "close < open"
reduce_short = "close > open"
max_reduces = 2
[stop]
loss = 6
target = 5
bars = 9
[size]
risk = 900
add = 0.5
reduce = 0.3
[trade]
max_adds = 2
"""
LIMITS = """
[stop]
loss = 3
target = 3
[size]
percent = 4
[trade]
order = "limit"
limit = "low"
wait = 200
"""
FILES = {
    "trail and breakeven": HEAD + TRAIL,
    "trail alone": HEAD + ALONE,
    "additions and reductions": HEAD + PARTS,
    "limits": HEAD + LIMITS,
}


@pytest.mark.skipif(os.environ.get("ATMAND_EXHAUSTIVE") != "1", reason="compiles for a minute; ATMAND_EXHAUSTIVE=1")
def test_the_loop_and_the_records_make_the_same_orders() -> None:
    deployments = [
        Deployment(parse_strategy(text, f"{name}.toml"), account=f"of_{place}", name=f"rules_{place}")
        for place, (name, text) in enumerate(FILES.items())
    ]
    program = build(generate(deployments))
    bars = made_bars()
    times, grid, present = aligned(bars)
    instruments = instruments_of(bars.symbols)
    market = DrivenMarket(
        [(instrument, 0) for instrument in instruments],
        pairs_of(deployments, instruments),
        [BookLimits(2_000_000_00)] * len(deployments),
    )
    rows: list[Any] = []
    driver = BarDriver(program, market, lambda audit: rows.append(audit))
    for day, places in days_of(times):
        driver.open(day)
        driver.run(grid[places], present[places])
    assert is_batchable(program.manifest)
    run = Batch(program, market, times, grid, present).run()
    assert set(run.trades["book"]) == set(range(len(FILES)))
    wanted = {Reason.BREAKEVEN, Reason.TRAIL, Reason.ADD, Reason.REDUCE, Reason.BARS, Reason.ENTRY_EXPIRED}
    assert wanted | {Reason.COOLDOWN, Reason.TRADES_A_DAY} <= {int(reason) for reason in np.concatenate(rows)["reason"]}
    assert run.result["orders"][0] == driver.engine.header["orders_made"]
    assert int(run.result["fingerprint"][0]) == int(driver.engine.header["fingerprint"])


def test_legs_and_a_share_of_the_volume_are_driven_record_by_record() -> None:
    text = HEAD + "[size]\nquantity = 5\n[trade]\nparticipation = 0.1\n"
    program = generate([Deployment(parse_strategy(text, "share.toml"))])
    assert not is_batchable(program.manifest)
