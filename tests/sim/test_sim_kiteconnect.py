"""The broker's official package, in an interpreter of its own, works against the simulator."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sim_running import INFY, NIFTY, running

from atmand.market.sessions import IST
from atmand.sim.generator import SeededMarket

HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("ATMAND_KITECONNECT_PYTHON", HERE.parents[1] / ".venv-kiteconnect" / "bin" / "python"))
TCS, RELIANCE = 2953217, 738561
NOON = dt.datetime(2026, 7, 6, 12, 0, tzinfo=IST)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.process,
    pytest.mark.skipif(
        not PYTHON.exists() and os.environ.get("CI") != "true", reason="needs kiteconnect (ATMAND_KITECONNECT_PYTHON)"
    ),
]


async def _official(what: str, port: int) -> dict[str, Any]:
    client = await asyncio.create_subprocess_exec(
        str(PYTHON),
        str(HERE / "kiteconnect_client.py"),
        what,
        str(port),
        stdout=asyncio.subprocess.PIPE,
        env={"TZ": "Asia/Kolkata", "PATH": os.environ["PATH"]},
    )
    try:
        async with asyncio.timeout(90):
            out, _ = await client.communicate()
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    assert client.returncode == 0
    return json.loads(out)


async def test_kite_ticker_subscribes_in_every_mode_and_parses_what_the_market_did(market: SeededMarket) -> None:
    async with running(seed=11, start=NOON, speed=5) as sim:
        ticks = await _official("ticker", sim.port)
    day = market.day(NOON.date())
    columns = {row.token: at for at, row in enumerate(market.listings)}
    infy = ticks[f"{INFY} full"]
    at = int(dt.datetime.fromisoformat(infy["exchange_timestamp"]).replace(tzinfo=IST).timestamp())
    event, column = day.event_at(at), columns[INFY]
    assert infy["tradable"] is True
    assert infy["last_price"] == day.last[event, column] / 100
    assert infy["volume_traded"] == day.volume[event, column]
    assert infy["average_traded_price"] == day.average[event, column] / 100
    assert infy["ohlc"] == {
        "open": day.opening[column] / 100,
        "high": day.high[event, column] / 100,
        "low": day.low[event, column] / 100,
        "close": day.reference.close_before[column] / 100,
    }
    assert infy["change"] == pytest.approx((infy["last_price"] / infy["ohlc"]["close"] - 1) * 100)
    bids, asks = infy["depth"]["buy"], infy["depth"]["sell"]
    assert infy["last_price"] in (bids[0]["price"], asks[0]["price"])
    assert bids[0]["price"] < asks[0]["price"]
    assert infy["total_buy_quantity"] == 4 * sum(level["quantity"] for level in bids)
    nifty = ticks[f"{NIFTY} full"]
    at = int(dt.datetime.fromisoformat(nifty["exchange_timestamp"]).replace(tzinfo=IST).timestamp())
    assert nifty["tradable"] is False
    assert nifty["last_price"] == day.last[day.event_at(at), columns[NIFTY]] / 100
    assert nifty["ohlc"]["high"] >= nifty["ohlc"]["low"]
    assert "depth" not in ticks[f"{TCS} quote"]
    assert set(ticks[f"{RELIANCE} ltp"]) == {"tradable", "mode", "instrument_token", "last_price"}


async def test_kite_connect_reads_session_dump_history_and_quotes(market: SeededMarket) -> None:
    limits = {"historical_per_second": 100, "quote_per_second": 100, "calls_per_second": 100}
    async with running(seed=11, start=NOON, parent_control=True, **limits) as sim:
        found = await _official("rest", sim.port)
    day = market.day(NOON.date())
    column = [row.token for row in market.listings].index(INFY)
    event = day.event_at(int(NOON.timestamp()) - 1)
    assert found["session"]["access_token"] == "sim_access_token"
    assert found["profile"]["broker"] == "ZERODHA"
    listed = [row for row in found["instruments"] if row["exchange"] in ("NSE", "BSE")]
    assert len(listed) == len(market.listings) == 104
    assert len(found["instruments"]) == len(listed) + len(market.contracts(NOON.date()).rows)
    assert {row["exchange"] for row in found["nse"]} == {"NSE"}
    assert {"INFY", "NIFTY 50"} <= {row["tradingsymbol"] for row in found["nse"]}
    assert len(found["minute"]) == 375 + 165
    assert found["minute"][-1]["close"] == day.last[event, column] / 100
    assert sum(row["volume"] for row in found["minute"][375:]) == day.volume[event, column]
    assert found["day"][-1]["oi"] == 0
    assert found["day"][-2]["close"] == day.reference.close_before[column] / 100
    assert set(found["quote"]) == {"NSE:INFY", "NSE:NIFTY 50"}
    assert found["quote"]["NSE:INFY"]["volume"] == day.volume[event, column]
    assert found["quote"]["NSE:INFY"]["upper_circuit_limit"] == day.reference.upper[column] / 100
    assert found["ohlc"]["NSE:INFY"]["ohlc"]["open"] == day.opening[column] / 100
    assert set(found["ltp"]) == {"NSE:INFY", "BSE:INFY"}
    assert (found["input_error"], found["token_error"]) == (400, 403)
