"""How verbs speak with the daemon that runs on a state directory: over its API, with the token it left for them."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from atmand.errors import AtmandError, UnreachableError, UnsafeError, UsageError
from atmand.runtime import Runtime, running

__all__ = ["ask", "daemon_of", "tell"]

_TIMEOUT_S: Final = 5.0


def daemon_of(state: Path) -> Runtime:
    """Return the daemon that runs on a state directory; UnreachableError where none does."""
    here = running(state)
    if here is None:
        raise UnreachableError(str(state), "no daemon runs here", "atmand run; or name its state with --state DIR")
    return here


def ask(here: Runtime, path: str) -> dict[str, Any]:
    """Ask a daemon for one of its resources."""
    return _answer(here, urllib.request.Request(here.url + path, headers=_headers(here)))


def tell(here: Runtime, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Tell a daemon to do something; return its answer, or raise what it answered instead."""
    headers = {**_headers(here), "Content-Type": "application/json"}
    return _answer(here, urllib.request.Request(here.url + path, orjson.dumps(body or {}), headers, method="POST"))


def _headers(here: Runtime) -> dict[str, str]:
    """Return the token of this machine's verbs, where its file may be read: without one, reading may still do."""
    try:
        return {"Authorization": f"Bearer {Path(here.token_file).read_text().strip()}"} if here.token_file else {}
    except OSError:
        return {}


def _answer(here: Runtime, request: urllib.request.Request) -> dict[str, Any]:
    if not here.port:
        raise UnreachableError(f"daemon {here.pid}", "it has no API", "write [api] enabled = true and restart it")
    # A proxy of the environment must not see the token, nor be asked for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            found: dict[str, Any] = orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise _refusal(here, error) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"daemon {here.pid} at {here.url}", f"no answer: {error}", "atmand doctor; atmand logs"
        ) from None
    return found


def _refusal(here: Runtime, error: urllib.error.HTTPError) -> AtmandError:
    """Turn an answer of 400 and above into the error of its exit code."""
    try:
        said = orjson.loads(error.read())["error"]
        words = (str(said["where"]), str(said["what"]), str(said["remedy"]))
    except (OSError, ValueError, KeyError, TypeError):
        return UnreachableError(f"daemon {here.pid} at {here.url}", f"it answered {error.code}", "atmand logs")
    match error.code:
        case 400 | 404 | 405 | 409:
            return UsageError(*words)
        case 401 | 403:
            return UnsafeError(*words)
        case _:
            return UnreachableError(*words)
