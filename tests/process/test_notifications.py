"""A real daemon's word to its service manager, on a real NOTIFY_SOCKET: start, reloads, refusals, watchdog, end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_daemon import Start

pytestmark = pytest.mark.process

_PATIENCE_S = 120


class Manager:
    """The service manager's end of the socket; messages come in order, one datagram each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[dict[str, str]] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(_PATIENCE_S)

    def wait_for(self, key: str) -> dict[str, str]:
        """Return the next message that says something."""
        while True:
            lines = self.socket.recv(8192).decode().split("\n")
            self.heard.append(dict(line.split("=", 1) for line in lines))
            if key in self.heard[-1]:
                return self.heard[-1]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


def test_a_daemons_life_is_told_to_its_service_manager(
    start: Start, configuration: Path, tmp_path: Path, manager: Manager
) -> None:
    daemon = start(
        "--config", configuration, "--state", tmp_path / "state", "--speed", "10",
        NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="1000000",
    )  # fmt: skip
    assert manager.wait_for("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"].isdigit()
    assert manager.wait_for("READY")["STATUS"]
    assert not any("RELOADING" in message for message in manager.heard)
    daemon.wait_for("ready")
    for _ in range(3):
        assert manager.wait_for("WATCHDOG") == {"WATCHDOG": "1"}

    daemon.wait_for("feed_subscribed")
    daemon.signal(signal.SIGHUP)
    assert manager.wait_for("RELOADING").keys() == {"RELOADING", "MONOTONIC_USEC"}
    good = manager.wait_for("READY")["STATUS"]
    text = configuration.read_text()
    configuration.write_text(text + "\n[limitz]\n")
    daemon.signal(signal.SIGHUP)
    manager.wait_for("RELOADING")
    refused = manager.wait_for("READY")["STATUS"]
    assert "refused" in refused and "limitz" in refused and "refused" not in good
    assert manager.wait_for("WATCHDOG")

    daemon.signal(signal.SIGTERM)
    manager.wait_for("STOPPING")
    assert daemon.ended() == 0


def test_a_log_that_was_moved_away_is_begun_anew_at_sighup(start: Start, configuration: Path, tmp_path: Path) -> None:
    daemon = start("--config", configuration, "--state", tmp_path / "state", "--speed", "10")
    daemon.wait_for("feed_subscribed")
    file = tmp_path / "state" / "log" / "atmand.jsonl"
    file.rename(tmp_path / "moved")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reloaded")
    assert daemon.stop() == 0
    assert '"ready"' in (tmp_path / "moved").read_text()
    assert '"reloaded"' in file.read_text() and '"stopped"' in file.read_text()
