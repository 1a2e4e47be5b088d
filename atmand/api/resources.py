"""The shapes of the API's answers, one model each: what a client may rely on and what a `Source` must give.

Tests check the daemon's answers with `check`; serving does not, because it would cost more than the answer. Money is
paise in integers, named so; prices are rupees; times are ISO 8601, the market's in India's zone; fractions are floats.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from atmand.api.done import DONE
from atmand.api.shapes import Answer, Count, Shape, Time
from atmand.core.words import OrderKind, OrderState, Purpose

__all__ = ["SHAPES", "Equity", "Failure", "Orders", "Params", "Positions", "Status", "TradeStory", "Trades", "check"]


def _word_of(vocabulary: type[IntEnum]) -> Callable[[str], str]:
    known = {word.name.lower() for word in vocabulary}

    def check_word(word: str) -> str:
        if word not in known:
            raise ValueError(f"not one of {', '.join(sorted(known))}")
        return word

    return check_word


Price = Annotated[float, Field(ge=0)]
Side = Literal["BUY", "SELL"]
StrategyState = Literal["warming", "waiting", "entering", "in_trade", "exiting", "blocked", "paused", "run_off"]


class Statistics(Shape):
    """Money and statistics of an account or of a strategy's book, from its first mark."""

    equity_paise: int
    capital_paise: Count
    day_profit_paise: int
    """After costs, since the day's opening."""
    profit_paise: int
    costs_paise: Count
    positions: Count
    trades: Count
    day_return: float | None
    total_return: float | None
    volatility: float | None
    """Of a year."""
    drawdown: float | None
    """How far equity is below its highest, as a fraction from 0 to 1."""
    worst_drawdown: float | None
    sharpe: float | None
    win_rate: float | None


class AccountStatus(Statistics):
    name: str


class Entries(Shape):
    """The entry rules as they stand in the strategy's file."""

    long: str | None
    short: str | None


class Warming(Shape):
    have: Count
    need: Count


class InstrumentStatus(Shape):
    instrument: str
    state: StrategyState
    quantity: int
    blocked_by: str | None


class StrategyStatus(Statistics):
    name: str
    account: str
    summary: str
    file: str
    state: StrategyState
    life: Literal["warming", "active", "paused", "run_off"]
    life_reason: str
    waiting_for: Entries | None
    blocked_by: str | None
    warming: Warming | None
    instruments: list[InstrumentStatus]


class FeedStatus(Shape):
    state: Literal["connecting", "connected", "stale", "lost", "closed"]
    instruments: Count
    ticks: Count
    last_tick_age_s: float | None
    skipped_packets: Count
    skipped_frames: Count
    late_ticks: Count
    unknown_tokens: Count


class JournalStatus(Shape):
    """Last sequences appended, written and durable; `failed` is empty or a reason."""

    appended: Count
    written: Count
    durable: Count
    waiting_bytes: Count
    failed: str
    free_bytes: Count
    bytes: Count


class LedgerStatus(Shape):
    sequence: Count
    failed: str
    waiting_rows: Count


class Counters(Shape):
    bars: Count
    orders: Count
    fills: Count
    refused: Count


class EntriesAllowed(Shape):
    allowed: bool
    reason: str | None


class RollStatus(Shape):
    strategy: str
    selector: str
    was: str
    to: str | None
    """Null where no later contract is listed yet."""
    day: str
    """The first session of the other contract."""


class Status(Answer):
    """`/v1/status`: where everything stands."""

    market_time_ns: int
    phase: Literal["starting", "running", "draining"]
    starting: str | None
    """What the start is busy with, in words."""
    money: Literal["paper"]
    market: Literal["simulated", "kite"]
    instance: str
    version: str
    day: str
    started: Time
    uptime_s: float
    speed: float | None
    """Market seconds a second; null for the real market."""
    costs_as_of: str | None
    feed: FeedStatus
    journal: JournalStatus
    ledger: LedgerStatus
    counters: Counters
    entries: EntriesAllowed
    accounts: list[AccountStatus]
    strategies: list[StrategyStatus]
    rolls: list[RollStatus]
    """When selectors change their contracts, the soonest first."""


class Position(Shape):
    strategy: str
    account: str
    instrument: str
    product: str
    side: Side
    quantity: Annotated[int, Field(gt=0)]
    holding: Count
    """Units of it that the depository holds; only of CNC, and not of what was bought today."""
    entry_price: Price
    last_price: Price
    entry_time: Time
    value_paise: Count
    profit_paise: int
    """After costs so far."""
    stop_price: Price | None
    target_price: Price | None
    trade_id: str


class Positions(Answer):
    """`/v1/positions`: what is open."""

    positions: list[Position]


class Order(Shape):
    order_id: str
    strategy: str
    account: str
    instrument: str
    side: Side
    kind: Annotated[str, AfterValidator(_word_of(OrderKind))]
    purpose: Annotated[str, AfterValidator(_word_of(Purpose))]
    state: Annotated[str, AfterValidator(_word_of(OrderState))]
    quantity: Annotated[int, Field(gt=0)]
    filled: Count
    price: Price | None
    """The limit."""
    created_time: Time
    reason: str | None


class Orders(Answer):
    """`/v1/orders`: the orders that the books keep."""

    orders: list[Order]


class Trade(Shape):
    """A closed trade, with the keys that every verb prints, and whether it is of the simulated past."""

    trade_id: str
    account: str
    venue: str
    product: str
    structure_id: str
    strategy: str
    instrument: str
    side: Side
    quantity: Annotated[int, Field(gt=0)]
    entry_time: Time
    entry_price: Price
    exit_time: Time
    exit_price: Price
    gross_paise: int
    costs_paise: Count
    net_paise: int
    exit_reason: str
    parameter_seq: Count
    strategy_sha256: str
    model_sha256: str | None
    past: bool


class Trades(Answer):
    """`/v1/trades`: closed trades, the newest first; `next` is the `before` of the page of older ones."""

    trades: list[Trade]
    next: str | None


class Fill(Shape):
    time: Time
    purpose: Annotated[str, AfterValidator(_word_of(Purpose))]
    side: Side
    quantity: Annotated[int, Field(gt=0)]
    price: Price
    costs_paise: Count
    reason: str | None


class Fact(Shape):
    """One line of a trade's story: `entry rule`: `crosses_above(quick, calm)`."""

    label: str
    text: str


class TradeStory(Answer):
    """`/v1/trades/{id}`: one trade, its fills, and what led to it, in the order in which it is told."""

    trade: Trade
    fills: list[Fill]
    facts: list[Fact]


class Series(Shape):
    name: str
    kind: Literal["account", "strategy"]
    points: list[Annotated[list[int], Field(min_length=3, max_length=3)]]
    """[time_ns, equity_paise, 1 in the simulated past or 0], in time order."""


class Equity(Answer):
    """`/v1/equity`: equity over time."""

    series: list[Series]


class Refused(Shape):
    seq: Count | None
    reason: str


class ParameterInForce(Shape):
    model_config = ConfigDict(populate_by_name=True)

    name: str
    value: float
    default: float
    low: float | None
    high: float | None
    unit: str | None
    origin: Annotated[str, Field(alias="from")]
    """Where the value comes from: default, configuration, document or override."""


class StrategyParams(Shape):
    name: str
    weight: float | None
    params: list[ParameterInForce]


class Params(Answer):
    """`/v1/params`: the parameters in force, where they are from, and a refused document's reason."""

    seq: Count
    sha256: str | None
    source: Literal["current", "last_good", "defaults"]
    refused: Refused | None
    author: str | None
    created: Time | None
    strategies: list[StrategyParams]


class SettingChange(Shape):
    path: str
    old: Any
    new: Any


class Reload(Answer):
    """`/v1/reload`: what the last reload of the configuration came to."""

    asked: Count
    """Reloads asked for since the start; those that come in a burst are done as one."""
    done: Count
    """The number, counted so, of the newest that the last reload was for; 0 before the first."""
    ok: bool | None
    error: str | None
    """Why it was refused; nothing changed then."""
    live: list[SettingChange]
    """Settings that hold now."""
    waiting: list[SettingChange]
    """Settings that wait for the next start."""
    strategies: list[str]
    """Strategies whose files had changed; their rules hold now."""


class Reasons(Shape):
    """`/health/…`: 200 and `ok`, or 503, `unwell` and the reasons."""

    status: Literal["ok", "unwell"]
    reasons: list[str]


class _Explained(Shape):
    where: str
    what: str
    remedy: str


class Failure(Shape):
    """The body of every answer of 400 and above."""

    error: _Explained


SHAPES: Final[dict[str, type[BaseModel]]] = {
    "status": Status,
    "positions": Positions,
    "orders": Orders,
    "trades": Trades,
    "trade": TradeStory,
    "equity": Equity,
    "params": Params,
    "reload": Reload,
    **DONE,
    "health": Reasons,
    "failure": Failure,
}


def check(resource: str, document: Any) -> None:
    """Raise pydantic's ValidationError where an answer has not the shape of its resource."""
    SHAPES[resource].model_validate(document)
