"""Corporate actions: the file, what is due when, and back-tests that see a split on its ex-date and not before."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from atmand.core.opening import BookLimits
from atmand.history.actions import Action, action_drafts, adjusted, due, newest_names, parse_actions, renamed, renames
from atmand.history.bars import BAR, Bars, HistoryError, load_bars
from atmand.history.store import Store
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.market.sessions import ns
from atmand.research.backtest import Backtest, run_backtest
from atmand.research.figures import buy_and_hold

FILE = """
[[action]]
kind = "split"
instrument = "NSE:EQ:OLD"
ex_date = 2026-07-07
ratio = "10:2"
source = "exchange notice of 2026-06-20"

[[action]]
kind = "bonus"
instrument = "NSE:EQ:B"
ex_date = 2026-07-08
ratio = "1:2"

[[action]]
kind = "symbol"
instrument = "NSE:EQ:OLD"
ex_date = 2026-07-08
to = "NSE:EQ:NEW"

[[action]]
kind = "isin"
instrument = "NSE:EQ:B"
ex_date = 2026-07-08
to = "INE000A01011"
"""


def test_the_file_says_units_as_announcements_do() -> None:
    assert parse_actions(FILE, "x") == (
        Action("NSE:EQ:OLD", date(2026, 7, 7), 5, 1),
        Action("NSE:EQ:B", date(2026, 7, 8), 3, 2),
        Action("NSE:EQ:OLD", date(2026, 7, 8), to="NSE:EQ:NEW"),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"10:2"', '"10 for 2"', r"x: action 1: ratio: .*'10 for 2' is no ratio such as 5:1"),
        ('"10:2"', '"0:2"', "is no ratio"),
        ('kind = "split"', 'kind = "gift"', "action 1: kind"),
        ('ratio = "10:2"', "", "a split has a ratio and no to"),
        ('"NSE:EQ:OLD"\nex_date = 2026-07-07', '"OLD"\nex_date = 2026-07-07', "no durable key such as"),
        ('to = "NSE:EQ:NEW"', 'to = "NEW"', "no durable key"),
        ("ex_date = 2026-07-07", "ex_date = 'soon'", "action 1: ex_date"),
        ("[[action]]", "[[actions]]", "something else than"),
        ("[[action]]", "[[action", "correct the file"),
        ("source =", "sauce =", "action 1: sauce"),
        ("[[action]]\nkind = \"bonus\"", '[[action]]\nkind = "split"\ninstrument = "NSE:EQ:OLD"\nex_date = 2026-07-07\n'
         'ratio = "2:1"\n[[action]]\nkind = "bonus"', "has two on that day"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_meant_is_refused_with_its_row(old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(HistoryError, match=message):
        parse_actions(FILE.replace(old, new, 1), "x")


def test_actions_are_due_from_the_day_after_the_last_session_to_the_new_ones() -> None:
    actions = parse_actions(FILE, "x")
    first, second = date(2026, 7, 7), date(2026, 7, 8)
    assert due(actions, None, second) == []
    assert [one.ex_date for one in due(actions, first - timedelta(days=1), first)] == [first]
    assert len(due(actions, first, second)) == 2
    assert renames(actions, first, second) == {"NSE:EQ:OLD": "NSE:EQ:NEW"}
    assert len(action_drafts(actions, ["NSE:EQ:OLD", "NSE:EQ:B"])) == 2
    assert action_drafts(actions, ["NSE:EQ:X"]) == []


def test_a_chain_of_names_ends_at_the_newest() -> None:
    days = [date(2026, 7, day) for day in (6, 7)]
    actions = [Action("X:EQ:A", days[0], to="X:EQ:B"), Action("X:EQ:B", days[1], to="X:EQ:C")]
    assert renames(actions, date(2026, 7, 1), days[1]) == {"X:EQ:A": "X:EQ:C", "X:EQ:B": "X:EQ:C"}
    assert newest_names(actions, days[0]) == {"X:EQ:A": "X:EQ:B", "X:A": "X:EQ:B"}


def test_books_go_on_under_the_new_name() -> None:
    books = {
        "pairs": [{"book": "s@a", "instrument": "A", "quantity": 1}],
        "orders": [{"instrument": "A"}, {"instrument": "Z"}],
        "prices": {"A": 100},
    }
    assert renamed(books, {"A": "B"}) == {
        "pairs": [{"book": "s@a", "instrument": "B", "quantity": 1}],
        "orders": [{"instrument": "B"}, {"instrument": "Z"}],
        "prices": {"B": 100},
    }


DAYS = [date(2026, 7, 6), date(2026, 7, 7)]
HOLD = """
name = "hold"
summary = "Bought on the first morning, sold on the second."
universe = ["NSE:A"]
bar = "1m"
[entry]
long = "sma(close, 3) > {level}"
[exit]
long = "bars_held > 380"
[size]
quantity = "10"
[trade]
product = "CNC"
max_trades_a_day = 1
"""


def split_bars(ratio: int) -> Bars:
    """Make two quiet days, the second in units of 1/ratio, with the action where it is not 1."""
    rows = np.zeros(750, BAR)
    for number, day in enumerate(DAYS):
        part = rows[375 * number : 375 * (number + 1)]
        part["start_ns"] = ns(day, "09:15") + 60_000_000_000 * np.arange(375)
        price = (100_000 + 10 * (np.arange(375) % 5)) // (ratio if number else 1)
        part["open"] = part["high"] = part["low"] = part["close"] = price
        part["volume"] = 100_000
    actions = (Action("NSE:EQ:A", DAYS[1], new=ratio),) if ratio > 1 else ()
    return Bars("made", ("A",), {"A": rows}, (), actions)


def backtest(bars: Bars, level: str):  # type: ignore[no-untyped-def]
    file = parse_strategy(HOLD.replace("{level}", level), Path("hold.toml"))
    return run_backtest(Backtest([Deployment(file)], bars, [BookLimits(capital_paise=10**8)]))


def test_a_position_held_over_a_split_wins_and_loses_nothing_by_it() -> None:
    whole, split = backtest(split_bars(1), "0"), backtest(split_bars(5), "0")
    assert len(whole.trades) == len(split.trades) == 1
    plain, other = whole.trades[0], split.trades[0]
    assert (plain.quantity, other.quantity) == (10, 50)
    assert plain.entry_value == other.entry_value
    assert abs(other.exit_value - plain.exit_value) < 0.01 * plain.exit_value
    raw = backtest(replace(split_bars(5), actions=()), "0").trades[0]
    assert raw.exit_value < 0.3 * plain.exit_value  # what a raw jump would have cost


def test_a_look_back_across_the_ex_date_is_in_the_new_units_only_from_that_day_on() -> None:
    """The average of three closes stands at 1,000 before the split and at 200 from its first bar on."""
    before, after = "999", "sma(close, 3) > 999"
    assert backtest(split_bars(5), before).trades[0].entry_ns < ns(DAYS[0], "09:25")
    jump = backtest(split_bars(5), "199 and minutes_since_open < 2 and close < 500 and " + after)
    assert jump.trades == ()  # a raw average would still stand above 400 then


def test_figures_that_look_back_are_in_the_last_units() -> None:
    bars = split_bars(5)
    series = adjusted(bars).series["A"]
    assert series["close"][0] == 20_000 and series["volume"][0] == 500_000
    assert series["close"][-1] == bars.series["A"]["close"][-1]
    assert bars.series["A"]["close"][0] == 100_000  # the raw ones are as they were
    curve = buy_and_hold(bars, [0], 10**8)
    assert abs(int(curve.equity[-1]) - 10**8) < 10**6


def test_a_store_joins_the_bars_of_a_former_name(tmp_path: Path) -> None:
    from test_store import frame

    store = Store(tmp_path / "store", create=True)
    store.merge(frame([("OLD", -1, 100, 1), ("NEW", 0, 101, 1), ("OTHER", 0, 5, 1)]), 60_000_000_000)
    text = '[[action]]\nkind = "symbol"\ninstrument = "NSE:EQ:OLD"\nex_date = 2026-07-31\nto = "NSE:EQ:NEW"\n'
    (store.directory / "actions.toml").write_text(text)
    for name in ("NSE:NEW", "NSE:OLD"):
        bars = load_bars(store.directory, [name])
        assert bars.symbols == ("NEW",) and bars.series["NEW"]["close"].tolist() == [100, 101]
