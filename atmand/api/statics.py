"""The page's files, served from memory: plain files of this package, and the script of the installed plotly.

Files stand under a digest of them all, so that a browser may keep them for ever and a new version is seen at once.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ETag, web

from atmand.api.answers import Refusal
from atmand.charts import PLOTLY, plotly_script

__all__ = ["Statics"]

_FOLDER: Final = Path(__file__).parent / "page"
_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class _File:
    """A file's bytes; plain ones that cost much memory are read again when a browser wants no gzip."""

    path: Path
    kind: str
    packed: bytes

    async def plain(self) -> bytes:
        return await asyncio.to_thread(self.path.read_bytes)


class Statics:
    """The page and what it loads. Made in a thread: it reads files."""

    def __init__(self) -> None:
        self._paths = {path.name: path for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
        self._paths[PLOTLY] = plotly_script()
        self._digest = _digest(self._paths)
        self._files: dict[str, _File] = {}
        self._packing = asyncio.Lock()
        index = self._paths.pop("index.html").read_text("utf-8")
        self._index = index.replace("{static}", f"/static/{self._digest}").encode()

    async def index(self, request: web.Request) -> web.Response:
        """Return the page; a browser asks each time whether it is still the same."""
        kept = ETag(self._digest)
        headers = {"Cache-Control": "no-cache"}
        if kept in (request.if_none_match or ()):
            return _unchanged(kept, headers)
        response = web.Response(body=self._index, content_type="text/html", charset="utf-8", headers=headers)
        response.etag = kept
        return response

    async def asset(self, request: web.Request, digest: str, name: str) -> web.Response:
        """Return a file of the page; 404 for one of another version."""
        if digest != self._digest or name not in self._paths:
            raise Refusal(404, request.path, "no such file of the page", "load the page again")
        kept = ETag(f"{digest}-{name}")
        headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
        if kept in (request.if_none_match or ()):
            return _unchanged(kept, headers)
        file = await self._file(name)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = file.packed, "gzip"
        else:
            body = await file.plain()
        response = web.Response(body=body, content_type=file.kind, charset="utf-8", headers=headers)
        response.etag = kept
        return response

    async def _file(self, name: str) -> _File:
        """Compress a file when it is first asked for, in a thread, and once."""
        async with self._packing:
            if name not in self._files:
                self._files[name] = await asyncio.to_thread(_pack, self._paths[name])
            return self._files[name]


def _pack(path: Path) -> _File:
    return _File(path, _TYPES[path.suffix], gzip.compress(path.read_bytes(), 6, mtime=0))


def _unchanged(kept: ETag, headers: dict[str, str]) -> web.Response:
    response = web.Response(status=304, headers=headers)
    response.etag = kept
    return response


def _digest(paths: dict[str, Path]) -> str:
    """Name this version of the files; the large script is known by its size and time."""
    digest = hashlib.sha256()
    for name, path in paths.items():
        stat = path.stat()
        content = f"{stat.st_size} {stat.st_mtime_ns}".encode() if name == PLOTLY else path.read_bytes()
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]
