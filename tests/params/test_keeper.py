"""What the daemon holds: a bad document never takes the last known good, and a deadly one is not tried twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from parameter_room import LIMITS, deployments, document, write

import atmand.params.last_good as last_good
from atmand.params.document import DocumentError
from atmand.params.file_store import FileStore
from atmand.params.keeper import Keeper

MINUTE_NS = 60 * 10**9


class Clock:
    """Machine time that a test moves."""

    def __init__(self) -> None:
        self.ns = 1

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setitem(vars(last_good), "monotonic_ns", made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "params")


def started(store: FileStore, **values: float) -> Keeper:
    """Start a daemon's keeper and put what it chose in force, as the daemon does."""
    keeper = Keeper(store)
    keeper.applied(keeper.start(deployments(**values), LIMITS), 7, origin=keeper.origin)
    return keeper


def taken_up(keeper: Keeper, sequence: int = 9) -> None:
    keeper.applied(keeper.read(deployments(), LIMITS), sequence, origin="current")


def level(keeper: Keeper) -> float:
    return keeper.in_force.books[0].values["level"]


def test_without_a_store_the_defaults_hold(store: FileStore) -> None:
    keeper = started(store, level=50)
    assert (keeper.origin, level(keeper), keeper.refused) == ("defaults", 50, None)
    assert not keeper.is_changed()


def test_a_published_document_is_noticed_taken_up_and_answered(store: FileStore) -> None:
    keeper = started(store)
    published = store.propose(document(level=30), 0)
    assert keeper.is_changed()
    taken_up(keeper, 42)
    assert not keeper.is_changed()
    assert (keeper.origin, level(keeper), keeper.in_force.seq) == ("current", 30, 1)
    ack = store.ack()
    assert ack is not None
    assert (ack.status, ack.seq, ack.sha256, ack.sequence) == ("applied", 1, published.sha256, 42)


BAD: dict[str, Any] = {
    "out of range": document(level=99).model_dump(mode="json", by_alias=True),
    "unknown name": document(lvl=30).model_dump(mode="json", by_alias=True),
    "half written": b'{"schema": 1, "strate',
    "wrong type": {"schema": 1, "strategies": []},
    "ten megabytes": b'{"note":"' + b"x" * 10_000_000,
    "looser": document(risk={"daily_loss_rupees": 10**6}).model_dump(mode="json", by_alias=True),
    "nothing": b"",
}


@pytest.mark.parametrize("content", BAD.values(), ids=list(BAD))
def test_a_bad_document_changes_nothing_and_its_author_reads_why(store: FileStore, content: Any) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    write(store.path, content)
    assert keeper.is_changed()
    with pytest.raises(DocumentError) as refused:
        keeper.read(deployments(), LIMITS)
    assert (level(keeper), keeper.in_force.seq, keeper.origin) == (30, 1, "current")
    assert keeper.refused is not None and keeper.refused.reason == str(refused.value)
    ack = store.ack()
    assert ack is not None and (ack.status, ack.reason) == ("refused", str(refused.value))
    assert not keeper.is_changed()
    # What puts it right is taken up.
    store.activate(1, author="operator")
    taken_up(keeper)
    assert keeper.refused is None and level(keeper) == 30


def test_a_document_that_vanishes_changes_nothing(store: FileStore) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    store.path.unlink()
    assert keeper.is_changed()
    with pytest.raises(DocumentError, match="is gone"):
        keeper.read(deployments(), LIMITS)
    assert level(keeper) == 30


def test_the_current_document_holds_after_a_clean_stop(store: FileStore) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    keeper.stopped_cleanly()
    again = started(store)
    assert (again.origin, level(again)) == ("current", 30)


def test_a_document_whose_daemon_died_within_a_minute_is_quarantined(store: FileStore, clock: Clock) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    clock.ns += MINUTE_NS
    keeper.tick()  # the first one is good
    store.propose(document(level=31), 1)
    taken_up(keeper)
    clock.ns += MINUTE_NS - 1
    keeper.tick()  # the second one is on trial still, and here the daemon dies

    again = started(store)
    assert (again.origin, level(again)) == ("last_good", 30)
    assert again.refused is not None and "quarantined: the daemon died within a minute" in again.refused.reason
    ack = store.ack()
    assert ack is not None and ack.status == "refused"
    # It stays out, also after a clean stop, until another document is published.
    again.stopped_cleanly()
    third = started(store)
    assert (third.origin, level(third)) == ("last_good", 30)
    store.propose(document(level=32), 2)
    taken_up(third)
    assert (third.origin, level(third), third.refused) == ("current", 32, None)


def test_a_first_document_that_kills_leaves_the_defaults(store: FileStore, clock: Clock) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    again = started(store)
    assert (again.origin, level(again)) == ("defaults", 45)
    assert again.refused is not None


def test_a_daemon_that_dies_after_the_minute_keeps_its_document(store: FileStore, clock: Clock) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    clock.ns += MINUTE_NS
    keeper.tick()
    again = started(store)
    assert (again.origin, level(again)) == ("current", 30)


def test_a_bad_document_at_the_start_leaves_the_last_good_one(store: FileStore, clock: Clock) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    keeper.stopped_cleanly()
    write(store.path, b"{")
    again = started(store)
    assert (again.origin, level(again)) == ("last_good", 30)


def test_a_last_good_one_that_no_longer_fits_gives_way_to_the_defaults(store: FileStore) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    keeper.stopped_cleanly()
    write(store.path, b"{")
    alone = Keeper(store)
    chosen = alone.start(deployments()[1:], LIMITS)  # the strategy that it names runs no more
    assert (alone.origin, [book.name for book in chosen.books]) == ("defaults", ["twin"])


def test_a_folder_that_cannot_be_used_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "params").write_text("a file where the folder should be")
    keeper = started(FileStore(tmp_path / "params"))
    assert (keeper.origin, level(keeper)) == ("defaults", 45)
    keeper.tick()
    keeper.stopped_cleanly()


def test_other_strategies_are_held_against_the_document_in_force(store: FileStore) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    found = keeper.keep(deployments(level=50, period=9), LIMITS)
    assert dict(found.books[0].values) == {"period": 9.0, "level": 30.0}


def test_a_document_that_has_lasted_is_not_tried_again_by_a_restart(store: FileStore, clock: Clock) -> None:
    keeper = started(store)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    clock.ns += MINUTE_NS
    keeper.tick()
    started(store)  # it dies within its first minute, which says nothing about the document
    again = started(store)
    assert (again.origin, level(again), again.refused) == ("current", 30, None)


def test_going_back_to_nothing_is_a_document_too(store: FileStore) -> None:
    keeper = started(store, level=50)
    store.propose(document(level=30), 0)
    taken_up(keeper)
    back = store.activate(0, author="operator")
    assert (back.seq, dict(back.strategies), back.note) == (2, {}, "roll-back to 0")
    taken_up(keeper)
    assert level(keeper) == 45
