"""`python clocked.py MARKET_NS MONOTONIC_NS SPEED run ...`: atmand on a machine whose clock is set and runs faster.

A real exchange's time is the machine's; here it is given as the market time of one monotonic moment, and a speed.
"""

from __future__ import annotations

import sys
import time

from atmand.__main__ import main

if __name__ == "__main__":
    market_ns, monotonic_ns, speed = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    time.time_ns = lambda: market_ns + int((time.monotonic_ns() - monotonic_ns) * speed)  # type: ignore[assignment]
    sys.exit(main(sys.argv[4:]))
