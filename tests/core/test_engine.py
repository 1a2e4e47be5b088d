"""The fold as a whole: books side by side, same records to same outputs, changes within and between days."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from core_market import DAY, MINUTE, OPEN, RICH, SECOND, Book, Market, next_day, share, walk
from fold_digest import BOOKS, digest, fold
from numpy.typing import NDArray

from atmand.core.books import apply_fills
from atmand.core.engine import Engine, EngineError
from atmand.core.opening import Draft
from atmand.core.records import COMMAND_HEAD, Command, Kind, Record, Source, body_of
from atmand.core.rings import ring_drafts
from atmand.core.words import OrderState, Reason
from atmand.errors import DamagedError

HERE = Path(__file__).parent
EAGER = {"long_above": 1.0}


def in_a_process(script: str, *arguments: str, **environment: str) -> list[str]:
    """Run one of this folder's scripts in a process of its own; return its words."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def drive(market: Market, first: int, last: int, *, seed: int = 41) -> list[NDArray[Any]]:
    """Feed the four ticks a minute of a fixed walk, minutes `first` to `last`; return the outputs."""
    prices = walk(seed, 4 * 375, spread=300)
    outputs = []
    for place in range(first * 4, last * 4):
        outputs.append(market.tick(place // 4 * 60 + (5, 20, 40, 55)[place % 4], prices[place], volume=place * 30))
    outputs.append(market.timer(last * 60 + 1))
    return outputs


def without_cause(rows: list[NDArray[Any]]) -> list[tuple[int, ...]]:
    """Return audit rows without the sequence of the record that made them."""
    joined = np.concatenate(rows)
    names = [name for name in joined.dtype.names or () if name != "cause"]
    return [tuple(int(row[name]) for name in names) for row in joined]


def test_two_strategies_on_one_instrument_keep_their_own_books() -> None:
    market = Market([Book(values=EAGER), Book(name="beta", values={"short_below": 1e6, "units": 4})])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    market.tick(66, 100_000)
    alpha, beta = market.engine.table("pairs")
    assert (alpha["quantity"], beta["quantity"]) == (10, -4)
    bought, sold = 10 * 100_005, 4 * 99_995
    books = market.engine.table("books")
    assert books["cash_paise"].tolist() == [
        RICH.capital_paise - bought - int(books["costs_paise"][0]),
        RICH.capital_paise + sold - int(books["costs_paise"][1]),
    ]
    market.command(70, Command.EXIT_POSITION, book=0)
    market.tick(71, 100_000)
    assert [int(pair["quantity"]) for pair in market.engine.table("pairs")] == [0, -4]


def test_a_book_decides_the_same_whether_or_not_another_runs_beside_it() -> None:
    alone = Market([Book("quick", "gamma")])
    beside = Market([Book("trend", "delta", "two"), Book("quick", "gamma"), Book("keep", "beta", "three", EAGER)])
    names = ("kind", "side", "quantity", "price", "value", "costs", "state", "reason", "time_ns")
    rows = []
    for market, book in ((alone, 0), (beside, 1)):
        joined = np.concatenate(drive(market, 0, 150))
        own = joined[(joined["book"] == book) & (joined["kind"] != Kind.AUDIT_MARK)]
        rows.append([tuple(int(row[name]) for name in names) for row in own])
    assert len(rows[0]) > 20
    assert rows[0] == rows[1]


@pytest.mark.process
def test_another_process_and_the_interpreter_fold_the_same_records_to_the_same_outputs() -> None:
    minutes = 70
    market = fold(minutes)
    mine = [digest(market), str(len(market.audit()))]
    assert {int(book) for book in market.audit(Kind.AUDIT_FILL)["book"]} == set(range(len(BOOKS)))
    assert in_a_process("fold_digest.py", str(minutes), PYTHONHASHSEED="7") == mine
    assert in_a_process("fold_digest.py", str(minutes), NUMBA_DISABLE_JIT="1") == mine


@pytest.mark.process
def test_a_call_of_the_fold_allocates_its_two_buffer_arguments_and_nothing_else() -> None:
    words = in_a_process("allocations.py", NUMBA_NRT_STATS="1")
    calls = [tuple(map(int, words[place : place + 4])) for place in range(0, len(words), 4)]
    assert {call[0] for call in calls} == {1, 1000}
    assert any(call[1] > 0 for call in calls)
    assert {call[2:] for call in calls} == {(2, 2)}


def test_books_go_on_where_a_snapshot_left_them_once_the_market_state_is_folded_again() -> None:
    books = (Book("steer", "alpha", values={"long_above": 1_000, "loss": 4, "aim": 6}), Book("quick", "gamma", "two"))
    first = Market(books)
    drive(first, 0, 60)
    first.tick(60 * 60 + 5, 100_000, ask=[(100_005, 3)])
    document = orjson.loads(orjson.dumps(first.engine.books()))
    second = Market(books)
    second.engine.decide(False)
    for record in first.records[second.sequence :]:
        assert not len(second.engine.apply(record))
    assert second.engine.load_books(document) == []
    second.engine.decide(True)
    second.sequence = first.sequence
    assert second.engine.books() == document
    later = [without_cause(drive(market, 61, 120)) for market in (first, second)]
    assert len(later[0]) > 100
    assert later[0] == later[1]
    assert second.engine.books() == first.engine.books()


def test_a_snapshot_whose_position_has_lost_its_row_is_refused() -> None:
    market = Market([Book(values=EAGER)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    document = market.engine.books()
    with pytest.raises(DamagedError, match="NSE:EQ:AAA of alpha@one"):
        Market([Book(name="other")]).engine.load_books(document)
    with pytest.raises(DamagedError, match="schema 99"):
        Market().engine.load_books({**document, "schema": 99})


def test_fields_of_another_layout_are_left_out_of_a_snapshot_and_new_ones_begin_at_zero() -> None:
    market = Market([Book(values=EAGER)])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    document = orjson.loads(orjson.dumps(market.engine.books()))
    document["pairs"][0]["of_long_ago"] = 5
    del document["pairs"][0]["bars_held"]
    other = Market([Book(values=EAGER)])
    other.engine.load_books(document)
    assert other.pair()["quantity"] == 10
    assert other.pair()["bars_held"] == 0


def test_recorded_fills_alone_bring_positions_cash_and_costs_back() -> None:
    market = Market(BOOKS)
    drive(market, 0, 90)
    other = Market(BOOKS)
    document = other.engine.books()
    layout = market.engine.layout
    apply_fills(document, layout.manifest, layout.keys, market.audit(Kind.AUDIT_FILL))
    assert other.engine.load_books(document) == []
    for table, names in (
        ("accounts", ("cash_paise", "costs_paise", "realised_paise")),
        ("books", ("cash_paise", "costs_paise", "realised_paise", "positions")),
        ("pairs", ("quantity", "value_paise", "side", "sold_today", "slab_at", "structure", "series")),
    ):
        for name in names:
            np.testing.assert_array_equal(other.engine.table(table)[name], market.engine.table(table)[name], name)
    assert market.header["next_trade"] == other.header["next_trade"]
    assert (other.engine.table("pairs")["entry_order"] == -1).all()
    open_pairs = market.engine.table("pairs")["quantity"] != 0
    for name in (
        "trade",
        "entry_quantity",
        "entry_value",
        "exit_quantity",
        "exit_value",
        "costs_paise",
        "realised_paise",
    ):
        mine, theirs = (run.engine.table("pairs")[name][open_pairs] for run in (other, market))
        np.testing.assert_array_equal(mine, theirs, name)


def slab(market: Market, pair: int) -> bytes:
    row = market.pair(pair)
    plan = market.engine.layout.manifest.structures[int(row["structure"])]
    at = int(row["slab_at"])
    return market.engine.layout.arena[at : at + plan.state_bytes].tobytes()


def test_a_program_swapped_in_the_day_keeps_positions_orders_and_unchanged_state() -> None:
    before = (Book("quick", "gamma"), Book("steer", "alpha", values=EAGER | {"aim": 900.0}))
    market, undisturbed = Market(before), Market(before)
    for run in (market, undisturbed):
        drive(run, 0, 60)
    kept, positions = slab(market, 0), [int(pair["quantity"]) for pair in market.engine.table("pairs")]
    assert positions[1] == 10
    working = market.working()
    assert len(working)
    after = (Book("trend", "delta", "two", instruments=(0,)), before[1], before[0])
    market.install(after, 60 * 60 + 1.5, copies=[-1, 1, 0])
    assert slab(market, 2) == kept
    assert [int(pair["quantity"]) for pair in market.engine.table("pairs")] == [0, positions[1], positions[0]]
    np.testing.assert_array_equal(market.working()[["id", "limit", "filled"]], working[["id", "limit", "filled"]])
    names = ("kind", "instrument", "side", "quantity", "price", "costs", "state", "reason", "time_ns")
    later = []
    for run, book in ((market, 2), (undisturbed, 0)):
        rows = np.concatenate(drive(run, 60, 110))
        rows = rows[(rows["book"] == book) & (rows["kind"] != Kind.AUDIT_MARK)]
        later.append([tuple(int(row[name]) for name in names) for row in rows])
    assert len(later[0]) > 5
    assert later[0] == later[1]


def test_a_structure_that_came_new_is_folded_from_the_rings() -> None:
    market, since_opening = Market([Book("quick", "gamma")]), Market([Book("quick", "gamma"), Book("quick", "late")])
    for run in (market, since_opening):
        run.command(-1, Command.ENTRIES_OFF)
        drive(run, 0, 60)
    market.install((Book("quick", "gamma"), Book("quick", "late")), 60 * 60 + 1.5, copies=[0, -1])
    for run in (market, since_opening):
        run.timer(60 * 60 + 2)
    assert slab(market, 1) == slab(since_opening, 1)
    assert market.pair(1)["ready"] == 1


def test_the_next_day_carries_positions_and_cash_and_begins_its_daily_counters_anew() -> None:
    market = Market([Book("keep", "beta", values={"long_above": 1.0})])
    market.minute(0, 100_000)
    market.tick(65, 100_000)
    market.timer(375 * 60 + 1)
    units, cash = int(market.pair()["quantity"]), int(market.book()["cash_paise"])
    assert market.book()["orders_today"] == 1
    bars = ring_drafts(market.engine.layout, market.engine.layout.keys)
    sha = market.carry_books()
    market.open_session(next_day(DAY), books_sha=sha)
    assert market.header["date"] == 20260707
    assert (market.pair()["quantity"], market.book()["cash_paise"]) == (units, cash)
    assert market.book()["orders_today"] == market.pair()["sold_today"] == market.header["session_ended"] == 0
    assert market.book()["day_equity_paise"] == market.book()["equity_paise"] == cash + units * 100_000
    for draft in bars:
        market.put(draft, -10)
    market.tick(5, 101_000)
    market.command(6, Command.EXIT_POSITION)
    market.tick(7, 101_000)
    assert market.pair()["quantity"] == 0
    assert market.audit(Kind.AUDIT_FILL)[-1]["price"] == 100_995


def test_bars_carried_into_the_next_day_warm_its_strategies() -> None:
    market = Market([Book("quick", "gamma")])
    market.command(-1, Command.ENTRIES_OFF)
    drive(market, 0, 60)
    market.timer(375 * 60 + 1)
    bars, kept = ring_drafts(market.engine.layout, market.engine.layout.keys), slab(market, 0)
    market.open_session(next_day(DAY))
    assert market.pair()["ready"] == 0
    for draft in bars:
        market.put(draft, -10)
    assert market.pair()["ready"] == 1
    assert slab(market, 0) == kept


@pytest.mark.parametrize("minutes", [100, 345])
@pytest.mark.parametrize("values", [{"period": 5}, {"fast": 2, "period": 6}, {"level": 20}])
def test_a_parameter_swapped_in_the_day_equals_a_run_that_had_it_from_the_start(
    values: dict[str, float], minutes: int
) -> None:
    swapped, fresh = Market([Book("quick")]), Market([Book("quick", values=values)])
    for run in (swapped, fresh):
        run.command(-1, Command.ENTRIES_OFF)
        drive(run, 0, minutes)
    swapped.set(minutes * 60 + 2, **values)
    # A window's numbers are the same, but begin at another place of its ring: compare them in order of size.
    states = [np.sort(np.frombuffer(slab(run, 0), np.float64)) for run in (swapped, fresh)]
    np.testing.assert_allclose(*states, rtol=1e-9, atol=1e-9)
    for run in (swapped, fresh):
        run.command(minutes * 60 + 3, Command.ENTRIES_ON)
    later = [np.concatenate(drive(run, minutes, minutes + 30)) for run in (swapped, fresh)]
    names = ["kind", "side", "quantity", "price", "value", "state", "reason", "time_ns"]
    np.testing.assert_array_equal(later[0][names], later[1][names])
    assert (later[0]["kind"] == Kind.AUDIT_INTENT).any()


def test_parameters_of_another_book_slot_or_beyond_any_range_break_nothing() -> None:
    market = Market([Book("quick")])
    drive(market, 0, 20)
    market.set(20 * 60 + 2, period=1e30, fast=float("nan"), level=-1e30)
    market.set(20 * 60 + 3, period=-5, fast=1e9)
    drive(market, 21, 40)
    assert market.header["bars"] == 39
    assert market.header["illegal_transitions"] == 0


def test_commands_stop_pause_and_exit() -> None:
    market = Market([Book(values=EAGER), Book(name="beta", values=EAGER)])
    market.command(1, Command.ENTRIES_OFF)
    market.minute(0, 100_000)
    market.command(62, Command.ENTRIES_ON)
    market.command(62, Command.PAUSE_BOOK, book=1)
    market.minute(1, 100_000)
    market.tick(122, 100_000)
    assert [int(pair["quantity"]) for pair in market.engine.table("pairs")] == [10, 0]
    market.command(123, Command.RESUME_BOOK, book=1)
    market.minute(2, 100_000)
    market.tick(182, 100_000)
    assert [int(pair["quantity"]) for pair in market.engine.table("pairs")] == [10, 10]
    market.command(183, Command.EXIT_POSITION, instrument=1)
    assert not len(market.working())
    market.command(184, Command.EXIT_POSITION)
    market.tick(185, 100_000)
    assert [int(pair["quantity"]) for pair in market.engine.table("pairs")] == [0, 0]
    assert {int(row["reason"]) for row in market.audit(Kind.AUDIT_FILL) if row["side"] < 0} == {Reason.COMMAND}


def test_a_command_for_a_book_that_is_not_there_does_nothing() -> None:
    market = Market([Book(values=EAGER)])
    head = np.zeros(1, COMMAND_HEAD)
    head["code"], head["book"], head["instrument"] = 999, 77, -5
    assert not len(market.put(Draft(Kind.COMMAND, body_of(Kind.COMMAND, head), 0), 1))
    market.command(2, Command.PAUSE_BOOK, book=77)
    market.command(3, Command.EXIT_POSITION, book=77, instrument=77)
    assert market.book()["paused"] == 0


def test_unknown_tokens_are_counted_and_passed_over() -> None:
    market = Market()
    for token in (1, 257, -1, 2**40, 0):
        market.tick(1, 100_000, token=token)
    assert market.header["unknown_tokens"] == 5
    assert market.header["ticks"] == 0


def test_every_token_of_a_large_universe_finds_its_instrument() -> None:
    shares = [share(0, key=f"NSE:EQ:S{place}", token=(place * 7919 + 11) << 8 | 1) for place in range(600)]
    market = Market([Book(instruments=tuple(range(600)))], shares)
    for place in range(600):
        market.tick(1, 10_000 + place, place=place)
    assert market.engine.table("instruments")["last_price"].tolist() == list(range(10_000, 10_600))


def test_a_record_before_its_program_is_skipped_and_counted() -> None:
    engine = Engine({}, {}.__getitem__)
    assert not engine.ready
    for kind in (Kind.FRAME, Kind.TIMER, Kind.COMMAND, Kind.LIMITS):
        assert not len(engine.apply(Record(kind, 1, OPEN, bytes(64))))
    assert engine.frames_skipped == 4
    with pytest.raises(EngineError, match="open a session first"):
        engine.apply(Record(Kind.PROGRAM, 2, OPEN, bytes(96)))
    with pytest.raises(EngineError):
        _ = engine.layout


def test_kinds_without_an_effect_and_audit_rows_leave_the_state_alone() -> None:
    market = Market([Book(values=EAGER)])
    market.minute(0, 100_000)
    before = market.engine.layout.arena.tobytes()
    for kind in (Kind.AUDIT_FILL, Kind.AUDIT_MARK, Kind.LEASE, Kind.GATEWAY):
        assert not len(market.engine.apply(Record(kind, 99, OPEN + 2 * MINUTE, bytes(200), 1)))
    assert market.engine.layout.arena.tobytes() == before


def test_a_frame_of_a_source_without_a_decoder_is_counted() -> None:
    market = Market()
    frame = Record(Kind.FRAME, 9, OPEN + SECOND, bytes(10), 0, 1, int(Source.KITE) + 50)
    assert not len(market.engine.apply(frame))
    assert market.engine.frames_skipped == 1


def test_with_decisions_off_bars_and_indicators_go_on_and_nothing_is_put_out() -> None:
    watching, trading = Market([Book("quick")]), Market([Book("quick")])
    watching.engine.decide(False)
    outputs = [np.concatenate(drive(run, 0, 60)) for run in (watching, trading)]
    assert not len(outputs[0])
    assert len(outputs[1])
    assert slab(watching, 0) == slab(trading, 0)
    assert not (watching.engine.table("orders")["state"] != OrderState.FREE).any()
