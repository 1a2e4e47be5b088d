"""Logs: JSON lines that parse, text on terminals, levels that change at once, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from atmand import logs
from atmand.log_lines import line as readable
from atmand.logs import LogSettings, configure, flush, is_secret_name, masked, set_level

log = structlog.get_logger()

SECRET = "s3cr3t-value"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    configure(LogSettings(format="json"), written)
    yield written
    flush()
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    flush()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line(stream: io.StringIO) -> None:
    log.info("order_filled", instrument="NSE:INFY", quantity=np.int64(10), price=1502.35, note="two\nlines")
    (line,) = lines(stream)
    assert list(line)[:4] == ["time", "level", "event", "room"]
    assert line["event"] == "order_filled" and line["quantity"] == 10 and line["note"] == "two\nlines"
    assert line["room"] == __name__.split(".")[0]
    moment = datetime.fromisoformat(line["time"])
    assert line["time"].endswith("Z") and moment.utcoffset() is not None
    assert len(line["time"]) == len("2026-07-06T03:45:00.123Z")


def test_any_value_can_be_logged(stream: io.StringIO) -> None:
    log.warning("strange", value=object(), tuple=(1, "a"), nested={"a": {1: 2}}, nothing=None, number=float("nan"))
    (line,) = lines(stream)
    assert line["level"] == "warning" and line["nested"] == {"a": {"1": 2}} and line["tuple"] == [1, "a"]


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers(0, 2**60) | st.binary(), max_size=4))
def test_whatever_the_context_the_line_parses(context: dict[str, Any]) -> None:
    assert json.loads(logs._json({"event": "x", **context}))["event"]


def test_a_level_changes_for_loggers_in_use(stream: io.StringIO) -> None:
    bound = log.bind(feed="kite")
    bound.debug("unseen")
    set_level("debug")
    bound.debug("seen")
    set_level("error")
    bound.warning("unseen_too")
    bound.error("seen_too")
    assert [line["event"] for line in lines(stream)] == ["seen", "seen_too"]


def test_a_second_configuration_reaches_loggers_in_use(stream: io.StringIO) -> None:
    log.info("first")
    second = io.StringIO()
    configure(LogSettings(format="text"), second)
    log.info("second", instrument="NSE:INFY")
    flush()
    assert [line["event"] for line in lines(stream)] == ["first"]
    assert "second" in second.getvalue() and "instrument=NSE:INFY" in second.getvalue()
    assert "\x1b" not in second.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_text_and_a_pipe_json(stream: io.StringIO) -> None:
    terminal = Terminal()
    configure(LogSettings(), terminal)
    log.info("ready", port=1)
    pipe = io.StringIO()
    configure(LogSettings(), pipe)
    log.info("ready", port=1)
    flush()
    assert not terminal.getvalue().lstrip().startswith("{") and "ready" in terminal.getvalue()
    assert lines(pipe)[0]["port"] == 1


def test_libraries_speak_on_the_same_lines(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.client").warning("closed %s", "badly")
    logging.getLogger("aiohttp.access").info("not heard")
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("asyncio").exception("outer")
    closed, failed = lines(stream)
    assert (closed["event"], closed["logger"], closed["message"]) == (
        "library_message",
        "aiohttp.client",
        "closed badly",
    )
    assert failed["level"] == "error" and "ValueError: inner" in failed["exception"]


def test_an_exception_is_in_the_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("inner")
    except ValueError:
        log.exception("replay_failed")
    (line,) = lines(stream)
    assert "ValueError: inner" in line["exception"] and line["level"] == "error"


def test_no_secret_reaches_a_line(stream: io.StringIO) -> None:
    log.info("a", api_key=SECRET, Token=SECRET, nested={"access_token": SECRET, "list": [{"password": SECRET}]})
    log.info("b", value=SecretStr(SECRET), values=[SecretStr(SECRET)])
    log.info("c", url=f"wss://ws.example/?api_key=k&access_token={SECRET}", header=f"Authorization: token k:{SECRET}")
    log.info("d", text=f'{{"access_token": "{SECRET}"}}', bearer=f"Bearer {SECRET}")
    logging.getLogger("aiohttp").warning("GET /?access_token=%s", SECRET)
    try:
        raise ValueError(f"api_secret={SECRET}")
    except ValueError:
        log.exception("e")
    text = "\n".join(map(json.dumps, lines(stream)))
    assert text.count("***") >= 10
    assert SECRET not in text


def test_what_only_sounds_secret_is_shown() -> None:
    assert masked("access_token_file", "/etc/atmand/token") == "/etc/atmand/token"
    assert masked("tokens", 100) == 100
    assert masked("instrument", "NSE:INFY") == "NSE:INFY"
    assert masked("api_key", "") == ""
    assert is_secret_name("API_SECRET") and not is_secret_name("price")


class Stalled(io.StringIO):
    """A reader that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(30)
        return super().write(text)


def test_a_stalled_reader_stalls_no_caller_and_the_loss_is_told(stream: io.StringIO) -> None:
    stalled = Stalled()
    configure(LogSettings(format="json"), stalled)
    for number in range(logs._LIMIT + 100):
        log.info("tick", number=number)
    stalled.go_on.set()
    flush(30)
    found = [json.loads(line) for line in stalled.getvalue().splitlines()]
    lost = sum(line["lines"] for line in found if line["event"] == "log_lines_dropped")
    ticks = [line["number"] for line in found if line["event"] == "tick"]
    assert lost >= 99 and lost + len(ticks) == logs._LIMIT + 100
    assert ticks == sorted(ticks)


def test_a_reader_that_went_away_is_no_error(stream: io.StringIO) -> None:
    gone = io.StringIO()
    configure(LogSettings(format="json"), gone)
    gone.close()
    log.error("unheard")
    flush()
    configure(LogSettings(format="json"), stream)
    log.info("heard")
    assert [line["event"] for line in lines(stream)] == ["heard"]


def test_at_a_terminal_money_names_the_day_of_its_costs_where_that_is_another_one() -> None:
    closed = {"strategy": "s", "side": "BUY", "quantity": 7, "instrument": "NSE:EQ:INFY", "entry_price": 1.0}
    closed |= {"exit_price": 2.0, "reason": "rule", "costs": 3.0, "net": 4.0}
    marked = {"equity": 1.0, "day_profit": 2.0, "costs": 3.0, "trades": 4, "bars": 5, "positions": 6}
    for event, facts in (("trade_closed", closed), ("books_marked", marked)):
        own = readable({"event": event, **facts}, colors=False)
        assert "3.00 of costs" in own and "as of" not in own
        other = readable({"event": event, **facts, "costs_as_of": "2026-07-06"}, colors=False)
        assert other == f"{own} (costs as of 2026-07-06)"
    opened = {"event": "session_resumed", "day": "2016-08-16", "missed": False, "costs_as_of": "2026-07-06"}
    assert readable(opened, colors=False).endswith("the session of 2016-08-16 goes on, costs as of 2026-07-06")


def test_at_a_terminal_closed_bars_are_a_short_line() -> None:
    facts = {"bars": 120, "best": "NSE:EQ:INFY", "best_percent": 0.631, "worst": "NSE:EQ:LT", "worst_percent": -0.15}
    said = readable({"event": "bars_closed", "market_time": "2026-07-06T09:47:01.000+05:30", **facts}, colors=False)
    assert said == "07-06 09:47:01  120 bars closed; NSE:INFY +0.63 %, NSE:LT -0.15 %"
