"""Back-tests: bars through the batch driver of the very program that trades live, one session at a time.

A session's records are the same as the daemon's; only the frames are drawn inside the compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.manifest import Program
from atmand.core.opening import BookLimits
from atmand.core.records import AUDIT, Kind
from atmand.errors import AtmandError
from atmand.history.bars import Bars, aligned
from atmand.lang.build import build_on_demand
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import refuse_repeated
from atmand.lang.structure import instruments_named
from atmand.ledger.trades import Trade, TradeFold, decision_digest, trades_of
from atmand.market.instruments import Instrument, resolve_all
from atmand.market.selectors import selector_of
from atmand.market.sessions import FUTURES, WITH_DERIVATIVES, WITHOUT_DERIVATIVES
from atmand.research.bar_driver import BarDriver, DrivenMarket, days_of, in_sessions, session_windows
from atmand.research.batch import Batch, is_batchable

__all__ = ["Backtest", "Result", "groups_of", "instruments_of", "pairs_of", "run_backtest"]

_MINUTE_NS: Final = 60_000_000_000
_SHARES: Final = (WITHOUT_DERIVATIVES, WITH_DERIVATIVES)
_Lined = tuple[NDArray[np.int64], NDArray[Any], NDArray[np.bool_]]
_TRADE_ROWS: Final = 1 << 16
"""Most trades that close in a session."""


@dataclass(frozen=True)
class Result:
    """What a back-test came to."""

    trades: tuple[Trade, ...]
    equity: tuple[tuple[int, int], ...]
    """(time_ns, paise) over all books, one a closed bar."""
    digest: str
    sessions: int
    bars: int
    costs_note: str
    fills: NDArray[Any] = field(default_factory=lambda: np.zeros(0, AUDIT), repr=False, compare=False)
    """Audit rows of all fills, in order; an instrument's number is its column of the bars."""
    slippage: tuple[int, ...] = ()
    """In paise, one for each trade: what its market orders paid beyond the middle of the touch."""

    def summary(self) -> dict[str, Any]:
        """Return totals in paise, win rate and the worst drawdown of the equity curve."""
        net = [trade.net_paise for trade in self.trades]
        values = np.array([value for _, value in self.equity] or [0], np.int64)
        drawdown = int((np.maximum.accumulate(values) - values).max())
        return {
            "sessions": self.sessions,
            "bars": self.bars,
            "trade_count": len(net),
            "gross_paise": sum(trade.gross_paise for trade in self.trades),
            "costs_paise": sum(trade.costs_paise for trade in self.trades),
            "net_paise": sum(net),
            "wins": sum(value > 0 for value in net),
            "max_drawdown_paise": drawdown,
            "digest": self.digest,
            "costs": self.costs_note,
        }


@dataclass
class Backtest:
    """A back-test's inputs. `terms` are the session's, apart from day and windows, which follow the bars."""

    deployments: Sequence[Deployment]
    bars: Bars
    limits: Sequence[BookLimits]
    costs_as_of: date | None = None
    terms: Mapping[str, Any] = field(default_factory=dict)
    on_bars: Callable[[int, int], None] | None = None
    """Called after every session with how many of all minutes are done."""


def run_backtest(plan: Backtest, program: Program | None = None) -> Result:
    """Run a back-test; AtmandError where the bars, the costs or the strategies do not fit."""
    if plan.bars.bar_ns != _MINUTE_NS:
        raise AtmandError(
            plan.bars.source,
            f"bars of {plan.bars.bar_ns // 1_000_000_000} s",
            "give one-minute bars; strategies aggregate them",
        )
    program = program or build_on_demand(generate(plan.deployments))
    instruments = instruments_of(plan.bars.symbols)
    pairs = pairs_of(plan.deployments, instruments)
    lined = aligned(plan.bars)
    groups = groups_of(plan.bars.symbols, lined[0], lined[2])
    listed = list(zip(instruments, groups, strict=True))
    market = DrivenMarket(listed, pairs, plan.limits, plan.costs_as_of, plan.terms, actions=plan.bars.actions)
    if is_batchable(program.manifest) and not plan.bars.actions:
        return _run_batch(plan, program, market, lined)
    run = _Run(plan, program, market, lined)
    for day, times in days_of(run.times):
        run.session(day, times)
        if plan.on_bars is not None:
            plan.on_bars(times.stop, len(run.times))
    return run.result()


def _run_batch(plan: Backtest, program: Program, market: DrivenMarket, lined: _Lined) -> Result:
    """Fold the bars in the compiled loop."""
    batch = Batch(program, market, *lined)
    heard = plan.on_bars
    done = batch.run(None if heard is None else lambda minutes: heard(minutes, len(batch.times)))
    keys = [instrument.key for instrument, _ in market.instruments]
    return Result(
        trades=tuple(trades_of(done.trades, program.manifest, keys)),
        equity=tuple(zip(done.closes_ns.tolist(), done.equity_paise.tolist(), strict=True)),
        digest=f"{int(done.result['fingerprint'][0]):016x}",
        sessions=int(done.result["sessions"][0]),
        bars=batch.count,
        costs_note=_costs_note(plan),
        fills=done.fills,
        slippage=tuple(done.trades["slippage_paise"].tolist()),
    )


def _costs_note(plan: Backtest) -> str:
    return f"costs as of {plan.costs_as_of}" if plan.costs_as_of else "costs of each day"


class _Run:
    """A back-test under way: the driver, and what it has put out so far."""

    def __init__(self, plan: Backtest, program: Program, market: DrivenMarket, lined: _Lined) -> None:
        self._plan, self._program = plan, program
        self.times, self._grid, self._present = lined
        self._driver = BarDriver(program, market, self._take, _TRADE_ROWS)
        self._fold: TradeFold | None = None
        self._trades: list[Trade] = []
        self._slippage: list[int] = []
        self._equity: list[tuple[int, int]] = []
        self._orders: list[NDArray[Any]] = []
        self._sessions = 0

    def session(self, day: date, places: slice) -> None:
        """Open a session and fold its bars."""
        engine = self._driver.engine
        self._driver.open(day)
        self._fold = TradeFold(self._program.manifest, engine.layout.keys, engine.table("pairs"))
        self._sessions += 1
        self._driver.run(self._grid[places], self._present[places])
        closed = int(self._driver.engine.header["n_trades"])
        if closed > _TRADE_ROWS:
            raise AtmandError(f"session {day}", f"{closed} trades", f"at most {_TRADE_ROWS}: test fewer instruments")
        self._slippage += self._driver.engine.table("trades")["slippage_paise"][:closed].tolist()

    def result(self) -> Result:
        rows = np.concatenate(self._orders) if self._orders else np.zeros(0, AUDIT)
        return Result(
            trades=tuple(self._trades),
            equity=tuple(self._equity),
            digest=decision_digest(rows),
            sessions=self._sessions,
            bars=int(self._present.sum()),
            costs_note=_costs_note(self._plan),
            fills=rows[rows["kind"] == Kind.AUDIT_FILL],
            slippage=tuple(self._slippage),
        )

    def _take(self, rows: NDArray[Any]) -> None:
        assert self._fold is not None
        self._trades.extend(self._fold.fold(rows))
        self._orders.append(rows[rows["kind"] != Kind.AUDIT_MARK])
        marks = rows[rows["kind"] == Kind.AUDIT_MARK]
        times, places = np.unique(marks["time_ns"], return_inverse=True)
        equity = np.zeros(len(times), np.int64)
        np.add.at(equity, places, marks["value"])
        self._equity.extend(zip(times.tolist(), equity.tolist(), strict=True))


def instruments_of(symbols: Sequence[str]) -> list[Instrument]:
    """Make instruments of a bar file's symbols: shares of NSE at the tick of the bar path, one unit a lot."""
    names = [symbol.partition(":")[2] or symbol for symbol in symbols]
    return [
        Instrument(
            key=f"NSE:EQ:{name}", isin="", token=(1000 + place) << 8 | 1, exchange="NSE", segment="EQ", symbol=name,
            name=name, price_scale=100, tick=5, lot=1, freeze=0, lower_band=0, upper_band=0, tradable=True,
            sector="unknown",
        )
        for place, name in enumerate(names)
    ]  # fmt: skip


def _refuse_selectors(deployment: Deployment) -> None:
    """Refuse what only a day's instruments can tell: bars of a file know nothing of members, volumes and expiries."""
    for name in deployment.file.strategy.universe:
        if selector_of(name) is not None:
            where = f"strategy {deployment.file.strategy.name}"
            what = f"{name} means other instruments from day to day, and bars do not say which"
            raise AtmandError(where, what, "name the instruments of the data with --instrument")


def groups_of(symbols: Sequence[str], times: NDArray[np.int64], present: NDArray[np.bool_]) -> list[int]:
    """Return the group of session windows of each symbol: a contract's own, a share's as its bars show.

    A share that has no bar after the closing auction began, on days that have one, is one with derivatives.
    """
    last = list(days_of(times))[-1:]
    ends = [{w.close_ns for w in session_windows(day, (group,))} for day, _ in last for group in _SHARES]
    traded_late = [True] * len(symbols)
    if ends and ends[0] != ends[1]:
        inside = in_sessions(times, _SHARES)
        traded_late = np.any(present[inside[WITHOUT_DERIVATIVES] & ~inside[WITH_DERIVATIVES]], axis=0).tolist()
    shares = [WITHOUT_DERIVATIVES if late else WITH_DERIVATIVES for late in traded_late]
    return [
        FUTURES if symbol.startswith(("NFO:", "BFO:")) else group for symbol, group in zip(symbols, shares, strict=True)
    ]


def pairs_of(deployments: Sequence[Deployment], instruments: Sequence[Instrument]) -> list[tuple[int, int]]:
    """Resolve each strategy's universe to (book, instrument) pairs, leaving out what there are no bars for."""
    keys = {instrument.key: index for index, instrument in enumerate(instruments)}
    known = {f"{instrument.exchange}:{instrument.symbol}" for instrument in instruments} | set(keys)
    pairs: list[tuple[int, int]] = []
    for book, deployment in enumerate(deployments):
        _refuse_selectors(deployment)
        names = [name for name in deployment.file.strategy.universe if name in known]
        if not names:
            raise AtmandError(
                f"strategy {deployment.file.strategy.name}",
                f"the data has none of its instruments ({', '.join(deployment.file.strategy.universe[:5])} ...)",
                f"the data has {', '.join(sorted(known - set(keys))[:10])}; name some with --instrument",
            )
        chosen = resolve_all(names, instruments)
        refuse_repeated(deployment.file, [(name, one.key) for name, one in zip(names, chosen, strict=True)])
        pairs += [(book, keys[instrument.key]) for instrument in chosen]
        for name in instruments_named(deployment.file):
            if name not in known:
                raise AtmandError(
                    f"strategy {deployment.file.strategy.name}", f"the data has no {name}, which its expressions name",
                    "add its bars to the data",
                )  # fmt: skip
    return pairs
