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

__all__ = ["contract_quote", "full_quote", "ist_text"]

_SECOND: Final = 1_000_000_000


def ist_text(time_ns: int) -> str:
    """Return a time as the REST calls write it, `2026-07-06 09:15:00`, in India."""
    return dt.datetime.fromtimestamp(time_ns // _SECOND, IST).strftime("%Y-%m-%d %H:%M:%S")


def full_quote(packet: NDArray[np.uint8], listing: Listing, reference: Reference, column: int) -> dict[str, Any]:
    """Return one instrument's quote from its full packet (184,); prices in rupees (kite.trade/docs, Full quotes)."""
    row = packet.view(INDEX if listing.is_index else FULL)[0]
    if listing.is_index:
        return _priced(row)
    return _priced(row) | _traded(row, int(reference.lower[column]), int(reference.upper[column]))


def contract_quote(packet: NDArray[np.uint8], lower: int, upper: int) -> dict[str, Any]:
    """Return a future's or an option's quote from its full packet (184,); `lower` and `upper` are its day's limits."""
    row = packet.view(FULL)[0]
    return _priced(row) | _traded(row, lower, upper)


def _priced(row: np.void) -> dict[str, Any]:
    prices = {name: int(row[name]) / 100 for name in ("open", "high", "low", "close")}
    return {
        "instrument_token": int(row["token"]),
        "timestamp": ist_text(int(row["exchange_time"]) * _SECOND),
        "last_price": int(row["last_price"]) / 100,
        "ohlc": prices,
        "net_change": (int(row["last_price"]) - int(row["close"])) / 100,
    }


def _traded(row: np.void, lower: int, upper: int) -> dict[str, Any]:
    return {
        "last_trade_time": ist_text(int(row["last_trade_time"]) * _SECOND),
        "last_quantity": int(row["last_quantity"]),
        "buy_quantity": int(row["buy_quantity"]),
        "sell_quantity": int(row["sell_quantity"]),
        "volume": int(row["volume"]),
        "average_price": int(row["average_price"]) / 100,
        "oi": int(row["oi"]),
        "oi_day_high": int(row["oi_high"]),
        "oi_day_low": int(row["oi_low"]),
        "lower_circuit_limit": lower / 100,
        "upper_circuit_limit": upper / 100,
        "depth": {
            side: [
                {"price": int(level["price"]) / 100, "quantity": int(level["quantity"]), "orders": int(level["orders"])}
                for level in row[side]
            ]
            for side in ("buy", "sell")
        },
    }
