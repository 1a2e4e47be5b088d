"""Storage of snapshots of the books: small documents, each good for the journal up to one sequence.

A file holds canonical JSON and, on a line of its own, its sha256; what the document means is for the recovery to know.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from atmand.journal.files import remove_leftovers, replace_file, sync_directory

__all__ = ["Snapshot", "newest", "save"]

log = structlog.get_logger()

_NAME: Final = re.compile(r"books-(\d{20})\.json")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The books as they were after a record was applied."""

    sequence: int
    schema: int
    """Number of the document's schema; older ones are migrated by the recovery."""
    document: dict[str, Any]


def save(directory: Path, sequence: int, document: dict[str, Any], *, schema: int, keep: int = 24) -> Path:
    """Store a snapshot durably in a directory, then remove all but the newest `keep`.

    The document must be plain JSON (string keys, integers of 64 bits). Raises OSError where the disk refuses.
    """
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        sync_directory(directory.parent)
    remove_leftovers(directory)
    content = orjson.dumps({"schema": schema, "sequence": sequence, "document": document}, option=orjson.OPT_SORT_KEYS)
    path = directory / f"books-{sequence:020d}.json"
    replace_file(path, b"%b\n%b\n" % (content, hashlib.sha256(content).hexdigest().encode()))
    for _, old in list(_listed(directory))[keep:]:
        old.unlink(missing_ok=True)
    return path


def newest(directory: Path, at_or_before: int | None = None) -> Snapshot | None:
    """Return the newest whole snapshot (of a sequence not past `at_or_before`); damaged ones are logged and skipped."""
    for sequence, path in _listed(directory):
        if at_or_before is not None and sequence > at_or_before:
            continue
        snapshot = _load(path, sequence)
        if snapshot is not None:
            return snapshot
    return None


def _listed(directory: Path) -> Iterator[tuple[int, Path]]:
    """Snapshots, newest first; atmand 0.1.0 kept them in a folder of the directory, where they are found still."""
    folders = [folder for folder in (directory, directory / "snapshots") if folder.is_dir()]
    paths = [path for folder in folders for path in folder.iterdir()]
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            yield int(match[1]), path


def _load(path: Path, sequence: int) -> Snapshot | None:
    try:
        content, sha, end = path.read_bytes().split(b"\n")
        if end or hashlib.sha256(content).hexdigest().encode() != sha:
            raise ValueError("its sha256 is wrong")
        envelope = orjson.loads(content)
        if envelope["sequence"] != sequence:
            raise ValueError(f"it is of sequence {envelope['sequence']}, unlike its name")
        return Snapshot(sequence, envelope["schema"], envelope["document"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("snapshot_damaged", path=str(path), reason=str(error))
        return None
