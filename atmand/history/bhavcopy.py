"""Reads the exchanges' daily files: UDiFF bhavcopies, the legacy ones before them, and NSE's sec_bhavdata_full.

Layouts: NSE's UDiFF circular (34 columns, cash and derivatives alike, from 2024-07-08) and the files themselves. Prices
are as traded: nothing in them is adjusted for splits. A day's bar starts at its midnight in India.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from atmand.history.bar_files import midnight_ns
from atmand.history.bars import HistoryError
from atmand.history.columns import days, numbers
from atmand.history.rows import DAY_NS, Parsed, checked
from atmand.history.tables import text_table

__all__ = ["read_cm_bhavcopy", "read_fo_bhavcopy", "read_sec_bhavdata", "read_udiff"]

_LAKH: Final = 100_000
_OHLC: Final = ("open", "high", "low", "close")
_FUTURES: Final = ("STF", "IDF")
_OPTIONS: Final = ("STO", "IDO")


def read_udiff(source: Path, content: bytes) -> Parsed:
    """Read a UDiFF bhavcopy, of shares or of derivatives."""
    names = {
        "OpnPric": "open", "HghPric": "high", "LwPric": "low", "ClsPric": "close", "TtlTradgVol": "volume",
        "OpnIntrst": "oi", "TradDt": "day", "TckrSymb": "symbol", "SctySrs": "series", "Src": "exchange",
        "FinInstrmTp": "kind", "StrkPric": "strike", "OptnTp": "right", "TtlTrfVal": "value", "NewBrdLotQty": "lot",
        "FininstrmActlXpryDt": "actual", "XpryDt": "expiry",
    }  # fmt: skip
    frame, bad = text_table(source, content)
    frame = _renamed(source, frame, names)
    share = pl.col("kind") == "STK"
    expiry = pl.when(pl.col("actual").fill_null("") != "").then("actual").otherwise("expiry")
    frame = frame.with_columns(expiry=expiry)
    frame = frame.with_columns(expiry=days(frame["expiry"]))
    frame = frame.with_columns(
        key=pl.when(share)
        .then(_share_key())
        .when(pl.col("kind").is_in(_FUTURES))
        .then(_contract_key("FUT"))
        .when(pl.col("kind").is_in(_OPTIONS))
        .then(_contract_key("OPT")),
        oi=pl.when(share).then(None).otherwise(pl.col("oi")),
        strike=pl.when(pl.col("kind").is_in(_OPTIONS)).then("strike").otherwise(pl.lit("0")),
    )
    frame, untraded = _traded(frame)
    derivatives = frame["kind"] != "STK"
    if derivatives.any():
        frame = frame.with_columns(volume=_in_units(frame, numbers(frame["value"]), derivatives.to_numpy()))
    return _daily(source, frame, bad, untraded)


def read_cm_bhavcopy(source: Path, content: bytes) -> Parsed:
    """Read a legacy bhavcopy of shares."""
    names = {
        "OPEN": "open", "HIGH": "high", "LOW": "low", "CLOSE": "close", "TOTTRDQTY": "volume", "TIMESTAMP": "day",
        "SYMBOL": "symbol", "SERIES": "series",
    }  # fmt: skip
    return _shares(source, content, names)


def read_sec_bhavdata(source: Path, content: bytes) -> Parsed:
    """Read NSE's full bhavdata with deliveries; its values follow a comma and a blank."""
    names = {
        "OPEN_PRICE": "open", "HIGH_PRICE": "high", "LOW_PRICE": "low", "CLOSE_PRICE": "close",
        "TTL_TRD_QNTY": "volume", "DATE1": "day", "SYMBOL": "symbol", "SERIES": "series",
    }  # fmt: skip
    return _shares(source, content, names)


def read_fo_bhavcopy(source: Path, content: bytes) -> Parsed:
    """Read a legacy bhavcopy of derivatives, which counts contracts: their lot is in the value that was traded."""
    names = {
        "OPEN": "open", "HIGH": "high", "LOW": "low", "CLOSE": "close", "CONTRACTS": "volume", "OPEN_INT": "oi",
        "TIMESTAMP": "day", "SYMBOL": "symbol", "INSTRUMENT": "kind", "EXPIRY_DT": "expiry", "STRIKE_PR": "strike",
        "OPTION_TYP": "right", "VAL_INLAKH": "value",
    }  # fmt: skip
    frame, bad = text_table(source, content)
    frame = _renamed(source, frame, names)
    frame = frame.with_columns(expiry=days(frame["expiry"]), exchange=pl.lit("NSE"))
    option = pl.col("kind").str.starts_with("OPT")
    frame = frame.with_columns(
        key=pl.when(option)
        .then(_contract_key("OPT"))
        .when(pl.col("kind").str.starts_with("FUT"))
        .then(_contract_key("FUT")),
        strike=pl.when(option).then("strike").otherwise(pl.lit("0")),
    )
    frame, untraded = _traded(frame)
    every = np.ones(frame.height, np.bool_)
    frame = frame.with_columns(volume=_in_units(frame, numbers(frame["value"]) * _LAKH, every))
    return _daily(source, frame, bad, untraded)


def _shares(source: Path, content: bytes, names: dict[str, str]) -> Parsed:
    frame, bad = text_table(source, content)
    frame = _renamed(source, frame, names).with_columns(exchange=pl.lit("NSE"))
    frame, untraded = _traded(frame.with_columns(key=_share_key()))
    return _daily(source, frame, bad, untraded)


def _renamed(source: Path, frame: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise HistoryError(str(source), f"no column {', '.join(missing)}", "fetch the file again")
    return frame.select("line", *(pl.col(name).str.strip_chars().alias(own) for name, own in names.items()))


def _share_key() -> pl.Expr:
    """Name a share as the broker does: series other than EQ follow the symbol."""
    plain = pl.col("series").fill_null("").is_in(["", "EQ"]) | (pl.col("exchange") != "NSE")
    symbol = pl.when(plain).then("symbol").otherwise(pl.col("symbol") + "-" + pl.col("series"))
    return pl.col("exchange") + ":EQ:" + symbol


def _contract_key(segment: str) -> pl.Expr:
    future = pl.col("exchange") + f":{segment}:" + pl.col("symbol") + ":" + pl.col("expiry").cast(pl.String)
    if segment == "FUT":
        return future
    strike = pl.col("strike").str.replace(r"(\.\d*?)0+$", "$1").str.strip_suffix(".")
    return future + ":" + strike + ":" + pl.col("right")


def _traded(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Leave out what did not trade: such a row repeats an older close, or a price that a model made."""
    traded = numbers(frame["volume"]) != 0
    return frame.filter(pl.Series(traded)), int((~traded).sum())


def _in_units(frame: pl.DataFrame, rupees: np.ndarray, chosen: np.ndarray) -> pl.Series:
    """Turn counts of contracts into units where `chosen`.

    What was traded is worth contracts x lot x price, an option's strike included. An expiry's lot follows from the sums
    over its rows; where they come to one, the file counted units already.
    """
    table = pl.DataFrame(
        {
            "group": frame["key"].str.split(":").list.slice(0, 4).list.join(":").str.replace(":OPT:", ":FUT:"),
            "count": numbers(frame["volume"]),
            "rupees": rupees,
            "price": (numbers(frame["high"]) + numbers(frame["low"])) / 2 + numbers(frame["strike"]),
        }
    )
    lot = (pl.col("rupees").sum() / (pl.col("count") * pl.col("price")).sum()).over("group")
    lots = np.nan_to_num(np.rint(table.select(lot).to_series().to_numpy()), nan=1.0, posinf=1.0)
    units = np.where(chosen, table["count"].to_numpy() * np.maximum(lots, 1.0), table["count"].to_numpy())
    return pl.Series("volume", units)


def _daily(source: Path, frame: pl.DataFrame, bad: list, untraded: int) -> Parsed:  # type: ignore[type-arg]
    wanted = ["key", "start_ns", *_OHLC, "volume", "line"]
    frame = frame.with_columns(start_ns=midnight_ns(days(frame["day"])))
    found = checked(source, frame.select(*wanted, *(["oi"] if "oi" in frame.columns else [])), DAY_NS, bad=bad)
    found.untraded = untraded
    return found
