"""What the simulated exchanges list from day to day, and how the dump and the wire tell it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest

from atmand.feed.kite_decode import decode_lines
from atmand.market.instruments import expiry_ns
from atmand.market.kite_dump import parse_kite_dump
from atmand.market.sessions import ns
from atmand.sim.actions import SimAction
from atmand.sim.contracts import UNDERLYINGS, Contracts
from atmand.sim.desk import Desk
from atmand.sim.exchange import Exchange
from atmand.sim.generator import SeededMarket
from atmand.sim.history import HistoryError, candles_between
from atmand.sim.levels import SimulatorError
from atmand.sim.universe import dump_csv
from atmand.sim.wire import FULL

MONDAY, TUESDAY, WEDNESDAY = (dt.date(2026, 7, day) for day in (6, 7, 8))
NIFTY, RELIANCE = 0, 3
INDEX = 100


def _expiries(contracts: Contracts, underlying: int, *, futures: bool = False) -> list[str]:
    rows = contracts.rows[contracts.rows["underlying"] == underlying]
    rows = rows[rows["right"] == 0] if futures else rows
    return [dt.date.fromordinal(day).isoformat() for day in np.unique(rows["expiry"]).tolist()]


def test_expiries_follow_the_exchanges_weekdays_and_give_way_to_holidays(market: SeededMarket) -> None:
    june = market.contracts(dt.date(2026, 6, 22))
    assert _expiries(june, NIFTY) == [
        "2026-06-23",
        "2026-06-30",
        "2026-07-07",
        "2026-07-14",
        "2026-07-28",
        "2026-08-25",
    ]
    # Thursday 2026-06-25 is a session, Friday 26 the holiday; 2026-11-10, a Tuesday, is closed.
    assert _expiries(june, 2)[:2] == ["2026-06-25", "2026-07-02"]
    assert "2026-11-09" in _expiries(market.contracts(dt.date(2026, 11, 2)), NIFTY)
    assert _expiries(june, RELIANCE, futures=True) == ["2026-06-30", "2026-07-28", "2026-08-25"]
    # Thursdays until the change of 2025-09-01, Tuesdays from then on.
    assert _expiries(market.contracts(dt.date(2025, 8, 25)), NIFTY)[:3] == ["2025-08-28", "2025-09-02", "2025-09-09"]


def test_a_contract_that_has_ended_is_gone_the_next_day_and_another_one_is_new(market: SeededMarket) -> None:
    on, after = market.contracts(TUESDAY), market.contracts(WEDNESDAY)
    assert _expiries(on, NIFTY)[0] == "2026-07-07"
    assert _expiries(after, NIFTY)[0] == "2026-07-14"
    assert set(_expiries(after, NIFTY)) - set(_expiries(on, NIFTY)) == {"2026-08-04"}
    alive = np.flatnonzero((on.rows["expiry"] > TUESDAY.toordinal()) & (on.rows["underlying"] == NIFTY))
    for at in alive.tolist():
        same = after.columns[int(on.rows["token"][at])]
        assert after.symbols[same] == on.symbols[at]


def test_lots_freeze_and_ticks_are_those_of_the_contracts_dates(market: SeededMarket) -> None:
    december = market.contracts(dt.date(2025, 12, 29))
    lots = {
        (dt.date.fromordinal(row["expiry"]).isoformat(), int(row["lot"]))
        for row in december.rows[december.rows["underlying"] == NIFTY]
    }
    assert {("2025-12-30", 75), ("2026-01-06", 65), ("2026-01-27", 65)} <= lots
    july = market.contracts(MONDAY).rows
    assert set(july["freeze"][july["underlying"] == NIFTY].tolist()) == {1800}
    assert set(july["tick"][july["right"] != 0].tolist()) == {5}
    assert set(july["tick"][(july["right"] == 0) & (july["underlying"] == NIFTY)].tolist()) == {10}


def test_strikes_reach_round_the_close_and_names_and_tokens_are_unique(market: SeededMarket) -> None:
    contracts = market.contracts(MONDAY)
    rows = contracts.rows
    assert len(set(contracts.symbols)) == len(set(rows["token"].tolist())) == len(rows)
    for number, underlying in enumerate(UNDERLYINGS):
        spot = market.reference(MONDAY).close_before[underlying.column]
        for expiry in np.unique(rows["expiry"][rows["underlying"] == number]):
            strikes = rows["strike"][(rows["underlying"] == number) & (rows["expiry"] == expiry) & (rows["right"] > 0)]
            if len(strikes):
                assert strikes.min() < spot * 0.96
                assert strikes.max() > spot * 1.04


def test_the_dump_comes_back_as_it_was_listed(market: SeededMarket) -> None:
    contracts, chain = market.contracts(MONDAY), market.chain(MONDAY)
    reference = market.reference(MONDAY)
    closes, ticks = reference.close_before.tolist(), reference.tick.tolist()
    text = dump_csv(market.listings, closes, ticks, contracts=contracts.dump_rows(chain.close_before))
    read: dict[str, Any] = {
        row.symbol: row for row in parse_kite_dump(text).instruments() if row.segment in ("FUT", "OPT")
    }
    assert len(read) == len(contracts.symbols)
    for at, symbol in enumerate(contracts.symbols):
        row, found = contracts.rows[at], read[symbol]
        told = (found.token, found.lot, found.tick, found.strike, found.right, found.expiry.toordinal())
        assert told == tuple(int(row[name]) for name in ("token", "lot", "tick", "strike", "right", "expiry"))
    assert read["NIFTY26JULFUT"].underlying == "NSE:INDEX:NIFTY 50"
    assert read["RELIANCE26JULFUT"].underlying == "NSE:EQ:RELIANCE"
    assert expiry_ns(read["NIFTY26JULFUT"]) == ns(dt.date(2026, 7, 28), "15:30")
    only = dump_csv(market.listings, closes, ticks, "BFO", contracts.dump_rows(chain.close_before))
    assert {row.exchange for row in parse_kite_dump(only).instruments()} == {"BFO"}


def _near_the_money(desk: Desk, spot: float, count: int) -> np.ndarray:
    rows = desk.chain.contracts.rows
    mine = np.flatnonzero((rows["underlying"] == NIFTY) & (rows["order"] == 0) & (rows["right"] != 0))
    return np.sort(mine[np.argsort(np.abs(rows["strike"][mine] - spot), kind="stable")[:count]])


def test_a_contracts_packets_do_not_depend_on_who_else_listens_or_since_when(market: SeededMarket) -> None:
    spot = float(market.reference(MONDAY).close_before[INDEX])
    early, late = market.desk(MONDAY), SeededMarket(11).desk(MONDAY)
    wanted = _near_the_money(early, spot, 6)
    early.want(wanted)
    first = {event: early.rows(event) for event in range(0, 1200)}
    late.want(wanted[2:4])
    for event in range(700, 1200):
        packets, columns = late.rows(event)
        chosen = np.isin(first[event][1], wanted[2:4])
        order = np.argsort(first[event][1][chosen]), np.argsort(columns)
        assert np.array_equal(first[event][0][chosen][order[0]], packets[order[1]])
    assert not np.array_equal(SeededMarket(12).chain(MONDAY).close_before[:50], early.chain.close_before[:50])


def test_a_contracts_candles_are_its_packets(market: SeededMarket) -> None:
    desk = market.desk(MONDAY)
    column = int(_near_the_money(desk, float(market.reference(MONDAY).close_before[INDEX]), 1)[0])
    desk.want(np.array([column]))
    bars: dict[int, list[int]] = {}
    for event in range(600):
        for packet in desk.rows(event)[0]:
            row = packet.view(FULL)[0]
            price, minute = int(row["last_price"]), int(row["exchange_time"]) // 60 * 60
            bar = bars.setdefault(minute, [price, price, price, price, 0, 0])
            bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
            bar[4], bar[5] = int(row["volume"]), int(row["oi"])
    made = desk.candles(column, 599)
    assert [candle.start for candle, _ in made] == list(bars)
    assert [list(candle[1:5]) for candle, _ in made] == [bar[:4] for bar in bars.values()]
    assert sum(candle.volume for candle, _ in made) == list(bars.values())[-1][4]
    assert made[-1][1] == pytest.approx(list(bars.values())[-1][5], rel=0.01)


def test_quotes_have_two_sides_round_the_worth_and_widen_away_from_the_money(market: SeededMarket) -> None:
    desk = market.desk(MONDAY)
    rows = desk.chain.contracts.rows
    calls = np.flatnonzero((rows["underlying"] == NIFTY) & (rows["order"] == 1) & (rows["right"] > 0))
    at = np.array([5_000])
    seconds, spots = desk.session.seconds[at], desk.session.spots[at]
    quotes, worth = desk.chain.quotes(seconds, spots, calls), desk.chain.worth(seconds, spots, calls)
    assert (quotes.bid[0] <= worth[0]).all()
    assert (quotes.ask[0] > worth[0]).all()
    spread = (quotes.ask - quotes.bid)[0] / worth[0]
    distance = np.abs(rows["strike"][calls] - spots[0, NIFTY])
    near, far = spread[np.argsort(distance)[:5]], spread[rows["strike"][calls] > spots[0, NIFTY] * 1.04]
    assert near.max() < 0.01
    assert far.min() > near.max()
    packet = desk.state(5_000, calls[[len(calls) // 2]])[0][0].view(FULL)[0]
    assert packet["oi_low"] <= packet["oi"] <= packet["oi_high"]
    assert packet["buy"]["price"][0] < packet["sell"]["price"][0]
    assert packet["volume"] % rows["lot"][calls[0]] == 0


def test_futures_carry_and_meet_the_underlying_at_their_end(market: SeededMarket) -> None:
    day = dt.date(2026, 7, 28)
    desk = market.desk(day)
    rows = desk.chain.contracts.rows
    futures = np.flatnonzero((rows["underlying"] == NIFTY) & (rows["right"] == 0))
    at = np.array([0, len(desk.session.seconds) - 1])
    worth = desk.chain.worth(desk.session.seconds[at], desk.session.spots[at], futures)
    assert (np.diff(worth, axis=1) > 0).all()
    assert worth[1, 0] == pytest.approx(desk.session.spots[-1, NIFTY], rel=3e-4)
    calls = np.flatnonzero((rows["underlying"] == NIFTY) & (rows["right"] > 0) & (rows["order"] == 0))
    closes = market.closes(day)
    settled = desk.chain.settlement(calls, closes)
    assert settled.tolist() == np.maximum(closes[NIFTY] - rows["strike"][calls], 0).tolist()
    assert desk.chain.settlement(futures[:1], closes).tolist() == [closes[NIFTY]]


def test_the_volatility_index_follows_the_chains_volatility(market: SeededMarket) -> None:
    vix = market.day(MONDAY).last[:, -1] / 100
    chain = market.chain(MONDAY)
    assert vix[0] == pytest.approx(chain.terms.today.level[NIFTY] * 100, rel=0.08)
    assert np.corrcoef(vix[::60], market.day(MONDAY).last[::60, INDEX])[0, 1] < -0.5


SPLIT = SimAction(symbol="RELIANCE", ex_date=WEDNESDAY, kind="split", new=5)
BONUS = SimAction(symbol="TATASTEEL", ex_date=WEDNESDAY, kind="bonus", new=1)


def test_a_split_changes_prices_strikes_and_lots_and_leaves_values(market: SeededMarket) -> None:
    changed = SeededMarket(11, actions=[SPLIT, BONUS])
    assert np.array_equal(changed.day(TUESDAY).last, market.day(TUESDAY).last)
    before, after = market.reference(WEDNESDAY), changed.reference(WEDNESDAY)
    assert after.close_before[0] == pytest.approx(before.close_before[0] / 5, abs=1)
    tata = [row.symbol for row in market.listings].index("TATASTEEL")
    assert after.close_before[tata] == pytest.approx(before.close_before[tata] / 2, abs=1)
    assert changed.day(WEDNESDAY).last[-1, INDEX] == pytest.approx(market.day(WEDNESDAY).last[-1, INDEX], rel=1e-3)

    old, new = changed.contracts(TUESDAY), changed.contracts(WEDNESDAY)
    mine = np.flatnonzero((old.rows["underlying"] == RELIANCE) & (old.rows["order"] == 0))
    for at in mine.tolist():
        moved = new.rows[new.columns[int(old.rows["token"][at])]]
        assert moved["strike"] == pytest.approx(old.rows["strike"][at] / 5, abs=2.5)
        assert moved["lot"] == old.rows["lot"][at] * 5
    chain, unsplit = changed.chain(WEDNESDAY), market.chain(WEDNESDAY)
    at = new.columns[int(old.rows["token"][mine[0]])]
    still = unsplit.contracts.columns[int(old.rows["token"][mine[0]])]
    assert chain.close_before[at] == pytest.approx(unsplit.close_before[still] / 5, rel=1e-2)


def test_an_action_on_no_share_or_no_session_is_refused() -> None:
    with pytest.raises(SimulatorError, match="no share"):
        SeededMarket(1, actions=[SPLIT.model_copy(update={"symbol": "NONE"})])
    with pytest.raises(SimulatorError, match="2026-07-05"):
        SeededMarket(1, actions=[SPLIT.model_copy(update={"ex_date": dt.date(2026, 7, 5)})])


def _step(exchange: Exchange) -> list[dict[str, Any]]:
    """Take one step and return the ticks of its frames, as our own decoder reads them."""
    time_ns = exchange.next_ns()
    assert time_ns is not None
    frames = [data for _, data in exchange.advance(time_ns)]
    return [tick for line in decode_lines(frames) for tick in line["ticks"]]


def test_contracts_come_over_the_wire_in_the_mode_that_was_asked_for(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(MONDAY, "14:00"))
    subscription = exchange.attach()
    assert exchange.contracts is not None
    spot = float(market.reference(MONDAY).close_before[INDEX])
    options = exchange.contracts.rows["token"][_near_the_money(exchange.desk(), spot, 3)].tolist()
    future = int(exchange.contracts.rows["token"][exchange.contracts.keys["NFO:NIFTY26JULFUT"]])
    exchange.request(subscription, json.dumps({"a": "mode", "v": ["full", [*options, 256265]]}))
    exchange.request(subscription, json.dumps({"a": "subscribe", "v": [future, 77]}))
    first = {tick["instrument_token"]: tick for tick in _step(exchange)}
    assert set(first) == {*options, future, 256265}
    assert {first[token]["mode"] for token in options} == {"full"}
    assert first[future]["mode"] == "quote"
    assert first[future]["last_price"] == pytest.approx(first[256265]["last_price"], rel=0.01)
    assert all(first[token]["oi"] > 0 and first[token]["depth"]["buy"][0]["price"] > 0 for token in options)
    later = [_step(exchange) for _ in range(30)]
    assert 30 < sum(map(len, later)) < 30 * 5
    exchange.request(subscription, json.dumps({"a": "unsubscribe", "v": [*options, 256265]}))
    assert {tick["instrument_token"] for _ in range(10) for tick in _step(exchange)} == {future}


def test_a_subscription_outlives_the_night_unless_its_contract_has_ended(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(TUESDAY, "15:29:50"))
    subscription = exchange.attach()
    ended = int(exchange.desk().chain.contracts.rows["token"][0])
    assert exchange.contracts is not None
    stays = int(exchange.contracts.rows["token"][exchange.contracts.keys["NFO:NIFTY26JULFUT"]])
    exchange.request(subscription, json.dumps({"a": "mode", "v": ["full", [ended, stays]]}))
    assert {tick["instrument_token"] for tick in _step(exchange)} == {ended, stays}
    while exchange.session == TUESDAY:
        _step(exchange)
    assert exchange.contract_of(ended) is None
    seen = [tick["instrument_token"] for _ in range(8) for tick in _step(exchange)]
    assert set(seen) == {stays}


def test_the_past_of_a_contract_can_be_asked_for(market: SeededMarket) -> None:
    exchange = Exchange(market, ns(TUESDAY, "09:30"))
    assert exchange.contracts is not None
    token = int(exchange.contracts.rows["token"][exchange.contracts.keys["NFO:NIFTY26JULFUT"]])
    exchange.advance(ns(TUESDAY, "09:31:30"))
    span = "2026-07-06 15:28:00", "2026-07-07 15:30:00"
    rows = candles_between(exchange, token, "minute", *span)()
    assert [row[0][11:16] for row in rows] == ["15:28", "15:29", *(f"09:{minute}" for minute in range(15, 32))]
    assert all(low <= min(first, last) <= max(first, last) <= high for _, first, high, low, last, *_ in rows)
    (day,) = candles_between(exchange, token, "day", "2026-07-06", "2026-07-06")()
    assert day[4] == rows[1][4]
    assert day[6] == rows[1][6] > 0
    with pytest.raises(HistoryError, match="invalid token"):
        candles_between(exchange, 77, "minute", *span)


def test_candles_from_before_a_split_are_told_in_the_units_after_it() -> None:
    plain, changed = (Exchange(SeededMarket(11, actions=actions), ns(WEDNESDAY, "09:15")) for actions in ([], [SPLIT]))
    span = "2026-07-07 09:15:00", "2026-07-07 09:20:00"
    old, new = (candles_between(exchange, 738561, "minute", *span)() for exchange in (plain, changed))
    assert [row[4] for row in new] == pytest.approx([row[4] / 5 for row in old], abs=0.01)
    assert [row[5] for row in new] == [row[5] * 5 for row in old]
