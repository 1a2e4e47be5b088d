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
from atmand.core.ticks import DEPTH, LEVEL
from atmand.market.costs import COSTS

__all__ = [
    "ACCOUNT",
    "ARENA",
    "BAR",
    "BOOK",
    "BOOK_BYTES",
    "CLOSED",
    "INSTRUMENT",
    "INSTRUMENT_BYTES",
    "ORDER",
    "PAIR",
    "PAIR_BYTES",
    "SERIES",
    "SERIES_BYTES",
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

INSTRUMENT: Final = np.dtype(
    [
        *_rows("token", "price_scale", "tick", "lot", "freeze", "lower_band", "upper_band", "group", "cost_group"),
        *_rows("tradable", "last_price", "volume", "volume_known", "exchange_ns", "tick_ns", "quoted", "gap_ns"),
        *_rows("first_series", "first_pair", "first_order", "sector"),
        ("bid", LEVEL, (DEPTH,)),
        ("ask", LEVEL, (DEPTH,)),
    ],
    align=True,
)

SERIES: Final = np.dtype(
    [
        *_rows("instrument", "period_ns", "next", "first_pair", "ring_at", "ring_size", "count", "closed_ns"),
        ("building", BAR),
        ("pending", BAR),
    ],
    align=True,
)
"""Bars of one instrument and period: the one being built, the one before it while its grace runs, and a ring."""

ACCOUNT: Final = np.dtype(_rows("books", "cash_paise", "costs_paise", "realised_paise"))

BOOK: Final = np.dtype(
    _rows(
        "account", "structure", "venue", "delivery", "params_at", "params_size", "lookback_slots",
        "entry_from_ns", "entry_to_ns", "square_off_ns", "squared",
        "cash_paise", "capital_paise", "costs_paise", "realised_paise", "equity_paise", "day_equity_paise",
        "order_value_paise", "position_value_paise", "daily_loss_paise", "open_positions", "orders_a_day",
        "positions", "orders_today", "paused", "working", "run_off",
    )
)  # fmt: skip

PAIR: Final = np.dtype(
    [
        *_rows("book", "instrument", "structure", "series", "slab_at", "next_in_series", "next_in_instrument"),
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
        *_rows("stop_price", "target_price", "stop_distance", "target_distance", "folded", "sold_today"),
        *_rows("proposed", "next_proposal", "proposed_side", "proposed_units", "proposed_close", "proposed_bar_ns"),
        *_rows("proposed_marks", "slippage_paise"),
        ("rank", "f8"),
    ]
)
"""A (book, instrument): position, its trade so far, its exits. `value_paise` is the sum of the open trades' values."""

ORDER: Final = np.dtype(
    _rows(
        "id", "state", "book", "pair", "instrument", "trade", "side", "kind", "purpose", "reason",
        "quantity", "filled", "limit", "value", "costs", "created_ns", "active_ns", "expires_ns", "cause",
        "touched", "next", "netted",
    )
)  # fmt: skip

TRADE: Final = np.dtype(
    _rows(
        "book", "instrument", "trade", "side", "quantity", "entry_ns", "entry_value", "exit_ns", "exit_value",
        "costs_paise", "slippage_paise", "entry_reason", "exit_reason", "bars_held", "entry_cause", "entry_index",
    )
)  # fmt: skip
"""A closed trade. `slippage_paise` is what its market orders paid beyond the middle of the touch."""

VERDICT: Final = np.dtype(
    [("flags", "i8"), *[(name, "f8") for name in ("stop", "target", "quantity", "value", "rank")]], align=True
)
"""What a strategy's step came to on a closed bar: StepFlag bits, distances in rupees, units or rupees to trade, and
its rank among the entries of one record.

Every structure's state begins with one, so that what acts on it needs to know nothing else of the structure.
"""

CLOSED: Final = np.dtype([*_rows("series"), ("bar", BAR)], align=True)

_COUNTERS: Final = (
    "ticks", "unknown_tokens", "late_ticks", "outside_ticks", "early_closes", "bars", "orders_made", "fills",
    "refused", "illegal_transitions", "outputs_lost",
)  # fmt: skip

TABLES: Final[dict[str, np.dtype[np.void]]] = {
    "instruments": INSTRUMENT,
    "tokens": TOKEN,
    "windows": WINDOW,
    "series": SERIES,
    "ring": BAR,
    "accounts": ACCOUNT,
    "books": BOOK,
    "pairs": PAIR,
    "orders": ORDER,
    "closed": CLOSED,
    "outputs": AUDIT,
    "costs": COSTS,
    "trades": TRADE,
    "fills": AUDIT,
}

ARENA: Final = np.dtype(
    [
        *_rows("bytes", "sequence", "time_ns", "next_due_ns"),
        *_rows("decisions", "entries", "halted"),
        *_rows("date", "session_flags", "grace_ns", "grid_ns", "latency_low_ns", "latency_high_ns", "path_last_ns"),
        ("seed", "u8"),
        ("fingerprint", "u8"),
        *_rows("protection_bps", "entry_wait_ns", "stale_ns", "session_open_ns", "session_close_ns", "session_ended"),
        *_rows("refold", "n_outputs", "n_closed", "n_trades", "n_fills", "next_order", "next_trade"),
        *_rows("first_proposal", "last_proposal", "fresh", "netting", "portfolio"),
        *_rows("account_positions", "underlying_positions", "sector_positions"),
        *_rows("gross_paise", "net_paise", "gross_of_equity", "net_of_equity"),
        *_rows(*_COUNTERS),
        *[(f"{name}_{part}", "i8") for name in TABLES for part in ("at", "n")],
    ]
)


INSTRUMENT_BYTES: Final = INSTRUMENT.itemsize
_TOKEN_BYTES: Final = TOKEN.itemsize
_WINDOW_BYTES: Final = WINDOW.itemsize
SERIES_BYTES: Final = SERIES.itemsize
_RING_BYTES: Final = BAR.itemsize
_ACCOUNT_BYTES: Final = ACCOUNT.itemsize
BOOK_BYTES: Final = BOOK.itemsize
PAIR_BYTES: Final = PAIR.itemsize
_ORDER_BYTES: Final = ORDER.itemsize
_CLOSED_BYTES: Final = CLOSED.itemsize
_OUTPUT_BYTES: Final = AUDIT.itemsize
_COST_BYTES: Final = COSTS.itemsize
_FILL_BYTES: Final = AUDIT.itemsize
_TRADE_BYTES: Final = TRADE.itemsize


@kernel
def header_of(t):  # type: ignore[no-untyped-def]
    """The arena's header row. `t` is what `address_of` made of the arena; the caller keeps the arena alive."""
    return record_at(t, 0, ARENA)


@kernel
def instrument_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).instruments_at + index * INSTRUMENT_BYTES, INSTRUMENT)


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
def closed_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).closed_at + index * _CLOSED_BYTES, CLOSED)


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
def cost_at(t, index):  # type: ignore[no-untyped-def]
    return record_at(t, header_of(t).costs_at + index * _COST_BYTES, COSTS)


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
