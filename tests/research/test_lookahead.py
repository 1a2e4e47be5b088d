"""The look-ahead proof passes honest strategies, and finds a program that peeks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from test_backtest import CAPITAL, STRATEGY, made_bars

from atmand.core.opening import BookLimits
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.research.lookahead import Check, look_ahead
from atmand.research.probe import Grid, Probe, probe_of


def checks(probe: Probe, random: int = 4) -> list[Check]:
    return list(look_ahead(probe, Grid.of(made_bars(45)), BookLimits(CAPITAL), random=random))


@pytest.fixture(scope="module")
def probe() -> Probe:
    return probe_of(Deployment(parse_strategy(STRATEGY, "probe.toml")))


def peeking(run_bars: Callable[..., Any], bars: int) -> Callable[..., Any]:
    """Make a batch driver whose strategy sees, as a bar's close, the close so many bars later in the session."""

    def run(arena: Any, rows: Any, *rest: Any) -> Any:
        seen = rows.copy()
        seen["close"][:-bars] = rows["close"][bars:]
        for name, pick in (("high", max), ("low", min)):
            seen[name] = [[pick(each[name], each["close"]) for each in row] for row in seen]
        return run_bars(arena, seen, *rest)

    return run


def test_an_honest_strategy_passes_at_every_session_end_and_drawn_bar(probe: Probe) -> None:
    found = checks(probe)
    assert [check.kind for check in found] == ["session"] * 2 + ["cut", "replaced"] * 4
    assert all(check.same for check in found)
    assert found[1].rows > 50 and len({check.ts for check in found}) == 6
    assert [check.ts for check in checks(probe)] == [check.ts for check in found]


@pytest.mark.parametrize("bars", [1, 3])
def test_a_step_that_reads_a_later_bar_is_found_with_its_clause(probe: Probe, bars: int) -> None:
    leaking = replace(probe, program=replace(probe.program, run_bars=peeking(probe.program.run_bars, bars)))
    found = checks(leaking)
    assert [check.same for check in found[:-1]] == [True] * (len(found) - 1)
    difference = found[-1].difference
    assert difference is not None and difference.ts <= found[-1].ts
    assert difference.clause in leaking.clauses.texts
    assert "with the bars behind it" in difference.what
