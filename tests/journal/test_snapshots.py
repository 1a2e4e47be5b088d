"""Snapshots of the books: the newest whole one is found, whatever happened to the others."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.journal.snapshots import Snapshot, newest, save

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
documents = st.dictionaries(
    st.text(max_size=8),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(documents, st.integers(0, 2**60), st.integers(1, 99))
def test_what_is_saved_is_found(document: dict[str, Any], sequence: int, schema: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = save(Path(place), sequence, document, schema=schema)
        assert newest(Path(place)) == Snapshot(sequence, schema, document)
        assert path.read_bytes().count(b"\n") == 2


def test_equal_documents_are_equal_bytes(tmp_path: Path) -> None:
    first = save(tmp_path / "a", 1, {"x": 1, "y": {"b": 2, "a": 1}}, schema=1)
    second = save(tmp_path / "b", 1, {"y": {"a": 1, "b": 2}, "x": 1}, schema=1)
    assert first.read_bytes() == second.read_bytes()


def test_the_newest_at_or_before_a_sequence(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for sequence in (5, 10, 20):
        save(tmp_path, sequence, {"n": sequence}, schema=1)
    found = [newest(tmp_path, limit) for limit in (None, 25, 20, 19, 5, 4)]
    assert [snapshot and snapshot.sequence for snapshot in found] == [20, 20, 20, 10, 5, None]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for sequence in range(1, 8):
        save(tmp_path, sequence, {}, schema=1, keep=3)
    assert [int(path.stem[6:]) for path in sorted(tmp_path.iterdir())] == [5, 6, 7]


def test_snapshots_where_an_older_version_kept_them_are_found_and_grow_old(tmp_path: Path) -> None:
    for sequence in (1, 2):
        save(tmp_path / "snapshots", sequence, {"n": sequence}, schema=1)
    assert newest(tmp_path) == Snapshot(2, 1, {"n": 2})
    save(tmp_path, 3, {"n": 3}, schema=1, keep=2)
    assert [found and found.sequence for found in (newest(tmp_path), newest(tmp_path, 2), newest(tmp_path, 1))] == [
        3,
        2,
        None,
    ]


def test_what_a_crash_left_unfinished_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / f".books-{7:020d}.json.999999999.0.tmp"
    leftover.write_bytes(b"half")
    save(tmp_path, 8, {}, schema=1)
    assert not leftover.exists()


def test_every_damage_to_the_newest_leads_to_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 1, {"cash": 100}, schema=1)
    path = save(tmp_path, 2, {"cash": 200}, schema=1)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            assert newest(tmp_path) == Snapshot(1, 1, {"cash": 100})
    path.write_bytes(whole)
    assert newest(tmp_path) == Snapshot(2, 1, {"cash": 200})


def test_a_snapshot_under_another_name_is_not_believed(tmp_path: Path) -> None:
    path = save(tmp_path, 1, {}, schema=1)
    path.rename(path.with_name(f"books-{9:020d}.json"))
    assert newest(tmp_path) is None


def test_a_document_that_is_not_json_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save(tmp_path, 1, {"x": object()}, schema=1)
    assert newest(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
