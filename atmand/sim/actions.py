"""Corporate actions of the simulated market: splits and bonuses on stated days."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SimAction"]


class SimAction(BaseModel):
    """One share's split or bonus. From the ex-date on, prices are in the new units on both exchanges."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: str
    ex_date: dt.date
    """The first session with the new price."""
    kind: Literal["split", "bonus"]
    """split: `new` shares for `old` ones; bonus: `new` more shares for `old` ones that are held."""
    new: int = Field(gt=0, le=100)
    old: int = Field(default=1, gt=0, le=100)

    @property
    def factor(self) -> Fraction:
        """How many shares one share becomes."""
        return Fraction(self.new + (self.old if self.kind == "bonus" else 0), self.old)
