"""The thread that compresses closed segments behind a writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from atmand.errors import AtmandError
from atmand.journal.catalog import SegmentFile, load_summary, save_summary
from atmand.journal.seal import seal
from atmand.journal.stream import summarise

__all__ = ["Rotation", "Sealer"]

log = structlog.get_logger()

Rotation = Future[None]
"""Done when the segment that it ended is compressed, cancelled where that could not be done."""


class Sealer:
    """Compresses segments one after the other; one that fails stays readable and is tried again with the next."""

    def __init__(self, unsealed: Iterable[SegmentFile]) -> None:
        self._unsealed: deque[SegmentFile] = deque(unsealed)
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-seal")
        if self._unsealed:
            self._thread.submit(self._seal_all, None)

    def take(self, file: SegmentFile | None, rotation: Rotation | None) -> None:
        """Take a closed segment, if there is one, and a rotation that waits for all of them."""
        if file is not None:
            self._unsealed.append(file)
        self._thread.submit(self._seal_all, rotation)

    def stop(self) -> None:
        """Begin no other segment."""
        self._stopping = True

    def close(self) -> None:
        """Finish the segment that is being compressed; the others wait for the next opening."""
        self.stop()
        self._thread.shutdown()

    def _seal_all(self, rotation: Rotation | None) -> None:
        for _ in range(len(self._unsealed)):
            if self._stopping:
                break
            file = self._unsealed.popleft()
            try:
                if not file.compressed:
                    seal(file)
                elif load_summary(file) is None:
                    save_summary(file, summarise(file))
            except (OSError, AtmandError) as error:
                log.error("journal_seal_failed", path=str(file.path), reason=str(error))
                self._unsealed.append(file)
        if rotation is not None:
            if self._unsealed:
                rotation.cancel()
            else:
                rotation.set_result(None)
