"""The registry of records: a newer reader reads what an older program wrote."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
from core_market import share

from atmand.core.opening import instruments_draft
from atmand.core.records import INSTRUMENTS_ROW, Kind, Record, head_and_rows, shape_of


def test_instruments_written_before_derivatives_were_known_have_none() -> None:
    shape = shape_of(Kind.INSTRUMENTS, 1)
    rows = np.zeros(2, shape.row)
    rows["key"], rows["token"], rows["tradable"] = [b"NSE:EQ:AAA", b"NSE:EQ:BBB"], [7, 8], 1
    body = np.zeros(1, shape.head).tobytes() + rows.tobytes()
    head, read = head_and_rows(Record(Kind.INSTRUMENTS, 1, 1, body, 2, 1))
    assert head.dtype == shape.head and read.dtype == INSTRUMENTS_ROW
    assert read["token"].tolist() == [7, 8]
    assert read["key"].tolist() == [b"NSE:EQ:AAA", b"NSE:EQ:BBB"]
    assert (read["underlying"].tolist(), read["expiry_ns"].tolist()) == ([-1, -1], [0, 0])


def test_an_option_is_written_with_its_underlyings_place_in_the_table() -> None:
    option = replace(
        share(1), key="NSE:OPT:AAA:2026-07-28:1000:CE", underlying="NSE:EQ:AAA", expiry=date(2026, 7, 28),
        strike=100_000, right=1,
    )  # fmt: skip
    draft = instruments_draft([(option, 0), (share(0), 0)])
    _, rows = head_and_rows(Record(draft.kind, 1, 1, draft.body, draft.rows, draft.version))
    facts = [tuple(int(row[name]) for name in ("underlying", "expiry_ns", "strike", "right")) for row in rows]
    assert facts == [(1, 1_785_232_800_000_000_000, 100_000, 1), (-1, 0, 0, 0)]
