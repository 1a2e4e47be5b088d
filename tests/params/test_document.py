"""Parameter documents: one spelling, and every refusal names the place, the value and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parameter_room import FILE, document, write

from atmand.params.document import MAX_BYTES, Document, DocumentError, parse_document, read_document

GOOD: dict[str, Any] = orjson.loads(document(level=30).canonical())


def refusal(content: Any) -> str:
    raw = content if isinstance(content, bytes) else orjson.dumps(content)
    with pytest.raises(DocumentError) as refused:
        parse_document(raw, "current.json")
    return str(refused.value)


def test_a_document_is_read_back_as_it_was_written() -> None:
    one = document(level=30, period=9)
    again = parse_document(one.canonical(), "x")
    assert again == one
    assert again.sha256 == one.sha256


def test_the_order_of_keys_does_not_change_the_hash() -> None:
    turned = dict(reversed(list(GOOD.items())))
    assert parse_document(orjson.dumps(turned), "x").sha256 == parse_document(orjson.dumps(GOOD), "x").sha256


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("strategis",), {}, "current.json: strategis: unknown; did you mean strategies?"),
        (("strategies", "probe", "wieght"), 1, "strategies.probe.wieght: unknown; did you mean weight?"),
        (("strategies", "probe", "params", "level"), "30", "params.level: not a number ('30')"),
        (("strategies", "probe", "params", "level"), True, "params.level: not a number (True)"),
        (("strategies", "probe", "params", "level"), None, "params.level: not a number (None)"),
        (("strategies", "probe", "weight"), 0, "strategies.probe.weight: should be above 0 (0)"),
        (("strategies", "probe", "weight"), 1.5, "strategies.probe.weight: should be at most 1"),
        (("strategies", "probe", "sha256"), "abc", "strategies.probe.sha256: should match"),
        (("schema",), 2, "current.json: schema: should be 1 (2)"),
        (("seq",), -1, "current.json: seq: should be at least 0 (-1)"),
        (("seq",), 1.5, "current.json: seq: should be a whole number"),
        (("created",), "yesterday", "current.json: created: should be a date and time"),
        (("risk",), {"daily_loss_rupees": 0}, "risk.daily_loss_rupees: should be above 0 (0)"),
        (("trial",), "t1", "current.json: both author and trial are set"),
        (("model",), {"artifact": "a", "sha256": "0" * 64}, "this version runs none; leave model out"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path: tuple[str, ...], value: Any, expected: str) -> None:
    content = orjson.loads(orjson.dumps(GOOD))
    inner = content
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    assert expected in refusal(content)


def test_a_trial_may_not_touch_risk() -> None:
    content = {**GOOD, "author": None, "trial": "t1", "risk": {"daily_loss_rupees": 1}}
    assert "changes risk; only a person may" in refusal(content)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"{}x", b"\xff\xfe", b'{"seq": NaN}', b"[" * 5000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    assert "current.json: not" in refusal(raw)


@pytest.mark.parametrize("cut", range(1, 200, 13))
def test_a_half_written_document_is_refused(cut: int) -> None:
    assert "not whole JSON" in refusal(document(level=30).canonical()[:cut])


def test_ten_megabytes_are_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "current.json"
    write(path, b'{"note":"' + b"x" * 10_000_000 + b'"}')
    with pytest.raises(DocumentError, match=f"more than {MAX_BYTES // 1024} KiB"):
        read_document(path)


def test_no_file_is_no_document(tmp_path: Path) -> None:
    assert read_document(tmp_path / "nothing.json") is None


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="make it readable"):
        read_document(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(Document.model_fields)), JSON)
def test_no_content_does_anything_but_parse_or_be_refused_by_name(name: str, value: Any) -> None:
    key = Document.model_fields[name].alias or name
    try:
        parsed = parse_document(orjson.dumps({**GOOD, key: value}), "current.json")
    except DocumentError as refused:
        assert str(refused).startswith("current.json")
    else:
        assert parse_document(parsed.canonical(), "x").sha256 == parsed.sha256


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    try:
        assert isinstance(parse_document(raw, "current.json"), Document)
    except DocumentError as refused:
        assert "current.json" in str(refused)


def test_the_file_that_it_was_written_for_is_named() -> None:
    assert document(level=1).strategies["probe"].sha256 == FILE.sha256
