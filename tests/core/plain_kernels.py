"""Calls every kernel that takes plain numbers or single records on hard inputs, and prints the bits of all results.

    python plain_kernels.py

`test_plain_kernels.py` runs it here and with the compiler off. A row of `CASES` is a kernel, what it takes (a letter an
argument, see `VALUES`) and what it returns (`f` float, `i` integer). Behind a `:` stands the dtype of a state, which a
kernel keeps over all its calls; a look-back is the same for all of them, as it is in a strategy.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import numpy as np

from atmand.core import (
    bars,
    batch,
    contracts,
    crossing,
    day,
    exits,
    functions,
    matching,
    netting,
    orders,
    portfolio,
    risk,
    sizing,
)
from atmand.core.indicators import registry
from atmand.core.jit import kernel_rows, local_routine
from atmand.core.layout import ARENA, INSTRUMENT
from atmand.market import bar_path, costs, option_pricing

INTEGERS: Final = (0, 1, -1, 2, 7, -10_000, 10**9 + 7, 10**15, 2**62, 2**63 - 1, -(2**63) + 1, -(2**63))
FLOATS: Final = (
    0.0, -0.0, 1.0, -1.0, -2.0, 0.5, 2.5, -2.5, 1e-300, -1e300, 1.7e308, 5e-324, 22_500.05, 2.0**52 + 1, 709.5, 1e9,
    1e12, np.inf, -np.inf, np.nan,
)  # fmt: skip
TIMES: Final = (0, 1, -1, 1_783_309_500 * 10**9, 1_783_309_559_999_999_999, -(10**15), 2**62, 2**63 - 1)
VALUES: Final[dict[str, tuple[Any, ...]]] = {
    # f any float, u a price or a volatility, r a rate, y years; i any integer, n a count, k a look-back, d a divisor,
    # t a time, s a side, p an option's right, b a condition; rows of h headers, m instruments, c costs.
    "f": FLOATS,
    "u": (0.0, -1.0, 0.05, 1.0, 22_500.05, 40.0, np.inf, np.nan),
    "r": (0.0, 0.07, -0.01, np.nan),
    "y": (0.25, 0.0, -1.0, 1 / 365, 30.0, np.inf, np.nan),
    "i": INTEGERS,
    "n": (1, 2, 3, 4),
    "k": (2,),
    "d": (1, 3, 5, 60_000_000_000),
    "t": TIMES,
    "s": (1, -1),
    "p": (1, -1),
    "b": (0, 1, 0, 0, 0, 1, 1, 1, 0, 1),
    "h": tuple(range(6)),
    "m": tuple(range(12)),
    "c": tuple(range(4)),
}
MOST: Final = 2_000
"""Calls of one kernel: of more combinations every so many-th is taken."""

_F: Final = functions
CASES: Final[tuple[tuple[Callable[..., Any], str, str], ...]] = (
    *((each, "f", "f") for each in (
        _F.floor, _F.whole, _F.square, _F.cube, _F.fourth, _F.square_root, _F.logarithm, _F.exponential, _F.sign,
    )),
    *((each, "ff", "f") for each in (_F.divide, _F.modulo, _F.floor_divide, _F.smaller, _F.larger)),
    (_F.clip, "fff", "f"), (registry.missing, "f", "i"),
    (registry.lookback, "fnn", "i"),
    (_F.shifted, "fk:history", "f"), (_F.count, "bk:flags", "f"), (_F.bars_since, "bk:event", "f"),
    (_F.valuewhen, "bfk:event", "f"), (_F.latch, "bbk:event", "i"), (_F.rising, "fk:run", "i"),
    (_F.falling, "fk:run", "i"), (crossing.crossing, "ff:crossing", "i"),
    (day.clock_minute, "t", "i"), (day.weekday_of, "t", "i"), (day.stream_end_ns, "hdt", "i"),
    (bars.bar_end_ns, "hdt", "i"), (bars._bucket_ns, "hdt", "i"), (batch.close_offset_ns, "h", "i"),
    (orders._latency_ns, "hi", "i"), (portfolio._limit, "iii", "i"),
    (netting.mid_price, "iid", "i"), (risk.round_to_tick, "iis", "i"), (risk.protected_limit, "hms", "i"),
    (risk._at_circuit, "ms", "i"), (matching._beyond_band, "mi", "i"), (contracts.mid_of, "m", "i"),
    (sizing.whole_lots, "mf", "i"), (exits.distance, "mfb", "i"), (exits.in_price, "ii", "i"),
    (costs.order_costs, "csi", "i"), (costs.dp_costs, "csi", "i"),
    (bar_path.step_price, "niiii", "i"), (bar_path.step_volume, "ni", "i"), (bar_path.level_price, "isnd", "i"),
    (bar_path.level_quantity, "i", "i"),
    (option_pricing.normal_cdf, "f", "f"), (option_pricing.black_price, "uuyrup", "f"),
    (option_pricing.delta, "uuyrup", "f"), (option_pricing.gamma, "uuyru", "f"), (option_pricing.vega, "uuyru", "f"),
    (option_pricing.theta, "uuyrup", "f"), (option_pricing.implied_volatility, "uuuyrp", "f"),
)  # fmt: skip

STATES: Final = {
    "history": _F.history(2),
    "flags": _F.flags(2),
    "event": _F.event(),
    "run": _F.run(),
    "crossing": crossing.CROSSING,
}
_CALL: Final = """
def run(ints, floats, heads, instruments, rates, states, out):
    for n in range(ints.shape[0]):
        out[n] = call({arguments})
"""
_READS: Final = {
    **dict.fromkeys("inktds", "ints[n, {}]"),
    **dict.fromkeys("fury", "floats[n, {}]"),
    "p": "ints[n, {}]",
    "b": "ints[n, {}] != 0",
    "h": "heads[ints[n, {}]]",
    "m": "instruments[ints[n, {}]]",
    "c": "rates[ints[n, {}]]",
}


def combinations(letters: str) -> tuple[np.ndarray, np.ndarray]:
    """Lay the arguments of a kernel's calls out: integers and floats, a row a call."""
    total = int(np.prod([len(VALUES[letter]) for letter in letters]))
    stride = max(1, total // MOST)
    stride += 1 - stride % 2  # an even step would miss half of the last argument's values
    rows = list(itertools.islice(itertools.product(*(VALUES[letter] for letter in letters)), 0, None, stride))
    ints, floats = np.zeros((len(rows), len(letters)), np.int64), np.zeros((len(rows), len(letters)))
    for column, letter in enumerate(letters):
        (floats if letter in "fury" else ints)[:, column] = [row[column] for row in rows]
    return ints, floats


def records() -> tuple[Any, Any, Any]:
    """Make headers, instruments and cost rows whose fields hold hard numbers too."""
    rng = np.random.default_rng(3)
    heads, instruments = np.zeros(6, ARENA), np.zeros(12, INSTRUMENT)
    heads["session_open_ns"], heads["session_close_ns"] = TIMES[3], TIMES[3] + 375 * 60 * 10**9
    heads["session_close_ns"][4:] = TIMES[-1]
    heads["grace_ns"], heads["grid_ns"] = [0, 10**9, 1, 10**9, 0, 2**61], [10**8, 1, 10**8, 7, 0, 10**8]
    heads["seed"], heads["protection_bps"] = [0, 1, 2**63, 2**64 - 1, 7, 9], [0, 100, 10_000, -1, 2**40, 1]
    heads["latency_low_ns"], heads["latency_high_ns"] = [0, 5, 10**9, 0, 9, 0], [0, 10**9, 10**9, 2**62, 1, 0]
    for name in ("last_price", "lower_band", "upper_band"):
        instruments[name] = rng.choice(INTEGERS, 12)
    instruments["tick"], instruments["lot"] = rng.choice([0, 1, 5, 10], 12), rng.choice([0, 1, 3, 75], 12)
    instruments["price_scale"] = rng.choice([100, 10_000], 12)
    for side in ("bid", "ask"):
        # Two prices are added: a sum beyond 64 bits is nobody's, and the compiler may take it for impossible.
        instruments[side]["price"] = rng.choice(
            [0, -1, 1, 7, 10_000, 10**9 + 7, 10**15, 2**61], (12, instruments[side].shape[1])
        )
    return kernel_rows(heads), kernel_rows(instruments), costs.cost_rows(date(2026, 7, 6))


def results() -> dict[str, list[str]]:
    """Return the bits of every result of every kernel, under its name."""
    heads, instruments, rates = records()
    found = {}
    for function, takes, returns in CASES:
        letters, _, state = takes.partition(":")
        arguments = [_READS[letter].format(place) for place, letter in enumerate(letters)]
        names: dict[str, Any] = {"call": function}
        exec(_CALL.format(arguments=", ".join(["states[0]"] * bool(state) + arguments)), names)
        states = kernel_rows(np.zeros(1, STATES[state or "run"]))
        ints, floats = combinations(letters)
        out = np.zeros(len(ints), np.float64 if returns == "f" else np.int64)
        with np.errstate(all="ignore"):
            local_routine(names["run"])(ints, floats, heads, instruments, rates, states, out)
        if returns == "f":
            out[np.isnan(out)] = np.nan  # a missing number has many bit patterns, and nobody reads them
        found[getattr(function, "py_func", function).__name__] = [f"{bits:x}" for bits in out.view(np.uint64).tolist()]
    return found


if __name__ == "__main__":
    print(json.dumps(results()))
