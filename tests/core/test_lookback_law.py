"""The law of look-backs: a period changed in the middle of a day equals a run that had it from the start.

One strategy has a parameter for every period of five indicators, windowed and recursive; hypothesis draws the values
before and after, the market, and the minute of the change. The day is longer than the bar ring, so late changes fold a
part of it only. `test_indicators.py` folds the kept bars of every indicator again.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from core_market import Book, Market, walk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atmand.core.manifest import Manifest, Program
from atmand.core.opening import params_draft, program_draft
from atmand.core.records import Command, Kind
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate, parameter_values
from atmand.lang.strategy import parse_strategy

LAW = parse_strategy(
    """
name = "law"
universe = ["NSE:AAA"]
[params]
strength_bars = { default = 3, range = [2, 6], unit = "bars" }
fast = { default = 3, range = [2, 4], unit = "bars" }
slow = { default = 5, range = [3, 6], unit = "bars" }
smooth = { default = 3, range = [2, 4], unit = "bars" }
calm_bars = { default = 4, range = [2, 6], unit = "bars" }
mean_bars = { default = 4, range = [2, 6], unit = "bars" }
reach_bars = { default = 3, range = [1, 6], unit = "bars" }
level = { default = 50, range = [30, 70] }
[signals]
strength = "rsi(strength_bars)"
line = "macd(fast, slow, smooth).hist"
calm = "ema(calm_bars)"
mean = "sma(mean_bars)"
[entry]
long = "crosses_above(line, 0) and (strength > level or close > calm)"
short = "crosses_below(line, 0) and (strength < level or close < mean)"
[exit]
long = "crosses_below(line, 0)"
short = "crosses_above(line, 0)"
[stop]
loss = "3 * atr(reach_bars)"
[size]
value = 50000
""",
    "law.toml",
)
PERIODS = {
    name: tuple(map(int, parameter.range))
    for name, parameter in LAW.strategy.params.items()
    if parameter.unit == "bars"
}
OUTCOME = ["kind", "side", "quantity", "price", "value", "state", "reason", "time_ns"]


@functools.cache
def program() -> Program:
    return build(generate([Deployment(LAW)]))


class LawMarket(Market):
    """The tests' market on the law's own strategy."""

    def install(self, books: Sequence[Book], at: float, **_: Any) -> None:
        made = generate([Deployment(LAW, books[0].account, books[0].values or {}, books[0].name)]).manifest
        manifest = Manifest(program().manifest.structures, made.books, made.accounts, program().manifest.source)
        running = Program(program().apply, program().run_bars, program().source, manifest)
        self.programs[hashlib.sha256(manifest.to_json()).digest()] = running
        self.put(program_draft(running.source, manifest, [(0, 0)]), at)

    def swap(self, at: float, values: dict[str, float]) -> None:
        """Apply the PARAMS record of a document that says these values."""
        row = list(parameter_values(Deployment(LAW, values=values)).values())
        self.put(params_draft([row], document=bytes(range(32)), seq=7), at)

    def state(self) -> Any:
        """Return the pair's indicators under the names of the generated structure."""
        name = program().manifest.structures[0].name
        module = next(
            m for key, m in sys.modules.items() if key.startswith("atmand_program_") and hasattr(m, f"STATE_{name}")
        )
        dtype = getattr(module, f"STATE_{name}")
        at = int(self.pair()["slab_at"])
        return self.engine.layout.arena[at : at + dtype.itemsize].view(dtype)[0]


def drive(market: Market, first: int, last: int, prices: Sequence[int]) -> NDArray[Any]:
    rows = [
        market.tick(place // 4 * 60 + (5, 20, 40, 55)[place % 4], prices[place], volume=place * 30)
        for place in range(first * 4, last * 4)
    ]
    return np.concatenate([*rows, market.timer(last * 60 + 1)])


def assert_same_indicators(mine: Any, theirs: Any, window: int) -> None:
    """Recursive state agrees to 1e-9; a window holds the very same numbers, at another place of its ring perhaps."""
    compared = set()
    for name in mine.dtype.names:
        fields = mine.dtype[name].names or ()
        if "ring" in fields:
            np.testing.assert_array_equal(*(np.sort(state[name]["ring"][:window]) for state in (mine, theirs)))
            np.testing.assert_allclose(mine[name]["total"], theirs[name]["total"], rtol=1e-12)
            compared.add("window")
            continue
        for field in set(fields) - {"count", "place"}:
            np.testing.assert_allclose(mine[name][field], theirs[name][field], rtol=1e-9, atol=1e-9, err_msg=name)
            compared.add(field)
    assert {"window", "gain", "loss", "fast", "slow", "signal", "value", "last"} <= compared


periods = st.fixed_dictionaries({name: st.integers(*span).map(float) for name, span in PERIODS.items()})
SHORT = {name: float(span[0]) for name, span in PERIODS.items()}
LONG = {name: float(span[1]) for name, span in PERIODS.items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=periods, after=periods, minute=st.integers(1, 345), seed=st.integers(0, 2**32 - 1))
@example(before=SHORT, after=LONG, minute=345, seed=1)
@example(before=LONG, after=SHORT, minute=345, seed=2)
@example(before=SHORT, after=LONG, minute=2, seed=3)
def test_periods_changed_in_the_day_equal_a_run_that_had_them_from_the_start(
    before: dict[str, float], after: dict[str, float], minute: int, seed: int
) -> None:
    prices = walk(seed, 4 * 375, spread=300)
    swapped, fresh = LawMarket([Book(values=before)]), LawMarket([Book(values=after)])
    for run in (swapped, fresh):
        # Without positions, so that what differs afterwards can only be the indicators.
        run.command(-1, Command.ENTRIES_OFF)
        drive(run, 0, minute, prices)
    swapped.swap(minute * 60 + 2, after)
    assert_same_indicators(swapped.state(), fresh.state(), int(after["mean_bars"]))
    for run in (swapped, fresh):
        run.command(minute * 60 + 3, Command.ENTRIES_ON)
    later = [drive(run, minute, minute + 30, prices) for run in (swapped, fresh)]
    np.testing.assert_array_equal(later[0][OUTCOME], later[1][OUTCOME])
    assert_same_indicators(swapped.state(), fresh.state(), int(after["mean_bars"]))


@pytest.mark.parametrize("minute", [60, 345])
def test_what_the_law_compares_are_decisions_and_would_differ_without_the_change(minute: int) -> None:
    prices = walk(41, 4 * 375, spread=300)
    runs = [LawMarket([Book(values=values)]) for values in (SHORT, LONG)]
    for run in runs:
        run.command(-1, Command.ENTRIES_OFF)
        drive(run, 0, minute, prices)
        run.command(minute * 60 + 3, Command.ENTRIES_ON)
    later = [drive(run, minute, minute + 30, prices) for run in runs]
    for rows in later:
        assert (rows["kind"] == Kind.AUDIT_INTENT).any()
    assert later[0][OUTCOME].tolist() != later[1][OUTCOME].tolist()
