"""The door to a parameter store: what every kind of store can do, and what the daemon says back through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from atmand.errors import AtmandError
from atmand.params.document import Document, DocumentError

__all__ = ["Ack", "ConflictError", "ParameterStore"]


class ConflictError(AtmandError):
    """Somebody else published first."""


@dataclass(frozen=True)
class Ack:
    """What the daemon made of a document, kept where its author wrote it."""

    seq: int
    sha256: str | None
    """None where the document could not even be read."""
    status: Literal["applied", "refused"]
    reason: str = ""
    sequence: int = 0
    """The journal's record that put it in force."""
    time: str = ""
    """ISO 8601, UTC."""


class ParameterStore(Protocol):
    """A store of documents: one is current, and history keeps all that ever were.

    Methods do short work and may block for it: verbs call them as they are, the daemon in a thread. DocumentError says
    that the store does not answer or holds something else than a document.
    """

    def current(self) -> Document | None:
        """Return the current document; None where none was ever published."""

    def propose(self, document: Document, expected_seq: int) -> Document:
        """Publish a document after the one numbered `expected_seq`; ConflictError where another one is current.

        Returns it as published: with its number, its time and its parent.
        """

    def adopt(self, document: Document) -> Document:
        """Give a current document that was written by hand its number and its place in history."""

    def history(self) -> list[Document]:
        """Return all documents, the newest first; damaged copies are left out."""

    def activate(self, seq: int, *, author: str) -> Document:
        """Publish an old document again, under a new number: a roll-back."""

    def acknowledge(self, ack: Ack) -> None:
        """Say what came of a document."""

    def ack(self) -> Ack | None:
        """Return what the daemon said last."""

    def watch(self) -> AsyncIterator[Document | DocumentError | None]:
        """Yield what is current whenever it changed, the refusal of what cannot be read included; never ends."""
