"""The embedded exchange: a simulator in a child process, and the grants of market time that it hands out.

The daemon starts it where no broker is configured. Market time is granted, not extrapolated: the simulator goes on
when the daemon has applied what it sent, so a slow machine slows the market and loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import structlog
from pydantic import SecretStr

from atmand.clocks import GrantedClock
from atmand.errors import AtmandError, DamagedError, UnreachableError, UnsafeError, UsageError
from atmand.feed.kite_protocol import KiteFeedSettings
from atmand.settings import SimulatorSettings

__all__ = ["EmbeddedExchange", "Grant", "embedded_exchange"]

log = structlog.get_logger()

_START_S: Final = 60.0
_STOP_S: Final = 3.0
_REFUSALS: Final = {kind.exit_code: kind for kind in (UsageError, UnreachableError, UnsafeError, DamagedError)}


@dataclass(frozen=True, slots=True)
class Grant:
    """A step of market time: the frames that have been written to each local port, this step's included."""

    time_ns: int
    frames: Mapping[int, int]


def embedded_exchange(
    settings: SimulatorSettings, start_ns: int, sessions_file: Path | None = None
) -> EmbeddedExchange:
    """Make the exchange that the configuration describes, its market beginning at `start_ns`; its tokens are random."""
    return EmbeddedExchange(
        {
            "seed": settings.seed,
            "start": start_ns / 1e9,
            "speed": settings.speed,
            "bars": None if settings.bars is None else str(settings.bars),
            "sessions_file": None if sessions_file is None else str(sessions_file),
            "corporate_actions": [one.model_dump(mode="json") for one in settings.corporate_actions],
            "historical_per_second": settings.historical_per_second,
            "access_token": secrets.token_urlsafe(16),
            "control_token": secrets.token_urlsafe(16),
        }
    )


class EmbeddedExchange:
    """A simulator child and its control socket. `async with` starts and ends it."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._control: aiohttp.ClientWebSocketResponse | None = None
        self.anchor: dict[str, Any] = {}
        self.port = 0

    @property
    def feed_settings(self) -> KiteFeedSettings:
        """How a client reaches it: the broker's own protocol, on loopback."""
        return KiteFeedSettings(
            api_key=SecretStr("sim_api_key"),
            access_token_file=Path(os.devnull),
            ws_url=f"ws://127.0.0.1:{self.port}",
            rest_url=f"http://127.0.0.1:{self.port}",
            historical_per_s=self._settings["historical_per_second"],
            backoff_start_s=0.1,
            backoff_cap_s=1.0,
        )

    def access_token(self) -> str:
        return str(self._settings["access_token"])

    @property
    def clock_start_ns(self) -> int:
        return int(self.anchor["market_time_ns"])

    @property
    def bar_path(self) -> bool:
        """Whether its ticks are drawn out of bars."""
        return bool(self.anchor["bar_path"])

    async def __aenter__(self) -> EmbeddedExchange:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._control is not None:
            await self._control.close()
        if self._session is not None:
            await self._session.close()
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "atmand.sim", "--json-settings-on-stdin", "--parent-control",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(self._settings).encode() + b"\n")
        await self._process.stdin.drain()
        try:
            async with asyncio.timeout(_START_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        told = _told(line)
        if told is None:
            raise UnreachableError("embedded exchange", "did not start", "try `atmand sim`, which tells more")
        self.port = int(told["port"])
        self._session = aiohttp.ClientSession()
        self._control = await self._session.ws_connect(
            f"http://127.0.0.1:{self.port}/control",
            headers={"Authorization": f"Bearer {self._settings['control_token']}"},
            heartbeat=30.0,
        )
        self.anchor = await self._control.receive_json(timeout=_START_S)

    async def drive(
        self, clock: GrantedClock, apply: Callable[[Grant], Awaitable[None]], ended: Callable[[], None]
    ) -> None:
        """Take grants, apply each, and say so, until the market or the exchange ends."""
        control = self._control
        assert control is not None
        await control.send_str('{"type":"granted"}')
        async for message in control:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            told = json.loads(message.data)
            if told["type"] == "grant":
                grant = Grant(int(told["t"]), {int(port): int(count) for port, count in told["frames"].items()})
                clock.grant(grant.time_ns)
                await apply(grant)
                await control.send_str(f'{{"type":"applied","t":{grant.time_ns}}}')
            elif told["type"] == "end":
                log.info("market_ended", market_time_ns=int(told["t"]))
                ended()
                return
            elif told["type"] == "error":
                raise AtmandError("embedded exchange", str(told.get("data")), "report this with the journal")
        assert self._process is not None and self._process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                _told(await self._process.stdout.readline())
        raise UnreachableError("embedded exchange", "ended by itself", "start again; the market goes on where it was")

    async def command(self, **message: Any) -> None:
        """Send a control command, such as `type="cut", market_seconds=30`."""
        assert self._control is not None
        await self._control.send_json(message)


def _told(line: bytes) -> dict[str, Any] | None:
    """Read a line of the child's standard output; None where it ended without one. Its refusal is raised as ours."""
    if not line:
        return None
    told: dict[str, Any] = json.loads(line)
    if told["event"] == "sim_refused":
        raise _REFUSALS.get(told["exit_code"], AtmandError)(told["where"], told["what"], told["remedy"])
    return told
