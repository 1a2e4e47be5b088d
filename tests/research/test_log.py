"""The research log: a chain that tells when it was touched, many writers, and what counts as a trial."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from atmand.errors import AtmandError, DamagedError
from atmand.research.log import DataRange, Entry, ResearchLog, lineage, trials_of
from atmand.research.selection import Trials


def made_entry(**changed: Any) -> dict[str, Any]:
    data = {"first_ns": 100, "last_ns": 200, "instruments": ["AAA", "BBB"]}
    return {
        "verb": "backtest",
        "strategy": "probe",
        "structures": ["s1"],
        "data": data | changed.pop("data", {}),
        "key": "k",
        "trials": Trials.of([0.1]).to_json(),
        **changed,
    }


def test_runs_are_numbered_and_chained(tmp_path: Path) -> None:
    log = ResearchLog(tmp_path)
    assert log.entries() == []
    written = [log.append(made_entry(key=key)) for key in "abc"]
    assert log.entries() == written
    assert [entry["id"] for entry in written] == [1, 2, 3]
    assert [entry["before"] for entry in written[1:]] == [entry["sha256"] for entry in written[:2]]
    assert log.find(2)["key"] == "b"
    with pytest.raises(AtmandError, match="run 4: not in the research log; known are 1 to 3"):
        log.find(4)


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (lambda lines: [lines[0].replace("probe", "prove"), *lines[1:]], 1),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [lines[0], "{", lines[2]], 2),
        (lambda lines: [lines[0], "[1]", lines[2]], 2),
    ],
)
def test_a_line_that_was_touched_is_found(tmp_path: Path, harm: Any, line: int) -> None:
    log = ResearchLog(tmp_path)
    for key in "abc":
        log.append(made_entry(key=key))
    log.path.write_text("\n".join(harm(log.path.read_text().splitlines())) + "\n")
    with pytest.raises(DamagedError, match=f"log.jsonl:{line}: this line was changed"):
        log.entries()


def test_a_line_cut_short_by_a_crash_makes_room(tmp_path: Path) -> None:
    log = ResearchLog(tmp_path)
    first = log.append(made_entry())
    with log.path.open("a") as file:
        file.write('{"id": 2, "verb": "ba')
    assert log.entries() == [first]
    second = log.append(made_entry())
    assert log.entries() == [first, second] and second["id"] == 2


def append_many(state: Path) -> None:
    for _ in range(20):
        ResearchLog(state).append(made_entry())


def test_many_processes_may_append(tmp_path: Path) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=append_many, args=(tmp_path,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [entry["id"] for entry in ResearchLog(tmp_path).entries()] == list(range(1, 81))


def test_a_log_that_cannot_be_written_refuses_the_run(tmp_path: Path) -> None:
    (tmp_path / "research").write_text("in the way")
    with pytest.raises(AtmandError, match="every run is recorded: name a state directory that can be written"):
        ResearchLog(tmp_path).append(made_entry())


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"structures": ["s2"]}, True),  # its rules were changed
        ({"strategy": "renamed"}, True),
        ({"strategy": "renamed", "structures": ["s2"]}, False),
        ({"data": {"first_ns": 201, "last_ns": 300}}, False),
        ({"data": {"first_ns": 200, "last_ns": 300}}, True),
        ({"data": {"instruments": ["CCC"]}}, False),
        ({"data": {"instruments": ["BBB", "CCC"]}}, True),
    ],
)
def test_a_lineage_is_a_strategy_on_the_same_data(changed: dict[str, Any], same: bool) -> None:
    data = DataRange("made", "x", 100, 200, ("AAA", "BBB"))
    assert bool(lineage([made_entry(**changed)], "probe", ["s1"], data)) == same


def test_the_same_run_again_is_no_new_trial_and_a_burn_is_none() -> None:
    swept = made_entry(key="sweep", trials=Trials.of([0.0, 0.2, 0.4]).to_json())
    burn: Entry = {name: value for name, value in made_entry(verb="burn").items() if name not in ("key", "trials")}
    counted = trials_of([made_entry(), burn, made_entry(), swept])
    assert (counted.n, counted.mean) == (4, pytest.approx(0.175))
