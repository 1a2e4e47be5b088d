"""The simulated past: what a journal says of the sessions that were run through the batch driver before its first one.

Their AUDIT records stand in the journal with `Source.PAST` and negative causes. Who they are of is one document: a
sidecar, named by `past.json` in the journal's directory. Whoever makes the past calls `save` before the records are
appended; catching up and `atmand why` call `load`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from atmand.core.manifest import Manifest
from atmand.errors import DamagedError
from atmand.journal.files import replace_file
from atmand.journal.sidecars import Sidecars
from atmand.ledger.fold import Opening

__all__ = ["Past", "PastDay", "load_past", "save_past"]

_FILE: Final = "past.json"
_SCHEMA: Final = 1


class PastDay(NamedTuple):
    """One simulated session: its rows are those whose cause is at or past `first_cause`, up to the next day's."""

    day: int
    """yyyymmdd, India."""
    close_ns: int
    """When its last window closed."""
    first_cause: int


@dataclass(frozen=True)
class Past:
    """The sessions of a simulated past. Causes are negative and rise from day to day: they precede all live ones.

    A batch driver that numbered its records 1 to n gives cause = number - n - 1.
    """

    manifest: Manifest
    keys: tuple[str, ...]
    days: tuple[PastDay, ...]

    def to_json(self) -> bytes:
        document = {"schema": _SCHEMA, "manifest": orjson.Fragment(self.manifest.to_json()), "keys": self.keys}
        return orjson.dumps(document | {"days": [day._asdict() for day in self.days]}, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes) -> Past:
        document: dict[str, Any] = orjson.loads(text)
        if document.get("schema") != _SCHEMA:
            raise DamagedError(_FILE, f"schema {document.get('schema')!r}", f"this atmand reads schema {_SCHEMA}")
        manifest = Manifest.from_json(orjson.dumps(document["manifest"]))
        return cls(manifest, tuple(document["keys"]), tuple(PastDay(**day) for day in document["days"]))

    def opening(self, index: int) -> Opening:
        """Return the opening of one of the days; the books go on from day to day."""
        day = self.days[index]
        return Opening(self.manifest, self.keys, day.day, day.close_ns, past=True)

    def parts(self, rows: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Cut audit rows into days: yield the day's index and its rows."""
        firsts = [day.first_cause for day in self.days]
        places = np.searchsorted(firsts, rows["cause"], side="right") - 1
        for index in np.unique(places):
            yield max(0, int(index)), rows[places == index]


def save_past(journal: Path, past: Past) -> None:
    """Keep the description of a past, durably, before its records are appended."""
    sha = Sidecars(journal).put(past.to_json())
    replace_file(journal / _FILE, orjson.dumps({"sha256": sha.hex()}))


def load_past(journal: Path) -> Past | None:
    """Return the past of a journal; None where it has none. DamagedError where it cannot be read."""
    path = journal / _FILE
    try:
        named = orjson.loads(path.read_bytes())["sha256"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise DamagedError(str(path), "does not name a sidecar", "restore it from a backup") from None
    return Past.from_json(Sidecars(journal).get(named))
