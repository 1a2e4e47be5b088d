"""A market for the core's tests: an engine on a small compiled program, driven tick by tick with plain calls.

All tests share one compiled module of four structures; books, values, limits and session terms are each test's own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.engine import Engine
from atmand.core.manifest import BookPlan, Manifest, Program
from atmand.core.opening import (
    BookLimits,
    Draft,
    PortfolioLimits,
    SessionTerms,
    instruments_draft,
    limits_draft,
    params_draft,
    program_draft,
    session_draft,
)
from atmand.core.records import (
    COMMAND_HEAD,
    GAP_HEAD,
    HISTORY_ROW,
    Command,
    GapReason,
    Kind,
    Record,
    Source,
    body_of,
)
from atmand.core.rings import history_draft, ring_bars
from atmand.core.ticks import TICK
from atmand.core.words import OrderState
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import StrategyFile, parse_strategy
from atmand.market.instruments import Instrument
from atmand.market.sessions import ns, windows

DAY: Final = date(2026, 7, 6)
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
OPEN: Final = ns(DAY, "09:15")
CLOSE: Final = ns(DAY, "15:30")
RICH: Final = BookLimits(100_000_000_00)
FULL: Final = 184
APART: Final = PortfolioLimits(netting=False)
"""The books of a test settle nothing between them, unless it says so."""

STEER: Final = """
name = "steer"
universe = ["NSE:AAA"]
[params]
long_above = { default = 1000000, range = [0, 1000000] }
short_below = { default = 0, range = [0, 1000000] }
long_out_below = { default = 0, range = [0, 1000000] }
short_out_above = { default = 1000000, range = [0, 1000000] }
loss = { default = 0, range = [0, 1000000] }
aim = { default = 0, range = [0, 1000000] }
units = { default = 10, range = [0, 1000000] }
[entry]
long = "close > long_above"
short = "close < short_below"
[exit]
long = "close < long_out_below"
short = "close > short_out_above"
[stop]
loss = "loss"
target = "aim"
[size]
quantity = "units"
"""

KEEP: Final = """
name = "keep"
universe = ["NSE:AAA"]
[trade]
product = "CNC"
[params]
long_above = { default = 1000000, range = [0, 1000000] }
long_out_below = { default = 0, range = [0, 1000000] }
rupees = { default = 10000, range = [0, 10000000] }
[entry]
long = "close > long_above"
[exit]
long = "close < long_out_below"
[size]
value = "rupees"
"""

QUICK: Final = """
name = "quick"
universe = ["NSE:AAA"]
[params]
period = { default = 3, range = [2, 6], unit = "bars" }
fast = { default = 3, range = [2, 4], unit = "bars" }
level = { default = 50, range = [0, 100] }
[signals]
strength = "rsi(period)"
line = "macd(fast, 6, 3).hist"
calm = "ema(sma(period), 4)"
[entry]
long = "crosses_above(line, 0) and strength > level"
short = "crosses_below(line, 0) and (strength < level or close < calm)"
[exit]
long = "crosses_below(line, 0)"
short = "crosses_above(line, 0)"
[stop]
loss = "3 * atr(period)"
[size]
value = 50000
"""

TREND: Final = QUICK.replace('name = "quick"', 'name = "trend"\nbar = "5m"')

MANAGE: Final = """
name = "manage"
universe = ["NSE:AAA"]
[params]
long_above = { default = 1000000, range = [0, 1000000] }
short_below = { default = 0, range = [0, 1000000] }
out = { default = 0, range = [0, 1000000] }
add_above = { default = 1000000, range = [0, 1000000] }
reduce_above = { default = 1000000, range = [0, 1000000] }
loss = { default = 0, range = [0, 100] }
aim = { default = 0, range = [0, 1000] }
trail = { default = 0, range = [0, 1000] }
after = { default = 0, range = [0, 1000] }
even = { default = 0, range = [0, 1000] }
held = { default = 0, range = [0, 1000] }
risk = { default = 1000, range = [0, 1000000] }
[entry]
long = "close > long_above"
short = "close < short_below"
add_long = "close > add_above"
add_short = "close > add_above"
[exit]
long = "close < out"
reduce_long = "close > reduce_above"
reduce_short = "close > reduce_above"
max_reduces = 2
[stop]
loss = "loss %"
target = "aim"
trail = "trail"
trail_after = "after"
breakeven = "even"
bars = "held"
[size]
risk = "risk"
add = 0.5
reduce = 0.4
[trade]
max_adds = 2
rank = "0 - close"
"""

LIMITS: Final = """
name = "limits"
universe = ["NSE:AAA"]
[params]
at = { default = 1, range = [0, 1000000] }
[entry]
long = "close > 1"
[size]
percent = 5
[trade]
order = "limit"
limit = "at"
"""

FILES: Final = {
    name: parse_strategy(text, f"{name}.toml")
    for name, text in (
        ("steer", STEER),
        ("keep", KEEP),
        ("quick", QUICK),
        ("trend", TREND),
        ("manage", MANAGE),
        ("limits", LIMITS),
    )
}


@functools.cache
def compiled(files: tuple[StrategyFile, ...]) -> Program:
    """Compile the module of some files; most tests share one, once a process."""
    return build(generate([Deployment(file) for file in files]))


@dataclass(frozen=True)
class Book:
    """A book of a test: a strategy of `FILES` under a name, with its values and limits."""

    strategy: str = "steer"
    name: str = "alpha"
    account: str = "one"
    values: Mapping[str, float] | None = None
    limits: BookLimits = RICH
    instruments: tuple[int, ...] = (0,)
    plan: Mapping[str, Any] | None = None
    """Fields of the book's plan that the test sets itself, such as its square-off time."""


def program_for(books: Sequence[Book], files: Mapping[str, StrategyFile] = FILES) -> Program:
    """Return the shared module under a manifest of a test's own books."""
    shared = compiled(tuple(files.values()))
    order = list(files)
    plans: list[BookPlan] = []
    for book in books:
        alone = generate([Deployment(files[book.strategy], book.account, book.values or {}, book.name)])
        plan = replace(alone.manifest.books[0], structure=order.index(book.strategy), **(book.plan or {}))
        plans.append(plan)
    accounts = tuple(dict.fromkeys(book.account for book in books))
    manifest = Manifest(shared.manifest.structures, tuple(plans), accounts, shared.manifest.source)
    return Program(shared.apply, shared.run_bars, shared.source, manifest)


def share(place: int, **changes: Any) -> Instrument:
    """Make the listed share number `place`: AAA, BBB and so on."""
    name = chr(ord("A") + place) * 3
    fields: dict[str, Any] = {
        "key": f"NSE:EQ:{name}", "isin": "", "token": (1000 + place) << 8 | 1, "exchange": "NSE", "segment": "EQ",
        "symbol": name, "name": name, "price_scale": 100, "tick": 5, "lot": 1, "freeze": 0, "lower_band": 0,
        "upper_band": 0, "tradable": True, "sector": "",
    }  # fmt: skip
    return Instrument(**{**fields, **changes})


def decode_rows(body: bytes, ticks: NDArray[Any]) -> int:
    """Decode a frame of the tests: it is TICK rows as they are."""
    rows = np.frombuffer(body, TICK)
    ticks[: len(rows)] = rows
    return len(rows)


class Market:
    """An engine in an open session. Times are seconds after the opening; prices are paise."""

    def __init__(
        self,
        books: Sequence[Book] = (Book(),),
        shares: Sequence[Instrument] = (share(0), share(1)),
        *,
        opened: float = -60.0,
        day: date = DAY,
        portfolio: PortfolioLimits = APART,
        files: Mapping[str, StrategyFile] = FILES,
        groups: Sequence[int] = (),
        **terms: Any,
    ) -> None:
        self.files = files
        self.groups = tuple(groups) or (0,) * len(shares)
        self.books_of_test, self.portfolio = tuple(books), portfolio
        self.shares = tuple(shares)
        self.programs: dict[bytes, Program] = {}
        self.carried: dict[bytes, dict[str, Any]] = {}
        self.engine = Engine({int(Source.KITE): decode_rows}, self.programs.__getitem__, self.carried.__getitem__)
        self.sequence = 0
        self.rows: list[NDArray[Any]] = []
        self.records: list[Record] = []
        self.open_session(day, opened, **terms)

    def open_session(
        self, day: date = DAY, opened: float = -60.0, *, books_sha: bytes = bytes(32), **terms: Any
    ) -> None:
        """Apply the records that open a session `opened` seconds after the day's opening."""
        hours = tuple(window for window in windows(day) if window.group in self.groups)
        self.open_ns = min(window.open_ns for window in hours)
        chosen: dict[str, Any] = {"latency_ns": (0, 0), "stale_ns": 3600 * SECOND, **terms}
        self.put(session_draft(SessionTerms(day=day, windows=hours, **chosen)), opened)
        self.put(instruments_draft(list(zip(self.shares, self.groups, strict=True))), opened)
        self.install(self.books_of_test, opened, books_sha=books_sha)
        self.put(limits_draft([book.limits for book in self.books_of_test], self.portfolio), opened)

    def install(
        self,
        books: Sequence[Book],
        at: float,
        *,
        copies: Sequence[int] | None = None,
        books_sha: bytes = bytes(32),
    ) -> None:
        """Apply a PROGRAM record for books of the shared module."""
        program = program_for(books, self.files)
        self.books_of_test = tuple(books)
        self.programs[hashlib.sha256(program.manifest.to_json()).digest()] = program
        pairs = [(place, instrument) for place, book in enumerate(books) for instrument in book.instruments]
        self.put(program_draft(program.source, program.manifest, pairs, copies, books=books_sha), at)

    def put(self, draft: Draft, at: float, *, source: int = 0) -> NDArray[Any]:
        """Apply one record received `at` seconds after the opening; return a copy of its audit rows."""
        self.sequence += 1
        time_ns = max(self.engine.time_ns + 1, self.open_ns + round(at * SECOND))
        record = Record(draft.kind, self.sequence, time_ns, draft.body, draft.rows, draft.version, source)
        rows = self.engine.apply(record).copy()
        self.records.append(record)
        self.rows.append(rows)
        return rows

    def tick(
        self,
        at: float,
        last: int,
        *,
        place: int = 0,
        bid: int | Sequence[tuple[int, int]] | None = None,
        ask: int | Sequence[tuple[int, int]] | None = None,
        quantity: int = 1_000_000,
        volume: int = 0,
        exchange: float | None = None,
        packet: int = FULL,
        token: int | None = None,
    ) -> NDArray[Any]:
        """Apply a frame of one tick. `bid`, `ask`: prices, or (price, quantity) levels; one tick away by default."""
        row = np.zeros(1, TICK)
        row["token"] = self.shares[place].token if token is None else token
        row["packet"], row["last_price"], row["volume"] = packet, last, volume
        row["exchange_ns"] = (
            0 if packet != FULL else self.open_ns + round((at if exchange is None else exchange) * SECOND)
        )
        for name, side, quoted in (("bid", -1, bid), ("ask", 1, ask)):
            levels = (
                [(last + 5 * side if quoted is None else quoted, quantity)]
                if not isinstance(quoted, Sequence)
                else quoted
            )
            for level, (price, size) in enumerate(levels):
                row[name][0, level] = (price, size, 1)
        return self.put(Draft(Kind.FRAME, row.tobytes(), 0), at, source=int(Source.KITE))

    def timer(self, at: float) -> NDArray[Any]:
        return self.put(Draft(Kind.TIMER, bytes(8), 0), at)

    def minute(self, number: int, last: int, **quote: Any) -> NDArray[Any]:
        """Trade one tick in the middle of minute `number` after the opening, and let a timer close its bar."""
        first = self.tick(number * 60 + 30, last, **quote)
        return np.concatenate([first, self.timer((number + 1) * 60 + 1)])

    def history(self, rows: NDArray[Any], at: float, *, bar_ns: int = MINUTE, to: float | None = None) -> NDArray[Any]:
        """Apply a HISTORY record of candles asked for up to `to` seconds after the opening."""
        return self.put(history_draft(rows, bar_ns, None if to is None else self.open_ns + round(to * SECOND)), at)

    def gap(self, at: float, since: float) -> NDArray[Any]:
        """Apply a GAP record: market data is missing from `since` up to now."""
        head = np.zeros(1, GAP_HEAD)
        head["from_ns"], head["to_ns"] = (self.open_ns + round(second * SECOND) for second in (since, at))
        head["reason"] = GapReason.DISCONNECTED
        return self.put(Draft(Kind.GAP, body_of(Kind.GAP, head), 0), at)

    def command(self, at: float, code: Command, *, book: int = -1, instrument: int = -1) -> NDArray[Any]:
        head = np.zeros(1, COMMAND_HEAD)
        head["code"], head["book"], head["instrument"] = code, book, instrument
        return self.put(Draft(Kind.COMMAND, body_of(Kind.COMMAND, head), 0), at)

    def set(self, at: float, book: int = 0, **values: float) -> NDArray[Any]:
        """Apply a PARAMS record that changes some values of a book."""
        file = self.files[self.books_of_test[book].strategy]
        cells = [list(self.values(place)) for place in range(len(self.books_of_test))]
        current = cells[book]
        cells[book] = [values.get(name, current[slot]) for slot, name in enumerate(file.strategy.params)]
        return self.put(params_draft(cells), at)

    def values(self, book: int) -> NDArray[np.float64]:
        row = self.engine.table("books")[book]
        at, size = int(row["params_at"]), int(row["params_size"])
        return self.engine.layout.arena[at : at + size].view(np.float64)

    def carry_books(self) -> bytes:
        """Keep the books' document for the next session; return its hash."""
        document = self.engine.books()
        sha = hashlib.sha256(repr(document).encode()).digest()
        self.carried[sha] = document
        return sha

    @property
    def header(self) -> Any:
        return self.engine.header

    def pair(self, index: int = 0) -> Any:
        return self.engine.table("pairs")[index]

    def book(self, index: int = 0) -> Any:
        return self.engine.table("books")[index]

    def series(self, index: int = 0) -> Any:
        return self.engine.table("series")[index]

    def bars(self, series: int = 0) -> NDArray[Any]:
        return ring_bars(self.engine.layout, series)

    def working(self) -> NDArray[Any]:
        """Return the orders that are in the market, oldest first."""
        orders = self.engine.table("orders")
        return np.sort(orders[orders["state"] != OrderState.FREE], order="id")

    def audit(self, *kinds: Kind) -> NDArray[Any]:
        """Return every audit row so far, of some kinds."""
        rows = np.concatenate(self.rows)
        return rows[np.isin(rows["kind"], kinds)] if kinds else rows


def candles(start: int, closes: Sequence[int], *, instrument: int = 0, volume: int = 100) -> NDArray[Any]:
    """Make HISTORY rows of one-minute candles from minute `start` after the opening on."""
    rows = np.zeros(len(closes), HISTORY_ROW)
    rows["instrument"], rows["volume"] = instrument, volume
    for place, close in enumerate(closes):
        before = closes[place - 1] if place else close
        rows[place]["start_ns"] = OPEN + (start + place) * MINUTE
        rows[place]["open"], rows[place]["close"] = before, close
        rows[place]["high"], rows[place]["low"] = max(before, close) + 5, min(before, close) - 5
    return rows


def walk(seed: int, n: int, *, start: int = 100_000, spread: int = 150) -> list[int]:
    """Draw a random walk of prices on the tick of five paise."""
    steps = np.random.default_rng(seed).integers(-spread // 5, spread // 5, n) * 5
    return [int(price) for price in np.maximum(start + np.cumsum(steps), 5_000)]


def next_day(day: date) -> date:
    return day + timedelta(days=1)
