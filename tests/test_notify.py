"""Words to the service manager, on real sockets: what is said, and that nothing is ever waited for or raised."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from atmand.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and its name as NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@atmand-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        heard.settimeout(5)
        yield heard, name


def said(heard: socket.socket) -> list[str]:
    return heard.recv(4096).decode().split("\n")


def test_a_life_is_told_in_order(manager: tuple[socket.socket, str]) -> None:
    heard, name = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": name})
    assert notifier.active
    notifier.status("compiling 2 strategies")
    notifier.extend_start(90)
    notifier.ready("trading on paper")
    notifier.watchdog()
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    notifier.reloading()
    after_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    notifier.ready("reload refused: limits.entries: not a boolean")
    notifier.stopping()
    assert said(heard) == ["STATUS=compiling 2 strategies"]
    assert said(heard) == ["EXTEND_TIMEOUT_USEC=90000000"]
    assert said(heard) == ["READY=1", "STATUS=trading on paper"]
    assert said(heard) == ["WATCHDOG=1"]
    reloading, stamped = said(heard)
    assert reloading == "RELOADING=1"
    assert before_us <= int(stamped.removeprefix("MONOTONIC_USEC=")) <= after_us
    assert said(heard) == ["READY=1", "STATUS=reload refused: limits.entries: not a boolean"]
    assert said(heard) == ["STOPPING=1"]


def test_a_status_of_many_lines_cannot_forge_another_assignment(manager: tuple[socket.socket, str]) -> None:
    heard, name = manager
    Notifier(name).status("refused\nMAINPID=1\r\nbecause")
    assert said(heard) == ["STATUS=refused MAINPID=1 because"]


def test_a_full_socket_loses_words_and_never_waits(manager: tuple[socket.socket, str]) -> None:
    heard, name = manager
    notifier = Notifier(name)
    for number in range(5_000):
        notifier.status(f"number {number}")
    heard.setblocking(False)
    received = 0
    with pytest.raises(BlockingIOError):
        while said(heard) == [f"STATUS=number {received}"]:
            received += 1
    assert 0 < received < 5_000
    notifier.watchdog()
    assert said(heard) == ["WATCHDOG=1"]


def test_a_manager_that_comes_back_is_heard_again(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    notifier = Notifier(str(path))
    notifier.ready("nobody is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(5)
        notifier.ready("now")
        assert said(heard) == ["READY=1", "STATUS=now"]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/none/at/all", "@" + "x" * 200, "/\0"])
def test_without_a_manager_every_call_is_silent(address: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready("x")
    notifier.reloading()
    notifier.status("\ud800")
    notifier.extend_start(1)
    notifier.watchdog()
    notifier.stopping()
    assert notifier.watchdog_interval_s is None


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": "1"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_pinged_twice_an_interval(environment: dict[str, str], interval_s: float | None) -> None:
    assert Notifier.from_environment(environment).watchdog_interval_s == interval_s
