"""Where the charts' script is: plotly's own bundle, for the daemon's page and for the pages of research."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from atmand.errors import AtmandError

__all__ = ["PLOTLY", "plotly_script"]

PLOTLY: Final = "plotly.min.js"


def plotly_script() -> Path:
    """Find plotly's script without importing plotly, which takes seconds and memory."""
    spec = importlib.util.find_spec("plotly")
    if spec is not None and spec.origin is not None:
        script = Path(spec.origin).parent / "package_data" / PLOTLY
        if script.is_file():
            return script
    raise AtmandError(
        "plotly",
        "its script for pages is not installed",
        "pip install plotly; the daemon needs none with [api] enabled = false",
    )
