"""Real bars drawn out: one stated path, the same candles again, and files that are refused."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.market.bar_path import STEP_SECONDS, STEPS, level_price, level_quantity, step_price, step_volume
from atmand.sim.bar_market import BAR_TICK, BarMarket, bar_steps
from atmand.sim.levels import SimulatorError
from atmand.sim.market_day import StepRows
from atmand.sim.wire import FULL

HEADER = "symbol,ts,open,high,low,close,volume\n"


@st.composite
def bars(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    low = draw(st.integers(1, 10**7))
    high = low + draw(st.integers(0, 10**5))
    opens, close = (draw(st.integers(low, high)) for _ in range(2))
    return opens, high, low, close, draw(st.integers(0, 10**8))


@settings(deadline=None)  # the first call compiles
@given(bars())
def test_the_arrays_draw_the_path_that_the_batch_driver_draws(bar: tuple[int, int, int, int, int]) -> None:
    opens, high, low, close, volume = bar
    prices, volumes = bar_steps(*(np.array([value]) for value in bar))
    assert prices[0].tolist() == [step_price(step, opens, high, low, close) for step in range(STEPS)]
    assert volumes[0].tolist() == [step_volume(step, volume) for step in range(STEPS)]
    assert max(prices[0]) == high
    assert min(prices[0]) == low
    assert volumes[0, -1] == volume
    assert (np.diff(volumes[0]) >= 0).all()


def test_a_rising_bar_visits_its_low_first_and_a_falling_one_its_high() -> None:
    prices, _ = bar_steps(*(np.array(values) for values in ([10, 20], [25, 25], [5, 5], [20, 10], [7, 7])))
    assert prices.tolist() == [[10, 5, 25, 20], [20, 25, 5, 10]]


def _file(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows))
    return path


def test_a_csv_becomes_a_market_with_a_book_one_tick_round_each_step(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "ABC,2024-03-04T09:15:00+05:30,100.00,101.00,99.50,100.50,1000",
        "XYZ,2024-03-04T09:15:00+05:30,50.05,50.05,50.00,50.00,10",
        "ABC,2024-03-04T09:16:00+05:30,100.50,100.50,100.50,100.50,0",
        "ABC,2024-03-05T09:15:00+05:30,102.00,102.00,102.00,102.00,4",
    )
    market = BarMarket(path)
    day = market.day(dt.date(2024, 3, 4))
    assert [row.symbol for row in market.listings] == ["ABC", "XYZ"]
    start = int(dt.datetime(2024, 3, 4, 9, 15, tzinfo=dt.timezone(dt.timedelta(hours=5.5))).timestamp())
    assert day.seconds.tolist() == [start + minute + second for minute in (0, 60) for second in STEP_SECONDS]
    packets, columns = StepRows(day, market.listings).at(1)
    assert columns.tolist() == [0, 1]
    row = packets[0].view(FULL)[0]
    assert (row["last_price"], row["volume"], row["last_quantity"]) == (9950, 500, 250)
    assert row["buy"]["price"].tolist() == [level_price(9950, 1, level, BAR_TICK) for level in range(5)]
    assert row["sell"]["price"].tolist() == [level_price(9950, -1, level, BAR_TICK) for level in range(5)]
    assert set(row["sell"]["quantity"].tolist()) == {level_quantity(1000)}
    assert market.reference(dt.date(2024, 3, 5)).close_before.tolist() == [10050, 5000]
    assert market.session_before(dt.date(2024, 3, 5)) == dt.date(2024, 3, 4)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("ABC,2024-03-04T09:15:00,1,1,1,1,1", "time zone"),
        ("ABC,yesterday,1,1,1,1,1", "Parquet or CSV"),
        ("ABC,2024-03-04T09:15:00+05:30,nan,1,1,1,1", "positive and finite"),
        ("ABC,2024-03-04T09:15:00+05:30,2,1,1,1,1", "high below"),
        ("ABC,2024-03-04T09:15:00+05:30,1,1,1,1,-1", "negative volume"),
        ("ABC,2024-03-04T09:15:30+05:30,1,1,1,1,1", "whole minute"),
        ("ABC,2024-03-04T09:15:00+05:30,1,1,1,1,1\nABC,2024-03-04T09:15:00+05:30,1,1,1,1,1", "second bar"),
    ],
)
def test_a_bad_bar_is_refused_with_its_place(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(SimulatorError, match=reason) as refusal:
        BarMarket(_file(tmp_path, row))
    assert "bars.csv" in str(refusal.value)


def test_a_missing_file_and_a_missing_column_are_said(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="nothing"):
        BarMarket(tmp_path / "nothing.parquet")
    path = tmp_path / "bars.csv"
    path.write_text("symbol,ts\nABC,2024-03-04T09:15:00+05:30\n")
    with pytest.raises(SimulatorError, match="no column open"):
        BarMarket(path)


@pytest.mark.skipif("ATMAND_TEST_DATA" not in os.environ, reason="needs ATMAND_TEST_DATA")
def test_candles_of_real_bars_are_the_bars() -> None:
    path = Path(os.environ["ATMAND_TEST_DATA"]) / "bars" / "nse_eq_1m_2016-08.parquet"
    market = BarMarket(path)
    table = pl.read_parquet(path)
    day = dt.date(2016, 8, 17)
    candles = market.candles(day)
    checked = 0
    for column, listing in enumerate(market.listings):
        rows = table.filter(pl.col("symbol") == listing.symbol, pl.col("ts").dt.date() == day).sort("ts")
        expected = [
            (*(round(row[name] * 100) for name in ("open", "high", "low", "close")), row["volume"])
            for row in rows.iter_rows(named=True)
        ]
        assert [tuple(candle[1:]) for candle in candles.of(column)] == expected
        checked += len(expected)
    assert checked == 12 * 375
