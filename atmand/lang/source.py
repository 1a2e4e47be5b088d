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

    def excerpt(self, place: Place) -> str:
        """Return the line of a place and a caret under its column."""
        lines = self.text.splitlines()
        line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
        return f"    {line}\n    {' ' * (place.column - 1)}^"

    def find(self, *path: str) -> Place:
        """Return where the value of a key begins; where the key is absent, its table, else the first line."""
        table: list[str] = []
        best = Place(1, 1)
        for number, line in enumerate(self.text.splitlines(), 1):
            header = _TABLE.match(line)
            if header:
                table = [part.strip(' "') for part in header[1].split(".")]
                if table == list(path[: len(table)]):
                    best = Place(number, 1)
                continue
            key = _KEY.match(line)
            if key is None:
                continue
            here = [*table, key[1] or key[2]]
            if here == list(path):
                return Place(number, key.end() + 1)
            if here == list(path[: len(here)]):
                best = _inside(line, number, key.end(), path[len(here)])
        return best

    def find_text(self, *path: str) -> Place:
        """Return where the text of a string value begins, behind its quotation mark."""
        place = self.find(*path)
        line = self.text.splitlines()[place.line - 1]
        rest = line[place.column - 1 :]
        quotes = 3 if rest.startswith(('"""', "'''")) else 1 if rest[:1] in "\"'" and rest else 0
        return Place(place.line, place.column + quotes)


def _inside(line: str, number: int, start: int, key: str) -> Place:
    """Find a key of an inline table on its line; the table itself where it is not there."""
    match = re.search(rf"\b{re.escape(key)}\s*=\s*", line[start:])
    return Place(number, start + (match.end() if match else 0) + 1)
