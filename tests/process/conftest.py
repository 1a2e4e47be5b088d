"""Daemons for the process tests: whatever a test starts is ended with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from running_daemon import UNIVERSE, Daemon, Start, atmand, write_configuration, write_strategy


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `atmand run` with a configuration, a state directory and further words; or any other command."""
    daemons: list[Daemon] = []

    def started(*words: object, command: Sequence[str] | None = None, **environment: str) -> Daemon:
        daemons.append(Daemon(command or atmand("run", *words), environment))
        return daemons[-1]

    yield started
    for daemon in daemons:
        daemon.close()


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Two strategies on four shares of the seeded market; small targets, so that they trade often."""
    strategies = {
        "rsi_macd": write_strategy(tmp_path / "strategies", "rsi_macd", UNIVERSE),
        "ema_trend": write_strategy(tmp_path / "strategies", "ema_trend", UNIVERSE[1:]),
    }
    return write_configuration(
        tmp_path,
        strategies,
        {
            "simulator": {"seed": 7, "historical_per_second": 1000},
            "limits": {"daily_loss_rupees": 500_000},
            "journal": {"min_free_bytes": 0},
        },
    )
