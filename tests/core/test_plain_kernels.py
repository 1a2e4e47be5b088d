"""Kernels of plain numbers come to the same bits compiled and in the interpreter: overflow, division by zero, NaN."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plain_kernels import CASES, results

from atmand.core.jit import JIT

HERE = Path(__file__).parent


@pytest.mark.skipif(not JIT, reason="compares compiled code with the interpreter")
def test_every_plain_kernel_comes_to_the_same_bits_with_the_compiler_off() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "plain_kernels.py")],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    interpreted, compiled = json.loads(done.stdout), results()
    assert len(compiled) == len(CASES)
    wrong = {name: sum(map(str.__ne__, bits, interpreted[name])) for name, bits in compiled.items()}
    assert not any(wrong.values()), {name: count for name, count in wrong.items() if count}
    assert all(len(set(bits)) > 1 for bits in compiled.values())
