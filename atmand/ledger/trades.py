"""Trades: round trips folded from the audit rows of fills, for the console, the back-test's table and the reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atmand.core.audit import fingerprint_after
from atmand.core.jit import kernel_rows
from atmand.core.manifest import BookPlan, Manifest
from atmand.core.records import Kind
from atmand.core.words import Purpose, Reason
from atmand.market.sessions import IST

__all__ = [
    "AuditRow",
    "OpenTrade",
    "Place",
    "Trade",
    "TradeFold",
    "audit_rows",
    "book_name",
    "decision_digest",
    "in_other_units",
    "market_time",
    "open_in_document",
    "open_in_pairs",
    "row_name",
    "trades_of",
]

Place: TypeAlias = tuple[str, str]
"""A book's name (`strategy@account`) and an instrument's key."""

_FOLDED: Final = (int(Kind.AUDIT_DECISION), int(Kind.AUDIT_INTENT), int(Kind.AUDIT_FILL))
_DECISION, _INTENT, _FILL = _FOLDED


class AuditRow(NamedTuple):
    """An audit row in plain numbers; `place` is the row's index within its cause."""

    kind: int
    cause: int
    place: int
    book: int
    instrument: int
    order: int
    trade: int
    side: int
    quantity: int
    price: int
    value: int
    costs: int
    state: int
    reason: int
    time_ns: int
    group: int = 0


def audit_rows(rows: NDArray[Any]) -> Iterator[AuditRow]:
    """Yield audit rows as plain numbers."""
    return map(AuditRow._make, rows.tolist())


def row_name(cause: int, place: int) -> str:
    """Name an audit row for people: a trade is called after its first fill. Causes of a simulated past are negative."""
    return f"{cause}-{place}" if cause >= 0 else f"p{-cause}-{place}"


def book_name(plan: BookPlan) -> str:
    """Return a book's durable name."""
    return f"{plan.strategy}@{plan.account}"


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
    parameter_seq: int = 0
    """Number of the parameter document that was in force when the entry was decided."""
    venue: str = "INTERNAL"
    model_sha256: str | None = None
    past: bool = False
    """It was made in the simulated past, before the market began."""
    decided_cause: int = 0
    """Sequence of the record that decided the entry; 0 where that is not known."""
    exit_cause: int = 0
    exit_place: int = 0

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
            "venue": self.venue,
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
            "parameter_seq": self.parameter_seq,
            "strategy_sha256": self.strategy_sha256,
            "model_sha256": self.model_sha256,
        }


@dataclass(slots=True)
class OpenTrade:
    """A trade that is not flat yet."""

    trade_id: str
    side: int
    entry_ns: int
    quantity: int = 0
    entry_value: int = 0
    exit_value: int = 0
    held: int = 0
    costs: int = 0
    parameter_seq: int = 0
    decided_cause: int = 0
    structure_id: str = ""
    strategy_sha256: str = ""


def open_in_pairs(manifest: Manifest, keys: Sequence[str], pairs: NDArray[Any]) -> dict[Place, OpenTrade]:
    """Return the trades that are open in a session's table of pairs."""
    return {
        (book_name(manifest.books[int(pair["book"])]), keys[int(pair["instrument"])]): _open_trade(pair)
        for pair in pairs[pairs["quantity"] != 0]
    }


def open_in_document(books: Mapping[str, Any]) -> dict[Place, OpenTrade]:
    """Return the trades that are open in a document of books."""
    return {(row["book"], row["instrument"]): _open_trade(row) for row in books["pairs"] if row["quantity"]}


def _open_trade(pair: Any) -> OpenTrade:
    return OpenTrade(
        trade_id=row_name(int(pair["entry_cause"]), int(pair["entry_index"])),
        side=int(pair["side"]),
        entry_ns=int(pair["entry_ns"]),
        quantity=int(pair["entry_quantity"]),
        entry_value=int(pair["entry_value"]),
        exit_value=int(pair["exit_value"]),
        held=abs(int(pair["quantity"])),
        costs=int(pair["costs_paise"]),
    )


def in_other_units(trade: OpenTrade, new: int, old: int) -> OpenTrade:
    """Return an open trade after a split or bonus, as the core counts it: a fraction of a unit is dropped."""
    return replace(trade, quantity=trade.quantity * new // old, held=trade.held * new // old)


def _known(ours: OpenTrade | None, trade: OpenTrade) -> OpenTrade:
    """Prefer what was folded here, which knows the parameters of the entry; a split has changed its units."""
    return trade if ours is None else replace(ours, quantity=trade.quantity, held=trade.held)


class TradeFold:
    """Folds audit rows into trades; open trades stay inside until their position is flat.

    `parameter_seq` is the parameter document in force; whoever folds PARAMS sets it.
    """

    def __init__(
        self, manifest: Manifest | None = None, keys: Sequence[str] = (), pairs: NDArray[Any] | None = None
    ) -> None:
        """Begin with the trades that are open in a session's table of pairs."""
        self.parameter_seq = 0
        self.open: dict[Place, OpenTrade] = {}
        self.decided: dict[Place, tuple[int, int]] = {}
        """Parameter document and cause of the newest entry decision of a place."""
        if manifest is not None:
            self.begin(manifest, keys, {} if pairs is None else open_in_pairs(manifest, keys, pairs))

    def begin(
        self,
        manifest: Manifest,
        keys: Sequence[str],
        opened: Mapping[Place, OpenTrade] | None = None,
        *,
        past: bool = False,
    ) -> None:
        """Take the names of a session or a program, and what is open in it; None: everything open goes on."""
        self._manifest, self._keys, self._past = manifest, tuple(keys), past
        self._books = [book_name(plan) for plan in manifest.books]
        if opened is not None:
            ours = {trade.trade_id: trade for trade in self.open.values()}
            self.open = {place: _known(ours.get(trade.trade_id), trade) for place, trade in opened.items()}

    def fold(self, rows: NDArray[Any]) -> Iterator[Trade]:
        """Yield the trades that these audit rows closed, in their order."""
        for row in audit_rows(rows[np.isin(rows["kind"], _FOLDED)]):
            trade = self.take(row)
            if trade is not None:
                yield trade

    def take(self, row: AuditRow) -> Trade | None:
        """Fold one row; return the trade that it closed."""
        if row.kind == _FILL:
            return self._fill(row)
        entry = row.state == (1 if row.kind == _DECISION else Purpose.ENTRY)
        if row.kind in (_DECISION, _INTENT) and entry:
            # The intent follows its decision in the same cause, and stands for it where there was none.
            self.decided[self._books[row.book], self._keys[row.instrument]] = (self.parameter_seq, row.cause)
        return None

    def _fill(self, row: AuditRow) -> Trade | None:
        place = (self._books[row.book], self._keys[row.instrument])
        trade = self.open.get(place)
        if trade is None:
            if row.state != Purpose.ENTRY:
                return None  # its entry was not recorded: a damaged journal that was repaired
            trade = self.open[place] = self._opened(place, row)
        trade.costs += row.costs
        if row.side == trade.side and row.state == Purpose.ENTRY:
            trade.quantity += row.quantity
            trade.entry_value += row.value
            trade.held += row.quantity
            return None
        trade.exit_value += row.value
        trade.held -= row.quantity
        if trade.held > 0:
            return None
        del self.open[place]
        return self._closed(place, trade, row)

    def _opened(self, place: Place, row: AuditRow) -> OpenTrade:
        plan = self._manifest.books[row.book]
        seq, cause = self.decided.pop(place, (self.parameter_seq, 0))
        return OpenTrade(
            row_name(row.cause, row.place),
            row.side,
            row.time_ns,
            parameter_seq=seq,
            decided_cause=cause,
            structure_id=self._manifest.structures[plan.structure].name,
            strategy_sha256=plan.sha256,
        )

    def _closed(self, place: Place, trade: OpenTrade, row: AuditRow) -> Trade:
        plan = self._manifest.books[row.book]
        return Trade(
            trade_id=trade.trade_id,
            strategy=plan.strategy,
            account=plan.account,
            product=plan.product,
            instrument=place[1],
            side="BUY" if trade.side > 0 else "SELL",
            quantity=trade.quantity,
            entry_ns=trade.entry_ns,
            entry_value=trade.entry_value,
            exit_ns=row.time_ns,
            exit_value=trade.exit_value,
            costs_paise=trade.costs,
            exit_reason=Reason(row.reason).name.lower(),
            structure_id=trade.structure_id or self._manifest.structures[plan.structure].name,
            strategy_sha256=trade.strategy_sha256 or plan.sha256,
            parameter_seq=trade.parameter_seq,
            past=self._past,
            decided_cause=trade.decided_cause,
            exit_cause=row.cause,
            exit_place=row.place,
        )


def trades_of(rows: NDArray[Any], manifest: Manifest, keys: Sequence[str]) -> Iterator[Trade]:
    """Turn the core's table of closed trades into trades."""
    for row in rows:
        plan = manifest.books[int(row["book"])]
        yield Trade(
            trade_id=row_name(int(row["entry_cause"]), int(row["entry_index"])),
            strategy=plan.strategy,
            account=plan.account,
            product=plan.product,
            instrument=keys[int(row["instrument"])],
            side="BUY" if row["side"] > 0 else "SELL",
            quantity=int(row["quantity"]),
            entry_ns=int(row["entry_ns"]),
            entry_value=int(row["entry_value"]),
            exit_ns=int(row["exit_ns"]),
            exit_value=int(row["exit_value"]),
            costs_paise=int(row["costs_paise"]),
            exit_reason=Reason(int(row["exit_reason"])).name.lower(),
            structure_id=manifest.structures[plan.structure].name,
            strategy_sha256=plan.sha256,
        )


def decision_digest(rows: NDArray[Any], before: str = "0") -> str:
    """Return the fingerprint of (order, fill, exit reason) rows: equal for two drivers that decided the same."""
    return f"{int(fingerprint_after(kernel_rows(rows), np.uint64(int(before, 16)))):016x}"


def market_time(time_ns: int) -> str:
    """Write a time of the market as ISO 8601 in India's time zone, to the millisecond."""
    return datetime.fromtimestamp(time_ns / 1e9, IST).isoformat(timespec="milliseconds")
