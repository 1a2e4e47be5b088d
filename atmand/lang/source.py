"""Where in a strategy file a key stands, so that an error can show the line with a caret under the place.

`toml_places` finds the keys and values; here an offset becomes a line and a column, inside a string's value too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from atmand.errors import AtmandError
from atmand.lang.toml_places import Path, Spot, places

__all__ = ["Place", "SourceText", "StrategyError"]

_CONTINUED: Final = re.compile(r"(?:\\[ \t]*\r?\n[ \t\r\n]*)*")
_BASIC: Final = re.compile(r"\\u.{4}|\\U.{8}|\\.|\r?\n|.", re.DOTALL)
_LITERAL: Final = re.compile(r"\r?\n|.", re.DOTALL)
"""How the characters of TOML's two kinds of string are written (toml.io/en/v1.0.0#string)."""


@dataclass(frozen=True)
class Place:
    """A place in a file, counted from 1."""

    line: int
    column: int


class StrategyError(AtmandError):
    """A strategy file is refused: file, line, column, what is wrong, the line with a caret, and a remedy."""

    def __init__(self, source: SourceText, place: Place, what: str, remedy: str = "") -> None:
        self.place = place
        super().__init__(f"{source.name}:{place.line}:{place.column}", what, remedy)
        self.args = (f"{self.args[0]}\n{source.excerpt(place)}",)


@dataclass(frozen=True)
class SourceText:
    """A strategy file's text."""

    name: str
    text: str
    is_expression: bool = False
    """Whether the text is one expression and not a file."""

    def excerpt(self, place: Place) -> str:
        """Return the line of a place and a caret under its column."""
        lines = self._lines()
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
        return f"    {line}\n    {' ' * (place.column - 1)}^"

    def find(self, *path: str | int) -> Place:
        """Return where a value begins; where it is absent, the nearest table that would hold it, else the first line.

        A number in the path is the place in a list: `find("legs", 1, "strike")`.
        """
        return self._at(path, lambda spot: spot.value)

    def find_key(self, *path: str | int) -> Place:
        """Return where a key itself stands, or the header of a table; as `find` where it is absent."""
        return self._at(path, lambda spot: spot.key)

    def find_text(self, offset: int, *path: str | int) -> Place:
        """Return where a string value's character stands, `offset` of them into what the string says."""
        if self.is_expression:
            return self._place(min(offset, len(self.text)))
        place = self.find(*path)
        before = sum(len(line) + 1 for line in self.text.split("\n")[: place.line - 1])
        return self._place(_written_at(self.text, before + place.column - 1, offset))

    def _at(self, path: Path, side: Callable[[Spot], int]) -> Place:
        for end in range(len(path), 0, -1):
            spot = self._spots.get(path[:end])
            if spot is not None:
                return self._place(side(spot) if end == len(path) else spot.value)
        return Place(1, 1)

    @cached_property
    def _spots(self) -> dict[Path, Spot]:
        return {} if self.is_expression else places(self.text)

    def _lines(self) -> list[str]:
        """The lines as TOML counts them: other characters that Python calls a line's end are none here."""
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    def _place(self, index: int) -> Place:
        return Place(self.text.count("\n", 0, index) + 1, index - self.text.rfind("\n", 0, index))


def _written_at(text: str, index: int, offset: int) -> int:
    """Return where a string's character is written; `index` is where its quotation mark stands.

    A value without one (a number) has no characters to point at: the answer is its beginning.
    """
    quote = text[index : index + 1]
    if quote not in ('"', "'"):
        return index
    if text.startswith(quote * 3, index):
        index += 3
        index += 2 if text.startswith("\r\n", index) else 1 if text.startswith("\n", index) else 0
    else:
        index += 1
    for left in range(offset, -1, -1):
        if quote == '"' and (joined := _CONTINUED.match(text, index)):
            index = joined.end()
        character = (_BASIC if quote == '"' else _LITERAL).match(text, index) if left else None
        index = character.end() if character else index
    return index
