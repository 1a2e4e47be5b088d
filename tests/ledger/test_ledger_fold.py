"""The ledger's fold against the core's own tables: equity, profit, costs, and what a trade remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_market import BOOKS, CAPITAL, LIMITS, Recorder, folded, record_days

from atmand.core.manifest import BookPlan, Manifest, StructurePlan
from atmand.core.opening import BookLimits, limits_draft
from atmand.core.records import AUDIT, Kind
from atmand.core.words import Purpose, Reason
from atmand.ledger.fold import TOTAL, LedgerFold, Opening
from atmand.ledger.keeper import Health, LedgerKeeper
from atmand.ledger.trades import OpenTrade

MANIFEST = Manifest(
    (StructurePlan("s1", 60, 0, 2, ("level",), 0),),
    tuple(BookPlan(name, account, 0, False, 0, 0, 0, (1.0,), "sha") for name, account in (("a", "x"), ("b", "x"))),
    ("x",),
    "source",
)
KEYS = ("NSE:EQ:AAA", "NSE:EQ:BBB")
OPENED = Opening(MANIFEST, KEYS, 20260706, 10**6, {})


def row(kind: Kind, cause: int, place: int = 0, **fields: int) -> np.ndarray:
    made = np.zeros(1, AUDIT)
    made["kind"], made["cause"], made["index"], made["time_ns"] = kind, cause, place, 1_000 + cause
    for name, value in fields.items():
        made[name] = value
    return made


def mark(cause: int, book: int, equity: int, *, capital: int = CAPITAL, costs: int = 0, place: int = 0) -> np.ndarray:
    return row(Kind.AUDIT_MARK, cause, place, book=book, instrument=-1, value=equity, price=capital, costs=costs)


def fill(cause: int, side: int, quantity: int, price: int, purpose: Purpose, costs: int = 0, book: int = 0):  # type: ignore[no-untyped-def]
    return row(
        Kind.AUDIT_FILL, cause, 1, book=book, side=side, quantity=quantity, price=price, value=quantity * price,
        costs=costs, state=purpose, reason=Reason.RULE,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_figures_are_the_cores_own_and_profit_is_trades_and_open_positions(tmp_path: Path, seed: int) -> None:
    recorder = Recorder(tmp_path / "journal")
    recorder.trade_minutes(seed, 0, 60)
    recorder.close()
    fold = folded(recorder)
    books, pairs, instruments = (recorder.engine.table(name) for name in ("books", "pairs", "instruments"))
    rows, shown = fold.take_rows(), fold.statistics()
    assert len(rows.trades) > 5
    for place, plan in enumerate(recorder.engine.layout.manifest.books):
        mine = pairs[pairs["book"] == place]
        last = instruments["last_price"][mine["instrument"]]
        name = f"{plan.strategy}@{plan.account}"
        assert shown[name].equity_paise == int(books["cash_paise"][place] + (mine["quantity"] * last).sum())
        assert shown[name].costs_paise == int(books["costs_paise"][place])
        closed = sum(trade.net_paise for trade in rows.trades if trade.strategy == plan.strategy)
        held = mine[mine["quantity"] != 0]
        opened = int((held["quantity"] * instruments["last_price"][held["instrument"]] - held["value_paise"]).sum())
        opened += int((held["realised_paise"] - held["costs_paise"]).sum())
        assert shown[name].profit_paise == closed + opened
    assert shown[TOTAL].equity_paise == int(books["equity_paise"][: len(BOOKS)].sum())
    assert shown["@one"].equity_paise + shown["@two"].equity_paise == shown[TOTAL].equity_paise
    assert shown[TOTAL].trades == len(rows.trades)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(100, 999), st.integers(0, 50), st.booleans()),
        max_size=40,
    )
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_equity_is_cash_and_positions_over_any_fills(plan: list[tuple[int, int, int, int, bool]]) -> None:
    fold, cash, held, spent, last = LedgerFold(), [CAPITAL] * 2, [0, 0], [0, 0], 500
    fold.begin(OPENED)
    for cause, (book, quantity, last, costs, enters) in enumerate(plan, 1):
        if enters or not held[book]:
            quantity, purpose, side = quantity, Purpose.ENTRY, 1
        else:
            quantity, purpose, side = min(quantity, held[book]), Purpose.EXIT, -1
        fold.fold(fill(cause, side, quantity, last, purpose, costs, book))
        cash[book] -= side * quantity * last + costs
        held[book] += side * quantity
        spent[book] += costs
        equity = [cash[each] + held[each] * last for each in (0, 1)]
        fold.fold(
            np.concatenate([mark(cause, each, equity[each], costs=spent[each], place=2 + each) for each in (0, 1)])
        )
        shown = fold.statistics()
        assert [shown["a@x"].equity_paise, shown["b@x"].equity_paise] == equity
        assert shown[TOTAL].profit_paise == sum(equity) - 2 * CAPITAL
        assert shown[TOTAL].costs_paise == sum(spent)
    rows = fold.take_rows()
    paid = sum(trade.net_paise for trade in rows.trades)
    if not any(held):
        assert fold.statistics()[TOTAL].profit_paise == paid
    assert len(rows.marks) == 2 * len(plan)


def test_a_change_of_capital_is_neither_profit_nor_return() -> None:
    fold = LedgerFold()
    fold.begin(OPENED)
    fold.fold(mark(1, 0, CAPITAL + 500))
    before = fold.statistics()["a@x"]
    fold.fold(mark(2, 0, 3 * CAPITAL + 500, capital=3 * CAPITAL))
    after = fold.statistics()["a@x"]
    assert (after.profit_paise, after.total_return) == (before.profit_paise, before.total_return)
    assert after.capital_paise == 3 * CAPITAL
    (day,) = [each for each in fold.take_rows().days.values() if each.name == "a@x"]
    assert day.closed_paise - day.opened_paise - day.flow_paise == day.profit_paise == 500


def test_a_mark_that_does_not_tell_the_capital_begins_with_its_equity() -> None:
    fold = LedgerFold()
    fold.begin(OPENED)
    fold.fold(mark(1, 0, CAPITAL, capital=0))
    fold.fold(mark(2, 0, CAPITAL - 70, capital=0))
    assert fold.statistics()["a@x"].profit_paise == -70
    fold.fold(mark(3, 0, CAPITAL - 90, capital=CAPITAL))
    assert fold.statistics()["a@x"].profit_paise == -90


def test_books_that_are_begun_anew_lose_and_gain_nothing_by_it() -> None:
    fold = LedgerFold()
    fold.begin(OPENED)
    fold.fold(mark(1, 0, CAPITAL - 900, costs=400))
    fold.fold(mark(2, 0, CAPITAL, costs=0))
    shown = fold.statistics()
    assert (shown["a@x"].profit_paise, shown["a@x"].costs_paise, shown[TOTAL].profit_paise) == (-900, 400, -900)


def test_a_book_that_a_program_drops_takes_its_money_along() -> None:
    fold = LedgerFold()
    fold.begin(OPENED)
    fold.fold(np.concatenate([mark(1, 0, CAPITAL + 100), mark(1, 1, CAPITAL - 300, place=1)]))
    alone = Manifest(MANIFEST.structures, MANIFEST.books[:1], MANIFEST.accounts, "other")
    fold.begin(Opening(alone, KEYS, 20260706, 10**6))
    shown = fold.statistics()
    assert (shown[TOTAL].equity_paise, shown[TOTAL].profit_paise) == (CAPITAL + 100, -200)
    assert (shown[TOTAL].capital_paise, shown["b@x"].profit_paise) == (CAPITAL, -300)
    fold.begin(OPENED)
    fold.fold(np.concatenate([mark(2, 0, CAPITAL + 100), mark(2, 1, CAPITAL, place=1)]))
    assert fold.statistics()["b@x"].profit_paise == -300
    assert fold.statistics()[TOTAL].total_return == pytest.approx(shown[TOTAL].total_return)


def test_a_run_off_book_takes_and_brings_money_and_only_its_profit_counts() -> None:
    fold = LedgerFold()
    fold.begin(OPENED)
    fold.fold(np.concatenate([mark(1, 0, CAPITAL + 50), mark(1, 1, CAPITAL, place=1)]))
    lent, made = 1_000, 30
    plans = (*MANIFEST.books, replace(MANIFEST.books[0], strategy="a~1", run_off=True, origin="a"))
    fold.begin(replace(OPENED, manifest=replace(MANIFEST, books=plans), open_trades=None))
    fold.fold(
        np.concatenate(
            [
                mark(2, 0, CAPITAL - lent, capital=CAPITAL - lent),
                mark(2, 1, CAPITAL, place=1),
                mark(2, 2, lent + 50 + made, capital=lent, place=2),
            ]
        )
    )
    assert fold.statistics()["@x"].profit_paise == fold.statistics()[TOTAL].profit_paise == 50 + made
    fold.begin(replace(OPENED, open_trades=None))
    fold.fold(np.concatenate([mark(3, 0, CAPITAL + 50 + made), mark(3, 1, CAPITAL, place=1)]))
    figures = fold.statistics()
    assert [figures[name].equity_paise for name in ("@x", TOTAL)] == [2 * CAPITAL + 50 + made] * 2
    assert [figures[name].profit_paise for name in ("@x", TOTAL)] == [50 + made] * 2


def test_a_trade_has_the_parameters_of_its_decision_not_of_its_fill() -> None:
    fold = LedgerFold()
    fold.begin(OPENED)
    fold.params(7)
    fold.fold(row(Kind.AUDIT_DECISION, 5, book=0, side=1, state=1))
    fold.params(8)
    fold.fold(fill(6, 1, 10, 100, Purpose.ENTRY))
    fold.params(9)
    fold.fold(fill(7, -1, 10, 110, Purpose.EXIT, costs=3))
    (trade,) = fold.take_rows().trades
    assert (trade.parameter_seq, trade.decided_cause, trade.trade_id) == (7, 5, "6-1")
    assert (trade.net_paise, trade.exit_cause, trade.model_sha256, trade.past) == (97, 7, None, False)


def test_open_trades_that_the_books_do_not_hold_are_forgotten_and_theirs_are_taken() -> None:
    fold = LedgerFold()
    fold.begin(OPENED)
    fold.fold(fill(6, 1, 10, 100, Purpose.ENTRY))
    theirs = {("b@x", KEYS[1]): OpenTrade("3-1", -1, 9, 5, 500, 0, 5, 2)}
    fold.begin(Opening(MANIFEST, KEYS, 20260707, 10**6, theirs))
    fold.fold(fill(8, -1, 10, 110, Purpose.EXIT))
    exit_row = fill(9, 1, 5, 90, Purpose.EXIT, costs=1, book=1)
    exit_row["instrument"] = 1
    fold.fold(exit_row)
    (trade,) = fold.take_rows().trades
    assert (trade.trade_id, trade.side, trade.net_paise) == ("3-1", "SELL", 47)


def test_parameters_and_days_of_recorded_days(recorded: Recorder, unbroken: LedgerKeeper) -> None:
    trades = unbroken.snapshot(Health()).trades
    assert {trade.parameter_seq for trade in trades} == {0, 1, 2, 3}
    assert all(0 < trade.decided_cause < int(trade.trade_id.split("-")[0]) for trade in trades)
    assert unbroken.fold.statistics()[TOTAL].days == 2
    assert unbroken.fold.statistics()[TOTAL].equity_paise == int(recorded.engine.table("books")["equity_paise"].sum())


def test_limits_change_capital_in_the_core_too(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "journal")
    recorder.trade_minutes(3, 0, 10)
    more = [BookLimits(CAPITAL + 5_000_000), LIMITS, LIMITS]
    recorder.put(limits_draft(more), 660)
    recorder.trade_minutes(4, 11, 10)
    recorder.close()
    told = int(recorder.audit(Kind.AUDIT_MARK)["price"].max()) > 0
    profit = int(
        (recorder.engine.table("books")["equity_paise"] - recorder.engine.table("books")["capital_paise"]).sum()
    )
    shown = folded(recorder).statistics()[TOTAL].profit_paise
    assert shown == (profit if told else profit + 5_000_000)


def test_the_memory_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "journal")
    record_days(recorder, days=1)
    recorder.close()
    fold, again = folded(recorder), LedgerFold()
    assert again.restore(fold.state())
    assert again.state() == fold.state()
    assert again.statistics() == fold.statistics()
    assert not again.restore(fold.state().replace(b'"version":1', b'"version":2'))
