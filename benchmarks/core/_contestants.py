"""Our contestants of back-test and sweep, each a process of its own: `_contestants.py WHO FILE` (see `_turns.py`).

FILE holds the bars, as `_series.columns` makes them. Imports are those that a contestant needs, because the time from
the start of its process to its first result is a figure too.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from _turns import serve

SETS: Final = [
    (period, high, 150 - high, fast, slow, smooth)
    for period, high, fast, slow, smooth in itertools.product(
        (7, 10, 14, 18, 21), (72, 76, 80, 84), (8, 10, 12, 14, 16), (24, 26, 28, 30, 32), (9, 12)
    )
]
"""A thousand parameter sets: RSI's period, its bound of exit and of entry, MACD's three."""
_Run = Callable[[], Mapping[str, Any]]


def atmand(path: str) -> _Run:
    import numpy as np
    from _series import opened

    from atmand.research.batch import Batch

    program, market, lined_up = opened(np.load(path, mmap_mode="r"))
    batch = Batch(program, market, *lined_up)

    def run() -> dict[str, Any]:
        done = batch.run()
        row = done.result[0]
        return {"orders": int(row["orders"]), "trades": len(done.trades), "fingerprint": int(row["fingerprint"])}

    return run


def atmand_sweep(path: str) -> _Run:
    import numpy as np
    from _series import opened

    from atmand.research.batch import Batch

    program, market, lined_up = opened(np.load(path, mmap_mode="r"))
    batch, sets = Batch(program, market, *lined_up), np.array(SETS, np.float64)

    def run() -> dict[str, Any]:
        results, _ = batch.sweep(sets)
        return {"sets": len(results), "orders": int(results["orders"].sum())}

    return run


def limit(path: str) -> _Run:
    import numpy as np
    from _prototype import backtest
    from _series import rupees

    prices = rupees(np.load(path, mmap_mode="r"))
    equity = np.empty_like(prices[3])
    return lambda: {"orders": backtest(prices, equity)}


def registers(path: str) -> _Run:
    import numpy as np
    from _limit import limit_over
    from _series import rupees

    closes = list(rupees(np.load(path, mmap_mode="r"))[3])
    equity = np.empty_like(closes[0])
    return lambda: {"orders": limit_over(closes, equity)}


def limit_sweep(path: str) -> _Run:
    import numpy as np
    from _prototype import FEE, SLIP, sweep
    from _series import rupees

    close, sets = rupees(np.load(path, mmap_mode="r"))[3, 0], np.array(SETS, np.float64)
    out = np.empty((len(sets), 2))

    def run() -> dict[str, Any]:
        sweep(close, sets, FEE, SLIP, out)
        return {"sets": len(sets)}

    return run


_WHO: Final = {
    "atmand": atmand,
    "atmand-sweep": atmand_sweep,
    "limit": limit,
    "registers": registers,
    "limit-sweep": limit_sweep,
}


if __name__ == "__main__":
    from atmand.start import prepare_compiler

    prepare_compiler(None)
    serve(lambda: _WHO[sys.argv[1]](sys.argv[2]))
