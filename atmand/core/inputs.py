"""Values from outside as records: what a SIGNAL, FORECAST or SENTIMENT is made of before it has a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atmand.core.opening import Draft
from atmand.core.records import COLUMN_HEAD, COLUMN_ROW, Kind, body_of

__all__ = ["ColumnValue", "column_draft"]

ColumnKind: TypeAlias = Literal[Kind.SIGNAL, Kind.FORECAST, Kind.SENTIMENT]


class ColumnValue(NamedTuple):
    """One value of one column, in the order of a row's fields."""

    instrument: int
    """Dense id, or -1 for every instrument."""
    column: int
    value: float
    valid_until_ns: int = 0
    """Core time from which it is missing again; 0 is never."""


def column_draft(
    kind: ColumnKind, values: Sequence[ColumnValue], *, as_of_ns: int, sha256: bytes = bytes(32), actor: int = 0
) -> Draft:
    """Write the body of a record of column values."""
    head = np.zeros(1, COLUMN_HEAD)
    head["actor"], head["as_of_ns"] = actor, as_of_ns
    head["sha256"] = np.frombuffer(sha256, np.uint8)
    rows: NDArray[np.void] = np.array([tuple(value) for value in values], COLUMN_ROW)
    return Draft(kind, body_of(kind, head, rows), len(rows))
