"""Quotes as the REST calls spell them, out of the packets that the ticker would send."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.market.sessions import IST
from atmand.sim.market_day import Reference
from atmand.sim.universe import Listing
from atmand.sim.wire import FULL, INDEX

__all__ = ["full_quote", "ist_text"]

_SECOND: Final = 1_000_000_000


def ist_text(time_ns: int) -> str:
    """Return a time as the REST calls write it, `2026-07-06 09:15:00`, in India."""
    return dt.datetime.fromtimestamp(time_ns // _SECOND, IST).strftime("%Y-%m-%d %H:%M:%S")


def full_quote(packet: NDArray[np.uint8], listing: Listing, reference: Reference, column: int) -> dict[str, Any]:
    """Return one instrument's quote from its full packet (184,); prices in rupees (kite.trade/docs, Full quotes)."""
    row = packet.view(INDEX if listing.is_index else FULL)[0]
    prices = {name: int(row[name]) / 100 for name in ("open", "high", "low", "close")}
    quote: dict[str, Any] = {
        "instrument_token": listing.token,
        "timestamp": ist_text(int(row["exchange_time"]) * _SECOND),
        "last_price": int(row["last_price"]) / 100,
        "ohlc": prices,
        "net_change": (int(row["last_price"]) - int(row["close"])) / 100,
    }
    return quote if listing.is_index else quote | _traded(row, reference, column)


def _traded(row: np.void, reference: Reference, column: int) -> dict[str, Any]:
    return {
        "last_trade_time": ist_text(int(row["last_trade_time"]) * _SECOND),
        "last_quantity": int(row["last_quantity"]),
        "buy_quantity": int(row["buy_quantity"]),
        "sell_quantity": int(row["sell_quantity"]),
        "volume": int(row["volume"]),
        "average_price": int(row["average_price"]) / 100,
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
        "lower_circuit_limit": int(reference.lower[column]) / 100,
        "upper_circuit_limit": int(reference.upper[column]) / 100,
        "depth": {
            side: [
                {"price": int(level["price"]) / 100, "quantity": int(level["quantity"]), "orders": int(level["orders"])}
                for level in row[side]
            ]
            for side in ("buy", "sell")
        },
    }
