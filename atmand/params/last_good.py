"""The last document known to be good, and the ones that are not trusted any more.

A document is on trial for a minute after it was applied. A daemon that dies abnormally in that minute finds the trial
when it starts again, quarantines the document, and trades on the last good one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from atmand.clocks import monotonic_ns
from atmand.journal.files import replace_file
from atmand.params.document import Document, DocumentError, read_document

__all__ = ["LastGood"]

log = structlog.get_logger()

_TRIAL_NS: Final = 60 * 10**9
_MOST: Final = 100
"""Quarantined documents that are remembered."""


class LastGood:
    """The files `last_good.json`, `trial.json` and `quarantine.json` of a folder.

    A disk that refuses costs the memory of a trial, never the trading: it is logged.
    """

    def __init__(self, directory: Path) -> None:
        self._good = directory / "last_good.json"
        self._trial = directory / "trial.json"
        self._quarantine = directory / "quarantine.json"
        self._on_trial: Document | None = None
        self._since_ns = 0

    def examine(self) -> None:
        """Quarantine the document of a trial that a dead daemon left behind; called once, at the start."""
        found = _load(self._trial)
        sha = found.get("sha256")
        if isinstance(sha, str):
            reason = f"the daemon died within a minute of applying it ({found.get('time', 'time unknown')})"
            known = {**_load(self._quarantine), sha: {"seq": found.get("seq", 0), "reason": reason}}
            self._write(self._quarantine, dict(list(known.items())[-_MOST:]))
            log.warning("params_quarantined", seq=found.get("seq", 0), sha256=sha, reason=reason)
        self._remove_trial()

    def check(self, document: Document) -> None:
        """Raise DocumentError for a document that is in quarantine."""
        found = _load(self._quarantine).get(document.sha256)
        if found is not None:
            raise DocumentError(
                f"document {document.seq}", f"quarantined: {found.get('reason', '')}", "publish another one"
            )

    def document(self) -> Document | None:
        """Return the last document known to be good; None where there is none, or it cannot be read."""
        try:
            return read_document(self._good)
        except DocumentError as error:
            log.warning("params_last_good_damaged", error=str(error))
            return None

    def applied(self, document: Document) -> None:
        """Begin a document's trial; one that has passed is not tried again, however the daemon ends."""
        good = self.document()
        if good is not None and good.sha256 == document.sha256:
            return
        self._on_trial, self._since_ns = document, monotonic_ns()
        time = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(self._trial, {"seq": document.seq, "sha256": document.sha256, "time": time})

    def tick(self) -> None:
        """End the trial when its minute is over: the document is good."""
        if self._on_trial is not None and monotonic_ns() - self._since_ns >= _TRIAL_NS:
            self.passed()

    def passed(self) -> None:
        """End the trial well, as a clean stop does."""
        if self._on_trial is None:
            return
        document, self._on_trial = self._on_trial, None
        self._write(self._good, document.model_dump(mode="json", by_alias=True))
        self._remove_trial()

    def _remove_trial(self) -> None:
        try:
            self._trial.unlink(missing_ok=True)
        except OSError as error:
            log.warning("params_store_failed", path=str(self._trial), error=error.strerror or str(error))

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
        except OSError as error:
            log.warning("params_store_failed", path=str(path), error=error.strerror or str(error))


def _load(path: Path) -> dict[str, Any]:
    """Read a small file of ours; one that is missing or damaged says nothing."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
