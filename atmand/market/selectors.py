"""What a strategy's `universe` may say beside names: an index's members, what trades most, a future, an option.

Pure words: a strategy file is checked by them, and `universe.py` finds what they mean on a day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from atmand.errors import AtmandError

__all__ = ["Contract", "IndexMembers", "MostTraded", "Selector", "SelectorError", "selector_of"]

_DERIVATIVE: Final = re.compile(r"^(NFO|BFO):([^:]+):(FUT|CE|PE)(?::(.*))?$")
_STRIKE: Final = re.compile(r"^(?:(ATM)([+-]\d{1,3})?|(\d+(?:\.\d+)?))$")
_FUTURES: Final = ("near", "next", "far")
_OPTIONS: Final = ("weekly", "nearest", "next", "monthly")
_LARGEST_TOP: Final = 3_000
_RIGHTS: Final = {"FUT": 0, "CE": 1, "PE": -1}


class SelectorError(AtmandError):
    """A selector in a universe does not say what it should."""


@dataclass(frozen=True, slots=True)
class IndexMembers:
    """`INDEX:NIFTY 50`: what an index holds on the day."""

    index: str


@dataclass(frozen=True, slots=True)
class MostTraded:
    """`TOP:20:NSE`, `TOP:10:INDEX:NIFTY 50`: of an exchange or an index, what traded for most rupees."""

    count: int
    exchange: str
    index: str


@dataclass(frozen=True, slots=True)
class Contract:
    """`NFO:NIFTY:FUT:near`, `NFO:NIFTY:CE:ATM+2:weekly`: one contract, chosen as a session opens."""

    exchange: str
    name: str
    right: int
    """+1 call, -1 put, 0 future."""
    expiry: str | date
    steps: int = 0
    """Listed strikes above the one nearest to the underlying's price."""
    strike: str = ""
    """A strike in rupees in place of `steps`."""


Selector = IndexMembers | MostTraded | Contract


def selector_of(text: str) -> Selector | None:
    """Return the selector that a text is, None for a name; SelectorError says what a malformed one lacks."""
    if text.startswith("INDEX:"):
        return IndexMembers(_named(text, text.removeprefix("INDEX:"), "INDEX:NIFTY 50"))
    if text.startswith("TOP:"):
        return _most_traded(text)
    match = _DERIVATIVE.match(text)
    if match is None:
        return None
    exchange, name, kind, rest = match.groups()
    parts = (rest or "").split(":")
    if kind == "FUT":
        if len(parts) != 1:
            raise _malformed(text, "a future has one word behind FUT", "NFO:NIFTY:FUT:near")
        return Contract(exchange, name, 0, _expiry(text, parts[0], _FUTURES, "NFO:NIFTY:FUT:near"))
    example = "NFO:NIFTY:CE:ATM+2:weekly"
    if len(parts) != 2:
        raise _malformed(text, "an option has a strike and an expiry", example)
    strike = _STRIKE.match(parts[0])
    if strike is None:
        raise _malformed(text, f"{parts[0]!r} is no strike: ATM, ATM+2, ATM-1 or a price", example)
    expiry = _expiry(text, parts[1], _OPTIONS, example)
    return Contract(exchange, name, _RIGHTS[kind], expiry, int(strike[2] or 0), strike[3] or "")


def _most_traded(text: str) -> MostTraded:
    count, _, of = text.removeprefix("TOP:").partition(":")
    example = "TOP:20:NSE or TOP:10:INDEX:NIFTY 50"
    if not count.isdecimal() or not 0 < int(count) <= _LARGEST_TOP:
        raise _malformed(text, f"{count!r} is not a number from 1 to {_LARGEST_TOP}", example)
    if of.startswith("INDEX:"):
        return MostTraded(int(count), "", _named(text, of.removeprefix("INDEX:"), example))
    if of not in ("NSE", "BSE"):
        raise _malformed(text, f"{of!r} is neither NSE, BSE nor an index", example)
    return MostTraded(int(count), of, "")


def _named(text: str, name: str, example: str) -> str:
    if not name.strip():
        raise _malformed(text, "names no index", example)
    return name


def _expiry(text: str, word: str, words: tuple[str, ...], example: str) -> str | date:
    if word in words:
        return word
    try:
        return date.fromisoformat(word)
    except ValueError:
        raise _malformed(text, f"{word!r} is no expiry: {', '.join(words)} or a date", example) from None


def _malformed(text: str, what: str, example: str) -> SelectorError:
    return SelectorError(f"universe {text!r}", what, f"write it as {example}")
