"""The API's server: opens the port, runs the producer of news, and closes both. The daemon starts and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable

from aiohttp import web

from atmand.api.app import make_app
from atmand.api.door import Submit
from atmand.api.guard import Guard
from atmand.api.settings import ApiSettings
from atmand.api.source import Source
from atmand.api.statics import Statics
from atmand.api.stream import Streams
from atmand.api.tokens import Tokens
from atmand.errors import AtmandError

__all__ = ["ApiError", "ApiServer"]


class ApiError(AtmandError):
    """The port cannot be opened."""


class ApiServer:
    """HTTP from `start` to `stop`. It answers from the first moment, the start included."""

    def __init__(
        self,
        settings: ApiSettings,
        source: Source,
        tokens: Tokens,
        submit: Submit,
        *,
        news_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._source = source
        self._guard = Guard(settings, tokens, clock)
        self._submit = submit
        self._news_every_s = news_every_s
        self._streams: Streams | None = None
        self._runner: web.AppRunner | None = None
        self._producer: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that was bound; the settings' before `start`."""
        addresses = self._runner.addresses if self._runner is not None else []
        return int(addresses[0][1]) if addresses else self._settings.port

    @property
    def url(self) -> str:
        """The page's address."""
        host = self._settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def streams(self) -> int:
        """How many pages listen."""
        return self._streams.clients if self._streams is not None else 0

    async def start(self) -> int:
        """Open the port and return it; ApiError where that is not possible."""
        self._streams = Streams(self._source, interval_s=self._news_every_s)
        statics = await asyncio.to_thread(Statics)
        app = make_app(self._source, self._streams, statics, self._guard, self._submit)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=2)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._settings.host, self._settings.port).start()
        except OSError as error:
            await self._runner.cleanup()
            self._runner = None
            raise _port_error(self._settings, error) from error
        self._producer = asyncio.create_task(self._streams.run(), name="api-news")
        return self.port

    async def stop(self) -> None:
        """End the streams, answer what is under way, close the port. Does nothing where there was no start."""
        if self._producer is not None:
            self._producer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._producer
        if self._streams is not None:
            self._streams.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._producer = self._runner = None


def _port_error(settings: ApiSettings, error: OSError) -> ApiError:
    remedy = "--port 0 takes a free one, [api] port another"
    if error.errno == errno.EADDRINUSE:
        return ApiError("api.port", f"port {settings.port} is in use", remedy)
    what = f"{settings.host} port {settings.port}: {error.strerror or error}"
    return ApiError("api.port", what, remedy)
