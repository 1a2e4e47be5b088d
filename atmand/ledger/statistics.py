"""Figures of performance, folded mark by mark and trade by trade in constant memory; `LedgerFold` calls it.

Formulas, and where they are from:

- mean and deviation: Welford, Technometrics 4 (1962) 419; the sample's deviation, divisor n - 1;
- time-weighted return: GIPS 2020 (CFA Institute), provisions on total return: growth between flows is chained;
- Sharpe ratio: Sharpe, Journal of Portfolio Management 21 (1994) 49, with no risk-free rate;
- Sortino ratio: Sortino and Price, Journal of Investing 3 (1994) 59, target 0, downside over all days;
- Calmar ratio: Young, Futures 20 (1991) 40: compound annual growth over the worst drawdown;
- drawdown: Magdon-Ismail and Atiya, Risk 17 (2004) 99: loss from the highest value so far.

A year is 252 sessions. A figure that is not defined (one day, no loss, no deviation) is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

__all__ = ["NO_DEVIATION", "SESSIONS_A_YEAR", "Curve", "Returns", "Statistics", "TradeCounts"]

SESSIONS_A_YEAR: Final = 252
NO_DEVIATION: Final = 1e-12
"""Below this the deviation of daily returns is rounding."""


@dataclass(slots=True)
class Returns:
    """Returns of days, one after another: their moments and their product, not the days themselves."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared differences from the mean."""
    downside: float = 0.0
    """Sum of the squares of the negative returns."""
    growth: float = 1.0

    def push(self, value: float) -> None:
        """Add a day's return."""
        self.n += 1
        delta = value - self.mean
        self.mean += delta / self.n
        self.squares += delta * (value - self.mean)
        if value < 0:
            self.downside += value * value
        self.growth *= 1 + value

    def with_day(self, value: float) -> Returns:
        """Return these returns and one more, leaving these alone."""
        more = Returns(self.n, self.mean, self.squares, self.downside, self.growth)
        more.push(value)
        return more

    @property
    def deviation(self) -> float | None:
        """Sample deviation of a day's return."""
        return math.sqrt(self.squares / (self.n - 1)) if self.n > 1 else None

    @property
    def volatility(self) -> float | None:
        """Deviation of a year's return."""
        deviation = self.deviation
        return None if deviation is None else deviation * math.sqrt(SESSIONS_A_YEAR)

    @property
    def sharpe(self) -> float | None:
        deviation = self.deviation
        return None if deviation is None else _ratio(self.mean, deviation)

    @property
    def sortino(self) -> float | None:
        return _ratio(self.mean, math.sqrt(self.downside / self.n)) if self.n > 1 else None

    @property
    def annual_growth(self) -> float | None:
        """Compound annual growth rate."""
        if self.n < 2:
            return None
        try:
            return float(self.growth ** (SESSIONS_A_YEAR / self.n)) - 1
        except OverflowError:
            return None


@dataclass(slots=True)
class TradeCounts:
    """Closed trades, by their result after costs."""

    n: int = 0
    wins: int = 0
    losses: int = 0
    won_paise: int = 0
    lost_paise: int = 0
    """As a positive number."""

    def push(self, net_paise: int) -> None:
        """Add a trade's result; nothing won and nothing lost is neither a win nor a loss."""
        self.n += 1
        if net_paise > 0:
            self.wins += 1
            self.won_paise += net_paise
        elif net_paise < 0:
            self.losses += 1
            self.lost_paise -= net_paise


@dataclass(frozen=True, slots=True)
class Statistics:
    """How a book, an account or everything stands. Ratios are fractions (0.01 is a percent); None is undefined."""

    time_ns: int
    day: int
    """yyyymmdd of the session that the `day_` figures are of; 0 before the first."""
    equity_paise: int
    capital_paise: int
    positions: int
    profit_paise: int
    """After costs, open positions at their last price; what the operator added or took away is not profit."""
    costs_paise: int
    day_profit_paise: int
    day_costs_paise: int
    day_return: float
    total_return: float
    """Time-weighted, flows of capital excluded."""
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    drawdown_paise: int
    drawdown: float
    worst_drawdown_paise: int
    worst_drawdown: float
    days: int
    """Sessions that are over: what the annual figures are of."""
    past_days: int
    """How many of them were simulated before the market began."""
    trades: int
    past_trades: int
    day_trades: int
    wins: int
    win_rate: float | None
    profit_factor: float | None
    average_win_paise: float | None
    average_loss_paise: float | None
    """Negative."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON; nothing in it is NaN."""
        return asdict(self)


@dataclass(slots=True)
class Curve:
    """The value of a book, an account or everything over time, and what follows from it.

    The index begins at 1 and grows with the equity between two flows of capital; at a flow it is anchored anew, so that
    money added or taken away changes no return.
    """

    time_ns: int = 0
    equity: int = 0
    capital: int = 0
    positions: int = 0
    costs: int = 0
    profit: int = 0
    index: float = 1.0
    anchor_index: float = 1.0
    anchor_equity: int = 0
    peak_index: float = 1.0
    worst_drawdown: float = 0.0
    peak_profit: int = 0
    worst_drawdown_paise: int = 0
    day_opened: int = 0
    """Equity with which the day began."""
    day_flow: int = 0
    day_index: float = 1.0
    day_profit: int = 0
    """Profit up to the day's opening."""
    day_costs: int = 0
    day_trades: int = 0
    day_marked: bool = False
    past_days: int = 0
    past_trades: int = 0
    returns: Returns = field(default_factory=Returns)
    trades: TradeCounts = field(default_factory=TradeCounts)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Curve:
        """Read a curve back as `orjson` wrote it."""
        nested = {"returns": Returns(**document["returns"]), "trades": TradeCounts(**document["trades"])}
        return cls(**{**document, **nested})

    def flow(self, paise: int) -> None:
        """Add capital, or take it away where it is negative: neither profit nor return."""
        if self.time_ns == 0 or self.day_opened == 0 == self.equity:
            self.day_opened += paise  # it began on this day
        else:
            self.day_flow += paise
        self.equity += paise
        self.anchor_index, self.anchor_equity = self.index, self.equity

    def mark(self, time_ns: int, equity: int, costs: int = 0) -> None:
        """Take a new value; `costs` is what was paid since the last one."""
        self.profit += equity - self.equity
        self.time_ns, self.equity = time_ns, equity
        self.costs += costs
        self.day_marked = True
        if self.anchor_equity > 0:
            self.index = self.anchor_index * max(0, equity) / self.anchor_equity
        self.peak_index = max(self.peak_index, self.index)
        self.worst_drawdown = max(self.worst_drawdown, self.drawdown)
        self.peak_profit = max(self.peak_profit, self.profit)
        self.worst_drawdown_paise = max(self.worst_drawdown_paise, self.peak_profit - self.profit)

    def trade(self, net_paise: int, *, past: bool) -> None:
        """Count a closed trade."""
        self.trades.push(net_paise)
        self.day_trades += 1
        self.past_trades += past

    def end_day(self, *, past: bool) -> None:
        """Count the day's return, if it was marked at all, and begin the next day where it ended."""
        if self.day_marked:
            self.returns.push(self.day_return)
            self.past_days += past
        self.day_opened, self.day_index, self.day_profit, self.day_costs = (
            self.equity, self.index, self.profit, self.costs,
        )  # fmt: skip
        self.day_flow = self.day_trades = 0
        self.day_marked = False

    @property
    def drawdown(self) -> float:
        """Loss from the highest index so far, 0 to 1."""
        return 1 - self.index / self.peak_index

    @property
    def day_return(self) -> float:
        return self.index / self.day_index - 1 if self.day_index > 0 else 0.0

    def statistics(self, day: int, *, day_is_over: bool, past: bool) -> Statistics:
        """Return every figure as it stands; a day that is over counts among the days."""
        day_is_over = day_is_over and self.day_marked
        returns = self.returns.with_day(self.day_return) if day_is_over else self.returns
        trades, annual = self.trades, returns.annual_growth
        return Statistics(
            time_ns=self.time_ns,
            day=day,
            equity_paise=self.equity,
            capital_paise=self.capital,
            positions=self.positions,
            profit_paise=self.profit,
            costs_paise=self.costs,
            day_profit_paise=self.profit - self.day_profit,
            day_costs_paise=self.costs - self.day_costs,
            day_return=self.day_return,
            total_return=self.index - 1,
            annual_return=annual,
            volatility=returns.volatility,
            sharpe=returns.sharpe,
            sortino=returns.sortino,
            calmar=annual / self.worst_drawdown if annual is not None and self.worst_drawdown > 0 else None,
            drawdown_paise=self.peak_profit - self.profit,
            drawdown=self.drawdown,
            worst_drawdown_paise=self.worst_drawdown_paise,
            worst_drawdown=self.worst_drawdown,
            days=returns.n,
            past_days=self.past_days + (day_is_over and past),
            trades=trades.n,
            past_trades=self.past_trades,
            day_trades=self.day_trades,
            wins=trades.wins,
            win_rate=trades.wins / trades.n if trades.n else None,
            profit_factor=trades.won_paise / trades.lost_paise if trades.lost_paise else None,
            average_win_paise=trades.won_paise / trades.wins if trades.wins else None,
            average_loss_paise=-trades.lost_paise / trades.losses if trades.losses else None,
        )


def _ratio(mean: float, deviation: float) -> float | None:
    """Return a mean over a deviation, for a year."""
    return mean / deviation * math.sqrt(SESSIONS_A_YEAR) if deviation > NO_DEVIATION else None
