"""The HTTP calls against a server on loopback: spans, exact prices, limits, errors with their remedy, the login."""

import gzip
import hashlib
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from atmand.core.records import HISTORY_ROW, BarFlag
from atmand.errors import ExitCode
from atmand.feed.kite_protocol import KiteFeedSettings
from atmand.feed.kite_rest import INTERVALS, KiteRest, parse_candles, spans
from atmand.feed.protocol import FeedError, FeedUnreachableError, LoginNeededError

NS = 1_000_000_000
DAY_NS = 86_400 * NS
MINUTE_NS = 60 * NS
INFY = 408065
INDIA = timezone(timedelta(hours=5, minutes=30))


class AtOnce(random.Random):
    """Waits not at all."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


class FixedClock:
    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns


def india_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=INDIA).timestamp()) * NS


Answer = Callable[[web.Request], web.Response]


@asynccontextmanager
async def client(answer: Answer, *, now_ns: int = india_ns("2026-07-06 12:00"), **changes: object) -> AsyncIterator:
    """A client of a server that answers each request with `answer`; the requests are kept in `client.seen`."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        await request.post()
        seen.append(request)
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(application, host="127.0.0.1") as server:
        settings = KiteFeedSettings.model_validate(
            {
                "api_key": "key",
                "api_secret": "hush",
                "access_token_file": "/run/kite/token",
                "rest_url": str(server.make_url("/")),
                "historical_per_s": 10_000,
                "rest_timeout_s": 5,
                **changes,
            }
        )
        async with KiteRest(settings, lambda: "today", FixedClock(now_ns), rng=AtOnce()) as rest:
            rest.seen = seen
            yield rest


def refusal(status: int, kind: str, message: str = "No") -> web.Response:
    body = {"status": "error", "message": message, "error_type": kind, "data": None}
    return web.json_response(body, status=status)


def candles_answer(*candles: list) -> web.Response:
    return web.json_response({"status": "success", "data": {"candles": list(candles)}})


@given(st.integers(0, 10**6), st.integers(0, 20_000), st.integers(100, 10**5))
def test_spans_cover_the_time_without_gap_or_overlap(start: int, length: int, longest: int) -> None:
    parts = list(spans(start, start + length, longest))
    assert all(0 < end - begin <= longest for begin, end in parts)
    assert all(left[1] == right[0] for left, right in pairwise(parts))
    assert sum(end - begin for begin, end in parts) == length
    assert not parts or parts[0][0] == start


async def test_a_long_history_is_asked_for_in_spans_of_sixty_days() -> None:
    asked = []

    def answer(request: web.Request) -> web.Response:
        begin, end = (datetime.fromisoformat(request.query[name]) for name in ("from", "to"))
        asked.append((begin, end))
        days = [begin + timedelta(days=n) for n in range((end - begin).days + 1)]
        return candles_answer(*([day.strftime("%Y-%m-%dT%H:%M:%S+0530"), 1, 2, 0.5, 1.5, 10] for day in days))

    first = india_ns("2026-01-01 09:15")
    async with client(answer) as rest:
        rows = await rest.history(INFY, first, first + 130 * DAY_NS)
    assert [end - begin for begin, end in asked] == [timedelta(days=days, seconds=-1) for days in (60, 60, 10)]
    assert rest.seen[0].path == f"/instruments/historical/{INFY}/minute"
    assert rest.seen[0].query["from"] == "2026-01-01 09:15:00"
    assert rest.seen[0].headers["Authorization"] == "token key:today"
    assert rest.seen[0].headers["X-Kite-Version"] == "3"
    assert rows["start_ns"].tolist() == [first + n * DAY_NS for n in range(130)]


async def test_history_is_half_open_sorted_and_each_candle_comes_once() -> None:
    first = india_ns("2026-07-06 09:15")
    minutes = [3, 1, 1, 2, 0, -1]
    times = [datetime.fromtimestamp((first + n * MINUTE_NS) // NS, INDIA).isoformat() for n in minutes]
    async with client(lambda _: candles_answer(*([time, 1, 1, 1, 1, 1] for time in times))) as rest:
        rows = await rest.history(INFY, first, first + 3 * MINUTE_NS)
    assert rows["start_ns"].tolist() == [first, first + MINUTE_NS, first + 2 * MINUTE_NS]


async def test_the_candle_that_is_still_open_is_flagged() -> None:
    first = india_ns("2026-07-06 09:15")
    times = ["2026-07-06T09:15:00+0530", "2026-07-06T09:16:00+0530"]
    answer = candles_answer(*([time, 10, 10, 10, 10, 5] for time in times))
    async with client(lambda _: answer, now_ns=first + 90 * NS) as rest:
        rows = await rest.history(INFY, first, first + 10 * MINUTE_NS)
    assert rows["flags"].tolist() == [BarFlag.HISTORY, BarFlag.HISTORY | BarFlag.UNFINISHED]


@given(st.integers(0, 10**9), st.sampled_from([100, 10_000, 10_000_000]))
def test_a_decimal_price_becomes_exactly_its_integer(units: int, scale: int) -> None:
    price = json.loads(f"{units // scale}.{units % scale:0{len(str(scale)) - 1}d}")
    rows = parse_candles(
        [["2026-07-06T09:15:00+0530", price, price, price, price, 7, 99]], scale=scale, bar_ns=MINUTE_NS, asked_ns=0
    )
    assert rows[["open", "high", "low", "close", "volume"]].tolist() == [(units, units, units, units, 7)]
    assert rows.dtype == HISTORY_ROW


@pytest.mark.parametrize(
    "candles",
    [
        None,
        [[]],
        [["2026-07-06T09:15:00+0530", 1, 1, 1, 1]],
        [["2026-07-06T09:15:00", 1, 1, 1, 1, 1]],
        [["x", 1, 1, 1, 1, 1]],
        [[5, 1, 1, 1, 1, 1]],
        [["2026-07-06T09:15:00+0530", None, 1, 1, 1, 1]],
        [["2026-07-06T09:15:00+0530", 1e300, 1, 1, 1, 1]],
        [{"time": 1}],
    ],
)
def test_an_answer_that_is_no_candles_is_refused_with_one_clear_error(candles: object) -> None:
    with pytest.raises(FeedUnreachableError, match="kite candles"):
        parse_candles(candles, scale=100, bar_ns=MINUTE_NS, asked_ns=0)


def test_the_recorded_answer_reads_as_it_is_written() -> None:
    data = os.environ.get("ATMAND_TEST_DATA")
    if not data:
        pytest.skip("ATMAND_TEST_DATA is not set")
    candles = json.loads((Path(data) / "kite" / "historical_minute.json").read_text())["data"]["candles"]
    rows = parse_candles(candles, scale=100, bar_ns=MINUTE_NS, asked_ns=2**62)
    assert len(rows) == len(candles)
    first = datetime(2017, 12, 15, 3, 45, tzinfo=UTC)
    assert rows[0].tolist() == (
        0,
        int(first.timestamp()) * NS,
        170450,
        170500,
        169925,
        170280,
        2499,
        BarFlag.HISTORY,
    )
    assert (np.diff(rows["start_ns"]) > 0).all()


async def test_too_many_requests_is_waited_out() -> None:
    answers = iter([refusal(429, "NetworkException", "Too many requests"), refusal(503, "NetworkException")])
    async with client(lambda _: next(answers, None) or candles_answer()) as rest:
        assert len(await rest.history(INFY, 0, DAY_NS)) == 0
    assert len(rest.seen) == 3


async def test_the_wait_for_a_limit_has_an_end() -> None:
    async with client(lambda _: refusal(429, "NetworkException", "Too many requests"), rest_attempts=4) as rest:
        with pytest.raises(
            FeedUnreachableError, match=r"HTTP 429: Too many requests; lower .*historical_per_s"
        ) as error:
            await rest.history(INFY, 0, DAY_NS)
    assert len(rest.seen) == 4
    assert error.value.exit_code == ExitCode.UNREACHABLE


async def test_a_dead_token_says_to_log_in_again_and_is_not_retried() -> None:
    async with client(lambda _: refusal(403, "TokenException", "Incorrect `api_key` or `access_token`.")) as rest:
        with pytest.raises(LoginNeededError, match=r"log in again .* access_token_file /run/kite/token"):
            await rest.history(INFY, 0, DAY_NS)
    assert len(rest.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (403, "PermissionException", FeedError),
        (400, "InputException", FeedError),
        (500, "GeneralException", FeedUnreachableError),
        (502, "DataException", FeedUnreachableError),
    ],
)
async def test_errors_go_by_their_type(status: int, kind: str, expected: type[FeedError]) -> None:
    async with client(lambda _: refusal(status, kind), rest_attempts=2) as rest:
        with pytest.raises(FeedError) as error:
            await rest.instruments()
    assert type(error.value) is expected


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "[]", "null", '{"status":"success"}', '{"data":7}'])
async def test_an_answer_of_another_form_is_one_clear_error(body: str) -> None:
    async with client(lambda _: web.Response(text=body)) as rest:
        with pytest.raises(FeedUnreachableError):
            await rest.history(INFY, 0, DAY_NS)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with client(lambda _: candles_answer(), rest_url="http://127.0.0.1:1", rest_attempts=3) as rest:
        with pytest.raises(FeedUnreachableError, match="ClientConnectorError"):
            await rest.instruments()


async def test_an_unknown_interval_names_those_there_are() -> None:
    async with client(lambda _: candles_answer()) as rest:
        with pytest.raises(FeedError, match="use one of minute"):
            await rest.history(INFY, 0, DAY_NS, "2minute")
    assert all(interval.bar_ns < interval.span_ns for interval in INTERVALS.values())


CSV = "instrument_token,exchange_token,tradingsymbol\n408065,1594,INFY\n"


@pytest.mark.parametrize("encoding", [{"Content-Encoding": "gzip"}, {}])
async def test_the_instruments_come_out_of_their_gzip(encoding: dict[str, str]) -> None:
    def answer(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(CSV.encode()), headers={"Content-Type": "text/csv", **encoding})

    async with client(answer) as rest:
        assert await rest.instruments() == CSV
        assert await rest.instruments("NSE") == CSV
    assert [request.path for request in rest.seen] == ["/instruments", "/instruments/NSE"]


async def test_a_page_in_place_of_the_instruments_is_refused() -> None:
    async with client(lambda _: web.Response(text="<html>")) as rest:
        with pytest.raises(FeedUnreachableError, match="not the instruments table"):
            await rest.instruments()


async def test_a_login_is_exchanged_with_its_checksum_and_shows_no_secret() -> None:
    data = {"access_token": "t0ken", "user_id": "XX0000", "login_time": "2026-07-06 08:00:00"}
    form: dict[str, str] = {}

    def answer(request: web.Request) -> web.Response:
        form.update(request._post)
        return web.json_response({"status": "success", "data": data})

    async with client(answer) as rest:
        session = await rest.exchange_session("req")
    assert form == {
        "api_key": "key",
        "request_token": "req",
        "checksum": hashlib.sha256(b"keyreqhush").hexdigest(),
    }
    assert (session.access_token, session.user_id) == ("t0ken", "XX0000")
    assert "t0ken" not in repr(session)


async def test_a_login_is_not_repeated_after_trouble_and_needs_its_secret() -> None:
    async with client(lambda _: refusal(503, "NetworkException")) as rest:
        with pytest.raises(FeedUnreachableError):
            await rest.exchange_session("req")
    assert len(rest.seen) == 1
    async with client(lambda _: candles_answer(), api_secret=None) as rest:
        with pytest.raises(FeedError, match=r"feed\.kite\.api_secret: not set"):
            await rest.exchange_session("req")


async def test_a_redirect_does_not_carry_the_token_elsewhere() -> None:
    async with client(lambda _: web.Response(status=302, headers={"Location": "/elsewhere"})) as rest:
        with pytest.raises(FeedUnreachableError, match="HTTP 302"):
            await rest.instruments()
    assert len(rest.seen) == 1


async def test_last_prices_are_asked_for_by_name_in_parts() -> None:
    def answer(request: web.Request) -> web.Response:
        names = request.query.getall("i")
        known = {name: {"instrument_token": 1, "last_price": 24012.4} for name in names if name != "NSE:NOBODY"}
        return web.json_response({"status": "success", "data": known})

    names = ["NSE:NIFTY 50", "NSE:M&M", "NSE:NOBODY", *(f"NSE:S{at}" for at in range(600))]
    async with client(answer) as rest:
        found = await rest.last_prices(names)
        assert [len(request.query.getall("i")) for request in rest.seen] == [500, 103]
        assert rest.seen[0].path == "/quote/ltp" and rest.seen[0].query.getall("i")[:2] == ["NSE:NIFTY 50", "NSE:M&M"]
        assert found == dict.fromkeys((name for name in names if name != "NSE:NOBODY"), 24012.4)
        assert await rest.last_prices([]) == {}


@pytest.mark.parametrize("data", [[], {"NSE:INFY": {}}, {"NSE:INFY": {"last_price": "much"}}, {"NSE:INFY": None}])
async def test_an_answer_without_prices_is_refused(data: object) -> None:
    async with client(lambda _: web.json_response({"status": "success", "data": data})) as rest:
        with pytest.raises(FeedUnreachableError, match="the answer holds no prices"):
            await rest.last_prices(["NSE:INFY"])
