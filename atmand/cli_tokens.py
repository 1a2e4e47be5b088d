"""The verbs of the API's tokens: `atmand token new|list|revoke`.

They write a file that a running daemon looks at with the next request; no restart is needed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atmand.cli_words import STYLE, Config, Json, State, duration, print_json, print_rows, say, state_of, verb
from atmand.errors import UsageError

if TYPE_CHECKING:
    from atmand.api.tokens import Token, Tokens

__all__ = ["token_app"]

token_app = typer.Typer(help="Make and revoke the tokens with which programs use the API.", **STYLE)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SHOWN: Final = ("id", "name", "scope", "created", "expires", "state")


@verb(token_app, "new", "atmand token new tradingview --scope signal --expires 90d")
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for; once only.", metavar="NAME")],
    scope: Annotated[str, typer.Option(help="What it lets do: read, signal, write or operate.", metavar="SCOPE")],
    expires: Annotated[
        Any, typer.Option(help="Good for so long. Default: until it is revoked.", parser=duration, metavar="DURATION")
    ] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it: it is shown this once, and kept only as a hash.

    `read` reads; `signal` sends signals and nothing else; `write` is both, and parameters; `operate` is everything.
    """
    from atmand.api.tokens import SCOPES

    if not _NAME.fullmatch(name):
        raise UsageError(f"token {name}", "not a name", "write letters, digits, dots, dashes, at most 64")
    known = next((each for each in SCOPES if each == scope), None)
    if known is None:
        raise UsageError(f"--scope {scope}", "there is no such scope", f"one of: {', '.join(SCOPES)}")
    token, secret = _tokens(context, config, state).add(name, known, expires)
    if as_json:
        print_json({**_shown(token), "token": secret})
        return
    print(secret)
    say(f"token {token.id} ({name}) for {scope}, good until {token.expires or 'it is revoked'}; it is not shown again")


@verb(token_app, "list", "atmand token list --json")
def list_(context: typer.Context, config: Config = None, state: State = None, as_json: Json = False) -> None:
    """List the tokens: everything but their secrets."""
    rows = [_shown(token) for token in _tokens(context, config, state).all()]
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(_SHOWN, rows)
    else:
        say("there is no token; atmand token new NAME --scope SCOPE makes one")


@verb(token_app, "revoke", "atmand token revoke tradingview")
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name or id.", metavar="NAME|ID")],
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Make a token good for nothing from the next request on."""
    token = _tokens(context, config, state).revoke(name)
    print_json({**_shown(token), "state": "revoked"}) if as_json else say(f"token {token.id} ({token.name}) is revoked")


def _tokens(context: typer.Context, config: Path | None, state: Path | None) -> Tokens:
    from atmand.api.tokens import TOKENS, Tokens

    return Tokens(state_of(context, config, state) / TOKENS)


def _shown(token: Token) -> dict[str, Any]:
    shown = {name: getattr(token, name) for name in ("id", "name", "scope", "created", "expires")}
    return {**shown, "state": "expired" if token.expired else "good"}
