"""Large bodies of records as files named by their sha256: programs, documents, dumps, models."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from atmand.errors import DamagedError
from atmand.journal.files import replace_file, sync_directory
from atmand.journal.segment import JournalError

__all__ = ["Sidecars"]

_SHA: Final = re.compile(r"[0-9a-f]{64}")


class Sidecars:
    """The `sidecars` folder of a journal's directory. Files in it never change."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / "sidecars"

    def put(self, data: bytes) -> bytes:
        """Store bytes durably and return their sha256 (32 bytes, as a record's head holds it).

        Storing the same bytes again writes nothing, unless the file there is damaged. Raises OSError where the disk
        refuses.
        """
        sha = hashlib.sha256(data).digest()
        path = self.path(sha)
        if not path.is_file() or path.read_bytes() != data:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
                sync_directory(self._folder.parent)
            replace_file(path, data)
        return sha

    def get(self, sha: bytes | str) -> bytes:
        """Return the bytes of a sha256; DamagedError where they are missing or are others than were stored."""
        path = self.path(sha)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise DamagedError(str(path), "missing", "restore it from a backup") from None
        if hashlib.sha256(data).hexdigest() != path.name:
            raise DamagedError(str(path), "its content does not have this sha256", "restore it from a backup")
        return data

    def path(self, sha: bytes | str) -> Path:
        """Return where the bytes of a sha256 (32 bytes or 64 hexadecimal digits) lie or would lie."""
        name = sha if isinstance(sha, str) else sha.hex()
        if not _SHA.fullmatch(name):
            raise JournalError(str(self._folder), f"{name!r} is not a sha256")
        return self._folder / name

    def __contains__(self, sha: bytes | str) -> bool:
        return self.path(sha).is_file()
