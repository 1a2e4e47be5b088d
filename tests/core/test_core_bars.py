"""Bars: ticks bucketed by exchange time, bars closed by core time, and what is missing merged from history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from core_market import CLOSE, MINUTE, OPEN, SECOND, Book, Market, candles, share, walk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atmand.core.records import HISTORY_ROW, BarFlag, Command, Kind
from atmand.core.words import Reason

OHLCV = ["start_ns", "open", "high", "low", "close", "volume"]
EAGER = {"long_above": 1.0}
"""Values of the steered strategy that make it enter on every bar."""


def ohlcv(rows: NDArray[Any]) -> list[tuple[int, ...]]:
    return [tuple(int(row[name]) for name in OHLCV) for row in rows]


def started(series: Any) -> list[int]:
    """Return the minutes of the bars being built and waiting, -1 where there is none."""
    return [
        (int(series[name]["start_ns"]) - OPEN) // MINUTE if series[name]["start_ns"] else -1
        for name in ("building", "pending")
    ]


def test_a_bar_holds_the_ticks_of_its_minute_by_exchange_time() -> None:
    market = Market()
    for at, price in ((1, 100_000), (20, 100_500), (40, 99_500), (59.9, 100_100)):
        market.tick(at, price)
    market.tick(60.3, 100_200, exchange=59.95)
    market.tick(60.4, 100_300, exchange=60.0)
    market.timer(61)
    assert ohlcv(market.bars()) == [(OPEN, 100_000, 100_500, 99_500, 100_200, 0)]
    assert started(market.series()) == [1, -1]


def test_a_bar_closes_by_a_timer_at_its_end_and_grace_without_another_tick() -> None:
    market = Market()
    market.tick(30, 100_000)
    assert market.engine.next_due_ns == OPEN + MINUTE + SECOND
    market.timer(60.9)
    assert len(market.bars()) == 0
    market.timer(61)
    assert len(market.bars()) == 1


def test_a_late_tick_is_counted_and_never_merged() -> None:
    market = Market()
    market.minute(0, 100_000)
    market.tick(61.5, 105_000, exchange=59.0)
    assert market.header["late_ticks"] == 1
    assert ohlcv(market.bars()) == [(OPEN, 100_000, 100_000, 100_000, 100_000, 0)]


def test_a_tick_of_the_waiting_bar_still_joins_it_within_the_grace() -> None:
    market = Market()
    market.tick(30, 100_000)
    market.tick(60.2, 101_000)
    assert started(market.series()) == [1, 0]
    market.tick(60.5, 99_000, exchange=59.8)
    market.timer(61)
    assert ohlcv(market.bars())[0][1:5] == (100_000, 100_000, 99_000, 99_000)
    assert market.header["late_ticks"] == 0


def test_a_second_bar_ahead_of_its_time_closes_the_waiting_one_early_and_counts_it() -> None:
    market = Market()
    market.tick(30, 100_000)
    market.tick(60.2, 101_000)
    market.tick(60.4, 102_000, exchange=125)
    assert market.header["early_closes"] == 1
    assert [bar[0] for bar in ohlcv(market.bars())] == [OPEN]
    assert started(market.series()) == [2, 1]


def test_five_minute_bars_are_anchored_at_the_opening() -> None:
    market = Market([Book("trend")])
    for minute in range(0, 375, 1):
        market.tick(minute * 60 + 30, 100_000 + minute * 5, volume=(minute + 1) * 10)
    market.timer(375 * 60 + 1)
    bars = market.bars()
    assert len(bars) == 75
    assert all((int(bar["start_ns"]) - OPEN) % (5 * MINUTE) == 0 for bar in bars)
    assert ohlcv(bars)[1] == (OPEN + 5 * MINUTE, 100_025, 100_045, 100_025, 100_045, 50)


def test_the_days_last_bar_is_short_where_the_session_is_no_multiple_of_the_period() -> None:
    market = Market([Book("trend")])
    market.header["session_close_ns"] = CLOSE - 3 * MINUTE
    market.engine.table("windows")["close_ns"] = CLOSE - 3 * MINUTE
    market.tick(371 * 60 + 30, 100_000)
    market.timer(372 * 60 + 0.9)
    assert len(market.bars()) == 0
    market.timer(372 * 60 + 1)
    assert ohlcv(market.bars())[0][0] == OPEN + 370 * MINUTE


def test_volume_is_the_difference_of_the_days_volume() -> None:
    market = Market()
    for at, volume in ((10, 500), (30, 800), (70, 800), (80, 1_300)):
        market.tick(at, 100_000, volume=volume)
    market.timer(121)
    assert [bar[5] for bar in ohlcv(market.bars())][-2:] == [800, 500]


def test_a_start_in_the_day_does_not_take_the_volume_so_far_for_the_first_bars() -> None:
    market = Market(opened=3_600)
    market.tick(3_605, 100_000, volume=70_000)
    market.tick(3_610, 100_000, volume=70_400)
    market.timer(3_661)
    assert ohlcv(market.bars())[0][5] == 400


def test_ticks_outside_the_windows_only_quote() -> None:
    market = Market([Book(values=EAGER)])
    market.tick(-30, 100_000)
    assert market.header["outside_ticks"] == 1
    assert market.engine.table("instruments")["last_price"][0] == 100_000
    assert started(market.series()) == [-1, -1]


def test_a_packet_without_exchange_time_is_bucketed_by_core_time_and_flags_its_bar() -> None:
    market = Market()
    market.tick(30, 100_000, packet=8)
    market.timer(61)
    assert market.bars()["marks"][0] & BarFlag.CORE_TIME


def test_a_gap_marks_bars_partial_and_no_entry_is_made_on_them() -> None:
    market = Market([Book(values=EAGER)])
    market.tick(30, 100_000)
    market.tick(60.5, 100_000)
    market.gap(60.9, since=60.6)
    market.timer(61)
    market.timer(121)
    assert [bool(bar["marks"] & BarFlag.PARTIAL) for bar in market.bars()] == [False, True]
    decisions = market.audit(Kind.AUDIT_DECISION)
    assert [(row["reason"], row["state"]) for row in decisions] == [(Reason.NONE, 1)]

    market = Market([Book(values=EAGER)])
    market.tick(30, 100_000)
    market.gap(65, since=40)
    market.tick(66, 100_000)
    market.timer(121)
    assert [bool(bar["marks"] & BarFlag.PARTIAL) for bar in market.bars()] == [True, True]


def test_a_bar_that_began_within_a_gap_is_partial_and_blocks_the_entry() -> None:
    market = Market([Book(values=EAGER)])
    market.gap(10, since=0)
    market.minute(0, 100_000)
    decision = market.audit(Kind.AUDIT_DECISION)[0]
    assert (decision["reason"], decision["state"]) == (Reason.PARTIAL_BAR, 0)
    assert len(market.working()) == 0


def test_history_fills_missing_bars_and_replaces_partial_ones_but_not_whole_ones() -> None:
    market = Market([Book("quick")])
    market.minute(0, 100_000)
    market.tick(70, 100_100)
    market.gap(200, since=75)
    market.tick(205, 100_200)
    market.timer(241)
    assert [bool(bar["marks"] & BarFlag.PARTIAL) for bar in market.bars()] == [False, True, True]
    given_rows = candles(0, [90_000, 90_100, 90_200, 90_300])
    market.history(given_rows, 242, to=242)
    bars = market.bars()
    assert [int(bar["close"]) for bar in bars] == [100_000, 90_100, 90_200, 90_300]
    assert not (bars["marks"] & BarFlag.PARTIAL).any()
    assert list(np.diff(bars["start_ns"])) == [MINUTE] * 3


def test_an_unfinished_candle_completes_the_bar_being_built() -> None:
    market = Market(opened=3_630)
    market.tick(3_632, 100_000, volume=50_100)
    assert market.series()["building"]["marks"] & BarFlag.PARTIAL
    rows = candles(0, walk(3, 61), volume=800)
    rows[-1]["open"], rows[-1]["high"], rows[-1]["low"], rows[-1]["volume"] = 99_000, 101_000, 98_500, 1_900
    market.history(rows, 3_634, to=3_633)
    market.tick(3_640, 100_300, volume=50_600)
    market.timer(3_661)
    bar = market.bars()[-1]
    assert not bar["marks"] & BarFlag.PARTIAL
    assert ohlcv([bar])[0] == (OPEN + 60 * MINUTE, 99_000, 101_000, 98_500, 100_300, 50_600 - 60 * 800)


def test_a_candle_cut_off_within_a_waiting_bar_does_not_lose_the_ticks_after_it() -> None:
    market = Market(opened=3_630)
    market.tick(3_650, 100_000, volume=50_000)
    market.tick(3_659, 103_000, volume=50_500)
    market.tick(3_660.2, 102_000, volume=50_600)
    assert started(market.series()) == [61, 60]
    rows = candles(0, [*[100_000] * 60, 99_500], volume=800)
    market.history(rows, 3_660.5, to=3_652)
    market.timer(3_661)
    bar = market.bars()[-1]
    assert ohlcv([bar])[0][2:] == (103_000, 99_495, 103_000, 50_500 - 60 * 800)
    assert not bar["marks"] & BarFlag.PARTIAL


def test_a_candle_whose_grace_runs_is_kept_though_the_next_bar_has_begun() -> None:
    market = Market()
    market.tick(60.2, 100_000)
    market.history(candles(0, [99_000]), 60.5, to=60.4)
    assert started(market.series()) == [1, 0]
    market.timer(61)
    assert ohlcv(market.bars())[0][4] == 99_000
    market.timer(121)
    assert [bar[0] for bar in ohlcv(market.bars())] == [OPEN, OPEN + MINUTE]


def test_a_candle_of_the_next_minute_leaves_the_bar_before_it_waiting() -> None:
    market = Market()
    market.tick(50, 100_000)
    market.history(candles(1, [99_000]), 60.5, to=60.4)
    assert started(market.series()) == [1, 0]
    market.timer(61)
    assert ohlcv(market.bars())[0][4] == 100_000


def test_what_was_traded_in_a_gap_is_not_counted_again_behind_its_candles() -> None:
    market = Market()
    market.tick(30, 100_000, volume=100)
    market.gap(200, since=40)
    market.history(candles(0, [100_000] * 4, volume=100), 205, to=204)
    market.tick(210, 100_000, volume=450)
    market.timer(241)
    assert ohlcv(market.bars())[-1][5] == 150


def test_history_of_another_length_is_added_up_to_the_series_period() -> None:
    market = Market([Book("trend")], opened=3_600)
    rows = candles(0, walk(4, 60))
    market.history(rows, 3_601, to=3_600)
    bars = market.bars()
    assert len(bars) == 12
    first = rows[:5]
    assert ohlcv(bars)[0] == (
        OPEN, first[0]["open"], first["high"].max(), first["low"].min(), first[-1]["close"], 500,
    )  # fmt: skip


def test_history_of_an_unknown_instrument_is_passed_over() -> None:
    market = Market()
    market.history(candles(0, [100_000], instrument=7), 61, to=60)
    market.history(candles(0, [100_000], instrument=-1), 61, to=60)
    assert len(market.bars()) == 0


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(1, 12), strategy=st.sampled_from(["steer", "quick"]))
def test_candles_in_any_order_and_any_cut_give_the_same_ring(data: st.DataObject, n: int, strategy: str) -> None:
    rows = candles(0, walk(11, n))
    market = Market([Book(strategy)], opened=3_600)
    order = data.draw(st.permutations(range(n)))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    for first, last in zip([0, *cuts], [*cuts, n], strict=True):
        if first < last:
            market.history(rows[sorted(order[first:last])], 3_601, to=3_600)
    size = int(market.series()["ring_size"])
    assert ohlcv(market.bars()) == [tuple(int(row[name]) for name in OHLCV) for row in rows[-size:]]


def ticks_of_day(seed: int, minutes: int) -> list[tuple[float, int, int]]:
    """Draw (time, price, day's volume) of four ticks a minute."""
    prices = walk(seed, 4 * minutes, spread=60)
    return [
        (place // 4 * 60 + (5, 20, 40, 55)[place % 4], price, 25 * (place + 1)) for place, price in enumerate(prices)
    ]


def candles_until(ticks: list[tuple[float, int, int]], to: float) -> NDArray[Any]:
    """Return the broker's candles of ticks before a time, the last one unfinished."""
    minutes: dict[int, list[tuple[int, int]]] = {}
    for at, price, volume in ticks:
        if at < to:
            minutes.setdefault(int(at // 60), []).append((price, volume))
    rows, before = np.zeros(len(minutes), HISTORY_ROW), 0
    for row, (minute, seen) in zip(rows, sorted(minutes.items()), strict=True):
        prices = [price for price, _ in seen]
        row["start_ns"] = OPEN + minute * MINUTE
        row["open"], row["high"], row["low"], row["close"] = prices[0], max(prices), min(prices), prices[-1]
        row["volume"], before = seen[-1][1] - before, seen[-1][1]
    return rows


@pytest.mark.parametrize("strategy", ["quick", "trend"])
def test_a_start_at_half_past_eleven_equals_a_daemon_that_has_run_since_the_opening(strategy: str) -> None:
    ticks = ticks_of_day(21, 330)
    joined = 135 * 60 + 10.0
    whole = Market([Book(strategy)])
    whole.command(-30, Command.ENTRIES_OFF)
    late = Market([Book(strategy)], opened=joined)
    late.command(joined, Command.ENTRIES_OFF)
    for at, price, volume in ticks:
        if at // 60 != (at - 15) // 60 and at > 60:
            due = at // 60 * 60 + 1
            for market in (whole, late) if due > joined else (whole,):
                market.timer(due)
        if joined + 31 < at < joined + 50:
            for market in (whole, late):
                market.command(at - 1, Command.ENTRIES_ON)
        whole.tick(at, price, volume=volume)
        if at > joined:
            late.tick(at, price, volume=volume)
        if at == 135 * 60 + 20:
            late.history(candles_until(ticks, at), at + 1, to=at)
    assert ohlcv(late.bars()) == ohlcv(whole.bars())
    names = ("kind", "side", "quantity", "price", "value", "costs", "state", "reason", "time_ns")
    decided = []
    for market in (whole, late):
        rows = market.audit(Kind.AUDIT_DECISION, Kind.AUDIT_FILL)
        rows = rows[rows["time_ns"] > OPEN + round(joined + 40) * SECOND]
        decided.append([tuple(int(row[name]) for name in names) for row in rows])
    assert len(decided[0]) > 4
    assert decided[1] == decided[0]
    np.testing.assert_allclose(strategy_state(late), strategy_state(whole), rtol=1e-9, atol=1e-9)


def strategy_state(market: Market) -> NDArray[np.float64]:
    """Return a pair's slab: every field of it is a float or a count, so bytes read as floats compare both."""
    pair = market.pair()
    plan = market.engine.layout.manifest.structures[int(pair["structure"])]
    at = int(pair["slab_at"])
    return market.engine.layout.arena[at : at + plan.state_bytes].view(np.float64)


def test_shares_have_bars_of_their_own() -> None:
    market = Market([Book(instruments=(0, 1))], [share(0), replace(share(1), tick=1)])
    market.tick(10, 100_000)
    market.tick(12, 50_000, place=1)
    market.timer(61)
    assert [ohlcv(market.bars(place))[0][4] for place in (0, 1)] == [100_000, 50_000]
