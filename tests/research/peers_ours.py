"""The five strategies of `peers_backtesting.py` in our language, and the market that both trade in.

Run as a script it prints `{strategy: [[entry bar, exit bar, units, entry price, exit price], ...]}`, prices in paise.
The test runs it with the compiler off: that is quicker than compiling five strategies, and makes the same orders.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Final

import numpy as np

from atmand.core.opening import BookLimits
from atmand.history.bars import BAR, Bars
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.market.sessions import ns
from atmand.research.backtest import Backtest, run_backtest

DAYS: Final = tuple(date(2026, 7, day) for day in (6, 7, 8, 9, 10))
TICK: Final = 5
_MINUTES: Final = 375
_FORM: Final = """
name = "{name}"
universe = ["NSE:AAA"]
[session]
entry_to = "15:10"
square_off = "15:15"
[size]
quantity = 10
{rules}
"""
RULES: Final = {
    "averages": """
[entry]
long = "sma(5) > sma(20) + 0.0123"
short = "sma(5) < sma(20) - 0.0123"
[exit]
long = "sma(5) < sma(20) - 0.0123"
short = "sma(5) > sma(20) + 0.0123"
""",
    "strength": """
[entry]
long = "rsi(14) < 30"
[exit]
long = "rsi(14) > 55"
""",
    "breakout": """
[entry]
long = "close > highest(high, 20)[1]"
short = "close < lowest(low, 20)[1]"
[exit]
long = "close < lowest(low, 8)[1]"
short = "close > highest(high, 8)[1]"
""",
    "reversion": """
[entry]
long = "rolling_zscore(20) < -2"
short = "rolling_zscore(20) > 2"
[exit]
long = "rolling_zscore(20) > -0.1"
short = "rolling_zscore(20) < 0.1"
""",
    "stopped": """
[entry]
long = "change(close, 3) > 0.4567"
short = "change(close, 3) < -0.4567"
[exit]
long = "close - entry_price < -0.7512"
short = "entry_price - close < -0.7512"
[stop]
bars = 6
""",
}


def market() -> Bars:
    """Draw five whole sessions of one share."""
    rng = np.random.default_rng(17)
    rows = np.zeros(_MINUTES * len(DAYS), BAR)
    rows["start_ns"] = np.concatenate([ns(day, "09:15") + np.arange(_MINUTES) * 60 * 10**9 for day in DAYS])
    close = 50_000 + np.cumsum(rng.integers(-8, 9, len(rows))) * TICK
    rows["close"] = close
    rows["open"] = np.concatenate([[50_000], close[:-1]]) + rng.integers(-2, 3, len(rows)) * TICK
    rows["high"] = np.maximum(rows["open"], rows["close"]) + rng.integers(0, 6, len(rows)) * TICK
    rows["low"] = np.minimum(rows["open"], rows["close"]) - rng.integers(0, 6, len(rows)) * TICK
    rows["volume"] = rng.integers(50_000, 90_000, len(rows))
    return Bars("made", ("AAA",), {"AAA": rows})


def main() -> None:
    """Trade the five strategies, each in an account of its own: books of one account would be netted."""
    texts = {name: _FORM.format(name=name, rules=rules) for name, rules in RULES.items()}
    deployments = [Deployment(parse_strategy(text, f"{name}.toml"), account=name) for name, text in texts.items()]
    bars = market()
    result = run_backtest(Backtest(deployments, bars, [BookLimits(10**11)] * len(deployments)))
    starts = bars.series["AAA"]["start_ns"]
    found: dict[str, list[tuple[int, ...]]] = {name: [] for name in RULES}
    for trade in sorted(result.trades, key=lambda trade: trade.entry_ns):
        bar = [int(np.searchsorted(starts, at, side="right")) - 1 for at in (trade.entry_ns, trade.exit_ns)]
        prices = [value // trade.quantity for value in (trade.entry_value, trade.exit_value)]
        found[trade.strategy].append((*bar, trade.quantity if trade.side == "BUY" else -trade.quantity, *prices))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
