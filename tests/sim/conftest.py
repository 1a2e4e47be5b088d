"""One seeded market for the simulator's tests: its days take a moment to make."""

from __future__ import annotations

import pytest

from atmand.sim.generator import SeededMarket


@pytest.fixture(scope="session")
def market() -> SeededMarket:
    return SeededMarket(11)
