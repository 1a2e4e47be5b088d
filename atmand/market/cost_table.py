"""The dated cost tables of `data/costs.toml`: which row of each charge holds on a day, and from when to when.

Rows have a first day and hold until the next of their kind, so there are no gaps; two that begin on one day are refused
when the tables are read. `costs.py` turns what is found here into the kernel's rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

from atmand.errors import AtmandError
from atmand.market.tables import load_table

__all__ = [
    "CHARGES",
    "DEFAULT_PLAN",
    "PLANS",
    "SEGMENTS",
    "CostsError",
    "Period",
    "Row",
    "check_plan",
    "check_segment",
    "periods",
    "rows_of",
    "rows_on",
]

CHARGES: Final = ("exchange", "stt", "sebi", "stamp", "gst", "brokerage")
"""The tables of the file, one a charge."""

SEGMENTS: Final[dict[str, tuple[str, ...]]] = {
    "NSE": ("EQ_DELIVERY", "EQ_INTRADAY", "FUT", "OPT"),
    "BSE": ("EQ_DELIVERY", "EQ_INTRADAY", "FUT", "OPT", "OPT_SENSEX_BANKEX"),
}
"""Segments of each exchange that have costs."""

DEFAULT_PLAN: Final = "zerodha"
_TABLES: Final = {"brokerage": "brokerage", "stt": "STT", "exchange": "exchange charges", "sebi": "SEBI fees",
                  "stamp": "stamp duty", "gst": "GST"}  # fmt: skip
_ELSEWHERE: Final = "name a later day whose costs apply: costs_as_of = DATE in the configuration, or --costs-as-of DATE"


class CostsError(AtmandError):
    """No cost table for the day, the exchange, the segment or the plan."""


class Row(NamedTuple):
    """One row of a charge's table: what it sets, from a day on, and where that is published."""

    first: date
    values: Mapping[str, int]
    source: str


class Period(NamedTuple):
    """A stretch of days with the same costs: `until` is the first day that it does not hold, None is open."""

    first: date
    until: date | None


class _Of(NamedTuple):
    """What a charge's rows are told apart by; empty where it is the same for all."""

    charge: str
    exchange: str
    segment: str
    plan: str


def rows_on(day: date, exchange: str, segment: str, plan: str = DEFAULT_PLAN) -> dict[str, Row]:
    """Return the row of every charge that holds on `day`; CostsError names the table that does not reach it."""
    check_segment(exchange, segment)
    check_plan(plan)
    found: dict[str, Row] = {}
    for charge in CHARGES:
        rows = rows_of(charge, exchange, segment, plan)
        place = bisect_right(rows, day, key=lambda row: row.first)
        if place == 0:
            raise CostsError(f"costs of {day}", _begins(charge, exchange, segment, plan, rows), _ELSEWHERE)
        found[charge] = rows[place - 1]
    return found


def rows_of(charge: str, exchange: str, segment: str, plan: str = DEFAULT_PLAN) -> tuple[Row, ...]:
    """Return a charge's rows for an exchange, a segment and a plan, the oldest first."""
    return _ROWS[_key(charge, exchange, segment, plan)]


def periods(exchange: str, segment: str, plan: str = DEFAULT_PLAN) -> list[Period]:
    """Return the stretches of days between two changes of any charge, from the first day that all charges are known."""
    check_segment(exchange, segment)
    check_plan(plan)
    tables = [rows_of(charge, exchange, segment, plan) for charge in CHARGES]
    begins = max(rows[0].first for rows in tables)
    changes = sorted({begins, *(row.first for rows in tables for row in rows if row.first > begins)})
    return [Period(*days) for days in pairwise([*changes, None])]  # type: ignore[arg-type]


def check_plan(plan: str) -> str:
    """Return the name of a brokerage plan; CostsError where the table has none of that name."""
    if plan not in PLANS:
        raise CostsError(f"brokerage plan {plan!r}", "not in the cost table", f"known are {', '.join(PLANS)}")
    return plan


def check_segment(exchange: str, segment: str) -> None:
    """Refuse an exchange or a segment that the tables do not have."""
    if segment not in SEGMENTS.get(exchange, ()):
        known = "; ".join(f"{name} {', '.join(segments)}" for name, segments in SEGMENTS.items())
        raise CostsError(f"costs of {exchange} {segment}", "not in the cost table", f"known are {known}")


def _key(charge: str, exchange: str, segment: str, plan: str) -> _Of:
    """Return what tells this charge's rows apart: taxes are the exchanges' alike, only brokerage is a plan's."""
    return _Of(
        charge,
        exchange if charge == "exchange" else "",
        "" if charge in ("sebi", "gst") else segment,
        plan if charge == "brokerage" else "",
    )


def _begins(charge: str, exchange: str, segment: str, plan: str, rows: tuple[Row, ...]) -> str:
    of = f" of plan {plan}" if charge == "brokerage" else f" of {exchange}" if charge == "exchange" else ""
    newest = f", its newest row is of {rows[-1].first}" if len(rows) > 1 else ""
    return f"the cost table ({_TABLES[charge]}{of}, {segment}{newest}) begins on {rows[0].first}"


def _read() -> dict[_Of, tuple[Row, ...]]:
    """Read the file; CostsError where two rows of one kind begin on one day."""
    table = load_table("costs")
    found: dict[_Of, list[Row]] = defaultdict(list)
    for charge in CHARGES:
        for entry in table[charge]:
            values = {name: value for name, value in entry.items() if isinstance(value, int)}
            row = Row(entry["from"], values, entry["source"])
            for segment in entry.get("segments", ("",)):
                found[_Of(charge, entry.get("exchange", ""), segment, entry.get("plan", ""))].append(row)
    for of, rows in found.items():
        rows.sort(key=lambda row: row.first)
        for row, following in pairwise(rows):
            if row.first == following.first:
                what = f"two rows of {' '.join(filter(None, of))} begin on {row.first}"
                raise CostsError("costs.toml", what, "leave one of them out")
    return {of: tuple(rows) for of, rows in found.items()}


_ROWS: Final[dict[_Of, tuple[Row, ...]]] = _read()

PLANS: Final[tuple[str, ...]] = tuple(dict.fromkeys(of.plan for of in _ROWS if of.charge == "brokerage"))
"""Names of the brokerage plans."""
