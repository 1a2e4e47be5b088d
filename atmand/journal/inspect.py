"""What the verbs `atmand journal inspect` and `export` show, as plain data."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atmand.core.records import AUDIT_KINDS, EMPTY, Kind, Record, head_and_rows
from atmand.errors import DamagedError
from atmand.journal.catalog import SegmentFile, Summary, list_segments
from atmand.journal.files import DirectoryLock
from atmand.journal.opening import open_directory
from atmand.journal.reader import check_end, check_start, read, sessions
from atmand.journal.segment import Ending, SegmentFlag
from atmand.journal.stream import SegmentStream, is_bare, summarise

__all__ = ["as_json", "export", "inspect", "repair", "verify"]


def inspect(directory: Path) -> dict[str, Any]:
    """Describe a journal: segments, sequences, days, counts by kind, the written end and a torn tail if there is one.

    Every record is read. A segment with damage in it is listed under `damaged` instead of raising, and its counts are
    those of what can be read, or of its summary.
    """
    segments: list[dict[str, Any]] = []
    damaged = [{"file": file.path.name, "error": str(error)} for file, error in _damage(directory)]
    known = {entry["file"] for entry in damaged}
    kinds: Counter[int] = Counter()
    files = list_segments(directory)
    for file in files:
        try:
            summary = summarise(file)
        except DamagedError as error:
            if file.path.name not in known:
                damaged.append({"file": file.path.name, "error": str(error)})
            continue
        kinds.update(summary.kinds)
        segments.append(_segment(file, summary))
    return {
        "directory": str(directory),
        "first_sequence": segments[0]["first_sequence"] if segments else 0,
        "written": segments[-1]["last_sequence"] if segments else 0,
        "last_ns": max((segment["last_ns"] for segment in segments), default=0),
        "records": sum(kinds.values()),
        "bytes": sum(segment["bytes"] for segment in segments),
        "kinds": {_kind_name(kind): count for kind, count in sorted(kinds.items())},
        "sessions": [] if damaged else _sessions(directory),
        "segments": segments,
        "tail": _tail(files[-1]) if files and files[-1].path.name not in known else None,
        "damaged": damaged,
    }


def verify(directory: Path) -> list[str]:
    """Read every record; return what is wrong, a line each, and nothing where the journal is whole."""
    return [str(error) for _, error in _damage(directory)]


def repair(directory: Path) -> dict[str, Any]:
    """Keep what is whole of a damaged journal; say what was cut off, what was saved and which sequences are lost.

    Damaged files stay beside the saved ones under the ending `.damaged`. UnsafeError where a daemon has the journal.
    """
    lock = DirectoryLock(directory)
    try:
        opening = open_directory(directory, repair=True)
    finally:
        lock.release()
    saved = [
        {
            "file": segment.path.name,
            "kept_as": segment.kept.name,
            "records": segment.records,
            "missing": segment.missing,
            "lost": ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in segment.lost),
        }
        for segment in opening.saved
    ]
    return {
        "directory": str(directory),
        "last_sequence": opening.opened.last_sequence,
        "cut_bytes": opening.opened.cut_bytes,
        "missing": opening.opened.missing,
        "repaired": saved,
    }


def _damage(directory: Path) -> list[tuple[SegmentFile, DamagedError]]:
    """Read every record; return each file that is wrong and how."""
    found: list[tuple[SegmentFile, DamagedError]] = []
    files = list_segments(directory)
    due: int | None = None
    for file in files:
        try:
            check_start(file, due)
        except DamagedError as error:
            found.append((file, error))
        due = None
        try:
            if file is not files[-1] or not is_bare(file):
                due = _read_through(file, is_last=file is files[-1])
        except DamagedError as error:
            found.append((file, error))
    return found


def export(
    directory: Path,
    *,
    kinds: Container[int] | None = None,
    first_sequence: int = 0,
    last_sequence: int | None = None,
    from_ns: int = 0,
    to_ns: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield records as plain JSON: the header's fields, then head and rows decoded by their dtypes.

    Of audit, `kinds` are those of the rows. Frames, and bodies whose kind or version is not known here, come as base64
    in `body`. Ranges of sequences and of core times (ns UTC, `to_ns` excluded) may be combined. Raises DamagedError as
    `read` does.
    """
    start = max(first_sequence, _sequence_at(directory, from_ns))
    for record in read(directory, start, last_sequence, _with_audit(kinds)):
        if to_ns is not None and record.time_ns >= to_ns:
            return
        if record.time_ns < from_ns:
            continue
        document = as_json(record)
        if record.kind == Kind.AUDIT and kinds is not None and Kind.AUDIT not in kinds:
            document["rows"] = [row for row in document["rows"] if row["kind"] in kinds]
            if not document["rows"]:
                continue
        yield document


def _with_audit(kinds: Container[int] | None) -> Container[int] | None:
    """Return kinds of records that hold rows of these kinds."""
    if kinds is None or not any(kind in kinds for kind in AUDIT_KINDS):
        return kinds
    return {Kind.AUDIT, *(kind for kind in Kind if kind in kinds)}


def _read_through(file: SegmentFile, *, is_last: bool) -> int:
    """Check every record of a segment; return the sequence due after it."""
    with SegmentStream(file, kinds=frozenset()) as stream:
        for _ in stream:
            pass
        return check_end(stream, file, is_last=is_last)


def as_json(record: Record) -> dict[str, Any]:
    """Return one record as plain JSON."""
    document: dict[str, Any] = {
        "sequence": record.sequence,
        "time_ns": record.time_ns,
        "kind": _kind_name(record.kind),
        "version": record.version,
        "source": record.source,
        "connection": record.connection,
    }
    try:
        head, rows = head_and_rows(record)
    except (KeyError, ValueError):
        return {**document, "rows": record.rows, "body": base64.b64encode(record.body).decode()}
    return {**document, "head": _row(head), "rows": [_row(rows[index : index + 1]) for index in range(len(rows))]}


def _row(row: NDArray[np.void]) -> dict[str, Any]:
    if row.dtype == EMPTY:
        return {}
    return {name: _plain(row[name][0]) for name in row.dtype.names or ()}


def _plain(value: Any) -> Any:
    """A field of a row: digests as hexadecimal digits, keys as text, numbers as they are."""
    if isinstance(value, np.ndarray):
        return value.tobytes().hex() if value.dtype == np.uint8 else value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item()


def _kind_name(kind: int) -> str:
    try:
        return Kind(kind).name
    except ValueError:
        return str(kind)


def _segment(file: SegmentFile, summary: Summary) -> dict[str, Any]:
    path = file.path if file.path.exists() else file.sealed_path
    return {
        "file": path.name,
        "first_sequence": summary.first_sequence,
        "last_sequence": summary.last_sequence,
        "first_ns": summary.first_ns,
        "last_ns": summary.last_ns,
        "records": summary.records,
        "bytes": path.stat().st_size,
        "raw_bytes": summary.bytes,
        "sealed": path == file.sealed_path,
        "thinned": bool(summary.flags & SegmentFlag.THINNED),
        "repaired": bool(summary.flags & SegmentFlag.REPAIRED),
    }


def _sessions(directory: Path) -> list[dict[str, Any]]:
    return [
        {
            "day": session.day,
            "first_sequence": session.first_sequence,
            "last_sequence": session.last_sequence,
            "first_ns": session.first_ns,
            "last_ns": session.last_ns,
            "records": session.records,
            "raw_bytes": session.bytes,
        }
        for session in sessions(directory)
    ]


def _tail(file: SegmentFile) -> dict[str, Any] | None:
    """How the newest segment ends, if not with a whole record."""
    try:
        with SegmentStream(file, kinds=frozenset()) as stream:
            for _ in stream:
                pass
    except DamagedError as error:
        return {"file": file.path.name, "offset": 0, "reason": str(error)}
    if stream.ending is Ending.CLEAN:
        return None
    reason = stream.reason or "it ends within a record"
    return {"file": stream.path.name, "offset": stream.position, "reason": reason}


def _sequence_at(directory: Path, time_ns: int) -> int:
    """The first sequence of the segment that holds a time (0 for none before it)."""
    if time_ns <= 0:
        return 0
    start = 0
    for file in list_segments(directory):
        summary = summarise(file)
        if summary.records and summary.first_ns > time_ns:
            break
        start = file.first_sequence
    return start
