"""ROC curves as inline SVG: one line for each way of fitting, over the diagonal of chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from silo.report import svg

Curve = tuple[Sequence[float], Sequence[float]]
"""Shares of false and of true alarms, from 0 to 1."""


def curves(lines: Mapping[str, Curve], *, title: str) -> str:
    """Draw each line in the colour of its class, as in the legend beside it."""
    left, top, side = 44, 10, 256
    base = top + side

    def at(false: float, true: float) -> str:
        return f"{left + side * false:.1f},{base - side * true:.1f}"

    drawn = "".join(
        f'<polyline points="{" ".join(at(a, b) for a, b in zip(false, true, strict=True))}" class="{escape(kind)}"/>'
        for kind, (false, true) in lines.items()
    )
    text = (
        f'<text x="{left}" y="{base + 16}" class="figure">0</text>'
        f'<text x="{left + side}" y="{base + 16}" text-anchor="end" class="figure">1</text>'
        f'<text x="{left + side / 2}" y="{base + 16}" text-anchor="middle" class="figure">false alarms</text>'
        f'<text x="{left - 6}" y="{top + 10}" text-anchor="end" class="figure">1</text>'
        f'<text x="{left - 6}" y="{base}" text-anchor="end" class="figure">0</text>'
        f'<text x="{left - 6}" y="{top + side / 2}" text-anchor="end" class="figure">found</text>'
    )
    frame = f'<rect x="{left}" y="{top}" width="{side}" height="{side}" class="frame"/>'
    chance = f'<polyline points="{at(0, 0)} {at(1, 1)}" class="chance"/>'
    return svg.drawing(frame + chance + drawn + text, title, f'viewBox="0 0 310 {base + 22}" class="square"')
