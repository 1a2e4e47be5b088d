"""Drives the broker's official package against a server on this machine; runs in that package's own interpreter.

Usage: `kiteconnect_client.py ticker|rest PORT`; prints one JSON document.
"""

from __future__ import annotations

import json
import sys

API_KEY, API_SECRET, REQUEST_TOKEN, ACCESS_TOKEN = (
    "sim_api_key",
    "sim_api_secret",
    "sim_request_token",
    "sim_access_token",
)
INFY, TCS, RELIANCE, NIFTY = 408065, 2953217, 738561, 256265


def ticker(port: int) -> dict[str, object]:
    """Subscribe in every mode and keep the first ticks of each instrument and mode."""
    from kiteconnect import KiteTicker

    client = KiteTicker(API_KEY, ACCESS_TOKEN, root=f"ws://127.0.0.1:{port}")
    seen: dict[str, dict[str, object]] = {}
    wanted = {f"{INFY} full", f"{TCS} quote", f"{RELIANCE} ltp", f"{NIFTY} full"}

    def on_connect(ws: KiteTicker, response: object) -> None:
        ws.subscribe([INFY, TCS, RELIANCE, NIFTY])
        ws.set_mode(ws.MODE_FULL, [INFY, NIFTY])
        ws.set_mode(ws.MODE_LTP, [RELIANCE])

    def on_ticks(ws: KiteTicker, ticks: list[dict[str, object]]) -> None:
        for tick in ticks:
            seen.setdefault(f"{tick['instrument_token']} {tick['mode']}", tick)
        if wanted <= seen.keys():
            ws.close()

    def on_close(ws: KiteTicker, code: object, reason: object) -> None:
        ws.stop()

    client.on_connect, client.on_ticks, client.on_close = on_connect, on_ticks, on_close
    client.connect()
    return dict(seen)


def rest(port: int) -> dict[str, object]:
    """Make every call that a feed needs, and one with a bad token."""
    from kiteconnect import KiteConnect
    from kiteconnect.exceptions import InputException, TokenException

    client = KiteConnect(API_KEY, root=f"http://127.0.0.1:{port}", timeout=60)
    session = client.generate_session(REQUEST_TOKEN, API_SECRET)
    client.set_access_token(session["access_token"])
    found: dict[str, object] = {
        "session": session,
        "profile": client.profile(),
        "instruments": client.instruments(),
        "nse": client.instruments("NSE"),
        "minute": client.historical_data(INFY, "2026-07-03 09:15:00", "2026-07-06 15:30:00", "minute"),
        "day": client.historical_data(INFY, "2026-06-01 00:00:00", "2026-07-06 15:30:00", "day", oi=True),
        "quote": client.quote("NSE:INFY", "NSE:NIFTY 50", "NSE:NOSUCH"),
        "ohlc": client.ohlc("NSE:INFY", "BSE:SENSEX"),
        "ltp": client.ltp(["NSE:INFY", "BSE:INFY"]),
    }
    try:
        client.historical_data(1, "2026-07-03 09:15:00", "2026-07-06 15:30:00", "minute")
    except InputException as error:
        found["input_error"] = error.code
    try:
        KiteConnect(API_KEY, access_token="stale", root=f"http://127.0.0.1:{port}").profile()
    except TokenException as error:
        found["token_error"] = error.code
    return found


if __name__ == "__main__":
    print(json.dumps({"ticker": ticker, "rest": rest}[sys.argv[1]](int(sys.argv[2])), default=str))
