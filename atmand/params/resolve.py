"""A document held against the strategies that run: every value in force, where it comes from, or why it is refused.

Pure: the daemon, the command line and tests call it with the same strategies and get the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from atmand.errors import AtmandError
from atmand.hints import did_you_mean
from atmand.lang.program import Deployment, parameter_values
from atmand.params.document import Document, DocumentError

__all__ = ["BookValues", "Change", "Resolution", "changes", "resolve"]


@dataclass(frozen=True)
class BookValues:
    """What one book trades with; `origin` says for each value where it comes from."""

    name: str
    sha256: str
    values: Mapping[str, float]
    """In the order of the strategy file's parameters."""
    origin: Mapping[str, str]
    weight: float | None = 1.0
    """Part of its capital that it uses; None where a document should say so and none does."""


@dataclass(frozen=True)
class Resolution:
    """Everything that a document, the configuration and the strategy files come to."""

    books: tuple[BookValues, ...]
    """In the order of the deployments."""
    document: Document | None = None
    risk: Mapping[str, int] = field(default_factory=dict)
    """Limits that the document tightens."""

    @property
    def seq(self) -> int:
        """The document's number; 0 where none is in force."""
        return 0 if self.document is None else self.document.seq

    @property
    def sha256(self) -> str | None:
        return None if self.document is None else self.document.sha256


@dataclass(frozen=True)
class Change:
    """One value that differs between two resolutions; `old` is None for a strategy that was not there."""

    strategy: str
    name: str
    old: float | None
    new: float | None


def resolve(document: Document | None, deployments: Sequence[Deployment], limits: Mapping[str, int]) -> Resolution:
    """Return the values of every book: the file's default, then the configuration's value, then the document's.

    `limits` are the configuration's. DocumentError refuses the document as a whole: nothing of it is used then.
    """
    known = {deployment.book: deployment for deployment in deployments}
    parts = {} if document is None else document.strategies
    for name in parts:
        _known(f"strategies.{name}", name, known, "no such strategy runs")
    books = tuple(_book(deployment, document) for deployment in deployments)
    if document is not None:
        _check_weights(deployments, books)
    return Resolution(
        books=books,
        document=document,
        risk={} if document is None or document.risk is None else _tightened(document.risk, limits),
    )


def changes(before: Resolution, after: Resolution) -> list[Change]:
    """List the values and weights that differ, in the order of the books."""
    old = {book.name: {**book.values, "weight": book.weight} for book in before.books}
    found = []
    for book in after.books:
        was = old.get(book.name, {})
        for name, value in {**book.values, "weight": book.weight}.items():
            if was.get(name) != value and not (name == "weight" and not was):
                found.append(Change(book.name, name, was.get(name), value))
    return found


def _book(deployment: Deployment, document: Document | None) -> BookValues:
    strategy = deployment.file.strategy
    part = None if document is None else document.strategies.get(deployment.book)
    # A value that the configuration sets to the default's own number is still the configuration's.
    origin = {name: "configuration" if name in deployment.values else "default" for name in strategy.params}
    if part is None:
        values = parameter_values(deployment)
        return BookValues(deployment.book, deployment.file.sha256, values, origin, _weight(deployment, None))
    where = f"strategies.{deployment.book}"
    if part.sha256 != deployment.file.sha256:
        raise DocumentError(
            f"{where}.sha256",
            f"its values were chosen for another file ({part.sha256[:12]}, loaded is {deployment.file.sha256[:12]})",
            "put that file back, or publish the values again with atmand params set",
        )
    for name in part.params:
        _known(f"{where}.params.{name}", name, strategy.params, "no such parameter")
    merged = Deployment(deployment.file, deployment.account, {**deployment.values, **part.params}, deployment.name)
    try:
        values = parameter_values(merged)
    except AtmandError as error:
        raise DocumentError(error.where, error.what, error.remedy) from None
    origin |= dict.fromkeys(part.params, "document")
    return BookValues(deployment.book, deployment.file.sha256, values, origin, _weight(deployment, part.weight))


def _weight(deployment: Deployment, weight: float | None) -> float | None:
    return weight if weight is not None or deployment.by_weight else 1.0


def _check_weights(deployments: Sequence[Deployment], books: Sequence[BookValues]) -> None:
    """Refuse weights by which the books of one account would get more than it has."""
    sums: dict[str, float] = {}
    for deployment, book in zip(deployments, books, strict=True):
        if deployment.origin:  # a run-off book has what its heir lends it
            continue
        sums[deployment.account] = sums.get(deployment.account, 0.0) + deployment.share * (book.weight or 0.0)
        if sums[deployment.account] > 1.0 + 1e-9:
            what = (
                f"the strategies of account {deployment.account} come to {sums[deployment.account]:.4g} of its equity"
            )
            raise DocumentError(f"strategies.{book.name}.weight", what, "lower the weights: they may come to 1")


def _tightened(risk: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """Return a document's limits; refused where one is looser than the configuration's, which is the operator's."""
    for name, value in risk.items():
        _known(f"risk.{name}", name, limits, "no such limit")
        if value > limits[name]:
            raise DocumentError(
                f"risk.{name}",
                f"{value} is looser than the configuration's {limits[name]}",
                "a document may only tighten a limit; loosen it in the configuration",
            )
    return dict(risk)


def _known(where: str, name: str, known: Iterable[str], what: str) -> None:
    names = list(known)
    if name not in names:
        raise DocumentError(where, what, did_you_mean(name, names, "atmand params show"))
