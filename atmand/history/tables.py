"""A file's table as text columns, every row with its line, and the lines that do not have as many fields as the head.

Zip archives of one member and gzip are opened on the way: the exchanges publish their daily files so.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atmand.history.bars import HistoryError
from atmand.history.rows import BadRow

__all__ = ["content_of", "head_of", "text_table"]

_REMEDY = "write the file again"


def content_of(source: Path) -> bytes:
    """Return a file's content, unpacked where it is packed."""
    try:
        content = source.read_bytes()
        if content.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
                if len(names) != 1:
                    raise HistoryError(
                        str(source), f"{len(names)} files in the archive", "unpack it and give the files"
                    )
                return archive.read(names[0])
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
    except FileNotFoundError:
        raise HistoryError(str(source), "no such file", "give the path of a file of bars") from None
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError) as error:  # the last: encrypted
        raise HistoryError(str(source), f"cannot be read: {error}", _REMEDY) from None
    return content


def head_of(content: bytes) -> tuple[str, ...]:
    """Return the names in a table's first line."""
    line = content.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return tuple(name.strip().strip('"') for name in line.decode("utf-8", "replace").split(","))


def text_table(source: Path, content: bytes) -> tuple[pl.DataFrame, list[BadRow]]:
    """Return a comma-separated table: text columns and `line`, the row's line in the file (the head is line 1)."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b'"' in content:
        return _quoted(source, content)
    fields, blank = _fields_per_line(content)
    good = (fields == fields[0]) & ~blank
    bad = [
        BadRow(str(source), int(at) + 1, f"{fields[at]} fields where the head has {fields[0]}")
        for at in np.flatnonzero(~good & ~blank)
    ]
    if not good.all():
        lines = content.split(b"\n")
        content = b"\n".join(lines[at] for at in np.flatnonzero(good))
    try:
        frame = pl.read_csv(content, infer_schema=False, quote_char=None)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise HistoryError(str(source), f"cannot be read: {str(error).splitlines()[0]}", _REMEDY) from None
    names = [name.strip() for name in frame.columns]
    _distinct(source, names)
    frame.columns = names
    return frame.with_columns(line=pl.Series(np.flatnonzero(good)[1:] + 1)), bad


def _fields_per_line(content: bytes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count the fields of every line, and say which lines hold nothing."""
    raw = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(raw == 10)
    if not len(ends) or ends[-1] != len(raw) - 1:
        ends = np.append(ends, len(raw))
    commas = np.searchsorted(np.flatnonzero(raw == 44), ends)
    starts = np.concatenate([[0], ends[:-1] + 1])
    blank = (ends - starts == 0) | ((ends - starts == 1) & (raw[np.minimum(starts, len(raw) - 1)] == 13))
    return np.diff(commas, prepend=0) + 1, blank


def _quoted(source: Path, content: bytes) -> tuple[pl.DataFrame, list[BadRow]]:
    """Read a table with quotes: a quoted field may hold commas and ends of lines."""
    reader = csv.reader(io.StringIO(content.decode("utf-8", "replace")))
    rows: list[list[str]] = []
    lines: list[int] = []
    bad: list[BadRow] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        _distinct(source, names)
        before = reader.line_num
        for row in reader:
            if row and len(row) != len(names):
                bad.append(BadRow(str(source), before + 1, f"{len(row)} fields where the head has {len(names)}"))
            elif row:
                rows.append(row)
                lines.append(before + 1)
            before = reader.line_num
    except csv.Error as error:
        raise HistoryError(f"{source}: line {reader.line_num}", str(error), _REMEDY) from None
    frame = pl.DataFrame(rows, schema={name: pl.String for name in names}, orient="row")
    return frame.with_columns(line=pl.Series(lines, dtype=pl.Int64)), bad


def _distinct(source: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1 or name == "line"})
    if twice:
        raise HistoryError(str(source), f"its columns {', '.join(twice)} cannot be told apart", "rename them")
