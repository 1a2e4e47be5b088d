"""What an expression may know of its own position, beside what the books say of it."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atmand.core.layout import VERDICT
from atmand.core.opening import BookLimits
from atmand.history.bars import BAR
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import parse_strategy
from atmand.market.sessions import ns
from atmand.research.backtest import instruments_of, pairs_of
from atmand.research.bar_driver import BarDriver, DrivenMarket

DAY = date(2026, 7, 6)
MINUTE = 60_000_000_000
NAMES = ("position", "entry_price", "bars_held", "profit", "profit_r", "trades_today", "position_value")
TEXT = """
name = "{name}"
universe = ["NSE:AAA"]
entry.short = "minutes_since_open == 3"
exit.short = "bars_held >= 5"
stop.loss = 20
size.quantity = 10
trade.rank = "{name}"
"""


def bars(n: int) -> NDArray[Any]:
    """Bars that fall by a rupee a minute."""
    made = np.zeros((n, 1), BAR)
    made["start_ns"][:, 0] = ns(DAY, "09:15") + np.arange(n) * MINUTE
    made["open"][:, 0] = 100_000 - 100 * np.arange(n)
    made["close"] = made["open"] - 100
    made["high"], made["low"] = made["open"] + 5, made["close"] - 5
    made["volume"] = 100_000
    return made


def test_the_positions_names_say_what_the_books_say() -> None:
    deployments = [Deployment(parse_strategy(TEXT.format(name=name), f"{name}.toml"), name=name) for name in NAMES]
    instruments = instruments_of(("AAA",))
    market = DrivenMarket([(instruments[0], 0)], pairs_of(deployments, instruments), [BookLimits(10**10)] * len(NAMES))
    driver = BarDriver(build(generate(deployments)), market, lambda rows: None)
    driver.open(DAY)
    drawn, volume = bars(12), np.zeros(1, np.int64)
    held = 0
    for at in range(len(drawn)):
        driver._fold(drawn[at : at + 1], np.ones((1, 1), np.bool_), volume)
        before = driver.engine.table("pairs").copy()
        driver._timers(int(drawn["start_ns"][at, 0]) + MINUTE + 1_500_000_000)
        arena, close = driver.engine.layout.arena, float(drawn["close"][at, 0]) / 100
        told = {}
        for name, pair in zip(NAMES, before, strict=True):
            slab = int(pair["slab_at"])
            told[name] = float(arena[slab : slab + VERDICT.itemsize].view(VERDICT)["rank"][0])
        pair = before[0]
        assert told["trades_today"] == pair["trades_today"]
        assert told["position"] == pair["quantity"]
        if pair["quantity"] == 0:
            assert all(math.isnan(told[name]) for name in ("entry_price", "profit", "profit_r"))
            assert told["bars_held"] == told["position_value"] == 0
            continue
        held += 1
        paid = float(pair["entry_value"]) / float(pair["entry_quantity"]) / 100
        assert (told["position"], told["entry_price"], told["bars_held"]) == (-10, paid, held)
        np.testing.assert_allclose((told["profit"], told["profit_r"]), (paid - close, (paid - close) / 20), rtol=1e-12)
        assert told["position_value"] == 10 * close
    assert held == 5
