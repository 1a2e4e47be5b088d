"""The verbs that tell a running daemon: `atmand strategy pause|resume`, `exit`, `entries` and `reload`.

They use the API with the token that the daemon left in its state directory; `reload` sends the signal and asks.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from atmand.cli_daemon import ask, daemon_of, tell
from atmand.cli_strategy import strategy_app
from atmand.cli_words import Config, Json, State, print_json, print_rows, say, state_of, verb
from atmand.errors import ExitCode, UnreachableError, UnsafeError, UsageError

__all__ = ["entries", "exit_", "reload"]

_TRADE: Final = re.compile(r"p?\d+-\d+")
_POSITION: Final = ("strategy", "account", "instrument", "quantity", "trade_id")
_CHANGE: Final = ("path", "old", "new")
_PATIENCE_S: Final = 90.0
"""Changed rules are compiled before a reload answers."""
_LOOK_S: Final = 0.1

Strategy = Annotated[str, typer.Argument(help="A strategy's name in the configuration.", metavar="NAME")]


@verb(strategy_app, "pause", "atmand strategy pause rsi_macd")
def pause(
    context: typer.Context, name: Strategy, config: Config = None, state: State = None, as_json: Json = False
) -> None:
    """Let a strategy open no new position; open ones keep their exits. It holds until `resume`, over restarts too."""
    here = daemon_of(state_of(context, config, state))
    _told(tell(here, f"/v1/strategies/{_quoted(name)}/pause"), f"{name} is paused", as_json)


@verb(strategy_app, "resume", "atmand strategy resume rsi_macd")
def resume(
    context: typer.Context, name: Strategy, config: Config = None, state: State = None, as_json: Json = False
) -> None:
    """Let a paused strategy trade again."""
    here = daemon_of(state_of(context, config, state))
    _told(tell(here, f"/v1/strategies/{_quoted(name)}/resume"), f"{name} trades again", as_json)


def exit_(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="A trade's id, or an instrument: all its positions.", metavar="TRADE|INSTRUMENT")
    ],
    strategy: Annotated[
        str | None, typer.Option(help="Only this strategy's positions.", metavar="NAME", show_default=False)
    ] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Close positions at the market now. A strategy may enter again afterwards; pause it first if it must not."""
    body = {"trade" if _TRADE.fullmatch(target) else "instrument": target}
    if strategy is not None:
        body["strategy"] = strategy
    found = tell(daemon_of(state_of(context, config, state)), "/v1/exit", body)
    if not as_json:
        print_rows(_POSITION, found["positions"])
    _told(found, f"{len(found['positions'])} are being closed; atmand positions and atmand trades say how", as_json)


def entries(
    context: typer.Context,
    switch: Annotated[str, typer.Argument(help="on, or off.", metavar="on|off")],
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Allow or forbid new positions, of all strategies. Off holds until `on`, over reloads and restarts too."""
    if switch not in ("on", "off"):
        raise UsageError(f"entries {switch}", "neither on nor off", "atmand entries off")
    found = tell(daemon_of(state_of(context, config, state)), f"/v1/entries/{switch}")
    words = "entries are allowed" if found["allowed"] else f"no entries: {found['reason']}"
    _told(found, words, as_json)


def reload(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> int:
    """Let the daemon read its configuration and strategy files again; say what holds now and what waits."""
    here = daemon_of(state_of(context, config, state))
    asked = int(ask(here, "/v1/reload")["asked"])
    try:
        os.kill(here.pid, signal.SIGHUP)
    except PermissionError:
        raise UnsafeError(f"daemon {here.pid}", "another user's", "ask as the user that runs it") from None
    except ProcessLookupError:
        raise UnreachableError(f"daemon {here.pid}", "it has just ended", "atmand logs") from None
    end = time.monotonic() + _PATIENCE_S
    while (found := ask(here, "/v1/reload"))["done"] <= asked:
        if time.monotonic() > end:
            what = f"the reload has not come to an end in {_PATIENCE_S:.0f} s"
            raise UnreachableError(f"daemon {here.pid}", what, "atmand logs --event reloaded --event reload_refused")
        time.sleep(_LOOK_S)
    print_json(found) if as_json else _tell_reload(found)
    return ExitCode.DONE if found["ok"] else ExitCode.REFUSED


def _tell_reload(found: Mapping[str, Any]) -> None:
    if not found["ok"]:
        say(f"refused, nothing changed: {found['error']}")
        return
    for name in found["strategies"]:
        say(f"the rules of {name} are those of its file now")
    for title, key in (("live now", "live"), ("waits for a restart", "waiting")):
        if found[key]:
            print(title)
            print_rows(_CHANGE, found[key])
    say("reloaded" if any(found[key] for key in ("live", "waiting", "strategies")) else "reloaded; nothing had changed")


def _told(found: Mapping[str, Any], words: str, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        say(f"{words} (record {found['sequence']}, market time {found['market_time']})")


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
