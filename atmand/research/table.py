"""The figures of a back-test as rows of text, for the terminal and for its page alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from atmand.research.figures import Figures, figures_of

if TYPE_CHECKING:
    from atmand.research.run import BacktestRun

__all__ = ["Rows", "costs_rows", "interval_rows", "result_rows", "slippage_rows"]

Rows = tuple[list[str], list[list[str]]]
"""The names of columns, and rows of cells."""

_LINES: Final = (
    ("total return", "total_return", "percent"),
    ("annual return", "annual_return", "percent"),
    ("annual volatility", "volatility", "percent"),
    ("Sharpe ratio", "sharpe", "number"),
    ("Sortino ratio", "sortino", "number"),
    ("Calmar ratio", "calmar", "number"),
    ("worst drawdown", "worst_drawdown", "percent"),
    ("its length, sessions", "worst_drawdown_sessions", "count"),
    ("longest drawdown, sessions", "longest_drawdown_sessions", "count"),
)
_OWN: Final = (
    ("exposure", "exposure", "percent"),
    ("turnover a year", "turnover", "times"),
    ("win rate", "win_rate", "percent"),
    ("profit factor", "profit_factor", "number"),
    ("average trade", "average_trade_paise", "rupees"),
    ("average win", "average_win_paise", "rupees"),
    ("average loss", "average_loss_paise", "rupees"),
    ("costs of gross profit", "costs_share", "percent"),
)


def result_rows(run: BacktestRun) -> Rows:
    """Return the figures of the strategy, of buy-and-hold and of cash."""
    result, own = run.result, run.performance
    beside = [figures_of(run.beside[name]) for name in ("buy_and_hold", "cash")]
    rows = [[name, *(_shown(figures, key, kind) for figures in (own, *beside))] for name, key, kind in _LINES]
    for row in rows[1:]:
        row[3] = ""
    rows[1][3] = _written(run.cash_rate, "percent")
    rows += [[name, _shown(own, key, kind), "", ""] for name, key, kind in _OWN]
    net = sum(trade.net_paise for trade in result.trades)
    costs = sum(trade.costs_paise for trade in result.trades)
    rows += [
        ["trades", str(len(result.trades)), "", ""],
        ["gross", _written(net + costs, "rupees"), "", ""],
        ["costs", _written(costs, "rupees"), "", ""],
        ["net", _written(net, "rupees"), "", ""],
    ]
    return ["", run.study.strategy, "buy and hold", "cash"], rows


def interval_rows(run: BacktestRun) -> Rows:
    """Return how sure the figures are: intervals, and what is left of the Sharpe ratio after all trials."""
    found, deflated = run.intervals, run.deflated
    level = f"{100 * found.level:g} % interval"
    return ["", ""], [
        [f"Sharpe ratio, {level}", _range(found.sharpe, "number")],
        [f"annual return, {level}", _range(found.annual_return, "percent")],
        ["mean block of the bootstrap, sessions", str(found.block_days)],
        ["trials of this strategy on these data", str(deflated.trials)],
        ["probability that its Sharpe ratio is more than their luck", _written(deflated.probability, "percent")],
    ]


def slippage_rows(run: BacktestRun) -> Rows:
    """Return the net result at other slippages."""
    told = run.slippage_json()
    rows = [[f"net at {multiple} times", _written(net, "rupees")] for multiple, net in told["net_paise"].items()]
    return ["", ""], [["slippage", _written(told["slippage_paise"], "rupees")], *rows]


def costs_rows(run: BacktestRun) -> Rows:
    """Return what the costs were paid for."""
    return ["", ""], [[kind, _written(paise, "rupees")] for kind, paise in run.costs_by_kind().items() if paise]


def _shown(figures: Figures, key: str, kind: str) -> str:
    return _written(getattr(figures, key), kind)


def _range(pair: Sequence[float] | None, kind: str) -> str:
    return "too few sessions" if pair is None else " to ".join(_written(value, kind) for value in pair)


def _written(value: Any, kind: str) -> str:
    if value is None:
        return "undefined"
    match kind:
        case "percent":
            return f"{100 * value:.2f} %"
        case "rupees":
            return f"{'-' * (value < 0)}₹{abs(value) / 100:,.2f}"
        case "count":
            return f"{value}"
        case "times":
            return f"{value:.1f} times"
        case _:
            return f"{value:.2f}"
