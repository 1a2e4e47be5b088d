"""The seeded market's laws: pure, on ticks, inside circuits, carried from day to day, candles equal to ticks."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any

import numpy as np
import pytest

from atmand.market.kite_dump import parse_kite_dump
from atmand.market.sessions import FUTURES, WITH_DERIVATIVES, WITHOUT_DERIVATIVES, ns
from atmand.sim.generator import SeededMarket
from atmand.sim.indices import COMPUTED
from atmand.sim.levels import SimulatorError
from atmand.sim.market_day import StepRows
from atmand.sim.universe import COMPANIES, INDICES, dump_csv
from atmand.sim.wire import FULL, INDEX

DAY = dt.date(2026, 7, 6)
NEXT = dt.date(2026, 7, 7)
SHARES = 100
CLOSES_BEFORE = [124450, 323160, 109530]
"""Of the first three shares, before DAY, with the market's seed."""


def test_a_day_is_the_same_whoever_asks_and_in_whatever_order(market: SeededMarket) -> None:
    other = SeededMarket(11)
    other.candles(dt.date(2026, 3, 2))
    ours, theirs = market.day(DAY), other.day(DAY)
    for name in ("changed", "last", "volume", "last_trade", "average"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert not np.array_equal(SeededMarket(12).day(DAY).last, ours.last)


def test_prices_stand_on_ticks_inside_the_circuits(market: SeededMarket) -> None:
    day = market.day(DAY)
    reference = day.reference
    assert not (day.last[:, :SHARES] % reference.tick[:SHARES]).any()
    assert (day.last[:, :SHARES] >= reference.lower[:SHARES]).all()
    assert (day.last[:, :SHARES] <= reference.upper[:SHARES]).all()


def test_a_days_last_price_is_the_next_days_close_before(market: SeededMarket) -> None:
    assert np.array_equal(market.day(DAY).last[-1], market.reference(NEXT).close_before)


def test_both_listings_of_a_share_stay_together(market: SeededMarket) -> None:
    last = market.day(DAY).last[:, :SHARES].astype(float)
    nse, bse = last[:, :50], last[:, 50:]
    assert np.abs(bse / nse - 1).max() < 0.01
    assert np.abs(bse / nse - 1).mean() < 0.0005


def test_not_every_instrument_sends_a_packet_every_second(market: SeededMarket) -> None:
    share = market.day(DAY).changed[:, :SHARES].mean(axis=0)
    assert (share > 0.1).all()
    assert (share < 0.97).all()


def _bars_from_packets(market: SeededMarket, seconds: int, only_trades: bool) -> dict[tuple[int, int], list[int]]:
    """Build minute bars the way a client does: packet by packet, by exchange time."""
    day = market.day(DAY)
    rows = StepRows(day, market.listings)
    bars: dict[tuple[int, int], list[int]] = {}
    volumes: dict[int, int] = {}
    for event in range(seconds):
        packets, columns = rows.at(event)
        for packet, column in zip(packets, columns.tolist(), strict=True):
            index = column >= SHARES
            row = packet.view(INDEX if index else FULL)[0]
            volume, price = 0 if index else int(row["volume"]), int(row["last_price"])
            minute = int(row["exchange_time"]) // 60 * 60
            if only_trades and not index and row["last_trade_time"] != row["exchange_time"]:
                continue
            bar = bars.setdefault((minute, column), [price, price, price, price, 0])
            bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
            bar[4] += volume - volumes.get(column, 0)
            volumes[column] = volume
    return bars


@pytest.mark.parametrize("only_trades", [False, True])
def test_candles_are_the_bars_that_a_client_builds_from_the_packets(market: SeededMarket, only_trades: bool) -> None:
    minutes = 6
    bars = _bars_from_packets(market, minutes * 60, only_trades)
    candles = market.candles(DAY)
    expected = {
        (candle.start, column): list(candle[1:])
        for column in range(len(market.listings))
        for candle in candles.of(column, minutes)
    }
    assert bars == expected
    assert len(bars) > 90 * minutes


def test_indices_are_computed_from_what_their_members_traded(market: SeededMarket) -> None:
    last = market.day(DAY).last
    for at, index in enumerate(INDICES[:COMPUTED]):
        offset = 0 if index.exchange == "NSE" else 50
        base = np.array([COMPANIES[member].rupees for member in index.members])
        member = last[::997, [offset + m for m in index.members]] / 100
        level = index.rupees * (member / base).mean(axis=1)
        assert last[::997, SHARES + at] / 100 == pytest.approx(level, rel=1e-5)


def test_a_packet_shows_a_book_round_its_price(market: SeededMarket) -> None:
    rows = StepRows(market.day(DAY), market.listings)
    packets, columns = rows.at(700)
    shares = packets[columns < SHARES].reshape(-1).view(FULL)
    bid, ask = shares["buy"]["price"], shares["sell"]["price"]
    assert (bid[:, 0] < ask[:, 0]).all()
    assert ((shares["last_price"] == bid[:, 0]) | (shares["last_price"] == ask[:, 0])).all()
    assert (np.diff(bid.astype(np.int64), axis=1) < 0).all()
    assert (np.diff(ask.astype(np.int64), axis=1) > 0).all()
    assert (shares["buy"]["quantity"] > 0).all()
    assert (shares["low"] <= shares["last_price"]).all()
    assert (shares["high"] >= shares["last_price"]).all()


def test_nobody_sells_above_the_upper_circuit(market: SeededMarket) -> None:
    day = market.day(DAY)
    upper = day.reference.upper[:1]
    event, column = np.array([100]), np.array([0])
    levels = day.book.levels(event, column, upper)
    above = levels.ask_price > upper[:, None]
    assert not above.any()
    assert (levels.ask_quantity[levels.ask_price == 0] == 0).all()
    assert (levels.ask_price == 0).sum() >= 4


def test_a_day_without_a_session_is_refused(market: SeededMarket) -> None:
    with pytest.raises(SimulatorError, match="2026-07-05"):
        market.day(dt.date(2026, 7, 5))


def test_the_dump_is_read_by_our_own_parser_and_keeps_isins_apart(market: SeededMarket) -> None:
    reference = market.reference(DAY)
    text = dump_csv(market.listings, reference.close_before.tolist(), reference.tick.tolist())
    rows = {row["instrument_token"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == 104
    assert rows["408065"]["tradingsymbol"] == "INFY"
    keys: dict[str, Any] = {row.key: row for row in parse_kite_dump(text).instruments()}
    assert keys["NSE:EQ:INFY"].tick == reference.tick[3]
    assert not keys["NSE:INDEX:NIFTY 50"].tradable
    assert {row.isin for row in market.listings[:50]} == {row.isin for row in market.listings[50:100]}
    assert len({row.isin for row in market.listings[:50]}) == 50


def test_every_listing_keeps_its_segments_hours_and_an_auction_makes_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [WITH_DERIVATIVES] * 50 + [FUTURES] * 50 + [WITHOUT_DERIVATIVES] * 4
    monkeypatch.setattr("atmand.sim.generator.session_groups", lambda *_: groups)
    market, day = SeededMarket(11), dt.date(2026, 8, 10)
    assert market.windows(day) == [(ns(day, "09:15"), ns(day, "15:40"))]
    made = market.day(day)
    auction, continuous, index = (made.event_at(ns(day, clock) // 10**9) for clock in ("15:30", "15:14:59", "15:29:59"))

    shares = made.changed[:, :50]
    assert shares[: continuous + 1].any(axis=0).all()
    assert np.flatnonzero(shares[continuous + 1 :].any(axis=1)).tolist() == [auction - continuous - 1]
    assert np.array_equal(made.last[auction, :50], market.reference(dt.date(2026, 8, 11)).close_before[:50])
    assert made.changed[auction + 1 :, 50:SHARES].any(axis=0).all()
    assert not made.changed[index + 1 :, SHARES:].any()


def test_the_seeded_market_is_what_it_was_before_the_calendar_went_further_back(market: SeededMarket) -> None:
    assert market.first_session() == dt.date(2024, 1, 2)
    assert market.reference(DAY).close_before[:3].tolist() == CLOSES_BEFORE
