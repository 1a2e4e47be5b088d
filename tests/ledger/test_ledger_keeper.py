"""The ledger kept: whatever stops it, it ends with the rows and figures of a run without a stop."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_market import Recorder, dump, record_days

from atmand.core.records import Kind, head_and_rows
from atmand.journal import read
from atmand.ledger.catch_up import events, last_sequence
from atmand.ledger.fold import TOTAL
from atmand.ledger.keeper import LEDGER, Health, LedgerKeeper, rebuild
from atmand.ledger.past import Past, PastDay, load_past, save_past
from atmand.ledger.sqlite import open_ledger
from atmand.ledger.store import TradeFilter

SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


def opened(path: Path, journal: Path) -> LedgerKeeper:
    keeper = LedgerKeeper(path, journal)
    keeper.open()
    return keeper


@given(st.lists(st.tuples(st.integers(1, 900), st.booleans()), max_size=6))
@settings(max_examples=25, **SLOW)
def test_stopped_at_random_points_it_ends_as_an_unbroken_run(
    recorded: Recorder, unbroken: LedgerKeeper, stops: list[tuple[int, bool]]
) -> None:
    """Between two stops it folds some events; a stop comes with or without their having been stored."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LEDGER
        for steps, saves in stops:
            keeper = opened(path, recorded.journal)
            for number, event in enumerate(events(recorded.journal, keeper.sequence)):
                if number >= steps and event[0] > keeper.sequence:
                    break
                keeper.take(event)
                if number == steps // 2:
                    keeper.save()
            if saves:
                keeper.save()
            keeper.close()
        last = rebuild(path, recorded.journal)
        assert dump(path) == dump(unbroken.path)
        assert last.fold.statistics() == unbroken.fold.statistics()
        assert last.snapshot(Health()).trades == unbroken.snapshot(Health()).trades


def test_the_ledger_is_never_ahead_of_what_it_was_told(recorded: Recorder, tmp_path: Path) -> None:
    middle = recorded.writer.appended // 2
    keeper = opened(tmp_path / LEDGER, recorded.journal)
    keeper.catch_up(middle)
    keeper.close()
    store = open_ledger(tmp_path / LEDGER)
    position = store.position()
    assert position is not None and position.sequence == middle
    assert all(trade.exit_cause < middle for trade in store.trades(TradeFilter(limit=999)))
    store.close()


def test_every_trade_and_mark_of_the_journal_is_in_it(recorded: Recorder, unbroken: LedgerKeeper) -> None:
    rows = dump(unbroken.path)
    audit = [head_and_rows(record)[1] for record in read(recorded.journal, kinds={Kind.AUDIT})]
    marks = sum(int(np.count_nonzero(part["kind"] == Kind.AUDIT_MARK)) for part in audit)
    assert len(rows["marks"]) == marks
    assert {row[2] for row in rows["days"] if row[1] == ""} and {row[0] for row in rows["days"]} == {
        20260706, 20260707, 20260708,
    }  # fmt: skip


def test_a_damaged_database_is_set_aside_and_built_again(
    recorded: Recorder, unbroken: LedgerKeeper, tmp_path: Path
) -> None:
    path = tmp_path / LEDGER
    rebuild(path, recorded.journal)
    path.write_bytes(path.read_bytes()[:5_000] + b"\x00" * 9_000)
    rebuild(path, recorded.journal)
    assert dump(path) == dump(unbroken.path)
    assert (tmp_path / "ledger.db.damaged-1").stat().st_size == 14_000


def test_a_ledger_of_another_journal_is_built_again(recorded: Recorder, tmp_path: Path) -> None:
    shutil.copy(rebuild(tmp_path / LEDGER, recorded.journal).path, tmp_path / "other.db")
    recorder = Recorder(tmp_path / "journal")
    record_days(recorder, days=1)
    recorder.close()
    fresh = rebuild(tmp_path / "fresh.db", recorder.journal)
    rebuild(tmp_path / "other.db", recorder.journal)
    assert dump(tmp_path / "other.db") == dump(fresh.path)


def test_a_memory_of_another_version_is_folded_again(
    recorded: Recorder, unbroken: LedgerKeeper, tmp_path: Path
) -> None:
    path = tmp_path / LEDGER
    rebuild(path, recorded.journal)
    store = open_ledger(path)
    position = store.position()
    assert position is not None
    with store.engine.begin() as connection:
        other = position.fold.replace('"version":1', '"version":0')
        connection.exec_driver_sql("UPDATE meta SET value = json_quote(?) WHERE name = 'fold'", (other,))
    store.close()
    rebuild(path, recorded.journal)
    assert dump(path) == dump(unbroken.path)


def test_a_snapshot_is_bounded_and_ends_with_the_newest(recorded: Recorder, unbroken: LedgerKeeper) -> None:
    snapshot = unbroken.snapshot(Health())
    assert snapshot.sequence == last_sequence(recorded.journal)
    assert [trade.exit_cause for trade in snapshot.trades] == sorted(
        (trade.exit_cause for trade in snapshot.trades), reverse=True
    )
    assert all(len(points) <= 512 for points in snapshot.equity.values())
    assert snapshot.equity[TOTAL][-1].equity_paise == snapshot.statistics[TOTAL].equity_paise
    assert snapshot.parameter_seq == 3


def with_past(folder: Path) -> tuple[Recorder, Past]:
    """Record two days as the simulated past of a journal whose first live session follows."""
    source = Recorder(folder / "source")
    firsts = [1]
    record_days(source, days=1)
    firsts.append(source.writer.appended + 1)
    day = source.opening()
    from ledger_market import DAYS

    source.open_session(DAYS[1], books_sha=source.carry_books())
    source.trade_minutes(8, 0, 40)
    total = source.close()
    manifest = source.engine.layout.manifest
    past = Past(
        manifest,
        source.engine.layout.keys,
        (
            PastDay(day.day, day.close_ns, firsts[0] - total - 1),
            PastDay(20260707, int(source.engine.header["session_close_ns"]), firsts[1] - total - 1),
        ),
    )
    from atmand.core.records import Source
    from atmand.journal import JournalWriter
    from atmand.sequencer import audit_drafts

    journal = folder / "journal"
    with JournalWriter(journal) as writer:
        save_past(journal, past)
        for rows in source.rows:
            moved = rows.copy()
            moved["cause"] -= total + 1
            for audit in audit_drafts(moved) if len(moved) else ():
                writer.append(audit.kind, int(moved["time_ns"][0]), audit.body, audit.rows, source=Source.PAST)
    live = Recorder(journal)
    live.open_session(DAYS[2])
    live.trade_minutes(9, 0, 30)
    live.close()
    return live, past


def test_a_simulated_past_comes_first_and_is_marked(tmp_path: Path) -> None:
    live, past = with_past(tmp_path)
    assert load_past(live.journal) == past
    keeper = rebuild(tmp_path / LEDGER, live.journal)
    rows = dump(keeper.path)
    trades = keeper.snapshot(Health()).trades
    gone = [trade for trade in trades if trade.past]
    assert gone and len(gone) < len(trades)
    assert all(trade.trade_id.startswith("p") and trade.exit_cause < 0 for trade in gone)
    assert trades[-len(gone) :] == tuple(gone)
    assert {(row[0], row[-1]) for row in rows["days"] if row[1] == "" and row[-1]} == {(20260706, 1), (20260707, 1)}
    total = keeper.fold.statistics()[TOTAL]
    assert (total.past_days, total.past_trades) == (2, len(gone))
    assert all(bool(row[-1]) == (row[0] < 0) for row in rows["marks"])
    for stop in np.linspace(2, last_sequence(live.journal) - 1, 9).astype(int).tolist():
        path = tmp_path / f"{stop}.db"
        broken = opened(path, live.journal)
        broken.catch_up(stop)
        broken.close()
        rebuild(path, live.journal)
        assert dump(path) == rows
