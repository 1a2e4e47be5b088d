"""The portfolio's settings, and what they come to for the core: capital of each book, limits of each account.

`atmand.settings` composes the model under `portfolio`; `opening.py` asks for the limits of a LIMITS record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from atmand.core.opening import PortfolioLimits
from atmand.market.instruments import Instrument

__all__ = [
    "Capital",
    "Money",
    "PortfolioSettings",
    "account_equity",
    "given_share",
    "portfolio_limits",
    "share_of",
    "shared_out",
    "with_sectors",
]

_MULTIPLE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)x")
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)%")
_BPS: Final = 10_000


class Money(NamedTuple):
    """What a book is worth, and what the operator gave it, in paise."""

    equity_paise: int
    capital_paise: int


def _check_exposure(value: int | str) -> int | str:
    if isinstance(value, str) and (not (found := _MULTIPLE.fullmatch(value)) or float(found[1]) <= 0):
        raise PydanticCustomError(
            "exposure", "not an exposure", {"remedy": 'write whole rupees, or a multiple: "1.5x"'}
        )
    if isinstance(value, int) and not 0 < value <= 10**11:
        raise PydanticCustomError("exposure", "out of range", {"remedy": "write whole rupees above 0"})
    return value


def _check_capital(value: str) -> str:
    if value != "weight" and (not (found := _SHARE.fullmatch(value)) or not 0 < float(found[1]) <= 100):
        raise PydanticCustomError("capital", "not a share", {"remedy": 'write a share such as "25%", or "weight"'})
    return value


Capital = Annotated[str, AfterValidator(_check_capital)]
Exposure = Annotated[int | str, AfterValidator(_check_exposure)]
Count = Annotated[int, Field(ge=1, le=10_000)]


class PortfolioSettings(BaseModel):
    """What the strategies of one account may come to together; each limit holds for each account."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    netting: bool = True
    """true or false; true settles opposite orders of one moment between the strategies, without costs."""
    capital_rupees: Annotated[int, Field(gt=0, le=10**11)] | None = None
    """Whole rupees that an account began with: what a strategy's share of the equity is counted from."""
    positions: Count | None = None
    """Most positions open at once, 1 to 10000; the positions of two strategies in one share are two."""
    positions_per_underlying: Count | None = None
    """Most positions open at once in one underlying; a share is its own."""
    positions_per_sector: Count | None = None
    """Most positions open at once in one sector."""
    gross: Exposure | None = None
    """Most that all positions may be worth, long and short added: whole rupees, or "1.5x" of the equity."""
    net: Exposure | None = None
    """Most that the long positions may be worth beyond the short ones, or the other way round; as `gross`."""
    sectors: dict[str, list[str]] = {}
    """Instruments by sector, as BANK = ["NSE:HDFCBANK"]: an instrument without one counts in none."""


def portfolio_limits(settings: PortfolioSettings) -> PortfolioLimits:
    """Return the limits as a LIMITS record carries them."""
    gross_paise, gross_of_equity = _exposure(settings.gross)
    net_paise, net_of_equity = _exposure(settings.net)
    return PortfolioLimits(
        netting=settings.netting,
        account_positions=settings.positions or 0,
        underlying_positions=settings.positions_per_underlying or 0,
        sector_positions=settings.positions_per_sector or 0,
        gross_paise=gross_paise,
        net_paise=net_paise,
        gross_of_equity=gross_of_equity,
        net_of_equity=net_of_equity,
    )


def share_of(capital: str) -> float:
    """Return the share of the equity that a strategy's `capital` names; the document's weight is a share of it all."""
    found = _SHARE.fullmatch(capital)
    return float(found[1]) / 100 if found else 1.0


def given_share(settings: PortfolioSettings, capital_rupees: int | None, capital: str | None) -> float:
    """Return what share of its account's first equity a strategy may be given at most; 0 where that is not known."""
    if capital is not None:
        return share_of(capital)
    return (capital_rupees or 0) / settings.capital_rupees if settings.capital_rupees else 0.0


def shared_out(equity: int, others: int, wanted: Mapping[str, float | None]) -> dict[str, int]:
    """Return what each book that lives by a share of the equity is to be worth, in paise.

    `others` is what the account's other books are worth: no share reaches into it, so all come down where they do not
    fit. A share of None, that no document gives, is an equal part of what is left.
    """
    left = max(0, equity - others)
    known = {name: share * equity for name, share in wanted.items() if share is not None}
    total = sum(known.values())
    fit = min(1.0, left / total) if total > 0 else 1.0
    rest = max(0.0, left - total) / max(1, len(wanted) - len(known))
    return {name: int(known[name] * fit if name in known else rest) for name in wanted}


def account_equity(settings: PortfolioSettings, books: Iterable[Money]) -> int:
    """Return what an account is worth: what it began with, and what its books have made since, in paise."""
    return (settings.capital_rupees or 0) * 100 + sum(book.equity_paise - book.capital_paise for book in books)


def with_sectors(
    instruments: Iterable[tuple[Instrument, int]], sectors: Mapping[str, list[str]]
) -> list[tuple[Instrument, int]]:
    """Return instruments with the sectors that the configuration gives them."""
    named = {name: sector for sector, names in sectors.items() for name in names}
    found = []
    for instrument, group in instruments:
        sector = named.get(instrument.key) or named.get(f"{instrument.exchange}:{instrument.symbol}")
        found.append((replace(instrument, sector=sector) if sector else instrument, group))
    return found


def _exposure(value: int | str | None) -> tuple[int, int]:
    """Return an exposure as (paise, basis points of the equity); one of them is 0."""
    if value is None:
        return 0, 0
    found: Any = _MULTIPLE.fullmatch(value) if isinstance(value, str) else None
    return (0, round(float(found[1]) * _BPS)) if found else (int(value) * 100, 0)
