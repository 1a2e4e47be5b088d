"""Retention: frames go when their time has come, nothing else ever, and never past the newest snapshot."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atmand.core.records import Kind, Record
from atmand.journal import JournalSettings, JournalWriter, prune, read, sessions
from atmand.journal.catalog import list_segments
from atmand.journal.inspect import inspect, verify
from atmand.journal.snapshots import save
from atmand.wiring import JOURNAL, SNAPSHOTS

Fill = Callable[..., list[Record]]
Day = Callable[[int, int], list[Record]]

PLENTY = 1 << 40


def recorded(directory: Path, fill: Fill, day: Day, frames: list[int]) -> list[Record]:
    """Days of a journal, each in sealed segments of its own."""
    expected: list[Record] = []
    for index, count in enumerate(frames):
        for record in fill(directory, day(20260706 + index, count)):
            expected.append(record)
        with JournalWriter(directory) as writer:
            writer.rotate().result(30)
    return expected


def others(records: list[Record]) -> list[Record]:
    return [record for record in records if record.kind != Kind.FRAME]


def test_old_sessions_lose_their_frames_and_only_those(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = recorded(tmp_path, fill, day, [60, 60, 60, 60])
    save(tmp_path / "books", len(expected), {}, schema=1)
    kept_from = sessions(tmp_path)[2].first_sequence
    before = sum(file.path.stat().st_size for file in list_segments(tmp_path))
    pruned = prune(tmp_path, JournalSettings(keep_sessions=2, keep_bytes=PLENTY), tmp_path / "books")
    found = list(read(tmp_path))
    assert found == others(expected[: kept_from - 1]) + expected[kept_from - 1 :]
    assert pruned.freed_bytes == before - pruned.kept_bytes > 0
    assert (pruned.over_bytes, len(pruned.thinned)) == (0, sum(s["thinned"] for s in inspect(tmp_path)["segments"]))
    assert verify(tmp_path) == []
    assert [session.day for session in sessions(tmp_path)] == [20260706, 20260707, 20260708, 20260709]
    assert prune(tmp_path, JournalSettings(keep_sessions=2, keep_bytes=PLENTY), tmp_path / "books").thinned == ()


def test_bytes_win_over_sessions_oldest_first(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = recorded(tmp_path, fill, day, [300, 300])
    save(tmp_path / "books", len(expected), {}, schema=1)
    size = sum(file.path.stat().st_size for file in list_segments(tmp_path))
    pruned = prune(tmp_path, JournalSettings(keep_sessions=9, keep_bytes=size - 1), tmp_path / "books")
    files = [file.first_sequence for file in list_segments(tmp_path)]
    assert list(pruned.thinned) == files[: len(pruned.thinned)]
    assert 0 < len(pruned.thinned) < len(files)
    assert pruned.kept_bytes <= size - 1


def test_what_cannot_be_met_is_said(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = recorded(tmp_path, fill, day, [60, 60])
    save(tmp_path / "books", len(expected), {}, schema=1)
    pruned = prune(tmp_path, JournalSettings(keep_bytes=10), tmp_path / "books")
    assert pruned.over_bytes == pruned.kept_bytes - 10 > 0
    newest = list_segments(tmp_path)[-1].first_sequence
    assert list(read(tmp_path)) == others(expected[: newest - 1]) + expected[newest - 1 :]


@pytest.mark.parametrize("snapshot", [None, 0])
def test_without_a_snapshot_nothing_is_touched(tmp_path: Path, fill: Fill, day: Day, snapshot: int | None) -> None:
    expected = recorded(tmp_path, fill, day, [60, 60])
    if snapshot is not None:
        save(tmp_path / "books", snapshot, {}, schema=1)
    pruned = prune(tmp_path, JournalSettings(keep_sessions=1, keep_bytes=0), tmp_path / "books")
    assert (pruned.thinned, pruned.freed_bytes, pruned.over_bytes) == ((), 0, pruned.kept_bytes)
    assert list(read(tmp_path)) == expected


def test_the_open_segment_is_never_touched(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = recorded(tmp_path, fill, day, [60])
    with JournalWriter(tmp_path) as writer:
        for record in day(20260707, 60):
            writer.append(record.kind, record.time_ns, record.body, record.rows)
            last = writer.appended
        save(tmp_path / "books", last, {}, schema=1)
        prune(tmp_path, JournalSettings(keep_sessions=1, keep_bytes=0), tmp_path / "books")
        assert writer.append(Kind.TIMER, 10**15, bytes(8)) == last + 1
    found = list(read(tmp_path))
    assert [r.sequence for r in found if r.sequence > len(expected)] == list(range(len(expected) + 1, last + 2))
    assert verify(tmp_path) == []


def test_a_segment_of_frames_alone_stays_as_an_empty_one(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, [Record(Kind.FRAME, 0, index, bytes(900)) for index in range(30)])
    with JournalWriter(tmp_path) as writer:
        writer.rotate().result(30)
    save(tmp_path / "books", len(expected), {}, schema=1)
    prune(tmp_path, JournalSettings(keep_bytes=0), tmp_path / "books")
    assert [record.sequence for record in read(tmp_path)] == list(range(26, 31))  # the newest segment stays
    with JournalWriter(tmp_path) as writer:
        assert (writer.opened.last_sequence, writer.opened.last_time_ns) == (30, 29)
        assert writer.append(Kind.TIMER, 99, b"") == 31
        writer.rotate().result(30)
    prune(tmp_path, JournalSettings(keep_bytes=0), tmp_path / "books")
    assert [record.sequence for record in read(tmp_path)] == [31]
    assert verify(tmp_path) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 80), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 40_000), st.data())
def test_nothing_but_old_frames_is_ever_lost(
    fill: Fill, day: Day, frames: list[int], keep_sessions: int, keep_bytes: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        expected = recorded(directory, fill, day, frames)
        snapshot = data.draw(st.integers(0, len(expected)))
        save(directory / "books", snapshot, {}, schema=1)
        before = sum(file.path.stat().st_size for file in list_segments(directory))
        pruned = prune(
            directory, JournalSettings(keep_sessions=keep_sessions, keep_bytes=keep_bytes), directory / "books"
        )
        found = list(read(directory))
        assert others(found) == others(expected)
        lost = {record.sequence for record in expected} - {record.sequence for record in found}
        assert all(sequence <= snapshot for sequence in lost)
        if before <= keep_bytes and len(frames) <= keep_sessions:
            assert found == expected
        assert pruned.kept_bytes <= before or not lost
        assert (pruned.over_bytes == 0) == (pruned.kept_bytes <= keep_bytes)
        assert verify(directory) == []
        again = prune(
            directory, JournalSettings(keep_sessions=keep_sessions, keep_bytes=keep_bytes), directory / "books"
        )
        assert (again.thinned, list(read(directory))) == ((), found)


def test_in_a_state_directory_the_snapshots_lie_beside_the_journal(tmp_path: Path, fill: Fill, day: Day) -> None:
    journal = tmp_path / JOURNAL
    expected = recorded(journal, fill, day, [60, 60, 60])
    assert prune(journal, JournalSettings(keep_sessions=1, keep_bytes=PLENTY)).thinned == ()
    save(tmp_path / SNAPSHOTS, len(expected), {}, schema=1)
    assert prune(journal, JournalSettings(keep_sessions=1, keep_bytes=PLENTY)).thinned
    assert others(list(read(journal))) == others(expected)
