"""The writing door on a real journal and core: what becomes which record, once, and only where it can be written."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_market import DAY, OPEN, STEER, Book, program_for, share

from atmand import door as door_module
from atmand.api.door import Ack, KeyReusedError, NotWrittenError, Operation, Sender, Signal, UnknownNameError, Write
from atmand.api.resources import check
from atmand.core.manifest import Manifest
from atmand.core.records import Command, Kind, Record, Source, head_and_rows
from atmand.core.words import Reason
from atmand.door import Door, Remembered, request_number
from atmand.errors import DamagedError
from atmand.journal import read
from atmand.journal.inspect import as_json
from atmand.ledger.trades import market_time
from atmand.settings import Settings, load
from atmand.switches import SWITCHES
from atmand.trading import Trading
from atmand.universe import Universe

ME = Sender(0xBEEF, "me")
NOON = OPEN + 3 * 3_600 * 10**9
SIGNALS = ("regime", "mood")


class Bench:
    """A trading side in an open session of two strategies, and its door."""

    phase = "running"

    def __init__(self, settings: Settings, *, opened: bool = True) -> None:
        self.trading = Trading(settings)
        self.now_ns = NOON
        self.door = Door(self.trading, lambda: self.now_ns, self)
        if opened:
            self.open()

    def open(self) -> None:
        books = [Book("steer", "alpha", "paper", instruments=(0, 1)), Book("steer", "beta", "paper")]
        program = program_for(books)
        program = replace(program, manifest=replace(program.manifest, signals=SIGNALS))
        universe = Universe(((share(0), 0), (share(1), 0)), ((0, 0), (0, 1), (1, 0)), b"")
        self.trading.open_session(DAY, universe, program, OPEN, simulated=True, bar_path=False, seed=1)

    def entries(self) -> dict[str, Any]:
        return {"allowed": bool(self.trading.engine.header["entries"]), "reason": None}

    async def submit(self, write: Write, key: str | None = None) -> Ack:
        return await self.door.submit(write, replace(ME, key=key))

    def hold(self, place: int, cause: int, quantity: int = 10) -> None:
        """Give a pair a position, as fills would."""
        pairs = self.trading.engine.table("pairs")
        pairs["quantity"][place], pairs["entry_cause"][place], pairs["entry_index"][place] = quantity, cause, 1

    def records(self, *kinds: Kind) -> list[Record]:
        return list(read(self.trading.journal, kinds=set(kinds)))


Made = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Made]:
    """Makes benches on one state directory; what is still open at the end is closed."""
    (tmp_path / "steer.toml").write_text(STEER)
    lines = ["[accounts.paper]", "[instance]", f'state = "{tmp_path / "state"}"', "[journal]", "min_free_bytes = 0"]
    for name in ("alpha", "beta"):
        lines += [f"[strategies.{name}]", 'file = "steer.toml"', 'account = "paper"', "capital_rupees = 1000000"]
    (tmp_path / "atmand.toml").write_text("\n".join(lines))
    benches: list[Bench] = []

    def made(**more: Any) -> Bench:
        benches.append(Bench(load(tmp_path / "atmand.toml"), **more))
        return benches[-1]

    yield made
    for bench in benches:
        bench.trading.writer.close()


async def test_a_signal_is_a_record_with_its_column_instrument_and_end(make: Made) -> None:
    bench = make()
    ack = await bench.submit(Signal("mood", -0.25, "NSE:BBB", valid_s=90))
    everywhere = await bench.submit(Signal("regime", 1.0))
    assert bench.trading.writer.written >= everywhere.sequence > ack.sequence
    for told in (ack, everywhere):
        check("signal", {"sequence": told.sequence, "market_time": market_time(told.time_ns), **told.done})
    until_ns = NOON + 90 * 10**9
    assert ack.done["instrument"] == "NSE:EQ:BBB" and ack.done["valid_until"] == market_time(until_ns)
    first, second = bench.records(Kind.SIGNAL)
    head, rows = head_and_rows(first)
    assert (first.sequence, first.source, int(head["actor"][0])) == (ack.sequence, Source.API, ME.actor)
    assert int(head["as_of_ns"][0]) == NOON and head["sha256"].any()
    assert rows[0].item() == (1, 1, -0.25, until_ns)
    assert head_and_rows(second)[1][0].item() == (-1, 0, 1.0, 0)
    shown = as_json(first)
    assert (shown["kind"], shown["rows"]) == (
        "SIGNAL",
        [{"instrument": 1, "column": 1, "value": -0.25, "valid_until_ns": until_ns}],
    )


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (Signal("moode", 1.0), "known are regime, mood"),
        (Signal("mood", 1.0, "NSE:CCC"), "nearest known one is NSE:"),
        (Operation(Command.PAUSE_BOOK, strategy="gamma"), "known are alpha, beta"),
        (Operation(Command.EXIT_POSITION, trade="1-1"), "no open position"),
        (Operation(Command.EXIT_POSITION, instrument="NSE:AAA"), "no open position"),
        (Operation(Command.EXIT_POSITION, instrument="NSE:CCC"), "not known"),
        (Operation(Command.EXIT_POSITION, strategy="gamma", instrument="NSE:AAA"), "known are alpha, beta"),
    ],
)
async def test_a_name_that_there_is_none_of_is_refused_with_those_there_are(
    make: Made, write: Write, words: str
) -> None:
    bench = make()
    before = bench.trading.writer.appended
    with pytest.raises(UnknownNameError, match=words):
        await bench.submit(write, "key")
    assert bench.trading.writer.appended == before


async def test_the_same_key_is_one_record_and_another_body_is_refused(make: Made) -> None:
    bench = make()
    first = await bench.submit(Signal("mood", 1.0), "k")
    bench.now_ns += 10**9
    again = await bench.submit(Signal("mood", 1.0), "k")
    assert again == replace(first, repeated=True)
    for other in (Signal("mood", 2.0), Signal("regime", 1.0), Operation(Command.ENTRIES_OFF)):
        with pytest.raises(KeyReusedError):
            await bench.submit(other, "k")
    # Another sender's key is another key, and without a key every request is one of its own.
    await bench.door.submit(Signal("mood", 2.0), Sender(7, "other", "k"))
    await bench.submit(Signal("mood", 1.0))
    await bench.submit(Signal("mood", 1.0))
    assert len(bench.records(Kind.SIGNAL)) == 4


def test_keys_are_remembered_for_a_day_and_not_without_end() -> None:
    now = [0]
    kept, ack = Remembered(lambda: now[0]), Ack(1, 1, {})
    kept.keep(replace(ME, key="a"), b"1", ack)
    now[0] = 24 * 3_600 * 10**9
    assert kept.find(replace(ME, key="a"), b"1") == replace(ack, repeated=True)
    now[0] += 1
    assert kept.find(replace(ME, key="a"), b"2") is None
    for number in range(4_097):
        kept.keep(replace(ME, key=str(number)), b"1", ack)
    assert kept.find(replace(ME, key="0"), b"1") is None and kept.find(replace(ME, key="1"), b"1") is not None
    assert kept.find(ME, b"1") is None


async def test_a_strategy_is_paused_and_resumed_by_records_that_name_who_and_which_request(make: Made) -> None:
    bench = make()
    ack = await bench.submit(Operation(Command.PAUSE_BOOK, strategy="beta"), "k")
    assert bench.trading.engine.table("books")["paused"].tolist() == [0, 1]
    check("books", {"sequence": ack.sequence, "market_time": market_time(ack.time_ns), **ack.done})
    await bench.submit(Operation(Command.RESUME_BOOK, strategy="beta"))
    assert bench.trading.engine.table("books")["paused"].tolist() == [0, 0]
    heads = [head_and_rows(record)[0][0] for record in bench.records(Kind.COMMAND)]
    told = [tuple(int(head[name]) for name in ("code", "book", "request", "actor")) for head in heads]
    assert told == [
        (Command.PAUSE_BOOK, 1, request_number("k"), ME.actor),
        (Command.RESUME_BOOK, 1, 0, ME.actor),
    ]


@pytest.mark.parametrize(
    ("operation", "closed"),
    [
        (Operation(Command.EXIT_POSITION, trade="44-1"), [1]),
        (Operation(Command.EXIT_POSITION, instrument="NSE:EQ:AAA"), [0, 2]),
        (Operation(Command.EXIT_POSITION, "beta", "NSE:AAA"), [2]),
    ],
)
async def test_an_exit_closes_what_it_names_and_nothing_else(
    make: Made, operation: Operation, closed: list[int]
) -> None:
    bench = make()
    for place, cause in enumerate((43, 44, -45)):
        bench.hold(place, cause)
    ack = await bench.submit(operation)
    check("exit", {"sequence": ack.sequence, "market_time": market_time(ack.time_ns), **ack.done})
    reasons = bench.trading.engine.table("pairs")["exit_reason"]
    assert np.flatnonzero(reasons == Reason.COMMAND).tolist() == closed
    assert len(ack.done["positions"]) == len(closed) == len(bench.records(Kind.COMMAND))
    assert {row["trade_id"] for row in ack.done["positions"]} <= {"43-1", "44-1", "p45-1"}


async def test_entries_stay_off_over_new_limits_and_restarts_until_they_are_switched_on(make: Made) -> None:
    bench = make()
    ack = await bench.submit(Operation(Command.ENTRIES_OFF))
    check("entries", {"sequence": ack.sequence, "market_time": market_time(ack.time_ns), **ack.done})
    assert not ack.done["allowed"]
    bench.trading.put_limits(NOON)
    assert not bench.trading.engine.header["entries"]
    bench.trading.writer.close()

    again = make()
    assert not again.trading.engine.header["entries"]
    ack = await again.submit(Operation(Command.ENTRIES_ON))
    assert ack.done["allowed"]
    again.trading.writer.close()
    assert make().trading.engine.header["entries"]


async def test_entries_that_are_switched_on_stay_off_where_the_disk_says_so(make: Made) -> None:
    bench = make()
    bench.trading.entries_held = True
    ack = await bench.submit(Operation(Command.ENTRIES_ON))
    assert not ack.done["allowed"] and not bench.trading.engine.header["entries"]


@pytest.mark.parametrize("phase", ["starting", "draining"])
async def test_a_daemon_that_starts_or_ends_takes_nothing(make: Made, phase: str) -> None:
    bench = make()
    bench.phase = phase
    before = bench.trading.writer.appended
    with pytest.raises(NotWrittenError, match=f"it is {phase}; nothing was done"):
        await bench.submit(Signal("mood", 1.0))
    assert bench.trading.writer.appended == before


async def test_what_the_disk_has_not_taken_is_answered_later_by_the_same_key_once(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    await bench.trading.writer.written_to(bench.trading.writer.appended)
    writev, full = os.writev, True

    def refusing(fd: int, buffers: list[bytes]) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return writev(fd, buffers)

    monkeypatch.setattr(os, "writev", refusing)
    with pytest.raises(NotWrittenError, match="applied, and not yet written"):
        await bench.submit(Signal("mood", 1.0), "k")
    with pytest.raises(NotWrittenError, match="nothing was done"):
        await bench.submit(Signal("mood", 2.0), "other")
    full = False
    while bench.trading.writer.health().failed:  # it tries again by itself
        await asyncio.sleep(0.01)
    ack = await bench.submit(Signal("mood", 1.0), "k")
    assert ack.repeated and bench.trading.writer.written >= ack.sequence
    assert len(bench.records(Kind.SIGNAL)) == 1


async def test_a_journal_that_is_slow_is_not_waited_for_without_end(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    monkeypatch.setattr(door_module, "_PATIENCE_S", 0.0)
    with pytest.raises(NotWrittenError, match="same key"):
        await bench.submit(Signal("mood", 1.0), "k")
    monkeypatch.undo()
    assert (await bench.submit(Signal("mood", 1.0), "k")).repeated


def test_a_manifest_that_was_written_before_there_were_signals_is_read() -> None:
    manifest = program_for([Book()]).manifest
    old = manifest.to_json().replace(b',"signals":[]', b"")
    assert b"signals" not in old
    assert Manifest.from_json(old) == manifest
    named = replace(manifest, signals=SIGNALS)
    assert Manifest.from_json(named.to_json()) == named


def test_a_damaged_switch_stops_the_start(make: Made, tmp_path: Path) -> None:
    make().trading.writer.close()
    (tmp_path / "state" / SWITCHES).write_text("{}")
    with pytest.raises(DamagedError, match="cannot be read"):
        make()
