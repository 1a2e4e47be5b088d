"""The REST calls that a feed needs, as the broker answers them (kite.trade/docs: User, Market quotes, Historical).

Answers are JSON envelopes with the broker's error types; the dump is compressed CSV. The server adds these routes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import numpy as np
import structlog
from aiohttp import web

from atmand.clocks import monotonic_ns
from atmand.sim.broker import Broker
from atmand.sim.exchange import Exchange
from atmand.sim.history import HistoryError, candles_between
from atmand.sim.orders_rest import order_routes
from atmand.sim.quotes import contract_quote, full_quote, ist_text
from atmand.sim.settings import SimSettings
from atmand.sim.universe import dump_csv

__all__ = ["Login", "error_body", "rest_routes", "same_secret"]

log = structlog.get_logger()

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SECOND: Final = 1_000_000_000
_QUOTE_KEYS: Final = {"quote": 500, "ohlc": 1000, "ltp": 1000}
_USER: Final = {
    "user_id": "SIM001",
    "user_type": "individual",
    "email": "sim@localhost",
    "user_name": "Simulated Trader",
    "user_shortname": "Simulated",
    "broker": "ZERODHA",
    "exchanges": ["NSE", "BSE", "NFO", "BFO"],
    "products": ["CNC", "NRML", "MIS", "CO"],
    "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
    "avatar_url": None,
    "meta": {"demat_consent": "physical"},
}


class _KiteError(Exception):
    """An answer other than success: HTTP status, the broker's error type, its message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


def same_secret(given: str, wanted: str) -> bool:
    """Compare two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


class Login:
    """The one application and its access token, which a logout ends and a login starts again."""

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._active = True

    def allows(self, api_key: str, access_token: str) -> bool:
        known = same_secret(api_key, self._settings.api_key)
        return known and self._active and same_secret(access_token, self._settings.access_token.get_secret_value())

    def allows_header(self, header: str) -> bool:
        """Check `Authorization: token api_key:access_token`."""
        scheme, _, pair = header.partition(" ")
        api_key, _, access_token = pair.partition(":")
        return scheme == "token" and self.allows(api_key, access_token)

    def start(self, api_key: str, request_token: str, checksum: str) -> str:
        """Return the access token for a request token; the checksum proves the application's secret."""
        settings = self._settings
        secret = settings.api_secret.get_secret_value()
        proof = hashlib.sha256(f"{api_key}{request_token}{secret}".encode()).hexdigest()
        known = same_secret(api_key, settings.api_key)
        if not (known and same_secret(request_token, settings.request_token.get_secret_value())):
            raise _KiteError(403, "TokenException", "Token is invalid or has expired.")
        if not same_secret(checksum, proof):
            raise _KiteError(403, "TokenException", "Invalid `checksum`.")
        self._active = True
        return settings.access_token.get_secret_value()

    def end(self) -> None:
        self._active = False


class _Allowance:
    """At most `rate` calls a second, with a second's worth at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = max(1.0, rate)
        self._at_ns = monotonic_ns()

    def take(self) -> None:
        now = monotonic_ns()
        self._left = min(max(1.0, self._rate), self._left + (now - self._at_ns) / _SECOND * self._rate)
        self._at_ns = now
        if self._left < 1.0:
            raise _KiteError(429, "NetworkException", "Too many requests")
        self._left -= 1.0


@web.middleware
async def error_body(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer every failure in the broker's own envelope."""
    try:
        return await handler(request)
    except _KiteError as error:
        return _failure(error.status, error.kind, error.message)
    except web.HTTPException as error:
        kind = "TokenException" if error.status == 403 else "GeneralException"
        message = "Route not found" if error.status == 404 else error.text or error.reason
        return _failure(error.status, kind, message)
    except Exception:
        log.exception("request_failed", path=request.path)
        return _failure(500, "GeneralException", "Something unexpected happened")


def rest_routes(exchange: Exchange, broker: Broker, login: Login, settings: SimSettings) -> list[web.RouteDef]:
    """Return the REST calls of one exchange and its broker."""
    calls = _Calls(exchange, login, settings)
    return [
        *order_routes(broker, calls.admit, _success, _failure),
        web.post("/session/token", calls.start_session),
        web.delete("/session/token", calls.end_session),
        web.get("/user/profile", calls.profile),
        web.get("/instruments", calls.instruments),
        web.get("/instruments/{exchange}", calls.instruments),
        web.get("/instruments/historical/{token}/{interval}", calls.historical),
        web.get("/quote", calls.quote),
        web.get("/quote/ohlc", calls.quote),
        web.get("/quote/ltp", calls.quote),
    ]


class _Calls:
    def __init__(self, exchange: Exchange, login: Login, settings: SimSettings) -> None:
        self._exchange = exchange
        self._login = login
        self._historical = _Allowance(settings.historical_per_second)
        self._quote = _Allowance(settings.quote_per_second)
        self._other = _Allowance(settings.calls_per_second)

    async def start_session(self, request: web.Request) -> web.Response:
        form = await request.post()
        given = [str(form.get(name, "")) for name in ("api_key", "request_token", "checksum")]
        missing = [name for name in ("api_key", "request_token", "checksum") if not form.get(name)]
        if missing:
            raise _KiteError(400, "InputException", f"Missing or empty field `{missing[0]}`")
        access_token = self._login.start(*given)
        tokens = {"api_key": given[0], "access_token": access_token, "public_token": "sim_public", "refresh_token": ""}
        return _success(_USER | tokens | {"enctoken": "", "silo": "", "login_time": ist_text(self._exchange.now_ns)})

    async def end_session(self, request: web.Request) -> web.Response:
        if not self._login.allows(request.query.get("api_key", ""), request.query.get("access_token", "")):
            raise _KiteError(403, "TokenException", "Incorrect `api_key` or `access_token`.")
        self._login.end()
        return _success(True)

    async def profile(self, request: web.Request) -> web.Response:
        self._admit(request, self._other)
        return _success(_USER)

    async def instruments(self, request: web.Request) -> web.Response:
        self._admit(request, self._other)
        exchange = request.match_info.get("exchange")
        market = self._exchange.market
        contracts = self._exchange.contracts
        known = {row.exchange for row in market.listings} | ({"NFO", "BFO"} if contracts is not None else set())
        if exchange is not None and exchange not in known:
            raise _KiteError(400, "InputException", "Invalid exchange")
        day = self._exchange.session or market.first_session()
        reference = market.reference(day)
        rows = () if contracts is None else contracts.dump_rows(market.chain(contracts.day).close_before)
        text = dump_csv(market.listings, reference.close_before.tolist(), reference.tick.tolist(), exchange, rows)
        response = web.Response(text=text, content_type="text/csv")
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async def historical(self, request: web.Request) -> web.Response:
        self._admit(request, self._historical)
        token = request.match_info["token"]
        if not (token.isascii() and token.isdigit()):
            raise _KiteError(400, "InputException", "invalid token")
        try:
            # Days that nobody has asked for yet are computed now: not in the loop that moves the market.
            interval, query = request.match_info["interval"], request.query
            wanted = candles_between(self._exchange, int(token), interval, query.get("from"), query.get("to"))
            candles = await asyncio.to_thread(wanted)
        except HistoryError as error:
            raise _KiteError(400, "InputException", str(error)) from error
        if request.query.get("oi") != "1":
            candles = [candle[:-1] for candle in candles]
        return _success({"candles": candles})

    async def quote(self, request: web.Request) -> web.Response:
        self._admit(request, self._quote)
        names = list(dict.fromkeys(request.query.getall("i", [])))
        form = request.path.rpartition("/")[2]
        if not names or len(names) > _QUOTE_KEYS[form]:
            raise _KiteError(400, "InputException", f"`i` wants 1 to {_QUOTE_KEYS[form]} instruments")
        return _success(self._quotes(names, form))

    def _quotes(self, names: Iterable[str], form: str) -> dict[str, dict[str, Any]]:
        """Return quotes by the name that was asked for; an unknown name is left out, as the broker does."""
        columns = {name: self._column(name) for name in names}
        asked = np.array(sorted({column for column in columns.values() if column is not None}), np.int64)
        packets, known = self._exchange.state(asked)
        rows = {int(column): packet for column, packet in zip(known, packets, strict=True)}
        market = self._exchange.market
        reference = market.reference(self._exchange.session or market.first_session())
        quotes = {}
        for name, column in columns.items():
            if column is not None and column in rows:
                quote = full_quote(rows[column], market.listings[column], reference, column)
                quotes[name] = {key: quote[key] for key in _KEYS[form]} if form in _KEYS else quote
        return quotes | self._contract_quotes([name for name in columns if columns[name] is None], form)

    def _contract_quotes(self, names: list[str], form: str) -> dict[str, dict[str, Any]]:
        exchange = self._exchange
        columns = {name: column for name in names if (column := exchange.contract_of(_token_or_key(name))) is not None}
        packets, known = exchange.contract_state(np.array(sorted(set(columns.values())), np.int64))
        rows = {int(column): packet for column, packet in zip(known, packets, strict=True)}
        quotes = {}
        for name, column in columns.items():
            if column in rows:
                chain = exchange.desk().chain
                quote = contract_quote(rows[column], int(chain.lower[column]), int(chain.upper[column]))
                quotes[name] = {key: quote[key] for key in _KEYS[form]} if form in _KEYS else quote
        return quotes

    def _column(self, name: str) -> int | None:
        return self._exchange.column_of(_token_or_key(name))

    def admit(self, request: web.Request) -> None:
        """Refuse a caller without the day's token, or one that calls too often."""
        self._admit(request, self._other)

    def _admit(self, request: web.Request, allowance: _Allowance) -> None:
        if not self._login.allows_header(request.headers.get("Authorization", "")):
            raise _KiteError(403, "TokenException", "Incorrect `api_key` or `access_token`.")
        allowance.take()


def _token_or_key(name: str) -> int | str:
    return int(name) if name.isascii() and name.isdigit() else name


_KEYS: Final = {"ltp": ("instrument_token", "last_price"), "ohlc": ("instrument_token", "last_price", "ohlc")}


def _success(data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})


def _failure(status: int, kind: str, message: str) -> web.Response:
    body = {"status": "error", "message": message, "data": None, "error_type": kind}
    return web.json_response(body, status=status)
