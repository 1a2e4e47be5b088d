"""Trades: round trips folded from the audit rows of fills, for the console, the back-test's table and the reports."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atmand.core.manifest import Manifest
from atmand.core.records import Kind
from atmand.core.words import Purpose, Reason
from atmand.market.sessions import IST

__all__ = ["Trade", "TradeFold", "decision_digest", "market_time"]


@dataclass(frozen=True)
class Trade:
    """One round trip of a book in an instrument; money in paise, prices as sums of values over quantities."""

    trade_id: str
    strategy: str
    account: str
    product: str
    instrument: str
    side: str
    quantity: int
    entry_ns: int
    entry_value: int
    exit_ns: int
    exit_value: int
    costs_paise: int
    exit_reason: str
    structure_id: str
    strategy_sha256: str

    @property
    def gross_paise(self) -> int:
        return (self.exit_value - self.entry_value) * (1 if self.side == "BUY" else -1)

    @property
    def net_paise(self) -> int:
        return self.gross_paise - self.costs_paise

    def to_json(self) -> dict[str, Any]:
        """Return the trade with the keys that every verb prints."""
        return {
            "trade_id": self.trade_id,
            "account": self.account,
            "venue": "INTERNAL",
            "product": self.product,
            "structure_id": self.structure_id,
            "strategy": self.strategy,
            "instrument": self.instrument,
            "side": self.side,
            "quantity": self.quantity,
            "entry_time": market_time(self.entry_ns),
            "entry_price": round(self.entry_value / self.quantity / 100, 4),
            "exit_time": market_time(self.exit_ns),
            "exit_price": round(self.exit_value / self.quantity / 100, 4),
            "gross_paise": self.gross_paise,
            "costs_paise": self.costs_paise,
            "net_paise": self.net_paise,
            "exit_reason": self.exit_reason,
            "parameter_seq": 0,
            "strategy_sha256": self.strategy_sha256,
            "model_sha256": None,
        }


@dataclass
class _Open:
    """A trade that is not flat yet."""

    trade_id: str
    side: int
    entry_ns: int
    quantity: int = 0
    entry_value: int = 0
    exit_value: int = 0
    held: int = 0
    costs: int = 0


class TradeFold:
    """Folds audit rows into trades; open trades stay inside until their position is flat."""

    def __init__(self, manifest: Manifest, keys: Sequence[str], pairs: NDArray[Any]) -> None:
        """Begin with the trades that are open in a session's table of pairs."""
        self._manifest, self._keys = manifest, tuple(keys)
        self._open = {
            (int(pair["book"]), int(pair["instrument"])): _Open(
                trade_id=f"{int(pair['entry_cause'])}-{int(pair['entry_index'])}",
                side=int(pair["side"]),
                entry_ns=int(pair["entry_ns"]),
                quantity=int(pair["entry_quantity"]),
                entry_value=int(pair["entry_value"]),
                exit_value=int(pair["exit_value"]),
                held=abs(int(pair["quantity"])),
                costs=int(pair["costs_paise"]),
            )
            for pair in pairs[pairs["quantity"] != 0]
        }

    def fold(self, rows: NDArray[Any]) -> Iterator[Trade]:
        """Yield the trades that these audit rows closed, in their order."""
        for row in rows[rows["kind"] == Kind.AUDIT_FILL]:
            trade = self._fill(row)
            if trade is not None:
                yield trade

    def _fill(self, row: Any) -> Trade | None:
        key = (int(row["book"]), int(row["instrument"]))
        side, quantity = int(row["side"]), int(row["quantity"])
        trade = self._open.get(key)
        if trade is None:
            trade = self._open[key] = _Open(f"{int(row['cause'])}-{int(row['index'])}", side, int(row["time_ns"]))
        trade.costs += int(row["costs"])
        if side == trade.side and int(row["state"]) == Purpose.ENTRY:
            trade.quantity += quantity
            trade.entry_value += int(row["value"])
            trade.held += quantity
            return None
        trade.exit_value += int(row["value"])
        trade.held -= quantity
        if trade.held > 0:
            return None
        del self._open[key]
        plan = self._manifest.books[key[0]]
        return Trade(
            trade_id=trade.trade_id,
            strategy=plan.strategy,
            account=plan.account,
            product="CNC" if plan.delivery else "MIS",
            instrument=self._keys[key[1]],
            side="BUY" if trade.side > 0 else "SELL",
            quantity=trade.quantity,
            entry_ns=trade.entry_ns,
            entry_value=trade.entry_value,
            exit_ns=int(row["time_ns"]),
            exit_value=trade.exit_value,
            costs_paise=trade.costs,
            exit_reason=Reason(int(row["reason"])).name.lower(),
            structure_id=self._manifest.structures[plan.structure].name,
            strategy_sha256=plan.sha256,
        )


def decision_digest(rows: NDArray[Any]) -> str:
    """Return the sha256 of (order, fill, exit reason) rows: equal for two drivers that decided the same."""
    kinds = (rows["kind"] == Kind.AUDIT_ORDER) | (rows["kind"] == Kind.AUDIT_FILL) | (rows["kind"] == Kind.AUDIT_INTENT)
    names = ["kind", "book", "instrument", "order", "side", "quantity", "price", "value", "costs", "state", "reason"]
    chosen = rows[kinds]
    return hashlib.sha256(np.stack([chosen[name] for name in names], axis=1).astype("<i8").tobytes()).hexdigest()


def market_time(time_ns: int) -> str:
    """Write a time of the market as ISO 8601 in India's time zone, to the millisecond."""
    return datetime.fromtimestamp(time_ns / 1e9, IST).isoformat(timespec="milliseconds")
