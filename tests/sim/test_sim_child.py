"""The simulator as a child process: it starts lean, says where it listens, and never outlives its parent."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).resolve().parents[2]


async def _child(settings: object) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atmand.sim", "--json-settings-on-stdin", stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps(settings).encode() + b"\n")
    await child.stdin.drain()
    return child


async def test_a_child_announces_its_port_and_ends_when_its_parent_lets_go() -> None:
    child = await _child({"seed": 5, "control_token": "c"})
    assert child.stdin is not None
    assert child.stdout is not None
    async with asyncio.timeout(60):
        ready = json.loads(await child.stdout.readline())
        assert ready["event"] == "sim_ready"
        _, writer = await asyncio.open_connection("127.0.0.1", ready["port"])
        child.stdin.close()
        assert await child.wait() == 0
        writer.close()


async def test_a_terminated_child_ends_cleanly() -> None:
    child = await _child({})
    assert child.stdout is not None
    async with asyncio.timeout(60):
        await child.stdout.readline()
        child.terminate()
        assert await child.wait() == 0


@pytest.mark.parametrize("settings", [{"sped": 3}, [], {"start": "2026-07-06T09:15:00"}, {"bars": "/nowhere.parquet"}])
async def test_settings_that_are_wrong_are_refused_in_one_line(settings: object) -> None:
    child = await _child(settings)
    async with asyncio.timeout(60):
        out, err = await child.communicate()
    assert child.returncode == 3
    assert out == b""
    assert len(err.decode().strip().splitlines()) == 1


async def test_the_seeded_market_needs_no_heavy_import() -> None:
    code = (
        "import sys, datetime; from atmand.sim.child import run_child; from atmand.sim.generator import SeededMarket;"
        "SeededMarket(1).day(datetime.date(2026, 7, 6));"
        "print(sorted({'numba', 'polars', 'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, cwd=ROOT)
    out, _ = await child.communicate()
    assert out.decode().strip() == "[]"
