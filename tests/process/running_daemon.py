"""Real daemons in processes of their own: how the process tests configure, start, watch and end them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
FAST = ("--speed", "86400")
"""As fast as the daemon applies what it is granted."""
UNIVERSE = ("NSE:RELIANCE", "NSE:TCS", "NSE:INFY", "NSE:HDFCBANK")
_PATIENCE_S = 120.0
"""How long an event may take: the first start of a program compiles it."""
_END_S = 20.0


class Daemon:
    """One `atmand` in a process of its own; its JSON lines are collected by a thread as they come."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._moved = threading.Condition()
        self._open = True
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "ATMAND_API__PORT": "0", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._errors: list[str] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        """What it wrote to standard error; whole once it has ended."""
        return "".join(self._errors)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def wait_for(self, event: str, *, after: int = 0, times: int = 1, **fields: Any) -> dict[str, Any]:
        """Return an event of a name and with some fields: the first, or another, from the one numbered `after` on."""
        deadline = time.monotonic() + _PATIENCE_S
        with self._moved:
            while True:
                found = [
                    told
                    for told in self.events[after:]
                    if told["event"] == event and all(told.get(name) == value for name, value in fields.items())
                ]
                if len(found) >= times:
                    return found[times - 1]
                if not self._open or not self._moved.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{event} {fields} did not come; last: {self.events[-3:]}, {self.errors}")

    def wait_until(self, clock: str) -> dict[str, Any]:
        """Return the first event of the market at or past a time of day, such as "10:30"."""
        deadline = time.monotonic() + _PATIENCE_S
        with self._moved:
            while True:
                for told in self.events:
                    if "market_time" in told and told["market_time"][11:16] >= clock:
                        return told
                if not self._open or not self._moved.wait(deadline - time.monotonic()):
                    raise AssertionError(f"the market did not reach {clock}; last: {self.events[-3:]}, {self.errors}")

    def count(self) -> int:
        """Return how many events have come: `after` for what is yet to come."""
        with self._moved:
            return len(self.events)

    def named(self, event: str) -> list[dict[str, Any]]:
        with self._moved:
            return [told for told in self.events if told["event"] == event]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, timeout_s: float = _PATIENCE_S) -> int:
        """Wait for the end and return the exit code; all that was written has been read then."""
        code = self.process.wait(timeout_s)
        for thread in self._threads:
            thread.join(_END_S)
        return code

    def stop(self) -> int:
        """Ask for a clean end and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> list[psutil.Process]:
        """End it as a crash would; return those of its children that outlived it."""
        children = self.children()
        self.process.kill()
        self.ended()
        return list(psutil.wait_procs(children, timeout=_END_S)[1])

    def close(self) -> None:
        """End whatever still runs; for fixtures."""
        if self.process.poll() is None:
            for orphan in self.kill():
                orphan.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line) if line.startswith("{") else {"event": "text", "text": line}
            with self._moved:
                self.events.append(told)
                self._moved.notify_all()
        with self._moved:
            self._open = False
            self._moved.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(self.process.stderr)


Start = Callable[..., Daemon]
"""The fixture `start`: words of `atmand run`, or a whole `command`; keywords are the environment's."""


def atmand(*words: object) -> list[str]:
    """Return the command line of one verb."""
    return [sys.executable, "-m", "atmand", *map(str, words)]


def verb(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end."""
    told = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(atmand(*words), cwd=ROOT, env=told, capture_output=True, text=True, timeout=_PATIENCE_S)


def write_strategy(folder: Path, name: str, universe: Iterable[str], **values: str) -> Path:
    """Write a copy of a strategy that ships with atmand: another universe, other words of [session] or [params].

    Rules stay, so that every test's program is the one that is compiled already.
    """
    text = (ROOT / "configs" / "strategies" / f"{name}.toml").read_text()
    listed = ", ".join(f'"{key}"' for key in universe)
    text = re.sub(r"universe = \[.*?\]", f"universe = [{listed}]", text, flags=re.DOTALL)
    for key, value in values.items():
        if key in ("entry_from", "entry_to", "square_off"):
            text, found = re.subn(rf'^{key} = "[0-9:]+"', f'{key} = "{value}"', text, flags=re.MULTILINE)
        else:
            text, found = re.subn(rf"^({key} = {{ default = )[0-9.]+", rf"\g<1>{value}", text, flags=re.MULTILINE)
        assert found == 1, key
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def write_configuration(
    folder: Path,
    strategies: Mapping[str, Path],
    tables: Mapping[str, Mapping[str, Any]],
    capital_rupees: int = 1_000_000,
    **params: Mapping[str, float],
) -> Path:
    """Write a configuration that runs strategies with that much each; `tables` are its other tables."""
    lines: list[str] = []
    for title, fields in {"instance": {"name": "test"}, "accounts.paper": {"venue": "paper"}, **tables}.items():
        lines += [f"[{title}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items()), ""]
    for name, file in strategies.items():
        values = ", ".join(f"{key} = {value}" for key, value in params.get(name, {}).items())
        lines += [
            f"[strategies.{name}]", f'file = "{file}"', 'account = "paper"', f"capital_rupees = {capital_rupees}",
            f"params = {{ {values} }}", "",
        ]  # fmt: skip
    path = folder / "atmand.toml"
    path.write_text("\n".join(lines))
    return path
