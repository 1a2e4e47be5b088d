"""What the journal's tests share: how a journal is filled, and how a day of one looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from atmand.core.records import SESSION_HEAD, Kind, Record, body_of
from atmand.journal import JournalSettings, JournalWriter

Fill = Callable[..., list[Record]]

SMALL = JournalSettings(flush_ms=1, sync_ms=5, segment_bytes=4_096)


@pytest.fixture
def small() -> JournalSettings:
    """Settings under which segments are a few records long and nothing waits."""
    return SMALL


@pytest.fixture
def fill() -> Fill:
    """Write records (their own sequences are ignored) and return them as they must be read back."""

    def fill(directory: Path, records: Iterable[Record], settings: JournalSettings = SMALL) -> list[Record]:
        with JournalWriter(directory, settings) as writer:
            written = []
            for record in records:
                sequence = writer.append(
                    record.kind,
                    record.time_ns,
                    record.body,
                    record.rows,
                    version=record.version,
                    source=record.source,
                    connection=record.connection,
                )
                written.append(record._replace(sequence=sequence))
            return written

    return fill


@pytest.fixture
def day() -> Callable[[int, int], list[Record]]:
    """One session's records: SESSION, then frames with a command after every tenth."""

    def day(date: int, frames: int) -> list[Record]:
        head = np.zeros(1, SESSION_HEAD)
        head["date"] = date
        start = date * 1_000_000
        records = [Record(Kind.SESSION, 0, start, body_of(Kind.SESSION, head))]
        for index in range(frames):
            time_ns = start + 10 * index + 1
            records.append(Record(Kind.FRAME, 0, time_ns, bytes([index % 251]) * 90, source=1, connection=index % 3))
            if index % 10 == 9:
                records.append(Record(Kind.COMMAND, 0, time_ns + 1, body_of(Kind.COMMAND)))
        return records

    return day
