"""What the daemon says of its trading: audit rows turned into events, for a reader at a terminal and for machines.

The sequencer calls it with every record's outputs; it reads the engine and changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from numpy.typing import NDArray

from atmand.core.engine import Engine
from atmand.core.records import Kind
from atmand.core.words import OrderState, Purpose, Reason
from atmand.ledger.trades import Trade, TradeFold, market_time

__all__ = ["Narrator"]

log = structlog.get_logger()

_EVERY_NS: Final = 15 * 60_000_000_000
"""Market time between two summaries of the books."""

_ENDED: Final = (OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED)


class Narrator:
    """Tells orders, fills, closed trades with their profit after costs, and now and then where the books stand."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fold: TradeFold | None = None
        self._told_ns = 0
        self.trades = 0
        self.net_paise = 0

    def layout(self) -> None:
        """Take the names and the open trades of a session, as they stand."""
        layout = self._engine.layout
        self._fold = TradeFold(layout.manifest, layout.keys, self._engine.table("pairs"))

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
            self._summary()

    def _decided(self, row: Any) -> None:
        if row["state"]:
            self._say("entry_decided", row)
        else:
            self._say("entry_blocked", row, reason=Reason(int(row["reason"])).name.lower(), level="debug")

    def _filled(self, row: Any) -> None:
        self._say(
            "order_filled",
            row,
            purpose=Purpose(int(row["state"])).name.lower(),
            reason=Reason(int(row["reason"])).name.lower(),
            costs=int(row["costs"]) / 100,
        )

    def _closed(self, trade: Trade) -> None:
        self.trades += 1
        self.net_paise += trade.net_paise
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
        )

    def _summary(self) -> None:
        """Say where the books stand, every quarter of an hour of market time."""
        now_ns = self._engine.time_ns
        if now_ns - self._told_ns < _EVERY_NS:
            return
        self._told_ns = now_ns
        books = self._engine.table("books")
        log.info(
            "books_marked",
            market_time=market_time(now_ns),
            equity=int(books["equity_paise"].sum()) / 100,
            day_profit=int((books["equity_paise"] - books["day_equity_paise"]).sum()) / 100,
            costs=int(books["costs_paise"].sum()) / 100,
            positions=int(books["positions"].sum()),
            bars=int(self._engine.header["bars"]),
            trades=self.trades,
            net=self.net_paise / 100,
            warming=int((self._engine.table("pairs")["ready"] == 0).sum()),
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
