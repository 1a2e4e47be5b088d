"""What the ledger's tests share: three recorded days and their ledger, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))  # core_market: the market of the core's tests

from ledger_market import Recorder, dump, record_days

from atmand.ledger.keeper import LEDGER, LedgerKeeper, rebuild


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Three recorded days, closed; the journal is under `state / "journal"`."""
    recorder = Recorder(tmp_path_factory.mktemp("recorded") / "journal")
    record_days(recorder)
    recorder.close()
    return recorder


@pytest.fixture(scope="session")
def unbroken(recorded: Recorder) -> LedgerKeeper:
    """The ledger of these days, folded in one run."""
    keeper = rebuild(recorded.journal.parent / LEDGER, recorded.journal)
    assert len(dump(keeper.path)["trades"]) > 20
    return keeper
