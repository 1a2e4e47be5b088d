"""The figures of a run: of its equity, bar by bar, and its trades; and the same of doing nothing clever beside it.

Returns, volatility, Sharpe, Sortino and annual growth are the ledger's own (`ledger/statistics.py` names the sources),
of daily returns, the first day's from the capital. Added here:

- drawdown: the loss from the highest equity so far, at the close of every bar; its length is counted in sessions from
  the peak's to the one that was above it again, or to the end;
- exposure: the share of bars at whose close some position was open;
- turnover: half of all that was bought and sold, over the mean equity, in a year;
- costs share: costs over the gross profit, where there was one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.history.actions import adjusted
from atmand.history.bars import Bars
from atmand.ledger.statistics import SESSIONS_A_YEAR, Returns, TradeCounts
from atmand.ledger.trades import Trade
from atmand.market.cost_table import DEFAULT_PLAN
from atmand.market.costs import Executed, contract_note
from atmand.market.sessions import session_date

__all__ = ["Curve", "Figures", "buy_and_hold", "cash", "curve_of", "figures_of"]

_DAY_NS: Final = 86_400_000_000_000
_INDIA_NS: Final = 19_800_000_000_000
_DAYS_A_YEAR: Final = 365


@dataclass(frozen=True, eq=False)
class Curve:
    """Equity at the close of every bar, beginning with the capital, and where its sessions end."""

    capital_paise: int
    times_ns: NDArray[np.int64]
    equity: NDArray[np.int64]
    last: NDArray[np.intp]
    """Places of each session's last bar."""

    @property
    def returns(self) -> NDArray[np.float64]:
        """Daily returns."""
        closes = np.concatenate([[self.capital_paise], self.equity[self.last]]).astype(np.float64)
        return closes[1:] / closes[:-1] - 1 if (closes[:-1] > 0).all() else np.zeros(0)

    @property
    def days(self) -> list[date]:
        return [session_date(time_ns) for time_ns in self.times_ns[self.last].tolist()]

    @property
    def drawdown(self) -> NDArray[np.float64]:
        """Loss from the highest equity so far, 0 to 1."""
        peaks = np.maximum.accumulate(np.maximum(self.equity, self.capital_paise))
        return 1 - self.equity / peaks


@dataclass(frozen=True)
class Figures:
    """Ratios are fractions (0.01 is a percent), annual where they are of a year; None is undefined."""

    sessions: int
    total_return: float
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    worst_drawdown: float
    worst_drawdown_paise: int
    worst_drawdown_sessions: int
    longest_drawdown_sessions: int
    exposure: float
    turnover: float | None
    win_rate: float | None
    profit_factor: float | None
    average_trade_paise: float | None
    average_win_paise: float | None
    average_loss_paise: float | None
    costs_share: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def curve_of(times_ns: NDArray[np.int64], equity: NDArray[np.int64], capital_paise: int) -> Curve:
    """Make a curve of equity at the close of every bar."""
    days = (times_ns + _INDIA_NS) // _DAY_NS
    last = np.flatnonzero(np.diff(days, append=days[-1:] + 1))
    return Curve(capital_paise, times_ns, equity, last)


def figures_of(curve: Curve, trades: Sequence[Trade] = ()) -> Figures:
    """Return the figures of a curve and of the closed trades that it comes from."""
    returns = Returns()
    for value in curve.returns.tolist():
        returns.push(value)
    counts = TradeCounts()
    for trade in trades:
        counts.push(trade.net_paise)
    gross = sum(trade.gross_paise for trade in trades)
    costs = sum(trade.costs_paise for trade in trades)
    annual = returns.annual_growth
    worst, worst_paise, worst_sessions, longest = _drawdown(curve)
    return Figures(
        sessions=len(curve.last),
        total_return=float(curve.equity[-1]) / curve.capital_paise - 1 if len(curve.equity) else 0.0,
        annual_return=annual,
        volatility=returns.volatility,
        sharpe=returns.sharpe,
        sortino=returns.sortino,
        calmar=annual / worst if annual is not None and worst > 0 else None,
        worst_drawdown=worst,
        worst_drawdown_paise=worst_paise,
        worst_drawdown_sessions=worst_sessions,
        longest_drawdown_sessions=longest,
        exposure=_exposure(curve, trades),
        turnover=_turnover(curve, trades),
        win_rate=counts.wins / counts.n if counts.n else None,
        profit_factor=counts.won_paise / counts.lost_paise if counts.lost_paise else None,
        average_trade_paise=(gross - costs) / counts.n if counts.n else None,
        average_win_paise=counts.won_paise / counts.wins if counts.wins else None,
        average_loss_paise=-counts.lost_paise / counts.losses if counts.losses else None,
        costs_share=costs / gross if gross > 0 else None,
    )


def buy_and_hold(
    bars: Bars,
    columns: Collection[int],
    capital_paise: int,
    costs_as_of: date | None = None,
    plan: str = DEFAULT_PLAN,
) -> Curve:
    """Return the equity of an equal share of the capital in each instrument, bought at its first open as delivery.

    Whole shares only; what is left over is cash that earns nothing. Costs are charged when they are bought and, at the
    last close, once more for selling them all.
    """
    bars = adjusted(bars)
    chosen = [bars.series[bars.symbols[column]] for column in sorted(columns)]
    times = np.unique(np.concatenate([series["start_ns"] for series in chosen]))
    equity = np.full(len(times), capital_paise, np.int64)
    share = capital_paise // len(chosen)
    for series in chosen:
        first, last = session_date(int(series["start_ns"][0])), session_date(int(series["start_ns"][-1]))
        bought = int(series["open"][0])
        quantity, paid = _affordable(share, bought, costs_as_of or first, plan)
        at = np.searchsorted(series["start_ns"], times, side="right") - 1
        value = np.where(at >= 0, quantity * (series["close"][at] - bought) - paid, 0)
        value[-1] -= _delivery(-1, quantity * int(series["close"][-1]), costs_as_of or last, plan)
        equity += value
    return curve_of(times, equity, capital_paise)


def cash(curve: Curve, percent: float) -> Curve:
    """Return the equity of the same capital at a rate of interest, by days of the calendar, over the same sessions."""
    days = (curve.times_ns[curve.last] + _INDIA_NS) // _DAY_NS
    years = (days - days[0] + 1) / _DAYS_A_YEAR
    equity = np.rint(curve.capital_paise * (1 + percent / 100) ** years).astype(np.int64)
    return curve_of(curve.times_ns[curve.last], equity, curve.capital_paise)


def _affordable(paise: int, price: int, day: date, plan: str) -> tuple[int, int]:
    """Return how many shares a sum buys with their costs, and those costs."""
    quantity = paise // price
    while quantity > 0:
        costs = _delivery(1, quantity * price, day, plan)
        over = quantity * price + costs - paise
        if over <= 0:
            return quantity, costs
        quantity -= max(1, over // price)
    return 0, 0


def _delivery(side: int, value_paise: int, day: date, plan: str) -> int:
    if value_paise == 0:
        return 0
    note = contract_note([Executed(side, value_paise)], day=day, exchange="NSE", segment="EQ_DELIVERY", plan=plan)
    return int(note["total"] * 100)


def _drawdown(curve: Curve) -> tuple[float, int, int, int]:
    """Return the worst drawdown, that in paise, its length and the longest length, in sessions."""
    if not len(curve.equity):
        return 0.0, 0, 0, 0
    peaks = np.maximum.accumulate(np.maximum(curve.equity, curve.capital_paise))
    drawdown = curve.drawdown
    session = np.searchsorted(curve.last, np.arange(len(curve.equity)))
    under = drawdown > 0
    # Every stretch under water belongs to the peak before it and ends where equity stands at a peak again.
    starts = np.flatnonzero(under & ~np.concatenate([[False], under[:-1]]))
    ends = np.flatnonzero(under & ~np.concatenate([under[1:], [False]]))
    lengths = session[np.minimum(ends + 1, len(session) - 1)] - session[np.maximum(starts - 1, 0)] + 1
    if not len(lengths):
        return 0.0, 0, 0, 0
    deepest = int(drawdown.argmax())
    of_deepest = int(lengths[np.searchsorted(starts, deepest, side="right") - 1])
    return float(drawdown[deepest]), int((peaks - curve.equity).max()), of_deepest, int(lengths.max())


def _exposure(curve: Curve, trades: Sequence[Trade]) -> float:
    if not len(curve.times_ns) or not trades:
        return 0.0
    entries = np.sort(np.array([trade.entry_ns for trade in trades], np.int64))
    exits = np.sort(np.array([trade.exit_ns for trade in trades], np.int64))
    opened = np.searchsorted(entries, curve.times_ns, side="right")
    closed = np.searchsorted(exits, curve.times_ns, side="right")
    return float((opened > closed).mean())


def _turnover(curve: Curve, trades: Sequence[Trade]) -> float | None:
    mean = float(curve.equity.mean()) if len(curve.equity) else 0.0
    if mean <= 0:
        return None
    traded = sum(trade.entry_value + trade.exit_value for trade in trades)
    return traded / 2 / mean * SESSIONS_A_YEAR / len(curve.last)
