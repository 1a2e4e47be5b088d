"""Kite Connect's binary market data: the compiled decoder into TICK rows, and ticks as the official SDK names them.

The daemon and replay call `decode` once a frame; `atmand feed decode kite` prints `decode_lines`. The layout is that
of kite.trade/docs/connect/v3/websocket and of the official SDK's parser (pykiteconnect, `kiteconnect/ticker.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from atmand.core.jit import big_endian, kernel, kernel_rows
from atmand.core.ticks import DEPTH, MAX_TICKS, TICK, decoded_skipped, decoded_ticks
from atmand.feed.kite_protocol import price_scale

__all__ = ["decode", "decode_lines", "tick_to_json"]

_LTP: Final = 8
_INDEX_QUOTE: Final = 28
_INDEX_FULL: Final = 32
_QUOTE: Final = 44
_FULL: Final = 184
_MODES: Final = {_LTP: "ltp", _INDEX_QUOTE: "quote", _INDEX_FULL: "full", _QUOTE: "quote", _FULL: "full"}

_DEPTH_AT: Final = 64
_LEVEL_BYTES: Final = 12
_SECOND_NS: Final = 1_000_000_000

_SEGMENT_INDICES: Final = 9

_TICKS: Final = types.Array(from_dtype(TICK), 1, "C")
_SIGNATURES: Final = [
    types.int64(types.Array(types.uint8, 1, "C", readonly=True), _TICKS),
    types.int64(types.Bytes(types.uint8, 1, "C"), _TICKS),
]


# Signatures are eager, so that nothing compiles on the loop; a callee therefore stands above its caller here.


@kernel
def _u16(frame, at):  # type: ignore[no-untyped-def]
    return big_endian(frame, at, 2)


@kernel
def _u32(frame, at):  # type: ignore[no-untyped-def]
    return big_endian(frame, at, 4)


@kernel
def _level(frame, at, level):  # type: ignore[no-untyped-def]
    level.quantity = _u32(frame, at)
    level.price = _u32(frame, at + 4)
    level.orders = _u16(frame, at + 8)


@kernel
def _full(frame, at, row):  # type: ignore[no-untyped-def]
    row.last_trade_ns = _u32(frame, at + 44) * _SECOND_NS
    row.oi = _u32(frame, at + 48)
    row.oi_high = _u32(frame, at + 52)
    row.oi_low = _u32(frame, at + 56)
    row.exchange_ns = _u32(frame, at + 60) * _SECOND_NS
    for i in range(DEPTH):
        _level(frame, at + _DEPTH_AT + i * _LEVEL_BYTES, row.bid[i])
        _level(frame, at + _DEPTH_AT + (DEPTH + i) * _LEVEL_BYTES, row.ask[i])


@kernel
def _quote(frame, at, row):  # type: ignore[no-untyped-def]
    row.last_quantity = _u32(frame, at + 8)
    row.average_price = _u32(frame, at + 12)
    row.volume = _u32(frame, at + 16)
    row.buy_quantity = _u32(frame, at + 20)
    row.sell_quantity = _u32(frame, at + 24)
    row.open = _u32(frame, at + 28)
    row.high = _u32(frame, at + 32)
    row.low = _u32(frame, at + 36)
    row.close = _u32(frame, at + 40)


@kernel
def _clear_level(level):  # type: ignore[no-untyped-def]
    level.price = 0
    level.quantity = 0
    level.orders = 0


@kernel
def _clear(row):  # type: ignore[no-untyped-def]
    """Zero what a shorter packet does not carry: the rows of a table are used again for every frame."""
    row.last_quantity = 0
    row.average_price = 0
    row.volume = 0
    row.buy_quantity = 0
    row.sell_quantity = 0
    row.open = 0
    row.high = 0
    row.low = 0
    row.close = 0
    row.last_trade_ns = 0
    row.oi = 0
    row.oi_high = 0
    row.oi_low = 0
    row.exchange_ns = 0
    for i in range(DEPTH):
        _clear_level(row.bid[i])
        _clear_level(row.ask[i])


@kernel
def _packet(frame, at, length, row):  # type: ignore[no-untyped-def]
    """Decode one packet of a known length, all of whose bytes are there."""
    if length != _FULL:
        _clear(row)
    row.token = _u32(frame, at)
    row.packet = length
    row.last_price = _u32(frame, at + 4)
    if length >= _QUOTE:
        _quote(frame, at, row)
        if length == _FULL:
            _full(frame, at, row)
    elif length >= _INDEX_QUOTE:
        row.high = _u32(frame, at + 8)
        row.low = _u32(frame, at + 12)
        row.open = _u32(frame, at + 16)
        row.close = _u32(frame, at + 20)
        if length == _INDEX_FULL:
            row.exchange_ns = _u32(frame, at + 28) * _SECOND_NS


@kernel
def _known(length):  # type: ignore[no-untyped-def]
    return length in (_FULL, _QUOTE, _INDEX_FULL, _INDEX_QUOTE, _LTP)


@njit(_SIGNATURES, cache=True, error_model="numpy")
def decode(frame, ticks):  # type: ignore[no-untyped-def]
    """Decode one BINARY message into rows of `ticks` (every field written), in the order of the wire.

    Returns ticks written (low 32 bits) and packets skipped (high 32 bits). Skipped is a packet of unknown length, each
    packet beyond `len(ticks)`, and, as one, whatever a truncated frame promised and did not carry. Prices stay in the
    wire's integers, times become nanoseconds; any bytes are safe, and a heartbeat of one byte is 0.
    """
    size = len(frame)
    if size < 2:
        return np.int64(0)
    packets = _u16(frame, 0)
    at = np.int64(2)
    written = np.int64(0)
    skipped = np.int64(0)
    for _ in range(packets):
        if at + 2 > size:
            skipped += 1
            break
        length = _u16(frame, at)
        at += 2
        if at + length > size:
            skipped += 1
            break
        if not _known(length) or written >= len(ticks):
            skipped += 1
        else:
            _packet(frame, at, length, ticks[written])
            written += 1
        at += length
    return (skipped << 32) | written


def tick_to_json(tick: np.void) -> dict[str, Any]:
    """Return one TICK row with the keys and order of the official SDK; what the packet did not carry is absent.

    Prices are decimal numbers in the segment's unit, times epoch seconds, `change` is percent of the previous close.
    """
    packet, token = int(tick["packet"]), int(tick["token"])
    scale = price_scale(token)
    answer: dict[str, Any] = {
        "tradable": token & 0xFF != _SEGMENT_INDICES,
        "mode": _MODES[packet],
        "instrument_token": token,
        "last_price": int(tick["last_price"]) / scale,
    }
    if packet == _LTP:
        return answer
    if packet >= _QUOTE:
        answer |= {
            "last_traded_quantity": int(tick["last_quantity"]),
            "average_traded_price": int(tick["average_price"]) / scale,
            "volume_traded": int(tick["volume"]),
            "total_buy_quantity": int(tick["buy_quantity"]),
            "total_sell_quantity": int(tick["sell_quantity"]),
        }
    ohlc = {name: int(tick[name]) / scale for name in ("open", "high", "low", "close")}
    answer["ohlc"] = ohlc
    answer["change"] = (answer["last_price"] - ohlc["close"]) * 100 / ohlc["close"] if ohlc["close"] else 0
    if packet == _FULL:
        answer["last_trade_time"] = int(tick["last_trade_ns"]) // _SECOND_NS
        answer |= {"oi": int(tick["oi"]), "oi_day_high": int(tick["oi_high"]), "oi_day_low": int(tick["oi_low"])}
    if packet in (_INDEX_FULL, _FULL):
        answer["exchange_timestamp"] = int(tick["exchange_ns"]) // _SECOND_NS
    if packet == _FULL:
        answer["depth"] = {"buy": _levels(tick["bid"], scale), "sell": _levels(tick["ask"], scale)}
    return answer


def _levels(levels: NDArray[np.void], scale: int) -> list[dict[str, Any]]:
    return [
        {"quantity": int(level["quantity"]), "price": int(level["price"]) / scale, "orders": int(level["orders"])}
        for level in levels
    ]


def decode_lines(frames: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield `{"frame": n, "ticks": [...], "skipped": n}` for each frame, numbered from 0."""
    rows = np.zeros(MAX_TICKS, TICK)
    ticks = kernel_rows(rows)
    for number, frame in enumerate(frames):
        result = int(decode(frame, ticks))
        decoded = [tick_to_json(row) for row in rows[: decoded_ticks(result)]]
        yield {"frame": number, "ticks": decoded, "skipped": decoded_skipped(result)}
