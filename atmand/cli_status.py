"""The verbs that ask how things stand: `atmand status`, `positions` and `orders`.

They ask the daemon that runs on a state directory; where none does, they read what it left there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from atmand.cli_daemon import ask
from atmand.cli_words import Config, Json, State, print_json, print_rows, rupees, say, state_of
from atmand.errors import UsageError
from atmand.runtime import running

__all__ = ["orders", "positions", "status"]

_POSITION: Final = ("strategy", "instrument", "side", "quantity", "entry_price", "last_price", "profit", "entry_time")
_ORDER: Final = ("order_id", "strategy", "instrument", "side", "purpose", "state", "quantity", "filled", "price")
_ROLLS: Final = 3
"""So many of the next changes of contracts are shown; `atmand universe` shows all."""
_BOOK: Final = ("name", "state", "instruments", "equity", "today", "costs", "trades", "waits_for")


def status(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> None:
    """Say how the daemon is: market, feed, journal, strategies, money."""
    directory = state_of(context, config, state)
    found = _asked(directory, "/v1/status") or _left(directory)
    print_json(found) if as_json else _tell(found)


def positions(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> None:
    """List the open positions with what they came to so far, costs included."""
    directory = state_of(context, config, state)
    found = _asked(directory, "/v1/positions") or _left_positions(directory)
    if as_json:
        print_json(found)
        return
    rows = [{**row, "profit": rupees(row.get("profit_paise"))} for row in found["positions"]]
    _table(_POSITION, rows, found, "no position is open")


def orders(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> None:
    """List the working orders."""
    directory = state_of(context, config, state)
    found = _asked(directory, "/v1/orders")
    if found is None:
        books = _snapshot(directory)
        found = {"running": False, "sequence": books["sequence"], "market_time": _time(books), "orders": []}
    print_json(found) if as_json else _table(_ORDER, found["orders"], found, "no order is working")


def _asked(state: Path, path: str) -> dict[str, Any] | None:
    """Ask the daemon of a state directory; None where none runs there."""
    here = running(state)
    return None if here is None else {"running": True, **ask(here, path)}


def _left(state: Path) -> dict[str, Any]:
    """Say what a stopped daemon left: its books' last snapshot."""
    books = _snapshot(state)
    rows = [
        {
            "name": name.partition("@")[0],
            "account": name.partition("@")[2],
            "state": "stopped",
            "equity_paise": book["equity_paise"],
            "capital_paise": book["capital_paise"],
            "day_profit_paise": book["equity_paise"] - book["day_equity_paise"],
            "costs_paise": book["costs_paise"],
            "positions": book["positions"],
        }
        for name, book in books["books"].items()
    ]
    return {
        "running": False,
        "state": str(state),
        "sequence": books["sequence"],
        "market_time": _time(books),
        "strategies": rows,
    }


def _left_positions(state: Path) -> dict[str, Any]:
    books = _snapshot(state)
    rows = [
        {
            "strategy": row["book"].partition("@")[0],
            "account": row["book"].partition("@")[2],
            "instrument": row["instrument"],
            "side": "BUY" if row["quantity"] > 0 else "SELL",
            "quantity": abs(row["quantity"]),
            "entry_price": round(row["entry_value"] / row["entry_quantity"] / 100, 4),
        }
        for row in books["pairs"]
        if row["quantity"]
    ]
    return {"running": False, "sequence": books["sequence"], "market_time": _time(books), "positions": rows}


def _snapshot(state: Path) -> dict[str, Any]:
    from atmand.journal import snapshots
    from atmand.wiring import SNAPSHOTS

    found = snapshots.newest(state / SNAPSHOTS)
    if found is None:
        raise UsageError(
            str(state), "no daemon runs here, and none has left books", "name a daemon's state with --state DIR"
        )
    return found.document


def _time(books: Mapping[str, Any]) -> str:
    from atmand.ledger.trades import market_time

    return market_time(int(books["time_ns"]))


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any], none: str) -> None:
    if rows:
        # A stopped daemon leaves less than a running one says: what nobody knows has no column.
        print_rows([column for column in columns if any(row.get(column) is not None for row in rows)], rows)
    else:
        print(none)
    say(_as_of(found))


def _as_of(found: Mapping[str, Any]) -> str:
    where = "" if found["running"] else "the daemon is stopped; "
    return f"{where}as of record {found['sequence']}, market time {found['market_time']}"


def _tell(found: Mapping[str, Any]) -> None:
    """Print a status for a person."""
    if found["running"]:
        feed, journal = found["feed"], found["journal"]
        print(
            f"{found['instance']}: {found['phase']}, {found['money']} money, {found['market']} market, {found['day']}"
        )
        age = _seconds(feed["last_tick_age_s"])
        print(f"feed {feed['state']}, {feed['instruments']} instruments, last tick {age} ago")
        behind = journal["appended"] - journal["written"]
        print(f"journal {journal['failed'] or 'writes'}, {journal['written']} records, {behind} on their way")
        if not found["entries"]["allowed"]:
            print(f"no entries: {found['entries']['reason']}")
        for roll in found["rolls"][:_ROLLS]:
            print(f"{roll['day']}: {roll['strategy']} goes from {roll['was']} to {roll['to'] or 'nothing listed yet'}")
        print()
    rows = [
        {
            "name": row["name"],
            "state": _state(row),
            "instruments": len(row.get("instruments", ())) or None,
            "equity": rupees(row["equity_paise"]),
            "today": rupees(row["day_profit_paise"]),
            "costs": rupees(row["costs_paise"]),
            "trades": row.get("trades"),
            "waits_for": _rules(row) if row["state"] == "waiting" else None,
        }
        for row in found["strategies"]
    ]
    _table(_BOOK, rows, found, "no strategy is loaded yet")


def _state(row: Mapping[str, Any]) -> str:
    state = str(row["state"])
    if state in ("warming", "run_off") and row.get("life_reason"):
        return f"{state}: {row['life_reason']}"
    return state + (f" by {row['blocked_by']}" if row.get("blocked_by") else "")


def _rules(row: Mapping[str, Any]) -> str:
    rules = row.get("waiting_for") or {}
    return "; ".join(f"{side}: {' '.join(rule.split())}" for side, rule in rules.items() if rule)


def _seconds(age_s: float | None) -> str:
    return "never" if age_s is None else f"{age_s:.1f} s"
