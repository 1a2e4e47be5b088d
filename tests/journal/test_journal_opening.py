"""Opening after a crash: torn tails are cut, damage is refused or repaired, what was acknowledged is there."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from atmand.core.records import Kind, Record
from atmand.errors import DamagedError, ExitCode
from atmand.journal import JournalSettings, JournalWriter, read
from atmand.journal.catalog import list_segments, load_summary
from atmand.journal.inspect import inspect, verify

Fill = Callable[..., list[Record]]

LARGE = JournalSettings()


def some(count: int, size: int = 20) -> list[Record]:
    return [Record(Kind.FRAME, 0, 1_000 + index, bytes([index % 256]) * (index % 7 + size)) for index in range(count)]


def segment(directory: Path, first: int, ending: str = ".seg") -> Path:
    return directory / f"{first:020d}{ending}"


def sealed(directory: Path, settings: JournalSettings = LARGE) -> None:
    """Close the newest segment of a journal and compress all."""
    with JournalWriter(directory, settings) as writer:
        writer.rotate().result(30)


def test_a_cut_at_any_byte_leaves_the_whole_records_and_the_journal_goes_on(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path / "whole", some(4, size=0), LARGE)
    data = segment(tmp_path / "whole", 1).read_bytes()
    ends = [48]
    for record in expected:
        ends.append(ends[-1] + 48 + len(record.body))
    assert ends[-1] == len(data)
    for cut in range(len(data) + 1):
        directory = tmp_path / str(cut)
        directory.mkdir()
        segment(directory, 1).write_bytes(data[:cut])
        whole = max(0, sum(end <= cut for end in ends) - 1)
        assert list(read(directory)) == expected[:whole]
        assert verify(directory) == []
        with JournalWriter(directory, LARGE) as writer:
            assert writer.opened.last_sequence == whole
            assert writer.opened.last_time_ns == (expected[whole - 1].time_ns if whole else 0)
            assert writer.opened.cut_bytes == cut - (ends[whole] if cut >= 48 else 0)
            assert writer.append(Kind.TIMER, 5_000, b"goes on") == whole + 1
        assert [record.sequence for record in read(directory)] == list(range(1, whole + 2))
        shutil.rmtree(directory)


def test_any_flipped_byte_of_a_raw_segment_is_seen(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, some(4, size=0), LARGE)
    path = segment(tmp_path, 1)
    data = path.read_bytes()
    last = len(data) - 48 - len(expected[-1].body)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0x04
        path.write_bytes(flipped)
        if place < last:
            with pytest.raises(DamagedError, match=r"\.seg: offset \d+: ") as found:
                JournalWriter(tmp_path, LARGE)
            assert found.value.exit_code is ExitCode.DAMAGED
            assert path.read_bytes() == bytes(flipped)
            with pytest.raises(DamagedError, match=r"\.seg: offset \d+: "):
                list(read(tmp_path))
        else:  # the newest record: as if the machine had lost power while it was written
            assert list(read(tmp_path)) == expected[:-1]
            with JournalWriter(tmp_path, LARGE) as writer:
                assert (writer.opened.last_sequence, writer.opened.cut_bytes) == (3, len(data) - last)


def test_any_flipped_byte_of_a_sealed_segment_is_seen(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, some(6, size=40), LARGE)
    sealed(tmp_path)
    path = segment(tmp_path, 1, ".seg.zst")
    data = path.read_bytes()
    seen = 0
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0x04
        path.write_bytes(flipped)
        try:
            assert list(read(tmp_path)) == expected  # a bit of zstd's own that changes nothing of the content
        except DamagedError as error:
            assert str(path) in str(error)
            seen += 1
            assert len(verify(tmp_path)) == 1
    assert seen >= len(data) - 2


@pytest.mark.parametrize("cut", [1, 9, 40, 80])
def test_a_sealed_segment_that_ends_too_early_is_damaged(tmp_path: Path, fill: Fill, cut: int) -> None:
    fill(tmp_path, some(6, size=40), LARGE)
    sealed(tmp_path)
    path = segment(tmp_path, 1, ".seg.zst")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DamagedError, match="ends too early"):
        list(read(tmp_path))


def test_bytes_after_a_sealed_segment_are_damage(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, some(6), LARGE)
    sealed(tmp_path)
    with segment(tmp_path, 1, ".seg.zst").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DamagedError, match="bytes follow the end"):
        list(read(tmp_path))


def test_a_missing_segment_is_damage_for_writer_and_reader(tmp_path: Path, fill: Fill, small: JournalSettings) -> None:
    fill(tmp_path, some(200), small)
    sealed(tmp_path)
    files = list_segments(tmp_path)
    files[1].path.unlink()
    for use in (lambda: list(read(tmp_path)), lambda: JournalWriter(tmp_path)):
        with pytest.raises(DamagedError, match=f"goes on with {files[2].first_sequence} where"):
            use()
    assert verify(tmp_path) != []
    assert next(read(tmp_path, files[2].first_sequence)).sequence == files[2].first_sequence


def test_a_pruned_beginning_is_no_damage(tmp_path: Path, fill: Fill, small: JournalSettings) -> None:
    expected = fill(tmp_path, some(200), small)
    first, second = list_segments(tmp_path)[:2]
    for path in (first.path, first.summary_path):
        path.unlink(missing_ok=True)
    assert list(read(tmp_path)) == expected[second.first_sequence - 1 :]
    with JournalWriter(tmp_path) as writer:
        assert writer.opened.last_sequence == 200


def damaged_at(directory: Path, record: Record) -> None:
    """Flip a byte of a record's body in a raw segment."""
    path = list_segments(directory)[0].path
    data = bytearray(path.read_bytes())
    place = data.index(record.body)
    data[place] ^= 1
    path.write_bytes(data)


def test_repair_keeps_what_is_whole_and_the_sequence_goes_on(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, [Record(Kind.TRADE, 0, index, b"%08d" % index) for index in range(9)], LARGE)
    damaged_at(tmp_path, expected[4])
    with pytest.raises(DamagedError, match="offset 272: a record's checksum is wrong, and whole records follow"):
        JournalWriter(tmp_path)
    with JournalWriter(tmp_path, repair=True) as writer:
        assert (writer.opened.missing, writer.opened.last_sequence) == (1, 9)
        assert writer.append(Kind.TIMER, 100, b"") == 10
    kept = [record for record in expected if record.sequence != 5]
    assert list(read(tmp_path))[:-1] == kept
    assert segment(tmp_path, 1, ".seg.damaged").exists()
    assert inspect(tmp_path)["segments"][0]["repaired"]
    assert verify(tmp_path) == []
    with JournalWriter(tmp_path, repair=True) as writer:  # nothing is left to repair
        assert (writer.opened.missing, writer.opened.last_sequence) == (0, 10)


def test_repair_of_a_file_header(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, some(5), LARGE)
    path = segment(tmp_path, 1)
    path.write_bytes(b"????????" + path.read_bytes()[8:])
    with pytest.raises(DamagedError, match="not a segment"):
        JournalWriter(tmp_path)
    with JournalWriter(tmp_path, repair=True) as writer:
        assert (writer.opened.missing, writer.opened.last_sequence) == (0, 5)
    assert list(read(tmp_path)) == expected


def test_repair_of_a_sealed_segment_among_others(tmp_path: Path, fill: Fill, small: JournalSettings) -> None:
    body = random.Random(4)
    expected = fill(tmp_path, [Record(Kind.TRADE, 0, index, body.randbytes(90)) for index in range(100)], small)
    sealed(tmp_path)
    files = list_segments(tmp_path)
    data = files[1].path.read_bytes()
    files[1].path.write_bytes(data[: len(data) // 2])
    with JournalWriter(tmp_path, repair=True) as writer:
        missing = writer.opened.missing
        assert writer.opened.last_sequence == 100
    found = list(read(tmp_path))
    assert missing == 100 - len(found) > 0
    lost = {record.sequence for record in expected} - {record.sequence for record in found}
    assert min(lost) >= files[1].first_sequence
    assert max(lost) == files[2].first_sequence - 1
    assert found == [record for record in expected if record.sequence not in lost]


def test_repair_cuts_a_merely_torn_tail_like_any_opening(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, some(5), LARGE)
    with segment(tmp_path, 1).open("ab") as file:
        file.write(b"half")
    with JournalWriter(tmp_path, repair=True) as writer:
        assert (writer.opened.cut_bytes, writer.opened.missing, writer.opened.last_sequence) == (4, 0, 5)


def test_a_crash_while_sealing_is_tidied(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, some(5), LARGE)
    raw = segment(tmp_path, 1).read_bytes()
    sealed(tmp_path)
    fill(tmp_path, some(2), LARGE)
    segment(tmp_path, 1).write_bytes(raw)  # the raw file was not removed
    segment(tmp_path, 1, ".json").unlink()  # nor the summary written
    leftover = tmp_path / f".{1:020d}.seg.zst.999999999.0.tmp"
    leftover.write_bytes(b"half")
    assert list(read(tmp_path))[:5] == expected
    with JournalWriter(tmp_path) as writer:
        assert writer.opened.last_sequence == 7
        writer.rotate().result(30)
    assert not segment(tmp_path, 1).exists()
    assert not leftover.exists()
    assert all(load_summary(file) for file in list_segments(tmp_path))


def test_a_closed_segment_left_raw_is_sealed_at_the_next_opening(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, some(5), LARGE)
    raw = segment(tmp_path, 1).read_bytes()
    sealed(tmp_path)
    expected += fill(tmp_path, some(2), LARGE)
    segment(tmp_path, 1).write_bytes(raw)
    segment(tmp_path, 1, ".seg.zst").unlink()
    with JournalWriter(tmp_path) as writer:
        writer.rotate().result(30)
    assert [file.compressed for file in list_segments(tmp_path)] == [True, True]
    assert list(read(tmp_path)) == [record._replace(sequence=index + 1) for index, record in enumerate(expected)]


def test_a_closed_segment_left_raw_is_read_whole_before_it_is_trusted(tmp_path: Path, fill: Fill) -> None:
    expected = fill(tmp_path, some(5), LARGE)
    raw = segment(tmp_path, 1).read_bytes()
    sealed(tmp_path)
    fill(tmp_path, some(2), LARGE)
    segment(tmp_path, 1, ".seg.zst").unlink()
    segment(tmp_path, 1).write_bytes(raw[:-3])  # torn, and not at the journal's end
    for use in (lambda: list(read(tmp_path)), lambda: JournalWriter(tmp_path)):
        with pytest.raises(DamagedError, match="ends within a record"):
            use()
    with JournalWriter(tmp_path, repair=True) as writer:
        assert (writer.opened.missing, writer.opened.last_sequence) == (1, 7)
    assert [record.sequence for record in read(tmp_path)] == [1, 2, 3, 4, 6, 7]
    assert list(read(tmp_path))[:4] == expected[:4]


def test_a_segment_without_a_record_is_gone_on_with(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, some(5), LARGE)
    sealed(tmp_path)
    fill(tmp_path, some(1), LARGE)
    path = segment(tmp_path, 6)
    os.truncate(path, 48)
    with JournalWriter(tmp_path) as writer:
        assert (writer.opened.last_sequence, writer.opened.last_time_ns) == (5, 1_004)
        assert writer.append(Kind.TIMER, 2_000, b"") == 6
    assert [record.sequence for record in read(tmp_path)] == [1, 2, 3, 4, 5, 6]


WRITER = """
    import asyncio, random, sys
    from pathlib import Path
    from atmand.journal import JournalSettings, JournalWriter

    async def main(directory):
        writer = JournalWriter(directory, JournalSettings(flush_ms=1, sync_ms=5, segment_bytes=20_000))
        print(writer.opened.last_sequence, flush=True)
        while True:
            for _ in range(random.randrange(1, 40)):
                due = writer.appended + 1
                writer.append(9, due, random.Random(due).randbytes(due % 900))
            await writer.synced(writer.appended)
            print(writer.appended, flush=True)

    asyncio.run(main(Path(sys.argv[1])))
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    instants = random.Random(11)
    acknowledged = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            lines = (line for line in child.stdout if "journal_" not in line)
            reopened = int(next(lines))
            assert reopened >= acknowledged
            for _ in range(instants.randrange(1, 40)):
                acknowledged = int(next(lines))
            child.kill()
            acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith("\n"))])
    with JournalWriter(tmp_path) as writer:
        assert writer.opened.last_sequence >= acknowledged > 0
        last = writer.opened.last_sequence
    sequence = 0
    for sequence, record in enumerate(read(tmp_path), start=1):
        assert record.sequence == record.time_ns == sequence
        assert record.body == random.Random(sequence).randbytes(sequence % 900)
    assert sequence == last
    assert verify(tmp_path) == []
