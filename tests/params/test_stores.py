"""What every parameter store must do; a store joins by a fixture parameter."""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
from parameter_room import document, write

import atmand.params.file_store as file_store
from atmand.params.document import Document, DocumentError
from atmand.params.file_store import FileStore
from atmand.params.store import Ack, ConflictError

STORES: dict[str, Callable[[Path], FileStore]] = {"file": FileStore}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    made: str = request.param
    return STORES[made](tmp_path / "params")


def test_an_empty_store_has_nothing(store: FileStore) -> None:
    assert (store.current(), store.history(), store.ack()) == (None, [], None)


def test_publishing_numbers_dates_and_chains_documents(store: FileStore) -> None:
    first = store.propose(document(level=30), 0)
    second = store.propose(document(level=31), 1)
    assert (first.seq, first.parent) == (1, None)
    assert (second.seq, second.parent) == (2, first.sha256)
    assert first.created is not None and first.created.utcoffset() is not None
    assert store.current() == second
    assert store.history() == [second, first]


def test_who_expects_another_document_is_told_and_nothing_is_published(store: FileStore) -> None:
    first = store.propose(document(level=30), 0)
    with pytest.raises(ConflictError, match="document 1 is current, and not 0"):
        store.propose(document(level=31), 0)
    assert store.current() == first
    assert store.history() == [first]


def test_a_roll_back_is_a_new_document_with_the_old_content(store: FileStore) -> None:
    first = store.propose(document(level=30), 0)
    store.propose(document(level=31), 1)
    again = store.activate(1, author="operator")
    assert (again.seq, again.author, again.note) == (3, "operator", "roll-back to 1")
    assert again.strategies == first.strategies
    assert store.current() == again


def test_a_roll_back_to_what_is_not_there_names_what_is(store: FileStore) -> None:
    store.propose(document(level=30), 0)
    with pytest.raises(DocumentError, match="document 7: not in the history; there are 1 to 1"):
        store.activate(7, author="operator")


def test_the_daemons_answer_is_kept_beside_the_document(store: FileStore) -> None:
    said = Ack(3, "0" * 64, "refused", "level: 99 is outside 10 to 60", 0, "2026-07-06T10:00:00+00:00")
    store.acknowledge(said)
    assert store.ack() == said


def _propose(directory: Path, worker: int, expected: int, barrier: object) -> bool:
    barrier.wait()  # type: ignore[attr-defined]
    try:
        FileStore(directory).propose(document(level=20 + worker), expected)
    except ConflictError:
        return False
    return True


def test_of_several_who_publish_at_once_one_wins_each_number(tmp_path: Path) -> None:
    directory = tmp_path / "params"
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(4) as pool:
        for seq in range(3):
            barrier = manager.Barrier(4)
            won = pool.starmap(_propose, [(directory, worker, seq, barrier) for worker in range(4)])
            assert sorted(won) == [False, False, False, True]
    assert [each.seq for each in FileStore(directory).history()] == [3, 2, 1]


async def test_a_watcher_hears_of_changes_and_of_what_cannot_be_read(store: FileStore) -> None:
    heard: list[Document | DocumentError | None] = []

    async def listen() -> None:
        async for told in store.watch():
            heard.append(told)
            if len(heard) == 1:
                write(store.path, b"{")
            if len(heard) == 2:
                return

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    published = await asyncio.to_thread(store.propose, document(level=30), 0)
    async with asyncio.timeout(30):
        await listening
    assert heard[0] == published
    assert isinstance(heard[1], DocumentError)


# What only files have: hands that write them, and writers that die.


def test_a_document_written_by_hand_gets_the_next_number(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    first = store.propose(document(level=30), 0)
    by_hand = document(level=33).model_dump(mode="json", by_alias=True)
    write(store.path, by_hand)
    found = store.current()
    assert found is not None
    adopted = store.adopt(found)
    assert (adopted.seq, adopted.parent, adopted.strategies["probe"].params) == (2, first.sha256, {"level": 33.0})
    assert store.history() == [adopted, first]
    assert store.adopt(adopted) == adopted
    assert len(store.history()) == 2


def test_a_publication_that_died_before_its_copy_is_completed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    first = store.propose(document(level=30), 0)
    second = store.propose(document(level=31), 1)
    (tmp_path / "history" / f"{2:020d}.json").unlink()
    assert store.adopt(second) == second
    assert store.history() == [second, first]
    (tmp_path / "history" / f"{2:020d}.json").unlink()
    third = store.propose(document(level=32), 2)
    assert [each.seq for each in store.history()] == [3, 2, 1]
    assert third.parent == second.sha256


def test_a_damaged_document_can_be_replaced_and_rolled_back_from(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    first = store.propose(document(level=30), 0)
    write(store.path, b'{"schema": 1, "strategies": {"pro')
    with pytest.raises(DocumentError):
        store.current()
    assert store.base() == first
    assert store.activate(1, author="operator").seq == 2
    assert store.current() is not None


def test_a_damaged_copy_is_left_out_of_the_history(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    first = store.propose(document(level=30), 0)
    second = store.propose(document(level=31), 1)
    write(tmp_path / "history" / f"{1:020d}.json", b"{")
    assert store.history() == [second]
    assert first.seq not in [each.seq for each in store.history()]


def test_every_change_of_the_file_changes_its_stamp(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    stamps = [store.stamp()]
    for seq in range(5):
        store.propose(document(level=30 + seq % 2), seq)
        stamps.append(store.stamp())
    assert len(set(stamps)) == len(stamps)


def test_a_lock_that_is_not_let_go_is_told_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(file_store), "_LOCK_S", 0.1)
    store = FileStore(tmp_path)
    store.propose(document(level=30), 0)
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DocumentError, match="another process has held its lock"):
            store.propose(document(level=31), 1)
    assert store.propose(document(level=31), 1).seq == 2
