"""Which value holds: the file's, the configuration's or the document's, and what is refused as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parameter_room import FILE, LIMITS, deployments, document

from atmand.params.document import Document, DocumentError, StrategyPart
from atmand.params.resolve import Resolution, changes, resolve


def refusal(given_document: Document) -> str:
    with pytest.raises(DocumentError) as refused:
        resolve(given_document, deployments(), LIMITS)
    return str(refused.value)


def test_the_document_wins_over_the_configuration_and_that_over_the_file() -> None:
    found = resolve(document(level=30), deployments(level=50, period=9), LIMITS)
    probe, twin = found.books
    assert dict(probe.values) == {"period": 9.0, "level": 30.0}
    assert dict(probe.origin) == {"period": "configuration", "level": "document"}
    assert dict(twin.values) == {"period": 14.0, "level": 45.0}
    assert set(twin.origin.values()) == {"default"}


def test_without_a_document_configuration_and_files_hold() -> None:
    found = resolve(None, deployments(level=50), LIMITS)
    assert (found.seq, found.sha256, dict(found.risk)) == (0, None, {})
    assert found.books[0].values["level"] == 50


def test_the_values_come_in_the_order_of_the_files_parameters() -> None:
    found = resolve(document(level=30, period=9), deployments(), LIMITS)
    assert list(found.books[0].values) == list(FILE.strategy.params)


@pytest.mark.parametrize(
    ("given_document", "expected"),
    [
        (document(level=99), "parameter level: 99 is outside 10 to 60"),
        (document(period=9.5), "9.5 is not a whole number of bars"),
        (document(lvel=30), "strategies.probe.params.lvel: no such parameter; did you mean level?"),
        (Document(strategies={"prob": StrategyPart(sha256=FILE.sha256)}), "no such strategy runs; did you mean probe?"),
        (Document(strategies={"probe": StrategyPart(sha256="0" * 64)}), "its values were chosen for another file"),
        (document(risk={"daily_loss_rupees": 20_001}), "20001 is looser than the configuration's 20000"),
        (document(risk={"daily_los_rupees": 1}), "no such limit; did you mean daily_loss_rupees?"),
    ],
)
def test_what_does_not_fit_the_strategies_is_refused_as_a_whole(given_document: Document, expected: str) -> None:
    assert expected in refusal(given_document)


@given(st.dictionaries(st.sampled_from(sorted(LIMITS)), st.integers(1, 400_000)))
def test_a_limit_is_taken_exactly_where_it_is_not_looser(risk: dict[str, int]) -> None:
    looser = any(value > LIMITS[name] for name, value in risk.items())
    try:
        found = resolve(document(risk=risk), deployments(), LIMITS)
    except DocumentError:
        assert looser
    else:
        assert not looser
        assert dict(found.risk) == risk


def test_changes_name_old_and_new_values_and_weights() -> None:
    before = resolve(None, deployments(), LIMITS)
    after = resolve(document(level=30, weight=0.5), deployments(), LIMITS)
    assert [(each.strategy, each.name, each.old, each.new) for each in changes(before, after)] == [
        ("probe", "level", 45.0, 30.0),
        ("probe", "weight", 1.0, 0.5),
    ]
    assert changes(after, after) == []


def test_a_strategy_that_was_not_there_has_no_old_values() -> None:
    found = changes(Resolution(()), resolve(None, deployments()[:1], LIMITS))
    assert [(each.name, each.old) for each in found] == [("period", None), ("level", None)]


@pytest.mark.parametrize(("first", "second", "told"), [(0.5, 0.5, None), (0.5, None, None), (0.6, 0.5, "1.1 of its")])
def test_weights_may_not_give_an_account_away_twice(first: float, second: float | None, told: str | None) -> None:
    weights = {"probe": first, "twin": second}
    parts = {name: StrategyPart(sha256=FILE.sha256, weight=weight) for name, weight in weights.items()}
    found = [replace(one, share=1.0, by_weight=True) for one in deployments()]
    both = Document(author="tester", strategies=parts)
    if told is None:
        assert [book.weight for book in resolve(both, found, LIMITS).books] == [first, second]
        assert [book.weight for book in resolve(None, found, LIMITS).books] == [None, None]
        return
    with pytest.raises(DocumentError, match=f"strategies.twin.weight: the strategies of account paper come to {told}"):
        resolve(both, found, LIMITS)
