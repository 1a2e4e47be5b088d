"""The ticker's wire format, the sending side: packet layouts, frames and text messages (kite.trade/docs, WebSocket).

Pure functions over bytes; the exchange builds rows here and its server only writes what they return.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FULL", "HEARTBEAT", "INDEX", "INDEX_BYTES", "MODES", "SHARE_BYTES", "frame", "text_message"]

_LEVEL: Final = np.dtype([("quantity", ">u4"), ("price", ">u4"), ("orders", ">u2"), ("pad", ">u2")])

FULL: Final = np.dtype(
    [
        ("token", ">u4"),
        ("last_price", ">u4"),
        ("last_quantity", ">u4"),
        ("average_price", ">u4"),
        ("volume", ">u4"),
        ("buy_quantity", ">u4"),
        ("sell_quantity", ">u4"),
        ("open", ">u4"),
        ("high", ">u4"),
        ("low", ">u4"),
        ("close", ">u4"),
        ("last_trade_time", ">u4"),
        ("oi", ">u4"),
        ("oi_high", ">u4"),
        ("oi_low", ">u4"),
        ("exchange_time", ">u4"),
        ("buy", _LEVEL, (5,)),
        ("sell", _LEVEL, (5,)),
    ]
)
"""A tradable instrument's packet in full mode; its first 44 bytes are the quote packet, its first 8 the ltp packet."""

INDEX: Final = np.dtype(
    {
        "names": ["token", "last_price", "high", "low", "open", "close", "change", "exchange_time"],
        "formats": [">u4", ">u4", ">u4", ">u4", ">u4", ">u4", ">i4", ">u4"],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 28],
        "itemsize": FULL.itemsize,
    }
)
"""An index's packet in full mode (32 bytes, here padded to a row's width); its first 28 bytes are the quote packet."""

MODES: Final = ("ltp", "quote", "full")
SHARE_BYTES: Final = {"ltp": 8, "quote": 44, "full": 184}
INDEX_BYTES: Final = {"ltp": 8, "quote": 28, "full": 32}
HEARTBEAT: Final = b"\x00"
"""What an idle connection carries every second or two, so that a client can tell a quiet market from a dead socket."""

_LENGTHS: Final = (184, 44, 32, 28, 8)


def frame(rows: NDArray[np.uint8], lengths: NDArray[np.int16]) -> bytes:
    """Return one binary frame: a count, then every row's first `length` bytes with their length in front.

    `rows` is (n, 184), FULL or INDEX rows as bytes; `lengths` (n,) names each row's packet length in bytes. Packets
    of one length stay together, the longest first, and keep the order of the rows within it.
    """
    parts = [len(rows).to_bytes(2, "big")]
    for length in _LENGTHS:
        chosen = lengths == length
        count = int(np.count_nonzero(chosen))
        if count == 0:
            continue
        out = np.empty((count, length + 2), np.uint8)
        out[:, 0] = 0
        out[:, 1] = length
        out[:, 2:] = rows[:, :length] if count == len(rows) else rows[chosen, :length]
        parts.append(out.tobytes())
    return b"".join(parts)


def text_message(kind: str, data: Any) -> str:
    """Return a text message as the ticker sends them: `order`, `error`, `message` and others, each with its data."""
    return json.dumps({"type": kind, "data": data}, separators=(",", ":"))
