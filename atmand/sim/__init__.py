"""The exchange simulator on the broker's own wire; the demo runs it as a child, `atmand sim` runs it alone."""

from __future__ import annotations

from atmand.sim.settings import SimSettings

__all__ = ["SimSettings"]
