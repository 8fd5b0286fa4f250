"""The accumulated leak against epochs, with what is promised, as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from silo.leak.reading import Reading
from silo.report import svg
from silo.report.style import BASE

_LEFT: Final = 44
_TOP: Final = 12
_WIDE: Final = 600
_HIGH: Final = 240
_TICKS: Final = 5
_CSS: Final = """
svg.leak { max-width: 880px; height: auto; }
svg.leak .leak { fill: none; stroke: var(--accent); stroke-width: 2; }
svg.leak .band { fill: var(--accent); fill-opacity: .14; }
svg.leak .limit { fill: none; stroke: var(--second); stroke-width: 2; stroke-dasharray: 6 4; }
.legend i.leak { background: var(--accent); }
.legend i.limit { background: var(--second); }
"""


def page_of_fit(who: str, readings: Sequence[Reading], bounds: Sequence[float]) -> str:
    """What the meter read beside a fit, with a table of its last reading."""
    last = readings[-1]
    rows = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{one.batch_mean:.3f}</td><td>{one.accumulated:.3f}</td>"
        f"<td>{one.beyond_features:.3f} ({one.low:.3f} to {one.high:.3f})</td></tr>"
        for one in last.attacks
    )
    table = (
        "<table><tr><th>attack</th><th>per batch</th><th>accumulated</th><th>beyond what features tell</th></tr>"
        f"{rows}</table>"
    )
    said = f"{escape(who)}, epoch {last.epoch}: allowed {bounds[-1]:.3f}, intervals of {last.confidence:.1%}"
    return whole(said, f"<figure>{figure(readings, bounds, who)}</figure>{table}")


def whole(said: str, body: str) -> str:
    """A page with a sentence, a legend and what is in `body`."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Leak of labels</title><style>{BASE}{_CSS}</style></head><body>"
        f"<h1>What the returned gradients tell of the labels</h1><p>{said}</p>"
        '<div class="legend"><span><i class="leak"></i>accumulated leak of the best attack, with its interval</span>'
        '<span><i class="limit"></i>what the guarantee allows</span></div>'
        f"{body}</body></html>\n"
    )


def figure(readings: Sequence[Reading], bounds: Sequence[float], what: str) -> str:
    """The leak after each epoch, between one half and 1, as inline SVG; `bounds` are as many."""
    worst = [reading.worst for reading in readings]
    highest = max(max(one.high for one in worst), *bounds)
    most = 0.6 if highest <= 0.6 else 0.7 if highest <= 0.7 else 1.0
    last = max(len(readings), 2)

    def x(epoch: int) -> float:
        return _LEFT + _WIDE * (epoch - 1) / (last - 1)

    def y(value: float) -> float:
        return _TOP + _HIGH * (1 - (min(max(value, 0.5), most) - 0.5) / (most - 0.5))

    def points(values: Sequence[float]) -> list[str]:
        return [f"{x(place):.1f},{y(value):.1f}" for place, value in enumerate(values, 1)]

    base = _TOP + _HIGH
    ticks = [0.5 + (most - 0.5) * step / _TICKS for step in range(_TICKS + 1)]
    parts = [f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDE}" height="{_HIGH}" class="frame"/>']
    for tick in ticks:
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" class="figure">{tick:.2f}</text>'
        )
    band = [*points([one.high for one in worst]), *reversed(points([one.low for one in worst]))]
    leak = points([one.beyond_features for one in worst])
    limit = points(bounds)
    parts.append(f'<polygon points="{" ".join(band)}" class="band"/>')
    for kind, line in (("limit", limit), ("leak", leak)):
        parts.append(f'<polyline points="{" ".join(line)}" class="{kind}"/>')
    parts.append(
        f'<text x="{_LEFT}" y="{base + 16}" class="figure">epoch 1</text>'
        f'<text x="{_LEFT + _WIDE}" y="{base + 16}" text-anchor="end" class="figure">epoch {len(readings)}</text>'
    )
    end = worst[-1]
    name = (
        f"Accumulated leak over {len(readings)} epochs, {what}: ends at {end.beyond_features:.3f}, allowed "
        f"{bounds[-1]:.3f}"
    )
    return svg.drawing("".join(parts), name, f'viewBox="0 0 {_LEFT + _WIDE + 10} {base + 26}" class="leak"')
