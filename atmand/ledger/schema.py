"""The ledger's tables, for every database that SQLAlchemy Core speaks to; `store.py` reads and writes them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

__all__ = ["METADATA", "SCHEMA", "days", "marks", "meta", "trades"]

SCHEMA: Final = 1
"""Number of this schema. A database with a higher one is refused, one with a lower one is made again."""

METADATA: Final = MetaData()

meta: Final = Table(
    "meta",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
"""`schema`; `sequence`: of the last journal record that the rows are of; `last_key`; `journal`; `fold`: its memory."""

trades: Final = Table(
    "trades",
    METADATA,
    Column("trade_id", String(40), primary_key=True),
    Column("strategy", String(64), nullable=False),
    Column("account", String(64), nullable=False),
    Column("venue", String(16), nullable=False),
    Column("product", String(8), nullable=False),
    Column("instrument", String(64), nullable=False),
    Column("side", String(4), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("entry_ns", BigInteger, nullable=False),
    Column("entry_value", BigInteger, nullable=False),
    Column("exit_ns", BigInteger, nullable=False),
    Column("exit_value", BigInteger, nullable=False),
    Column("costs_paise", BigInteger, nullable=False),
    Column("exit_reason", String(16), nullable=False),
    Column("structure_id", String(64), nullable=False),
    Column("strategy_sha256", String(64), nullable=False),
    Column("model_sha256", String(64)),
    Column("parameter_seq", BigInteger, nullable=False),
    Column("decided_cause", BigInteger, nullable=False),
    Column("exit_cause", BigInteger, nullable=False),
    Column("exit_place", Integer, nullable=False),
    Column("past", Boolean, nullable=False),
    Index("trades_by_exit", "exit_cause", "exit_place"),
    Index("trades_by_strategy", "strategy", "exit_cause"),
    Index("trades_by_instrument", "instrument", "exit_cause"),
)
"""Closed trades; what is worth money is in paise. (exit_cause, exit_place) is the audit row that closed it."""

marks: Final = Table(
    "marks",
    METADATA,
    Column("cause", BigInteger, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("strategy", String(64), nullable=False),
    Column("account", String(64), nullable=False),
    Column("equity_paise", BigInteger, nullable=False),
    Column("capital_paise", BigInteger, nullable=False),
    Column("costs_paise", BigInteger, nullable=False),
    Column("positions", Integer, nullable=False),
    Column("past", Boolean, nullable=False),
)
"""Books at every record that closed bars. The marks of one cause are all books at one moment."""

days: Final = Table(
    "days",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("name", String(130), primary_key=True),
    Column("opened_paise", BigInteger, nullable=False),
    Column("closed_paise", BigInteger, nullable=False),
    Column("flow_paise", BigInteger, nullable=False),
    Column("profit_paise", BigInteger, nullable=False),
    Column("day_return", Float(53), nullable=False),
    Column("costs_paise", BigInteger, nullable=False),
    Column("trades", Integer, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("past", Boolean, nullable=False),
)
"""Days of books (`strategy@account`), accounts (`@account`) and everything (empty name); the newest is written on."""
