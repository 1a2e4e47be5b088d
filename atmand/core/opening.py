"""Opening a session: the records that lay the core out for a day, made of market facts, settings and a program.

Pure: the daemon appends them to its journal, the back-test applies them directly; both get the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atmand.core.manifest import Manifest
from atmand.core.records import (
    INSTRUMENTS_HEAD,
    INSTRUMENTS_ROW,
    LIMITS_HEAD,
    LIMITS_ROW,
    PARAMS_HEAD,
    PARAMS_ROW,
    PROGRAM_HEAD,
    PROGRAM_ROW,
    SESSION_HEAD,
    SESSION_ROW,
    Kind,
    body_of,
    version_of,
)
from atmand.errors import AtmandError
from atmand.market.cost_table import DEFAULT_PLAN
from atmand.market.costs import cost_group, segment_of
from atmand.market.instruments import Instrument, expiry_ns
from atmand.market.sessions import Window

__all__ = [
    "BookLimits",
    "Draft",
    "PortfolioLimits",
    "SessionTerms",
    "instruments_draft",
    "limits_draft",
    "params_draft",
    "program_draft",
    "session_draft",
    "yyyymmdd",
]

_KEY_BYTES: Final = 48
NO_LIMIT: Final = 10**15


class Draft(NamedTuple):
    """A record before it has a sequence and a time."""

    kind: Kind
    body: bytes
    rows: int
    version: int = 1


@dataclass(frozen=True)
class SessionTerms:
    """What a session is traded under; every field changes decisions, so it is fixed until the next session."""

    day: date
    windows: tuple[Window, ...]
    seed: int = 1
    flags: int = 0
    grace_ns: int = 1_000_000_000
    grid_ns: int = 100_000_000
    latency_ns: tuple[int, int] = (50_000_000, 150_000_000)
    path_last_ns: int = 0
    costs_day: date | None = None
    """Day whose cost tables apply; None is the session's own."""
    brokerage: str = DEFAULT_PLAN
    protection_bps: int = 100
    entry_wait_ns: int = 30_000_000_000
    stale_ns: int = 60_000_000_000
    orders_per_book: int = 256
    code: bytes = bytes(32)
    machine: bytes = bytes(32)


@dataclass(frozen=True)
class BookLimits:
    """What the operator allows one book, in paise."""

    capital_paise: int
    order_value_paise: int = NO_LIMIT
    position_value_paise: int = NO_LIMIT
    daily_loss_paise: int = NO_LIMIT
    open_positions: int = 10_000
    orders_a_day: int = 1_000_000


@dataclass(frozen=True)
class PortfolioLimits:
    """What the books of one account may come to together; 0 is no limit."""

    netting: bool = True
    account_positions: int = 0
    underlying_positions: int = 0
    sector_positions: int = 0
    gross_paise: int = 0
    net_paise: int = 0
    gross_of_equity: int = 0
    """Basis points of the account's equity."""
    net_of_equity: int = 0


def session_draft(terms: SessionTerms) -> Draft:
    """Write the SESSION record's body."""
    head = np.zeros(1, SESSION_HEAD)
    head["date"] = yyyymmdd(terms.day)
    head["seed"] = terms.seed
    head["flags"] = terms.flags
    head["grace_ns"] = terms.grace_ns
    head["grid_ns"] = terms.grid_ns
    head["latency_low_ns"], head["latency_high_ns"] = terms.latency_ns
    head["path_last_ns"] = terms.path_last_ns
    head["costs_date"] = yyyymmdd(terms.costs_day or terms.day)
    head["protection_bps"] = terms.protection_bps
    head["entry_wait_ns"] = terms.entry_wait_ns
    head["stale_ns"] = terms.stale_ns
    head["orders_per_book"] = terms.orders_per_book
    head["code"] = np.frombuffer(terms.code, np.uint8)
    head["machine"] = np.frombuffer(terms.machine, np.uint8)
    head["brokerage"] = terms.brokerage.encode()
    rows = np.array([window[:3] for window in terms.windows], SESSION_ROW)
    return Draft(Kind.SESSION, body_of(Kind.SESSION, head, rows), len(rows), version_of(Kind.SESSION))


def instruments_draft(instruments: Sequence[tuple[Instrument, int]], dump: bytes = b"") -> Draft:
    """Write the INSTRUMENTS record's body from (instrument, group of session windows) pairs.

    `dump` is the sha256 of the dump that they come from.
    """
    head = np.zeros(1, INSTRUMENTS_HEAD)
    head["dump"] = np.frombuffer(dump or hashlib.sha256().digest(), np.uint8)
    rows = np.zeros(len(instruments), INSTRUMENTS_ROW)
    places = {instrument.key: place for place, (instrument, _) in enumerate(instruments)}
    sectors = sorted({instrument.sector for instrument, _ in instruments} - {""})
    for row, (instrument, group) in zip(rows, instruments, strict=True):
        key = instrument.key.encode("ascii", "replace")
        if len(key) > _KEY_BYTES:
            raise AtmandError(instrument.key, f"key of {len(key)} bytes", f"at most {_KEY_BYTES} can be traded")
        row["key"], row["isin"] = key, instrument.isin.encode("ascii", "replace")
        row["token"], row["price_scale"] = instrument.token, instrument.price_scale
        row["tick"], row["lot"], row["freeze"] = max(1, instrument.tick), max(1, instrument.lot), instrument.freeze
        row["lower_band"], row["upper_band"] = instrument.lower_band, instrument.upper_band
        row["group"], row["tradable"] = group, instrument.tradable
        row["sector"] = sectors.index(instrument.sector) + 1 if instrument.sector else 0
        row["cost_group"] = _cost_group(instrument) if instrument.tradable else 0
        row["underlying"] = places.get(instrument.underlying, -1)
        row["expiry_ns"] = expiry_ns(instrument)
        row["strike"], row["right"] = instrument.strike, instrument.right
    return Draft(Kind.INSTRUMENTS, body_of(Kind.INSTRUMENTS, head, rows), len(rows), version_of(Kind.INSTRUMENTS))


def _cost_group(instrument: Instrument) -> int:
    """Return the block of cost rows of an instrument; of shares, the one before deliveries'.

    The exchange is the durable key's: brokers write `NFO` and `BFO` for the derivatives of NSE and BSE.
    """
    exchange = instrument.key.partition(":")[0]
    return cost_group(exchange, segment_of(exchange, instrument.segment, instrument.name))


def program_draft(
    source: bytes,
    manifest: Manifest,
    pairs: Sequence[tuple[int, int]],
    copies: Sequence[int] | None = None,
    *,
    books: bytes = bytes(32),
) -> Draft:
    """Write the PROGRAM record's body; `pairs` are (book, instrument), `copies` the pair before each, or -1.

    `books` is the sha256 of the books document that a new session begins with.
    """
    head = np.zeros(1, PROGRAM_HEAD)
    head["source"] = np.frombuffer(hashlib.sha256(source).digest(), np.uint8)
    head["manifest"] = np.frombuffer(hashlib.sha256(manifest.to_json()).digest(), np.uint8)
    head["books"] = np.frombuffer(books, np.uint8)
    rows = np.zeros(len(pairs), PROGRAM_ROW)
    for index, (book, instrument) in enumerate(pairs):
        rows[index] = (book, instrument, -1 if copies is None else copies[index])
    return Draft(Kind.PROGRAM, body_of(Kind.PROGRAM, head, rows), len(rows))


def limits_draft(
    limits: Sequence[BookLimits], portfolio: PortfolioLimits | None = None, *, entries: bool = True
) -> Draft:
    """Write the LIMITS record's body: what every account's books share, and one row a book in the manifest's order."""
    head = np.zeros(1, LIMITS_HEAD)
    head["entries"] = entries
    for name, value in asdict(portfolio or PortfolioLimits()).items():
        head[name] = value
    rows: NDArray[np.void] = np.zeros(len(limits), LIMITS_ROW)
    for index, limit in enumerate(limits):
        rows[index] = (
            index, limit.capital_paise, limit.order_value_paise, limit.position_value_paise, limit.daily_loss_paise,
            limit.open_positions, limit.orders_a_day,
        )  # fmt: skip
    return Draft(Kind.LIMITS, body_of(Kind.LIMITS, head, rows), len(rows), version_of(Kind.LIMITS))


def params_draft(values: Sequence[Sequence[float]], *, document: bytes = bytes(32), seq: int = 0) -> Draft:
    """Write the PARAMS record's body: every book's values, slot by slot."""
    head = np.zeros(1, PARAMS_HEAD)
    head["document_seq"] = seq
    head["document"] = np.frombuffer(document, np.uint8)
    cells = [(book, slot, value) for book, row in enumerate(values) for slot, value in enumerate(row)]
    rows = np.array(cells, PARAMS_ROW)
    return Draft(Kind.PARAMS, body_of(Kind.PARAMS, head, rows), len(rows))


def yyyymmdd(day: date) -> int:
    """Write a day as the number that records carry: 20260706."""
    return day.year * 10_000 + day.month * 100 + day.day
