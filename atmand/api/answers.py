"""How the API answers: JSON bodies, security headers, and failures that say where, what and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from atmand.api.door import WriteError
from atmand.errors import AtmandError, UsageError

__all__ = ["BODY_LIMIT", "Refusal", "answer_failures", "json_answer", "secure"]

log = structlog.get_logger()

BODY_LIMIT: Final = 64 * 1024
"""Most bytes of a request's body that are read at all."""
_BODY_TIMEOUT_S: Final = 5.0
_COMPRESS_FROM: Final = 16 * 1024
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SECURITY: Final = {
    # Plotly sets styles on the elements that it makes; scripts come from files of ours alone.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Refusal(Exception):
    """An answer other than the one that was asked for."""

    def __init__(
        self, status: int, where: str, what: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(what)
        self.status, self.where, self.what, self.remedy = status, where, what, remedy
        self.headers = headers or {}


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a document as an answer that nobody keeps; a large one is compressed in a thread."""
    response = web.Response(
        body=orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY),
        status=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        content_type="application/json",
        zlib_executor_size=_COMPRESS_FROM,
    )
    if isinstance(response.body, bytes) and len(response.body) > _COMPRESS_FROM:
        response.enable_compression()
    return response


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on every answer; aiohttp calls it before the first byte."""
    response.headers.update(_SECURITY)
    response.headers.pop("Server", None)


def answer_failures(admit: Callable[[web.Request], None]) -> Middleware:
    """Make what stands before every handler: let in whom `admit` does, and turn whatever goes wrong into an answer.

    Trading goes on in any case.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            admit(request)
            await _refuse_large_body(request)
            return await handler(request)
        except Refusal as refusal:
            return _failure(refusal.status, refusal.where, refusal.what, refusal.remedy, refusal.headers)
        except web.HTTPException as error:
            return _http_failure(request, error)
        except WriteError as error:
            headers = {} if error.retry_s is None else {"Retry-After": str(error.retry_s)}
            return _failure(error.status, error.where, error.what, error.remedy, headers)
        except AtmandError as error:
            return _failure(400 if isinstance(error, UsageError) else 503, error.where, error.what, error.remedy)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            resource = request.match_info.route.resource
            log.exception("api_failed", path=resource.canonical if resource is not None else "")
            return _failure(500, request.path, "a defect in the daemon", "see the event api_failed in its log")

    return answer


async def _refuse_large_body(request: web.Request) -> None:
    """Read a body whole, so that the connection can go on; 413 for a large one, 408 for a slow one."""
    if not request.can_read_body:
        return
    if (request.content_length or 0) > BODY_LIMIT:
        raise _too_large(request)
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            await request.read()
    except TimeoutError:
        raise Refusal(
            408, request.path, "the body did not come", "send it whole, or none", {"Connection": "close"}
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(request) from None


def _too_large(request: web.Request) -> Refusal:
    what = f"a body of more than {BODY_LIMIT} bytes"
    return Refusal(413, request.path, what, "send less: no request needs as much", {"Connection": "close"})


def _http_failure(request: web.Request, error: web.HTTPException) -> web.Response:
    """Say what aiohttp refused in our words."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            what = f"{request.method} is not allowed"
            return _failure(405, request.path, what, f"use {allowed}", {"Allow": allowed})
        case web.HTTPNotFound():
            return _failure(404, request.path, "there is nothing here", "see / for the page and /v1/status for data")
        case _:
            return _failure(error.status, request.path, error.reason.lower(), "")


def _failure(status: int, where: str, what: str, remedy: str, headers: Mapping[str, str] | None = None) -> web.Response:
    headers = dict(headers or {})
    closes = headers.pop("Connection", None) is not None
    response = json_answer({"error": {"where": where, "what": what, "remedy": remedy}}, status, headers)
    if closes:
        response.force_close()
    return response
