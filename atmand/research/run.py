"""One back-test as a person reads it: its figures, how sure they are, and what doing nothing clever would have made.

The verb `backtest` prints it, a notebook holds it (`atmand.backtest`), the page of `report.py` draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from atmand.errors import UsageError
from atmand.lang.structure import compile_structure
from atmand.ledger.trades import Trade
from atmand.research.backtest import Result, instruments_of, run_backtest
from atmand.research.bootstrap import Intervals, intervals
from atmand.research.charges import costs_by_kind
from atmand.research.figures import Curve, Figures, buy_and_hold, cash, curve_of, figures_of
from atmand.research.selection import Deflated, Trials, deflated_sharpe, sharpe_of_days
from atmand.research.slippage import net_at
from atmand.research.study import Conduct, Question, Recorded, Study, open_study, record

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BacktestRun", "backtest"]

_NO_TRADE: Final = Trade("", "", "", "", "", "", 1, 0, 0, 0, 0, 0, "", "", "")
_BESIDE: Final = ("total_return", "annual_return", "volatility", "sharpe", "sortino", "calmar", "worst_drawdown")


@dataclass(frozen=True, eq=False)
class BacktestRun:
    """A back-test and everything that is said of it."""

    study: Study
    result: Result
    curve: Curve
    performance: Figures
    beside: Mapping[str, Curve]
    """Equity of `buy_and_hold` and of `cash`."""
    intervals: Intervals
    deflated: Deflated
    recorded: Recorded
    cash_rate: float
    """What cash earns in a year, as a fraction."""

    @cached_property
    def trades(self) -> pl.DataFrame:
        """The closed trades, a row each, with the keys of `--json`."""
        import polars as pl

        # One row more gives the columns their types where no trade was made.
        rows = [*self.trades_json(), {**_NO_TRADE.to_json(), "slippage_paise": 0}]
        return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"model_sha256": pl.String})[:-1]

    @cached_property
    def equity(self) -> pl.DataFrame:
        """Equity at the close of every bar, in paise, and the drawdown from its highest so far."""
        import polars as pl

        times = pl.Series("time", self.curve.times_ns).cast(pl.Datetime("ns", "UTC"))
        columns = {"equity_paise": self.curve.equity, "drawdown": self.curve.drawdown}
        return pl.DataFrame([times]).with_columns(
            pl.col("time").dt.convert_time_zone("Asia/Kolkata"),
            **{name: pl.Series(rows) for name, rows in columns.items()},
        )

    @property
    def figures(self) -> dict[str, Any]:
        """The totals and the figures in one table."""
        return {**self.result.summary(), **self.performance.to_json(), "slippage_paise": sum(self.result.slippage)}

    @property
    def notes(self) -> list[str]:
        """What a reader has to know, in sentences."""
        holdout = self.study.holdout
        warnings = compile_structure(self.study.file).warnings
        return [*self.study.bars.notes, *warnings, *([] if holdout is None else [holdout.note])]

    def trades_json(self) -> list[dict[str, Any]]:
        """Return the trades with the keys that every verb prints, and their slippage."""
        return [
            {**trade.to_json(), "slippage_paise": slipped}
            for trade, slipped in zip(self.result.trades, self.result.slippage, strict=True)
        ]

    def beside_json(self) -> dict[str, dict[str, Any]]:
        """Return the figures of what stands beside; those that say something."""
        told = {name: figures_of(curve).to_json() for name, curve in self.beside.items()}
        told["cash"] = {"total_return": told["cash"]["total_return"], "annual_return": self.cash_rate}
        told["buy_and_hold"] = {name: told["buy_and_hold"][name] for name in _BESIDE}
        return told

    def document(self) -> dict[str, Any]:
        """Return everything as JSON."""
        holdout, entry = self.study.holdout, self.recorded.entry
        return {
            "trades": self.trades_json(),
            "notes": self.notes,
            **self.result.summary(),
            "strategy": self.study.strategy,
            "params": self.study.values,
            "capital_paise": self.curve.capital_paise,
            "data": self.study.data.to_json(),
            "figures": self.performance.to_json(),
            "intervals": self.intervals.to_json(),
            "beside": self.beside_json(),
            "slippage": self.slippage_json(),
            "costs_by_kind_paise": self.costs_by_kind(),
            "deflated_sharpe": {**self.deflated.to_json(), "earlier_runs": self.recorded.earlier},
            "holdout": None if holdout is None else holdout.to_json(),
            "run": {"id": entry["id"], "sha256": entry["sha256"]},
        }

    def slippage_json(self) -> dict[str, Any]:
        """Return the slippage of all trades, and the net result at other multiples of it."""
        slipped = sum(self.result.slippage)
        net = sum(trade.net_paise for trade in self.result.trades)
        return {"slippage_paise": slipped, "net_paise": net_at(net, slipped)}

    def costs_by_kind(self) -> dict[str, int]:
        """Return what the costs of all fills were paid for, in paise."""
        exchanges = [instrument.exchange for instrument in instruments_of(self.study.bars.symbols)]
        products = [self.study.file.strategy.trade.product]
        return costs_by_kind(
            self.result.fills, products, exchanges, self.study.question.costs_as_of, self.study.brokerage
        )

    def html(self, path: str | Path) -> Path:
        """Write one page that needs nothing else: figures, equity and drawdown, months, trades on the candles."""
        from atmand.research.report import write_backtest

        return write_backtest(self, Path(path))

    def write_trades(self, path: Path) -> None:
        """Write the trades as Parquet."""
        _parquet(self.trades, path, "--out")

    def write_equity(self, path: Path) -> None:
        """Write the equity as Parquet."""
        _parquet(self.equity, path, "--equity")


def backtest(question: Question, conduct: Conduct, on_bars: Callable[[int, int], None] | None = None) -> BacktestRun:
    """Answer a question by a back-test, and record it."""
    study = open_study(question, conduct)
    result = run_backtest(study.plan(on_bars), study.program)
    marks = np.array(result.equity, np.int64).reshape(-1, 2)
    curve = curve_of(marks[:, 0], marks[:, 1], question.capital_paise)
    performance = figures_of(curve, result.trades)
    held = buy_and_hold(study.bars, study.columns, question.capital_paise, question.costs_as_of, study.brokerage)
    recorded = record(
        study,
        conduct,
        "backtest",
        trials=Trials.of([sharpe_of_days(curve.returns)]),
        figures={**result.summary(), **performance.to_json()},
        digest=result.digest,
    )
    return BacktestRun(
        study=study,
        result=result,
        curve=curve,
        performance=performance,
        beside={"buy_and_hold": held, "cash": cash(held, conduct.cash_percent)},
        intervals=intervals(curve.returns, int(result.digest[:16], 16)),
        deflated=deflated_sharpe(curve.returns, recorded.trials),
        recorded=recorded,
        cash_rate=conduct.cash_percent / 100,
    )


def _parquet(frame: pl.DataFrame, path: Path, option: str) -> None:
    try:
        frame.write_parquet(path, compression="zstd")
    except OSError as error:
        raise UsageError(f"{option} {path}", error.strerror or str(error), "name a file that can be written") from None
