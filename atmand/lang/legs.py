"""The tables `[[legs]]` and `[combined]` of a strategy file, and what the kernel is told of them.

A leg says which contract of the underlying it trades by rules; `core/legs.py` chooses the contract when a group opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from atmand.core.manifest import Amount, LegPlan
from atmand.core.words import ExpiryRule, StrikeRule

__all__ = ["MAX_LEGS", "Combined", "Leg", "check_amount", "combined_amounts", "leg_plans"]

MAX_LEGS: Final = 8
_STRIKE: Final = re.compile(r"^(?:(atm)\s*(?:([+-])\s*(\d{1,3}))?|(delta|premium|percent)\s+(\d+(?:\.\d+)?))$")
_EXPIRY: Final = re.compile(r"^(?:(nearest|next|monthly)|dte\s*>=\s*(\d{1,4}))$")
_AMOUNT: Final = re.compile(r"^\s*(?:(\d+(?:\.\d+)?)|([a-z][a-z0-9_]*))\s*(%?)\s*$")
_RIGHTS: Final = {"call": 1, "put": -1, "future": 0}
_RULES: Final = {"delta": StrikeRule.DELTA, "premium": StrikeRule.PREMIUM, "percent": StrikeRule.PERCENT}
_EXPIRIES: Final = {"nearest": ExpiryRule.NEAREST, "next": ExpiryRule.NEXT, "monthly": ExpiryRule.MONTHLY}


def _text_of(value: Any) -> Any:
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Distance = Annotated[str, BeforeValidator(_text_of), Field(min_length=1, max_length=64)]
"""A number or a parameter's name; with `%` behind it, percent of the premium."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Leg(_Table):
    """One leg of a group."""

    side: Literal["buy", "sell"]
    right: Literal["call", "put", "future"]
    strike: str = ""
    expiry: str = "nearest"
    ratio: int = Field(default=1, ge=1, le=100)
    loss: Distance | None = None
    target: Distance | None = None
    trail: Distance | None = None
    reentry: int = Field(default=0, ge=0, le=20)
    at: Literal["cost", "new strike"] = "cost"

    @model_validator(mode="after")
    def _rules(self) -> Leg:
        if self.right == "future":
            if self.strike:
                raise ValueError("a future has no strike; remove it")
        elif _STRIKE.match(self.strike) is None:
            raise ValueError(
                f"strike {self.strike!r} is no rule; write atm, atm+2, atm-1, delta 0.30, premium 150 or percent 2.5"
            )
        elif self.strike.startswith("delta") and not 0.0 < float(self.strike.split()[1]) < 1.0:
            raise ValueError(f"strike {self.strike!r}: a delta lies between 0 and 1, for puts too")
        if _EXPIRY.match(self.expiry) is None:
            raise ValueError(f"expiry {self.expiry!r} is no rule; write nearest, next, monthly or dte >= 7")
        if self.reentry and self.loss is None and self.trail is None:
            raise ValueError("reentry follows a leg's stop, and this leg has neither loss nor trail")
        return self


class Combined(_Table):
    """Stops over all legs of a group, in rupees before costs."""

    loss: Distance | None = None
    target: Distance | None = None
    trail: Distance | None = None

    @model_validator(mode="after")
    def _rupees(self) -> Combined:
        for amount in (self.loss, self.target, self.trail):
            if amount is not None and "%" in amount:
                raise ValueError("combined amounts are rupees over all legs, not percent")
        return self


def check_amount(text: str | None, params: Mapping[str, Any]) -> None:
    """Refuse an amount that is neither a number above zero nor a parameter of the file; ValueError says why."""
    if text is None:
        return
    match = _AMOUNT.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no amount; write a number, a parameter, or one of them with % behind it")
    if match[1] is not None and float(match[1]) <= 0.0:
        raise ValueError(f"amount {text!r} must be above zero")
    if match[2] is not None and match[2] not in params:
        raise ValueError(f"amount {text!r} names no parameter; known are {', '.join(params) or 'none'}")


def leg_plans(legs: tuple[Leg, ...], params: tuple[str, ...]) -> tuple[LegPlan, ...]:
    """Write legs down as the kernel reads them; `params` are the structure's parameters by slot."""
    return tuple(_plan(leg, params) for leg in legs)


def combined_amounts(combined: Combined | None, params: tuple[str, ...]) -> tuple[Amount, Amount, Amount]:
    """Return the group's loss, target and trail."""
    if combined is None:
        return Amount(), Amount(), Amount()
    return _amount(combined.loss, params), _amount(combined.target, params), _amount(combined.trail, params)


def _plan(leg: Leg, params: tuple[str, ...]) -> LegPlan:
    rule, value = _strike(leg.strike) if leg.strike else (StrikeRule.ATM, 0.0)
    expiry = _EXPIRY.match(leg.expiry)
    assert expiry is not None
    return LegPlan(
        side=1 if leg.side == "buy" else -1,
        right=_RIGHTS[leg.right],
        strike_rule=int(rule),
        strike_value=value,
        expiry_rule=int(_EXPIRIES[expiry[1]] if expiry[1] else ExpiryRule.DAYS),
        expiry_days=int(expiry[2] or 0),
        ratio=leg.ratio,
        loss=_amount(leg.loss, params),
        target=_amount(leg.target, params),
        trail=_amount(leg.trail, params),
        reentries=leg.reentry,
        at_new_strike=leg.at == "new strike",
    )


def _strike(text: str) -> tuple[StrikeRule, float]:
    match = _STRIKE.match(text)
    assert match is not None
    if match[1]:
        return StrikeRule.ATM, float((match[2] or "") + (match[3] or "0"))
    return _RULES[match[4]], float(match[5])


def _amount(text: str | None, params: tuple[str, ...]) -> Amount:
    match = _AMOUNT.match(text) if text is not None else None
    if match is None:
        return Amount()
    slot = params.index(match[2]) if match[2] else -1
    return Amount(float(match[1] or 0.0), slot, bool(match[3]))
