"""Records a second through the fold: a journal written, read back, and folded again, as recovery and replay do.

Prints JSON lines; writes the section `fold` of docs/performance.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from _report import Report, count, interleaved, table

from atmand.start import prepare_compiler

prepare_compiler(None)

from _market import OPEN_NS, SECOND_NS, Tape, engine, journaled, program  # noqa: E402

from atmand.journal.reader import read  # noqa: E402

_FRAMES: Final = {1: 20_000, 100: 4_000, 1_000: 500}
_SEGMENT_BYTES: Final = 1 << 30
_MEMORY_BYTES: Final = 1 << 30
_SEAL_S: Final = 120
_RUNS: Final = 5
_DEFINITION: Final = """A session's records in one segment: a frame a second with a full packet of every instrument,
timers, and the audit rows that the fold put out. *Written* is the daemon's path in a hot loop (fold, append, checksum,
audit) until everything is synced to the disk, once; *read* yields every record after its checksum was compared, the
file being in memory; *folded* reads and applies it, in one Python loop; *compressed* folds the closed, zstd-compressed
segment. Records a second, medians; generated prices and depths are noisier than a market's, so the compression is a
pessimist's."""


def main() -> None:
    report = Report("fold", "Records through the fold")
    loaded = program()
    rows = []
    for n, frames in _FRAMES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_row(report, loaded, n, frames, Path(folder) / "journal"))
    head = ["instruments", "records", "MB", "written/s", "read/s", "folded/s", "compressed folded/s", "compressed to"]
    report.write(_DEFINITION, table(head, rows))


def _row(report: Report, loaded: Any, n: int, frames: int, journal: Path) -> list[str]:
    tape = Tape(n)
    bodies = [tape.frame(at_s) for at_s in range(1, frames + 1)]
    sealed = journal.with_name("sealed")
    written_s = _write(loaded, n, bodies, journal, seal=False)
    _write(loaded, n, bodies, sealed, seal=True)
    size, records = _size(journal), _count(journal)
    ratio = size / _size(sealed)
    spent = interleaved(
        {
            "read": lambda: _count(journal),
            "folded": lambda: _fold(loaded, journal),
            "compressed, folded": lambda: _fold(loaded, sealed),
        },
        _RUNS,
    )
    rates = {"written": records / written_s, **{who: records / spread.wall for who, spread in spent.items()}}
    for who, rate in rates.items():
        report.figure(who, f"{n} instruments", rate, "records/s", records=records, bytes=size)
    return [f"{n:,}", f"{records:,}", f"{size / 1e6:.0f}", *(count(rate) for rate in rates.values()), f"1/{ratio:.1f}"]


def _write(loaded: Any, n: int, bodies: list[bytes], journal: Path, *, seal: bool) -> float:
    """Trade the frames into a new journal; return the seconds until all of it was synced."""
    with journaled(loaded, n, journal, segment_bytes=_SEGMENT_BYTES, memory_bytes=_MEMORY_BYTES) as session:
        began = time.perf_counter()
        for at_s, body in enumerate(bodies, 1):
            time_ns = OPEN_NS + at_s * SECOND_NS + SECOND_NS // 5
            session.advance(time_ns)
            session.frame(body, time_ns)
        if seal:
            session.writer.rotate().result(_SEAL_S)
        session.writer.close()
        return time.perf_counter() - began


def _count(journal: Path) -> int:
    return sum(1 for _ in read(journal))


def _fold(loaded: Any, journal: Path) -> int:
    fold = engine(loaded)
    for record in read(journal):
        fold.apply(record)
    return fold.sequence


def _size(journal: Path) -> int:
    return sum(path.stat().st_size for path in journal.iterdir() if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
