"""The arena: one array of bytes that holds the whole state of the core, and the dtypes that view it.

`ARENA` is the header row at offset 0; it says where each table begins and how many rows it has. Tables are only ever
viewed with the dtype objects of this file (an equal but other object makes every call several times dearer).
Every field that counts is int64; prices are int64 in the instrument's price scale; money is int64 paise.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.jit import kernel, record_at
from atmand.core.records import AUDIT
from atmand.core.sorting import KEYED, KEYED_BYTES
from atmand.core.ticks import DEPTH
from atmand.market.costs import COSTS
from atmand.market.margins import MARGINS, SCAN

__all__ = [
    "ACCOUNT",
    "ARENA",
    "BAR",
    "BOOK",
    "BOOK_BYTES",
    "CLOSED",
    "COLUMN",
    "CROWD",
    "GROUP",
    "INSTRUMENT",
    "INSTRUMENT_BYTES",
    "LEG",
    "ORDER",
    "PAIR",
    "PAIR_BYTES",
    "QUEUE",
    "SERIES",
    "SERIES_BYTES",
    "SUBSCRIPTION",
    "TABLES",
    "TOKEN",
    "TRADE",
    "VERDICT",
    "WINDOW",
    "allocate",
]


def _rows(*names: str) -> list[tuple[str, str]]:
    return [(name, "i8") for name in names]


BAR: Final = np.dtype(
    _rows("start_ns", "open", "high", "low", "close", "volume", "ticks", "marks", "base_volume"), align=True
)
"""A bar; `start_ns` 0 means there is none. `marks` are BarFlag bits: an interpreted record's `flags` are numpy's own.
`base_volume` is the day's volume before the bar."""

TOKEN: Final = np.dtype(_rows("token", "instrument"))
"""A slot of the open-addressing table from feed token to instrument; token 0 is empty."""

WINDOW: Final = np.dtype(_rows("group", "open_ns", "close_ns"))

_LEVEL: Final = np.dtype(_rows("price", "quantity"))

INSTRUMENT: Final = np.dtype(
    [
        *_rows("group", "last_price", "newest_ns", "exchange_ns", "tick_ns", "quoted", "print", "volume"),
        *_rows("volume_known", "minute_ns", "minute_volume", "last_minute_volume", "minute_began"),
        *_rows("first_series", "first_order", "underlying", "calm", "calm_low", "calm_high", "calm_bid", "calm_ask"),
        ("bid", _LEVEL, (DEPTH,)),
        ("ask", _LEVEL, (DEPTH,)),
        *_rows("first_pair", "gap_ns", "token", "price_scale", "tick", "lot", "freeze", "lower_band", "upper_band"),
        *_rows("cost_group", "tradable", "sector", "expiry_ns", "strike", "right", "close_ns"),
    ],
    align=True,
)
"""An instrument; what every tick touches comes first, so that it lies together.

Where `calm` is 1, a tick whose price lies between `calm_low` and `calm_high`, its bid below `calm_bid` and its ask
above `calm_ask`, can do nothing to any order or position; whatever changes one of those sets it to 0.
"""

QUEUE: Final = np.dtype(_rows("last_order", "buys", "sells", "fresh_cause", "fresh", "stirred_cause"))
"""What an instrument's orders are reckoned by; apart from its row, which every tick loads.

The end of its list, its orders by side, how many of them the record `fresh_cause` made, and the record in which they
were put down to be netted.
"""

SERIES: Final = np.dtype(
    [
        *_rows("period_ns", "next", "closed_ns"),
        ("building", BAR),
        ("pending", BAR),
        *_rows("instrument", "first_pair", "ring_at", "ring_size", "count", "first_subscription"),
    ],
    align=True,
)
"""Bars of one instrument and period: the one being built, the one before it while its grace runs, and a ring."""

SUBSCRIPTION: Final = np.dtype(_rows("pair", "stream", "series", "next_in_series", "next_in_pair", "folded_to"))
"""A pair's look at bars that are not its own: the stream of its structure, and the series that feeds it.

`folded_to` is where folding again has come to; it means nothing outside of that.
"""

COLUMN: Final = np.dtype([("value", "f8"), ("as_of_ns", "i8"), ("valid_until_ns", "i8")])
"""A value from outside for one instrument; `as_of_ns` 0 is none, `valid_until_ns` 0 never ends."""

ACCOUNT: Final = np.dtype(
    _rows(
        "books", "cash_paise", "costs_paise", "realised_paise", "held_paise", "gross_paise", "net_paise", "exposed"
    )
)  # fmt: skip
"""`held_paise` and what follows are sums over the pairs, of the record that is `valued` (`core/exposure.py`)."""

CROWD: Final = np.dtype(_rows("pairs"))
"""How many pairs of an account are exposed in an instrument as their underlying, and behind those in a sector."""

BOOK: Final = np.dtype(
    _rows(
        "account", "structure", "venue", "delivery", "params_at", "params_size", "lookback_slots",
        "entry_from_ns", "entry_to_ns", "square_off_ns", "squared",
        "cash_paise", "capital_paise", "costs_paise", "realised_paise", "equity_paise", "day_equity_paise",
        "order_value_paise", "position_value_paise", "daily_loss_paise", "open_positions", "orders_a_day",
        "positions", "orders_today", "paused", "working", "run_off",
        "cooldown", "max_adds", "max_reduces", "max_trades", "participation_ppm", "limit_entry", "entry_wait_ns",
        "held_paise", "committed_paise", "entering", "first_pair",
    )
)  # fmt: skip

PAIR: Final = np.dtype(
    [
        *_rows("book", "instrument", "structure", "series", "slab_at", "next_in_series", "next_in_instrument"),
        *_rows("next_in_book", "first_subscription"),
        *_rows("quantity", "value_paise", "costs_paise", "realised_paise", "trade", "side", "bars_held"),
        *_rows("entry_order", "exit_order", "target_order", "exit_reason", "entry_reason", "blocked", "ready"),
        *_rows(
            "entry_quantity",
            "entry_value",
            "exit_quantity",
            "exit_value",
            "entry_ns",
            "entry_bar_ns",
            "entry_cause",
            "entry_index",
        ),
        *_rows("stop_price", "target_price", "stop_distance", "target_distance", "folded"),
        *_rows("holding", "bought_today", "bought_value", "sold_today", "sold_value"),
        *_rows("trail_distance", "trail_after", "breakeven", "best_price", "stop_reason", "last_exit", "managed"),
        *_rows("adds", "reduces", "cooling", "trades_today", "minute_ns", "minute_taken"),
        *_rows("group", "group_row", "leg"),
        *_rows("proposed", "proposed_side", "proposed_units", "proposed_close", "proposed_bar_ns"),
        *_rows("proposed_marks", "slippage_paise"),
        *_rows("held_paise", "exposure_paise", "committed_paise", "exposed", "entering", "wanted"),
    ]
)
"""A (book, instrument): position, its trade so far, its exits. `value_paise` is the sum of the open trades' values.

`holding` are the units that the depository held when the session opened (CNC only); `bought_today` and `sold_today`
are what the market gave and took since, under CNC.
Distances of stops are price units, or, below zero, millionths of the entry's average price. A contract that only a
group of legs trades has no structure and no series (-1); `group` is the id of its group, `group_row` its place.
`wanted` are the units of an entry while it is asked whether there is money for it.
"""

ORDER: Final = np.dtype(
    _rows(
        "id", "state", "book", "pair", "instrument", "trade", "side", "kind", "purpose", "reason",
        "quantity", "filled", "limit", "value", "costs", "created_ns", "active_ns", "expires_ns", "cause",
        "touched", "next", "previous", "next_working", "previous_working", "netted", "group", "next_slice",
    )
)  # fmt: skip
"""An order runs in two lists, oldest first: its instrument's, and the one of all that work.

`next_slice` is the row of the next order that was made of the same intent, -1 behind the last (`core/slicing.py`).
"""

TRADE: Final = np.dtype(
    _rows(
        "book", "instrument", "trade", "side", "quantity", "entry_ns", "entry_value", "exit_ns", "exit_value",
        "costs_paise", "slippage_paise", "entry_reason", "exit_reason", "bars_held", "entry_cause", "entry_index",
    )
)  # fmt: skip
"""A closed trade. `slippage_paise` is what its market orders paid beyond the middle of the touch."""

VERDICT: Final = np.dtype(
    [
        ("flags", "i8"),
        ("percent_of", "i8"),
        *[(name, "f8") for name in ("stop", "target", "trail", "trail_after", "breakeven", "bars")],
        *[(name, "f8") for name in ("quantity", "value", "risk", "percent", "add", "reduce", "limit", "rank")],
    ],
    align=True,
)
"""What a strategy's step came to on a closed bar: StepFlag bits; distances in rupees or, by the Percent bits, in
percent; how much to trade: units, rupees, rupees at risk or percent of the equity; a limit price in rupees; a rank.

Every structure's state begins with one, so that what acts on it needs to know nothing else of the structure.
"""

GROUP: Final = np.dtype(
    [
        *_rows("pair", "book", "first_leg", "legs", "id", "realised_paise", "best_paise", "leaving", "until_ns"),
        *_rows("loss_slot", "target_slot", "trail_slot"),
        *[(name, "f8") for name in ("loss", "target", "trail")],
        *_rows("waits_ns", "wanted_side", "wanted_units", "wanted_close", "wanted_bar_ns", "wanted_marks"),
    ]
)
"""A group of legs of an underlying's pair: 0 as `id` while none is open, `leaving` the reason of its exit.

`until_ns` is how long its sold legs, which are entered behind the bought ones, wait for a quote; 0 while they need not.
`waits_ns` is until when a proposed group waits for the quotes of its legs, 0 while none does; `wanted_*` is what was
proposed.
"""

LEG: Final = np.dtype(
    [
        *_rows("side", "right", "strike_rule", "expiry_rule", "expiry_days", "ratio", "reentries", "at_new_strike"),
        *_rows("loss_slot", "target_slot", "trail_slot", "loss_percent", "target_percent", "trail_percent"),
        *[(name, "f8") for name in ("strike_value", "loss", "target", "trail")],
        *_rows("pair", "state", "units", "entries", "cost"),
    ]
)
"""A leg: its rules, then the pair of the contract that they chose, and its life."""

CLOSED: Final = np.dtype([*_rows("series"), ("bar", BAR)], align=True)

_COUNTERS: Final = (
    "ticks", "unknown_tokens", "late_ticks", "outside_ticks", "early_closes", "bars", "orders_made", "fills",
    "refused", "illegal_transitions", "outputs_lost",
)  # fmt: skip

TABLES: Final[dict[str, np.dtype[np.void]]] = {
    "instruments": INSTRUMENT,
    "queues": QUEUE,
    "tokens": TOKEN,
    "windows": WINDOW,
    "series": SERIES,
    "ring": BAR,
    "accounts": ACCOUNT,
    "books": BOOK,
    "pairs": PAIR,
    "orders": ORDER,
    "groups": GROUP,
    "legs": LEG,
    "closed": CLOSED,
    "subscriptions": SUBSCRIPTION,
    "columns": COLUMN,
    "outputs": AUDIT,
    "costs": COSTS,
    "trades": TRADE,
    "fills": AUDIT,
    "proposals": KEYED,
    "meetings": KEYED,
    "comparisons": KEYED,
    "crowds": CROWD,
    "margins": MARGINS,
    "scans": SCAN,
}

ARENA: Final = np.dtype(
    [
        *_rows("bytes", "sequence", "time_ns", "next_due_ns"),
        *_rows("decisions", "entries", "halted"),
        *_rows("date", "session_flags", "grace_ns", "grid_ns", "latency_low_ns", "latency_high_ns", "path_last_ns"),
        ("seed", "u8"),
        ("fingerprint", "u8"),
        *_rows("protection_bps", "entry_wait_ns", "stale_ns", "session_open_ns", "session_close_ns", "session_ended"),
        *_rows(
            "refold",
            "n_outputs",
            "n_closed",
            "n_trades",
            "n_fills",
            "next_order",
            "next_slot",
            "next_trade",
            "next_group",
        ),
        *_rows("columns_each", "silent", "clock_due_ns", "bars_due_ns"),
        *_rows("first_working", "last_working"),
        *_rows("proposed", "stirred", "netting", "portfolio", "valued", "crowds_each"),
        *_rows("account_positions", "underlying_positions", "sector_positions"),
        *_rows("gross_paise", "net_paise", "gross_of_equity", "net_of_equity"),
        *_rows(*_COUNTERS),
        *[(f"{name}_{part}", "i8") for name in TABLES for part in ("at", "n")],
    ]
)


INSTRUMENT_BYTES: Final = INSTRUMENT.itemsize
_QUEUE_BYTES: Final = QUEUE.itemsize
_TOKEN_BYTES: Final = TOKEN.itemsize
_WINDOW_BYTES: Final = WINDOW.itemsize
SERIES_BYTES: Final = SERIES.itemsize
_RING_BYTES: Final = BAR.itemsize
_ACCOUNT_BYTES: Final = ACCOUNT.itemsize
BOOK_BYTES: Final = BOOK.itemsize
PAIR_BYTES: Final = PAIR.itemsize
_ORDER_BYTES: Final = ORDER.itemsize
_CROWD_BYTES: Final = CROWD.itemsize
_GROUP_BYTES: Final = GROUP.itemsize
_LEG_BYTES: Final = LEG.itemsize
_CLOSED_BYTES: Final = CLOSED.itemsize
_SUBSCRIPTION_BYTES: Final = SUBSCRIPTION.itemsize
_COLUMN_BYTES: Final = COLUMN.itemsize
_OUTPUT_BYTES: Final = AUDIT.itemsize
_COST_BYTES: Final = COSTS.itemsize
_FILL_BYTES: Final = AUDIT.itemsize
_TRADE_BYTES: Final = TRADE.itemsize
_MARGIN_BYTES: Final = MARGINS.itemsize


@kernel
def header_of(t):  # type: ignore[no-untyped-def]
    """The arena's header row. `t` is what `address_of` made of the arena; the caller keeps the arena alive."""
    return record_at(t, 0, ARENA)


@kernel
def instrument_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).instruments_at + index * INSTRUMENT_BYTES, INSTRUMENT)


@kernel
def queue_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).queues_at + index * _QUEUE_BYTES, QUEUE)


@kernel
def token_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).tokens_at + index * _TOKEN_BYTES, TOKEN)


@kernel
def window_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).windows_at + index * _WINDOW_BYTES, WINDOW)


@kernel
def series_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).series_at + index * SERIES_BYTES, SERIES)


@kernel
def ring_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).ring_at + index * _RING_BYTES, BAR)


@kernel
def account_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).accounts_at + index * _ACCOUNT_BYTES, ACCOUNT)


@kernel
def book_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).books_at + index * BOOK_BYTES, BOOK)


@kernel
def pair_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).pairs_at + index * PAIR_BYTES, PAIR)


@kernel
def verdict_at(t, index):  # type: ignore[no-untyped-def]
    """The verdict of a pair's last step, at the head of its structure's state."""
    return record_at(t, pair_at(t, index).slab_at, VERDICT)


@kernel
def order_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).orders_at + index * _ORDER_BYTES, ORDER)


@kernel
def group_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).groups_at + index * _GROUP_BYTES, GROUP)


@kernel
def leg_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).legs_at + index * _LEG_BYTES, LEG)


@kernel
def closed_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).closed_at + index * _CLOSED_BYTES, CLOSED)


@kernel
def subscription_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).subscriptions_at + index * _SUBSCRIPTION_BYTES, SUBSCRIPTION)


@kernel
def column_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).columns_at + index * _COLUMN_BYTES, COLUMN)


@kernel
def output_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).outputs_at + index * _OUTPUT_BYTES, AUDIT)


@kernel
def trade_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).trades_at + index * _TRADE_BYTES, TRADE)


@kernel
def fill_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).fills_at + index * _FILL_BYTES, AUDIT)


@kernel
def proposal_at(t, place):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).proposals_at + place * KEYED_BYTES, KEYED)


@kernel
def crowd_at(t, account, place):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).crowds_at + (account * header_of(t).crowds_each + place) * _CROWD_BYTES, CROWD)


@kernel
def comparison_at(t, place):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).comparisons_at + place * KEYED_BYTES, KEYED)


@kernel
def meeting_at(t, place):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).meetings_at + place * KEYED_BYTES, KEYED)


@kernel
def cost_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).costs_at + index * _COST_BYTES, COSTS)


@kernel
def margin_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).margins_at + index * _MARGIN_BYTES, MARGINS)


@kernel
def scan_at(t):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).scans_at, SCAN)


def allocate(counts: dict[str, int], extra_bytes: int) -> tuple[NDArray[np.uint8], int]:
    """Make a zeroed arena with so many rows a table and `extra_bytes` of strategy state behind them.

    Returns the arena and the offset of the strategy state. Pages are touched, so that the loop never pays for them.
    """
    offset = _align(ARENA.itemsize)
    places: dict[str, int] = {}
    for name, dtype in TABLES.items():
        places[name] = offset
        offset = _align(offset + max(1, counts[name]) * dtype.itemsize)
    arena = np.zeros(offset + extra_bytes, np.uint8)
    arena.fill(0)
    header = arena[: ARENA.itemsize].view(ARENA)
    header["bytes"] = arena.size
    for name in TABLES:
        header[f"{name}_at"] = places[name]
        header[f"{name}_n"] = max(1, counts[name])
    return arena, offset


def _align(offset: int) -> int:
    return (offset + 63) // 64 * 64
