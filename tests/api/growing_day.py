"""A source of plausible answers that grow: twenty simulated sessions, then a day that `advance` moves on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Literal

from atmand.api.door import Ack, Sender, Write, WriteError
from atmand.api.metrics import BookMeasures, Histogram, Measures
from atmand.api.source import Health
from atmand.api.tokens import Tokens

IST = timezone(timedelta(hours=5, minutes=30))
DAY = date(2026, 7, 6)
CAPITAL = 50_000_000
NAMES = ("RELIANCE", "TCS", "INFY", "HDFCBANK", "ICICIBANK", "SBIN", "ITC", "LT", "AXISBANK", "BHARTIARTL")
RULES = {
    "rsi_macd": (
        "crosses_above(momentum, 0) and strength < rsi_high and strength > rsi_low",
        "crosses_below(momentum, 0) and strength > rsi_low and strength < rsi_high",
    ),
    "ema_trend": (
        "crosses_above(quick, calm) and close > trend",
        "crosses_below(quick, calm) and close < trend",
    ),
}


@dataclass
class GrowingDay:
    """Implements `Source`, and `submit` as `Submit`. What a test wants to differ, it sets."""

    seed: int = 7
    phase: Literal["starting", "running", "draining"] = "running"
    starting: str | None = None
    feed_state: str = "connected"
    blocked_by: str | None = None
    warming: dict[str, int] | None = None
    refused: dict[str, Any] | None = None
    names: tuple[str, ...] = ("rsi_macd", "ema_trend")
    unwell: dict[str, list[str]] = field(default_factory=dict)
    padding: int = 0
    """Bytes more in each status, to fill a slow listener's socket."""
    failing: set[str] = field(default_factory=set)
    """Names of methods that raise."""
    tokens: Tokens = field(default_factory=Tokens)
    written: list[tuple[Write, Sender]] = field(default_factory=list)
    """What was submitted."""
    seconds: float = 0.0
    """What the limits on failures and writes take for the time."""
    refusing: WriteError | None = None
    """What `submit` raises."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._now = datetime(2026, 7, 6, 11, 42, 8, tzinfo=IST)
        self._equity = dict.fromkeys(self.names, CAPITAL)
        self._opening = dict(self._equity)
        self._points: dict[str, list[list[int]]] = {name: [] for name in ("paper", *self.names)}
        self._trades: list[dict[str, Any]] = []
        self.sequence = 48_211
        day = DAY - timedelta(days=29)
        while day < DAY:
            if day.weekday() < 5:
                self._session(day, 375, past=True)
            day += timedelta(days=1)
        self._opening = dict(self._equity)
        self._session(DAY, 147, past=False)

    def advance(self, minutes: int = 1, *, trade: bool = False) -> None:
        """Let market time pass; with `trade`, one is closed."""
        for _ in range(minutes):
            self._now += timedelta(minutes=1)
            self._mark(self._now, past=False)
            self.sequence += 60
        if trade:
            self._trade(self._now, past=False)

    def _session(self, day: date, minutes: int, *, past: bool) -> None:
        start = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
        for minute in range(0, minutes, 5):
            self._mark(start + timedelta(minutes=minute), past=past)
            if minute % 60 == 30:
                self._trade(start + timedelta(minutes=minute), past=past)

    def _mark(self, at: datetime, *, past: bool) -> None:
        for name in self.names:
            self._equity[name] += int(self._random.gauss(900, 45_000))
            self._points[name].append([ns(at), self._equity[name], int(past)])
        self._points["paper"].append([ns(at), sum(self._equity.values()), int(past)])

    def _trade(self, at: datetime, *, past: bool) -> None:
        number = len(self._trades)
        side = "BUY" if number % 3 else "SELL"
        price, move, quantity = 1_274.7, round(self._random.gauss(0.8, 6), 2), 78
        gross = round(move * 100) * quantity * (1 if side == "BUY" else -1)
        self._trades.append(
            {
                "trade_id": f"{31_000 + number * 7}-2",
                "account": "paper",
                "venue": "INTERNAL",
                "product": "MIS",
                "structure_id": "s1",
                "strategy": self.names[number % len(self.names)],
                "instrument": f"NSE:EQ:{NAMES[number % len(NAMES)]}",
                "side": side,
                "quantity": quantity,
                "entry_time": iso(at - timedelta(minutes=23)),
                "entry_price": price,
                "exit_time": iso(at),
                "exit_price": round(price + move, 2),
                "gross_paise": gross,
                "costs_paise": 5_218,
                "net_paise": gross - 5_218,
                "exit_reason": ("target", "stop", "rule", "square_off")[number % 4],
                "parameter_seq": 3,
                "strategy_sha256": "5f" * 32,
                "model_sha256": None,
                "past": past,
            }
        )

    @property
    def _head(self) -> dict[str, Any]:
        return {"sequence": self.sequence, "market_time": iso(self._now)}

    def status(self) -> dict[str, Any]:
        self._may("status")
        strategies = [self._strategy(index, name) for index, name in enumerate(self.names)]
        return {
            **self._head,
            "market_time_ns": ns(self._now),
            "phase": self.phase,
            "starting": self.starting,
            "money": "paper",
            "market": "simulated",
            "instance": "demo",
            "version": "0.1.0",
            "day": DAY.isoformat(),
            "started": datetime(2026, 11, 24, 0, 10, 28, tzinfo=UTC).isoformat(),
            "uptime_s": 147.2,
            "speed": 60.0,
            "costs_as_of": "2026-04-01",
            "feed": {
                "state": self.feed_state,
                "instruments": 20,
                "ticks": 412_233,
                "last_tick_age_s": 0.04,
                "skipped_packets": 0,
                "skipped_frames": 0,
                "late_ticks": 3,
                "unknown_tokens": 0,
            },
            "journal": {
                "appended": self.sequence,
                "written": self.sequence - 4,
                "durable": self.sequence - 310,
                "waiting_bytes": 18_220,
                "failed": "",
                "free_bytes": 51_200_000_000,
                "bytes": 188_400_000,
            },
            "ledger": {"sequence": self.sequence - 4, "failed": "", "waiting_rows": 0},
            "counters": {"bars": 2_940, "orders": 61, "fills": 58, "refused": 4},
            "entries": {"allowed": self.blocked_by is None, "reason": self.blocked_by or "x" * self.padding or None},
            "accounts": [
                {"name": "paper", **self._statistics(sum(self._equity.values()), sum(self._opening.values()), 2, None)}
            ],
            "strategies": strategies,
            "rolls": [
                {
                    "strategy": self.names[0],
                    "selector": "NFO:NIFTY:FUT:near",
                    "was": "NSE:FUT:NIFTY:2026-07-28",
                    "to": "NSE:FUT:NIFTY:2026-08-25",
                    "day": "2026-07-29",
                }
            ],
        }

    def _strategy(self, index: int, name: str) -> dict[str, Any]:
        state = "blocked" if self.blocked_by else "warming" if self.warming else ("in_trade", "waiting")[index % 2]
        long, short = list(RULES.values())[index % len(RULES)]
        instruments = [
            {"instrument": f"NSE:EQ:{each}", "state": state, "quantity": 0, "blocked_by": self.blocked_by}
            for each in NAMES
        ]
        if state == "in_trade":
            instruments = [row | {"state": "waiting"} for row in instruments]
            instruments[0] |= {"state": "in_trade", "quantity": 78}
            instruments[4] |= {"state": "in_trade", "quantity": -52}
        return {
            "name": name,
            "account": "paper",
            "summary": ("RSI and MACD turn together, long and short, intraday", "EMA crossover with a slow filter")[
                index % 2
            ],
            "file": f"strategies/{name}.toml",
            "state": state,
            "waiting_for": {"long": long, "short": short},
            "blocked_by": self.blocked_by,
            "warming": self.warming,
            "life": "warming" if self.warming else "active",
            "life_reason": "12 of 34 bars" if self.warming else "",
            "instruments": instruments,
            **self._statistics(self._equity[name], self._opening[name], 2 if state == "in_trade" else 0, name),
        }

    def _statistics(self, equity: int, opening: int, positions: int, strategy: str | None) -> dict[str, Any]:
        capital = CAPITAL if strategy else CAPITAL * len(self.names)
        trades = [trade for trade in self._trades if strategy in (None, trade["strategy"])]
        return {
            "equity_paise": equity,
            "capital_paise": capital,
            "day_profit_paise": equity - opening,
            "profit_paise": equity - capital,
            "costs_paise": sum(trade["costs_paise"] for trade in trades),
            "positions": positions,
            "trades": len(trades),
            "day_return": (equity - opening) / opening,
            "total_return": (equity - capital) / capital,
            "volatility": 0.1132,
            "drawdown": 0.0041,
            "worst_drawdown": 0.0187,
            "sharpe": 1.21,
            "win_rate": sum(trade["net_paise"] > 0 for trade in trades) / max(1, len(trades)),
        }

    def positions(self) -> dict[str, Any]:
        self._may("positions")
        if self.phase == "starting" or self.blocked_by or self.warming:
            return {**self._head, "positions": []}
        both = [("RELIANCE", "BUY", 78, 1274.7, 21_340), ("ICICIBANK", "SELL", 52, 1431.05, -8_412)]
        rows = [self._position(*row, number=number) for number, row in enumerate(both)]
        return {**self._head, "positions": rows}

    def _position(
        self, name: str, side: str, quantity: int, price: float, profit: int, *, number: int
    ) -> dict[str, Any]:
        profit += self.sequence % 1_000
        return {
            "strategy": self.names[0],
            "account": "paper",
            "instrument": f"NSE:EQ:{name}",
            "product": "MIS",
            "side": side,
            "quantity": quantity,
            "holding": 0,
            "entry_price": price,
            "last_price": round(price + profit / 100 / quantity, 2),
            "entry_time": iso(self._now - timedelta(minutes=14)),
            "value_paise": round(price * quantity * 100),
            "profit_paise": profit,
            "stop_price": round(price * 0.99, 2),
            "target_price": None if number else round(price * 1.015, 2),
            "trade_id": f"48000-{number}",
        }

    def orders(self) -> dict[str, Any]:
        order = {
            "order_id": "48190-1",
            "strategy": self.names[0],
            "account": "paper",
            "instrument": "NSE:EQ:RELIANCE",
            "side": "SELL",
            "kind": "limit",
            "purpose": "target",
            "state": "open",
            "quantity": 78,
            "filled": 0,
            "price": 1293.8,
            "created_time": iso(self._now - timedelta(minutes=14)),
            "reason": "target",
        }
        return {**self._head, "orders": [order]}

    def params(self) -> dict[str, Any]:
        self._may("params")
        low = {"name": "rsi_low", "value": 30.0, "default": 45.0, "low": 10.0, "high": 60.0, "unit": None}
        bars = {"name": "rsi_period", "value": 14.0, "default": 14.0, "low": 5.0, "high": 30.0, "unit": "bars"}
        params = [low | {"from": "document"}, bars | {"from": "default"}]
        return {
            **self._head,
            "seq": 3,
            "sha256": "ab" * 32,
            "source": "current",
            "refused": self.refused,
            "author": "operator",
            "created": iso(self._now - timedelta(hours=2)),
            "strategies": [{"name": name, "weight": 1.0, "params": params} for name in self.names],
        }

    def reload(self) -> dict[str, Any]:
        self._may("reload")
        change = {"path": "log.level", "old": "info", "new": "debug"}
        done = {"asked": 2, "done": 2, "ok": True, "error": None, "live": [change], "waiting": [], "strategies": []}
        return {**self._head, **done}

    async def submit(self, write: Write, sender: Sender) -> Ack:
        self._may("submit")
        if self.refusing is not None:
            raise self.refusing
        repeated = any(known.key == sender.key is not None for _, known in self.written)
        self.written.append((write, sender))
        return Ack(self.sequence, ns(self._now), {"written": type(write).__name__}, repeated)

    async def trades(self, *, limit: int, before: str | None, strategy: str | None, past: bool) -> dict[str, Any]:
        self._may("trades")
        rows = [
            trade
            for trade in reversed(self._trades)
            if strategy in (None, trade["strategy"]) and (past or not trade["past"])
        ]
        if before is not None:
            ids = [trade["trade_id"] for trade in rows]
            rows = rows[ids.index(before) + 1 :] if before in ids else []
        return {
            **self._head,
            "trades": rows[:limit],
            "next": rows[limit - 1]["trade_id"] if len(rows) > limit else None,
        }

    async def trade(self, trade_id: str) -> dict[str, Any] | None:
        for trade in self._trades:
            if trade["trade_id"] == trade_id:
                fill = {"purpose": "entry", "side": trade["side"], "quantity": 78, "costs_paise": 2_609}
                leave = fill | {"purpose": "exit", "side": "SELL" if trade["side"] == "BUY" else "BUY"}
                return {
                    **self._head,
                    "trade": trade,
                    "fills": [
                        fill | {"time": trade["entry_time"], "price": trade["entry_price"], "reason": "rule"},
                        leave
                        | {"time": trade["exit_time"], "price": trade["exit_price"], "reason": trade["exit_reason"]},
                    ],
                    "facts": [
                        {"label": "entry rule", "text": RULES["rsi_macd"][0]},
                        {"label": "at the bar", "text": "momentum 0.42, strength 47.1"},
                    ],
                }
        return None

    async def equity(self, *, points: int) -> dict[str, Any]:
        self._may("equity")
        series = []
        for name, full in self._points.items():
            step = max(1, -(-len(full) // points))
            kind = "account" if name == "paper" else "strategy"
            series.append({"name": name, "kind": kind, "points": full[::-1][::step][::-1]})
        return {**self._head, "series": series}

    def health(self, name: Health) -> list[str]:
        return self.unwell.get(name, [])

    def measures(self) -> Measures:
        book = BookMeasures(100_140_000, 140_000, 91_000, 2, 140, 0.0041)
        return Measures(
            version="0.1.0",
            instance="demo",
            market="simulated",
            phase=self.phase,
            uptime_s=147.2,
            sequence=self.sequence,
            market_time_ns=ns(self._now),
            speed=60.0,
            loop_lag=Histogram((0.001, 0.005), (90, 8, 2), 0.12),
            apply=None,
            entries_allowed=True,
            feed_connected=True,
            feed_instruments=20,
            feed_ticks=412_233,
            feed_last_tick_age_s=0.04,
            feed_skipped_packets=0,
            feed_skipped_frames=0,
            feed_late_ticks=3,
            feed_unknown_tokens=0,
            feed_connects=1,
            journal_appended=self.sequence,
            journal_written=self.sequence,
            journal_durable=self.sequence,
            journal_waiting_bytes=0,
            journal_bytes=188_400_000,
            journal_free_bytes=51_200_000_000,
            journal_failed=False,
            ledger_sequence=self.sequence,
            ledger_waiting_rows=0,
            ledger_failed=False,
            bars=2_940,
            orders=61,
            fills=58,
            refused=4,
            params_seq=3,
            params_refused=0,
            reloads_ok=1,
            reloads_refused=0,
            accounts={"paper": book},
            strategies=dict.fromkeys(self.names, book),
        )

    def _may(self, method: str) -> None:
        if method in self.failing:
            raise RuntimeError(f"a defect in {method}")


def ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
