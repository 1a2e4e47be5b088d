"""Groups of legs that wait for quotes: a strike that has just been subscribed has none for a moment.

A proposed group waits as long as an unfilled entry may, on the ticks of the contracts that it may trade; what was
proposed is kept in its row, and goes on after a restart.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.jit import kernel
from atmand.core.layout import book_at, group_at, header_of, pair_at
from atmand.core.orders import entry_wait_ns

__all__ = ["next_wait_ns", "recall", "waits_on"]

_NEVER_NS: Final = np.int64(np.iinfo(np.int64).max)


@kernel
def waits_on(t, pair_index):  # type: ignore[no-untyped-def]
    """Let a proposed group begin to wait, or go on; False once its time is over."""
    h = header_of(t)
    pair = pair_at(t, pair_index)
    group = group_at(t, pair.group_row)
    if group.waits_ns == 0:
        group.waits_ns = h.time_ns + entry_wait_ns(h, book_at(t, pair.book))
        group.wanted_side = pair.proposed_side
        group.wanted_units = pair.proposed_units
        group.wanted_close = pair.proposed_close
        group.wanted_bar_ns = pair.proposed_bar_ns
        group.wanted_marks = pair.proposed_marks
    return h.time_ns < group.waits_ns


@kernel
def recall(t, row):  # type: ignore[no-untyped-def]
    """Propose again what a waiting group was proposed as; return its pair."""
    group = group_at(t, row)
    pair = pair_at(t, group.pair)
    pair.proposed_side = group.wanted_side
    pair.proposed_units = group.wanted_units
    pair.proposed_close = group.wanted_close
    pair.proposed_bar_ns = group.wanted_bar_ns
    pair.proposed_marks = group.wanted_marks
    return group.pair


@kernel
def next_wait_ns(t):  # type: ignore[no-untyped-def]
    """Return when the next group has waited long enough."""
    due_ns = _NEVER_NS
    for row in range(header_of(t).groups_n):
        if group_at(t, row).waits_ns > 0:
            due_ns = min(due_ns, group_at(t, row).waits_ns)
    return due_ns
