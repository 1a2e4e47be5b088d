"""The calls of Kite Connect's HTTP interface that a feed needs: instruments, past candles, the login exchange.

The daemon uses them at start, after gaps and once a day. Paths, limits and errors are those of
kite.trade/docs/connect/v3 (instruments, historical, user, exceptions).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from atmand.clocks import MarketClock
from atmand.core.records import HISTORY_ROW, BarFlag
from atmand.feed.kite_protocol import Backoff, KiteFeedSettings, Spacing, TokenSource, price_scale
from atmand.feed.protocol import FeedError, FeedUnreachableError, LoginNeededError

__all__ = ["INTERVALS", "Interval", "KiteRest", "KiteSession", "parse_candles", "spans"]

log = structlog.get_logger()

_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _NS
_DAY_NS: Final = 24 * 60 * _MINUTE_NS
_INDIA: Final = timezone(timedelta(hours=5, minutes=30))
_TOO_MANY: Final = 429
_PASSING: Final = frozenset({_TOO_MANY, 502, 503, 504})
_GZIP_MAGIC: Final = b"\x1f\x8b"
_QUOTE_NAMES: Final = 500
"""Names in one request for last prices; the broker takes 1,000, and a line of so many is long enough."""
_Query = Mapping[str, str] | Sequence[tuple[str, str]]
_RETRY_START_S: Final = 1.0
_RETRY_CAP_S: Final = 15.0
_TOTAL_TIMEOUTS: Final = 10
"""A whole answer may take so many times the silence that is allowed within it: the instruments are megabytes."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A candle's length and the longest span that one call may ask for, both in nanoseconds."""

    bar_ns: int
    span_ns: int


INTERVALS: Final[Mapping[str, Interval]] = {
    "minute": Interval(_MINUTE_NS, 60 * _DAY_NS),
    "3minute": Interval(3 * _MINUTE_NS, 100 * _DAY_NS),
    "5minute": Interval(5 * _MINUTE_NS, 100 * _DAY_NS),
    "10minute": Interval(10 * _MINUTE_NS, 100 * _DAY_NS),
    "15minute": Interval(15 * _MINUTE_NS, 200 * _DAY_NS),
    "30minute": Interval(30 * _MINUTE_NS, 200 * _DAY_NS),
    "60minute": Interval(60 * _MINUTE_NS, 400 * _DAY_NS),
    "day": Interval(_DAY_NS, 2000 * _DAY_NS),
}


@dataclass(frozen=True, slots=True, repr=False)
class KiteSession:
    """What a login gave; the access token dies at 06:00 India time of the next day. Its repr shows no secret."""

    access_token: str
    user_id: str
    login_time: str

    def __repr__(self) -> str:
        return f"KiteSession(user_id={self.user_id!r}, login_time={self.login_time!r})"


def spans(from_ns: int, to_ns: int, longest_ns: int) -> Iterator[tuple[int, int]]:
    """Yield adjoining half-open spans that cover `from_ns` to `to_ns`, none longer than `longest_ns`."""
    while from_ns < to_ns:
        end_ns = min(from_ns + longest_ns, to_ns)
        yield from_ns, end_ns
        from_ns = end_ns


def parse_candles(candles: Any, *, scale: int, bar_ns: int, asked_ns: int) -> NDArray[np.void]:
    """Turn `[[time, open, high, low, close, volume, ...], ...]` into HISTORY_ROW rows, `instrument` left at 0.

    Prices become integers of `scale` a rupee. A candle that was not over at `asked_ns` is flagged UNFINISHED. Raises
    FeedUnreachableError for anything that is not such a list.
    """
    try:
        rows = np.zeros(len(candles), HISTORY_ROW)
        for row, (time, *prices, volume) in zip(rows, (candle[:6] for candle in candles), strict=True):
            start_ns = _epoch_ns(time)
            row["start_ns"] = start_ns
            row["open"], row["high"], row["low"], row["close"] = (round(price * scale) for price in prices)
            row["volume"] = volume
            row["flags"] = BarFlag.HISTORY | (BarFlag.UNFINISHED if start_ns + bar_ns > asked_ns else 0)
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        raise FeedUnreachableError("kite candles", "the answer holds something else", "try again later") from error
    return rows


class KiteRest:
    """A client of one api_key; `async with` owns its connections. Calls are spaced to `historical_per_s`."""

    def __init__(
        self,
        settings: KiteFeedSettings,
        token_source: TokenSource,
        clock: MarketClock,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._token_source = token_source
        self._clock = clock
        self._rng = rng or random.Random()
        self._spacing = Spacing(settings.historical_per_s)
        timeout_s = settings.rest_timeout_s
        self._timeout = aiohttp.ClientTimeout(
            total=_TOTAL_TIMEOUTS * timeout_s, sock_connect=timeout_s, sock_read=timeout_s
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers={"X-Kite-Version": "3"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def instruments(self, exchange: str | None = None) -> str:
        """Return the day's instruments as CSV text, of one exchange or of all."""
        body = await self._get("/instruments" + (f"/{exchange}" if exchange else ""), {})
        if body.startswith(_GZIP_MAGIC):
            body = await asyncio.to_thread(gzip.decompress, body)
        text = body.decode("utf-8", "replace")
        if not text.startswith("instrument_token,"):
            raise FeedUnreachableError("kite instruments", "the answer is not the instruments table", "try again later")
        return text

    async def last_prices(self, names: Sequence[str]) -> dict[str, float]:
        """Return last prices in rupees by `EXCHANGE:SYMBOL`; what the broker does not know is left out."""
        found: dict[str, float] = {}
        for first in range(0, len(names), _QUOTE_NAMES):
            asked = [("i", name) for name in names[first : first + _QUOTE_NAMES]]
            data = _json(await self._get("/quote/ltp", asked))["data"]
            try:
                found |= {str(name): float(row["last_price"]) for name, row in data.items()}
            except (AttributeError, KeyError, TypeError, ValueError):
                raise FeedUnreachableError("kite quotes", "the answer holds no prices", "try again later") from None
        return found

    async def history(self, token: int, from_ns: int, to_ns: int, interval: str = "minute") -> NDArray[np.void]:
        """Return the candles that start from `from_ns` (included) to `to_ns` (not included), in order, each once.

        Rows are HISTORY_ROW with `instrument` 0, prices in the segment's `price_scale`, and a candle that was still
        open when it was asked for flagged UNFINISHED. Raises FeedError for an interval that Kite does not have.
        """
        if interval not in INTERVALS:
            raise FeedError(f"kite history: interval {interval!r}", "unknown", f"use one of {', '.join(INTERVALS)}")
        chosen = INTERVALS[interval]
        parts = [np.zeros(0, HISTORY_ROW)]
        for start_ns, end_ns in spans(from_ns, to_ns, chosen.span_ns):
            asked_ns = self._clock.now_ns()
            query = {"from": _india(start_ns), "to": _india(end_ns - 1), "continuous": "0", "oi": "0"}
            data = _json(await self._get(f"/instruments/historical/{token}/{interval}", query))["data"]
            candles = data.get("candles") if isinstance(data, dict) else None
            parts.append(parse_candles(candles, scale=price_scale(token), bar_ns=chosen.bar_ns, asked_ns=asked_ns))
        rows = np.concatenate(parts)
        rows = rows[(rows["start_ns"] >= from_ns) & (rows["start_ns"] < to_ns)]
        return rows[np.unique(rows["start_ns"], return_index=True)[1]]

    async def exchange_session(self, request_token: str) -> KiteSession:
        """Exchange the request token of a login for the day's access token; needs `api_secret`."""
        settings = self._settings
        if settings.api_secret is None:
            raise FeedError("feed.kite.api_secret", "not set", "the login exchange needs it")
        key, secret = settings.api_key.get_secret_value(), settings.api_secret.get_secret_value()
        checksum = hashlib.sha256((key + request_token + secret).encode()).hexdigest()
        form = {"api_key": key, "request_token": request_token, "checksum": checksum}
        data = _json(await self._call("POST", "/session/token", form=form))["data"]
        try:
            return KiteSession(str(data["access_token"]), str(data["user_id"]), str(data.get("login_time", "")))
        except (KeyError, TypeError, AttributeError):
            raise FeedUnreachableError("kite session", "the answer holds no access token", "log in again") from None

    async def _get(self, path: str, query: _Query) -> bytes:
        key = self._settings.api_key.get_secret_value()
        return await self._call("GET", path, query=query, authorization=f"token {key}:{self._token_source()}")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: _Query | None = None,
        form: Mapping[str, str] | None = None,
        authorization: str | None = None,
    ) -> bytes:
        """Call until there is an answer that is not passing trouble, at most `rest_attempts` times.

        A call with a form is repeated after 429 only, which says that it was not looked at.
        """
        assert self._session is not None, "KiteRest is used outside `async with`"
        url = self._settings.rest_url.rstrip("/") + path
        headers = {"Authorization": authorization} if authorization else {}
        backoff = Backoff(_RETRY_START_S, _RETRY_CAP_S, self._rng)
        while True:
            await asyncio.sleep(self._spacing.wait_s(asyncio.get_running_loop().time()))
            try:
                async with self._session.request(
                    method, url, params=query, data=form, headers=headers, allow_redirects=False
                ) as response:
                    status, body = response.status, await response.read()
                trouble = f"HTTP {status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                status, body, trouble = 0, b"", type(error).__name__
            if 200 <= status < 300:
                return body
            repeatable = status == _TOO_MANY or (form is None and (status == 0 or status in _PASSING))
            if not repeatable or backoff.attempts + 1 >= self._settings.rest_attempts:
                raise self._error(path, status, body, trouble)
            wait_s = backoff.next_s()
            log.warning("feed_rest_retry", feed="kite", path=path, error=trouble, wait_s=round(wait_s, 3))
            await asyncio.sleep(wait_s)

    def _error(self, path: str, status: int, body: bytes, trouble: str) -> FeedError:
        """Return the error that the server's `error_type` (else the status) stands for."""
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        answer = answer if isinstance(answer, dict) else {}
        where, what = f"kite {path}", f"{trouble}: {answer['message']}" if "message" in answer else trouble
        match answer.get("error_type"):
            case "TokenException":
                remedy = f"log in again and write the new token to access_token_file {self._settings.access_token_file}"
                return LoginNeededError(where, what, remedy)
            case "PermissionException":
                return FeedError(where, what, "the api_key's plan does not include this; see developers.kite.trade")
            case "InputException" | "UserException":
                return FeedError(where, what)
        if status == _TOO_MANY:
            return FeedUnreachableError(where, what, "lower feed.kite.historical_per_s, or wait")
        return FeedUnreachableError(where, what, "check the network and the broker's status page, then try again")


def _json(body: bytes) -> dict[str, Any]:
    """Return a successful answer, which is an object with `data`."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or "data" not in answer:
        raise FeedUnreachableError("kite", "the answer is not of its documented form", "try again later")
    return answer


def _epoch_ns(time: str) -> int:
    """Read a candle's time; one without an offset would be taken for this machine's own, and is refused."""
    moment = datetime.fromisoformat(time)
    if moment.tzinfo is None:
        raise ValueError(time)
    return int(moment.timestamp()) * _NS


def _india(time_ns: int) -> str:
    """Format a time as the interface takes it: India's wall clock, to the second."""
    return datetime.fromtimestamp(time_ns // _NS, _INDIA).strftime("%Y-%m-%d %H:%M:%S")
