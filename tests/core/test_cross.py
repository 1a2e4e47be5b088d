"""Comparisons between instruments: reckoned for all at once, they are what each would find by looking at all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atmand.core.cross import CROSS, cross_rank, cross_zscore
from atmand.core.jit import address_of, routine
from atmand.core.layout import ARENA, TABLES, allocate

_NEW: Final = 2
numbers = st.one_of(st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf]), st.floats(-1e9, 1e9))
# A pair: its book, its structure, the start of its bar, and what it put up on it.
pairs = st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from([1, _NEW, _NEW, _NEW]), numbers)


@routine
def ranked(arena, index, offset):  # type: ignore[no-untyped-def]
    return cross_rank(address_of(arena), index, offset)


@routine
def scored(arena, index, offset):  # type: ignore[no-untyped-def]
    return cross_zscore(address_of(arena), index, offset)


def laid_out(drawn: Sequence[tuple[int, int, int, float]]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Make an arena of pairs that have put their numbers up; return it and what they put up."""
    counts = dict.fromkeys(TABLES, 1) | {"books": 2, "pairs": len(drawn), "comparisons": len(drawn)}
    arena, extra_at = allocate(counts, len(drawn) * CROSS.itemsize)
    header = arena[: ARENA.itemsize].view(ARENA)[0]
    rows = arena[header["pairs_at"] :][: len(drawn) * TABLES["pairs"].itemsize].view(TABLES["pairs"])
    books = arena[header["books_at"] :][: 2 * TABLES["books"].itemsize].view(TABLES["books"])
    put_up = arena[extra_at:].view(CROSS)
    books["first_pair"] = -1
    for index in range(len(drawn) - 1, -1, -1):
        book, structure, start_ns, value = drawn[index]
        rows["book"][index], rows["structure"][index] = book, structure
        rows["slab_at"][index] = extra_at + index * CROSS.itemsize
        rows["next_in_book"][index], books["first_pair"][book] = books["first_pair"][book], index
        put_up["start_ns"][index], put_up["value"][index] = start_ns, value
    return arena, put_up


def stands(drawn: Sequence[tuple[int, int, int, float]], index: int) -> tuple[float, float]:
    """Reckon a pair's rank and z-score from the definition."""
    x = drawn[index][3]
    peers = [pair[3] for pair in drawn if pair[:3] == drawn[index][:3] and not math.isnan(pair[3])]
    if math.isnan(x) or len(peers) < 2:
        return math.nan, math.nan
    below, same = sum(its < x for its in peers), sum(its == x for its in peers)
    total, squares = 0.0, 0.0
    for its in peers:
        total += its
    mean = total / len(peers)
    for its in peers:
        squares += (its - mean) * (its - mean)
    deviation = math.sqrt(squares / len(peers))
    return (below + 0.5 * (same - 1)) / (len(peers) - 1), (x - mean) / deviation if deviation > 0.0 else 0.0


def answered(arena: NDArray[np.uint8], index: int) -> list[bytes]:
    with np.errstate(invalid="ignore"):  # the distance between infinities, which compiled code just calculates
        return bits((ranked(arena, index, 0), scored(arena, index, 0)))


def bits(values: tuple[float, float]) -> list[bytes]:
    """Return the bytes of some numbers; every NaN is the same."""
    return [b"nan" if math.isnan(value) else np.float64(value).tobytes() for value in values]


@given(st.lists(pairs, min_size=1, max_size=40), st.randoms(use_true_random=False))
@example([(0, 0, _NEW, float(n % 7)) for n in range(40)], None)
@settings(max_examples=100, deadline=None)
def test_a_pair_stands_where_the_definition_puts_it_bit_for_bit(
    drawn: list[tuple[int, int, int, float]], chance: Any
) -> None:
    arena, put_up = laid_out(drawn)
    asking = list(range(len(drawn)))
    if chance is not None:
        chance.shuffle(asking)
    for index in asking:
        assert answered(arena, index) == bits(stands(drawn, index))
    # A bar later other numbers stand there, and whoever asks first reckons again.
    later = [(*pair[:2], pair[2] + 1, -pair[3]) for pair in drawn]
    for index, (_, _, start_ns, value) in enumerate(later):
        put_up[index] = (start_ns, value, 0, put_up["rank"][index], put_up["zscore"][index])
    for index in asking:
        assert answered(arena, index) == bits(stands(later, index))
