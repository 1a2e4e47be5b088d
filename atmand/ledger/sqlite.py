"""SQLite under the ledger: opening a file safely, telling busy from damaged, setting a damaged one aside.

The only module of the ledger that knows a particular database; another one gets a module like this.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, DBAPIError

from atmand.errors import AtmandError
from atmand.ledger.store import LedgerDamagedError, SqlStore, StoreBusyError

__all__ = ["open_ledger", "read_ledger", "set_aside", "translated"]

_BUSY_MS: Final = 1_000
_READER_MS: Final = 5_000
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REMEDY: Final = "the daemon sets it aside at its next start and builds it anew from the journal"


def open_ledger(path: Path, *, busy_ms: int = _BUSY_MS) -> SqlStore:
    """Open a ledger to write, making it where there is none; one thread uses it.

    Raises LedgerNewerError for a schema that a newer atmand wrote, LedgerDamagedError for a file that is no sound
    database, StoreBusyError where it is locked or the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreBusyError(str(path), error.strerror or "cannot be opened") from None
    store = SqlStore(_engine(path, busy_ms, writes=True), str(path), translated)
    try:
        with translated(str(path)), store.engine.connect() as connection:
            _check(path, connection.execute(text("PRAGMA quick_check(1)")).scalar())
        store.prepare()
    except BaseException:
        store.close()
        raise
    return store


def read_ledger(path: Path, *, busy_ms: int = _READER_MS) -> SqlStore:
    """Open a ledger for queries only, beside the daemon or without it; AtmandError where there is none."""
    if not path.is_file():
        raise AtmandError(str(path), "no ledger is there yet", "start the daemon, or name its state with --state DIR")
    store = SqlStore(_engine(path, busy_ms, writes=False), str(path), translated)
    try:
        store.check()
    except BaseException:
        store.close()
        raise
    return store


def set_aside(path: Path) -> Path:
    """Rename a damaged database and what belongs to it out of the way; return its new path."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(kept.with_name(kept.name + suffix))
    path.rename(kept)
    return kept


class translated:
    """Turns a driver's errors into the ledger's: damage, or a refusal that may pass."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if not isinstance(error, DBAPIError | sqlite3.Error):
            return
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE or (isinstance(error, DatabaseError) and code == 0 and "malformed" in str(cause)):
            raise LedgerDamagedError(self._where, str(cause), _REMEDY) from None
        raise StoreBusyError(self._where, str(cause)) from None


def _engine(path: Path, busy_ms: int, *, writes: bool) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_ms / 1_000})

    def connected(connection: sqlite3.Connection, _: Any) -> None:
        cursor = connection.cursor()
        try:
            if writes:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=NORMAL")
            else:
                cursor.execute("PRAGMA query_only=ON")
        finally:
            cursor.close()

    event.listen(engine, "connect", connected)
    return engine


def _check(path: Path, answer: Any) -> None:
    if answer != "ok":
        raise LedgerDamagedError(str(path), str(answer), _REMEDY)
