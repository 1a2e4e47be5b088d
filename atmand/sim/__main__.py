"""`python -m atmand.sim --json-settings-on-stdin`: the simulator as a child process."""

import sys

from atmand.sim.child import run_child

sys.exit(run_child(sys.argv[1:]))
