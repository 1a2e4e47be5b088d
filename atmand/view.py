"""What the running daemon shows of itself: tables of the core read on the loop, as documents for page, API and verbs.

Every document carries the sequence that it is of. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import structlog

from atmand.core.engine import Engine
from atmand.core.words import OrderKind, OrderState, Purpose, Reason
from atmand.lang.program import Deployment
from atmand.ledger.trades import market_time, row_name

__all__ = ["Lives", "life_of", "orders_of", "position_rows", "stamped", "strategy_states", "trade_story"]

log = structlog.get_logger()

_FIRM: Final = ("in_trade", "exiting", "entering")
"""States that say more than any reason against an entry, the strongest first."""


def position_rows(engine: Engine) -> list[dict[str, Any]]:
    """List the open positions with what they came to so far, costs included."""
    layout = engine.layout
    pairs, instruments = engine.table("pairs"), engine.table("instruments")
    rows = []
    for place in np.flatnonzero(pairs["quantity"]):
        pair = pairs[place]
        plan = layout.manifest.books[int(pair["book"])]
        last, quantity = int(instruments["last_price"][int(pair["instrument"])]), int(pair["quantity"])
        entered = int(pair["entry_quantity"])
        profit = int(pair["realised_paise"]) + quantity * last - int(pair["value_paise"]) - int(pair["costs_paise"])
        rows.append(
            {
                "strategy": plan.strategy,
                "account": plan.account,
                "instrument": layout.keys[int(pair["instrument"])],
                "product": plan.product,
                "side": "BUY" if quantity > 0 else "SELL",
                "quantity": abs(quantity),
                "holding": min(int(pair["holding"]), abs(quantity)),
                "entry_price": round(int(pair["entry_value"]) / max(1, entered) / 100, 4),
                "last_price": last / 100,
                "entry_time": market_time(int(pair["entry_ns"])),
                "value_paise": abs(quantity) * last,
                "profit_paise": profit,
                "stop_price": _rupees(pair["stop_price"]),
                "target_price": _rupees(pair["target_price"]),
                "trade_id": row_name(int(pair["entry_cause"]), int(pair["entry_index"])),
            }
        )
    return rows


def orders_of(engine: Engine) -> dict[str, Any]:
    """Return the working orders, oldest first."""
    layout, orders = engine.layout, engine.table("orders")
    rows = []
    for order in np.sort(orders[orders["state"] != OrderState.FREE], order="id"):
        plan = layout.manifest.books[int(order["book"])]
        rows.append(
            {
                "order_id": str(int(order["id"])),
                "strategy": plan.strategy,
                "account": plan.account,
                "instrument": layout.keys[int(order["instrument"])],
                "side": "BUY" if order["side"] > 0 else "SELL",
                "kind": OrderKind(int(order["kind"])).name.lower(),
                "purpose": Purpose(int(order["purpose"])).name.lower(),
                "state": OrderState(int(order["state"])).name.lower(),
                "quantity": int(order["quantity"]),
                "filled": int(order["filled"]),
                "price": int(order["limit"]) / 100,
                "created_time": market_time(int(order["created_ns"])),
                "reason": _reason(Reason(int(order["reason"]))),
            }
        )
    return stamped(engine, orders=rows)


def stamped(engine: Engine, **facts: Any) -> dict[str, Any]:
    """Return facts with the sequence and the market's time that they are of."""
    return {"sequence": engine.sequence, "market_time": market_time(engine.time_ns), **facts}


def strategy_states(engine: Engine, deployments: Sequence[Deployment]) -> list[dict[str, Any]]:
    """Say of every strategy what it waits for, what it is in, or what keeps it from trading."""
    layout = engine.layout
    pairs, series, books = engine.table("pairs"), engine.table("series"), engine.table("books")
    files = {f"{deployment.book}@{deployment.account}": deployment.file for deployment in deployments}
    found = []
    for index, plan in enumerate(layout.manifest.books):
        refusal = _book_refusal(engine, books[index])
        # Contracts that legs may choose are shown while a group trades them; they have no bars to warm up on.
        shown = (pairs["book"] == index) & ((pairs["series"] >= 0) | (pairs["group"] != 0) | (pairs["quantity"] != 0))
        mine = np.flatnonzero(shown).tolist()
        folded = [int(series["count"][at]) for at in pairs["series"][shown].tolist() if at >= 0]
        instruments = [_pair_state(pairs[place], layout.keys[layout.pairs[place][1]], refusal) for place in mine]
        have = min(folded, default=0)
        file = files.get(f"{plan.strategy}@{plan.account}")
        state, blocked_by = ("run_off", None) if plan.run_off else _strongest(instruments)
        life, reason = life_of(engine, index)
        found.append(
            {
                "name": plan.strategy,
                "account": plan.account,
                "summary": file.strategy.summary if file else "",
                "file": file.source.name if file else "",
                "state": state,
                "life": life,
                "life_reason": reason,
                "waiting_for": file.strategy.entry.model_dump(include={"long", "short"}) if file else None,
                "blocked_by": blocked_by,
                "warming": {"have": have, "need": plan.warm_bars} if state == "warming" else None,
                "instruments": instruments,
            }
        )
    return found


def life_of(engine: Engine, index: int) -> tuple[str, str]:
    """Say where a book is in its life, and why: warming, active, paused or run_off."""
    plan, book = engine.layout.manifest.books[index], engine.table("books")[index]
    if book["run_off"]:
        return "run_off", f"{int(book['positions'])} positions of {plan.origin} to exit"
    if book["paused"]:
        return "paused", "by command"
    pairs = engine.table("pairs")
    mine = pairs[(pairs["book"] == index) & (pairs["series"] >= 0)]
    if len(mine) and not mine["ready"].any():
        have = int(engine.table("series")["count"][mine["series"]].min())
        return "warming", f"{have} of {plan.warm_bars} bars"
    return "active", ""


class Lives:
    """Tells each strategy's way through its life, once a change."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def tell(self, engine: Engine) -> None:
        """Say which strategies are in another state than when this was called last."""
        if not engine.ready:
            return
        plans = engine.layout.manifest.books
        now = {f"{plan.strategy}@{plan.account}": life_of(engine, index) for index, plan in enumerate(plans)}
        now |= {name: ("removed", "") for name in self._told if name not in now}
        for name, (state, reason) in now.items():
            if state != self._told.get(name):
                strategy, _, account = name.partition("@")
                log.info("strategy_state", strategy=strategy, account=account, state=state, reason=reason)
        self._told = {name: state for name, (state, _) in now.items() if state != "removed"}


def trade_story(story: Mapping[str, Any]) -> dict[str, Any]:
    """Write what `why` tells of a trade as fills and a list of facts, in the order in which they are told."""
    facts = []
    decision = story["decision"]
    if decision is not None:
        facts.append(("decided", f"{decision['time']}, on the bar that closed at {decision['close']:.2f}"))
    facts.append(("parameter document", str(story["parameter_seq"]) if story["parameter_seq"] else "none"))
    facts += [(name, f"{value:g}") for name, value in story["parameters"].items()]
    facts += list((story["rules"] or {"rules": "the file that decided is not the one that is configured now"}).items())
    fills = [
        {
            **{name: step[name] for name in ("time", "purpose", "side", "quantity", "price", "reason")},
            "costs_paise": round(step["costs"] * 100),
        }
        for step in story["steps"]
        if step["what"] == "fill"
    ]
    return {
        "trade": {**story["trade"], "past": story["past"]},
        "fills": fills,
        "facts": [{"label": label, "text": text} for label, text in facts],
    }


def _strongest(instruments: Sequence[dict[str, Any]]) -> tuple[str, str | None]:
    """Say in one word what a strategy is doing over all its instruments."""
    states = {row["state"] for row in instruments}
    for state in (*_FIRM, "paused", "waiting", "blocked", "warming"):
        if state in states:
            reasons = [row["blocked_by"] for row in instruments if row["state"] == state]
            return state, next((reason for reason in reasons if reason), None)
    return "warming", None


def _pair_state(pair: Any, key: str, refusal: Reason) -> dict[str, Any]:
    blocked = Reason.NONE
    if pair["quantity"]:
        state = "exiting" if pair["exit_order"] >= 0 else "in_trade"
    elif pair["entry_order"] >= 0:
        state = "entering"
    elif refusal in (Reason.PAUSED, Reason.RUN_OFF):
        state = refusal.name.lower()
    elif not pair["ready"]:
        state = "warming"
    else:
        blocked = refusal if refusal is not Reason.NONE else Reason(int(pair["blocked"]))
        state = "waiting" if blocked is Reason.NONE else "blocked"
    return {"instrument": key, "state": state, "quantity": int(pair["quantity"]), "blocked_by": _reason(blocked)}


def _reason(reason: Reason) -> str | None:
    return None if reason is Reason.NONE else reason.name.lower()


def _book_refusal(engine: Engine, book: Any) -> Reason:
    """Return why a book would refuse every entry now, as `core/risk.py` would say it."""
    header = engine.header
    if book["run_off"]:
        return Reason.RUN_OFF
    if book["paused"]:
        return Reason.PAUSED
    if not header["entries"]:
        return Reason.ENTRIES_OFF
    if book["squared"] or not book["entry_from_ns"] <= header["time_ns"] < book["entry_to_ns"]:
        return Reason.OUTSIDE_WINDOW
    if book["day_equity_paise"] - book["equity_paise"] >= book["daily_loss_paise"]:
        return Reason.DAILY_LOSS
    return Reason.NONE


def _rupees(price: Any) -> float | None:
    return int(price) / 100 if price else None
