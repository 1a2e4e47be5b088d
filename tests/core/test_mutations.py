"""The script that turns rules round works: it finds its rules, and the tests catch a few of the mutants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mutations import CURATED, curated

SCRIPT = Path(__file__).parent / "mutations.py"
TRIED = ("waits out its latency", "beyond the limit", "breakeven begins")


def test_every_rule_of_the_list_is_in_the_source() -> None:
    assert len(list(curated())) == len(CURATED)


def test_turned_rules_are_caught() -> None:
    chosen = [word for text in TRIED for word in ("--rule", text)]
    done = subprocess.run([sys.executable, str(SCRIPT), *chosen], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("caught") == len(TRIED)
    assert done.stdout.endswith("3 mutants, 0 survived\n")
