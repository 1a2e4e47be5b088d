"""Kite's streaming rules without a socket: shares of tokens, requests, texts, waits and the watchdog's verdicts."""

import random
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from atmand.feed.kite_protocol import (
    Backoff,
    KiteFeedSettings,
    Spacing,
    Verdict,
    Watchdog,
    allocate,
    parse_text,
    price_scale,
    requests_for,
    token_from_file,
)
from atmand.feed.protocol import FeedError, LoginNeededError

SECOND = 1_000_000_000
NOTHING = frozenset()
token_sets = st.frozensets(st.integers(1, 60), max_size=12)


@given(st.lists(token_sets, max_size=5))
def test_tokens_stay_on_their_connection_and_none_is_lost_or_doubled(universes: list[frozenset[int]]) -> None:
    shares = [NOTHING] * 3
    for universe in universes:
        before, shares = shares, allocate(universe, shares, 4)
        assert frozenset().union(*shares) == universe
        assert sum(map(len, shares)) == len(universe)
        assert all(len(share) <= 4 for share in shares)
        assert all(old & universe <= new for old, new in zip(before, shares, strict=True))


def test_the_first_connection_is_filled_first() -> None:
    assert allocate(range(1, 4001), [NOTHING] * 3, 3000) == [
        frozenset(range(1, 3001)),
        frozenset(range(3001, 4001)),
        NOTHING,
    ]


def test_more_tokens_than_three_connections_carry_are_refused() -> None:
    with pytest.raises(FeedError, match=r"9001 instruments: 3 connections carry 3000 each"):
        allocate(range(1, 9002), [NOTHING] * 3, 3000)


@pytest.mark.parametrize("token", [0, -1, 1 << 32])
def test_a_token_that_the_wire_cannot_carry_is_refused(token: int) -> None:
    with pytest.raises(FeedError, match="32-bit"):
        allocate([token], [NOTHING], 10)


@given(token_sets, token_sets)
def test_requests_take_one_subscription_to_the_other(subscribed: frozenset[int], wanted: frozenset[int]) -> None:
    held, full = set(subscribed), set(subscribed)
    for text in requests_for(subscribed, wanted, "full"):
        request = orjson.loads(text)
        match request["a"]:
            case "unsubscribe":
                held -= set(request["v"])
            case "subscribe":
                held |= set(request["v"])
            case "mode":
                assert request["v"][0] == "full"
                full |= set(request["v"][1])
    assert held == wanted
    assert wanted <= full


def test_a_large_subscription_goes_in_batches_each_followed_by_its_mode() -> None:
    requests = [orjson.loads(text) for text in requests_for(NOTHING, frozenset(range(1, 1202)), "quote")]
    assert [request["a"] for request in requests] == ["subscribe", "mode"] * 3
    assert [len(request["v"]) for request in requests[::2]] == [500, 500, 201]
    assert requests[5]["v"] == ["quote", requests[4]["v"]]


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"type":"order","data":{"order_id":"1","status":"OPEN"}}', "order"),
        (b'{"order_id":"1","status":"OPEN"}', "order"),
        (b'{"type":"order","data":"lost"}', "unknown"),
        (b'{"type":"error","data":"Invalid token"}', "error"),
        (b'{"type":"message","data":{"a":1}}', "message"),
        (b'{"type":"instruments_meta","data":{}}', "unknown"),
        (b'{"type":["order"]}', "unknown"),
        (b"[1]", "unknown"),
        (b"{", "unknown"),
        (b"\xff\xfe", "unknown"),
        (b"", "unknown"),
    ],
)
def test_a_text_message_is_sorted_and_none_is_an_error(payload: bytes, kind: str) -> None:
    text = parse_text(payload)
    assert text.kind == kind
    if kind == "order":
        assert text.data["order_id"] == "1"


@given(st.binary(max_size=80))
def test_no_text_raises(payload: bytes) -> None:
    assert parse_text(payload).kind in ("order", "error", "message", "unknown")


class Ceiling(random.Random):
    """Draws the highest wait that is allowed."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def test_waits_double_to_their_cap_and_begin_again_after_a_reset() -> None:
    backoff = Backoff(2.0, 60.0, Ceiling())
    assert [backoff.next_s() for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    backoff.reset()
    assert backoff.next_s() == 2.0


def test_a_wait_is_drawn_from_the_whole_range_and_never_overflows() -> None:
    backoff = Backoff(2.0, 60.0, random.Random(1))
    waits = [backoff.next_s() for _ in range(3000)]
    assert min(waits) < 1.0
    assert 59.0 < max(waits) <= 60.0


def test_turns_are_spaced_and_idle_time_is_not_saved_up() -> None:
    spacing = Spacing(4.0)
    assert [spacing.wait_s(now) for now in (100.0, 100.0, 100.125, 200.0, 200.0)] == [0.0, 0.25, 0.375, 0.0, 0.25]


OPEN, CLOSE = 1000 * SECOND, 2000 * SECOND


def watchdog() -> Watchdog:
    dog = Watchdog(10 * SECOND, 30 * SECOND, lambda now: OPEN <= now < CLOSE)
    dog.opened(0, OPEN - 100 * SECOND)
    return dog


def judge(dog: Watchdog, machine_s: int, market_ns: int, instruments: int = 5) -> Verdict:
    """Ask at the watchdog's interval up to a machine second, bytes arriving all along; return the last verdict."""
    verdict = Verdict.ALIVE
    for second in range(machine_s + 1):
        dog.last_bytes_ns = second * SECOND
        verdict = dog.verdict(second * SECOND, market_ns, instruments)
    return verdict


def test_silence_of_all_bytes_is_a_dead_socket_at_any_hour() -> None:
    dog = watchdog()
    verdicts = [dog.verdict(second * SECOND, OPEN - 50 * SECOND, 0) for second in range(12)]
    assert verdicts == [Verdict.ALIVE] * 10 + [Verdict.DEAD] * 2


def test_heartbeats_without_data_in_an_open_market_are_stale() -> None:
    dog = watchdog()
    dog.last_data_ns = OPEN + 5 * SECOND
    assert judge(dog, 3, OPEN + 34 * SECOND) is Verdict.ALIVE
    assert judge(dog, 3, OPEN + 35 * SECOND) is Verdict.STALE


def test_silence_is_fine_while_the_market_is_closed_or_has_just_opened() -> None:
    assert judge(watchdog(), 3, OPEN - 1) is Verdict.ALIVE
    assert judge(watchdog(), 3, OPEN + 29 * SECOND) is Verdict.ALIVE
    assert judge(watchdog(), 3, CLOSE + 5 * SECOND) is Verdict.ALIVE


def test_a_new_subscription_is_given_its_time() -> None:
    dog = watchdog()
    dog.subscribed_ns = OPEN + 500 * SECOND
    assert judge(dog, 3, OPEN + 529 * SECOND) is Verdict.ALIVE
    assert judge(dog, 3, OPEN + 530 * SECOND) is Verdict.STALE


def test_a_connection_without_instruments_is_never_stale() -> None:
    assert judge(watchdog(), 3, OPEN + 900 * SECOND, instruments=0) is Verdict.ALIVE


def test_a_check_that_comes_late_judges_nothing_yet() -> None:
    dog = watchdog()
    assert dog.verdict(60 * SECOND, OPEN, 5) is Verdict.ALIVE
    assert dog.verdict(61 * SECOND, OPEN, 5) is Verdict.DEAD


def test_the_price_scale_is_the_segments() -> None:
    scales = {segment: price_scale(77 << 8 | segment) for segment in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12)}
    assert scales == {3: 10_000_000, 6: 10_000, 12: 10_000} | dict.fromkeys((1, 2, 4, 5, 7, 8, 9), 100)


def test_a_token_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    read = token_from_file(path)
    with pytest.raises(LoginNeededError, match="not readable"):
        read()
    path.write_text("abc\n")
    assert read() == "abc"
    path.write_text("def")
    assert read() == "def"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"a" * 5000, b"a\nb"])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(LoginNeededError, match=r"no access token|not an access token"):
        token_from_file(path)()


def test_settings_refuse_unknown_keys_and_urls_with_a_query_and_hide_secrets() -> None:
    good = {"api_key": "key-1", "api_secret": "secret-1", "access_token_file": "/run/token"}
    settings = KiteFeedSettings.model_validate(good)
    assert "key-1" not in repr(settings)
    assert "secret-1" not in repr(settings)
    bad = (
        {"stale_s": 3},
        {"ws_url": "wss://h/?access_token=x"},
        {"ws_url": "http://h"},
        {"connections": 4},
        {"dead_after_s": 0},
    )
    for change in bad:
        with pytest.raises(ValidationError):
            KiteFeedSettings.model_validate(good | change)
