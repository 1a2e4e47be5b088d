"""A running exchange and its clients, for the simulator's tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from atmand.sim.server import serve
from atmand.sim.settings import SimSettings

INFY, INFY_BSE, NIFTY = 408065, 128053508, 256265


class Running:
    """A simulator on a free port of this machine, and how to talk to it."""

    def __init__(self, settings: SimSettings, port: int, http: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.port = port
        self.http = http
        self.url = f"http://127.0.0.1:{port}"

    def data(self, autoping: bool = True, **query: str) -> Any:
        token = self.settings.access_token.get_secret_value()
        return self.http.ws_connect(
            f"{self.url}/ws",
            params={"api_key": self.settings.api_key, "access_token": token} | query,
            autoping=autoping,
        )

    def control(self, token: str | None = None) -> Any:
        token = self.settings.control_token.get_secret_value() if token is None else token
        return self.http.ws_connect(f"{self.url}/control", headers={"Authorization": f"Bearer {token}"})

    async def get(self, path: str, **query: Any) -> tuple[int, Any]:
        token = f"token {self.settings.api_key}:{self.settings.access_token.get_secret_value()}"
        async with self.http.get(self.url + path, params=query, headers={"Authorization": token}) as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def running(**fields: Any) -> AsyncIterator[Running]:
    settings = SimSettings(**fields)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings, port.set_result))
    await asyncio.wait({port, task}, return_when=asyncio.FIRST_COMPLETED)
    if not port.done():
        await task
    try:
        async with aiohttp.ClientSession() as http:
            yield Running(settings, port.result(), http)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def receive(socket: Any, kind: str) -> dict[str, Any]:
    """Return the next text message of a type."""
    async with asyncio.timeout(20):
        while True:
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            if message.type == aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == kind:
                return json.loads(message.data)


async def receive_frame(socket: Any) -> bytes:
    """Return the next data frame."""
    async with asyncio.timeout(20):
        while True:
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            if message.type == aiohttp.WSMsgType.BINARY and len(message.data) > 1:
                return message.data


def packets(data: bytes) -> list[bytes]:
    """Split a frame into its packets' bodies (kite.trade/docs, Message structure)."""
    found, at = [], 2
    for _ in range(int.from_bytes(data[:2], "big")):
        length = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    assert at == len(data)
    return found


def number(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 4], "big")
