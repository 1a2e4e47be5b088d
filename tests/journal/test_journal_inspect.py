"""What the verbs show: a journal described, verified and exported as plain JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest

from atmand.core.records import AUDIT, INSTRUMENTS_HEAD, INSTRUMENTS_ROW, Kind, Record, body_of, version_of
from atmand.errors import UnsafeError
from atmand.journal import JournalSettings, JournalWriter, read
from atmand.journal.catalog import list_segments
from atmand.journal.inspect import export, inspect, repair, verify

Fill = Callable[..., list[Record]]
Day = Callable[[int, int], list[Record]]


def test_a_journal_is_described(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = fill(tmp_path, [*day(20260706, 40), *day(20260707, 20), Record(999, 0, 2**62, b"?")])
    described = orjson.loads(orjson.dumps(inspect(tmp_path)))
    assert (described["first_sequence"], described["written"]) == (1, len(expected))
    assert described["kinds"] == {"SESSION": 2, "FRAME": 60, "COMMAND": 6, "999": 1}
    assert described["records"] == len(expected)
    assert [session["day"] for session in described["sessions"]] == [20260706, 20260707]
    assert sum(segment["records"] for segment in described["segments"]) == len(expected)
    assert described["bytes"] == sum(file.path.stat().st_size for file in list_segments(tmp_path))
    assert (described["tail"], described["damaged"], described["last_ns"]) == (None, [], 2**62)


def test_an_absent_journal_is_described(tmp_path: Path) -> None:
    described = inspect(tmp_path / "absent")
    assert (described["segments"], described["written"], described["tail"]) == ([], 0, None)


@pytest.mark.parametrize("torn", [20, 60])
def test_a_torn_tail_is_shown_and_not_touched(tmp_path: Path, fill: Fill, torn: int) -> None:
    fill(tmp_path, [Record(Kind.TIMER, 0, 1, bytes(8)), Record(Kind.FRAME, 0, 2, bytes(100))], JournalSettings())
    path = list_segments(tmp_path)[0].path
    path.write_bytes(path.read_bytes()[:-torn])
    described = inspect(tmp_path)
    assert described["tail"] == {"file": path.name, "offset": 104, "reason": "it ends within a record"}
    assert described["written"] == 1
    assert verify(tmp_path) == []
    assert path.stat().st_size == 48 + 56 + 148 - torn


def test_damage_is_listed_and_the_rest_described(tmp_path: Path, fill: Fill, day: Day) -> None:
    fill(tmp_path, day(20260706, 100))
    with JournalWriter(tmp_path) as writer:
        writer.rotate().result(30)
    file = list_segments(tmp_path)[1]
    file.path.write_bytes(file.path.read_bytes()[:-5])
    described = inspect(tmp_path)
    assert [entry["file"] for entry in described["damaged"]] == [file.path.name]
    assert len(described["segments"]) == len(list_segments(tmp_path)) - 1
    assert [str(file.path) in line for line in verify(tmp_path)] == [True]


def spoilt(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_damage_in_the_middle_of_the_newest_segment_is_found(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, [Record(Kind.FRAME, 0, index, bytes(100)) for index in range(9)], JournalSettings())
    path = list_segments(tmp_path)[0].path
    spoilt(path, 48 + 148 * 3 + 60)
    described = inspect(tmp_path)
    assert [entry["file"] for entry in described["damaged"]] == [path.name]
    assert "offset 492: a record's checksum is wrong, and whole records follow" in described["damaged"][0]["error"]
    assert "atmand journal repair --state DIR" in described["damaged"][0]["error"]
    assert described["tail"] is None


def test_damage_in_a_sealed_segment_is_found_whatever_its_summary_says(tmp_path: Path, fill: Fill, day: Day) -> None:
    fill(tmp_path, day(20260706, 100), JournalSettings())
    with JournalWriter(tmp_path) as writer:
        writer.rotate().result(30)
    fill(tmp_path, day(20260707, 10), JournalSettings())
    file = list_segments(tmp_path)[0]
    spoilt(file.path, file.path.stat().st_size // 2)
    assert [entry["file"] for entry in inspect(tmp_path)["damaged"]] == [file.path.name]


def test_a_repair_says_what_it_cut_and_what_was_lost(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, [Record(Kind.FRAME, 0, index, bytes(100)) for index in range(9)], JournalSettings())
    path = list_segments(tmp_path)[0].path
    for place in (1, 4, 5):
        spoilt(path, 48 + 148 * place + 60)
    told = orjson.loads(orjson.dumps(repair(tmp_path)))
    assert (told["last_sequence"], told["missing"], told["cut_bytes"]) == (9, 3, 0)
    (saved,) = told["repaired"]
    assert (saved["records"], saved["missing"], saved["lost"]) == (6, 3, "2, 5 to 6")
    assert (tmp_path / saved["kept_as"]).exists()
    assert inspect(tmp_path)["damaged"] == []
    assert [record.sequence for record in read(tmp_path)] == [1, 3, 4, 7, 8, 9]
    assert list(read(tmp_path, 7)) == expected[6:]
    assert repair(tmp_path)["repaired"] == []


def test_a_journal_in_use_is_not_repaired(tmp_path: Path, fill: Fill) -> None:
    with JournalWriter(tmp_path), pytest.raises(UnsafeError):
        repair(tmp_path)
    assert repair(tmp_path)["missing"] == 0


def test_records_are_exported_with_names_and_digests(tmp_path: Path, fill: Fill) -> None:
    head = np.zeros(1, INSTRUMENTS_HEAD)
    head["dump"] = np.arange(32)
    rows = np.zeros(2, INSTRUMENTS_ROW)
    rows["key"] = [b"NSE:EQ:INFY", b"NSE:EQ:TCS"]
    rows["tick"] = 5
    body = body_of(Kind.INSTRUMENTS, head, rows)
    fill(
        tmp_path,
        [
            Record(Kind.INSTRUMENTS, 0, 1, body, rows=2, version=version_of(Kind.INSTRUMENTS)),
            Record(Kind.FRAME, 0, 2, b"\x00\xff", source=1, connection=2),
            Record(Kind.INSTRUMENTS, 0, 3, b"later", rows=1, version=9),
            Record(Kind.TIMER, 0, 4, body_of(Kind.TIMER)),
        ],
    )
    instruments, frame, newer, timer = (orjson.loads(orjson.dumps(document)) for document in export(tmp_path))
    assert instruments["kind"] == "INSTRUMENTS"
    assert instruments["head"] == {"dump": bytes(range(32)).hex()}
    assert [row["key"] for row in instruments["rows"]] == ["NSE:EQ:INFY", "NSE:EQ:TCS"]
    assert instruments["rows"][1]["tick"] == 5
    assert frame == {
        "sequence": 2,
        "time_ns": 2,
        "kind": "FRAME",
        "version": 1,
        "source": 1,
        "connection": 2,
        "rows": 0,
        "body": base64.b64encode(b"\x00\xff").decode(),
    }
    assert (newer["version"], base64.b64decode(newer["body"])) == (9, b"later")
    assert (timer["head"], timer["rows"]) == ({}, [])


def test_ranges_of_time_and_sequence_are_exported(tmp_path: Path, fill: Fill, day: Day) -> None:
    expected = fill(tmp_path, day(20260706, 200))
    times = [record.time_ns for record in expected]
    found = [document["sequence"] for document in export(tmp_path, from_ns=times[60], to_ns=times[150])]
    assert found == list(range(61, 151))
    found = [document["sequence"] for document in export(tmp_path, from_ns=times[60], last_sequence=70)]
    assert found == list(range(61, 71))
    kinds = {document["kind"] for document in export(tmp_path, kinds={Kind.COMMAND}, first_sequence=100)}
    assert kinds == {"COMMAND"}


def test_rows_of_a_kind_are_exported_out_of_the_audit_of_their_causes(tmp_path: Path, fill: Fill) -> None:
    rows = np.zeros(5, AUDIT)
    rows["cause"], rows["index"] = [7, 7, 7, 8, 8], [0, 1, 2, 0, 1]
    rows["kind"] = [Kind.AUDIT_ORDER, Kind.AUDIT_FILL, Kind.AUDIT_FILL, Kind.AUDIT_ORDER, Kind.AUDIT_MARK]
    parts = rows[:3], rows[3:]
    version = version_of(Kind.AUDIT)
    fill(
        tmp_path,
        [Record(Kind.AUDIT, 0, 1, body_of(Kind.AUDIT, None, part), len(part), version=version) for part in parts],
    )
    found = [(document["sequence"], len(document["rows"])) for document in export(tmp_path, kinds={Kind.AUDIT_FILL})]
    assert found == [(1, 2)]
    assert [len(document["rows"]) for document in export(tmp_path, kinds={Kind.AUDIT})] == [3, 2]
