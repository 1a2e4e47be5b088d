"""Slippage: what each kind of fill paid beyond the mid of the step that it met."""

from __future__ import annotations

import numpy as np
import pytest
from test_backtest import made_bars, result

from atmand.core.records import AUDIT
from atmand.core.words import Purpose
from atmand.history.bars import BAR, Bars
from atmand.research.slippage import net_at, slippage_of, slippage_of_fills

MINUTE = 60 * 10**9
SECOND = 10**9


@pytest.mark.parametrize(
    ("second", "side", "price", "purpose", "slipped"),
    [
        (5, 1, 10_005, Purpose.ENTRY, 5),  # the open, half the spread
        (5, -1, 9_990, Purpose.ENTRY, 10),
        (20, -1, 9_795, Purpose.EXIT, 5),  # the bar rose, so its low comes first
        (40, 1, 10_405, Purpose.EXIT, 5),
        (55, 1, 10_205, Purpose.EXIT, 5),
        (55, -1, 10_300, Purpose.TARGET, 0),  # it rested at its limit
        (5, 1, 9_995, Purpose.ENTRY, -5),  # better than the mid
        (61, 1, 10_005, Purpose.ENTRY, 0),  # no bar stands there
    ],
)
def test_a_fill_slips_by_its_distance_from_the_step(
    second: int, side: int, price: int, purpose: Purpose, slipped: int
) -> None:
    bar = np.array([(MINUTE, 10_000, 10_400, 9_800, 10_200, 1_000)], BAR)
    fill = np.zeros(1, AUDIT)
    fill["instrument"], fill["time_ns"], fill["side"] = 1, MINUTE + second * SECOND, side
    fill["price"], fill["quantity"], fill["state"] = price, 3, purpose
    bars = Bars("made", ("AAA", "BBB"), {"AAA": bar[:0], "BBB": bar})
    assert slippage_of_fills(fill, bars).tolist() == [3 * slipped]


def test_the_slippage_of_trades_is_that_of_their_fills() -> None:
    done, bars = result(), made_bars()
    slipped = slippage_of(done.trades, done.fills, bars)
    assert len(slipped.trades) == len(done.trades) > 10
    assert slipped.total_paise == slippage_of_fills(done.fills, bars).sum() > 0
    # A tick at entry, a tick at an exit that does not rest: with books this deep nothing more.
    for trade, paise in zip(done.trades, slipped.trades, strict=True):
        assert paise == trade.quantity * 5 * (1 if trade.exit_reason == "target" else 2)


def test_net_moves_with_the_slippage() -> None:
    assert net_at(1_000, 300) == {"0.5": 1_150, "1": 1_000, "2": 700}
