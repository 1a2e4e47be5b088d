"""A simulated past: sessions of bars traded before the market's first day, numbered below zero and flat at the end."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from atmand.core.manifest import Program
from atmand.core.records import HISTORY_ROW, BarFlag, Kind
from atmand.core.words import Purpose, Reason
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import parse_strategy
from atmand.market.instruments import Instrument
from atmand.market.sessions import ns
from atmand.past import Candles, FoldedPast, fetch_past, fold_past
from atmand.settings import Settings, load
from atmand.universe import Universe

DAYS = (date(2026, 7, 1), date(2026, 7, 2), date(2026, 7, 3))
MINUTES = 375
HOLDER = """name = "holder"
universe = ["NSE:AAA"]
[trade]
product = "CNC"
[entry]
long = "close > sma(5)"
[size]
quantity = 10
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("past")
    (folder / "holder.toml").write_text(HOLDER)
    (folder / "atmand.toml").write_text(
        '[accounts.paper]\n[strategies.holder]\nfile = "holder.toml"\naccount = "paper"\ncapital_rupees = 100000\n'
    )
    return load(folder / "atmand.toml")


@pytest.fixture(scope="module")
def program() -> Program:
    return build(generate([Deployment(parse_strategy(HOLDER, "holder.toml"), "paper", {}, "holder")]))


def instrument() -> Instrument:
    return Instrument(
        key="NSE:EQ:AAA", isin="", token=256_265, exchange="NSE", segment="EQ", symbol="AAA", name="AAA",
        price_scale=100, tick=5, lot=1, freeze=0, lower_band=1, upper_band=2, tradable=True, sector="",
    )  # fmt: skip


def universe() -> Universe:
    return Universe(((instrument(), 0),), ((0, 0),), b"")


def candles(days: tuple[date, ...] = DAYS) -> Candles:
    rng = np.random.default_rng(3)
    rows = np.zeros(MINUTES * len(days), HISTORY_ROW)
    rows["start_ns"] = np.concatenate([ns(day, "09:15") + np.arange(MINUTES) * 60 * 10**9 for day in days])
    close = 50_000 + np.cumsum(rng.integers(-4, 5, len(rows))) * 5
    rows["close"], rows["open"] = close, np.concatenate([[50_000], close[:-1]])
    rows["high"] = np.maximum(rows["open"], rows["close"]) + 5
    rows["low"] = np.minimum(rows["open"], rows["close"]) - 5
    rows["volume"], rows["flags"] = 10_000, BarFlag.HISTORY
    return {256_265: rows}


def folded(settings: Settings, program: Program, sessions: int) -> FoldedPast:
    past = fold_past(settings, universe(), program, candles(), sessions)
    assert past is not None
    return past


def test_a_position_that_would_be_carried_is_given_up_before_the_past_ends(
    settings: Settings, program: Program
) -> None:
    past = folded(settings, program, 2)
    last = past.sessions[-1].rows
    fills = last[last["kind"] == Kind.AUDIT_FILL]
    assert (int(fills[-1]["state"]), int(fills[-1]["reason"])) == (Purpose.EXIT, Reason.COMMAND)
    assert past.books["pairs"] == [] or all(pair["quantity"] == 0 for pair in past.books["pairs"])
    assert past.books["orders"] == []
    # The first session kept its position over night: only the last one is made flat.
    first = past.sessions[0].rows
    sides = first["side"][first["kind"] == Kind.AUDIT_FILL]
    assert sides.tolist() == [1]


def test_causes_are_numbered_below_zero_and_grow_over_all_sessions(settings: Settings, program: Program) -> None:
    sessions = folded(settings, program, 2).sessions
    rows = np.concatenate([session.rows for session in sessions])
    keys = list(zip(rows["cause"].tolist(), rows["index"].tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert sessions[0].first_cause <= keys[0][0] < sessions[1].first_cause <= keys[-1][0] < 0
    for session in sessions:
        assert session.rows["cause"].min() >= session.first_cause


def test_the_same_candles_make_the_same_past(settings: Settings, program: Program) -> None:
    one, two = (folded(settings, program, 2) for _ in range(2))
    for left, right in zip(one.sessions, two.sessions, strict=True):
        np.testing.assert_array_equal(left.rows, right.rows)
    assert one.books == two.books


def test_days_before_the_chosen_ones_only_warm_the_indicators_up(settings: Settings, program: Program) -> None:
    past = folded(settings, program, 1)
    assert [session.day for session in past.sessions] == [DAYS[-1]]
    decided = past.sessions[0].rows
    first = decided[decided["kind"] == Kind.AUDIT_DECISION][0]
    # Five bars are there from the days before: the first minute's bar may decide already.
    assert int(first["time_ns"]) < ns(DAYS[-1], "09:17")


def test_a_market_without_a_whole_day_has_no_past(settings: Settings, program: Program) -> None:
    empty = {256_265: np.zeros(0, HISTORY_ROW)}
    assert fold_past(settings, universe(), program, empty, 5) is None


async def test_candles_are_asked_for_a_week_at_a_time_oldest_first(program: Program) -> None:
    asked: list[tuple[int, int]] = []
    told: list[tuple[int, int]] = []

    async def fetch(from_ns: int, to_ns: int) -> Candles:
        asked.append((from_ns, to_ns))
        return {1: np.zeros(1, HISTORY_ROW)}

    found = await fetch_past(fetch, 10, program, DAYS[0], lambda done, total: told.append((done, total)))
    assert asked == sorted(asked)
    assert all(left[1] == right[0] for left, right in pairwise(asked))
    assert max(to_ns - from_ns for from_ns, to_ns in asked) <= 7 * 86_400 * 10**9
    assert asked[-1][1] == ns(DAYS[0], "00:00")
    assert told[-1][0] == told[-1][1]
    assert len(found[1]) == len(asked)
