"""The tables `[[legs]]` and `[combined]` of a strategy file, and what the kernel is told of them.

A leg says which contract of the underlying it trades by rules; `core/legs.py` chooses the contract when a group opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field, field_validator, model_validator

from atmand.core.manifest import Amount, LegPlan
from atmand.core.words import ExpiryRule, StrikeRule
from atmand.hints import did_you_mean
from atmand.lang.refusals import Table, fault
from atmand.market.universe import ChainNeed

__all__ = ["MAX_LEGS", "Combined", "Leg", "amount_error", "chain_need", "combined_amounts", "leg_plans"]

MAX_LEGS: Final = 8
_STRIKE: Final = re.compile(r"^(?:(atm)\s*(?:([+-])\s*(\d{1,3}))?|(delta|premium|percent)\s+(\d+(?:\.\d+)?))$")
_EXPIRY: Final = re.compile(r"^(?:(nearest|next|monthly)|dte\s*>=\s*(\d{1,4}))$")
_AMOUNT: Final = re.compile(r"^\s*(?:(\d+(?:\.\d+)?)|([a-z][a-z0-9_]*))\s*(%?)\s*$")
_AMOUNTS: Final = ("loss", "target", "trail")
_STRIKES: Final = "atm, atm+2, atm-1, delta 0.30, premium 150 or percent 2.5"
_REACH: Final = {
    StrikeRule.ATM: (0.0, 100.0, "a strike lies at most 100 listed ones from the money, atm-100 to atm+100"),
    StrikeRule.DELTA: (0.0, 0.99, "a delta lies between 0 and 1, for puts too: above 0 to 0.99"),
    StrikeRule.PREMIUM: (0.0, 100_000.0, "a premium is above 0 rupees, at most 100000"),
    StrikeRule.PERCENT: (0.0, 50.0, "a strike lies above 0 and at most 50 percent from the price"),
}
"""How far each rule may reach: far beyond what the exchanges list."""
_RIGHTS: Final = {"call": 1, "put": -1, "future": 0}
_RULES: Final = {"delta": StrikeRule.DELTA, "premium": StrikeRule.PREMIUM, "percent": StrikeRule.PERCENT}
_EXPIRIES: Final = {"nearest": ExpiryRule.NEAREST, "next": ExpiryRule.NEXT, "monthly": ExpiryRule.MONTHLY}


def _text_of(value: Any) -> Any:
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Distance = Annotated[str, BeforeValidator(_text_of), Field(min_length=1, max_length=64)]
"""A number or a parameter's name; with `%` behind it, percent of the premium."""


class _Table(Table):
    part: ClassVar[str] = "leg"


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
        rule = text.strip().lower()
        if _STRIKE.match(rule) is None:
            raise fault(f"{text!r} is no rule", remedy=f"write {_STRIKES}")
        kind, value = _strike(rule)
        low, high, means = _REACH[kind]
        if not low <= abs(value) <= high or (kind is not StrikeRule.ATM and value == low):
            raise fault(f"{text!r}: {means}", remedy="choose a strike that may be listed")
        return rule

    @field_validator("expiry")
    @classmethod
    def _expiry_rule(cls, text: str) -> str:
        rule = text.strip().lower()
        if _EXPIRY.match(rule) is None:
            raise fault(f"{text!r} is no rule", remedy="write nearest, next, monthly or dte >= 7")
        return rule

    @model_validator(mode="after")
    def _parts(self) -> Leg:
        if self.right == "future" and self.strike:
            raise fault("a future has no strike", "strike", remedy="remove it")
        if self.right != "future" and not self.strike:
            raise fault("an option needs a strike", remedy=f"add strike = {_STRIKES}")
        if self.reentry and self.loss is None and self.trail is None:
            what = "reentry follows a leg's stop, and this leg has neither loss nor trail"
            raise fault(what, "reentry", remedy="add loss or trail, or remove it")
        return self


class AmountError(NamedTuple):
    """An amount that means nothing or can never be: its path in the file, why, and what to write."""

    path: tuple[str | int, ...]
    what: str
    remedy: str


class Combined(_Table):
    """Stops over all legs of a group, in rupees before costs."""

    loss: Distance | None = None
    target: Distance | None = None
    trail: Distance | None = None

    @model_validator(mode="after")
    def _rupees(self) -> Combined:
        for name in _AMOUNTS:
            if "%" in (getattr(self, name) or ""):
                raise fault("combined amounts are rupees over all legs, not percent", name, remedy="write rupees")
        return self


def amount_error(legs: tuple[Leg, ...], combined: Combined | None, params: Mapping[str, Any]) -> AmountError | None:
    """Return the first amount that is neither a number nor a parameter of the file, or that no premium can reach."""
    for nth, leg in enumerate(legs):
        for name in _AMOUNTS:
            # A premium falls to nothing: what is sold can make, and what is bought can lose, no more than all of it.
            capped = leg.right != "future" and (leg.side, name) in (("sell", "target"), ("buy", "loss"))
            said = _objection(getattr(leg, name), params, capped=capped)
            if said:
                return AmountError(("legs", nth, name), *said)
    for name in _AMOUNTS if combined else ():
        said = _objection(getattr(combined, name), params)
        if said:
            return AmountError(("combined", name), *said)
    return None


def _objection(text: str | None, params: Mapping[str, Any], *, capped: bool = False) -> tuple[str, str] | None:
    if text is None:
        return None
    match = _AMOUNT.match(text)
    if match is None:
        return f"{text!r} is no amount", "write a number, a parameter, or one of them with % behind it"
    number, name, percent = match.groups()
    if name is not None and name not in params:
        return f"amount {text!r} names no parameter", did_you_mean(name, params, "[params]")
    low = high = float(number or 0.0)
    if name is not None:
        low, high = params[name].range
    if high <= 0.0:
        return f"amount {text!r} must be above zero", "leave it out for none"
    if capped and percent and low > 100.0:
        return f"{text!r} is more than the whole premium", "write above 0 to 100 percent of the premium"
    return None


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
