"""The settings of research; `atmand.settings` composes them under `research`."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ResearchSettings"]


class ResearchSettings(BaseModel):
    """What back-tests, sweeps and the research log hold themselves to."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    holdout_from: date | None = None
    """From this day on data are held out: a run on them is refused until --burn-holdout says why."""
    cash_percent: float = Field(5.25, ge=0, le=100)
    """What cash earns in a year, percent. Default: the Reserve Bank of India's policy repo rate of 5 December 2025."""
