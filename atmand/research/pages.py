"""Pages of research: one HTML file that holds all it needs, its charts' script too, and asks nothing of a network.

A page is a list of sections (notes, tables, charts, candles); `page/report.js` draws them.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from atmand import __version__
from atmand.charts import plotly_script
from atmand.errors import AtmandError, UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Section", "chart", "heat_map", "note", "table", "write_page"]

Section: TypeAlias = Mapping[str, Any]
"""A part of a page; the functions below make them."""

_FOLDER: Final = Path(__file__).parent / "page"
_PLACE: Final = re.compile(r"\{(title|lead|style|version|sections|plotly|script)\}")


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write a page; return where it lies."""
    # Inside a script element nothing but its end is read: no "<" of the data may begin one.
    data = orjson.dumps(_finite(sections), option=orjson.OPT_SERIALIZE_NUMPY).decode().replace("<", "\\u003c")
    parts = {
        "title": html.escape(title),
        "lead": html.escape(lead),
        "version": __version__,
        "style": (_FOLDER / "report.css").read_text("utf-8"),
        "script": (_FOLDER / "report.js").read_text("utf-8"),
        "plotly": plotly_script().read_text("utf-8"),
        "sections": data,
    }
    template = (_FOLDER / "report.html").read_text("utf-8")
    try:
        path.write_text(_PLACE.sub(lambda found: parts[found[1]], template), "utf-8")
    except OSError as error:
        raise UsageError(f"--html {path}", error.strerror or str(error), "name a file that can be written") from None
    return path


def note(text: str) -> Section:
    """Make a sentence that must not be missed."""
    return {"kind": "note", "text": text}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> Section:
    """Make a table; a cell is a text, or a text and its sign, which colours it."""
    return {"kind": "table", "title": title, "columns": columns, "rows": rows, "caption": caption}


def chart(title: str, traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], caption: str = "") -> Section:
    """Make a chart of plotly's traces; colours, fonts and margins are the page's."""
    return {"kind": "chart", "title": title, "traces": traces, "layout": layout, "caption": caption}


def heat_map(frame: pl.DataFrame, *, x: str, y: str | None, value: str, title: str = "") -> Section:
    """Make a map of a value over two parameters, or a line over one: the mean over whatever else was varied."""
    import polars as pl

    for name in filter(None, (x, y, value)):
        if name not in frame.columns:
            raise AtmandError(f"heat map of {value}", f"no column {name}", f"there are {', '.join(frame.columns)}")
    keys = [name for name in (x, y) if name is not None]
    means = frame.group_by(keys).agg(pl.col(value).cast(pl.Float64).mean()).sort(keys)
    title = title or f"{value} over {' and '.join(keys)}"
    caption = "Each cell is the mean over all other parameters." if set(frame.columns) > {*keys, value} else ""
    across = means[x].unique(maintain_order=True).sort().to_list()
    if y is None:
        line = {"type": "scatter", "mode": "lines+markers", "x": across, "y": means[value].to_list(), "name": value}
        return chart(title, [line], {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": value}}}, caption)
    up = means[y].unique().sort().to_list()
    at = {(a, b): cell for a, b, cell in means.select(x, y, value).iter_rows()}
    cells = [[at.get((a, b)) for a in across] for b in up]
    trace = {
        "type": "heatmap", "x": [f"{a:g}" for a in across], "y": [f"{b:g}" for b in up], "z": cells,
        "colorscale": "RdYlGn" if _mixed(cells) else "Viridis", "zmid": 0 if _mixed(cells) else None,
        "hovertemplate": f"{x} %{{x}}<br>{y} %{{y}}<br>{value} %{{z:.4g}}<extra></extra>",
    }  # fmt: skip
    axes = {
        "xaxis": {"title": {"text": x}, "type": "category"},
        "yaxis": {"title": {"text": y}, "type": "category"},
        "hovermode": "closest",
    }
    return chart(title, [trace], axes, caption)


def _mixed(cells: Sequence[Sequence[float | None]]) -> bool:
    values = [cell for row in cells for cell in row if cell is not None]
    return bool(values) and min(values) < 0 < max(values)


def _finite(value: Any) -> Any:
    """Write what is no number as missing: JSON has no NaN."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case _:
            return value
