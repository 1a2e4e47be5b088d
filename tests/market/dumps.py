"""Instrument dumps as the broker writes them, for tests: shares, indices, futures and option chains by rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from atmand.market.kite_dump import KITE_COLUMNS

__all__ = ["DAY", "INDEX_ROWS", "chain", "dump_of", "futures", "market_dump", "share"]

DAY = date(2026, 7, 6)
WEEKLIES = (date(2026, 7, 7), date(2026, 7, 14), date(2026, 7, 21), date(2026, 7, 28), date(2026, 8, 25))
MONTHLIES = (date(2026, 7, 28), date(2026, 8, 25), date(2026, 9, 29))
INDEX_ROWS = (
    "256265,1001,NIFTY 50,NIFTY 50,24012.4,,0,0,0,EQ,INDICES,NSE",
    "260105,1016,NIFTY BANK,NIFTY BANK,55400,,0,0,0,EQ,INDICES,NSE",
    "265,1,SENSEX,SENSEX,81300,,0,0,0,EQ,INDICES,BSE",
)


def dump_of(rows: Iterable[str]) -> str:
    return "\n".join([",".join(KITE_COLUMNS), *rows]) + "\n"


def share(number: int, symbol: str, *, exchange: str = "NSE", price: float = 100.0, tick: str = "0.05") -> str:
    token = number << 8 | (1 if exchange == "NSE" else 4)
    return f"{token},{number},{symbol},{symbol} LTD,{price},,0,{tick},1,EQ,{exchange},{exchange}"


def futures(name: str, expiries: Sequence[date], *, first: int, lot: int = 65, exchange: str = "NFO") -> list[str]:
    segment = 2 if exchange == "NFO" else 5
    return [
        f"{first + place << 8 | segment},{first + place},{name}{day:%y%b}FUT,{name},0,{day},0,0.1,{lot},FUT,"
        f"{exchange}-FUT,{exchange}".upper()
        for place, day in enumerate(expiries)
    ]


def chain(
    name: str, expiries: Sequence[date], strikes: Iterable[int], *, first: int, lot: int = 65, exchange: str = "NFO"
) -> list[str]:
    segment, number, rows = 2 if exchange == "NFO" else 5, first, []
    listed = list(strikes)
    for day in expiries:
        for strike in listed:
            for right in ("CE", "PE"):
                token = number << 8 | segment
                symbol = f"{name}{day:%y%m%d}{strike}{right}"
                rows.append(
                    f"{token},{number},{symbol},{name},0,{day},{strike}.0,0.05,{lot},{right},{exchange}-OPT,{exchange}"
                )
                number += 1
    return rows


def market_dump(*more: str) -> str:
    """Return a small market: five shares on two exchanges, three indices, NIFTY, BANKNIFTY and SENSEX chains."""
    names = ("RELIANCE", "TCS", "INFY", "HDFCBANK", "ITC")
    shares = [share(1_000 + at, name, price=100.0 * (at + 1)) for at, name in enumerate(names)]
    shares += [share(500_000 + at, name, exchange="BSE") for at, name in enumerate(names)]
    return dump_of([
        *shares,
        *INDEX_ROWS,
        *futures("NIFTY", MONTHLIES, first=50_000),
        *futures("BANKNIFTY", MONTHLIES, first=50_010, lot=30),
        *futures("INFY", MONTHLIES, first=50_020, lot=400),
        *chain("NIFTY", WEEKLIES, range(22_000, 26_001, 50), first=60_000),
        *chain("BANKNIFTY", MONTHLIES, range(54_000, 57_001, 100), first=70_000, lot=30),
        *chain("SENSEX", (date(2026, 7, 9), date(2026, 7, 16), date(2026, 7, 30)), range(80_000, 83_001, 100),
               first=80_000, lot=20, exchange="BFO"),
        *more,
    ])  # fmt: skip
