"""Bearer tokens: who may ask for what. The daemon reads them, `atmand token` makes and revokes them.

A token is shown once, when it is made. Kept is its sha256: the secret is 256 random bits, so there is no dictionary
to try and nothing that a slow, salted hash would add; it would only cost the loop its time at each request.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, get_args

import structlog

from atmand.errors import AtmandError, UsageError

__all__ = ["LOCAL", "SCOPES", "TOKENS", "Scope", "Token", "TokenError", "Tokens", "local_token"]

log = structlog.get_logger()

Scope = Literal["read", "signal", "write", "operate"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_ALLOWS: Final[Mapping[Scope, frozenset[Scope]]] = {
    # A sender of signals must not see the books, so `signal` stands beside `read` and not above it.
    "read": frozenset({"read"}),
    "signal": frozenset({"signal"}),
    "write": frozenset({"read", "signal", "write"}),
    "operate": frozenset(SCOPES),
}

TOKENS: Final = "tokens.json"
LOCAL: Final = "operator.token"
"""Files of a state directory: the tokens' hashes, and the secret that verbs on this machine use."""
_PREFIX: Final = "atmand_"
"""So that a scanner, or a person, knows one that has leaked."""
_DAEMON_ID: Final = "00000000"
_LOCAL_ID: Final = "00000001"
"""Numbers that records name nobody else by: the daemon itself, and the verbs on this machine."""
_SCHEMA: Final = 1


class TokenError(AtmandError):
    """The tokens' file cannot be read, or may not be believed."""


@dataclass(frozen=True)
class Token:
    """One token: everything but its secret."""

    id: str
    name: str
    scope: Scope
    sha256: str
    created: str
    expires: str | None = None
    """ISO 8601, UTC; None for never."""

    @property
    def actor(self) -> int:
        """The number under which records name the sender."""
        return int(self.id, 16)

    @property
    def expired(self) -> bool:
        return self.expires is not None and datetime.fromisoformat(self.expires) <= datetime.now(UTC)

    def allows(self, scope: Scope) -> bool:
        """Whether its scope covers another: `operate` covers all, `write` covers `read` and `signal`."""
        return scope in _ALLOWS[self.scope]


class Tokens:
    """A file of tokens, looked at again when it has changed, and the token of the verbs on this machine."""

    def __init__(self, path: Path | None = None, local: Token | None = None) -> None:
        self._path, self._local = path, local
        self._seen: tuple[int, int, int] | None = None
        self._kept: tuple[Token, ...] = ()

    def find(self, secret: str) -> Token | None:
        """Return the token of a secret, expired or not; None for an unknown one.

        Every entry is compared, each in constant time: how long it takes tells nothing about what is kept.
        """
        digest = _digest(secret)
        found = None
        for token in (*self._current(), *([self._local] if self._local else [])):
            if hmac.compare_digest(digest, token.sha256):
                found = token
        return found

    def all(self) -> tuple[Token, ...]:
        """Return the tokens of the file, oldest first; TokenError where it cannot be believed."""
        return () if self._path is None else _read(self._path)

    def add(self, name: str, scope: Scope, lifetime_ns: int | None = None) -> tuple[Token, str]:
        """Make a token and return it with its secret, which is kept nowhere. A name may be used once."""
        path = self._file()
        with _locked(path):
            tokens = _read(path)
            if any(token.name == name for token in tokens):
                raise UsageError(f"token {name}", "there is one of this name", f"atmand token revoke {name}")
            now = datetime.now(UTC).replace(microsecond=0)
            end = None if lifetime_ns is None else (now + timedelta(seconds=lifetime_ns // 10**9)).isoformat()
            taken = {_DAEMON_ID, _LOCAL_ID, *(token.id for token in tokens)}
            identity = next(new for new in iter(lambda: secrets.token_hex(4), None) if new not in taken)
            secret = _new_secret()
            token = Token(identity, name, scope, _digest(secret), now.isoformat(), end)
            _write(path, (*tokens, token))
        return token, secret

    def revoke(self, name: str) -> Token:
        """Forget a token, by its name or id; UsageError names those there are."""
        path = self._file()
        with _locked(path):
            tokens = _read(path)
            found = next((token for token in tokens if name in (token.name, token.id)), None)
            if found is None:
                known = ", ".join(token.name for token in tokens) or "none"
                raise UsageError(f"token {name}", "there is no such token", f"known are {known}")
            _write(path, tuple(token for token in tokens if token is not found))
        return found

    def _file(self) -> Path:
        assert self._path is not None, "these tokens have no file"
        return self._path

    def _current(self) -> tuple[Token, ...]:
        """Look at the file again where it is another one: a revoked token ends with the next request.

        One that cannot be read lets nobody in: it may be the one in which a token was revoked.
        """
        if self._path is None:
            return ()
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        except OSError:
            self._seen, self._kept = None, ()
            return ()
        if seen != self._seen:
            self._seen = seen
            try:
                self._kept = _read(self._path)
            except TokenError as error:
                self._kept = ()
                log.error("tokens_refused", error=str(error))
            else:
                log.info("tokens_loaded", active=len(self._kept))
        return self._kept


@contextlib.contextmanager
def local_token(state: Path) -> Iterator[tuple[Token, Path]]:
    """Make a token for the verbs on this machine, in a private file, for as long as the daemon runs."""
    secret, path = _new_secret(), state / LOCAL
    _replace(path, secret.encode() + b"\n")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        yield Token(_LOCAL_ID, "local", "operate", _digest(secret), now), path
    finally:
        path.unlink(missing_ok=True)


def _new_secret() -> str:
    return _PREFIX + secrets.token_urlsafe(32)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> tuple[Token, ...]:
    """Read a file of tokens: none where it is missing; TokenError where others may write it or it is damaged."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o022:
                raise TokenError(str(path), "others can write it", f"make it yours alone: chmod 600 {path}")
            document = json.loads(file.read())
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']}")
        return tuple(_checked(Token(**row)) for row in document["tokens"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TokenError(str(path), error.strerror or "cannot be read", "make it readable for its owner") from None
    except (ValueError, TypeError, KeyError) as error:
        raise TokenError(str(path), f"damaged: {error}", "remove it and make the tokens anew") from None


def _checked(token: Token) -> Token:
    if token.scope not in SCOPES or len(bytes.fromhex(token.sha256)) != 32 or not 0 <= token.actor < 2**32:
        raise ValueError(f"token {token.name}")
    if token.expires is not None and datetime.fromisoformat(token.expires).tzinfo is None:
        raise ValueError(f"token {token.name}: expires without a zone")
    return token


def _write(path: Path, tokens: tuple[Token, ...]) -> None:
    document = {"schema": _SCHEMA, "tokens": [asdict(token) for token in tokens]}
    _replace(path, json.dumps(document, indent=1).encode() + b"\n")


def _replace(path: Path, content: bytes) -> None:
    """Put a private file in the place of another at once; a reader finds the old one or the new one, whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise TokenError(str(path), error.strerror or "cannot be written", "make its folder writable") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one writer in at a time, so that two new tokens are both kept; the kernel frees the lock of one that dies."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise TokenError(str(path.parent), error.strerror or "cannot be written", "name another with --state") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
