"""Five strategies in backtesting.py's own words, in its own interpreter: bars as JSON in, trades as JSON out.

Input: {"start_ns": [...], "open": [...], "high": ..., "low": ..., "close": ..., "volume": ...}, prices in rupees.
Output: {"version": ..., "trades": {strategy: [[entry bar, exit bar, units, entry price, exit price], ...]}}.
"""

import json
import sys
import warnings

import backtesting
import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy

TICK = 0.05
UNITS = 10


def windows(values, n):
    """Every window of n values, a row a bar; the first n - 1 bars have none."""
    rows = np.full((len(values), n), np.nan)
    rows[n - 1 :] = np.lib.stride_tricks.sliding_window_view(values, n)
    return rows


def mean(values, n):
    return windows(values, n).mean(axis=1)


def deviation(values, n):
    return windows(values, n).std(axis=1, ddof=1)


def shifted(values, n):
    return np.concatenate([np.full(n, np.nan), values[:-n]])


def strength(values, n):
    """Wilder's relative strength index, begun with a simple mean as TA-Lib does."""
    found = np.full(len(values), np.nan)
    steps = np.diff(values)
    gain, loss = np.maximum(steps, 0), np.maximum(-steps, 0)
    up, down = gain[:n].mean(), loss[:n].mean()
    for bar in range(n, len(values)):
        if bar > n:
            up, down = (up * (n - 1) + gain[bar - 1]) / n, (down * (n - 1) + loss[bar - 1]) / n
        found[bar] = 100 * up / (up + down) if up + down else np.nan
    return found


class Intraday(Strategy):
    """Decides on closed bars: leaves or enters, one of them a bar, and is flat from 15:15 on."""

    def init(self):
        self.rules(*(np.asarray(getattr(self.data, name)) for name in ("Open", "High", "Low", "Close")))
        ends = self.data.index + pd.Timedelta(minutes=1)
        minute = np.asarray(ends.hour * 60 + ends.minute)
        self.may_enter = minute < 15 * 60 + 10
        self.must_leave = minute == 15 * 60 + 15

    def next(self):
        bar = len(self.data) - 1
        if self.position:
            left = self.long_out if self.position.is_long else self.short_out
            if left[bar] or self.must_leave[bar] or self.leaves(bar):
                self.position.close()
        elif self.may_enter[bar]:
            if self.long[bar]:
                self.buy(size=UNITS)
            elif self.short[bar]:
                self.sell(size=UNITS)

    def leaves(self, bar):
        return False


class Averages(Intraday):
    def rules(self, opened, high, low, close):
        fast, slow = mean(close, 5), mean(close, 20)
        self.long, self.short = fast > slow + 0.0123, fast < slow - 0.0123
        self.long_out, self.short_out = fast < slow - 0.0123, fast > slow + 0.0123


class Strength(Intraday):
    def rules(self, opened, high, low, close):
        rsi = strength(close, 14)
        self.long, self.long_out = rsi < 30, rsi > 55
        self.short = self.short_out = np.zeros(len(close), bool)


class Breakout(Intraday):
    def rules(self, opened, high, low, close):
        top, bottom = shifted(windows(high, 20).max(axis=1), 1), shifted(windows(low, 20).min(axis=1), 1)
        inner_top, inner_bottom = shifted(windows(high, 8).max(axis=1), 1), shifted(windows(low, 8).min(axis=1), 1)
        self.long, self.short = close > top, close < bottom
        self.long_out, self.short_out = close < inner_bottom, close > inner_top


class Reversion(Intraday):
    def rules(self, opened, high, low, close):
        apart = (close - mean(close, 20)) / deviation(close, 20)
        self.long, self.short = apart < -2, apart > 2
        self.long_out, self.short_out = apart > -0.1, apart < 0.1


class Stopped(Intraday):
    """Leaves after six closed bars, or on a close that is three quarters of a rupee beyond what the entry paid."""

    def rules(self, opened, high, low, close):
        step = close - shifted(close, 3)
        self.long, self.short = step > 0.4567, step < -0.4567
        self.long_out = self.short_out = np.zeros(len(close), bool)

    def leaves(self, bar):
        trade = self.trades[0]
        side = 1 if trade.is_long else -1
        paid = trade.entry_price + side * TICK
        return (self.data.Close[-1] - paid) * side < -0.7512 or bar - trade.entry_bar + 1 >= 6


def trades_of(data, strategy):
    stats = Backtest(data, strategy, cash=1e9, finalize_trades=False).run()
    rows = stats._trades.sort_values("EntryBar")
    return rows[["EntryBar", "ExitBar", "Size", "EntryPrice", "ExitPrice"]].values.tolist()


def main():
    warnings.simplefilter("ignore")
    bars = json.load(sys.stdin)
    index = pd.to_datetime(bars.pop("start_ns"), utc=True).tz_convert("Asia/Kolkata").tz_localize(None)
    data = pd.DataFrame({name.title(): values for name, values in bars.items()}, index=index)
    trades = {
        each.__name__.lower(): trades_of(data, each) for each in (Averages, Strength, Breakout, Reversion, Stopped)
    }
    json.dump({"version": backtesting.__version__, "trades": trades}, sys.stdout)


if __name__ == "__main__":
    main()
