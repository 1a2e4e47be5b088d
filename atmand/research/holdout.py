"""The hold-out: data that a strategy is not tried on while it is made. A look at them is a decision, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from atmand.errors import UnsafeError
from atmand.market.sessions import ns
from atmand.research.log import DataRange, Entry

__all__ = ["HoldOut", "admit"]


@dataclass(frozen=True)
class HoldOut:
    """A declared hold-out that a run's data reach into, and how it lost its innocence."""

    first: date
    burns: tuple[Entry, ...]
    """Log entries of the burns of this strategy's hold-out."""
    runs: int
    """Earlier runs of this strategy that reached into it."""
    reason: str | None = None
    """Given with this run."""

    @property
    def note(self) -> str:
        """Say what a result on it is worth."""
        told = [f'"{entry["reason"]}" on {entry["time"][:10]}' for entry in self.burns]
        told += [f'"{self.reason}" now'] if self.reason is not None and not self.burns else []
        return (
            f"these data reach into the hold-out (from {self.first}), which is burnt: {'; '.join(told)}; "
            f"{self.runs} earlier runs have seen it, and no result on it is out of sample"
        )

    def to_json(self) -> dict[str, Any]:
        burns = [{name: entry[name] for name in ("id", "time", "reason")} for entry in self.burns]
        return {"from": self.first.isoformat(), "burns": burns, "earlier_runs": self.runs, "note": self.note}


def admit(
    first: date | None, data: DataRange, of_lineage: Sequence[Entry], strategy: str, reason: str | None
) -> HoldOut | None:
    """Return the hold-out that a run reaches into, None where there is none; UnsafeError where it is not to be touched.

    `of_lineage` are the log's entries of this strategy on these data. A burn holds for the strategy that it was made
    for, ever after.
    """
    if first is None or data.last_ns < ns(first, "00:00"):
        return None
    touching = [entry for entry in of_lineage if entry["data"]["last_ns"] >= ns(first, "00:00")]
    burns = tuple(entry for entry in touching if entry["verb"] == "burn")
    if not burns and not (reason and reason.strip()):
        raise UnsafeError(
            f"strategy {strategy}",
            f"the data reach into the hold-out, which begins on {first}",
            'end before it, --to, or give it up for this strategy: --burn-holdout "why"',
        )
    return HoldOut(first, burns, len(touching) - len(burns), reason)
