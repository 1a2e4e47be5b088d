"""Where in a strategy file a key stands, so that an error can show the line with a caret under the place.

tomllib gives values without positions; a scan over the file's lines finds them again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from atmand.errors import AtmandError

__all__ = ["Place", "SourceText", "StrategyError"]

_TABLE: Final = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(r"^\s*(?:\"([^\"]+)\"|([A-Za-z0-9_.-]+))\s*=\s*")
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

    def find(self, *path: str, nth: int = 0) -> Place:
        """Return where the value of a key begins; where the key is absent, its table, else the first line.

        Of tables that may be repeated (`[[legs]]`), it is the one after `nth` others.
        """
        table: list[str] = []
        repeated = 0
        best = Place(1, 1)
        for number, line in enumerate([] if self.is_expression else self._lines(), 1):
            header = _TABLE.match(line)
            if header:
                table = [part.strip(' "') for part in header[1].split(".")]
                if line.lstrip().startswith("[["):
                    table = table if repeated == nth else []
                    repeated += 1
                if table and table == list(path[: len(table)]):
                    best = Place(number, 1)
                continue
            key = _KEY.match(line)
            if key is None:
                continue
            here = [*table, *([key[1]] if key[1] else key[2].split("."))]
            if here == list(path):
                return Place(number, key.end() + 1)
            if here == list(path[: len(here)]):
                best = _inside(line, number, key.end(), path[len(here)])
        return best

    def find_item(self, item: str, *path: str, nth: int = 0) -> Place | None:
        """Return where a string stands in a key's list, after `nth` others like it; None where it does not."""
        place = self.find(*path)
        start = sum(len(line) + 1 for line in self.text.split("\n")[: place.line - 1]) + place.column - 1
        found = list(re.compile(rf"""(["']){re.escape(item)}\1""").finditer(self.text, start))
        return self._place(found[nth].start()) if nth < len(found) else None

    def find_text(self, offset: int, *path: str) -> Place:
        """Return where a string value's character stands, `offset` of them into what the string says."""
        if self.is_expression:
            return self._place(min(offset, len(self.text)))
        place = self.find(*path)
        before = sum(len(line) + 1 for line in self.text.split("\n")[: place.line - 1])
        return self._place(_written_at(self.text, before + place.column - 1, offset))

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


def _inside(line: str, number: int, start: int, key: str) -> Place:
    """Find a key of an inline table on its line; the table itself where it is not there."""
    match = re.search(rf"\b{re.escape(key)}\s*=\s*", line[start:])
    return Place(number, start + (match.end() if match else 0) + 1)
