"""A trade's story, out of the ledger's row and the journal's records: `atmand why` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from atmand.core.manifest import Manifest
from atmand.core.records import Kind
from atmand.core.words import OrderState, Purpose, Reason
from atmand.errors import AtmandError
from atmand.lang.strategy import StrategyFile, load_strategy
from atmand.ledger.catch_up import Names, Params, events, session_of
from atmand.ledger.fold import Opening
from atmand.ledger.keeper import LEDGER
from atmand.ledger.sqlite import read_ledger
from atmand.ledger.store import TradeFilter
from atmand.ledger.trades import AuditRow, Trade, audit_rows, book_name, market_time, row_name

__all__ = ["UnknownTradeError", "told", "why"]

_STEPS: Final = (Kind.AUDIT_DECISION, Kind.AUDIT_INTENT, Kind.AUDIT_ORDER, Kind.AUDIT_FILL)
_NEAREST: Final = 5
_PARTS: Final = {int(Reason.ADD): "addition", int(Reason.REDUCE): "reduction"}


class UnknownTradeError(AtmandError):
    """No trade has this id."""


def why(state: Path, trade_id: str, *, journal: Path, files: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """Tell how a closed trade came about; `files` are the configured strategy files by the strategies' names.

    UnknownTradeError, naming the newest ids, where no closed trade has this id.
    """
    store = read_ledger(state / LEDGER)
    try:
        trade = store.trade(trade_id)
        newest = [] if trade else store.trades(TradeFilter(limit=_NEAREST))
    finally:
        store.close()
    if trade is None:
        known = ", ".join(each.trade_id for each in newest) or "there is none yet"
        raise UnknownTradeError(f"trade {trade_id}", "no closed trade has this id", f"the newest are {known}")
    return _story(trade, _Recorded.of(journal, trade), (files or {}).get(trade.strategy))


def told(story: Mapping[str, Any]) -> list[str]:
    """Write a story as lines for a reader."""
    trade = story["trade"]
    lines = [
        f"{trade['trade_id']}: {trade['strategy']} {trade['side']} {trade['quantity']} {trade['instrument']}, "
        f"{_signed(trade['net_paise'])} rupees after {trade['costs_paise'] / 100:,.2f} of costs"
        + (" (simulated past)" if story["past"] else ""),
        "",
    ]
    decision = story["decision"]
    if decision is None:
        lines.append("The decision is not in the journal any more.")
    else:
        bar = decision["bar_time"]
        lines.append(f"Decided at {decision['time']} on the bar of {bar}, which closed at {decision['close']:.2f}:")
        lines.append(f"  {decision['side']} {decision['quantity']}")
    lines.append(f"Parameters in force (document {story['parameter_seq']}):")
    lines += [f"  {name} = {value:g}" for name, value in story["parameters"].items()] or ["  none"]
    lines.append(f"Strategy file: sha256 {trade['strategy_sha256']}")
    lines += [f"  {name}: {text}" for name, text in (story["rules"] or {}).items()]
    if story["rules"] is None:
        lines.append("  its rules are not shown: no configured file has this sha256")
    lines.append("What happened:")
    lines += [f"  {step['time']}  {_step_words(step)}" for step in story["steps"]]
    lines.append(f"Ended by {trade['exit_reason'].replace('_', ' ')}: {_signed(trade['gross_paise'])} before costs.")
    return lines


@dataclass
class _Recorded:
    """What the journal says of one trade."""

    decision: AuditRow | None = None
    steps: list[AuditRow] = field(default_factory=list)
    parameters: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, journal: Path, trade: Trade) -> _Recorded:
        found = cls()
        entry = _cause_of(trade.trade_id)
        first = trade.decided_cause or entry
        for values, row in _rows_of(journal, trade, first):
            if row.cause > trade.exit_cause:
                break
            if row.kind == Kind.AUDIT_DECISION and row.cause <= entry:
                found.decision, found.parameters = row, dict(values)
            found.parameters = found.parameters or dict(values)
            found.steps.append(row)
        return found


def _cause_of(trade_id: str) -> int:
    cause = trade_id.rsplit("-", 1)[0]
    return -int(cause[1:]) if cause.startswith("p") else int(cause)


def _rows_of(journal: Path, trade: Trade, first: int) -> Iterator[tuple[Mapping[str, float], AuditRow]]:
    """Yield the audit rows of a trade's book and instrument from a cause on, with the parameters in force."""
    session = session_of(journal, first) if first > 0 else None
    book = instrument = -1
    opening: Opening | None = None
    values: dict[str, float] = {}
    for _, event in events(journal, session.first_sequence - 1 if session else 0):
        if isinstance(event, Names):
            continue
        if isinstance(event, Opening):
            opening = event
            book, instrument = _places(event, trade)
            values = _values(event.manifest, book)
        elif isinstance(event, Params):
            if opening is not None and book >= 0:
                _swap(values, opening.manifest, book, event)
        else:
            yield from ((values, row) for row in _chosen(event, book, instrument, first))
            if len(event) and int(event["cause"][0]) > trade.exit_cause:
                return


def _chosen(rows: NDArray[Any], book: int, instrument: int, first: int) -> Iterator[AuditRow]:
    mine = (rows["book"] == book) & (rows["instrument"] == instrument) & (rows["cause"] >= first)
    for row in audit_rows(rows[mine]):
        if row.kind in _STEPS:
            yield row


def _places(opening: Opening, trade: Trade) -> tuple[int, int]:
    """Return the numbers of a trade's book and instrument in a session; -1 where it has none."""
    books = [book_name(plan) for plan in opening.manifest.books]
    name = f"{trade.strategy}@{trade.account}"
    book = books.index(name) if name in books else -1
    return book, opening.keys.index(trade.instrument) if trade.instrument in opening.keys else -2


def _values(manifest: Manifest, book: int) -> dict[str, float]:
    if book < 0:
        return {}
    plan = manifest.books[book]
    return dict(zip(manifest.structures[plan.structure].params, plan.values, strict=True))


def _swap(values: dict[str, float], manifest: Manifest, book: int, params: Params) -> None:
    names = manifest.structures[manifest.books[book].structure].params
    for each, slot, value in params.values:
        if each == book and slot < len(names):
            values[names[slot]] = value


def _story(trade: Trade, recorded: _Recorded, file: Path | None) -> dict[str, Any]:
    decision = recorded.decision
    return {
        "trade": trade.to_json(),
        "past": trade.past,
        "decision": None
        if decision is None
        else {
            "time": market_time(decision.time_ns),
            "bar_time": market_time(decision.value),
            "close": decision.price / 100,
            "side": _side(decision),
            "quantity": decision.quantity,
            "cause": decision.cause,
        },
        "parameter_seq": trade.parameter_seq,
        "parameters": recorded.parameters,
        "rules": _rules(trade, file),
        "steps": [_step(row) for row in recorded.steps if row.kind != Kind.AUDIT_DECISION],
    }


def _step(row: AuditRow) -> dict[str, Any]:
    """Return one step of an order's life as plain JSON; amounts are rupees."""
    step: dict[str, Any] = {
        "time": market_time(row.time_ns),
        "key": row_name(row.cause, row.place),
        "order": row.order,
        "side": _side(row),
        "quantity": row.quantity,
        "price": row.price / 100,
        "reason": Reason(row.reason).name.lower(),
    }
    if row.kind == Kind.AUDIT_ORDER:
        return {"what": "order", **step, "state": OrderState(row.state).name.lower()}
    purpose = _PARTS.get(row.reason, Purpose(row.state).name.lower())
    if row.kind == Kind.AUDIT_INTENT:
        return {"what": "intent", **step, "purpose": purpose}
    return {"what": "fill", **step, "purpose": purpose, "costs": row.costs / 100}


def _step_words(step: Mapping[str, Any]) -> str:
    reason = step["reason"].replace("_", " ")
    if step["what"] == "fill":
        return (
            f"order {step['order']} filled: {step['side']} {step['quantity']} at {step['price']:.2f}, "
            f"costs {step['costs']:,.2f}"
        )
    if step["what"] == "intent":
        bound = "up to" if step["side"] == "BUY" else "down to"
        order = f"order {step['order']}, {step['side']} {step['quantity']} {bound} {step['price']:.2f}"
        return f"{step['purpose']} wanted ({reason}): {order}"
    return f"order {step['order']} {step['state']}"


def _rules(trade: Trade, file: Path | None) -> dict[str, str] | None:
    """Return the rules of the strategy file that decided; None where the file at hand is another one."""
    strategy = None if file is None else _loaded(file)
    if strategy is None or strategy.sha256 != trade.strategy_sha256:
        return None
    rules: dict[str, str] = {f"signals.{name}": text for name, text in strategy.strategy.signals.items()}
    for table in ("entry", "exit", "stop", "size"):
        for name, text in getattr(strategy.strategy, table):
            if isinstance(text, str):
                rules[f"{table}.{name}"] = text
    return rules


def _loaded(file: Path) -> StrategyFile | None:
    try:
        return load_strategy(file)
    except AtmandError:
        return None


def _side(row: AuditRow) -> str:
    return "BUY" if row.side > 0 else "SELL"


def _signed(paise: int) -> str:
    return f"{paise / 100:+,.2f}"
