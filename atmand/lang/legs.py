"""The tables `[[legs]]` and `[combined]` of a strategy file, and what the kernel is told of them.

A leg says which contract of the underlying it trades by rules; `core/legs.py` chooses the contract when a group opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from atmand.core.manifest import Amount, LegPlan
from atmand.core.words import ExpiryRule, StrikeRule
from atmand.market.universe import ChainNeed

__all__ = ["MAX_LEGS", "Combined", "Leg", "amount_error", "chain_need", "combined_amounts", "leg_plans"]

MAX_LEGS: Final = 8
_STRIKE: Final = re.compile(r"^(?:(atm)\s*(?:([+-])\s*(\d{1,3}))?|(delta|premium|percent)\s+(\d+(?:\.\d+)?))$")
_EXPIRY: Final = re.compile(r"^(?:(nearest|next|monthly)|dte\s*>=\s*(\d{1,4}))$")
_AMOUNT: Final = re.compile(r"^\s*(?:(\d+(?:\.\d+)?)|([a-z][a-z0-9_]*))\s*(%?)\s*$")
_AMOUNTS: Final = ("loss", "target", "trail")
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

    @field_validator("strike")
    @classmethod
    def _strike_rule(cls, text: str) -> str:
        if _STRIKE.match(text) is None:
            raise ValueError(f"{text!r} is no rule; write atm, atm+2, atm-1, delta 0.30, premium 150 or percent 2.5")
        if text.startswith("delta") and not 0.0 < float(text.split()[1]) < 1.0:
            raise ValueError(f"{text!r}: a delta lies between 0 and 1, for puts too")
        return text

    @field_validator("expiry")
    @classmethod
    def _expiry_rule(cls, text: str) -> str:
        if _EXPIRY.match(text) is None:
            raise ValueError(f"{text!r} is no rule; write nearest, next, monthly or dte >= 7")
        return text

    @model_validator(mode="after")
    def _parts(self) -> Leg:
        if self.right == "future" and self.strike:
            raise ValueError("a future has no strike; remove it")
        if self.right != "future" and not self.strike:
            raise ValueError("an option needs a strike: atm, atm+2, delta 0.30, premium 150 or percent 2.5")
        if self.reentry and self.loss is None and self.trail is None:
            raise ValueError("reentry follows a leg's stop, and this leg has neither loss nor trail")
        return self


class AmountError(NamedTuple):
    """An amount that means nothing: its path, in which of the legs, and why."""

    path: tuple[str, str]
    nth: int
    what: str


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


def amount_error(legs: tuple[Leg, ...], combined: Combined | None, params: Mapping[str, Any]) -> AmountError | None:
    """Return the first amount that is neither a number above zero nor a parameter of the file."""
    for nth, leg in enumerate(legs):
        for name in _AMOUNTS:
            said = _objection(getattr(leg, name), params)
            if said:
                return AmountError(("legs", name), nth, said)
    for name in _AMOUNTS if combined else ():
        said = _objection(getattr(combined, name), params)
        if said:
            return AmountError(("combined", name), 0, said)
    return None


def _objection(text: str | None, params: Mapping[str, Any]) -> str:
    match = None if text is None else _AMOUNT.match(text)
    if text is not None and match is None:
        return f"{text!r} is no amount; write a number, a parameter, or one of them with % behind it"
    if match is not None and match[1] is not None and float(match[1]) <= 0.0:
        return f"amount {text!r} must be above zero"
    if match is not None and match[2] is not None and match[2] not in params:
        return f"amount {text!r} names no parameter; known are {', '.join(params) or 'none'}"
    return ""


def leg_plans(legs: tuple[Leg, ...], params: tuple[str, ...]) -> tuple[LegPlan, ...]:
    """Write legs down as the kernel reads them; `params` are the structure's parameters by slot."""
    return tuple(_plan(leg, params) for leg in legs)


def chain_need(legs: tuple[Leg, ...]) -> ChainNeed:
    """Return what legs may choose from a chain, so that a session lists it."""
    strikes = [_strike(leg.strike) for leg in legs if leg.strike]
    return ChainNeed(
        frozenset(_RIGHTS[leg.right] for leg in legs),
        frozenset(leg.expiry for leg in legs),
        max((abs(int(value)) for rule, value in strikes if rule is StrikeRule.ATM), default=0),
        max((value for rule, value in strikes if rule is StrikeRule.PERCENT), default=0.0),
    )


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
