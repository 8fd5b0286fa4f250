"""Plots as inline SVG: no script, no font, no resource from elsewhere.

Bars are placed in per cent, so that they fill any width while their text keeps its size. Colours are classes of
the page around them, so that they follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import Final

_ROW: Final = 22
_HEAD: Final = 26
_GAP: Final = 14
_ROOM: Final = 78.0
"""Per cent of the width for the longest bar; its figure stands in the rest."""

Group = tuple[str, Sequence[tuple[str, float, str]]]
"""A heading and bars: each a class, a value of at least 0, and the figure written behind it."""


def bars(groups: Sequence[Group], *, most: float, title: str) -> str:
    """Horizontal bars under headings; `most` is the value of a full one."""
    parts: list[str] = []
    y = 0
    for heading, rows in groups:
        parts.append(f'<text x="0" y="{y + 16}" class="head">{escape(heading)}</text>')
        y += _HEAD
        for kind, value, figure in rows:
            width = _ROOM * min(max(value / most, 0.0), 1.0) if most > 0 else 0.0
            parts.append(
                f'<rect x="0" y="{y}" width="{width:.2f}%" height="{_ROW - 5}" class="{escape(kind)}"/>'
                f'<text x="{width:.2f}%" dx="6" y="{y + 13}" class="figure">{escape(figure)}</text>'
            )
            y += _ROW
        y += _GAP
    return drawing("".join(parts), title, f'width="100%" height="{max(y - _GAP, 1)}"')


def columns(values: Sequence[float], *, title: str, unit: str, first: int = 1) -> str:
    """Vertical bars, one per round, with the largest value and the numbers of the first and last beneath."""
    top, height = 20, 130
    most = max(values, default=0.0)
    step = 100 / max(len(values), 1)
    parts = [f'<text x="0" y="12" class="figure">{escape(f"{most:.3g} {unit}")}</text>', rule(top)]
    for place, value in enumerate(values):
        tall = height * value / most if most > 0 else 0.0
        parts.append(
            f'<rect x="{(place + 0.12) * step:.3f}%" y="{top + height - tall:.2f}" width="{0.76 * step:.3f}%" '
            f'height="{tall:.2f}" class="federated"/>'
        )
    parts += [rule(top + height), *_ends(top + height + 16, first, first + len(values) - 1)]
    return drawing("".join(parts), title, f'width="100%" height="{top + height + 22}"')


def line(values: Sequence[float], *, title: str, first: int = 1) -> str:
    """A curve over the rounds, with its least and largest value."""
    top, height = 20, 130
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    places = [100 * place / max(len(values) - 1, 1) for place in range(len(values))]
    heights = [top + height * (1 - (value - low) / span) for value in values]
    points = list(zip(places, heights, strict=True))
    parts = [
        f'<text x="0" y="12" class="figure">{high:.4g}</text>',
        rule(top),
        *(
            f'<line x1="{x1:.3f}%" y1="{y1:.2f}" x2="{x2:.3f}%" y2="{y2:.2f}" class="curve"/>'
            for (x1, y1), (x2, y2) in pairwise(points)
        ),
        rule(top + height),
        f'<text x="0" y="{top + height - 5}" class="figure">{low:.4g}</text>',
        *_ends(top + height + 16, first, first + len(values) - 1),
    ]
    return drawing("".join(parts), title, f'width="100%" height="{top + height + 22}"')


def scatter(x: Sequence[float], y: Sequence[float], *, title: str, x_label: str, y_label: str) -> str:
    """Points, with the range of both axes written at their ends."""
    left, top, width, height = 66, 26, 282, 234
    low_x, high_x = _range(x)
    low_y, high_y = _range(y)
    dots = "".join(
        f'<circle cx="{left + width * (a - low_x) / (high_x - low_x):.1f}" '
        f'cy="{top + height * (1 - (b - low_y) / (high_y - low_y)):.1f}" r="2.2" class="dot"/>'
        for a, b in zip(x, y, strict=True)
    )
    base = top + height
    frame = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" class="frame"/>'
    text = (
        f'<text x="{left}" y="16" class="figure">{escape(y_label)}</text>'
        f'<text x="{left - 6}" y="{top + 10}" text-anchor="end" class="figure">{_short(high_y)}</text>'
        f'<text x="{left - 6}" y="{base}" text-anchor="end" class="figure">{_short(low_y)}</text>'
        f'<text x="{left}" y="{base + 16}" class="figure">{_short(low_x)}</text>'
        f'<text x="{left + width}" y="{base + 16}" text-anchor="end" class="figure">{_short(high_x)}</text>'
        f'<text x="{left + width / 2}" y="{base + 32}" text-anchor="middle" class="figure">{escape(x_label)}</text>'
    )
    return drawing(frame + dots + text, title, f'viewBox="0 0 360 {base + 40}" class="square"')


def drawing(inside: str, title: str, size: str) -> str:
    """The picture; its title is also what a screen reader says."""
    name = escape(title)
    return f'<svg role="img" aria-label="{name}" {size}><title>{name}</title>{inside}</svg>'


def rule(y: float) -> str:
    """A line across, `y` from the top."""
    return f'<line x1="0" y1="{y}" x2="100%" y2="{y}" class="rule"/>'


def _ends(y: float, first: int, last: int) -> Iterable[str]:
    yield f'<text x="0" y="{y}" class="figure">round {first}</text>'
    if last > first:
        yield f'<text x="100%" y="{y}" text-anchor="end" class="figure">round {last}</text>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _short(value: float) -> str:
    return f"{value:,.0f}" if 100 <= abs(value) < 1e7 else f"{value:.3g}"
