"""A daemon over two sessions: it keeps each day's instruments, trades a rule's choice, and says what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from books_check import records, verified
from running_daemon import FAST, Start, write_configuration, write_strategy

from atmand.core.records import Kind, head_and_rows
from atmand.instrument_store import FOLDER, InstrumentStore

pytestmark = pytest.mark.process


def test_the_instruments_of_each_session_are_kept_and_named_in_its_records(start: Start, tmp_path: Path) -> None:
    strategies = {"banks": write_strategy(tmp_path / "strategies", "rsi_macd", ("INDEX:NIFTY BANK", "NSE:INFY"))}
    simulator = {"seed": 7, "historical_per_second": 1000, "start": "2026-07-06T15:00:00+05:30"}
    configuration = write_configuration(
        tmp_path, strategies, {"simulator": simulator, "journal": {"min_free_bytes": 0}}
    )
    state = tmp_path / "state"
    daemon = start("--config", configuration, "--state", state, *FAST)
    daemon.wait_for("session_opened", day="2026-07-07")
    daemon.wait_until("09:20")
    assert daemon.stop() == 0

    store = InstrumentStore(state / FOLDER)
    kept = [store.load(day) for day in store.days()]
    assert [str(day) for day in store.days()] == ["2026-07-06", "2026-07-07"]
    assert [told["day"] for told in daemon.named("instruments_refreshed")] == ["2026-07-07"]
    recorded = [head_and_rows(record) for record in records(state, Kind.INSTRUMENTS)]
    assert [head["dump"].tobytes() for head, _ in recorded] == [one.sha256 for one in kept]
    for _, rows in recorded:
        banks = {key.decode() for key in rows["key"].tolist()}
        assert len(banks) > 4 and {"NSE:EQ:HDFCBANK", "NSE:EQ:INFY"} <= banks
        assert all(len(isin) == 12 for isin in rows["isin"].tolist()) and rows["sector"].all()
    verified(state)
