"""What a journal's directory holds: its segment files in order, and a summary of each.

A closed segment has its summary beside it as a small JSON file, so that listing a year of sessions decompresses
nothing. A summary is a cache: one that does not fit its file is ignored and made again from the records.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from atmand.core.records import Kind, Record, head_and_rows
from atmand.journal.files import replace_file
from atmand.journal.segment import RECORD_HEADER_BYTES

__all__ = ["SegmentFile", "Span", "Summary", "list_segments", "load_summary", "save_summary", "segment_path"]

_NAME: Final = re.compile(r"(\d{20})\.seg(\.zst)?")


@dataclass(frozen=True, slots=True, order=True)
class SegmentFile:
    """One segment on disk."""

    first_sequence: int
    path: Path
    compressed: bool

    @property
    def sealed_path(self) -> Path:
        """Where it lies, or will lie, once it is compressed."""
        return segment_path(self.path.parent, self.first_sequence, compressed=True)

    @property
    def summary_path(self) -> Path:
        return self.path.parent / f"{self.first_sequence:020d}.json"


def segment_path(directory: Path, first_sequence: int, *, compressed: bool = False) -> Path:
    """Return the path of the segment that starts with a sequence."""
    return directory / f"{first_sequence:020d}.seg{'.zst' if compressed else ''}"


def list_segments(directory: Path) -> list[SegmentFile]:
    """Return the segments in the order of their sequences; the compressed file where both forms are there.

    A listing may miss a segment that is being sealed (the raw name already gone, the new one not yet passed), so two
    listings are put together: by the second one the compressed file is there.
    """
    if not directory.is_dir():
        return []
    found: dict[int, SegmentFile] = {}
    for path in (*directory.iterdir(), *directory.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        file = SegmentFile(int(match[1]), path, match[2] is not None)
        if file.compressed or file.first_sequence not in found:
            found[file.first_sequence] = file
    return [found[first] for first in sorted(found)]


@dataclass(slots=True)
class Span:
    """A run of records of one session within one segment."""

    date: int | None
    """The SESSION's day, yyyymmdd; None where the session began in an earlier segment."""
    first_sequence: int
    last_sequence: int
    first_ns: int
    last_ns: int
    records: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Summary:
    """What is in a segment, counted record by record."""

    first_sequence: int
    last_sequence: int
    """`first_sequence - 1` for a segment without records."""
    first_ns: int = 0
    last_ns: int = 0
    records: int = 0
    bytes: int = 0
    """Of records, uncompressed."""
    flags: int = 0
    file_bytes: int = -1
    """Size of the compressed file that this was made for."""
    kinds: Counter[int] = field(default_factory=Counter)
    spans: list[Span] = field(default_factory=list)

    @classmethod
    def empty(cls, first_sequence: int) -> Summary:
        return cls(first_sequence, first_sequence - 1)

    def add(self, record: Record) -> None:
        """Count one record."""
        size = RECORD_HEADER_BYTES + len(record.body)
        date = _date(record) if record.kind == Kind.SESSION else None
        if date is not None or not self.spans:
            self.spans.append(Span(date, record.sequence, record.sequence, record.time_ns, record.time_ns))
        if not self.records:
            self.first_ns = record.time_ns
        span = self.spans[-1]
        span.last_sequence, span.last_ns = record.sequence, record.time_ns
        span.records += 1
        span.bytes += size
        self.last_sequence, self.last_ns = record.sequence, record.time_ns
        self.records += 1
        self.bytes += size
        self.kinds[record.kind] += 1


_SUMMARY: Final = TypeAdapter(Summary)


def load_summary(file: SegmentFile) -> Summary | None:
    """Return the stored summary of a sealed segment; None where there is none or it was made for another file."""
    try:
        summary = _SUMMARY.validate_json(file.summary_path.read_bytes())
        fits = summary.file_bytes == file.sealed_path.stat().st_size
    except (FileNotFoundError, ValidationError):
        return None
    return summary if fits and summary.first_sequence == file.first_sequence else None


def save_summary(file: SegmentFile, summary: Summary) -> None:
    """Store the summary of a sealed segment beside it."""
    summary.file_bytes = file.sealed_path.stat().st_size
    replace_file(file.summary_path, orjson.dumps(summary, option=orjson.OPT_NON_STR_KEYS))


def _date(record: Record) -> int | None:
    """The day of a SESSION record; None where a newer version has it elsewhere."""
    try:
        head, _ = head_and_rows(record)
    except (KeyError, ValueError):
        return None
    return int(np.int64(head["date"][0]))
