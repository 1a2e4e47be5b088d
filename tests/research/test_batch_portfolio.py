"""Two strategies in one account: the batch driver settles and nets what the record-driven fold does.

Compiled, with ATMAND_EXHAUSTIVE=1; `test_drawn_parity.py` meets netting with the compiler off every time.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from test_backtest import CAPITAL, STRATEGY, made_bars

from atmand.core.opening import BookLimits
from atmand.core.records import Kind
from atmand.core.words import Reason
from atmand.history.bars import aligned
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import parse_strategy
from atmand.market.instruments import Instrument
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of
from atmand.research.batch import Batch

AGAINST = STRATEGY.replace("probe", "against").replace("crosses_above", "x").replace("crosses_below", "crosses_above")


@pytest.mark.skipif(
    os.environ.get("ATMAND_EXHAUSTIVE") != "1", reason="compiles for half a minute; ATMAND_EXHAUSTIVE=1"
)
def test_both_drivers_net_the_same_orders_at_the_same_prices() -> None:
    texts = (STRATEGY, AGAINST.replace("x(ema", "crosses_below(ema"))
    program = build(generate([Deployment(parse_strategy(text, "s.toml")) for text in texts]))
    bars = made_bars(80)
    listed = [
        Instrument(
            key=f"NSE:EQ:{symbol}", isin="", token=(n + 1) << 8 | 1, exchange="NSE", segment="EQ", symbol=symbol,
            name=symbol, price_scale=100, tick=5, lot=1, freeze=0, lower_band=0, upper_band=0, tradable=True, sector="",
        )
        for n, symbol in enumerate(bars.series)
    ]  # fmt: skip
    pairs = [(book, place) for book in range(2) for place in range(2)]
    market = DrivenMarket([(one, 0) for one in listed], pairs, [BookLimits(CAPITAL)] * 2, None, {})
    times, grid, present = aligned(bars)
    rows: list[np.ndarray] = []
    driver = BarDriver(program, market, rows.append)
    for day, places in days_of(times):
        driver.open(day)
        driver.run(grid[places], present[places])
    fills = np.concatenate(rows)
    fills = fills[fills["kind"] == Kind.AUDIT_FILL]
    netted = fills[fills["reason"] == Reason.NETTED]
    assert len(netted) >= 4 and (netted["side"] * netted["value"]).sum() == 0

    run = Batch(program, market, times, grid, present).run()
    assert run.result["fingerprint"][0] == driver.engine.header["fingerprint"]
    assert run.equity_paise[-1] == driver.engine.table("books")["equity_paise"].sum()
