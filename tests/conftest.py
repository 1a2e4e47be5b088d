"""What every test shares: the compiler's cache, set before numba is imported, and the folder of optional data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atmand.start import prepare_compiler

prepare_compiler(None)


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of recorded data, named by ATMAND_TEST_DATA; a test that needs it is skipped without it."""
    named = os.environ.get("ATMAND_TEST_DATA")
    if not named:
        pytest.skip("ATMAND_TEST_DATA is not set")
    return Path(named)
