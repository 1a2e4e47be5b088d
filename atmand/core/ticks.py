"""The tick: what every feed's decoder writes and the core reads, whatever the wire.

A decoder is `decode(frame: bytes, ticks: TICK[:]) -> int64`, compiled, in the feed's own file. Prices stay in the
instrument's own `price_scale`; a field that the packet did not carry is zero, and `packet` says which did.
"""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["DEPTH", "LEVEL", "MAX_TICKS", "TICK", "decoded_skipped", "decoded_ticks"]

DEPTH: Final = 5
"""Levels of market depth on each side."""

MAX_TICKS: Final = 4096
"""Ticks that one frame may carry; Kite allows 3,000 instruments on a connection."""

LEVEL: Final = np.dtype([("price", "i8"), ("quantity", "i8"), ("orders", "i8")])

TICK: Final = np.dtype(
    [
        ("token", "i8"),
        ("packet", "i8"),  # bytes of the packet's body, which tells the mode: 8, 28, 32, 44, 184 for Kite
        ("last_price", "i8"),
        ("last_quantity", "i8"),
        ("average_price", "i8"),
        ("volume", "i8"),  # of the day so far
        ("buy_quantity", "i8"),
        ("sell_quantity", "i8"),
        ("open", "i8"),  # of the day
        ("high", "i8"),
        ("low", "i8"),
        ("close", "i8"),  # of the day before
        ("last_trade_ns", "i8"),
        ("oi", "i8"),
        ("oi_high", "i8"),
        ("oi_low", "i8"),
        ("exchange_ns", "i8"),  # 0 = the packet has no exchange time
        ("bid", LEVEL, (DEPTH,)),
        ("ask", LEVEL, (DEPTH,)),
    ]
)


def decoded_ticks(result: int) -> int:
    """Ticks written, out of a decoder's result (its low 32 bits)."""
    return result & 0xFFFFFFFF


def decoded_skipped(result: int) -> int:
    """Packets skipped (unknown length, truncated, beyond MAX_TICKS), out of a decoder's result (its high 32 bits)."""
    return result >> 32
