"""Reading: ranges, kinds, sessions, and reading while the journal is written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from atmand.core.records import Kind, Record
from atmand.journal import JournalSettings, JournalWriter, read, sessions
from atmand.journal.catalog import list_segments

Fill = Callable[..., list[Record]]
Day = Callable[[int, int], list[Record]]


def test_a_range_and_kinds_are_read(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = fill(tmp_path, day(20260706, 200))
    assert len(list_segments(tmp_path)) > 5
    for first, last in [(0, None), (1, 1), (50, 120), (121, None), (219, 500), (300, 400), (10, 9)]:
        wanted = [r for r in expected if r.sequence >= first and (last is None or r.sequence <= last)]
        assert list(read(tmp_path, first, last)) == wanted
        commands = [record for record in wanted if record.kind == Kind.COMMAND]
        assert list(read(tmp_path, first, last, kinds={Kind.COMMAND})) == commands


def test_an_absent_or_empty_journal_reads_as_nothing(tmp_path: Path) -> None:
    assert list(read(tmp_path / "absent")) == []
    assert sessions(tmp_path / "absent") == []
    JournalWriter(tmp_path).close()
    assert list(read(tmp_path)) == []
    assert sessions(tmp_path) == []


def test_sessions_go_from_day_to_day_over_segments_and_restarts(tmp_path: Path, fill: Fill, day: Day) -> None:
    monday, tuesday = day(20260706, 100), day(20260707, 150)
    for part in (monday, tuesday[:60], day(20260707, 0) + tuesday[60:]):  # a restart writes a SESSION of its own
        fill(tmp_path, part)
    first, second = sessions(tmp_path)
    assert (first.day, first.first_sequence, first.last_sequence) == (20260706, 1, 111)
    assert (second.day, second.first_sequence, second.last_sequence) == (20260707, 112, 278)
    assert (first.first_ns, first.last_ns) == (20260706000000, monday[-1].time_ns)
    assert second.last_ns == tuesday[-1].time_ns
    assert (first.records, second.records) == (111, 167)
    read_back = list(read(tmp_path))
    assert first.bytes + second.bytes == sum(48 + len(record.body) for record in read_back)


def test_listing_sessions_decompresses_no_sealed_segment(tmp_path: Path, fill: Fill, day: Day) -> None:
    fill(tmp_path, day(20260706, 100))
    with JournalWriter(tmp_path) as writer:
        writer.rotate().result(30)
    before = sessions(tmp_path)
    for file in list_segments(tmp_path):
        file.path.write_bytes(bytes(file.path.stat().st_size))
    assert sessions(tmp_path) == before


def test_a_summary_that_does_not_fit_is_not_believed(tmp_path: Path, fill: Fill, day: Day) -> None:
    fill(tmp_path, day(20260706, 100))
    with JournalWriter(tmp_path) as writer:
        writer.rotate().result(30)
    before = sessions(tmp_path)
    first, second = list_segments(tmp_path)[:2]
    first.summary_path.write_bytes(second.summary_path.read_bytes())
    second.summary_path.write_bytes(b"{")
    assert sessions(tmp_path) == before


def test_records_before_the_first_session_have_no_day(tmp_path: Path, fill: Fill, day: Day) -> None:
    fill(tmp_path, [Record(Kind.TIMER, 0, 1, bytes(8)), *day(20260706, 1)])
    assert [(session.day, session.records) for session in sessions(tmp_path)] == [(None, 1), (20260706, 2)]


def test_rotation_and_sealing_do_not_disturb_a_reader(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = fill(tmp_path, day(20260706, 300))
    reader = read(tmp_path)
    got = [next(reader) for _ in range(3)]
    with JournalWriter(tmp_path) as writer:  # seals what is raw, the newest too
        writer.append(Kind.TIMER, 10**15, bytes(8))
        writer.rotate().result(30)
    assert all(file.compressed for file in list_segments(tmp_path))
    got.extend(reader)
    assert got[: len(expected)] == expected
    assert len(got) - len(expected) in (0, 1)  # the newest segment was raw when it was listed


def test_a_reader_of_a_live_journal_always_sees_a_prefix(tmp_path: Path, small: JournalSettings) -> None:
    lengths: list[int] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def follow() -> None:
        try:
            while True:
                last = done.is_set()
                sequences = [record.sequence for record in read(tmp_path)]
                assert sequences == list(range(1, len(sequences) + 1))
                lengths.append(len(sequences))
                if last:
                    return
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=follow)
    with JournalWriter(tmp_path, small) as writer:
        thread.start()
        for index in range(4_000):
            writer.append(Kind.FRAME, index, bytes(index % 800))
            if index % 50 == 0:
                writer.rotate()
    done.set()
    thread.join()
    assert failures == []
    assert all(before <= after for before, after in pairwise(lengths))
    assert lengths[-1] == 4_000


def test_a_large_body_is_read_whole(tmp_path: Path, small: JournalSettings) -> None:
    body = bytes(range(256)) * 12_000  # 3 MB: several chunks
    with JournalWriter(tmp_path, small) as writer:
        for _ in range(3):
            writer.append(Kind.HISTORY, 1, body)
            writer.append(Kind.TIMER, 2, b"")
    assert [record.body for record in read(tmp_path)] == [body, b""] * 3
    with JournalWriter(tmp_path) as writer:
        writer.rotate().result(30)
    assert [record.body for record in read(tmp_path)] == [body, b""] * 3


@pytest.mark.parametrize("name", ["notes.txt", "1.seg", f"{1:020d}.seg.damaged", f".{1:020d}.seg.1.0.tmp"])
def test_other_files_are_no_segments(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"?")
    assert list_segments(tmp_path) == []
