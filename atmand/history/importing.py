"""`atmand data import`: files and folders of any known format into the store, some hundred thousand rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from atmand.errors import AtmandError
from atmand.history.actions import ACTIONS, parse_actions
from atmand.history.bar_files import Hints
from atmand.history.bars import HistoryError
from atmand.history.formats import load_file
from atmand.history.rows import BadRow
from atmand.history.store import Merged, Store, replace_file
from atmand.history.tables import content_of

__all__ = ["Imported", "import_files"]

_ENDINGS: Final = (".csv", ".parquet", ".pq", ".json", ".zip", ".gz", ".toml")
_ROWS_AT_ONCE: Final = 750_000
_SHOWN: Final = 1_000
"""Bad rows that are listed; all are counted."""


@dataclass
class Imported:
    """What an import came to."""

    files: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Files of a folder that hold nothing known, with the reason."""
    merged: Merged = field(default_factory=Merged)
    bad: list[BadRow] = field(default_factory=list)
    bad_rows: int = 0
    untraded: int = 0
    actions: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "files": self.files,
            "skipped": self.skipped,
            **asdict(self.merged),
            "bad_rows": self.bad_rows,
            "bad": [row._asdict() for row in self.bad],
            "untraded": self.untraded,
            "actions": self.actions,
        }


def import_files(
    store: Store,
    paths: Sequence[Path],
    *,
    format: str | None = None,
    hints: Hints | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Imported:
    """Import files, and what is in folders; `progress` hears (files done, all).

    What cannot be read at all is refused where it was named and skipped in a folder. Rows that cannot be true are left
    out and listed. An interruption leaves every file of the store whole; the same import again completes it.
    """
    found = list(_files(paths))
    if not found:
        raise HistoryError(", ".join(map(str, paths)), "no file there that could be imported", "name files of bars")
    result = Imported()
    waiting: dict[int, list[pl.DataFrame]] = {}
    held = 0
    for number, (path, named) in enumerate(found, 1):
        try:
            held += _take(store, path, format, hints, result, waiting)
        except AtmandError as error:
            if named:
                _flush(store, waiting, result)
                raise
            result.skipped.append(str(error))
        if held >= _ROWS_AT_ONCE or number == len(found):
            _flush(store, waiting, result)
            held = 0
        progress(number, len(found))
    return result


def _take(
    store: Store,
    path: Path,
    format: str | None,
    hints: Hints | None,
    result: Imported,
    waiting: dict[int, list[pl.DataFrame]],
) -> int:
    """Read one file; return how many rows of it wait to be merged."""
    if path.suffix == ".toml":
        content = content_of(path)
        result.actions = len(parse_actions(content.decode("utf-8", "replace"), str(path)))
        with store.locked():
            replace_file(store.directory / ACTIONS, content)
        return 0
    loaded = load_file(path, format, hints)
    parsed = loaded.parsed
    origin = store.source(name=str(path.absolute()), kind=loaded.format, sha256=loaded.sha256, rows=parsed.frame.height)
    waiting.setdefault(parsed.bar_ns, []).append(parsed.frame.with_columns(origin=pl.lit(origin)).drop("line"))
    result.bad_rows += len(parsed.bad)
    result.bad += parsed.bad[: max(0, _SHOWN - len(result.bad))]
    result.untraded += parsed.untraded
    entry = {"file": str(path), "format": loaded.format, "rows": parsed.frame.height, "bad_rows": len(parsed.bad)}
    result.files.append(entry)
    return parsed.frame.height


def _flush(store: Store, waiting: dict[int, list[pl.DataFrame]], result: Imported) -> None:
    for bar_ns, frames in waiting.items():
        result.merged += store.merge(pl.concat(frames), bar_ns)
    waiting.clear()


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield the files that paths mean, and whether each was named itself."""
    for path in paths:
        if not path.is_dir():
            yield path, True
            continue
        for each in sorted(path.rglob("*")):
            if each.is_file() and each.suffix.lower() in _ENDINGS and not each.name.startswith("."):
                yield each, False
