"""The dated cost tables: no day without a row, none with two, and a clear word where a table does not reach."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.market import cost_table
from atmand.market.cost_table import CHARGES, PLANS, SEGMENTS, CostsError, periods, rows_of, rows_on

BEGINS = date(2024, 10, 1)
DAY = timedelta(days=1)
OF = [(exchange, segment, plan) for exchange, found in SEGMENTS.items() for segment in found for plan in PLANS]


@pytest.mark.parametrize(("exchange", "segment", "plan"), OF)
def test_periods_have_no_gap_and_no_overlap(exchange: str, segment: str, plan: str) -> None:
    found = periods(exchange, segment, plan)

    assert found[-1].until is None
    assert all(before.until == after.first > before.first for before, after in pairwise(found))
    with pytest.raises(CostsError):
        rows_on(found[0].first - DAY, exchange, segment, plan)


@given(of=st.sampled_from(OF), days=st.integers(0, 4_000))
def test_every_day_of_a_period_has_the_same_rows_and_each_began_before_it(of: tuple[str, str, str], days: int) -> None:
    first = periods(*of)[0].first
    day = first + days * DAY
    period = max(period for period in periods(*of) if period.first <= day)

    assert rows_on(day, *of) == rows_on(period.first, *of)
    assert all(row.first <= day for row in rows_on(day, *of).values())


@pytest.mark.parametrize("charge", CHARGES)
def test_every_row_names_its_source(charge: str) -> None:
    rows = [row for exchange, segment, plan in OF for row in rows_of(charge, exchange, segment, plan)]

    assert rows
    assert all(len(row.source) > 10 for row in rows)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ((date(2024, 9, 30), "NSE", "FUT"), r"of 2024-09-30: .*exchange charges of NSE, FUT.*begins on 2024-10-01"),
        ((date(2025, 6, 20), "NSE", "OPT", "groww"), r"brokerage of plan groww, OPT.*begins on 2025-06-21"),
        ((date(2026, 1, 1), "NSE", "OPT_SENSEX_BANKEX"), r"NSE OPT_SENSEX_BANKEX: not in the cost table.*BSE EQ_"),
        ((date(2026, 1, 1), "MCX", "FUT"), r"MCX FUT: not in the cost table"),
        ((date(2026, 1, 1), "NSE", "FUT", "gratis"), r"plan 'gratis': not in the cost table; known are zerodha, dhan"),
    ],
)  # fmt: skip
def test_what_no_table_reaches_is_refused_by_name_and_range(what: tuple[date, str, str], message: str) -> None:
    with pytest.raises(CostsError, match=message):
        rows_on(*what)


def test_two_rows_of_one_kind_and_day_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = cost_table.load_table("costs")
    table["gst"] = table["gst"] * 2
    monkeypatch.setattr(cost_table, "load_table", lambda _: table)

    with pytest.raises(CostsError, match=r"two rows of gst begin on 2017-07-01"):
        cost_table._read()


def test_all_segments_begin_on_one_day() -> None:
    assert {periods(exchange, segment)[0].first for exchange, segment, _ in OF} == {BEGINS}
