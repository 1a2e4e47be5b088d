"""Plots of the scale curves as SVG by hand: small panels with logarithmic axes that read in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["Curve", "draw"]

_PANEL: Final = (300, 220)
_MARGIN: Final = (56, 36, 14, 36)
"""Left, top, right, bottom."""
_STYLE: Final = """<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 }
.grid { stroke: #d1d9e0; fill: none } .line { stroke: #0969da; stroke-width: 2; fill: none } .dot { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #3d444d } .line { stroke: #58a6ff } .dot { fill: #58a6ff } }
</style>"""


class Curve(NamedTuple):
    """One panel: values over places, both above 0."""

    title: str
    places: Sequence[float]
    values: Sequence[float]


def draw(what: str, curves: Sequence[Curve]) -> str:
    """Draw the curves side by side over `what`, two a row."""
    width, height = _PANEL[0] * 2, _PANEL[1] * -(-len(curves) // 2)
    panels = "\n".join(
        f'<g transform="translate({_PANEL[0] * (place % 2)} {_PANEL[1] * (place // 2)})">\n{_panel(what, curve)}\n</g>'
        for place, curve in enumerate(curves)
    )
    names = ", ".join(curve.title for curve in curves)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img"'
    return f"{head}>\n<title>{names} over {what}</title>\n{_STYLE}\n{panels}\n</svg>\n"


def _panel(what: str, curve: Curve) -> str:
    left, top, right, bottom = _MARGIN
    across, down = _PANEL[0] - left - right, _PANEL[1] - top - bottom
    low_x, high_x = math.log10(min(curve.places)), math.log10(max(curve.places))
    ticks = _ticks(curve.values)
    low_y, high_y = math.log10(ticks[0]), math.log10(ticks[-1])

    def x(place: float) -> float:
        return left + (math.log10(place) - low_x) / (high_x - low_x) * across

    def y(value: float) -> float:
        return top + (high_y - math.log10(value)) / (high_y - low_y) * down

    parts = [f'<text class="title" x="{left}" y="20">{curve.title}</text>']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{left} {y(tick):.1f}H{left + across}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    for place in curve.places:
        parts.append(f'<text x="{x(place):.1f}" y="{top + down + 18}" text-anchor="middle">{_short(place)}</text>')
    points = [(x(place), y(value)) for place, value in zip(curve.places, curve.values, strict=True)]
    parts.append(f'<polyline class="line" points="{" ".join(f"{px:.1f},{py:.1f}" for px, py in points)}"/>')
    parts += [f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}" r="3"/>' for px, py in points]
    parts.append(f'<text x="{left + across}" y="20" text-anchor="end">over {what}</text>')
    return "\n".join(parts)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return round figures (1, 2, 5 times powers of ten) from below the least to above the most."""
    least, most = min(values), max(values)
    steps = [factor * 10.0**power for power in range(-3, 9) for factor in (1, 2, 5)]
    low = max(step for step in steps if step <= least * (1 + 1e-9))
    high = min(step for step in steps if step >= most * (1 - 1e-9) and step > low)
    within = [step for step in steps if low <= step <= high]
    while len(within) > 6:
        within = within[::2] if within[::2][-1] == within[-1] else [*within[::2], within[-1]]
    return within


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
