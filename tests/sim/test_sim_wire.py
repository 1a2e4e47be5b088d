"""Frames as bytes, read back by rules written down apart from the encoder."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.sim.wire import FULL, INDEX, INDEX_BYTES, SHARE_BYTES, frame, text_message

LENGTHS = [8, 28, 32, 44, 184]


@given(st.lists(st.tuples(st.sampled_from(LENGTHS), st.binary(min_size=184, max_size=184)), max_size=40))
def test_a_frame_holds_every_rows_first_bytes_longest_first(given_rows: list[tuple[int, bytes]]) -> None:
    rows = np.frombuffer(b"".join(body for _, body in given_rows), np.uint8).reshape(-1, 184)
    data = frame(rows, np.array([length for length, _ in given_rows], np.int16))
    expected = [body[:n] for length in reversed(LENGTHS) for n, body in given_rows if n == length]
    wire = len(expected).to_bytes(2, "big") + b"".join(len(body).to_bytes(2, "big") + body for body in expected)
    assert data == wire


@pytest.mark.parametrize(
    ("field", "offset"),
    [
        ("token", 0),
        ("last_price", 4),
        ("last_quantity", 8),
        ("average_price", 12),
        ("volume", 16),
        ("buy_quantity", 20),
        ("sell_quantity", 24),
        ("open", 28),
        ("high", 32),
        ("low", 36),
        ("close", 40),
        ("last_trade_time", 44),
        ("oi", 48),
        ("oi_high", 52),
        ("oi_low", 56),
        ("exchange_time", 60),
        ("buy", 64),
        ("sell", 124),
    ],
)
def test_a_full_packets_fields_lie_where_the_documentation_says(field: str, offset: int) -> None:
    assert FULL.fields is not None
    assert FULL.fields[field][1] == offset
    assert FULL.itemsize == SHARE_BYTES["full"]


def test_an_index_packet_has_its_own_order_of_prices() -> None:
    row = np.zeros(1, INDEX)
    for value, name in enumerate(("token", "last_price", "high", "low", "open", "close"), start=1):
        row[name] = value
    row["change"], row["exchange_time"] = -7, 8
    body = row.tobytes()[: INDEX_BYTES["full"]]
    words = [int.from_bytes(body[at : at + 4], "big", signed=True) for at in range(0, 32, 4)]
    assert words == [1, 2, 3, 4, 5, 6, -7, 8]


def test_a_text_message_is_an_object_with_type_and_data() -> None:
    assert json.loads(text_message("order", {"order_id": "1"})) == {"type": "order", "data": {"order_id": "1"}}
