"""Where in a TOML text each key and each value stands: tomllib gives values without positions.

`places` reads a text that tomllib has taken already: it follows TOML's forms (toml.io/en/v1.0.0) and judges none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Path", "Spot", "places"]

Path = tuple[str | int, ...]
"""Keys, and for what stands in a list (an array of tables too) its number from 0: `("legs", 1, "strike")`."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'")
_STRINGS: Final = (
    ('"""', re.compile(r'"""(?:\\.|[^\\])*?"{3,5}(?!")', re.DOTALL)),
    ("'''", re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL)),
    ('"', re.compile(r'"(?:\\.|[^"\\\n])*"')),
    ("'", re.compile(r"'[^'\n]*'")),
)
_PLAIN: Final = re.compile(r"[^,\]}#\n]*")


@dataclass(frozen=True)
class Spot:
    """Where a key (or a table's header, a list's element) begins, and where its value does."""

    key: int
    value: int


@dataclass
class _Scan:
    text: str
    at: int = 0
    found: dict[Path, Spot] = field(default_factory=dict)
    lists: dict[Path, int] = field(default_factory=dict)
    """How many tables each array of tables has so far."""

    def document(self) -> None:
        table: Path = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            begin = self.at
            table = self.header() if self.text[begin] == "[" else self.pair(table)
            self.skip(_BLANK)
            if self.at == begin:
                return  # no TOML: tomllib has said so

    def header(self) -> Path:
        """Read `[a.b]` or `[[a.b]]`; return the table that the pairs below it belong to."""
        begin = self.at
        is_list = self.text.startswith("[[", begin)
        self.at += 1 + is_list
        path: Path = ()
        words = self.words()
        for place, word in enumerate(words):
            path = (*path, word)
            if is_list and place == len(words) - 1:
                self.found.setdefault(path, Spot(begin, begin))
                self.lists[path] = self.lists.get(path, 0) + 1
            if path in self.lists:
                path = (*path, self.lists[path] - 1)
            self.found.setdefault(path, Spot(begin, begin))
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end
        return path

    def pair(self, table: Path) -> Path:
        """Read `a.b = value`; return the table that it stands in."""
        begin = self.at
        path = table
        for word in (words := self.words()):
            path = (*path, word)
            self.found.setdefault(path, Spot(begin, begin))
        if words and self.text.startswith("=", self.at):
            self.at += 1
            self.skip(_SPACE)
            self.value(path, begin)
        return table

    def words(self) -> list[str]:
        """Read a dotted key, and the blanks round it."""
        found = []
        self.skip(_SPACE)
        while match := _WORD.match(self.text, self.at):
            word = match[0]
            found.append(word[1:-1] if word[0] in "\"'" else word)
            self.at = match.end()
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                break
            self.at += 1
            self.skip(_SPACE)
        return found

    def value(self, path: Path, key: int) -> None:
        """Read a value and what stands inside it."""
        self.found[path] = Spot(key, self.at)
        match self.text[self.at : self.at + 1]:
            case "[":
                self.inside(path, "]")
            case "{":
                self.inside(path, "}")
            case _:
                self.skip(next((form for sign, form in _STRINGS if self.text.startswith(sign, self.at)), _PLAIN))

    def inside(self, path: Path, end: str) -> None:
        """Read a list's elements or an inline table's pairs."""
        self.at += 1
        number = 0
        while True:
            self.skip(_BLANK)
            begin = self.at
            if self.text.startswith(end, begin):
                self.at += 1
                return
            if end == "}":
                self.pair(path)
            else:
                self.value((*path, number), begin)
            number += 1
            self.skip(_BLANK)
            if self.text.startswith(",", self.at):
                self.at += 1
            if self.at == begin:
                return

    def skip(self, form: re.Pattern[str]) -> None:
        match = form.match(self.text, self.at)
        self.at = match.end() if match else self.at


def places(text: str) -> dict[Path, Spot]:
    """Return where every key, table, list element and value of a TOML text stands, as offsets into it."""
    scan = _Scan(text)
    scan.document()
    return scan.found
