"""Who is let in: tokens and their scopes, names of this machine, source addresses, and a limit on failures."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TypeAlias
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from atmand.api.answers import Refusal
from atmand.api.settings import ApiSettings
from atmand.api.tokens import Scope, Token, Tokens

__all__ = ["WRITES", "Bucket", "Guard"]

log = structlog.get_logger()

WRITES: Final = "write:"
"""How the names of routes begin whose handler asks for the token itself, because a body may carry it."""
_FAILURES: Final = 10
_FAILURE_EVERY_S: Final = 6.0
_WRITES_AT_ONCE: Final = 200
_WRITE_EVERY_S: Final = 0.02
_MOST_KNOWN: Final = 1_024
"""Addresses or senders that are remembered; the one that was seen longest ago is forgotten."""
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="atmand"'}

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Networks: TypeAlias = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]


class Bucket:
    """So many at once and then one every so often, for each name; memory is bounded."""

    def __init__(self, at_once: int, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._every_s, self._clock = at_once, every_s, clock
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str) -> float:
        """Take one; return 0, or the seconds after which there is one again."""
        now = self._clock()
        due = max(self._empty_at.get(name, now), now)
        wait = due - now - (self._at_once - 1) * self._every_s
        if wait > 1e-9:
            return wait
        self._empty_at[name] = due + self._every_s
        self._empty_at.move_to_end(name)
        if len(self._empty_at) > _MOST_KNOWN:
            self._empty_at.popitem(last=False)
        return 0.0


class Guard:
    """The rules of one server. `refused` counts who was not let in, by reason."""

    def __init__(self, settings: ApiSettings, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._tokens = settings, tokens
        self._sources = [ipaddress.ip_network(text) for text in settings.signal_sources]
        self._proxies = [ipaddress.ip_network(text) for text in settings.trusted_proxies]
        self._failures = Bucket(_FAILURES, _FAILURE_EVERY_S, clock)
        self._writes = Bucket(_WRITES_AT_ONCE, _WRITE_EVERY_S, clock)
        self.refused: Counter[str] = Counter()

    def admit(self, request: web.Request) -> None:
        """Let a request in that reads; one that writes is let through to its handler, which calls `sender`."""
        _refuse_foreign_script(request)
        if (request.match_info.route.name or "").startswith(WRITES):
            return
        secret = _bearer(request)
        if secret is not None:
            token = self._known(request, secret)
            if token.allows("read"):
                return
            if not self._settings.reads_are_open:
                self._refuse_scope(request, token, "read")
        if request.path.startswith("/health/") or (self._settings.reads_are_open and not _forwarded(request)):
            self._refuse_foreign_name(request)
        else:
            self._refuse(request, "missing", 401, "no token", "send Authorization: Bearer TOKEN")

    def sender(self, request: web.Request, scope: Scope, in_body: str | None = None) -> Token:
        """Return whose token came, in the header or (for signals) in the body, if it is good for `scope`."""
        secret = _bearer(request) or in_body
        if secret is None:
            remedy = "send Authorization: Bearer TOKEN; atmand token new NAME --scope " + scope
            self._refuse(request, "missing", 401, "no token", remedy)
        token = self._known(request, secret)
        if not token.allows(scope):
            self._refuse_scope(request, token, scope)
        wait_s = self._writes.take(token.id)
        if wait_s:
            raise _too_often(request, "more writes than one sender may make", wait_s)
        return token

    def check_source(self, request: web.Request) -> None:
        """Refuse a signal from an address that the settings do not name."""
        if self._sources and not _among(self.address(request), self._sources):
            remedy = "add it to api.signal_sources; behind a proxy, name that in api.trusted_proxies"
            self._refuse(request, "source", 403, "signals are not taken from this address", remedy)

    def address(self, request: web.Request) -> str:
        """Return whom a request is from; a proxy that is trusted says for whom it asks, and no other is asked."""
        address = request.remote or ""
        hops = [hop.strip() for value in request.headers.getall("X-Forwarded-For", []) for hop in value.split(",")]
        while hops and _among(address, self._proxies):
            address = hops.pop()
        parsed = _parsed(address)
        return "unknown" if parsed is None else str(parsed)

    def _known(self, request: web.Request, secret: str) -> Token:
        token = self._tokens.find(secret)
        if token is None:
            self._refuse(request, "unknown", 401, "no such token", "atmand token list; one that was revoked is gone")
        if token.expired:
            self._refuse(request, "expired", 401, f"the token {token.name} has expired", "atmand token new")
        return token

    def _refuse_scope(self, request: web.Request, token: Token, scope: Scope) -> NoReturn:
        what = f"the token {token.name} is for {token.scope}, and this is for {scope}"
        self._refuse(request, "scope", 403, what, f"atmand token new NAME --scope {scope}")

    def _refuse(self, request: web.Request, reason: str, status: int, what: str, remedy: str) -> NoReturn:
        """Count, tell and answer a failure. Many from one address are answered 429 and told no more.

        A good token passes all the same: a secret of 256 bits is not guessed, and whoever shares an address with a
        flood (behind one proxy, say) must not be locked out by it.
        """
        self.refused[reason] += 1
        address = self.address(request)
        wait_s = self._failures.take(address)
        if wait_s:
            raise _too_often(request, "too many requests without a good token", wait_s)
        log.warning("api_auth_failed", address=address, path=_route_path(request), reason=reason)
        raise Refusal(status, _route_path(request), what, remedy, _CHALLENGE if status == 401 else None)

    def _refuse_foreign_name(self, request: web.Request) -> None:
        """Refuse a browser to which another site's name was given for this machine; no token tells it from us."""
        if self._settings.on_loopback and not _is_loopback(request.headers.get("Host", "")):
            remedy = "ask 127.0.0.1 or localhost; from elsewhere, through an SSH tunnel, or with a token"
            raise Refusal(403, "Host", "not a name of this machine's loopback address", remedy)


def _refuse_foreign_script(request: web.Request) -> None:
    navigates = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and not navigates:
        raise Refusal(403, _route_path(request), "asked by a script of another site", "open the page itself")


def _too_often(request: web.Request, what: str, wait_s: float) -> Refusal:
    headers = {"Retry-After": str(math.ceil(wait_s))}
    return Refusal(429, _route_path(request), what, f"wait {math.ceil(wait_s)} s", headers)


def _bearer(request: web.Request) -> str | None:
    """Return what an Authorization header brings, empty for another scheme than Bearer; None without one."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, secret = header.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _forwarded(request: web.Request) -> bool:
    """Whether a proxy passed it on: it came to this machine, and is not of it."""
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers


def _route_path(request: web.Request) -> str:
    """Return the path as the route has it: what a client wrote may hold a secret, and is repeated nowhere."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "/"


def _parsed(address: str) -> _Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _among(address: str, networks: _Networks) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}")
        if name.username is not None or name.path or name.query or name.fragment or not name.hostname:
            return False
        return name.hostname == "localhost" or ipaddress.ip_address(name.hostname).is_loopback
    except ValueError:
        return False
