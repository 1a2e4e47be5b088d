"""Draws portfolios of whole strategies and compares the batch loop with the record-driven fold, in plain Python.

    NUMBA_DISABLE_JIT=1 python drawn_parity.py STRATEGIES

The parity test starts it. One example is up to `_BOOKS` strategies that share a market, so that they meet each other
too. Prints how many strategies were compared, how many traded, and the reasons of the orders that they made.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from drawn_strategies import Drawn, markets
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from numpy.typing import NDArray

from atmand.core.layout import TRADE
from atmand.core.records import Kind
from atmand.core.words import Reason
from atmand.history.bars import aligned
from atmand.lang.build import build
from atmand.lang.program import generate
from atmand.research.backtest import pairs_of
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of
from atmand.research.batch import Batch, is_batchable

_BOOKS: Final = 8
_ONCE_DIFFERENT: Final = (99,)
"""Drawn places at which the drivers once differed, compared first. 99: a timer that only one of them waited for."""
_SAID: Final = [name for name in TRADE.names or () if name not in ("entry_cause", "entry_index")]
"""Fields of a trade; its cause is the number of a record, and the loop makes none."""


@dataclass
class Seen:
    """What was compared so far."""

    strategies: int = 0
    traded: int = 0
    bars: int = 0
    reasons: Counter[int] = field(default_factory=Counter)


def compare(drawn: Drawn, seen: Seen) -> None:
    """Run both drivers; AssertionError where they differ."""
    note(repr(drawn))
    program = build(generate(drawn.deployments))
    assert is_batchable(program.manifest)
    instruments = list(drawn.instruments)
    pairs = pairs_of(drawn.deployments, instruments)
    market = DrivenMarket([(one, 0) for one in instruments], pairs, drawn.limits, None, drawn.terms)
    times, grid, present = aligned(drawn.bars)
    rows: list[NDArray[Any]] = []
    closed: list[NDArray[Any]] = []
    driver = BarDriver(program, market, rows.append, 1 << 12)
    for day, places in days_of(times):
        driver.open(day)
        driver.run(grid[places], present[places])
        closed.append(driver.engine.table("trades")[: driver.engine.header["n_trades"]].copy())
    run = Batch(program, market, times, grid, present).run()

    told = np.concatenate(rows)
    trades = np.concatenate(closed)
    for name in _SAID:
        np.testing.assert_array_equal(run.trades[name], trades[name], err_msg=name)
    assert run.result["orders"][0] == driver.engine.header["orders_made"]
    fills = told[told["kind"] == Kind.AUDIT_FILL]
    for name in ("time_ns", "book", "instrument", "side", "quantity", "price", "value", "costs", "reason"):
        np.testing.assert_array_equal(run.fills[name], fills[name], err_msg=name)
    assert int(run.result["fingerprint"][0]) == int(driver.engine.header["fingerprint"])
    marks = told[told["kind"] == Kind.AUDIT_MARK]
    at, places = np.unique(marks["time_ns"], return_inverse=True)
    equity = np.zeros(len(at), np.int64)
    np.add.at(equity, places, marks["value"])
    known = np.isin(run.closes_ns, at)
    np.testing.assert_array_equal(run.closes_ns[known], at)
    np.testing.assert_array_equal(run.equity_paise[known], equity)
    for name in [name for name in sys.modules if name.startswith("atmand_program_")]:
        del sys.modules[name]
    seen.strategies += len(drawn.deployments)
    seen.traded += len(set(trades["book"].tolist()))
    seen.bars += int(present.sum())
    seen.reasons.update(told["reason"].tolist())


def main(wanted: int) -> None:
    """Compare at least `wanted` strategies."""
    seen = Seen()
    for place in itertools.chain(_ONCE_DIFFERENT, itertools.count()):
        if seen.strategies >= wanted:
            break
        _one(place, seen)
    reasons = sorted(Reason(reason).name for reason in seen.reasons)
    told = {"strategies": seen.strategies, "traded": seen.traded, "bars": seen.bars, "reasons": reasons}
    print(orjson.dumps(told).decode())


def _one(place: int, seen: Seen) -> None:
    """Compare one freshly drawn example: a run of many would mostly vary what it drew before."""

    @seed(place)
    @settings(
        max_examples=2, deadline=None, database=None, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(markets(_BOOKS))
    def both_drivers_do_the_same(drawn: Drawn) -> None:
        if drawn.number:  # the first of a run is the simplest that there is
            compare(drawn, seen)

    both_drivers_do_the_same()


if __name__ == "__main__":
    main(int(sys.argv[1]))
