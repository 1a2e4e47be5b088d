"""The simulator's settings, which `atmand sim` and the demo's child process fill in."""

from __future__ import annotations

import datetime as dt
import secrets
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PositiveFloat, SecretStr

from atmand.market.sessions import IST
from atmand.sim.actions import SimAction
from atmand.sim.option_model import OptionModel

__all__ = ["SimSettings"]

_DEMO_START: Final = dt.datetime(2026, 7, 6, 9, 15, tzinfo=IST)


def _random_secret() -> SecretStr:
    return SecretStr(secrets.token_urlsafe(16))


class SimSettings(BaseModel):
    """What market is simulated, how fast, and who may talk to it; prices and times are made, never real."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    """Loopback only: the exchange has no transport security."""
    port: int = Field(default=0, ge=0, le=65_535)
    """0 = a free one."""
    seed: int = Field(default=1, ge=0, lt=2**63)
    start: AwareDatetime = _DEMO_START
    """Market time at the start; outside a file of bars, or before the calendar, the market starts at its own first
    opening."""
    speed: PositiveFloat | Literal["auto"] = "auto"
    """Market seconds a second; `auto`: as fast as a granting client applies (at most 600), real time without one."""
    sessions_file: Path | None = None
    """A file laid over the calendar, as `market.sessions_file` in the daemon."""
    bars: Path | None = None
    """A file of one-minute bars to draw the market out of, instead of the seeded one."""
    options: OptionModel = OptionModel()
    """How futures and options are priced."""
    corporate_actions: tuple[SimAction, ...] = ()
    """Splits and bonuses of the seeded market, each on a day of its own."""
    historical_per_second: PositiveFloat = 3.0
    quote_per_second: PositiveFloat = 1.0
    calls_per_second: PositiveFloat = 10.0
    api_key: str = "sim_api_key"
    api_secret: SecretStr = SecretStr("sim_api_secret")
    request_token: SecretStr = SecretStr("sim_request_token")
    access_token: SecretStr = SecretStr("sim_access_token")
    control_token: SecretStr = Field(default_factory=_random_secret)
    parent_control: bool = False
    """The market waits for its parent's control connection and ends with it."""
