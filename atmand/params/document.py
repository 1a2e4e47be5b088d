"""The parameter document: which strategies run with which values, as one frozen, hashed whole.

A store keeps it, `resolve` holds it against the strategies, the daemon puts it in force between two records.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from atmand.errors import AtmandError
from atmand.hints import did_you_mean, wording

__all__ = ["MAX_BYTES", "Document", "DocumentError", "ModelPart", "StrategyPart", "parse_document", "read_document"]

MAX_BYTES: Final = 512 * 1024
"""Largest document: what Consul takes as one value (developer.hashicorp.com/consul/docs/dynamic-app-config/kv)."""

_SHA256: Final = r"^[0-9a-f]{64}$"


class DocumentError(AtmandError):
    """A document is refused; what was in force stays."""


def _check_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("number", "not a number")
    return value


Number = Annotated[float, BeforeValidator(_check_number), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_check_number), Field(strict=True, ge=0, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=_SHA256)]
Text = Annotated[str, Field(max_length=4096)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StrategyPart(_Part):
    """What one strategy trades with."""

    sha256: Sha256
    """Of the strategy file that the values were chosen for."""
    params: dict[str, Number] = {}
    """Values by name; what is not named keeps the configuration's value, or the file's default."""
    weight: Annotated[float, BeforeValidator(_check_number), Field(gt=0, le=1)] | None = None
    """Share of the configured capital that it may use; all of it where none is given."""


class ModelPart(_Part):
    """The model whose forecasts the strategies read."""

    artifact: Text
    sha256: Sha256


class Document(_Part):
    """Strategies, their values and the model: one triple that applies and rolls back as a whole."""

    schema_: Literal[1] = Field(1, alias="schema")
    seq: Whole = 0
    created: AwareDatetime | None = None
    author: Text | None = None
    """Who wrote it; one of `author` and `trial` is set."""
    trial: Text | None = None
    """The tuning trial that wrote it."""
    parent: Sha256 | None = None
    """The document before it."""
    note: Text = ""
    evidence: dict[str, Any] | None = None
    strategies: dict[str, StrategyPart] = {}
    model: ModelPart | None = None
    risk: dict[str, Annotated[int, BeforeValidator(_check_number), Field(gt=0)]] | None = None
    """Limits by the configuration's names; they may only be tighter than the configuration's."""

    @model_validator(mode="after")
    def _whole(self) -> Document:
        if self.author is not None and self.trial is not None:
            raise PydanticCustomError("authors", "both author and trial are set; keep one of them")
        if self.trial is not None and self.risk is not None:
            raise PydanticCustomError("risk", "written by a trial, and changes risk; only a person may")
        if self.model is not None:
            raise PydanticCustomError("model", "names a model, and this version runs none; leave model out")
        return self

    def canonical(self) -> bytes:
        """Return the one spelling of this document that is stored and hashed."""
        return orjson.dumps(self.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()


def read_document(path: Path) -> Document | None:
    """Read a document's file; None where there is none. DocumentError says what is wrong with it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)  # never more: a file of any size may lie there
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DocumentError(str(path), error.strerror or "cannot be read", "make it readable for the daemon") from None
    return parse_document(raw, str(path))


def parse_document(raw: bytes, where: str) -> Document:
    """Read a document's text; DocumentError names the place inside it, the value and the remedy."""
    if len(raw) > MAX_BYTES:
        raise DocumentError(where, f"more than {MAX_BYTES // 1024} KiB", "a document holds values, not data")
    try:
        content = orjson.loads(raw)
    except ValueError as error:
        raise DocumentError(where, f"not whole JSON: {error}", "write it again, or roll back") from None
    if not isinstance(content, dict):
        raise DocumentError(where, "not a JSON object", "atmand params show --json prints one")
    try:
        return Document.model_validate(content)
    except ValidationError as error:
        raise _refusal(where, error.errors()[0]) from None


def _refusal(where: str, error: ErrorDetails) -> DocumentError:
    path = [str(part) for part in error["loc"]]
    place = f"{where}: {'.'.join(path)}" if path else where
    if error["type"] == "extra_forbidden":
        known = _known_at(path[:-1])
        return DocumentError(place, "unknown", did_you_mean(path[-1], known, "docs/parameters.md"))
    value = "" if error["type"] == "missing" else f" ({_short(error['input'])})"
    return DocumentError(place, wording(dict(error)) + value, "write it again, or roll back")


def _known_at(path: list[str]) -> list[str]:
    """Return the keys of the part that a path leads to."""
    part: type[BaseModel] = Document
    if path[:1] == ["strategies"]:
        part = StrategyPart
    elif path[:1] == ["model"]:
        part = ModelPart
    return [field.alias or name for name, field in part.model_fields.items()]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
