"""The look-back law: a look-back that changes inside a session leaves the core as if it had held from the start.

No strategy may enter before the change, so that both runs have the same books when it comes.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from core_market import FILES, MINUTE, SECOND, Book, Market, candles, compiled, walk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atmand.core.records import Kind

HISTORY = 400
CHANGE = 40
MINUTES = 90
LATE_ENTRIES = {"entry_from_ns": (9 * 3600 + 15 * 60 + (CHANGE + 1) * 60) * SECOND}


def run(seed: int, before: dict[str, float], after: dict[str, float]) -> Market:
    """Trade a random walk; `after` comes by a PARAMS record between two bars in the middle of the session."""
    closes = walk(seed, HISTORY + MINUTES)
    market = Market([Book("quick", values=before, plan=LATE_ENTRIES)])
    market.history(candles(-HISTORY, closes[:HISTORY]), -30.0, to=0.0)
    for number, close in enumerate(closes[HISTORY:]):
        if number == CHANGE:
            market.set(number * 60 + 5, **after)
        market.minute(number, close)
    return market


def state(market: Market) -> dict[str, NDArray[Any]]:
    """Return a strategy's floats by name; a ring's as a set, since where it begins is no part of the law."""
    pair = market.pair()
    plan = market.engine.layout.manifest.structures[int(pair["structure"])]
    modules = [module for name, module in sys.modules.items() if name.startswith("atmand_program_")]
    dtype = next(getattr(each, f"STATE_{plan.name}") for each in modules if hasattr(each, f"STATE_{plan.name}"))
    at = int(pair["slab_at"])
    row = market.engine.layout.arena[at : at + dtype.itemsize].view(dtype)[0]
    return {name: np.sort(np.ravel(row[name])) for name, (kind, _) in dtype.fields.items() if kind.base == np.float64}


def decisions(market: Market) -> list[tuple[int, ...]]:
    """Return what was decided and done from the change on; before it entries are refused by the window."""
    rows = market.audit(Kind.AUDIT_DECISION, Kind.AUDIT_INTENT, Kind.AUDIT_FILL)
    names = ("kind", "side", "quantity", "price", "state", "reason", "time_ns")
    since_ns = market.open_ns + CHANGE * MINUTE + 5 * SECOND
    return [tuple(int(row[name]) for name in names) for row in rows[rows["time_ns"] >= since_ns]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(2, 4), st.integers(2, 6), st.integers(2, 4))
def test_a_look_back_that_changes_in_the_middle_is_as_one_from_the_start(
    seed: int, period: int, fast: int, new_period: int, new_fast: int
) -> None:
    after = {"period": float(new_period), "fast": float(new_fast)}
    changed = run(seed, {"period": float(period), "fast": float(fast)}, after)
    steady = run(seed, after, after)
    assert decisions(changed) == decisions(steady)
    for name, expected in state(steady).items():
        np.testing.assert_allclose(state(changed)[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_runs_of_the_law_decide_something() -> None:
    """The law would hold for strategies that never act."""
    counts = [
        len(decisions(run(seed, {"period": 3.0, "fast": 3.0}, {"period": 6.0, "fast": 2.0}))) for seed in range(5)
    ]
    assert min(counts) > 10


def test_another_look_back_decides_otherwise() -> None:
    """The law would hold for values that are never looked at."""
    values = [{"period": 3.0, "fast": 3.0}, {"period": 6.0, "fast": 2.0}]
    runs = [[decisions(run(seed, each, each)) for each in values] for seed in range(5)]
    assert any(first != second for first, second in runs)


def test_a_change_of_look_back_keeps_bars_and_position() -> None:
    market = Market([Book("quick", values={"level": 0.0})])
    closes = walk(3, HISTORY + MINUTES)
    market.history(candles(-HISTORY, closes[:HISTORY]), -30.0, to=0.0)
    for number, close in enumerate(closes[HISTORY:]):
        market.minute(number, close)
        if market.pair()["quantity"]:
            break
    else:
        pytest.fail("nothing was traded")
    before, bars = market.pair().copy(), market.bars().copy()
    market.set(number * 60 + 65, period=6)
    for name in ("quantity", "value_paise", "entry_value", "stop_price", "trade", "bars_held"):
        assert market.pair()[name] == before[name], name
    np.testing.assert_array_equal(market.bars(), bars)
    assert market.values(0)[list(FILES["quick"].strategy.params).index("period")] == 6
    assert compiled().manifest.structures[int(before["structure"])].lookback_slots
