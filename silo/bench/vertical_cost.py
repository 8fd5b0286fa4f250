"""Time of a pass and of a tree against rows, columns and members: a table, and a picture as SVG.

Each point is a fit among processes over the relay, key and roll call included, so that what is fixed shows at the
left. A slope of 1 in the last decade of rows, on logarithmic axes, is a cost that grows linearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from silo.bench import Settings
from silo.bench.vertical import fit
from silo.extras import need

MODELS: Final = {"linear": "a pass of a linear model", "boosting": "a tree of boosting"}
_SCHEMES: Final = {"linear": ("lattice", 4), "boosting": ("okamoto-uchiyama", 1)}
_ROWS, _COLUMNS, _MEMBERS = 10_000, 10, 2
Points = dict[int, float]
"""Seconds at each value."""
Swept = dict[str, dict[str, Points]]


def swept(settings: Settings) -> dict[str, list[int]]:
    """What is varied, and over which values."""
    most = len(str(settings.rows)) - 1
    return {
        "rows": [10**power for power in range(3, most + 1)],
        "columns": [2, 5, 10, 20, 40],
        "members": [2, 3, 4, 6],
    }


def sweep(settings: Settings, tell: Callable[[str], None]) -> Swept:
    """Measure all points, telling each. Raises `ParameterError`."""
    found: Swept = {}
    tell(f"{'against':>8}  {'value':>9}  {'pass, s':>9}  {'tree, s':>9}")
    for what, values in swept(settings).items():
        found[what] = {model: {} for model in MODELS}
        for value in values:
            for model in MODELS:
                found[what][model][value] = _seconds(model, **{what: value})
            each = "  ".join(f"{found[what][model][value]:9.3f}" for model in MODELS)
            tell(f"{what:>8}  {value:>9,}  {each}")
    return found


def slope(points: Points) -> float:
    """How cost grows over the last two points: the power of what was varied."""
    (before, less), (last, more) = sorted(points.items())[-2:]
    return math.log(more / less) / math.log(last / before)


def draw(found: Swept, path: Path) -> None:
    """One picture for each of rows, columns and members. Raises `ParameterError` without matplotlib."""
    need("the picture of costs", "report", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (what, models) in enumerate(found.items()):
        axes: Any = figure.add_subplot(1, len(found), place + 1)
        for model, points in models.items():
            label = f"{MODELS[model]}, slope {slope(points):.2f} at the end"
            axes.loglog(*zip(*sorted(points.items()), strict=True), marker="o", label=label)
        axes.set(title=f"against {what}", xlabel=what, ylabel="seconds")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path)


def to_json(found: Swept) -> dict[str, Any]:
    """The points and their slopes as programs read them."""
    return {
        what: {
            model: {"seconds": {str(at): s for at, s in points.items()}, "slope": slope(points)}
            for model, points in models.items()
        }
        for what, models in found.items()
    }


def _seconds(model: str, *, rows: int = _ROWS, columns: int = _COLUMNS, members: int = _MEMBERS) -> float:
    scheme, most = _SCHEMES[model]
    return fit(model, scheme, rows=rows, columns=columns, most=most, members=members)[1]
