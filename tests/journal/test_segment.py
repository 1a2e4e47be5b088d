"""The bytes of a segment: what is encoded is scanned, and no cut or flipped byte goes unseen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from atmand.core.records import HEADER, Kind, Record
from atmand.errors import DamagedError, ExitCode
from atmand.journal.segment import (
    FILE_HEADER_BYTES,
    Ending,
    JournalError,
    Scan,
    SegmentFlag,
    SegmentHeader,
    decode_file_header,
    encode,
    encode_file_header,
    next_whole,
)

u16 = st.integers(0, 2**16 - 1)
records = st.lists(
    st.builds(
        Record,
        kind=u16,
        sequence=st.just(0),
        time_ns=st.integers(-(2**63), 2**63 - 1),
        body=st.binary(max_size=120),
        rows=st.integers(0, 2**32 - 1),
        version=u16,
        source=u16,
        connection=u16,
    ),
    max_size=12,
)


def numbered(drawn: list[Record], first: int = 1) -> list[Record]:
    return [record._replace(sequence=first + index) for index, record in enumerate(drawn)]


def encoded(drawn: list[Record]) -> bytes:
    return b"".join(encode(record) + record.body for record in drawn)


@given(records, st.integers(0, 2**40))
def test_what_is_encoded_is_scanned(drawn: list[Record], first: int) -> None:
    drawn = numbered(drawn, first)
    scan = Scan(encoded(drawn), first)
    assert list(scan) == drawn
    assert (scan.ending, scan.next_sequence) == (Ending.CLEAN, first + len(drawn))


@given(records)
def test_a_header_is_the_registry_s_dtype(drawn: list[Record]) -> None:
    for record in numbered(drawn):
        data = encode(record)
        header = np.frombuffer(data, HEADER)[0]
        assert header["checksum"] == xxh3_64_intdigest(data[8:] + record.body)
        assert header["length"] == len(record.body)
        for name in ("sequence", "time_ns", "kind", "version", "source", "connection", "rows"):
            assert header[name] == getattr(record, name)
        assert header["reserved"] == 0


@given(records, st.data())
def test_a_cut_leaves_exactly_the_whole_records_before_it(drawn: list[Record], data: st.DataObject) -> None:
    drawn = numbered(drawn)
    whole = encoded(drawn)
    cut = data.draw(st.integers(0, len(whole)))
    scan = Scan(whole[:cut], 1)
    found = list(scan)
    assert found == drawn[: len(found)]
    assert scan.position == len(encoded(found)) <= cut
    if len(found) < len(drawn):
        assert scan.position + len(encode(drawn[len(found)])) + len(drawn[len(found)].body) > cut
    assert (scan.ending is Ending.CLEAN) == (scan.position == cut)
    assert next_whole(whole[:cut], scan.position, after=scan.next_sequence - 1) is None


@given(records.filter(bool), st.data())
def test_a_flipped_bit_ends_the_scan_before_its_record(drawn: list[Record], data: st.DataObject) -> None:
    drawn = numbered(drawn)
    whole = bytearray(encoded(drawn))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    scan = Scan(bytes(whole), 1)
    found = list(scan)
    assert found == drawn[: len(found)]
    assert scan.ending is not Ending.CLEAN
    assert scan.position <= place < scan.position + 48 + len(drawn[len(found)].body)
    after = next_whole(bytes(whole), scan.position, after=scan.next_sequence - 1)
    if len(found) + 1 < len(drawn):
        assert after == len(encoded(drawn[: len(found) + 1]))
    else:
        assert after is None


@given(st.binary(max_size=400), st.integers(0, 2**62))
def test_no_bytes_crash_the_scan(garbage: bytes, due: int) -> None:
    scan = Scan(garbage, due, holed=True)
    for record in scan:
        assert encode(record) + record.body == garbage[scan.start : scan.position]
    assert 0 <= scan.position <= len(garbage)


def test_unwanted_kinds_are_checked_and_not_yielded() -> None:
    drawn = numbered([Record(kind, 0, 0, b"x") for kind in (9, 20, 9, 21)])
    scan = Scan(encoded(drawn), 1, kinds={20})
    assert [record.sequence for record in scan] == [2]
    assert scan.next_sequence == 5
    damaged = bytearray(encoded(drawn))
    damaged[-1] ^= 1
    scan = Scan(bytes(damaged), 1, kinds={20})
    assert [record.sequence for record in scan] == [2]
    assert (scan.ending, scan.position) == (Ending.DAMAGED, 3 * 49)


def test_a_missing_sequence_is_damage_unless_the_segment_has_holes() -> None:
    first, _, third = numbered([Record(Kind.TIMER, 0, 0, b"")] * 3)
    scan = Scan(encoded([first, third]), 1)
    assert list(scan) == [first]
    assert (scan.ending, scan.reason) == (Ending.DAMAGED, "record 3 where 2 was due")
    scan = Scan(encoded([first, third]), 1, holed=True)
    assert list(scan) == [first, third]
    backwards = Scan(encoded([third, first]), 1, holed=True)
    assert list(backwards) == [third]
    assert backwards.ending is Ending.DAMAGED


def test_a_kind_of_a_newer_program_is_still_a_record() -> None:
    newer = Record(kind=999, sequence=1, time_ns=5, body=b"?", rows=3, version=7, source=8, connection=9)
    assert list(Scan(encoded([newer]), 1)) == [newer]


@given(st.integers(0, 2**62), st.integers(-(2**62), 2**62), st.integers(-1, 2**62), st.sampled_from([0, 1, 2, 3]))
def test_a_file_header_is_read_back(first: int, created: int, last: int, flags: int) -> None:
    header = SegmentHeader(first, created, last, SegmentFlag(flags))
    data = encode_file_header(header)
    assert len(data) == FILE_HEADER_BYTES
    assert decode_file_header(data + b"more", "x") == header
    assert header.holed == bool(flags)


def test_every_flipped_byte_of_a_file_header_is_seen() -> None:
    data = encode_file_header(SegmentHeader(7, 8))
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0x10
        with pytest.raises(DamagedError, match="x"):
            decode_file_header(bytes(flipped), "x")
    with pytest.raises(DamagedError, match="shorter"):
        decode_file_header(data[:-1], "x")


def test_a_file_of_a_newer_format_is_refused_and_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("atmand.journal.segment.FORMAT", 2)
        data = encode_file_header(SegmentHeader(1, 0))
    with pytest.raises(JournalError, match="format 2, this program reads up to 1") as refused:
        decode_file_header(data, "a.seg")
    assert refused.value.exit_code is ExitCode.REFUSED
