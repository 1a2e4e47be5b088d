"""What the API asks of the daemon, answered from its parts as they stand: reads on the loop, queries in a thread.

The page, the verbs and the metrics see the daemon through this and through nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar

from atmand import __version__
from atmand.api.metrics import BookMeasures, Measures
from atmand.api.source import Document, Health
from atmand.core.records import FeedState
from atmand.errors import UsageError
from atmand.in_force import InForce, Reloaded
from atmand.ledger.fold import TOTAL
from atmand.ledger.keeper import LEDGER, Snapshot
from atmand.ledger.sqlite import read_ledger
from atmand.ledger.store import SqlStore, TradeFilter
from atmand.ledger.trades import market_time
from atmand.ledger.why import UnknownTradeError, why
from atmand.market.sessions import in_windows
from atmand.market_side import MarketSide
from atmand.settings import Settings
from atmand.trading import Trading
from atmand.view import orders_of, position_rows, stamped, strategy_states, trade_story
from atmand.vitals import Vitals

__all__ = ["Shown"]

Phase = Literal["starting", "running", "draining"]
_Found = TypeVar("_Found")

_FEED_WORDS: Final = {
    FeedState.CONNECTING: "connecting",
    FeedState.CONNECTED: "connected",
    FeedState.SUBSCRIBED: "connected",
    FeedState.STALE: "stale",
    FeedState.LOST: "lost",
    FeedState.REFUSED: "closed",
}
_NO_SESSION: Final = "no session is open"


class Shown:
    """The daemon as the API sees it; parts are given when they are there."""

    def __init__(self, settings: Settings, trading: Trading, market: MarketSide, vitals: Vitals) -> None:
        self._settings, self._trading, self._market, self._vitals = settings, trading, market, vitals
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self.in_force: InForce | None = None
        self.phase: Phase = "starting"
        self.busy_with: str | None = "opening the journal"
        self.last_reload: Document = _NO_RELOAD

    # Resources.

    def status(self) -> Document:
        engine, vitals = self._trading.engine, self._vitals
        ready = engine.ready
        header: Mapping[str, int] = {name: int(engine.header[name]) for name in _COUNTERS} if ready else _NOTHING
        figures = self._books.statistics
        return {
            **self._stamp(),
            "market_time_ns": self._now_ns,
            "phase": self.phase,
            "starting": self.busy_with,
            "money": "paper",
            "market": "simulated" if self._market.simulated else "kite",
            "instance": self._settings.instance.name,
            "version": __version__,
            "day": str(self._trading.day or ""),
            "started": self._started,
            "uptime_s": round(vitals.uptime_s, 1),
            "speed": vitals.speed if self._market.simulated else None,
            "costs_as_of": str(self._settings.market.costs_as_of or self._trading.day or "") or None,
            "feed": self._feed(header),
            "journal": self._journal(),
            "ledger": self._ledger_state(),
            "counters": {name: header[field] for name, field in _COUNTED.items()},
            "entries": self.entries(),
            "accounts": [
                {"name": name[1:], **_figures(figure)} for name, figure in figures.items() if name.startswith("@")
            ],
            "strategies": self._strategies(),
            "rolls": self._rolls(),
        }

    def positions(self) -> Document:
        engine = self._trading.engine
        return {**self._stamp(), "positions": position_rows(engine) if engine.ready else []}

    def orders(self) -> Document:
        engine = self._trading.engine
        return orders_of(engine) if engine.ready else {**self._stamp(), "orders": []}

    def params(self) -> Document:
        return {**self._stamp(), **(self.in_force.shown_params() if self.in_force else _NO_PARAMS)}

    def reload(self) -> Document:
        return {**self._stamp(), "asked": self._vitals.reloads_asked, **self.last_reload}

    def reloaded(self, number: int, found: Reloaded | None, error: str | None = None) -> None:
        """Keep what a reload came to, for whoever asked for it; `number` is the newest that it was for."""
        changes = [] if found is None else found.changes
        self.last_reload = {
            "done": number,
            "ok": found is not None,
            "error": error,
            **{
                name: [
                    {"path": each.path, "old": _plain(each.old), "new": _plain(each.new)}
                    for each in changes
                    if each.live is live
                ]
                for name, live in (("live", True), ("waiting", False))
            },
            "strategies": [] if found is None else found.strategies,
        }

    async def trades(self, *, limit: int, before: str | None, strategy: str | None, past: bool) -> Document:
        if strategy is not None and strategy not in (known := self._strategy_names()):
            raise UsageError(f"strategy {strategy}", "no such strategy", f"known are {', '.join(sorted(known))}")
        wanted = TradeFilter(strategy=strategy, before=before, past=None if past else False, limit=limit + 1)
        found, position = await asyncio.to_thread(self._query, lambda store: (store.trades(wanted), store.position()))
        stamp = self._ledger_stamp(0 if position is None else position.sequence)
        shown = found[:limit]
        rows = [{**trade.to_json(), "past": trade.past} for trade in shown]
        return {**stamp, "trades": rows, "next": shown[-1].trade_id if len(found) > limit else None}

    async def trade(self, trade_id: str) -> Document | None:
        files = {name: strategy.file for name, strategy in self._settings.strategies.items()}
        state, journal = self._settings.instance.state, self._trading.journal
        try:
            story = await asyncio.to_thread(why, state, trade_id, journal=journal, files=files)
        except UnknownTradeError:
            return None
        return {**self._ledger_stamp(self._books.sequence), **trade_story(story)}

    def _query(self, ask: Callable[[SqlStore], _Found]) -> _Found:
        """Ask the ledger's database, in a thread; the writer's own connection is not shared."""
        with closing(read_ledger(self._settings.instance.state / LEDGER)) as store:
            return ask(store)

    async def equity(self, *, points: int) -> Document:
        series = []
        for name, curve in sorted(self._books.equity.items()):
            strategy, _, account = name.partition("@")
            step = max(1, -(-len(curve) // points))
            # Counted from the end, so that the newest point is always among them.
            thinned = curve[::-1][::step][::-1]
            rows = [[point.time_ns, point.equity_paise, int(point.past)] for point in thinned]
            if account:
                kind = "strategy" if strategy else "account"
                series.append({"name": strategy or account, "kind": kind, "points": rows})
        return {**self._ledger_stamp(self._books.sequence), "series": series}

    # Health.

    def health(self, name: Health) -> list[str]:
        if name == "live":
            return []
        reasons = [f"starting: {self.busy_with}"] if self.phase == "starting" else []
        if name == "startup":
            return reasons
        if self.phase == "draining":
            reasons.append("draining")
        reasons += [f"the {what} fails: {why}" for what, why in self._failing().items() if why]
        if name == "ready" or reasons:
            return reasons
        entries = self.entries()
        if not entries["allowed"]:
            reasons.append(f"no entries: {entries['reason']}")
        if self._is_open() and not any(row["state"] != "warming" for row in self._strategies()):
            reasons.append("every strategy is warming up")
        return reasons

    def _failing(self) -> dict[str, str]:
        """Say what is out of order. A silent feed is none while the market is closed."""
        feed = _FEED_WORDS[self._market.connection]
        broken = self.phase == "running" and feed != "connected" and (self._is_open() or feed != "stale")
        return {
            "journal": self._trading.writer.health().failed,
            "feed": feed if broken else "",
        }

    # Measures.

    def measures(self) -> Measures:
        status, vitals = self.status(), self._vitals
        feed, journal, counters = status["feed"], status["journal"], status["counters"]
        params = self.params()
        return Measures(
            version=__version__,
            instance=status["instance"],
            market=status["market"],
            phase=self.phase,
            uptime_s=status["uptime_s"],
            sequence=status["sequence"],
            market_time_ns=status["market_time_ns"],
            speed=status["speed"],
            loop_lag=vitals.lag.histogram(),
            apply=vitals.apply.histogram(),
            entries_allowed=status["entries"]["allowed"],
            feed_connected=feed["state"] == "connected",
            feed_instruments=feed["instruments"],
            feed_ticks=feed["ticks"],
            feed_last_tick_age_s=feed["last_tick_age_s"],
            feed_skipped_packets=feed["skipped_packets"],
            feed_skipped_frames=feed["skipped_frames"],
            feed_late_ticks=feed["late_ticks"],
            feed_unknown_tokens=feed["unknown_tokens"],
            feed_connects=self._market.connects,
            journal_appended=journal["appended"],
            journal_written=journal["written"],
            journal_durable=journal["durable"],
            journal_waiting_bytes=journal["waiting_bytes"],
            journal_bytes=journal["bytes"],
            journal_free_bytes=journal["free_bytes"],
            journal_failed=bool(journal["failed"]),
            ledger_sequence=status["ledger"]["sequence"],
            ledger_waiting_rows=status["ledger"]["waiting_rows"],
            ledger_failed=bool(status["ledger"]["failed"]),
            **counters,
            params_seq=params["seq"],
            params_refused=self.in_force.keeper.refusals if self.in_force else 0,
            reloads_ok=vitals.reloads_ok,
            reloads_refused=vitals.reloads_refused,
            accounts={row["name"]: _measured(row) for row in status["accounts"]},
            strategies={row["name"]: _measured(row) for row in status["strategies"]},
        )

    # Parts.

    @property
    def _now_ns(self) -> int:
        return self._trading.last_ns or self._market.clock.now_ns()

    def _stamp(self) -> Document:
        engine = self._trading.engine
        if engine.ready:
            return stamped(engine)
        return {"sequence": self._trading.writer.appended, "market_time": market_time(self._now_ns)}

    def _ledger_stamp(self, sequence: int) -> Document:
        """Return the sequence that the ledger reaches, which is behind the core's, and the time of its newest mark."""
        total = self._books.statistics.get(TOTAL)
        return {"sequence": sequence, "market_time": market_time(total.time_ns if total else self._now_ns)}

    def _strategy_names(self) -> set[str]:
        """Name the strategies that run, and those of which the ledger knows."""
        running = {row.book for row in self.in_force.deployments} if self.in_force else set()
        return running | {name.partition("@")[0] for name in self._books.statistics} - {""}

    def _is_open(self) -> bool:
        return in_windows(self._trading.hours, self._now_ns)

    def _feed(self, header: Mapping[str, int]) -> Document:
        engine = self._trading.engine
        return {
            "state": _FEED_WORDS[self._market.connection],
            "instruments": len(engine.layout.keys) if engine.ready else 0,
            "ticks": header["ticks"],
            "last_tick_age_s": self._trading.last_frame_age_s,
            "skipped_packets": engine.packets_skipped,
            "skipped_frames": engine.frames_skipped,
            "late_ticks": header["late_ticks"],
            "unknown_tokens": header["unknown_tokens"],
        }

    def _journal(self) -> Document:
        health = self._trading.writer.health()
        return {
            "appended": health.appended,
            "written": health.written,
            "durable": health.durable,
            "waiting_bytes": health.waiting_bytes,
            "failed": health.failed,
            "free_bytes": self._vitals.free_bytes,
            "bytes": self._vitals.journal_bytes,
        }

    def _ledger_state(self) -> Document:
        ledger = self._trading.ledger
        if ledger is None:
            return {"sequence": 0, "failed": "", "waiting_rows": 0}
        health = ledger.health()
        return {"sequence": self._books.sequence, "failed": health.failed, "waiting_rows": health.waiting}

    @property
    def _books(self) -> Snapshot:
        """The ledger as it stands: a little behind the core, never ahead of the journal."""
        return _NO_BOOKS if self._trading.ledger is None else self._trading.ledger.latest

    def entries(self) -> Document:
        """Say whether new positions may be opened, and what forbids it."""
        engine = self._trading.engine
        if self.phase == "draining":
            return {"allowed": False, "reason": "the daemon is stopping"}
        if not engine.ready:
            return {"allowed": False, "reason": _NO_SESSION}
        if self._trading.entries_held:
            return {"allowed": False, "reason": "the disk is nearly full or refuses"}
        if self._trading.switches.entries_off:
            return {"allowed": False, "reason": "the operator has switched them off"}
        if not engine.header["entries"]:
            return {"allowed": False, "reason": "limits.entries is off"}
        return {"allowed": True, "reason": None}

    def _rolls(self) -> list[Document]:
        """Say when selectors change their contracts, the soonest first."""
        found = self.in_force.universe.rolls if self.in_force else ()
        return [
            {
                "strategy": strategy,
                "selector": roll.selector,
                "was": roll.was,
                "to": roll.to or None,
                "day": roll.day.isoformat(),
            }
            for strategy, roll in sorted(found, key=lambda each: (each[1].day, each[0], each[1].selector))
        ]

    def _strategies(self) -> list[Document]:
        engine = self._trading.engine
        if not engine.ready or self.in_force is None:
            return []
        figures = self._books.statistics
        rows = []
        for index, row in enumerate(strategy_states(engine, self.in_force.deployments)):
            figure = figures.get(f"{row['name']}@{row['account']}")
            rows.append({**row, **(_figures(figure) if figure else _from_book(engine.table("books")[index]))})
        return rows


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it: a path or a day is its text."""
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


_NO_BOOKS: Final = Snapshot()
_COUNTED: Final = {"bars": "bars", "orders": "orders_made", "fills": "fills", "refused": "refused"}
_COUNTERS: Final = (*_COUNTED.values(), "ticks", "late_ticks", "unknown_tokens")
_NOTHING: Final = dict.fromkeys(_COUNTERS, 0)
_NO_PARAMS: Final[Document] = {
    "seq": 0, "sha256": None, "source": "defaults", "refused": None, "author": None, "created": None, "strategies": [],
}  # fmt: skip
_NO_RELOAD: Final[Document] = {
    "done": 0, "ok": None, "error": None, "live": [], "waiting": [], "strategies": [],
}  # fmt: skip
_FIGURES: Final = (
    "equity_paise", "capital_paise", "day_profit_paise", "profit_paise", "costs_paise", "positions", "trades",
    "day_return", "total_return", "volatility", "drawdown", "worst_drawdown", "sharpe", "win_rate",
)  # fmt: skip


def _figures(figure: Any) -> Document:
    return {name: getattr(figure, name) for name in _FIGURES}


def _from_book(book: Any) -> Document:
    """Return the money of a book that has not been marked yet; there is nothing to make statistics of."""
    equity, capital = int(book["equity_paise"]), int(book["capital_paise"])
    known = {
        "equity_paise": equity,
        "capital_paise": capital,
        "day_profit_paise": equity - int(book["day_equity_paise"]),
        "profit_paise": equity - capital,
        "costs_paise": int(book["costs_paise"]),
        "positions": int(book["positions"]),
        "trades": 0,
    }
    return dict.fromkeys(_FIGURES) | known


def _measured(row: Mapping[str, Any]) -> BookMeasures:
    return BookMeasures(
        equity_paise=row["equity_paise"],
        day_profit_paise=row["day_profit_paise"],
        costs_paise=row["costs_paise"],
        positions=row["positions"],
        trades=row["trades"],
        drawdown=row["drawdown"] or 0.0,
    )
