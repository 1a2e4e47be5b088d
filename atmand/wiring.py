"""What composition hands to the core: each source's decoder, and programs and books out of a journal's sidecars."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from atmand.core.engine import Decoder, Engine
from atmand.core.manifest import Manifest, Program
from atmand.core.records import Source
from atmand.feed.kite_decode import decode
from atmand.journal.sidecars import Sidecars
from atmand.lang.build import load_program

__all__ = ["DECODERS", "JOURNAL", "PARAMS", "SNAPSHOTS", "ProgramStore", "engine_on"]

DECODERS: Final[Mapping[int, Decoder]] = {int(Source.KITE): decode}

JOURNAL: Final = "journal"
SNAPSHOTS: Final = "snapshots"
PARAMS: Final = "params"
"""Folders of a state directory."""


class ProgramStore:
    """Programs and books by the hashes that PROGRAM records carry; kept as sidecars, so that old days replay."""

    def __init__(self, journal: Path) -> None:
        self._sidecars = Sidecars(journal)
        self._programs: dict[bytes, Program] = {}

    def keep(self, program: Program) -> bytes:
        """Store a program's source and manifest; return the manifest's sha256."""
        self._sidecars.put(program.source)
        sha = self._sidecars.put(program.manifest.to_json())
        self._programs[sha] = program
        return sha

    def keep_books(self, document: dict[str, Any]) -> bytes:
        """Store what a session begins with; return its sha256."""
        return self._sidecars.put(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))

    def program(self, manifest: bytes) -> Program:
        """Load the program of a manifest, compiling it where it is not in the cache any more."""
        if manifest not in self._programs:
            described = Manifest.from_json(self._sidecars.get(manifest))
            self._programs[manifest] = load_program(self._sidecars.get(described.source), described)
        return self._programs[manifest]

    def books(self, sha: bytes) -> dict[str, Any]:
        document: dict[str, Any] = orjson.loads(self._sidecars.get(sha))
        return document

    @staticmethod
    def name(program: Program) -> bytes:
        """Return the hash under which a program is kept."""
        return hashlib.sha256(program.manifest.to_json()).digest()


def engine_on(store: ProgramStore) -> Engine:
    """Make an engine that finds its programs and books in a journal's sidecars."""
    return Engine(DECODERS, store.program, store.books)
