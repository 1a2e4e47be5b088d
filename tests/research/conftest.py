"""What the tests of research share: the markets of the core's and the ledger's tests."""

from __future__ import annotations

import sys
from pathlib import Path

for _room in ("core", "ledger"):
    sys.path.insert(0, str(Path(__file__).parent.parent / _room))
