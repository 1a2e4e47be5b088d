"""Market time, subscriptions and frames without sockets."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_running import INFY, INFY_BSE, NIFTY, number, packets

from atmand.market.sessions import ns
from atmand.sim.bar_market import BarMarket
from atmand.sim.exchange import CONNECTION_LIMIT, Exchange, RequestError
from atmand.sim.generator import SeededMarket
from atmand.sim.pace import AUTO_IDLE_SPEED, AUTO_LIMIT, Pace

FRIDAY, MONDAY = dt.date(2026, 7, 3), dt.date(2026, 7, 6)
SECOND = 1_000_000_000


def _step(exchange: Exchange) -> list[bytes]:
    time_ns = exchange.next_ns()
    assert time_ns is not None
    assert time_ns > exchange.now_ns
    return [data for _, data in exchange.advance(time_ns)]


def test_the_payloads_are_a_function_of_seed_and_subscriptions_in_market_time(market: SeededMarket) -> None:
    def run(seeded: SeededMarket) -> list[tuple[int, list[bytes]]]:
        exchange = Exchange(seeded, ns(MONDAY, "11:30"))
        first, second = exchange.attach(), exchange.attach()
        exchange.request(first, json.dumps({"a": "mode", "v": ["full", [INFY, NIFTY, INFY_BSE]]}))
        sent = []
        for at in range(90):
            if at == 30:
                exchange.request(second, json.dumps({"a": "subscribe", "v": [INFY]}))
            sent.append((exchange.now_ns, _step(exchange)))
        return sent

    once = run(market)
    assert run(SeededMarket(11)) == once
    assert run(SeededMarket(12)) != once


def test_a_subscription_is_answered_by_the_whole_state_at_the_next_step(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(MONDAY, "12:00"))
    subscription = exchange.attach()
    tokens = [row.token for row in market.listings]
    exchange.request(subscription, json.dumps({"a": "mode", "v": ["full", tokens]}))
    (snapshot,) = _step(exchange)
    assert {number(packet, 0) for packet in packets(snapshot)} == set(tokens)
    assert {len(packet) for packet in packets(snapshot)} == {184, 32}
    (update,) = _step(exchange)
    assert 0 < len(packets(update)) < len(tokens)
    assert subscription.frames == 2


def test_a_bare_subscription_means_quote_and_a_mode_changes_it(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(MONDAY, "09:15"))
    subscription = exchange.attach()
    exchange.request(subscription, json.dumps({"a": "subscribe", "v": [INFY, NIFTY, 999_999]}))
    assert exchange.next_ns() == ns(MONDAY, "09:15")
    assert sorted(len(packet) for packet in packets(_step(exchange)[0])) == [28, 44]
    exchange.request(subscription, json.dumps({"a": "mode", "v": ["ltp", [INFY, NIFTY]]}))
    assert [len(packet) for packet in packets(_step(exchange)[0])] == [8, 8]
    exchange.request(subscription, json.dumps({"a": "unsubscribe", "v": [INFY, NIFTY]}))
    assert _step(exchange) == []


def test_before_the_opening_a_subscription_shows_the_day_before(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(MONDAY, "08:00"))
    subscription = exchange.attach()
    exchange.request(subscription, json.dumps({"a": "mode", "v": ["full", [INFY]]}))
    (snapshot,) = _step(exchange)
    assert exchange.now_ns == ns(MONDAY, "09:00")
    assert number(packets(snapshot)[0], 60) == ns(FRIDAY, "15:29:59") // SECOND
    assert number(packets(snapshot)[0], 4) == market.reference(MONDAY).close_before[3]
    assert exchange.next_ns() == ns(MONDAY, "09:15")


def test_nights_and_weekends_are_jumped_and_nothing_else(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(FRIDAY, "15:29:57"))
    subscription = exchange.attach()
    exchange.request(subscription, json.dumps({"a": "mode", "v": ["full", [row.token for row in market.listings]]}))
    times = []
    for _ in range(8):
        _step(exchange)
        times.append(exchange.now_ns)
    expected = [ns(FRIDAY, at) for at in ("15:29:57", "15:29:58", "15:29:59", "15:30", "15:35")]
    expected += [ns(MONDAY, at) for at in ("09:00", "09:15", "09:15:01")]
    assert times == expected


def test_quiet_seconds_are_merged_but_never_past_an_event(market: SeededMarket) -> None:
    day = market.day(MONDAY)
    exchange = Exchange(market, ns(MONDAY, "12:00"))
    subscription = exchange.attach()
    column = exchange.column_of("BSE:EICHERMOT")
    assert column is not None
    exchange.request(subscription, json.dumps({"a": "subscribe", "v": [market.listings[column].token]}))
    _step(exchange)
    start = exchange.now_ns
    steps = [(_step(exchange), exchange.now_ns) for _ in range(40)]
    assert all(len(frames) == 1 for frames, _ in steps)
    event = day.event_at(start // SECOND)
    changes = [at for at in range(event + 1, len(day.seconds)) if day.changed[at, column]][:40]
    assert [time_ns // SECOND for _, time_ns in steps] == day.seconds[changes].tolist()


def test_without_a_listener_time_goes_on_second_by_second(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(MONDAY, "10:00"))
    for second in range(5):
        assert _step(exchange) == []
        assert exchange.now_ns == ns(MONDAY, "10:00") + second * SECOND


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"a": 1}',
        '{"a": "subscribe"}',
        '{"a": "subscribe", "v": 408065}',
        '{"a": "subscribe", "v": ["408065"]}',
        '{"a": "mode", "v": ["best", [408065]]}',
        '{"a": "mode", "v": ["full"]}',
        '{"a": "mode", "v": ["full", 408065]}',
        '{"a": "mode", "v": [["full"], [1]]}',
        "[" * 100_000,
        json.dumps({"a": "subscribe", "v": [INFY] * (CONNECTION_LIMIT + 1)}),
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(market: SeededMarket, text: str) -> None:
    exchange = Exchange(market, ns(MONDAY, "10:00"))
    subscription = exchange.attach()
    with pytest.raises(RequestError):
        exchange.request(subscription, text)
    assert not subscription.lengths.any()


@given(st.text() | st.dictionaries(st.sampled_from(["a", "v"]), st.text() | st.lists(st.integers())).map(json.dumps))
def test_no_text_breaks_the_exchange(text: str) -> None:
    exchange = Exchange(_MARKET, ns(MONDAY, "10:00"))
    try:
        exchange.request(exchange.attach(), text)
    except RequestError as error:
        assert str(error)


_MARKET = SeededMarket(11)


def test_a_market_of_bars_starts_at_its_first_opening_and_ends_after_its_last_close(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    rows = [f"ABC,2024-03-0{day}T09:1{minute}:00+05:30,1,1,1,1,8" for day in (4, 5) for minute in (5, 6)]
    path.write_text("symbol,ts,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    market = BarMarket(path)
    exchange = Exchange(market, ns(MONDAY, "09:15"))
    assert exchange.now_ns == ns(dt.date(2024, 3, 4), "09:15") - SECOND
    subscription = exchange.attach()
    exchange.request(subscription, json.dumps({"a": "mode", "v": ["full", [market.listings[0].token]]}))
    frames, times = [], []
    while exchange.next_ns() is not None:
        frames += _step(exchange)
        times.append(exchange.now_ns)
    assert len(frames) == 16
    assert times[-1] == ns(dt.date(2024, 3, 5), "09:22")
    assert exchange.session is None
    assert [number(packets(frame)[0], 16) for frame in frames] == [2, 4, 6, 8, 10, 12, 14, 16] * 2


def test_the_pace_is_an_absolute_schedule_that_jumps_closed_hours() -> None:
    pace = Pace(60.0)
    rate = pace.rate(granted=True, connections=1)
    assert pace.wait_ns(0, SECOND, 5_000, rate) == SECOND // 60
    late = 5_000 + SECOND
    assert pace.wait_ns(30 * SECOND, 31 * SECOND, late, rate) < 0
    assert pace.wait_ns(60 * SECOND, 61 * SECOND, late, rate) == pytest.approx(SECOND / 60, abs=2)
    assert pace.wait_ns(61 * SECOND, 10_000 * SECOND, late, rate) == 0
    assert pace.wait_ns(10_000 * SECOND, 10_001 * SECOND, late, rate) == pytest.approx(SECOND / 60, abs=2)


def test_auto_is_bounded_and_slower_while_nobody_is_connected() -> None:
    pace = Pace("auto")
    assert pace.rate(granted=True, connections=1) == AUTO_LIMIT
    assert pace.rate(granted=True, connections=0) == AUTO_IDLE_SPEED
    assert pace.rate(granted=False, connections=1) == 1.0
    assert pace.wait_ns(0, SECOND, 0, AUTO_LIMIT) > 0
    assert pace.wait_ns(SECOND, 2 * SECOND, 10 * SECOND, AUTO_LIMIT) == 0
    assert pace.wait_ns(2 * SECOND, 3 * SECOND, 10 * SECOND, AUTO_LIMIT) > 0
