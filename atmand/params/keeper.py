"""What the daemon holds of the parameter store: the values in force, and the way a new document gets there.

The daemon asks `start` once, `read` whenever `is_changed` says so or the strategies did, journals what it gets, and
says `applied`. Whatever is refused changes nothing, and its author reads why beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

import structlog

from atmand.errors import AtmandError
from atmand.lang.program import Deployment
from atmand.params.document import Document, DocumentError
from atmand.params.file_store import FileStore, Stamp
from atmand.params.last_good import LastGood
from atmand.params.resolve import Resolution, changes, resolve
from atmand.params.store import Ack

__all__ = ["Keeper", "Origin"]

log = structlog.get_logger()

Origin = Literal["current", "last_good", "defaults"]

_EMPTY: Final = Resolution(())


class Keeper:
    """The parameters of one daemon. Files are small and local: every call is short enough for a quiet moment."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._last_good = LastGood(store.directory)
        self._seen: Stamp = None
        self._in_force = _EMPTY
        self.origin: Origin = "defaults"
        self.refused: Ack | None = None
        """The newest document, where it was refused."""
        self.refusals = 0

    @property
    def in_force(self) -> Resolution:
        return self._in_force

    def start(self, deployments: Sequence[Deployment], limits: Mapping[str, int]) -> Resolution:
        """Choose what to start with: the current document, else the last good one, else files and configuration.

        Never fails for the store's sake. The configuration's own values are checked: AtmandError where they are wrong.
        """
        self._last_good.examine()
        defaults = resolve(None, deployments, limits)
        try:
            found = self.read(deployments, limits)
        except DocumentError:
            self.origin = "last_good"
            return self._fall_back(deployments, limits) or defaults
        self.origin = "defaults" if found.document is None else "current"
        return found

    def is_changed(self) -> bool:
        """Say whether the current document's file is another one than was read last; one system call."""
        return self._store.stamp() != self._seen

    def read(self, deployments: Sequence[Deployment], limits: Mapping[str, int]) -> Resolution:
        """Read the current document and hold it against the strategies.

        DocumentError where it is refused, which its author is told. A document that vanished is refused too.
        """
        self._seen = self._store.stamp()
        document: Document | None = None
        try:
            document = self._store.current()
            if document is None:
                if self._in_force.document is not None or self._last_good.document() is not None:
                    raise DocumentError(str(self._store.path), "is gone", "roll back, or publish another one")
                return resolve(None, deployments, limits)
            self._last_good.check(document)
            found = resolve(document, deployments, limits)
            if document.sha256 != self._in_force.sha256:
                found = replace(found, document=self._adopted(document))
        except DocumentError as error:
            self._refuse(document, error)
            raise
        self.refused = None
        return found

    def keep(self, deployments: Sequence[Deployment], limits: Mapping[str, int]) -> Resolution:
        """Hold the document that is in force against other strategies, as after a reload of the configuration."""
        return resolve(self._in_force.document, deployments, limits)

    def applied(self, resolution: Resolution, sequence: int, *, origin: Origin | None = None) -> None:
        """Take note that values are in force from a journal's record on: old and new are logged, the author is told."""
        before, self._in_force = self._in_force, resolution
        self.origin = origin or self.origin
        found = changes(before, resolution) if before is not _EMPTY else []
        for change in found:
            log.info(
                "parameter_changed", strategy=change.strategy, parameter=change.name, old=change.old, new=change.new
            )
        document = resolution.document
        if document is None or document.sha256 == before.sha256:
            return
        log.info(
            "params_applied",
            seq=document.seq,
            sha256=document.sha256,
            author=document.author or document.trial,
            changes=len(found),
            sequence=sequence,
        )
        if self.origin == "current":
            self._last_good.applied(document)
            self._acknowledge(Ack(document.seq, document.sha256, "applied", sequence=sequence))

    def tick(self) -> None:
        """End a trial whose minute is over."""
        self._last_good.tick()

    def stopped_cleanly(self) -> None:
        """A clean stop ends a trial well."""
        self._last_good.passed()

    def _adopted(self, document: Document) -> Document:
        adopted = self._store.adopt(document)
        self._seen = self._store.stamp()
        return adopted

    def _fall_back(self, deployments: Sequence[Deployment], limits: Mapping[str, int]) -> Resolution | None:
        document = self._last_good.document()
        if document is not None:
            try:
                self._last_good.check(document)
                return resolve(document, deployments, limits)
            except AtmandError as error:
                log.warning("params_last_good_refused", seq=document.seq, error=str(error))
        self.origin = "defaults"
        return None

    def _refuse(self, document: Document | None, error: DocumentError) -> None:
        seq = 0 if document is None else document.seq
        sha256 = None if document is None else document.sha256
        self.refusals += 1
        self.refused = Ack(seq, sha256, "refused", str(error))
        log.error("params_refused", seq=seq, sha256=sha256, reason=str(error))
        self._acknowledge(self.refused)

    def _acknowledge(self, ack: Ack) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._store.acknowledge(Ack(ack.seq, ack.sha256, ack.status, ack.reason, ack.sequence, time))
        except OSError as error:
            log.warning("params_store_failed", path=str(self._store.directory), error=error.strerror or str(error))
