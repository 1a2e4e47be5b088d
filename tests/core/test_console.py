"""What the daemon tells of bars and money: of one day, also after a restart, and with whose costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pytest
from core_market import DAY, Book, Market, decode_rows, next_day
from numpy.typing import NDArray
from structlog.testing import capture_logs

from atmand import console
from atmand.console import Narrator
from atmand.core.books import books_document
from atmand.core.engine import Engine
from atmand.core.opening import Draft
from atmand.core.records import Kind, Source

COSTS_DAY = date(2026, 8, 3)
Told = list[dict[str, Any]]


class Heard(Market):
    """A market that a narrator listens to, as the sequencer lets it."""

    def __init__(self, *, costs_day: date = DAY) -> None:
        self.narrator: Narrator | None = None
        super().__init__((Book(instruments=(0, 1)),), costs_day=costs_day)
        self.narrator = Narrator(self.engine)
        self.narrator.open(DAY, costs_day)
        self.narrator.layout()

    def put(self, draft: Draft, at: float, *, source: int = 0) -> NDArray[Any]:
        rows = super().put(draft, at, source=source)
        if self.narrator is not None and len(rows):
            self.narrator.hear(rows)
        return rows

    def trade(self, minute: int) -> None:
        """Buy on one bar's close and sell on the next one's."""
        self.set(minute * 60, long_above=900)
        self.minute(minute, 100_000)
        self.set((minute + 1) * 60 + 2, long_above=1_000_000, long_out_below=1_000_000)
        self.minute(minute + 1, 100_100)
        self.set((minute + 2) * 60 + 2, long_out_below=0)
        self.minute(minute + 2, 100_200)


@pytest.fixture
def told() -> Iterator[Told]:
    with capture_logs() as events:
        yield events


def named(told: Told, event: str) -> Told:
    return [entry for entry in told if entry["event"] == event]


def summary(market: Heard, told: Told) -> dict[str, Any]:
    """Let a quarter of an hour pass and return the line about the books."""
    before = len(named(told, "books_marked"))
    minute = int((market.engine.time_ns - market.open_ns) // 60_000_000_000) + 16
    market.minute(minute, 100_200)
    assert len(named(told, "books_marked")) == before + 1
    return named(told, "books_marked")[-1]


def test_the_line_about_the_books_is_of_the_day(told: Told) -> None:
    market = Heard()
    market.trade(1)
    line = summary(market, told)
    (closed,) = named(told, "trade_closed")
    assert (line["trades"], line["net"], line["costs"]) == (1, closed["net"], closed["costs"])
    assert line["day_profit"] == pytest.approx(line["net"])
    assert line["bars"] == int(market.header["bars"])

    books = market.carry_books()
    market.open_session(next_day(DAY), books_sha=books)
    assert market.narrator is not None
    market.narrator.open(next_day(DAY), next_day(DAY))
    market.narrator.layout()
    market.minute(0, 100_200)
    fresh = summary(market, told)
    assert (fresh["trades"], fresh["net"], fresh["costs"], fresh["day_profit"]) == (0, 0.0, 0.0, 0.0)
    assert fresh["equity"] == line["equity"]


def test_what_a_restart_folds_again_is_counted_and_not_told_again(told: Told) -> None:
    market = Heard()
    market.trade(1)
    market.trade(5)
    before = market.narrator
    assert before is not None and before.trades == 2
    told.clear()

    fresh = Engine({int(Source.KITE): decode_rows}, market.programs.__getitem__, market.carried.__getitem__)
    narrator = Narrator(fresh)
    for record in market.records:
        narrator.follow(record, fresh.apply(record))
    assert told == []
    counted = [(n.trades, n.net_paise, n.costs_paise, n.bars, n.costs_day) for n in (before, narrator)]
    assert counted[0] == counted[1]
    assert books_document(fresh.layout) == market.engine.books()


def test_money_names_the_day_of_its_costs_where_that_is_another_one(told: Told) -> None:
    Heard().trade(1)
    assert not [entry for entry in told if "costs_as_of" in entry]
    market = Heard(costs_day=COSTS_DAY)
    market.trade(1)
    summary(market, told)
    for event in ("order_filled", "trade_closed", "books_marked"):
        assert named(told, event)[-1]["costs_as_of"] == "2026-08-03"


def test_closed_bars_are_one_line_however_many_instruments_and_name_the_movers(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "monotonic_ns", iter(range(10**12, 10**13, 10**9)).__next__)
    market = Heard()
    for minute, (first, second) in enumerate([(100_000, 50_000), (102_000, 49_500)]):
        market.tick(minute * 60 + 10, second, place=1)
        market.minute(minute, first)
    assert [line["bars"] for line in named(told, "bars_closed")] == [2, 2]
    line = named(told, "bars_closed")[1]
    assert (line["best"], line["best_percent"]) == ("NSE:EQ:AAA", 2.0)
    assert (line["worst"], line["worst_percent"]) == ("NSE:EQ:BBB", -1.0)


def test_a_market_in_a_hurry_folds_many_minutes_into_one_line(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10**12]
    monkeypatch.setattr(console, "monotonic_ns", lambda: now[0])
    market = Heard()
    for minute in range(10):
        market.minute(minute, 100_000 + 100 * minute)
    now[0] += 10**9
    market.minute(10, 101_000)
    assert [line["bars"] for line in named(told, "bars_closed")] == [1, 10]
    assert named(told, "bars_closed")[-1]["best_percent"] == 1.0
    assert int(np.sum([line["bars"] for line in named(told, "bars_closed")])) == int(market.header["bars"])
    assert market.audit(Kind.AUDIT_MARK).size
