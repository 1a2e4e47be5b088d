"""atmand trades Indian equities on one event loop, from a journal that replays to the same decisions.

For notebooks it has the verbs of research as functions (`atmand.backtest`, ...), loaded when they are first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atmand.notebook import backtest, eval, lookahead, sweep

__all__ = ["__version__", "backtest", "eval", "lookahead", "sweep"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load a function of `notebook.py`, after the compiler's cache was named, as the command line does."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    import_module("atmand.start").prepare_compiler(None)
    globals()[name] = found = getattr(import_module("atmand.notebook"), name)
    return found
