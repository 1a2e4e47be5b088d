"""Sidecars: what is stored under a sha256 is what comes back, or an error."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.errors import DamagedError
from atmand.journal import JournalError, Sidecars


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3_000))
def test_what_is_put_is_got(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        sidecars = Sidecars(Path(place))
        sha = sidecars.put(data)
        assert sha == hashlib.sha256(data).digest()
        assert sidecars.get(sha) == sidecars.get(sha.hex()) == data
        assert sha in sidecars
        assert [path.name for path in Path(place, "sidecars").iterdir()] == [sha.hex()]


def test_putting_again_writes_nothing(tmp_path: Path) -> None:
    sidecars = Sidecars(tmp_path)
    path = sidecars.path(sidecars.put(b"program"))
    before = path.stat()
    sidecars.put(b"program")
    assert path.stat().st_ino == before.st_ino


def test_a_damaged_file_is_never_given_out_and_can_be_put_again(tmp_path: Path) -> None:
    sidecars = Sidecars(tmp_path)
    sha = sidecars.put(b"program")
    sidecars.path(sha).write_bytes(b"progrum")
    with pytest.raises(DamagedError, match="does not have this sha256"):
        sidecars.get(sha)
    sidecars.put(b"program")
    assert sidecars.get(sha) == b"program"


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    absent = hashlib.sha256(b"absent").digest()
    assert absent not in Sidecars(tmp_path)
    with pytest.raises(DamagedError, match="missing"):
        Sidecars(tmp_path).get(absent)


@pytest.mark.parametrize("name", ["", "../lock", "A" * 64, "0" * 63, b"short"])
def test_what_is_no_sha256_is_refused(tmp_path: Path, name: str | bytes) -> None:
    with pytest.raises(JournalError, match="not a sha256"):
        Sidecars(tmp_path).get(name)
