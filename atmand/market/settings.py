"""The settings of instruments: files that replace our tables, when contracts roll, how much of a chain is held."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["InstrumentSettings"]


class InstrumentSettings(BaseModel):
    """What is known of instruments beside the broker's dump, and which contracts a session holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    freeze: Path | None = None
    """A TOML file of freeze quantities by date, in place of ours."""
    members: Path | None = None
    """A TOML file with the members of indices by date; a universe such as INDEX:NIFTY 50 needs it on a real market."""
    shares: tuple[Path, ...] = ()
    """CSV files about shares (ISIN, sector, value traded): the exchange's own, or yours; later ones win."""
    roll_sessions: int = Field(0, ge=0, le=20)
    """Sessions before its expiry day at which a near contract gives way to the next, 0 to 20; 0 is after that day."""
    chain_strikes: int = Field(40, ge=1, le=300)
    """Strikes on each side of the money that a session lists of a chain for legs, 1 to 300."""
    window_strikes: int = Field(10, ge=1, le=300)
    """Strikes on each side of the money that are subscribed, and follow the underlying, 1 to 300."""
    most_lost_percent: float = Field(10.0, ge=0.0, le=100.0, allow_inf_nan=False)
    """Percent of an exchange's living instruments that a day's dump may lack before it is refused, 0 to 100."""
    keep_days: int = Field(10, ge=2, le=400)
    """Days of instruments that are kept in the state directory, 2 to 400."""
