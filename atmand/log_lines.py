"""Events as a person reads them at a terminal: a sentence for the events of trading, `event key=value` for the rest.

`logs` calls it where standard output is a terminal; machines get the same events as JSON lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

__all__ = ["line"]

_SENTENCES: Final = {
    "starting": "{money} money on {market}; configuration {configuration}",
    "page": "the page: {url}  from another machine: {tunnel}",
    "past_fetching": "fetching the days before the market's first: {days} of {of_days}",
    "past_folded": "traded {sessions} sessions of a simulated past in {seconds} s: {fills} fills on {instruments} "
    "instruments, flat at the end",
    "ledger_caught_up": "brought the ledger up to the journal: {rows} rows in {seconds} s",
    "params_applied": "parameters {seq} by {author} are in force: {changes} values changed",
    "parameter_changed": "{strategy}.{parameter}: {old} -> {new}",
    "params_refused": "parameters refused, nothing changed: {reason}",
    "recovered": "found the session of {day} again: {records} records folded, positions and orders as they were",
    "compiling": "compiling {books} strategies; from nothing this takes half a minute, later it is cached",
    "compiled": "compiled in {seconds} s",
    "session_opened": "session of {day}: {instruments} instruments, {books} strategies, costs as of {costs_as_of}",
    "session_resumed": "the session of {day} goes on, costs as of {costs_as_of}",
    "history_folded": "folded {candles} past candles of {instruments} instruments in {seconds} s",
    "warming": "warming: {strategy} has {bars} of {needed} bars of {instrument}",
    "ready": "ready after {seconds} s; pid {pid}, state in {state}; Ctrl-C stops",
    "entry_decided": "{strategy} wants to {side} {quantity} {instrument} near {price:.2f}",
    "order_filled": "{strategy} {side} {quantity} {instrument} at {price:.2f} ({purpose}: {reason})",
    "trade_closed": "{strategy} closed {side} {quantity} {instrument}: {entry_price:.2f} to {exit_price:.2f} "
    "({reason}), {net:+,.2f} after {costs:,.2f} of costs",
    "bars_closed": "{bars} bars closed; {best} {best_percent:+.2f} %, {worst} {worst_percent:+.2f} %",
    "books_marked": "equity {equity:,.2f}; today {day_profit:+,.2f} after {costs:,.2f} of costs, {trades} trades, "
    "{bars} bars; {positions} open now",
    "stopped": "stopped; {fills} fills and {bars} bars are in the journal",
}
_FOREIGN_COSTS: Final = ("trade_closed", "books_marked")
"""Lines about money: they name the day whose costs apply, where that is another one than the session's."""
_COLORS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m", "debug": "\x1b[2m"}
_DIM: Final = "\x1b[2m"
_GREEN: Final = "\x1b[32m"
_RED: Final = "\x1b[31m"
_BOLD: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"
_UNSAID: Final = ("time", "level", "event", "room", "market_time", "exception")


def line(context: Mapping[str, Any], *, colors: bool) -> str:
    """Write one event: market time where it has one (else this machine's), then what happened."""
    event, level = str(context.get("event", "")), str(context.get("level", "info"))
    said = _sentence(event, context)
    text = f"{_clock(context)}  {said if said is not None else _plain(event, context)}"
    if "exception" in context:
        text += f"\n{context['exception']}"
    color = _color(event, level, context)
    return f"{color}{text}{_PLAIN}" if colors and color else text


def _sentence(event: str, context: Mapping[str, Any]) -> str | None:
    template = _SENTENCES.get(event)
    if template is None:
        return None
    shown = {name: _shown(name, value) for name, value in context.items()}
    try:
        said = template.format_map(shown)
    except (KeyError, ValueError):
        return None
    foreign = event in _FOREIGN_COSTS and "costs_as_of" in context
    return f"{said} (costs as of {context['costs_as_of']})" if foreign else said


def _plain(event: str, context: Mapping[str, Any]) -> str:
    facts = " ".join(f"{name}={_shown(name, value)}" for name, value in context.items() if name not in _UNSAID)
    return f"{event.replace('_', ' ')}  {facts}".rstrip()


def _shown(name: str, value: Any) -> Any:
    """Write a share's key as people do: NSE:INFY for NSE:EQ:INFY."""
    return str(value).replace(":EQ:", ":") if name in ("instrument", "best", "worst") else value


def _clock(context: Mapping[str, Any]) -> str:
    market_time = context.get("market_time")
    if isinstance(market_time, str):
        return f"{market_time[5:10]} {market_time[11:19]}"
    try:
        return datetime.fromisoformat(str(context["time"])).astimezone().strftime("      %H:%M:%S")
    except (KeyError, ValueError):
        return " " * 14


def _color(event: str, level: str, context: Mapping[str, Any]) -> str:
    if event == "trade_closed":
        return _GREEN if float(context.get("net", 0.0)) > 0 else _RED
    if event == "bars_closed":
        return _DIM
    return _BOLD if event in ("ready", "books_marked") else _COLORS.get(level, "")
