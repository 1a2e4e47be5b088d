"""The bars and the strategy that back-test, sweep and scale share: one generated market, one set of rules.

Bars are minutes of whole sessions; prices are a geometric random walk with a range in each bar, rounded to the tick.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BARS",
    "CAPITAL_PAISE",
    "COSTS_DAY",
    "STRATEGY",
    "columns",
    "deployed",
    "market",
    "minutes",
    "opened",
    "rupees",
]

BARS: Final = 94_000
"""A year of one-minute bars."""
CAPITAL_PAISE: Final = 10**12
COSTS_DAY: Final = date(2026, 7, 6)
_SESSION_BARS: Final = 375
_MINUTE_NS: Final = 60_000_000_000
_FIRST: Final = date(2011, 1, 3)
_TICK_PAISE: Final = 5
_START_RUPEES: Final = 1_000.0
_VOLATILITY: Final = 0.0008
STRATEGY: Final = """
name = "{name}"
summary = "MACD's histogram turns up while RSI is not high; held over night"
universe = {universe}
bar = "1m"

[params]
rsi_period = {{ default = 14, range = [5, 30], step = 1, unit = "bars" }}
rsi_high = {{ default = 80, range = [60, 95], step = 1 }}
rsi_entry = {{ default = 70, range = [55, 90], step = 1 }}
fast = {{ default = 12, range = [5, 20], step = 1, unit = "bars" }}
slow = {{ default = 26, range = [21, 40], step = 1, unit = "bars" }}
smooth = {{ default = 9, range = [3, 20], step = 1, unit = "bars" }}

[signals]
strength = "rsi(rsi_period)"
momentum = "macd(fast, slow, smooth).hist"

[entry]
long = "crosses_above(momentum, 0) and strength < rsi_entry"

[exit]
long = "crosses_below(momentum, 0) or strength > rsi_high"

[trade]
product = "CNC"

[size]
value = 100000
"""


def minutes(bars: int) -> NDArray[np.int64]:
    """Return the starts of so many minutes of weekdays' sessions."""
    from atmand.market.sessions import ns

    days = (_FIRST + timedelta(days=offset) for offset in range(2 * bars))
    opens = (ns(day, "09:15") for day in days if day.weekday() < 5)
    offsets = np.arange(_SESSION_BARS) * _MINUTE_NS
    sessions = [open_ns + offsets for open_ns, _ in zip(opens, range(-(-bars // _SESSION_BARS)), strict=False)]
    return np.concatenate(sessions)[:bars]


def columns(symbols: int, bars: int) -> NDArray[np.int64]:
    """Return open, high, low, close in paise and the volume: (5, symbols, bars)."""
    return np.stack([_walk(bars, seed) for seed in range(symbols)], axis=1)


def rupees(data: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the prices of `columns` as floats: (4, symbols, bars)."""
    return np.ascontiguousarray(data[:4]) / 100.0


def market(names: list[str], data: NDArray[np.int64]) -> Any:
    """Make the bars of `columns` what `history.load_bars` gives."""
    from atmand.history.bars import BAR, Bars

    starts = minutes(data.shape[2])
    series = {}
    for place, name in enumerate(names):
        rows = np.zeros(len(starts), BAR)
        rows["start_ns"] = starts
        for column, values in zip(("open", "high", "low", "close", "volume"), data[:, place], strict=True):
            rows[column] = values
        series[name] = rows
    return Bars("generated", tuple(names), series)


def deployed(symbols: list[str], count: int = 1) -> list[Any]:
    """Return so many deployments of the strategy; a constant in the rules makes each a structure of its own."""
    from atmand.lang.program import Deployment
    from atmand.lang.strategy import parse_strategy

    made = []
    for place in range(count):
        name = "bench" if place == 0 else f"bench{place}"
        text = STRATEGY.format(name=name, universe=json.dumps([f"NSE:{symbol}" for symbol in symbols]))
        text = text.replace("momentum, 0)", f"momentum, 0.0{place:02})" if place else "momentum, 0)")
        made.append(Deployment(parse_strategy(text, f"{name}.toml"), "backtest"))
    return made


def opened(data: NDArray[np.int64], strategies: int = 1) -> tuple[Any, Any, Any]:
    """Return program, market and lined-up bars of a back-test; limits are set and bind nobody."""
    from atmand.core.opening import BookLimits, PortfolioLimits
    from atmand.history.bars import aligned
    from atmand.lang.build import build
    from atmand.lang.program import generate
    from atmand.research.backtest import instruments_of, pairs_of
    from atmand.research.bar_driver import DrivenMarket

    names = [f"S{place}" for place in range(data.shape[1])]
    deployments = deployed(names, strategies)
    program = build(generate(deployments))
    listed = instruments_of(names)
    pairs = pairs_of(deployments, listed)
    far = CAPITAL_PAISE * strategies
    book = BookLimits(
        CAPITAL_PAISE, CAPITAL_PAISE, CAPITAL_PAISE, CAPITAL_PAISE, open_positions=len(pairs), orders_a_day=10**6
    )
    shared = PortfolioLimits(
        account_positions=len(pairs), underlying_positions=len(pairs), sector_positions=len(pairs),
        gross_paise=far, net_paise=far, gross_of_equity=10_000, net_of_equity=10_000,
    )  # fmt: skip
    terms = DrivenMarket([(one, 0) for one in listed], pairs, [book] * strategies, COSTS_DAY, {}, shared)
    return program, terms, aligned(market(names, data))


def _walk(bars: int, seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    close = _START_RUPEES * np.exp(np.cumsum(random.normal(0, _VOLATILITY, bars)))
    first = np.concatenate(([_START_RUPEES], close[:-1]))
    reach = np.abs(random.normal(0, _VOLATILITY / 2, (2, bars)))
    high, low = np.maximum(first, close) * (1 + reach[0]), np.minimum(first, close) * (1 - reach[1])
    prices = [np.rint(price * 100 / _TICK_PAISE).astype(np.int64) * _TICK_PAISE for price in (first, high, low, close)]
    return np.stack([*prices, np.full(bars, 100_000, np.int64)])
