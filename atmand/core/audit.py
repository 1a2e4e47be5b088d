"""What the core puts out: one audit row for everything that it did, and the fingerprint that all of them lead to."""

from __future__ import annotations

from typing import Final

import numpy as np

from atmand.core.jit import kernel, routine
from atmand.core.layout import fill_at, header_of, output_at
from atmand.core.records import Kind

__all__ = ["emit", "fingerprint_after", "tag"]

_AUDIT_INTENT: Final = np.int64(Kind.AUDIT_INTENT)
_AUDIT_ORDER: Final = np.int64(Kind.AUDIT_ORDER)
_AUDIT_FILL: Final = np.int64(Kind.AUDIT_FILL)

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_MIX_3: Final = np.uint64(0xD6E8FEB86659FD93)
_MIX_4: Final = np.uint64(0xA0761D6478BD642F)
_MIX_5: Final = np.uint64(0xE7037ED1A0B428DB)


@kernel
def emit(t, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason):  # type: ignore[no-untyped-def]
    """Append one audit row to the outputs of this record; a full table is counted, never overrun.

    Where the outputs are not read (`silent`), the row only counts for the fingerprint. A fill is kept where there is
    room for it.
    """
    h = header_of(t)
    if kind in (_AUDIT_ORDER, _AUDIT_INTENT, _AUDIT_FILL):
        h.fingerprint = _mixed(
            h.fingerprint, kind + 16 * state + 256 * reason + 65_536 * book, instrument, order, side * quantity, price,
            costs,
        )  # fmt: skip
    if h.silent == 0:
        if h.n_outputs >= h.outputs_n:
            h.outputs_lost += 1
            return
        row = output_at(t, h.n_outputs)
        _write(h, row, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason)
    elif kind == _AUDIT_FILL and h.n_fills < h.fills_n:
        row = fill_at(t, h.n_fills)
        _write(h, row, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason)
        h.n_fills += 1
    h.n_outputs += 1


@kernel
def _write(h, row, kind, book, instrument, order, trade, side, quantity, price, value, costs, state, reason):  # type: ignore[no-untyped-def]
    row.kind = kind
    row.cause = h.sequence
    row.index = h.n_outputs
    row.book = book
    row.instrument = instrument
    row.order = order
    row.trade = trade
    row.side = side
    row.quantity = quantity
    row.price = price
    row.value = value
    row.costs = costs
    row.state = state
    row.reason = reason
    row.time_ns = h.time_ns
    row.group = 0


@kernel
def _mixed(before, what, instrument, order, quantity, price, costs):  # type: ignore[no-untyped-def]
    """Mix a row into a fingerprint: odd multipliers and a shift, so that order and every field count."""
    x = np.uint64(what) * _MIX + np.uint64(instrument) * _MIX_1 + np.uint64(order) * _MIX_2
    x ^= np.uint64(quantity) * _MIX_3 + np.uint64(price) * _MIX_4 + np.uint64(costs) * _MIX_5
    return ((before ^ x) * _MIX) ^ (x >> np.uint64(29))


@routine
def fingerprint_after(rows, before):  # type: ignore[no-untyped-def]
    """Return the fingerprint that these audit rows lead to: the core keeps the same one while it emits them."""
    for place in range(rows.shape[0]):
        row = rows[place]
        if row.kind in (_AUDIT_ORDER, _AUDIT_INTENT, _AUDIT_FILL):
            what = row.kind + 16 * row.state + 256 * row.reason + 65_536 * row.book
            before = _mixed(
                before, what, row.instrument, row.order, row.side * row.quantity, row.price, row.costs
            )  # fmt: skip
    return before


@kernel
def tag(t, group):  # type: ignore[no-untyped-def]
    """Write the group of legs into the audit row that was made last."""
    if group != 0 and header_of(t).n_outputs > 0:
        output_at(t, header_of(t).n_outputs - 1).group = group
