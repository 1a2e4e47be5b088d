"""Rows sorted in the arena: the order is that of their keys, compiled and interpreted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.core.jit import address_of, routine
from atmand.core.sorting import KEYED, sort_rows

firsts = st.one_of(st.sampled_from([-1.0, 0.0, -0.0, 2.5, np.inf, -np.inf]), st.floats(allow_nan=False))


@routine
def sort_arena(arena, at, n):  # type: ignore[no-untyped-def]
    sort_rows(address_of(arena), at, n)


@given(st.lists(st.tuples(firsts, st.integers(-3, 3), st.integers(0, 3)), max_size=70))
@settings(max_examples=150, deadline=None)
def test_rows_are_sorted_by_their_keys_and_nothing_else_is_touched(keys: list[tuple[float, int, int]]) -> None:
    rows = np.zeros(len(keys) + 2, KEYED)
    for place, (first, second, third) in enumerate(dict.fromkeys(keys), 1):
        rows[place] = (first, second, third, place)
    n = len(dict.fromkeys(keys))
    before = rows.copy()
    sort_arena(rows.view(np.uint8), KEYED.itemsize, n)
    wanted = sorted(before[1 : n + 1].tolist(), key=lambda row: row[:3])
    assert rows[1 : n + 1].tolist() == wanted
    assert rows[0] == before[0] and rows[n + 1 :].tolist() == before[n + 1 :].tolist()
