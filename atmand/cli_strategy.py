"""The verbs of strategies: `atmand strategy`. Verbs that tell the running daemon are in `cli_operate`."""

from __future__ import annotations

import typer

from atmand.cli_words import STYLE

__all__ = ["strategy_app"]

strategy_app = typer.Typer(help="Look after strategies.", **STYLE)
