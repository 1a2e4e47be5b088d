"""What the daemon says of its trading: audit rows turned into events, for a reader at a terminal and for machines.

The sequencer calls it with every record's outputs; it reads the engine and changes nothing.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from atmand.clocks import monotonic_ns
from atmand.core.engine import Engine
from atmand.core.records import Kind, Record, head_and_rows
from atmand.core.state import day_of
from atmand.core.words import OrderState, Purpose, Reason
from atmand.ledger.trades import Trade, TradeFold, market_time

__all__ = ["Narrator"]

log = structlog.get_logger()

_EVERY_NS: Final = 15 * 60_000_000_000
"""Market time between two summaries of the books."""

_BARS_EVERY_NS: Final = 1_000_000_000
"""Machine time between two lines about bars: a market that runs 600 times as fast would flood a terminal."""

_ENDED: Final = (OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED)


class Narrator:
    """Tells bars, orders, fills, closed trades with their profit after costs, and where the books stand.

    All that it counts belongs to the session's day: `open` begins one, `follow` counts one again that is recovered.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fold: TradeFold | None = None
        self._day: date | None = None
        self.costs_day = ""
        self._costs: dict[str, str] = {}
        self._told_ns = 0
        self._bars_told_at_ns = 0
        self._prices = np.zeros(0, np.int64)
        self._bars_seen = self._bars_told = 0
        self.bars = self.trades = 0
        self.net_paise = self.costs_paise = 0

    def open(self, day: date, costs_day: date) -> None:
        """Begin to count a session's day, and say with its money whose costs apply where they are another day's."""
        self.costs_day = costs_day.isoformat()
        self._costs = {} if costs_day == day else {"costs_as_of": self.costs_day}
        if day != self._day:
            self._day = day
            self.bars = self._bars_told = self.trades = self.net_paise = self.costs_paise = 0

    def layout(self) -> None:
        """Take the names and the open trades of a session, as they stand."""
        layout = self._engine.layout
        self._fold = TradeFold(layout.manifest, layout.keys, self._engine.table("pairs"))
        self._bars_seen = int(self._engine.header["bars"])
        self._prices = self._engine.table("instruments")["last_price"].copy()

    def follow(self, record: Record, outputs: NDArray[Any]) -> None:
        """Count a record that is folded again, and tell nothing."""
        if record.kind == Kind.SESSION:
            head, _ = head_and_rows(record)
            self.open(day_of(int(head["date"][0])), day_of(int(head["costs_date"][0])))
        elif record.kind == Kind.PROGRAM:
            self.layout()
        elif self._fold is not None and len(outputs):
            self._count_bars()
            self.costs_paise += int(outputs["costs"][outputs["kind"] == Kind.AUDIT_FILL].sum())
            for trade in self._fold.fold(outputs):
                self._count(trade)
            self._bars_told = self.bars

    def hear(self, outputs: NDArray[Any]) -> None:
        """Tell what one record put out."""
        if self._fold is None:
            return
        marked = False
        for row in outputs:
            kind = int(row["kind"])
            if kind == Kind.AUDIT_MARK:
                marked = True
            elif kind == Kind.AUDIT_FILL:
                self._filled(row)
            elif kind == Kind.AUDIT_DECISION:
                self._decided(row)
            elif kind == Kind.AUDIT_ORDER and int(row["state"]) in _ENDED:
                self._say("order_ended", row, state=OrderState(int(row["state"])).name.lower(), level="debug")
        for trade in self._fold.fold(outputs):
            self._closed(trade)
        if marked:
            self._count_bars()
            self._bars()
            self._summary()

    def _decided(self, row: Any) -> None:
        if row["state"]:
            self._say("entry_decided", row)
        else:
            self._say("entry_blocked", row, reason=Reason(int(row["reason"])).name.lower(), level="debug")

    def _filled(self, row: Any) -> None:
        self.costs_paise += int(row["costs"])
        self._say(
            "order_filled",
            row,
            purpose=Purpose(int(row["state"])).name.lower(),
            reason=Reason(int(row["reason"])).name.lower(),
            costs=int(row["costs"]) / 100,
            **self._costs,
        )

    def _closed(self, trade: Trade) -> None:
        self._count(trade)
        log.info(
            "trade_closed",
            market_time=market_time(trade.exit_ns),
            strategy=trade.strategy,
            instrument=trade.instrument,
            side=trade.side,
            quantity=trade.quantity,
            entry_price=round(trade.entry_value / trade.quantity / 100, 2),
            exit_price=round(trade.exit_value / trade.quantity / 100, 2),
            reason=trade.exit_reason,
            costs=trade.costs_paise / 100,
            net=trade.net_paise / 100,
            trade_id=trade.trade_id,
            **self._costs,
        )

    def _count(self, trade: Trade) -> None:
        self.trades += 1
        self.net_paise += trade.net_paise

    def _count_bars(self) -> None:
        seen = int(self._engine.header["bars"])
        self.bars += seen - self._bars_seen
        self._bars_seen = seen

    def _bars(self) -> None:
        """Say which bars closed and who moved most since that was said last: at most once a second of the machine's."""
        if monotonic_ns() - self._bars_told_at_ns < _BARS_EVERY_NS:
            return
        instruments = self._engine.table("instruments")
        prices, before = instruments["last_price"], self._prices
        before = np.where(before > 0, before, self._last_opens(instruments["first_series"]))
        known = np.flatnonzero((before > 0) & (prices > 0))
        if not len(known):
            return
        moves = 100.0 * (prices[known] / before[known] - 1.0)
        best, worst = int(moves.argmax()), int(moves.argmin())
        keys = self._engine.layout.keys
        log.info(
            "bars_closed",
            market_time=market_time(self._engine.time_ns),
            bars=self.bars - self._bars_told,
            best=keys[int(known[best])],
            best_percent=round(float(moves[best]), 2),
            worst=keys[int(known[worst])],
            worst_percent=round(float(moves[worst]), 2),
        )
        self._bars_told_at_ns, self._bars_told = monotonic_ns(), self.bars
        self._prices = prices.copy()

    def _last_opens(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what the newest bars of some series opened at; 0 for a series that has none, or for no series (-1)."""
        series, ring = self._engine.table("series"), self._engine.table("ring")
        chosen = series[np.maximum(places, 0)]
        newest = chosen["ring_at"] + np.maximum(chosen["count"] - 1, 0) % np.maximum(chosen["ring_size"], 1)
        return np.where((places >= 0) & (chosen["count"] > 0), ring["open"][newest], 0)

    def _summary(self) -> None:
        """Say where the books stand, every quarter of an hour of market time."""
        now_ns = self._engine.time_ns
        if now_ns - self._told_ns < _EVERY_NS:
            return
        self._told_ns = now_ns
        books, pairs = self._engine.table("books"), self._engine.table("pairs")
        log.info(
            "books_marked",
            market_time=market_time(now_ns),
            equity=int(books["equity_paise"].sum()) / 100,
            day_profit=int((books["equity_paise"] - books["day_equity_paise"]).sum()) / 100,
            costs=self.costs_paise / 100,
            positions=int(books["positions"].sum()),
            bars=self.bars,
            trades=self.trades,
            net=self.net_paise / 100,
            warming=int(((pairs["ready"] == 0) & (pairs["series"] >= 0)).sum()),
            **self._costs,
        )

    def _say(self, event: str, row: Any, *, level: str = "info", **facts: Any) -> None:
        layout = self._engine.layout
        getattr(log, level)(
            event,
            market_time=market_time(int(row["time_ns"])),
            strategy=layout.manifest.books[int(row["book"])].strategy,
            instrument=layout.keys[int(row["instrument"])],
            side="BUY" if row["side"] > 0 else "SELL",
            quantity=int(row["quantity"]),
            price=int(row["price"]) / 100,
            **facts,
        )
