"""Which format a file of past prices has, recognised by its content, and the reader of each."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from atmand.errors import UsageError
from atmand.history.bar_files import Hints, read_bars_csv, read_bars_parquet, read_kite
from atmand.history.bars import HistoryError
from atmand.history.bhavcopy import read_cm_bhavcopy, read_fo_bhavcopy, read_sec_bhavdata, read_udiff
from atmand.history.rows import Parsed
from atmand.history.store import digest_of
from atmand.history.tables import content_of, head_of

__all__ = ["FORMATS", "Loaded", "format_of", "load_file"]

FORMATS: Final = {
    "bars": "a CSV or Parquet file of bars",
    "kite": "an answer of Kite's history call (JSON)",
    "udiff": "a UDiFF bhavcopy, of shares or derivatives",
    "cm": "a legacy bhavcopy of shares",
    "fo": "a legacy bhavcopy of derivatives",
    "sec": "NSE's sec_bhavdata_full",
}
"""What can be imported."""

_HEADS: Final = (
    ("udiff", {"TckrSymb", "FinInstrmTp"}),
    ("sec", {"TTL_TRD_QNTY", "DATE1"}),
    ("fo", {"EXPIRY_DT", "STRIKE_PR", "CONTRACTS"}),
    ("cm", {"TOTTRDQTY", "SERIES"}),
)
_PARQUET: Final = b"PAR1"


class Loaded(NamedTuple):
    """One file, read."""

    format: str
    sha256: str
    parsed: Parsed


def load_file(source: Path, format: str | None = None, hints: Hints | None = None) -> Loaded:
    """Read a file of any format; HistoryError where it has none of them, or cannot be read at all."""
    if format is not None and format not in FORMATS:
        raise UsageError(f"--format {format}", "unknown", f"use one of {', '.join(FORMATS)}")
    content = content_of(source)
    chosen = format or format_of(source, content)
    return Loaded(chosen, digest_of(content), _parsed(chosen, source, content, hints or Hints()))


def format_of(source: Path, content: bytes) -> str:
    """Return the format that a content has."""
    if content.startswith(_PARQUET):
        return "bars"
    if content[:64].lstrip()[:1] in (b"{", b"["):
        return "kite"
    head = set(head_of(content))
    for name, columns in _HEADS:
        if columns <= head:
            return name
    if {"open", "high", "low", "close"} <= {name.lower() for name in head}:
        return "bars"
    kinds = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    raise HistoryError(str(source), "holds nothing that can be imported", f"known are {kinds}")


def _parsed(format: str, source: Path, content: bytes, hints: Hints) -> Parsed:
    match format:
        case "kite":
            return read_kite(source, content, hints)
        case "udiff":
            return read_udiff(source, content)
        case "cm":
            return read_cm_bhavcopy(source, content)
        case "fo":
            return read_fo_bhavcopy(source, content)
        case "sec":
            return read_sec_bhavdata(source, content)
    return (
        read_bars_parquet(source, content, hints)
        if content.startswith(_PARQUET)
        else read_bars_csv(source, content, hints)
    )
