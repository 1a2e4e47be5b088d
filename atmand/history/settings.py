"""The settings of history and of recording; `atmand.settings` composes them under `history` and `record`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["HISTORY", "HistorySettings", "RecordSettings"]

HISTORY = "history"
"""The store's folder in a state directory, where no other is named."""


class HistorySettings(BaseModel):
    """The bar store, and what the daemon adds to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    directory: Path | None = None
    """The bar store's directory. Default: history in the state directory."""
    keep_bars: bool | None = None
    """true or false: add the session's own bars to the store when it has ended. Default: true with a real exchange."""


class RecordSettings(BaseModel):
    """What is recorded besides what strategies trade, or without any strategy."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    universe: tuple[str, ...] = ()
    """Instruments to record: names as strategies have them, or durable keys with *, as in "NSE:OPT:NIFTY:*"."""
    expiries: int = Field(1, ge=1, le=100)
    """Of derivatives that a * finds, so many nearest expiries of each underlying, 1 to 100."""
    most: int = Field(1_000, ge=1, le=9_000)
    """Most instruments that a * may find, 1 to 9000; more are refused. Kite streams 3000 a connection."""
