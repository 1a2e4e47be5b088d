"""The peers' contestants of back-test and sweep: `_peers.py WHO FILE`, run by the interpreter that has them.

Each does what its own users would write for the same rules. All buy and sell at the bar's close with a proportional
cost, but nautilus_trader, which sends market orders and is given no costs.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from _contestants import SETS  # noqa: E402
from _turns import serve  # noqa: E402

FEE, SLIP, ENTRY, LEAVE = 0.0005, 0.0002, 70.0, 80.0
_SWEPT = 200
"""vectorbt runs so many of the sets, in chunks of a hundred: all at once would not fit in memory."""


def _prices(path: str) -> Any:
    return np.ascontiguousarray(np.load(path, mmap_mode="r")[:4]) / 100.0


def _signals(strength: Any, histogram: Any, entry: Any = ENTRY, leave: Any = LEAVE) -> tuple[Any, Any]:
    before = np.concatenate((np.full_like(histogram[:1], np.nan), histogram[:-1]))
    up, down = (before <= 0) & (histogram > 0), (before >= 0) & (histogram < 0)
    return up & (strength < entry), down | (strength > leave)


def talib_loop(path: str) -> Any:
    """Arrays of TA-Lib, positions in a Python loop over the crossings."""
    import talib

    closes = _prices(path)[3]

    def run() -> dict[str, Any]:
        orders = 0
        for close in closes:
            entries, exits = _signals(talib.RSI(close, 14), talib.MACD(close, 12, 26, 9)[2])
            cash, held = 1e6, 0.0
            for t in np.flatnonzero(entries | exits):
                if held == 0.0 and entries[t]:
                    held = cash / (close[t] * (1 + SLIP) * (1 + FEE))
                    orders += 1
                elif held > 0.0 and exits[t]:
                    cash = held * close[t] * (1 - SLIP) * (1 - FEE)
                    held = 0.0
                    orders += 1
        return {"orders": orders}

    return run


def _frame(closes: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(closes.T, index=pd.date_range("2025-01-01", periods=closes.shape[1], freq="min"))


def vectorbt(path: str) -> Any:
    import vectorbt as vbt

    frame = _frame(_prices(path)[3])

    def run() -> dict[str, Any]:
        strength = vbt.RSI.run(frame, 14, ewm=True).rsi.values
        macd = vbt.MACD.run(frame, 12, 26, 9, macd_ewm=True, signal_ewm=True)
        entries, exits = _signals(strength, macd.macd.values - macd.signal.values)
        made = vbt.Portfolio.from_signals(frame, entries, exits, fees=FEE, slippage=SLIP, init_cash=1e6, freq="1min")
        made.total_return()
        return {"orders": int(made.orders.count().sum())}

    return run


def vectorbt_sweep(path: str) -> Any:
    import vectorbt as vbt

    close = _frame(_prices(path)[3])[0]

    def part(sets: Any) -> None:
        period, leave, entry, fast, slow, smooth = (np.array(values) for values in zip(*sets, strict=True))
        strength = vbt.RSI.run(close, window=period, ewm=True, param_product=False).rsi.values
        macd = vbt.MACD.run(
            close, fast_window=fast, slow_window=slow, signal_window=smooth, macd_ewm=True, signal_ewm=True,
            param_product=False,
        )  # fmt: skip
        entries, exits = _signals(strength, macd.macd.values - macd.signal.values, entry, leave)
        made = vbt.Portfolio.from_signals(close, entries, exits, fees=FEE, slippage=SLIP, init_cash=1e6, freq="1min")
        made.total_return(), made.max_drawdown()

    def run() -> dict[str, Any]:
        for first in range(0, _SWEPT, 100):
            part(SETS[first : first + 100])
        return {"sets": _SWEPT}

    return run


def backtesting(path: str) -> Any:
    import pandas as pd
    import talib
    from backtesting import Backtest, Strategy

    prices = _prices(path)
    index = pd.date_range("2025-01-01", periods=prices.shape[2], freq="min")

    class Rules(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            close = np.asarray(self.data.Close)
            self.strength = self.I(talib.RSI, close, 14)
            self.histogram = self.I(lambda x: talib.MACD(x, 12, 26, 9)[2], close)

        def next(self) -> None:
            if len(self.histogram) < 36:
                return
            before, now, strength = self.histogram[-2], self.histogram[-1], self.strength[-1]
            if not self.position:
                if before <= 0 < now and strength < ENTRY:
                    self.buy()
            elif (before >= 0 > now) or strength > LEAVE:
                self.position.close()

    names = ("Open", "High", "Low", "Close")
    frames = [
        pd.DataFrame({**dict(zip(names, prices[:, k], strict=True)), "Volume": 1.0}, index=index)
        for k in range(prices.shape[1])
    ]

    def run() -> dict[str, Any]:
        trades = 0
        for frame in frames:
            test = Backtest(
                frame, Rules, cash=1e6, commission=FEE, spread=2 * SLIP, trade_on_close=True, finalize_trades=True
            )
            trades += int(test.run()["# Trades"])
        return {"orders": 2 * trades}

    return run


def nautilus(path: str, sends: bool = True) -> Any:
    from decimal import Decimal

    import pandas as pd
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
    from nautilus_trader.indicators import (
        ExponentialMovingAverage,
        MovingAverageConvergenceDivergence,
        MovingAverageType,
        RelativeStrengthIndex,
    )
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.persistence.wranglers import BarDataWrangler
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    class Settings(StrategyConfig, frozen=True):  # type: ignore[misc, call-arg]
        bar_type: BarType

    class Rules(Strategy):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.strength = RelativeStrengthIndex(14, MovingAverageType.WILDER)
            self.macd = MovingAverageConvergenceDivergence(12, 26, MovingAverageType.EXPONENTIAL)
            self.smooth = ExponentialMovingAverage(9)
            self.before, self.seen, self.orders = 0.0, 0, 0

        def on_start(self) -> None:
            bar_type = self.config.bar_type
            self.register_indicator_for_bars(bar_type, self.strength)
            self.register_indicator_for_bars(bar_type, self.macd)
            self.instrument = self.cache.instrument(bar_type.instrument_id)
            self.quantity = self.instrument.make_qty(100)
            self.subscribe_bars(bar_type)

        def on_bar(self, bar: Any) -> None:
            self.seen += 1
            self.smooth.update_raw(self.macd.value)
            now, strength = self.macd.value - self.smooth.value, self.strength.value * 100
            if self.seen > 35 and sends:
                flat = self.portfolio.is_flat(self.instrument.id)
                if flat and self.before <= 0 < now and strength < ENTRY:
                    self._send(OrderSide.BUY)
                elif not flat and ((self.before >= 0 > now) or strength > LEAVE):
                    self._send(OrderSide.SELL)
            self.before = now

        def _send(self, side: Any) -> None:
            self.submit_order(self.order_factory.market(self.instrument.id, side, self.quantity))
            self.orders += 1

    opened, high, low, close = _prices(path)[:, 0]
    instrument = TestInstrumentProvider.equity(symbol="S0", venue="XNSE")
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    frame = pd.DataFrame(
        {"open": opened, "high": high, "low": low, "close": close, "volume": 1e6},
        index=pd.date_range("2025-01-01", periods=len(close), freq="min", tz="UTC"),
    ).round(2)
    bars = BarDataWrangler(bar_type, instrument).process(frame)

    def run() -> dict[str, Any]:
        engine = BacktestEngine(
            BacktestEngineConfig(
                logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True),
                run_analysis=False,
            )
        )  # fmt: skip
        engine.add_venue(
            Venue("XNSE"), OmsType.NETTING, AccountType.MARGIN, [Money(1e9, USD)], base_currency=USD,
            default_leverage=Decimal(10),
        )  # fmt: skip
        engine.add_instrument(instrument)
        engine.add_data(bars)
        rules = Rules(Settings(bar_type=bar_type, strategy_id="S-0", order_id_tag="0"))
        engine.add_strategy(rules)
        engine.run()
        orders = rules.orders
        engine.dispose()
        return {"orders": orders}

    return run


_WHO = {
    "talib": talib_loop,
    "vectorbt": vectorbt,
    "vectorbt-sweep": vectorbt_sweep,
    "backtesting": backtesting,
    "nautilus": nautilus,
    "nautilus-quiet": lambda path: nautilus(path, sends=False),
}


if __name__ == "__main__":
    serve(lambda: _WHO[sys.argv[1]](sys.argv[2]))
