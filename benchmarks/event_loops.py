"""Wire to decision: asyncio beside uvloop under our own feed, and the prototype under the same client.

Prints JSON lines; writes the section `loops` of docs/performance.md. With LOOP and PORT it is one turn of one loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from _report import Report, Target, count, micros, percentiles, table

from atmand.start import prepare_compiler

prepare_compiler(None)

_LOOPS: Final = ("asyncio", "uvloop", "prototype")
_ROUNDS: Final = 3
_LOADS: Final = {"100 at 500/s": (100, 4_000, 2_000), "1,000 at 50/s": (1_000, 500, 20_000)}
_FLOODS: Final = {"100, flood": (100, 3_000, 0), "1,000, flood": (1_000, 500, 0)}
_LEFT_OUT: Final = 10
"""One in so many of a run's first frames warms up and is not counted."""
_MEMORY_BYTES: Final = 1 << 30
_SHARED_MEMORY: Final = Path("/dev/shm")
_DEFINITION: Final = """From the server's `send` (another process, CLOCK_MONOTONIC written into the frame) to the
moment at which our handler has it decided: `KiteFeed` on aiohttp, sequencer, journal (on a memory file system), decode
and fold. Market time moves by a second a frame, so bars close and orders are made on the way. All frames of both turns
of each loop together, microseconds. *Flood* is the same without a pause: frames a second, and the client's processor
time a frame, the journal's thread included. uvloop is what the daemon runs on. *Prototype* is the hand-written kernel
called in the same client's loop over messages, on uvloop: no feed, no journal, no order."""
_AIM: Final = 1.5


def main() -> None:
    report = Report("loops", "Wire to decision, asyncio beside uvloop")
    here = Path(__file__).resolve().parent
    server = subprocess.Popen([sys.executable, here / "_ticker.py"], stdout=subprocess.PIPE, text=True)
    turns: dict[str, list[dict[str, Any]]] = {loop: [] for loop in _LOOPS}
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        for _ in range(_ROUNDS):
            for loop in _LOOPS:
                done = subprocess.run(
                    [sys.executable, __file__, loop, port], check=True, stdout=subprocess.PIPE, text=True
                )
                turns[loop].append(json.loads(done.stdout))
    finally:
        server.terminate()
        server.wait(10)
    paced, floods = [], []
    medians: dict[str, float] = {}
    for load in _LOADS:
        for loop in _LOOPS:
            latency = np.concatenate([turn[load]["latency_ns"] for turn in turns[loop]])
            p50, p99, p999 = percentiles(latency, 50, 99, 99.9)
            own = float(np.median([turn[load]["cpu_us"] for turn in turns[loop]]))
            report.figure(loop, load, p50, "us", p99=p99, p999=p999, cpu_us=own, samples=len(latency))
            medians.setdefault(loop, p50)  # of the first load
            paced.append([load, loop, micros(p50), micros(p99), micros(p999), micros(own)])
    for load in _FLOODS:
        for loop in _LOOPS:
            own = float(np.median([turn[load]["cpu_us"] for turn in turns[loop]]))
            rate = float(np.median([turn[load]["rate"] for turn in turns[loop]]))
            report.figure(loop, load, rate, "frames/s", cpu_us=own)
            floods.append([load, loop, count(rate), micros(own)])
    report.write(
        _DEFINITION,
        table(["instruments, frames", "loop", "p50", "p99", "p99.9", "processor µs a frame"], paced),
        table(["instruments", "loop", "frames/s", "processor µs a frame"], floods),
        targets=[_target(medians)],
    )


def _target(medians: dict[str, float]) -> Target:
    ratio = medians["uvloop"] / medians["prototype"]
    return Target(
        "wire to decision, 100 instruments a frame, 500 frames/s", "none in this run",
        f"p50 {medians['prototype']:.0f} µs", f"p50 {medians['uvloop']:.0f} µs, {ratio:.2f} times the prototype",
        f"{_AIM} times the prototype", ratio <= _AIM,
    )  # fmt: skip


def turn(loop: str, port: int) -> None:
    """Run every load on one loop and print the results as JSON."""
    import uvloop
    from _market import program

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    factory = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop
    loaded = None if loop == "prototype" else program()
    results = {}
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_turn(loaded, port, 100, 50, 1_000))  # imports and first calls stay out of the figures
        for load, (n, frames, pause_us) in (_LOADS | _FLOODS).items():
            results[load] = runner.run(_turn(loaded, port, n, frames, pause_us))
    print(json.dumps(results))


async def _turn(loaded: Any, port: int, n: int, frames: int, pause_us: int) -> dict[str, Any]:
    receive = _receive_bare if loaded is None else _receive
    return await receive(loaded, port, n, frames, pause_us)


async def _receive_bare(_: None, port: int, n: int, frames: int, pause_us: int) -> dict[str, Any]:
    """Receive for the prototype."""
    import aiohttp
    from _market import tokens
    from core._prototype import Prototype

    decide, latency = Prototype(tokens(n)), []
    gc.collect()
    gc.freeze()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{port}/{n}/{frames}/{pause_us}", max_msg_size=0, compress=0) as socket,
    ):
        await socket.send_str("subscribe")
        wall = cpu = 0.0
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                continue
            if not latency:
                wall, cpu = time.perf_counter(), time.process_time()
            decide(message.data)
            latency.append(time.monotonic_ns() - struct.unpack_from("<q", message.data, len(message.data) - 8)[0])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"latency_ns": latency[frames // _LEFT_OUT : frames], "cpu_us": cpu / frames * 1e6, "rate": frames / wall}


async def _receive(loaded: Any, port: int, n: int, frames: int, pause_us: int) -> dict[str, Any]:
    from _market import OPEN_NS, SECOND_NS, journaled, tokens
    from pydantic import SecretStr

    from atmand.clocks import GrantedClock
    from atmand.feed.kite import KiteFeed, KiteFeedSettings
    from atmand.feed.protocol import Frame

    settings = KiteFeedSettings(
        api_key=SecretStr("key"),
        access_token_file=Path(os.devnull),
        ws_url=f"ws://127.0.0.1:{port}/{n}/{frames}/{pause_us}",
        connections=1,
    )
    clock, done, latency = GrantedClock(OPEN_NS), asyncio.Event(), []
    began: list[float] = []
    parent = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=parent) as folder,
        journaled(loaded, n, Path(folder) / "journal", memory_bytes=_MEMORY_BYTES) as session,
    ):

        def on_frame(frame: Frame) -> None:
            if not began:
                began.extend((time.perf_counter(), time.process_time()))
            clock.grant(clock.now_ns() + SECOND_NS)
            session.sequencer.frame(frame.payload, clock.now_ns(), source=frame.source, connection=frame.connection)
            latency.append(time.monotonic_ns() - struct.unpack_from("<q", frame.payload, len(frame.payload) - 8)[0])
            if len(latency) == frames:
                done.set()

        feed = KiteFeed(
            settings, lambda: "token", tokens(n).tolist(), clock, on_frame, lambda notice: None, lambda time_ns: False
        )
        gc.collect()
        gc.freeze()
        running = asyncio.create_task(feed.run())
        async with asyncio.timeout(120):
            await done.wait()
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        running.cancel()
        await asyncio.wait([running])
        assert int(session.engine.header["ticks"]) == n * len(latency)  # the feed may have come back for more
    return {"latency_ns": latency[frames // _LEFT_OUT : frames], "cpu_us": cpu / frames * 1e6, "rate": frames / wall}


if __name__ == "__main__":
    sys.exit(turn(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 1 else main())
