"""Prints how many allocations one call of the fold made, for a frame of one tick and for one of a thousand."""

from __future__ import annotations

import numpy as np
from core_market import Book, Market, program_for
from numba.core.runtime import rtsys

from atmand.core.records import Kind
from atmand.core.ticks import TICK

market = Market([Book("steer", values={"long_above": 1.0}), Book("quick", "beta")])
program = program_for(market.books_of_test)
arena = market.engine.layout.arena
for count in (1, 1000):
    ticks = np.zeros(count, TICK)
    ticks["token"], ticks["packet"], ticks["last_price"] = market.shares[0].token, 184, 100_000
    ticks["bid"]["price"], ticks["ask"]["price"] = 99_995, 100_005
    ticks["bid"]["quantity"] = ticks["ask"]["quantity"] = 1_000
    for second in (30, 90, 150):
        time_ns = market.open_ns + second * 1_000_000_000
        ticks["exchange_ns"] = time_ns
        before = rtsys.get_allocation_stats()
        outputs = program.apply(arena, int(Kind.FRAME), ticks.view(np.uint8), count, 1, time_ns)
        after = rtsys.get_allocation_stats()
        print(count, outputs, after.alloc - before.alloc, after.free - before.free)
    market = Market(market.books_of_test)
    arena = market.engine.layout.arena
