"""The bodies of requests that write: JSON, checked by models, the sender's token taken out before anything else.

What is refused is named by its key; no value is repeated, because it may be a secret in the wrong place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Self, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from atmand.api.answers import Refusal
from atmand.hints import wording

__all__ = ["ExitBody", "NoBody", "SignalBody", "Taken", "request_key", "take", "validated"]

_LIMIT: Final = 8 * 1024
_KEY_LENGTH: Final = 200
_LONGEST_KEY: Final = 32
_TYPES: Final = ("application/json", "text/plain")
"""TradingView sends text/plain where it does not see that its message is JSON."""

_Body = TypeVar("_Body", bound=BaseModel)
_Name = Annotated[str, Field(min_length=1, max_length=64)]


class NoBody(BaseModel):
    """A request whose path says it all."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, Field(min_length=1, max_length=_KEY_LENGTH)] | None = None
    """By which a repeated request is recognised, for senders without an Idempotency-Key header."""


class SignalBody(NoBody):
    """A signal's value, for one instrument or all, for ever or for so many market seconds."""

    value: StrictBool | StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    instrument: _Name | None = None
    valid_s: Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)] | None = None


class ExitBody(NoBody):
    """What is to be sold: the position of a trade, or all positions in an instrument, of one strategy or of all."""

    trade: _Name | None = None
    instrument: _Name | None = None
    strategy: _Name | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.trade is None) == (self.instrument is None):
            raise PydanticCustomError("which", "name a trade or an instrument")
        return self


@dataclass(frozen=True)
class Taken:
    """A body as it came, without the token that it may have carried."""

    document: dict[str, Any]
    secret: str | None


async def take(request: web.Request, *, with_token: bool = False) -> Taken:
    """Read a JSON object; with `with_token` its field `token` is taken out. None sent is an empty one."""
    raw = await request.read()
    if len(raw) > _LIMIT:
        raise Refusal(413, request.path, f"a body of more than {_LIMIT} bytes", "send one value at a time")
    if raw and "Content-Type" in request.headers and request.content_type not in _TYPES:
        raise Refusal(415, request.path, "the body is not JSON", "send it as Content-Type: application/json")
    try:
        document = orjson.loads(raw) if raw else {}
    except ValueError:
        raise Refusal(400, request.path, "the body is not JSON", 'write {"value": 1.5}') from None
    if not isinstance(document, dict):
        raise Refusal(400, request.path, "the body is not a JSON object", 'write {"value": 1.5}')
    secret = document.pop("token", None) if with_token else None
    return Taken(document, secret if isinstance(secret, str) else None)


def validated(request: web.Request, model: type[_Body], document: dict[str, Any]) -> _Body:
    """Check a body; 400 names the first key that does not do, and repeats no value."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0])[:64] if first["loc"] else "body"
        known = ", ".join(model.model_fields)
        unknown = first["type"] == "extra_forbidden"
        if unknown and (len(name) > _LONGEST_KEY or not name.isidentifier()):
            name = "body"  # a secret may have come in the wrong place
        where = f"{request.match_info.route.resource.canonical if request.match_info.route.resource else ''}: {name}"
        if unknown:
            raise Refusal(400, where, "a key that is not known here", f"its keys: {known}") from None
        if name == "value":
            remedy = "write a number, true or false, without quotes"
            what = "not there" if first["type"] == "missing" else "not a finite number, nor true or false"
            raise Refusal(400, where, what, remedy) from None
        raise Refusal(400, where, wording(first), f"its keys: {known}") from None


def request_key(request: web.Request, body: NoBody) -> str | None:
    """Return the key by which this request is known again: the header's, or the body's `id`."""
    header = request.headers.get("Idempotency-Key")
    if header is not None and not 0 < len(header) <= _KEY_LENGTH:
        what = "empty" if not header else f"longer than {_KEY_LENGTH}"
        raise Refusal(400, "Idempotency-Key", what, "send a short text that no other request has")
    return header or body.id
